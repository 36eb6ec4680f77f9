"""Verdicts: whether a published score, and a published row, came out again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from qzhou_eval.scores.aggregation import aggregate
from qzhou_eval.suite.suite import Suite, with_tasks

TOLERANCE = 0.1
"""Points by which a score may differ and still count as reproduced."""
DRAW_ERRORS = 2.0
"""Standard errors of a score's own draws by which it may differ, where that is more."""
# A difference of just the tolerance is within it, whatever binary fractions make of it.
SLACK = 1e-9


class Verdict(str, Enum):
    """What became of one published score."""

    EXACT = "exact"
    """Equal to the published digits."""
    WITHIN = "within"
    """Different by no more than the tolerance."""
    OFF = "off"
    """Different by more."""
    NOT_COMPARABLE = "not comparable"
    """One of the two is a score of something else."""
    MISSING = "missing"
    """One of the two is not there."""


PLAIN_REASON = f"tolerance {TOLERANCE} points"
"""The reason of a score without draws, or with less noise than the tolerance."""
COMPARED = (Verdict.EXACT, Verdict.WITHIN, Verdict.OFF)


@dataclass(frozen=True)
class TaskVerdict:
    """One published score beside ours. Scores and differences are in points, 0 to 100.

    Attributes:
        task: The task.
        type: Its type.
        split: The split that counts.
        subset: The subset that counts.
        ours: Our score; None where there is none.
        published: The published score; None where there is none.
        verdict: What became of it.
        reason: Why: the tolerance that was applied, or what keeps the two apart.
        held_against_us: Whether it keeps the row from being reproduced. A flaw of the published
            record, or a score that was never published, does not.
        causes: Likely causes of a difference, the likeliest first.
    """

    task: str
    type: str
    split: str
    subset: str
    ours: float | None
    published: float | None
    verdict: Verdict
    reason: str
    held_against_us: bool = False
    causes: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        """Ours less the published, in points; None where one is missing."""
        if self.ours is None or self.published is None:
            return None
        return self.ours - self.published


@dataclass(frozen=True)
class Means:
    """The same mean of both sides, in points; None where a score is missing.

    Attributes:
        ours: Over our scores.
        published: Over the published ones.
    """

    ours: float | None
    published: float | None

    @property
    def difference(self) -> float | None:
        """Ours less the published, in points."""
        if self.ours is None or self.published is None:
            return None
        return self.ours - self.published


REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced"


@dataclass(frozen=True)
class SuiteVerdict:
    """A published row, or the part of it that was asked for, beside ours.

    Attributes:
        suite: The suite.
        rows: A verdict per task, split and subset.
        verdict: "reproduced" or "not reproduced".
        reason: Why, in words.
        mean_task: Mean over all tasks of the suite; None on a side of which not all were asked
            for and there, or where one is of something else.
        mean_task_type: Mean of the types' means over the suite, likewise.
        compared: Number of tasks that could be compared.
        compared_mean_task: Mean over those alone.
        compared_mean_task_type: Mean of their types' means.
        remarks: What a reader must be told beside the verdict.
    """

    suite: Suite
    rows: tuple[TaskVerdict, ...]
    verdict: str
    reason: str
    mean_task: Means
    mean_task_type: Means
    compared: int
    compared_mean_task: Means
    compared_mean_task_type: Means
    remarks: tuple[str, ...] = ()

    @property
    def reproduced(self) -> bool:
        """Whether the row came out again."""
        return self.verdict == REPRODUCED

    def count(self, verdict: Verdict) -> int:
        """Return how many rows have `verdict`."""
        return sum(row.verdict is verdict for row in self.rows)


def judge_score(
    ours: float, published: float, digits: int, standard_error: float | None
) -> tuple[Verdict, str]:
    """Judge one score, 0 to 1, against the published one.

    Args:
        ours: Our score.
        published: The published score.
        digits: Decimals both are compared to for "exact".
        standard_error: Of the published score's own draws, 0 to 1; None without draws.

    Returns:
        The verdict, and the reason for the tolerance.
    """
    if round(ours, digits) == round(published, digits):
        return Verdict.EXACT, f"equal to {digits} decimals"
    tolerance, reason = TOLERANCE, PLAIN_REASON
    if standard_error is not None and 100 * DRAW_ERRORS * standard_error > TOLERANCE:
        tolerance = 100 * DRAW_ERRORS * standard_error
        error = f"{100 * standard_error:.3f}"
        reason = f"tolerance {tolerance:.2f} points, two standard errors ({error}) of its draws"
    within = 100 * abs(ours - published) <= tolerance + SLACK
    return (Verdict.WITHIN if within else Verdict.OFF), reason


