"""Finding run folders, and what each says of its model and suites."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qzhou_eval.errors import UserError
from qzhou_eval.files import read_json
from qzhou_eval.scores.aggregation import SuiteScores, aggregate
from qzhou_eval.scores.reading import read_task_scores
from qzhou_eval.suite.library import built_in_suites
from qzhou_eval.suite.suite import Suite, TaskSpec


@dataclass(frozen=True)
class RunScores:
    """The scores one run folder holds for one suite.

    Attributes:
        folder: The run folder.
        model: ``org/name``.
        revision: The model's revision, or the run's fingerprint.
        scores: The suite's scores.
        settings: How the run was made, as far as its manifest says.

    """

    folder: Path
    model: str
    revision: str
    scores: SuiteScores
    settings: Mapping[str, Any]


def find_run_folders(roots: list[Path]) -> list[Path]:
    """Return the run folders at or below `roots`, each once, in order.

    A run folder holds a ``run.json``, or result files of tasks of a built-in suite.

    Raises:
        UserError: a root is not a folder, or there is no run folder below it.

    """
    known = {task.name for suite in built_in_suites().values() for task in suite.tasks}
    found: dict[Path, None] = {}
    for root in roots:
        if not root.is_dir():
            raise UserError(f"{root}: no such folder; give a run folder or a folder of run folders")
        before = len(found)
        for folder, subfolders, files in os.walk(root):
            subfolders.sort()
            stems = {name[:-5] for name in files if name.endswith(".json")}
            if "run" in stems or stems & known:
                found[Path(folder)] = None
        if len(found) == before and root not in found:
            raise UserError(f"{root}: no results in it; expected <Task>.json files as mteb writes")
    return list(found)


def read_run_folder(folder: Path) -> list[RunScores]:
    """Return the scores of the suites that `folder` holds tasks of.

    With a manifest: the suites that were run into it, and any that it holds the whole of, not
    those that merely share a task. Without one: every built-in suite of which it has a task.

    Raises:
        UserError: a result file of one of these tasks, or the manifest, is not readable.

    """
    manifest = _read_object(folder / "run.json", "run manifest")
    meta = _read_object(folder / "model_meta.json", "model record")
    parent = folder.parent.name.replace("__", "/", 1)
    model = str(manifest.get("model") or meta.get("name") or parent)
    revision = str(manifest.get("revision") or meta.get("revision") or folder.name)
    suites = built_in_suites()
    for entry in manifest.get("suites", []):
        suite = _suite(entry)
        suites.setdefault(suite.name, suite)
    ran = {suite["name"] for suite in manifest.get("suites", [])}
    read: dict[str, Any] = {}
    rows = []
    for suite in suites.values():
        scores: dict[str, float] = {}
        for task in suite.tasks:
            path = folder / f"{task.name}.json"
            if path.parent != folder or not path.is_file():
                continue
            if task.name not in read:
                read[task.name] = read_task_scores(path)
            mean = read[task.name].mean(task.splits, task.subsets)
            if mean is not None:
                scores[task.name] = mean
        if scores and (not ran or suite.name in ran or len(scores) == len(suite.tasks)):
            settings = manifest.get("settings") or {}
            rows.append(RunScores(folder, model, revision, aggregate(suite, scores), settings))
    return rows


def _read_object(path: Path, what: str) -> dict[str, Any]:
    data = read_json(path, what) if path.is_file() else {}
    if not isinstance(data, dict):
        raise UserError(f"{path}: not a readable {what}: expected an object")
    return data


def _suite(entry: Any) -> Suite:
    try:
        tasks = tuple(
            TaskSpec(
                name=str(task["name"]),
                type=str(task["type"]),
                splits=tuple(task["splits"]),
                subsets=tuple(task["subsets"]),
            )
            for task in entry["tasks"]
        )
        return Suite(name=str(entry["name"]), tasks=tasks)
    except (KeyError, TypeError) as error:
        raise UserError(f"run.json: a suite in it is not readable ({error!r})") from error
