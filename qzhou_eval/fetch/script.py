"""A dataset that is a loading script at its commit, turned into plain data files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from qzhou_eval.errors import UserError, one_line_text

# Run apart: offline mode is read when the libraries are imported, and what a foreign script does
# to its process is done to that one alone.
PROGRAM = """
import json, sys
from pathlib import Path
import datasets
folder, out, configs = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
for config in configs:
    found = datasets.load_dataset(folder, config or None, trust_remote_code=True)
    for split, rows in found.items():
        path = out / (config or "default") / f"{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(str(path))
"""
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")
"""What the script is shown of the environment: no token of the user's."""
SECONDS = 3600


def find_script(folder: Path, name: str) -> Path | None:
    """Return the loading script of the dataset `name` among its files; None without one."""
    script = folder / f"{name.rpartition('/')[2]}.py"
    return script if script.is_file() else None


def convert(folder: Path, out: Path, name: str, configs: Sequence[str], scratch: Path) -> None:
    """Run the loading script in `folder` and write what it yields as plain files.

    With the Hugging Face libraries offline, and no token in its environment. A script that opens a
    connection of its own is not kept from it, nor from anything else the user may do: it is run at
    the user's word.

    Args:
        folder: The commit's files; the folder is called as the script is.
        out: Is filled with a Parquet file a split, and a README.md that lists the configs.
        name: The dataset's hub name.
        configs: The configs that are needed; "" for the default one.
        scratch: Folder for what the libraries cache meanwhile; is removed.

    Raises:
        UserError: the script fails, as it does where it reads from other places than its own
            files.
    """
    # The script is run inside `folder`, where a relative path would lead elsewhere.
    folder, out, scratch = folder.absolute(), out.absolute(), scratch.absolute()
    shutil.rmtree(out, ignore_errors=True)
    environment = {key: os.environ[key] for key in KEPT_VARIABLES if key in os.environ}
    environment |= {
        "HF_HOME": str(scratch),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    arguments = [str(folder), str(out), json.dumps(list(configs))]
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
        )
        failed = done.stderr if done.returncode else ""
    except subprocess.TimeoutExpired:
        failed = f"it ran for more than {SECONDS} s"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if failed:
        raise UserError(
            f"{name}: its loading script failed over the files of its commit, with the Hugging "
            f"Face libraries offline: {one_line_text(_reason(failed), limit=200)}"
        )
    (out / "README.md").write_text(_readme(out, configs), encoding="utf-8")


def _reason(printed: str) -> str:
    """Return the error that ends a traceback."""
    errors = [m.start() for m in re.finditer(r"^[\w.]+(?:Error|Exception)\b", printed, re.M)]
    return printed[errors[-1] :] if errors else printed[-200:] or "it died"


def _readme(out: Path, configs: Sequence[str]) -> str:
    lines = ["---", "configs:"]
    for config in (config or "default" for config in configs):
        lines += [f"- config_name: {json.dumps(config)}", "  data_files:"]
        for path in sorted((out / config).glob("*.parquet")):
            lines += [f"  - split: {path.stem}", f"    path: {json.dumps(f'{config}/{path.name}')}"]
    lines += ["---", "", "Converted by qzhou-eval fetch from a dataset with a loading script.", ""]
    return "\n".join(lines)
