"""From task scores to the means of a leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qzhou_eval.suite.suite import Suite


@dataclass(frozen=True)
class SuiteScores:
    """One model's scores on a suite.

    Attributes:
        suite: The suite.
        tasks: Task name to score, 0 to 1, of the suite's tasks that are done.
    """

    suite: Suite
    tasks: Mapping[str, float]

    @property
    def done(self) -> int:
        """Number of the suite's tasks that have a score."""
        return len(self.tasks)

    @property
    def total(self) -> int:
        """Number of the suite's tasks."""
        return len(self.suite.tasks)

    def done_of_type(self, task_type: str) -> tuple[int, int]:
        """Return how many tasks of a type have a score, and how many there are."""
        names = [task.name for task in self.suite.tasks if task.type == task_type]
        return sum(name in self.tasks for name in names), len(names)

    def type_mean(self, task_type: str) -> float | None:
        """Return the mean over the tasks of a type; None unless all of them have a score."""
        names = [task.name for task in self.suite.tasks if task.type == task_type]
        if not names or any(name not in self.tasks for name in names):
            return None
        return sum(self.tasks[name] for name in names) / len(names)

    @property
    def mean_task(self) -> float | None:
        """Mean over tasks; None unless the suite is complete."""
        if self.done < self.total:
            return None
        return sum(self.tasks[task.name] for task in self.suite.tasks) / self.total

    @property
    def mean_task_type(self) -> float | None:
        """Mean of the per-type means; None unless the suite is complete."""
        means = [self.type_mean(task_type) for task_type in self.suite.types]
        known = [mean for mean in means if mean is not None]
        return sum(known) / len(known) if known and len(known) == len(means) else None


def aggregate(suite: Suite, scores: Mapping[str, float]) -> SuiteScores:
    """Return the suite's own tasks out of `scores` (task name to score, 0 to 1)."""
    names = [task.name for task in suite.tasks]
    return SuiteScores(suite, {name: scores[name] for name in names if name in scores})
