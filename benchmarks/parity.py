"""Hold the scores of fast mode against those of strict mode, task by task, on real data.

    python benchmarks/parity.py --datasets-dir ../shared/datasets
    python benchmarks/parity.py --datasets-dir ../shared/datasets --strict results/minilm

The second holds fast mode against a strict run that is there already. Runs the tasks of
``parity.toml`` in both modes through the command line, as a user would, with the packaged
all-MiniLM-L6-v2 in float32, into fresh folders; prints the main scores side by side and writes
``parity-<device>.json``. Exits with 1 if a score differs by more than 0.02 points, or if a task
failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from qzhou_eval.cli.demo import packaged_model
from qzhou_eval.files import write_json
from qzhou_eval.scores.reading import read_task_scores

HERE = Path(__file__).parent
SUITE = HERE / "parity.toml"
MODES = ("strict", "fast")
TOLERANCE = 0.02
"""Points (hundredths of a score) that the modes may be apart."""


def run(mode: str, folder: Path, arguments: argparse.Namespace) -> Path:
    """Run the suite in `mode`; return the run's folder.

    Raises:
        SystemExit: the run did not end well.
    """
    command = [sys.executable, "-m", "qzhou_eval", "run", str(SUITE), "--offline"]
    options = {
        "--model": arguments.model or packaged_model(),
        "--mode": mode,
        "--dtype": "float32" if arguments.model else "",  # the packaged model's own
        "--device": arguments.device,
        "--datasets-dir": arguments.datasets_dir,
        "--tasks": arguments.tasks,
        "--output-dir": folder,
    }
    given = [part for option, value in options.items() if value for part in (option, str(value))]
    code = subprocess.run([*command, *given], check=False).returncode
    if code:
        raise SystemExit(f"the {mode} run ended with exit code {code}: see above")
    return run_folder(folder)


def run_folder(folder: Path) -> Path:
    """Return the one run folder below `folder`."""
    [manifest] = folder.glob("*/*/run.json")
    return manifest.parent


def check_strict(strict: dict[str, Any], fast: dict[str, Any]) -> None:
    """Make sure that the runs differ in nothing but the mode.

    Raises:
        SystemExit: they do.
    """
    if strict["settings"]["mode"] != "strict" or strict["fingerprint"] != fast["fingerprint"]:
        raise SystemExit("--strict: not a strict run of the same model and recipe")
    for task, entry in fast["tasks"].items():
        ours, theirs = (made["made_with"]["data"] for made in (entry, strict["tasks"][task]))
        if ours != theirs:
            raise SystemExit(f"--strict: {task} was run on other data there")


def side_by_side(runs: dict[str, Path]) -> list[dict[str, Any]]:
    """Return the main scores of every task, split and subset in points, and their difference."""
    manifests = {mode: read_manifest(folder) for mode, folder in runs.items()}
    lines = []
    check_strict(manifests["strict"], manifests["fast"])
    for task in manifests["fast"]["tasks"]:
        entry = manifests["strict"]["tasks"][task]
        strict, fast = (read_task_scores(runs[mode] / f"{task}.json") for mode in MODES)
        seconds = {mode: manifests[mode]["tasks"][task]["seconds"]["encode"] for mode in MODES}
        for (split, subset), score in strict.main_scores.items():
            other = fast.main_scores[split, subset]
            lines.append(
                {
                    "task": task,
                    "split": split,
                    "subset": subset,
                    "strict": round(100 * score, 6),
                    "fast": round(100 * other, 6),
                    "difference": round(100 * (other - score), 6),
                    "texts": entry["texts"],
                    "encode_seconds": seconds,
                }
            )
    return lines


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run folder."""
    manifest: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return manifest


def show(lines: list[dict[str, Any]]) -> None:
    """Print the table."""
    print(f"\n{'Task':<30} {'Split':<11} {'Subset':<9} {'Strict':>10} {'Fast':>10} {'Diff.':>10}")
    for line in lines:
        print(
            f"{line['task']:<30} {line['split']:<11} {line['subset']:<9} "
            f"{line['strict']:>10.4f} {line['fast']:>10.4f} {line['difference']:>+10.4f}"
        )


def main() -> int:
    """Run both modes and write the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--datasets-dir", type=Path, required=True)
    parser.add_argument("--model", default="", help="by default the packaged all-MiniLM-L6-v2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tasks", default="", help="only these, comma-separated")
    parser.add_argument("--strict", type=Path, help="a strict run's folder, made before")
    parser.add_argument("--output", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        done = {"strict": run_folder(arguments.strict)} if arguments.strict else {}
        runs = {
            mode: done[mode] if mode in done else run(mode, Path(name) / mode, arguments)
            for mode in MODES
        }
        lines = side_by_side(runs)
        manifest = read_manifest(runs["fast"])
    furthest = max(abs(line["difference"]) for line in lines)
    # Not >: a score that is no number is not within it.
    off = [line for line in lines if not abs(line["difference"]) <= TOLERANCE]
    device = manifest["settings"]["device"]
    target = arguments.output / f"parity-{device}.json"
    environment = manifest["environment"]
    names = ("mteb", "numpy", "sentence-transformers", "tokenizers", "torch", "transformers")
    write_json(
        target,
        {
            "model": manifest["model"],
            "recipe": manifest["recipe"],
            "strict_run": str(arguments.strict or ""),
            "fast": manifest["fast"],
            "tolerance_in_points": TOLERANCE,
            "furthest": furthest,
            "off": len(off),
            "hardware": environment["hardware"],
            "python": environment["python"],
            "packages": {name: environment["packages"].get(name, "") for name in names},
            "scores": lines,
        },
    )
    show(lines)
    print(f"\n{len(lines)} scores, {len(off)} off by more than {TOLERANCE} points")
    print(f"the furthest is {furthest:.4f} points off; wrote {target}")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
