"""A plan as people look at it, and as programs do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from qzhou_eval.errors import plain
from qzhou_eval.machine import memory_bytes, places
from qzhou_eval.plan.model import PlannedModel
from qzhou_eval.plan.parts import Basis
from qzhou_eval.plan.plan import Plan, TaskPlan
from qzhou_eval.recipe.choices import Mode

UNKNOWN = "?"
GIB = 2**30
TERA = 1e12
LANGUAGES = {"eng": "English", "cmn": "Chinese"}
COLUMNS = ("Texts", "Tokens", "TFLOP", "Time", "Memory", "Disk")


@dataclass(frozen=True)
class PlanFacts:
    """What a plan is made for and by.

    Attributes:
        suite: The suite's name.
        model: The model.
        pace: What the time goes by, in words.
        mode: How texts are brought through the model.
        ratios: Characters a token, by language.
        gpu_bytes: Memory of the GPU; 0 if that is not known, None on a CPU.
    """

    suite: str
    model: PlannedModel
    pace: str
    mode: Mode
    ratios: Mapping[str, float]
    gpu_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain values for JSON."""
        recipe, shape = self.model.resolved.recipe, self.model.shape
        return {
            "suite": self.suite,
            "model": self.model.resolved.model_name,
            "parameters": shape.parameters,
            "weights_bytes": shape.weights_bytes(recipe.dtype),
            "weights_here": self.model.weights_here,
            "dtype": recipe.dtype.value,
            "max_length": recipe.max_length,
            "mode": self.mode.value,
            "tokenizer_here": self.model.tokenizer is not None,
            "characters_per_token": {name: round(r, 3) for name, r in self.ratios.items()},
            "pace": self.pace,
        }


