"""Holding two runs of one's own against each other, task by task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from qzhou_eval.errors import NothingToCompareError, UserError, plain
from qzhou_eval.scores.aggregation import aggregate
from qzhou_eval.scores.definitions import other_definition
from qzhou_eval.scores.noise import ALPHA, holm
from qzhou_eval.scores.pair import COMPARED, MeanPair, Outcome, Pair, Side, SuitePair, TaskPair
from qzhou_eval.scores.reading import TaskScores
from qzhou_eval.scores.result_folder import ResultFolder
from qzhou_eval.scores.run_differences import run_differences, run_remarks
from qzhou_eval.scores.run_folders import own_suites
from qzhou_eval.scores.task_noise import NoiseUnknownError, Result, counted, task_noise
from qzhou_eval.scores.verdicts import mean_errors
from qzhou_eval.suite.library import built_in_suites
from qzhou_eval.suite.suite import Suite, TaskSpec, last_entries, with_tasks

DEFINING = ("type", "metric", "splits", "subsets")
"""Fields of a task in which two runs of it must agree."""
IN_BOTH = "the tasks of both"
"""Name of a suite of tasks that two runs have of no common suite."""

Specs = tuple[TaskSpec, TaskSpec]
"""A task as A's suite has it, and as B's has it."""


def compare_runs(a: ResultFolder, b: ResultFolder, tasks: Sequence[str] = ()) -> Pair:
    """Hold two runs against each other.

    Args:
        a: The one.
        b: The other: what is told is in what it is better or worse.
        tasks: Only these tasks; none means all that either has a result of.

    Raises:
        UserError: the two folders are one, neither has one of `tasks`, or a file is not readable.
        NothingToCompareError: no task is in both.
    """
    if a.path.resolve() == b.path.resolve():
        raise UserError(f"{a.path} and {b.path} are the same run: give two")
    shared = _shared_suites(a, b)
    chosen = {suite: _chosen(specs, tasks) for suite, specs in shared.items()}
    _check_names(tasks, shared)
    judged: dict[Specs, TaskPair] = {}
    for specs in chosen.values():
        for own in specs:
            if own not in judged and _any_result(own, a, b):
                judged[own] = _judge(own, a, b)
    if not any(row.a is not None and row.b is not None for row in judged.values()):
        raise NothingToCompareError(f"no task has a result in both {a.path} and {b.path}")
    judged = _with_adjusted(judged)
    suites = tuple(
        _suite_pair(suite, [judged[own] for own in specs if own in judged])
        for suite, specs in chosen.items()
        if any(own in judged for own in specs)
    )
    both = [row.task for row in judged.values() if row.a is not None and row.b is not None]
    both = list(dict.fromkeys(both))
    return Pair(
        *_sides(a, b),
        suites,
        run_differences(a, b, both),
        tuple(map(plain, run_remarks(a, b, both))),
    )


def _sides(a: ResultFolder, b: ResultFolder) -> tuple[Side, Side]:
    labels = [f"{folder.model} ({folder.revision[:12]})" for folder in (a, b)]
    if labels[0] == labels[1]:
        labels = [f"{label} in {folder.path}" for label, folder in zip(labels, (a, b), strict=True)]
    return Side(a, plain(labels[0])), Side(b, plain(labels[1]))


def _suites(folder: ResultFolder) -> list[Suite]:
    """Return the suites that were run into `folder`; without a manifest, the built-in ones."""
    own = own_suites(folder)
    return own or [
        suite
        for suite in built_in_suites().values()
        if any(folder.file(task.name).is_file() for task in suite.tasks)
    ]


def _shared_suites(a: ResultFolder, b: ResultFolder) -> dict[Suite, tuple[Specs, ...]]:
    """Return the suites of both runs, or one of the tasks that both have in different suites."""
    ours = {suite.name: suite for suite in _suites(a)}
    theirs = {suite.name: suite for suite in _suites(b)}
    names = [name for name in ours if name in theirs]
    if names:
        return {
            with_tasks(ours[name], (own[0] for own in specs)): specs
            for name in names
            for specs in [_paired(ours[name].tasks, theirs[name].tasks)]
        }
    every = [
        last_entries(task for suite in own.values() for task in suite.tasks)
        for own in (ours, theirs)
    ]
    known = {task.name for task in every[0]} & {task.name for task in every[1]}
    if not known:
        told = (f"{f.path} has {', '.join(own)}" for f, own in ((a, ours), (b, theirs)))
        raise NothingToCompareError(f"no task is in both: {'; '.join(told)}")
    kept = [tuple(task for task in tasks if task.name in known) for tasks in every]
    specs = _paired(*kept)
    return {Suite(IN_BOTH, tuple(own[0] for own in specs)): specs}


def _paired(a: Sequence[TaskSpec], b: Sequence[TaskSpec]) -> tuple[Specs, ...]:
    """Return the tasks of either, each as both have it, where one lacks it as the other has it."""
    ours, theirs = ({task.name: task for task in own} for own in (a, b))
    return tuple(
        (ours.get(name) or theirs[name], theirs.get(name) or ours[name])
        for name in dict.fromkeys((*ours, *theirs))
    )


def _chosen(specs: Sequence[Specs], tasks: Sequence[str]) -> tuple[Specs, ...]:
    wanted = {name.lower() for name in tasks}
    return tuple(own for own in specs if not tasks or own[0].name.lower() in wanted)


def _check_names(tasks: Sequence[str], shared: Mapping[Suite, Sequence[Specs]]) -> None:
    """Refuse a name that no suite of both runs has."""
    specs = last_entries(own[0] for every in shared.values() for own in every)
    known = {spec.name.lower() for spec in specs}
    for name in tasks:
        if name.lower() not in known:
            Suite("the suites of both runs", specs).task(name)  # raises, with the nearest names


def _any_result(own: Specs, a: ResultFolder, b: ResultFolder) -> bool:
    name = own[0].name
    return any(folder.scores(name) or folder.unfinished(name) for folder in (a, b))


def _judge(own: Specs, a: ResultFolder, b: ResultFolder) -> TaskPair:
    """Judge a task, but for how many there are of them."""
    spec = own[0]
    sides = [("A", a, own[0]), ("B", b, own[1])]
    scores, lacks = [], []
    for name, folder, its in sides:
        score, lack = _score(folder, its)
        scores.append(score)
        lacks += [f"{name}: {lack}"] if lack else []
    points = [None if score is None else 100 * score for score in scores]
    row = TaskPair(spec.name, spec.type, points[0], points[1], Outcome.MISSING)
    found = [folder.scores(spec.name) for folder in (a, b)]
    if lacks or found[0] is None or found[1] is None:
        return replace(row, reason=plain("; ".join(lacks)))
    results = [Result(n, f, s) for (n, f, _), s in zip(sides, found, strict=True) if s]
    if fault := _fault(own, *results):
        return replace(row, outcome=Outcome.NOT_COMPARABLE, reason=plain(fault))
    equal = scores[0] == scores[1]
    if equal and all(found[0].rows[unit] == found[1].rows[unit] for unit in counted(spec)):
        return replace(row, outcome=Outcome.EQUAL, standard_error=0.0)
    try:
        noise = task_noise(spec, *results)
    except NoiseUnknownError as why:
        outcome = Outcome.EQUAL if equal else Outcome.UNKNOWN
        return replace(row, outcome=outcome, reason=plain(why))
    return replace(
        row,
        outcome=Outcome.EQUAL if equal else Outcome.NOISE,
        source=noise.source,
        standard_error=100 * noise.standard_error,
        p=None if equal else noise.p,
    )


def _score(folder: ResultFolder, spec: TaskSpec) -> tuple[float | None, str]:
    """Return a run's score of a task, 0 to 1, or None and why there is none."""
    found = folder.scores(spec.name)
    if found is None:
        return None, folder.unfinished(spec.name) or "no result"
    # Asked first: a list of them all could be longer than any memory.
    if len(set(spec.splits)) * len(set(spec.subsets)) > len(found.main_scores):
        return None, "not all of its splits and subsets"
    for unit in counted(spec):
        if unit not in found.main_scores:
            return None, f"no score of {unit[0]}, {unit[1]}"
        score = found.main_scores[unit]
        if not math.isfinite(score) or abs(score) > 1:
            return None, f"its main_score of {unit[0]}, {unit[1]} is no score of 0 to 1"
    return found.mean(spec.splits, spec.subsets), ""


