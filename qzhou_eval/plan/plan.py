"""A run's plan: texts, tokens, operations, time, memory and disk, per task and in all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from qzhou_eval.encode.cost import Shape
from qzhou_eval.encode.speed import Pace
from qzhou_eval.evaluate.local_data import LocalDataset
from qzhou_eval.plan.parts import Basis, Parts, counted_parts, estimated_parts
from qzhou_eval.plan.resources import Settings, Where, disk_bytes, pass_bytes, scoring_bytes
from qzhou_eval.plan.tokens import TokenCounter, Tokens, token_counter
from qzhou_eval.recipe.choices import Mode
from qzhou_eval.recipe.recipe import Recipe
from qzhou_eval.suite.prompts import PromptBook
from qzhou_eval.suite.suite import TaskSpec


@dataclass(frozen=True)
class TaskPlan:
    """What one task will cost.

    Attributes:
        name: The task.
        type: Its type.
        basis: How texts and tokens are known; where they are not, the rest is 0.
        texts: Texts it has encoded.
        tokens: Their tokens, prompts and special tokens included.
        flops: Floating-point operations of the forward passes.
        seconds: Time to encode them.
        device_bytes: Memory of weights and the largest forward pass.
        scoring_bytes: Main memory for texts, vectors and scores.
        disk_bytes: Disk space its data will take that is not taken yet.
        where: Where its data is.
    """

    name: str
    type: str
    basis: Basis
    texts: int
    tokens: int
    flops: float
    seconds: float
    device_bytes: int
    scoring_bytes: int
    disk_bytes: int
    where: Where

    @property
    def known(self) -> bool:
        """Whether anything is known of the task."""
        return self.basis is not Basis.UNKNOWN


@dataclass(frozen=True)
class Plan:
    """What a run will cost.

    Attributes:
        tasks: Its tasks, in the suite's order.
        weights_bytes: Memory of the model's weights.
    """

    tasks: tuple[TaskPlan, ...]
    weights_bytes: int

    @property
    def unknown(self) -> list[str]:
        """Names of the tasks of which nothing is known, and which no total counts."""
        return [task.name for task in self.tasks if not task.known]

    @property
    def texts(self) -> int:
        """Texts of all tasks."""
        return sum(task.texts for task in self.tasks)

    @property
    def tokens(self) -> int:
        """Tokens of all tasks."""
        return sum(task.tokens for task in self.tasks)

    @property
    def flops(self) -> float:
        """Floating-point operations of all tasks."""
        return sum(task.flops for task in self.tasks)

    @property
    def seconds(self) -> float:
        """Seconds of encoding of all tasks."""
        return sum(task.seconds for task in self.tasks)

    @property
    def device_bytes(self) -> int:
        """Memory of weights and the largest forward pass of any task."""
        return max(self.weights_bytes, *(task.device_bytes for task in self.tasks))

    @property
    def scoring_bytes(self) -> int:
        """Main memory of the task that needs most of it."""
        return max(task.scoring_bytes for task in self.tasks)

    @property
    def disk_bytes(self) -> int:
        """Disk space that all tasks' data will take; a dataset of two tasks counts twice."""
        return sum(task.disk_bytes for task in self.tasks)


@dataclass(frozen=True)
class Data:
    """Where a task's data is.

    Attributes:
        where: The kind of place.
        local: Its folder, if it is in one.
    """

    where: Where = Where.HUB
    local: LocalDataset | None = None


def make_plan(
    specs: Iterable[TaskSpec],
    counter: TokenCounter,
    prompts: PromptBook,
    shape: Shape,
    pace: Pace,
    settings: Settings,
    data: Mapping[str, Data] | None = None,
) -> Plan:
    """Plan a run; loads data that is in folders, downloads nothing.

    Args:
        specs: The tasks, completed where data is in folders.
        counter: Turns texts into tokens; has the recipe.
        prompts: The run's prompts.
        shape: The model's sizes.
        pace: How fast it encodes.
        settings: How the run is made.
        data: Task name to where its data is; on the hub if it says nothing.
    """
    recipe = counter.recipe
    weights = shape.weights_bytes(recipe.dtype)
    tasks = []
    for spec in specs:
        place = (data or {}).get(spec.name, Data())
        if place.local is None:
            parts = estimated_parts(spec, counter, prompts)
        else:
            distinct = settings.mode is Mode.FAST
            parts = counted_parts(spec, place.local, counter, prompts, distinct=distinct)
        tasks.append(_task_plan(spec, parts, recipe, shape, pace, settings, place.where))
    return Plan(tuple(tasks), weights)


def _task_plan(
    spec: TaskSpec,
    parts: Parts,
    recipe: Recipe,
    shape: Shape,
    pace: Pace,
    settings: Settings,
    where: Where,
) -> TaskPlan:
    total = parts.total
    width = recipe.dimensions or shape.hidden
    known = parts.basis is not Basis.UNKNOWN
    weights = shape.weights_bytes(recipe.dtype)
    return TaskPlan(
        name=spec.name,
        type=spec.type,
        basis=parts.basis,
        texts=total.texts,
        tokens=round(total.tokens),
        flops=sum(_flops(shape, tokens) for tokens in parts.sides.values()),
        seconds=sum(_seconds(shape, pace, tokens) for tokens in parts.sides.values()),
        device_bytes=weights + pass_bytes(shape, recipe, total, settings) if known else 0,
        scoring_bytes=scoring_bytes(spec.type, width, parts) if known else 0,
        disk_bytes=disk_bytes(parts, where),
        where=where,
    )


def _flops(shape: Shape, tokens: Tokens) -> float:
    return shape.flops(tokens.tokens, tokens.length)


def _seconds(shape: Shape, pace: Pace, tokens: Tokens) -> float:
    return pace.seconds(tokens.tokens, tokens.length, _flops(shape, tokens))


def planned(
    specs: Iterable[TaskSpec],
    recipe: Recipe,
    prompts: PromptBook,
    tokenizer: Any,
    shape: Shape,
    pace: Pace | None = None,
) -> dict[str, dict[str, Any]]:
    """Return what a run's manifest keeps of the plan; in well under a second, no data is read.

    Args:
        specs: The run's tasks.
        recipe: How the model is run.
        prompts: The run's prompts.
        tokenizer: The model's tokenizer.
        shape: The model's sizes.
        pace: How fast it encodes; None if that is not known.

    Returns:
        Task name to its texts, tokens and, with a pace, seconds of encoding. Tasks whose sizes
        are not known without their data are left out.
    """
    counter = token_counter(recipe, tokenizer)
    found = {}
    for spec in specs:
        parts = estimated_parts(spec, counter, prompts)
        if parts.basis is Basis.UNKNOWN:
            continue
        entry: dict[str, Any] = {"texts": parts.total.texts, "tokens": round(parts.total.tokens)}
        if pace is not None:
            sides = parts.sides.values()
            entry["seconds"] = round(sum(_seconds(shape, pace, tokens) for tokens in sides), 3)
        found[spec.name] = entry
    return found
