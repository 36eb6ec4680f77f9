"""Finding run folders, and what each says of its model and suites."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qzhou_eval.errors import UserError, plain
from qzhou_eval.files import text_digest
from qzhou_eval.scores.aggregation import SuiteScores, aggregate
from qzhou_eval.scores.definitions import other_definition
from qzhou_eval.scores.reading import TaskScores
from qzhou_eval.scores.result_folder import ResultFolder, open_result_folder
from qzhou_eval.suite.library import built_in_suites, parse_task
from qzhou_eval.suite.suite import Suite, TaskSpec, last_entries


@dataclass(frozen=True)
class RunScores:
    """The scores one run folder, or a published record, holds for one suite.

    Attributes:
        folder: The run folder; None of a published record.
        model: ``org/name``.
        revision: The model's revision, or the run's fingerprint.
        scores: The suite's scores.
        remarks: What a reader of the scores must be told, a line each.
        standard_errors: Task to standard error of its own draws, 0 to 1, where that is published.
        mode: How the run was made, strict or fast; empty where that is not known.
        redefined: Tasks whose score is a record of another definition of the task.
    """

    folder: Path | None
    model: str
    revision: str
    scores: SuiteScores
    remarks: tuple[str, ...] = ()
    standard_errors: Mapping[str, float] = field(default_factory=dict)
    mode: str = ""
    redefined: frozenset[str] = frozenset()

    @property
    def published(self) -> bool:
        """Whether these are published figures rather than a run's."""
        return self.folder is None


def find_run_folders(roots: list[Path]) -> list[Path]:
    """Return the run folders at or below `roots`, each once, in order.

    A run folder holds a ``run.json``, or result files of tasks of a built-in suite.

    Raises:
        UserError: a root is not a folder, there is no run folder below it, or a folder below it
            cannot be looked into.
    """
    known = {task.name for suite in built_in_suites().values() for task in suite.tasks}
    found: dict[Path, Path] = {}
    for root in roots:
        if not root.is_dir():
            raise UserError(f"{root}: no such folder; give a run folder or a folder of run folders")
        hits = 0
        for folder, subfolders, files in os.walk(root, onerror=_unreadable):
            subfolders.sort()
            stems = {name[:-5] for name in files if name.endswith(".json")}
            if "run" in stems or stems & known:
                hits += 1
                found.setdefault(Path(folder).resolve(), Path(folder))
        if not hits:
            raise UserError(f"{root}: no results in it; expected <Task>.json files as mteb writes")
    return list(found.values())


def _unreadable(error: OSError) -> None:
    """Tell of a folder that cannot be looked into; one that is gone by now holds nothing."""
    if not isinstance(error, FileNotFoundError):
        raise UserError(
            f"{error.filename}: cannot be looked into ({error.strerror}), so runs in it would be "
            "missing; make it readable, or give the run folders themselves"
        ) from error


def read_run_folder(folder: Path) -> list[RunScores]:
    """Return the scores of the suites that `folder` holds tasks of.

    With a manifest: the suites that were run into it, even if nothing came of them, and any that
    it holds the whole of, not those that merely share a task. Without one: every built-in suite
    of which it has a task.

    Raises:
        UserError: a result file of one of these tasks, or the manifest, is not readable.
    """
    results = open_result_folder(folder)
    own = {suite.name: suite for suite in own_suites(results)}
    rows = []
    for suite in (own | built_in_suites()).values():
        found = _found(results, suite)
        ran = suite.name in own and bool(suite.tasks)
        if ran or (found and (not own or len(found) == len(suite.tasks))):
            rows.append(_row(results, suite, found))
    return rows


def _found(results: ResultFolder, suite: Suite) -> dict[TaskSpec, tuple[float, TaskScores]]:
    """Return the tasks of a suite that have a score: the score, and the file it is of."""
    read: dict[TaskSpec, tuple[float, TaskScores]] = {}
    for task in suite.tasks:
        found = results.scores(task.name)
        if found is None:
            continue
        if found.task != task.name:
            raise UserError(f"{found.path}: holds the result of another task, {found.task}")
        mean = found.mean(task.splits, task.subsets)
        if mean is not None:
            read[task] = mean, found
    return read


