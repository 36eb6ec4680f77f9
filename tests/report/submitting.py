"""Folders to export, and mteb's own reader over what comes of them."""

import json
import shutil
from pathlib import Path

import mteb
import numpy as np

COMMIT = "8b3219a92973c328a8e22fadcfa821b5dc75636a"
MINILM = "sentence-transformers__all-MiniLM-L6-v2"
NAME = MINILM.replace("__", "/")
SAMPLE = Path(__file__).parents[2] / "results" / "minilm" / MINILM / "b09de1334c11fdab"
"""The checked-in result folder: 16 tasks of both suites and 4 others, with its run.json."""
PLACE = Path("results", MINILM, COMMIT)


def sample(root, *, manifest=False):
    """Copy the checked-in folder below `root`; without its run.json, as mteb itself leaves one."""
    folder = root / MINILM / ("b09de1334c11fdab" if manifest else COMMIT)
    shutil.copytree(SAMPLE, folder)
    if not manifest:
        (folder / "run.json").unlink()
        alter(folder, "model_meta", lambda value: value.update(revision=COMMIT))
    return folder


def alter(folder, name, change):
    """Write `name`.json of a folder anew, changed by `change`."""
    path = folder / f"{name}.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value, indent=2))


def contents(folder):
    """Return every file below `folder` with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_by_mteb(output, cache, monkeypatch):
    """Return what mteb's own reader makes of an exported folder as its results repository."""
    cache.mkdir()
    (cache / "results").symlink_to(output)
    monkeypatch.setenv("MTEB_CACHE", str(cache))
    return mteb.load_results(download_latest=False)


def means(loaded, suite):
    """Return Mean(Task) and Mean(TaskType) in points, and how many tasks mteb takes them over."""
    [model] = mteb.get_benchmark(suite).load_results(loaded)
    scores, types = {}, {}
    for result in model.task_results:
        scores[result.task_name] = result.get_score()
        types.setdefault(result.task_type, []).append(scores[result.task_name])
    by_type = [np.mean(own) for own in types.values()]
    return (
        round(100 * float(np.mean(list(scores.values()))), 2),
        round(100 * float(np.mean(by_type)), 2),
        len(scores),
    )