def judge_suite(
    suite: Suite,
    rows: Sequence[TaskVerdict],
    standard_errors: Mapping[str, float],
    remarks: Sequence[str] = (),
) -> SuiteVerdict:
    """Judge a suite, or a part of it, by its rows and both means.

    Args:
        suite: The whole suite.
        rows: The verdicts asked for, of all or some of its tasks.
        standard_errors: Task to standard error of its published draws, 0 to 1.
        remarks: What a reader must be told besides.
    """
    ours, published = _by_task(rows, "ours"), _by_task(rows, "published")
    # A score of something else is no score of the suite's.
    foreign = {r.task for r in rows if r.held_against_us and r.verdict is Verdict.NOT_COMPARABLE}
    compared = {
        task
        for task in ours.keys() & published.keys()
        if all(row.verdict in COMPARED for row in rows if row.task == task)
    }
    part = with_tasks(suite, (task for task in suite.tasks if task.name in compared))
    own, theirs = aggregate(part, ours), aggregate(part, published)
    whole = aggregate(suite, {task: s for task, s in ours.items() if task not in foreign})
    their_whole = aggregate(suite, published)
    compared_means = (
        Means(own.mean_task if compared else None, theirs.mean_task if compared else None),
        Means(own.mean_task_type, theirs.mean_task_type),
    )
    noises = mean_errors(part, standard_errors)
    verdict, reason = _decide(rows, len(compared), compared_means, noises)
    return SuiteVerdict(
        suite=suite,
        rows=tuple(rows),
        verdict=verdict,
        reason=reason,
        mean_task=Means(whole.mean_task, their_whole.mean_task),
        mean_task_type=Means(whole.mean_task_type, their_whole.mean_task_type),
        compared=len(compared),
        compared_mean_task=compared_means[0],
        compared_mean_task_type=compared_means[1],
        remarks=tuple(remarks),
    )


def mean_errors(part: Suite, standard_errors: Mapping[str, float]) -> tuple[float, float]:
    """Return the standard errors of Mean(Task) and Mean(TaskType) over `part`, on the same scale.

    The draws of different tasks are independent. In Mean(TaskType) a task weighs the less the
    more tasks its type has.
    """
    of_type = {t: sum(task.type == t for task in part.tasks) for t in part.types}
    by_task = by_type = 0.0
    for task in part.tasks:
        error = standard_errors.get(task.name, 0.0)
        by_task += (error / len(part.tasks)) ** 2
        by_type += (error / (len(of_type) * of_type[task.type])) ** 2
    return math.sqrt(by_task), math.sqrt(by_type)


def _by_task(rows: Sequence[TaskVerdict], side: str) -> dict[str, float]:
    """Return each task's mean over its rows, in points; only of tasks that have all of them."""
    values: dict[str, list[float | None]] = {}
    for row in rows:
        values.setdefault(row.task, []).append(getattr(row, side))
    return {
        task: sum(known) / len(known)
        for task, scores in values.items()
        if len(known := [score for score in scores if score is not None]) == len(scores)
    }


def _decide(
    rows: Sequence[TaskVerdict],
    compared: int,
    means: Sequence[Means],
    errors: Sequence[float],
) -> tuple[str, str]:
    """Return verdict and reason of a suite whose comparable tasks have these means.

    Args:
        rows: The verdicts of its tasks.
        compared: Number of tasks that could be compared.
        means: Both means over those.
        errors: The standard error of each mean's draws, 0 to 1.
    """
    against = [row for row in rows if row.held_against_us]
    told = []
    for verdict in (Verdict.OFF, Verdict.NOT_COMPARABLE, Verdict.MISSING):
        names = [row.task for row in against if row.verdict is verdict]
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")
            told.append(f"{len(names)} {verdict.value} ({shown})")
    for name, mean, error in zip(("Mean(Task)", "Mean(TaskType)"), means, errors, strict=True):
        allowed = max(TOLERANCE, 100 * DRAW_ERRORS * error)
        if mean.difference is not None and abs(mean.difference) > allowed + SLACK:
            told.append(
                f"{name} differs by {abs(mean.difference):.2f} points (tolerance {allowed:.2f})"
            )
    if not compared:
        told.append("nothing could be compared")
    over = f"over {compared} task{'s' if compared != 1 else ''}"
    if told:
        return NOT_REPRODUCED, "; ".join(told)
    return REPRODUCED, f"both means {over}, and every one of them, within tolerance"
