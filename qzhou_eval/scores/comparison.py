"""A run folder held against a published row, score by score."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from qzhou_eval.environment import PUBLISHED_PINS
from qzhou_eval.errors import NothingToCompareError, one_line_text, plain
from qzhou_eval.scores.causes import differing_settings, likely_causes, other_model
from qzhou_eval.scores.definitions import other_definition
from qzhou_eval.scores.published_scores import (
    Place,
    PublishedModel,
    PublishedScore,
    published_models,
)
from qzhou_eval.scores.reading import TaskScores
from qzhou_eval.scores.result_folder import ResultFolder
from qzhou_eval.scores.verdicts import SuiteVerdict, TaskVerdict, Verdict, judge_score, judge_suite
from qzhou_eval.suite.library import built_in_suites
from qzhou_eval.suite.suite import Suite, TaskSpec, last_entries

RESULT_DIGITS = 6
"""Decimals mteb writes a score with; published records that have more are held to these."""


@dataclass(frozen=True)
class Comparison:
    """A run folder beside one published model.

    Attributes:
        folder: The run's folder.
        published: The model it is held against.
        suites: A verdict per suite.
    """

    folder: ResultFolder
    published: PublishedModel
    suites: tuple[SuiteVerdict, ...]

    @property
    def reproduced(self) -> bool:
        """Whether every suite's row, as far as it was asked for, came out again."""
        return all(suite.reproduced for suite in self.suites)


def compare(
    folder: ResultFolder, published: PublishedModel, tasks: Sequence[str] = ()
) -> Comparison:
    """Hold a folder's results against `published`.

    Args:
        folder: The results.
        published: The published row.
        tasks: Only these tasks; none means the whole of every suite the folder has results of.

    Raises:
        UserError: no suite has one of `tasks`, or a result file is not readable.
        NothingToCompareError: the folder holds nothing of any suite that `published` has scores of.
    """
    every = built_in_suites()
    rows = {name for model in published_models().values() for name in model.suites}
    _check_names(tasks, [every[name] for name in sorted(rows)])
    suites = {name: every[name] for name in published.suites}
    chosen = {name: _chosen(suite, tasks) for name, suite in suites.items()}
    if not tasks:
        chosen = {name: specs for name, specs in chosen.items() if _has_any(folder, name, specs)}
    if not any(chosen.values()):
        raise NothingToCompareError(
            f"{folder.path}: no result of a task that {published.name} has published scores of "
            f"({', '.join(suites)})"
        )
    verdicts = tuple(
        _compare_suite(folder, published, suites[name], specs)
        for name, specs in chosen.items()
        if specs
    )
    return Comparison(folder, published, verdicts)


def _check_names(tasks: Sequence[str], suites: Sequence[Suite]) -> None:
    """Refuse a name that no published suite has."""
    specs = last_entries(task for suite in suites for task in suite.tasks)
    known = {spec.name.lower() for spec in specs}
    for name in tasks:
        if name.lower() not in known:
            Suite("the published suites", specs).task(name)  # raises, with the nearest names


def _chosen(suite: Suite, tasks: Sequence[str]) -> tuple[TaskSpec, ...]:
    wanted = {name.lower() for name in tasks}
    return tuple(spec for spec in suite.tasks if not tasks or spec.name.lower() in wanted)


def _has_any(folder: ResultFolder, suite: str, specs: Collection[TaskSpec]) -> bool:
    """Whether the folder is of `suite`: its run says so, or it holds results of it."""
    suites = folder.manifest.get("suites")
    listed = suites if isinstance(suites, list) else []
    names = [str(entry.get("name")) for entry in listed if isinstance(entry, dict)]
    built_in = [name for name in names if name in built_in_suites()]
    if built_in:
        return suite in built_in
    return any(folder.file(spec.name).is_file() for spec in specs)


def _compare_suite(
    folder: ResultFolder, published: PublishedModel, suite: Suite, specs: Sequence[TaskSpec]
) -> SuiteVerdict:
    records = published.suites[suite.name]
    digits = _digits(records)
    rows = [
        _compare_score(folder, published, spec, (spec.name, split, subset), records, digits)
        for spec in specs
        for split in spec.splits
        for subset in spec.subsets
    ]
    errors = {place[0]: r.standard_error for place, r in records.items() if r.standard_error}
    return judge_suite(suite, rows, errors, _remarks(folder, published, records, rows))


def _digits(records: Mapping[Place, PublishedScore]) -> int:
    """Return the decimals a record's scores are given with, at most those of a result file."""
    for digits in range(2, RESULT_DIGITS):
        if all(abs(round(r.score, digits) - r.score) < 1e-9 for r in records.values()):
            return digits
    return RESULT_DIGITS