def _fault(own: Specs, a: Result, b: Result) -> str:
    """Return why two results are not of the same thing; empty if they are."""
    spec = own[0]
    for side in (a, b):
        if side.scores.task != spec.name:
            return f"{side.name}'s file holds the result of another task, {side.scores.task}"
        if why := side.folder.foreign(spec.name):
            return f"{side.name}: {why}"
    for field in DEFINING:
        ours, theirs = (getattr(its, field) for its in own)
        if ours != theirs:
            return f"another task: its {field} {_words(ours)} in A, {_words(theirs)} in B"
    said = [_task_said(side) for side in (a, b)]
    if said[0] and said[1] and said[0] != said[1]:
        return f"another task definition: {_words(said[0])} in A, {_words(said[1])} in B"
    shapes = [_shape(spec, side.scores) for side in (a, b)]
    if shapes[0] != shapes[1]:
        return "one of the two is a record of another task definition"
    for what, ours, theirs in (
        ("dataset revision", a.scores.dataset_revision, b.scores.dataset_revision),
        ("mteb version", a.scores.mteb_version, b.scores.mteb_version),
    ):
        if ours and theirs and ours != theirs:
            return f"another {what}: {ours[:12]} in A, {theirs[:12]} in B"
    return ""


def _task_said(side: Result) -> object:
    """Return what a run's manifest says the task was."""
    made_with = side.folder.entry(side.scores.task).get("made_with")
    return made_with.get("task") if isinstance(made_with, dict) else None


