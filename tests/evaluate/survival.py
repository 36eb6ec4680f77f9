"""Runs in processes of their own, to be killed."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from qzhou_eval.files import read_json
from qzhou_eval.suite.library import built_in
from tests.evaluate.hub_layout import demo_rows, make_datasets, write
from tests.evaluate.results import run_folder

ROOT = Path(__file__).parents[2]
RUN_FILES = {"run.json", "model_meta.json", "summary.csv", "summary.md", ".run.lock"}
TASKS = (
    "EcomRetrieval",
    "T2Reranking",
    "Ocnli",
    "BQ",
    "TNews",
    "CLSClusteringS2S",
    "MassiveIntentClassification",
    "STS22.v2",
)
DOCUMENTS = 7_000
"""Three chunks of the published rule."""


def make_suite(root: Path) -> Path:
    """Write data and a suite of every type, several subsets and a corpus of several chunks."""
    data = make_datasets(root / "data")
    chance = random.Random(3)
    words = [word for row in demo_rows("retrieval-zh/corpus.jsonl") for word in row["text"]]
    corpus = demo_rows("retrieval-zh/corpus.jsonl")
    corpus += [
        {"id": f"more{number}", "text": "".join(chance.choices(words, k=12))}
        for number in range(DOCUMENTS - len(corpus))
    ]
    queries = demo_rows("retrieval-zh/queries.jsonl")
    folder = data / "C-MTEB" / "EcomRetrieval"
    write(folder, {"default": {"corpus": corpus, "queries": queries}})
    entries = ['name = "survival"', 'datasets_dir = "data"']
    known = {task.name: task for name in ("cmteb", "mteb") for task in built_in(name).tasks}
    for task in TASKS:
        subsets = ["de", "en"] if "en" in known[task].subsets else list(known[task].subsets)
        entries += ["[[tasks]]", f'name = "{task}"']
        entries += [f"splits = {list(known[task].splits)}", f"subsets = {subsets}"]
    suite = root / "suite.toml"
    suite.write_text("\n".join(entries))
    return suite


def command(suite: Path, model: Path, output: Path, *more: str) -> list[str]:
    """Return a run's command line."""
    words = [sys.executable, "-m", "qzhou_eval", "run", suite, "--model", model, "--offline"]
    words += ["--trust-remote-code", "--no-instructions", "--output-dir", output, *more]
    return [str(word) for word in words]


def start(words: list[str], log: Path, **named) -> subprocess.Popen:
    """Start a run whose output goes to `log`."""
    with log.open("ab") as file:
        return subprocess.Popen(words, stdout=file, stderr=file, cwd=ROOT, **named)


def wait_for(found, process: subprocess.Popen, seconds: float = 120.0):
    """Wait until `found` returns something true; None if the process ends before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := found():
            return value
        if process.poll() is not None:
            return None
        time.sleep(0.0005)
    raise AssertionError("nothing happened")


def under_way(output: Path, process: subprocess.Popen) -> Path | None:
    """Wait until a run writes to its folder, and return that."""

    def found():
        return next((p.parent for p in output.rglob(".run.owner") if owner(p) == process.pid), None)

    return wait_for(found, process)


def owner(path: Path) -> int:
    try:
        return int(json.loads(path.read_text())["pid"])
    except (OSError, ValueError):
        return 0


def writing(folder: Path):
    """Return a file that is being written in a run's folder, if there is one."""
    return next(folder.rglob("*.tmp"), None)


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def finished(folder: Path) -> dict[str, int]:
    """Return what is finished in a run's folder: units and results, by inode."""
    done = {}
    manifest = folder / "run.json"
    tasks = read_json(manifest, "manifest")["tasks"] if manifest.is_file() else {}
    for task, entry in tasks.items():
        if entry["status"] == "done":
            done[task] = (folder / f"{task}.json").stat().st_ino
    for path in folder.glob(".work/*/units/*.json"):
        done[f"{path.parent.parent.name}/{path.name}"] = path.stat().st_ino
    return done


def check_finished_once(before: dict[str, int], after: dict[str, int]) -> None:
    """What was finished is there as it was, or part of a finished task."""
    for name, inode in before.items():
        task = name.partition("/")[0]
        assert after.get(name) == inode or ("/" in name and task in after), (name, before, after)


def score_bytes(output: Path) -> dict[str, bytes]:
    """Return the scores of every result file, byte for byte as written."""
    found = {}
    for path in run_folder(output).glob("*.json"):
        if path.name not in RUN_FILES:
            text = path.read_text(encoding="utf-8")
            found[path.stem] = text[
                text.index('"scores"') : text.index('"evaluation_time"')
            ].encode()
    return found


def left_over(folder: Path) -> list[str]:
    """Return the files of a run's folder that are no part of its results."""
    names = {f"{task}.json" for task in TASKS} | RUN_FILES | {"items"}
    names |= {f"items/{task}.csv.gz" for task in TASKS}
    found = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return [name for name in found if name not in names]