def _compare_score(
    folder: ResultFolder,
    published: PublishedModel,
    spec: TaskSpec,
    place: Place,
    records: Mapping[Place, PublishedScore],
    digits: int,
) -> TaskVerdict:
    split, subset = place[1:]
    record = records.get(place)
    found = folder.scores(spec.name)
    ours, lack = _our_score(folder, spec, found, split, subset)

    def row(verdict: Verdict, reason: str, against: bool = False) -> TaskVerdict:
        return TaskVerdict(
            task=spec.name,
            type=spec.type,
            split=split,
            subset=subset,
            ours=None if ours is None else 100 * ours,
            published=None if record is None else 100 * record.score,
            verdict=verdict,
            reason=plain(reason),
            held_against_us=against,
        )

    if record is None:
        return row(Verdict.MISSING, f"{published.name} has no published score of it")
    if found is None or ours is None:
        other = "" if folder.unfinished(spec.name) else _other_version(folder, spec.name)
        if found is None and other:
            reason = f"the folder holds {other}, another version of the task"
            return row(Verdict.NOT_COMPARABLE, reason, against=True)
        return row(Verdict.MISSING, lack, against=True)
    if fault := _our_fault(folder, spec, found, split, subset, record):
        return row(Verdict.NOT_COMPARABLE, fault, against=True)
    if fault := _their_fault(spec, found, record):
        return row(Verdict.NOT_COMPARABLE, fault)
    verdict, reason = judge_score(ours, record.score, digits, record.standard_error)
    judged = row(verdict, reason, against=verdict is Verdict.OFF)
    if verdict is not Verdict.OFF:
        return judged
    causes = likely_causes(folder, published, spec, found, record)
    return replace(judged, causes=causes)


def _our_score(
    folder: ResultFolder, spec: TaskSpec, found: TaskScores | None, split: str, subset: str
) -> tuple[float | None, str]:
    """Return our score, or None and why there is none."""
    if found is None:
        if why := folder.unfinished(spec.name):
            return None, why
        return None, "no result in the folder"
    score = found.main_scores.get((split, subset))
    if score is None:
        held = ", ".join(f"{s} {sub}" for s, sub in sorted(found.main_scores)[:6]) or "nothing"
        held = one_line_text(held)
        return None, f"its result has {held}, not {split} {subset}"
    if not math.isfinite(score):
        return None, "its main_score is no number"
    if abs(score) > 1:
        return None, f"its main_score, {score:g}, is no score of 0 to 1"
    return score, ""


def _other_version(folder: ResultFolder, task: str) -> str:
    """Return the name of a result of another version (``.v2``) of the task; empty if none is."""
    base = re.sub(r"\.v\d+$", "", task)
    # The first version of this one has another name in mteb.
    first = {"Touche2020Retrieval": "Touche2020"}.get(base, base)
    names = [first, base, *(f"{base}.v{n}" for n in range(2, 5))]
    return next((n for n in names if n != task and folder.file(n).is_file()), "")


def _our_fault(
    folder: ResultFolder,
    spec: TaskSpec,
    found: TaskScores,
    split: str,
    subset: str,
    record: PublishedScore,
) -> str:
    """Return why our result is not one of the suite's task; empty if it is."""
    theirs = record.dataset_revision
    revision, version = found.dataset_revision, found.mteb_version
    if found.task != spec.name:
        return f"the file holds the result of another task, {found.task}"
    if why := folder.foreign(spec.name):
        return why
    # A published record of the same other definition is still no record of this task.
    if why := other_definition(spec, found.rows[split, subset]):
        return "" if record.remark else f"ours is a {why}"
    if revision and revision not in (spec.revision, theirs):
        return f"ours is of another dataset revision, {revision[:12]} (suite {spec.revision[:12]})"
    known = {PUBLISHED_PINS["mteb"], record.mteb_version}
    if version and version not in known:
        return (
            f"ours is of another mteb version, {version}, whose definition of the task may differ "
            f"(suite {PUBLISHED_PINS['mteb']})"
        )
    return ""


def _their_fault(spec: TaskSpec, found: TaskScores, record: PublishedScore) -> str:
    """Return why the published record cannot be compared with ours; empty if it can."""
    revision, theirs = found.dataset_revision, record.dataset_revision
    if record.remark:
        return f"the published score is a {record.remark}"
    if revision and theirs and revision != theirs:
        return (
            f"the published score is of another dataset revision, {theirs[:12]} "
            f"(suite {spec.revision[:12]})"
        )
    # mteb 2 defines and scores tasks anew; within mteb 1, a task that changed got another name.
    if _generation(record.mteb_version) > max(_generation(found.mteb_version), 1):
        return f"the published score is of mteb {record.mteb_version}, which defines tasks anew"
    return ""


def _generation(version: str) -> int:
    major = version.partition(".")[0]
    return int(major) if major.isdigit() else 0


def _remarks(
    folder: ResultFolder,
    published: PublishedModel,
    records: Mapping[Place, PublishedScore],
    rows: Sequence[TaskVerdict],
) -> list[str]:
    """Return what a reader must be told whatever the scores are."""
    remarks = other_model(folder, published)
    unsaid = []
    for name in dict.fromkeys(row.task for row in rows if row.ours is not None):
        found = folder.scores(name)
        if found and not (found.dataset_revision and found.mteb_version):
            unsaid.append(name)
    if unsaid:
        remarks.append(
            f"ours does not say which dataset revision and mteb it is of ({', '.join(unsaid)})"
        )
    if not any(record.dataset_revision for record in records.values()):
        remarks.append(
            "the published figures are the authors' own: they name no dataset revision or mteb"
        )
    return remarks + [text for _, text in differing_settings(folder, published.name)]