def _row(
    results: ResultFolder, suite: Suite, found: Mapping[TaskSpec, tuple[float, TaskScores]]
) -> RunScores:
    remarks = [
        f"{task.name}: {remark}"
        for task, (_, file) in found.items()
        for remark in _remarks(results, task, file)
    ]
    remarks += _unfinished(results, suite)
    if results.mode not in ("", "strict"):
        remarks.append(f"run in {results.mode} mode")
    return RunScores(
        results.path,
        results.model,
        results.revision,
        aggregate(suite, {task.name: score for task, (score, _) in found.items()}),
        tuple(remarks),
        mode=results.mode,
        redefined=_redefined(results, suite),
    )


MOST_NAMED = 5
"""Tasks of a suite that are named of those that were begun and are not done."""


def _unfinished(results: ResultFolder, suite: Suite) -> list[str]:
    """Return which tasks of a suite were begun and have no score, and why."""
    told = [f"{t.name}: {why}" for t in suite.tasks if (why := results.unfinished(t.name))]
    more = len(told) - MOST_NAMED
    if more > 0:
        tasks = "1 more task is" if more == 1 else f"{more} more tasks are"
        told[MOST_NAMED:] = [f"{tasks} not done; run.json says why"]
    return told


def _redefined(results: ResultFolder, suite: Suite) -> frozenset[str]:
    """Return the tasks of which the folder has a record of another definition."""
    names = set()
    for task in suite.tasks:
        found = results.scores(task.name)
        rows = found.rows if found else {}
        pairs = ((split, subset) for split in task.splits for subset in task.subsets)
        if any(pair in rows and other_definition(task, rows[pair]) for pair in pairs):
            names.add(task.name)
    return frozenset(names)


def own_suites(results: ResultFolder) -> list[Suite]:
    """Return the suites that were run into a folder, as its manifest has them.

    Raises:
        UserError: one of them is not readable.
    """
    return [_suite(entry, results.path) for entry in _list(results.manifest.get("suites"))]


def _remarks(results: ResultFolder, task: TaskSpec, found: TaskScores) -> list[str]:
    """Return what a reader must be told of a score."""
    remarks = [results.foreign(task.name), results.departure(task.name)]
    revision = found.dataset_revision
    if task.revision and revision and revision != task.revision:
        remarks.append(
            f"made with dataset revision {revision[:12]}, not the suite's {task.revision[:12]}"
        )
    remarks += [
        other_definition(task, found.rows[split, subset])
        for split in task.splits
        for subset in task.subsets
    ]
    return [remark for remark in remarks if remark]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _suite(entry: Any, folder: Path) -> Suite:
    """Read a suite of a manifest, as it is written there."""
    where = f"{folder / 'run.json'}: a suite in it is not readable"
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise UserError(f"{where}: it has no name")
    tasks = entry.get("tasks")
    if not isinstance(tasks, list):
        raise UserError(f"{where}: it has no list of tasks")
    specs = [_task(task, f"{where}: task {i + 1}") for i, task in enumerate(tasks)]
    return Suite(name=suite_name(entry["name"]), tasks=last_entries(specs))


LONGEST_NAME = 300
"""Characters of a suite's name: that of tasks given by name lists them all."""


def suite_name(name: str) -> str:
    """Return a suite's name as tables have it: one line, of a long one the beginning.

    A name that is cut ends in a digest of the whole, so that it stays unlike others.
    """
    line = plain(name)
    if len(line) <= LONGEST_NAME:
        return line
    mark = f"… {text_digest(line)[:8]}"
    return line[: LONGEST_NAME - len(mark)] + mark


SCORED = ("name", "type", "metric", "splits", "subsets")
"""Fields of a manifest's task that its score depends on."""


def _task(entry: Any, where: str) -> TaskSpec:
    kept = {key: entry[key] for key in SCORED if key in entry} if isinstance(entry, dict) else entry
    spec = parse_task(kept, where)
    if not (spec.type and spec.splits and spec.subsets):
        raise UserError(f"{where} ({spec.name}): it lacks its type, splits or subsets")
    return spec
