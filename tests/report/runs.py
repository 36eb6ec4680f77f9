"""Rows and run folders for the tests of reports."""

import hashlib
import json

from qzhou_eval.scores.peers import peers
from qzhou_eval.scores.run_folders import find_run_folders, read_run_folder

HOSTILE = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>{{7*7}}|*b*$x$"


def rows_of(*folders, with_peers=False):
    rows = [row for folder in find_run_folders(list(folders)) for row in read_run_folder(folder)]
    return rows + peers(row.scores.suite.name for row in rows) if with_peers else rows


def task(name, kind="STS"):
    """A task of a suite, as a manifest has it."""
    return {
        "name": name,
        "type": kind,
        "metric": "cosine_spearman",
        "splits": ["test"],
        "subsets": ["default"],
    }


def write_run(folder, model, suite, scores, *, types=None, **manifest):
    """Write a run folder of a suite of one's own: task to score, 0 to 1."""
    folder.mkdir(parents=True)
    tasks = [task(name, (types or {}).get(name, "STS")) for name in scores]
    entry = {"model": model, "revision": "1" * 40, "suites": [{"name": suite, "tasks": tasks}]}
    digests = {}
    for name, score in scores.items():
        row = {"hf_subset": "default", "main_score": score, "languages": ["eng-Latn"]}
        result = {"task_name": name, "scores": {"test": [row]}, "mteb_version": "1.38.30"}
        (folder / f"{name}.json").write_text(json.dumps(result))
        digests[name] = hashlib.sha256((folder / f"{name}.json").read_bytes()).hexdigest()
    entry["tasks"] = {
        name: {
            "status": "done",
            "sha256": digest,
            "seconds": {"data": 1.0, "encode": 30.0 + place, "score": 2.0},
            "planned": {"seconds": 28.0, "texts": 10, "tokens": 100},
        }
        for place, (name, digest) in enumerate(digests.items())
    }
    (folder / "run.json").write_text(json.dumps(entry | manifest))
    return folder
