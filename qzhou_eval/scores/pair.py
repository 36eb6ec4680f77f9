"""Two runs beside each other: what differs, and whether it is more than chance. In points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from qzhou_eval.scores.noise import CONFIDENCE
from qzhou_eval.scores.result_folder import ResultFolder
from qzhou_eval.scores.verdicts import Means
from qzhou_eval.suite.suite import Suite


class Outcome(str, Enum):
    """What became of one task's two scores."""

    BETTER = "better"
    """B's is higher, by more than the noise."""
    WORSE = "worse"
    """B's is lower, by more than the noise."""
    NOISE = "within the noise"
    """They differ by no more than chance makes them."""
    EQUAL = "equal"
    """They are the same number."""
    UNKNOWN = "noise not known"
    """They differ, and there are no items or draws to tell the noise from."""
    NOT_COMPARABLE = "not comparable"
    """They are scores of two different things."""
    MISSING = "missing"
    """One of the two is not there."""


COMPARED = (Outcome.BETTER, Outcome.WORSE, Outcome.NOISE, Outcome.EQUAL, Outcome.UNKNOWN)
REST = {
    Outcome.NOISE: (
        "{} differ by no more than the noise",
        "{} differs by no more than the noise",
    ),
    Outcome.EQUAL: ("{} are equal", "{} is equal"),
    Outcome.UNKNOWN: ("the noise of {} is not known", "the noise of {} is not known"),
}
"""How a conclusion counts tasks that are neither better nor worse: several of them, and one."""
COVERED = (
    "The noise is that of which queries, pairs or texts were asked; in classification and "
    "clustering that of the draws, from the same data. How a model trained again with another "
    "seed would differ is no part of it. p is adjusted by Holm's method for all tasks tested."
)
"""What standard errors, p-values and intervals take into account."""


@dataclass(frozen=True)
class Side:
    """One of the two runs.

    Attributes:
        folder: Its folder.
        label: What tells it from the other: model and revision, and the folder where those are
            the same.
    """

    folder: ResultFolder
    label: str


@dataclass(frozen=True)
class Difference:
    """Something in which the two runs were made otherwise.

    Attributes:
        field: What: "recipe max_length", "packages torch".
        a: A's value, in words.
        b: B's value.
        tasks: The tasks of which it is said; empty for the whole runs.
    """

    field: str
    a: str
    b: str
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskPair:
    """A task's two scores, in points, 0 to 100.

    Attributes:
        task: The task.
        type: Its type.
        a: A's score: the mean over the splits and subsets that count; None where there is none.
        b: B's score.
        outcome: What became of it.
        reason: Why, where the figures do not say it.
        source: What the noise was told from; empty where it is not known.
        standard_error: Of the difference; None where it is not known.
        p: How likely a difference as large is by chance; None where that was not tested.
        adjusted_p: The same, made up for all the tasks that were tested.
    """

    task: str
    type: str
    a: float | None
    b: float | None
    outcome: Outcome
    reason: str = ""
    source: str = ""
    standard_error: float | None = None
    p: float | None = None
    adjusted_p: float | None = None

    @property
    def difference(self) -> float | None:
        """B's score less A's; None where one is missing."""
        return None if self.a is None or self.b is None else self.b - self.a


@dataclass(frozen=True)
class MeanPair:
    """The same mean of both runs, in points.

    Attributes:
        name: "Mean(Task)", or of which tasks it is.
        a: A's; None where nothing was compared.
        b: B's.
        standard_error: Of their difference; None unless every task's noise is known.
    """

    name: str
    a: float | None
    b: float | None
    standard_error: float | None

    @property
    def difference(self) -> float | None:
        """B's less A's."""
        return Means(self.b, self.a).difference

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the difference; None where its noise is not known."""
        if self.difference is None or self.standard_error is None:
            return None
        reach = CONFIDENCE * self.standard_error
        return self.difference - reach, self.difference + reach


@dataclass(frozen=True)
class SuitePair:
    """A suite, or the part of it that both runs have something of.

    Attributes:
        suite: The suite.
        rows: Its tasks that one of the runs has a result of.
        mean_task: Mean over the tasks that could be compared.
        mean_task_type: Mean of their types' means.
    """

    suite: Suite
    rows: tuple[TaskPair, ...]
    mean_task: MeanPair
    mean_task_type: MeanPair

    def of(self, *outcomes: Outcome) -> list[TaskPair]:
        """Return the rows of these outcomes."""
        return [row for row in self.rows if row.outcome in outcomes]

    @property
    def conclusion(self) -> str:
        """What the comparison comes to, in one line."""
        compared = len(self.of(*COMPARED))
        tasks = f"{compared} task{'s' if compared != 1 else ''}"
        better, worse = self.of(Outcome.BETTER), self.of(Outcome.WORSE)
        told = []
        if not compared:
            told.append("nothing could be compared")
        elif len(self.of(Outcome.EQUAL)) == compared:
            told.append(f"A and B are equal on all of {tasks}")
        else:
            told.append(
                f"B is better on {_counted(better)} of {tasks}{_named(better)}, "
                f"worse on {_counted(worse)}{_named(worse)}"
            )
            others = compared - len(better) - len(worse)
            for outcome, words in REST.items():
                if count := len(self.of(outcome)):
                    number = f"the other {count}" if count == others < compared else str(count)
                    told.append(words[count == 1].format(number))
        for outcome in (Outcome.NOT_COMPARABLE, Outcome.MISSING):
            if own := self.of(outcome):
                told.append(f"{len(own)} {outcome.value}{_named(own)}")
        if self.mean_task.difference is not None:
            told.append(_mean_told(self.mean_task))
        return "; ".join(told)


@dataclass(frozen=True)
class Pair:
    """Two runs beside each other.

    Attributes:
        a: The one.
        b: The other.
        suites: What came of each suite that both have something of.
        differences: In what they were made otherwise: what a difference could come from.
        remarks: What a reader must be told besides.
    """

    a: Side
    b: Side
    suites: tuple[SuitePair, ...]
    differences: tuple[Difference, ...]
    remarks: tuple[str, ...] = ()


def _counted(rows: Sequence[TaskPair]) -> str:
    return str(len(rows)) if rows else "none"


def _named(rows: Sequence[TaskPair]) -> str:
    return f" ({few([row.task for row in rows])})" if rows else ""


def few(names: Sequence[str]) -> str:
    """Return names in words, the first five of them."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")


def _mean_told(mean: MeanPair) -> str:
    # Where nothing differs at all there is nothing to be uncertain of.
    interval = mean.interval if mean.standard_error else None
    reach = f" (95 % {interval[0]:+.2f} to {interval[1]:+.2f})" if interval else ""
    return f"{mean.name} {round(mean.difference or 0.0, 2) + 0.0:+.2f}{reach}"