def print_plan(plan: Plan, facts: PlanFacts, console: Console) -> None:
    """Print a row a task and one for all, and below what the figures are worth."""
    recipe, shape = facts.model.resolved.recipe, facts.model.shape
    title = (
        f"{facts.suite}: {facts.model.resolved.model_name}, {parameters(shape.parameters)} "
        f"parameters, {recipe.dtype.value}, {recipe.max_length} tokens, {facts.mode.value} mode"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Task", overflow="fold")
    for heading in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for task in plan.tasks:
        table.add_row(
            Text(plain(task.name)), *(_cells(task) if task.known else [UNKNOWN] * len(COLUMNS))
        )
    table.add_section()
    table.add_row("All that are known" if plan.unknown else "All", *_cells(plan))
    console.print(Text(plain(title)))
    console.print(table)
    notes = Table.grid(padding=(0, 2, 0, 0))
    for heading, text in _notes(plan, facts).items():
        notes.add_row(heading, Text(plain(text)))
    console.print(notes)
    for text in plan_warnings(plan, facts):
        console.print(Text(plain(text), "yellow"))


def _notes(plan: Plan, facts: PlanFacts) -> dict[str, str]:
    """Return what each column is, and how it is known, by heading."""
    bases = [task.basis for task in plan.tasks]
    known = ", ".join(f"{bases.count(b)} {b.value}" for b in Basis if b in bases)
    ratios = " and ".join(
        f"{ratio:.2f} {LANGUAGES.get(name, name)}" for name, ratio in facts.ratios.items()
    )
    source = "of the model's tokenizer" if facts.model.tokenizer else "stated: no tokenizer here"
    notes = {"Texts": f"of {len(plan.tasks)} tasks, {known}"}
    if Basis.ESTIMATED in bases:
        notes["Tokens"] = f"estimated at {ratios} characters a token ({source})"
    weights, missing = gib(plan.weights_bytes), not facts.model.weights_here
    notes["Memory"] = (
        f"in GiB, of the device: {weights} of weights and a task's largest pass; besides, up to "
        f"{gib(plan.scoring_bytes)} of main memory for texts, vectors and scores"
    )
    notes["Disk"] = (
        "in GiB, what is not here yet of datasets (the splits that count) and their cache; "
        + (f"besides, {weights} of weights" if missing else "the weights are here")
    )
    notes["Time"] = f"{duration(plan.seconds)} of encoding {facts.pace}"
    return notes


def plan_warnings(plan: Plan, facts: PlanFacts) -> list[str]:
    """Return what this machine lacks for the run, and what the plan does not know, a line each."""
    warnings = []
    if plan.unknown:
        warnings.append(
            f"Not known without their data, and in no total: {', '.join(plan.unknown)} "
            "(--datasets-dir DIR counts what is there)"
        )
    space = {name: place["free_bytes"] for name, place in places(Path.cwd()).items()}
    free = min(space.get("dataset cache", 0), space.get("hub cache", 0) or math.inf)
    needed = plan.disk_bytes + (0 if facts.model.weights_here else plan.weights_bytes)
    if needed > free:
        warnings.append(f"Disk: {gib(needed)} GiB are needed, and {gib(free)} GiB are free")
    main = plan.scoring_bytes + (plan.device_bytes if facts.gpu_bytes is None else 0)
    for what, needed, there in (
        ("Memory", main, memory_bytes()),
        ("GPU", plan.device_bytes, facts.gpu_bytes),
    ):
        if there and needed > there:
            warnings.append(f"{what}: {gib(needed)} GiB are needed, and there are {gib(there)} GiB")
    return warnings


def _cells(row: TaskPlan | Plan) -> list[str]:
    return [
        f"{row.texts:,}",
        count(row.tokens),
        _tera(row.flops),
        duration(row.seconds),
        gib(row.device_bytes),
        gib(row.disk_bytes),
    ]


def plan_frame(plan: Plan) -> pd.DataFrame:
    """Return a row a task: task, type, basis, texts, tokens, tflop, seconds, three sizes, data."""
    return pd.DataFrame([_record(task) for task in plan.tasks])


def plan_data(plan: Plan, facts: PlanFacts) -> dict[str, Any]:
    """Return the plan as plain values for JSON, with what it is made for and by."""
    total = {
        "texts": plan.texts,
        "tokens": plan.tokens,
        "tflop": round(plan.flops / TERA, 3),
        "seconds": round(plan.seconds, 3),
        "device_bytes": plan.device_bytes,
        "scoring_bytes": plan.scoring_bytes,
        "disk_bytes": plan.disk_bytes,
    }
    return {
        **facts.to_dict(),
        "tasks": [_record(task) for task in plan.tasks],
        "total": total,
        "unknown": plan.unknown,
        "warnings": plan_warnings(plan, facts),
    }


def _record(task: TaskPlan) -> dict[str, Any]:
    named = {"task": task.name, "type": task.type, "basis": task.basis.value}
    if not task.known:
        return named
    return {
        **named,
        "texts": task.texts,
        "tokens": task.tokens,
        "tflop": round(task.flops / TERA, 3),
        "seconds": round(task.seconds, 3),
        "device_bytes": task.device_bytes,
        "scoring_bytes": task.scoring_bytes,
        "disk_bytes": task.disk_bytes,
        "data": task.where.value,
    }


def count(number: float) -> str:
    """Return a count in at most six characters: 12,345, then thousands and millions."""
    if number < 100_000:
        return f"{number:,.0f}"
    return f"{number / 1e3:,.0f}k" if number < 1e6 else f"{number / 1e6:,.1f}M"


def parameters(number: int) -> str:
    """Return a model's size as it is usually told: 7.1 billion, 22 million."""
    if number < 1e9:
        return f"{number / 1e6:.2g} million" if number < 1e8 else f"{number / 1e6:.0f} million"
    return f"{number / 1e9:.1f} billion"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def gib(size: float) -> str:
    """Return bytes in GiB, the unit left out."""
    return f"{size / GIB:.2f}" if size < 10 * GIB else f"{size / GIB:,.1f}"


def _tera(flops: float) -> str:
    tera = flops / TERA
    return count(tera) if tera >= 100 else f"{tera:.3g}"