def _shape(spec: TaskSpec, scores: TaskScores) -> list[object]:
    """Return which kind of record a result is, as far as it shows."""
    measures = [scores.rows[unit].get("v_measures") for unit in counted(spec)]
    others = [other_definition(spec, scores.rows[unit]) for unit in counted(spec)]
    return [*others, *(type(own).__name__ for own in measures)]


def _words(value: object) -> str:
    """Return a value of a task's definition in words."""
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {own or 'none'}" for name, own in value.items())
    return str(value) or "none"


def _with_adjusted(judged: Mapping[Specs, TaskPair]) -> dict[Specs, TaskPair]:
    """Return the rows with their p-values made up for all that were tested, and judged by them."""
    tested = {f"{n}": row.p for n, row in enumerate(judged.values()) if row.p is not None}
    adjusted = holm(tested)
    found = {}
    for number, (own, row) in enumerate(judged.items()):
        p = adjusted.get(f"{number}")
        outcome = row.outcome
        if p is not None and p <= ALPHA:
            outcome = Outcome.BETTER if (row.difference or 0.0) > 0 else Outcome.WORSE
        found[own] = replace(row, adjusted_p=p, outcome=outcome)
    return found


def _suite_pair(suite: Suite, rows: Sequence[TaskPair]) -> SuitePair:
    compared = [row for row in rows if row.outcome in COMPARED]
    names = {row.task for row in compared}
    part = with_tasks(suite, (task for task in suite.tasks if task.name in names))
    ours = aggregate(part, {row.task: row.a for row in compared if row.a is not None})
    theirs = aggregate(part, {row.task: row.b for row in compared if row.b is not None})
    errors = {r.task: r.standard_error for r in compared if r.standard_error is not None}
    known = bool(part.tasks) and len(errors) == len(part.tasks)
    by_task, by_type = mean_errors(part, errors) if known else (None, None)
    whole = len(part.tasks) == len(suite.tasks)
    of = "" if whole else f" of the {len(part.tasks)} compared"
    if not part.tasks:
        nothing = MeanPair("", None, None, None)
        return SuitePair(suite, tuple(rows), nothing, nothing)
    return SuitePair(
        suite,
        tuple(rows),
        MeanPair(f"Mean(Task){of}", ours.mean_task, theirs.mean_task, by_task),
        MeanPair(f"Mean(TaskType){of}", ours.mean_task_type, theirs.mean_task_type, by_type),
    )
