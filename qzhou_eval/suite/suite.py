"""Suites and their tasks, as plain data; mteb is not needed to read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qzhou_eval.errors import UserError, nearest
from qzhou_eval.suite.instructions import Instruction, Side

TASK_TYPES = (
    "Classification",
    "Clustering",
    "PairClassification",
    "Reranking",
    "STS",
    "Retrieval",
    "Summarization",
)
"""The task types of both suites, in the order of the published tables' columns."""


SIDED_TYPES = ("Retrieval", "Reranking")
"""Types whose tasks tell queries from documents; the texts of the others know no sides."""


@dataclass(frozen=True)
class TaskSpec:
    """One task of a suite.

    Attributes:
        name: mteb's name, or a name of one's own for a task defined in a suite file.
        type: One of `TASK_TYPES`; empty until mteb has been asked (a task given by name).
        metric: Name of the main score.
        splits: Splits that count.
        subsets: Subsets ("default", "en", "en-en") that count.
        dataset: Hub name of the dataset, also its place below ``--datasets-dir``.
        revision: Commit of the dataset on the hub.
        layout: How a task defined in a suite file stores its data (see `suite.layouts`); empty
            for a task that mteb defines.
        languages: ``eng-Latn`` codes of a task defined in a suite file.
        instruction: Instruction given in a suite file, before any table's.
        definition: Which of mteb's two kinds of clustering task it is, which a record's shape
            shows: "fast" (draws from one set, by level) or "sets" (given sets, once each).
    """

    name: str
    type: str = ""
    metric: str = ""
    splits: tuple[str, ...] = ()
    subsets: tuple[str, ...] = ()
    dataset: str = ""
    revision: str = ""
    layout: str = ""
    languages: tuple[str, ...] = ()
    instruction: Instruction | None = None
    definition: str = ""

    @property
    def sides(self) -> tuple[Side | None, ...]:
        """The sides its texts are on; None for texts of a task that knows none."""
        return tuple(Side) if self.type in SIDED_TYPES else (None,)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are set, as plain values for JSON."""
        names = ("name", "type", "metric", "splits", "subsets", "dataset", "revision", "layout")
        values = {name: getattr(self, name) for name in names}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v}


@dataclass(frozen=True)
class Suite:
    """A named list of tasks whose scores are averaged together.

    Attributes:
        name: The leaderboard's name, ``MTEB(cmn, v1)``.
        tasks: Its tasks, each once.
        description: One line about it.
        datasets_dir: Folder holding the suite's own data, for suites that bring it.
    """

    name: str
    tasks: tuple[TaskSpec, ...]
    description: str = ""
    datasets_dir: Path | None = field(default=None, compare=False)

    @property
    def types(self) -> tuple[str, ...]:
        """The task types that occur, in column order; types mteb alone knows come last."""
        present = {task.type for task in self.tasks}
        known = tuple(t for t in TASK_TYPES if t in present)
        return known + tuple(sorted(present.difference(TASK_TYPES)))

    def task(self, name: str) -> TaskSpec:
        """Return the task `name`.

        Raises:
            UserError: the suite has no such task.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        hint = nearest(name, (t.name for t in self.tasks))
        raise UserError(f"unknown task {name!r} in {self.name}: {hint}")

    def select(self, names: Sequence[str] = (), types: Sequence[str] = ()) -> tuple[TaskSpec, ...]:
        """Return the tasks that `names` and `types` both let through, in suite order.

        Args:
            names: Task names; none means all.
            types: Task types, in any case; none means all.

        Raises:
            UserError: a name or type the suite does not have, or nothing left.
        """
        by_lower = {task.name.lower(): task.name for task in self.tasks}
        wanted = {self.task(by_lower.get(name.lower(), name)).name for name in names}
        type_of = {name.lower(): name for name in self.types}
        for name in types:
            if name.lower() not in type_of:
                hint = nearest(name, self.types)
                raise UserError(f"unknown task type {name!r} in {self.name}: {hint}")
        kinds = {type_of[name.lower()] for name in types}
        chosen = tuple(
            task
            for task in self.tasks
            if (not names or task.name in wanted) and (not types or task.type in kinds)
        )
        if not chosen:
            raise UserError(
                f"no task of {self.name} is both in --tasks {','.join(names)} and of "
                f"--types {','.join(types)}"
            )
        return chosen

    def to_dict(self) -> dict[str, Any]:
        """Return the suite as plain values for JSON."""
        return {"name": self.name, "tasks": [task.to_dict() for task in self.tasks]}


def last_entries(tasks: Iterable[TaskSpec]) -> tuple[TaskSpec, ...]:
    """Drop earlier entries of a task listed twice: it counts once, the last entry stands."""
    tasks = list(tasks)
    last = {task.name: i for i, task in enumerate(tasks)}
    return tuple(task for i, task in enumerate(tasks) if last[task.name] == i)


def with_tasks(suite: Suite, tasks: Iterable[TaskSpec]) -> Suite:
    """Return `suite` with `tasks` for its own."""
    return replace(suite, tasks=tuple(tasks))
