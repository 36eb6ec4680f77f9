"""A run's input, checked: everything that can be wrong with it is found here."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qzhou_eval import __version__
from qzhou_eval.cli.models import resolve_model
from qzhou_eval.cli.options import DeviceOptions, ModelOptions, RunOptions, comma_separated
from qzhou_eval.cli.waiting import waiter
from qzhou_eval.recipe.choices import Mode, parse_choice

if TYPE_CHECKING:
    from rich.console import Console

    from qzhou_eval.encode.placement import Placement
    from qzhou_eval.evaluate.jobs import Job
    from qzhou_eval.recipe.resolution import ResolvedRecipe
    from qzhou_eval.suite.prompts import PromptBook
    from qzhou_eval.suite.suite import Suite, TaskSpec

NAMING_DIGITS = 16
"""Digits of a fingerprint that name a folder."""


@dataclass(frozen=True)
class Settled:
    """A run whose input has been checked, before anything is written or any weights are read.

    Attributes:
        suite: The suite, its tasks completed from mteb.
        resolved: The model and its recipe.
        placement: Where it computes.
        mode: How texts are brought through the model.
        prompts: The run's prompts.
        jobs: The chosen tasks with their data.
        identity: What all results of the folder are made with, and the command.
        path: The run's folder.
        overwrite: Tasks of which nothing is kept.
        overwriting: How that was asked for.
    """

    suite: Suite
    resolved: ResolvedRecipe
    placement: Placement
    mode: Mode
    prompts: PromptBook
    jobs: list[Job]
    identity: dict[str, Any]
    path: Path
    overwrite: tuple[str, ...] = ()
    overwriting: str = ""


def made_with(jobs: list[Job]) -> dict[str, Any]:
    """Return what the results of `jobs` must have been made with, by task name."""
    return {job.spec.name: job.made_with for job in jobs}


def settle(
    console: Console,
    suite: Suite,
    model: ModelOptions,
    options: RunOptions,
    on: DeviceOptions,
    stack: ExitStack,
) -> Settled:
    """Check all input of a run; nothing is written, no weights are read.

    Args:
        console: Where progress is shown.
        suite: The suite.
        model: What is asked for of the model.
        options: What is asked for of the run.
        on: What is asked for of the devices.
        stack: Is given what must be closed when the run is over.

    Raises:
        UserError: something is wrong with it.
    """
    from qzhou_eval.encode.placement import check_placement, place
    from qzhou_eval.environment import environment
    from qzhou_eval.evaluate.run_folder import (
        check_results,
        check_run_folder,
        done_tasks,
        run_path,
        unfinished_tasks,
    )
    from qzhou_eval.folder_lock import check_unlocked
    from qzhou_eval.recipe.checkpoint import check_here
    from qzhou_eval.suite.instructions import table_digest
    from qzhou_eval.suite.prompts import prompt_book

    mode = parse_choice(Mode, on.mode, "mode")
    names, types = comma_separated(options.tasks), comma_separated(options.types)
    known = all(task.type for task in suite.tasks)  # mteb need not be asked
    chosen = suite.select(names, types if known else ())
    resolved = resolve_model(model, options.datasets_dir)
    if on.offline:
        check_here(resolved.checkpoint)
    recipe = resolved.recipe
    placement = place(on.device, on.ray_address, on.actors)
    stack.callback(placement.close)
    check_placement(resolved, placement)
    if known:
        prompt_book(recipe, chosen, model.instruction_table)
    folders = _datasets_dirs(suite, options)

    suite, chosen = _completed(console, suite, names, types)
    prompts = prompt_book(recipe, chosen, model.instruction_table)
    with console.status("Checking local datasets ..."):
        from qzhou_eval.evaluate.jobs import prepare

        jobs = prepare(chosen, folders, prompts, offline=on.offline)

    import torch

    first = next(iter(placement.devices), torch.device("cpu"))
    fingerprint = resolved.fingerprint()
    revision = resolved.checkpoint.revision or fingerprint[:NAMING_DIGITS]
    identity = {
        "model": resolved.model_name,
        "revision": revision,
        "fingerprint": fingerprint,
        "recipe": recipe.to_dict(),
        "settings": {
            "mode": mode.value,
            # Batches by tokens have no size to keep to.
            "batch_size": on.batch_size if mode is Mode.STRICT else None,
            "device": placement.kind,
            **device_count(mode, placement.count),
            "instruction_table": _digest(model.instruction_table),
        },
        "recipe_chosen": resolved.chosen_by,
        "recipe_origins": dict(resolved.origins),
        "overridden": list(resolved.overridden),
        "location": short_path(resolved.checkpoint.location),
        "instructions": {
            "set": recipe.instruction_set,
            "table": str(model.instruction_table or ""),
            "sha256": table_digest(prompts.instructions),
        },
        "arguments": sys.argv[1:],
        "options": {
            "suite": suite.name,
            "tasks": [job.spec.name for job in jobs],
            "datasets_dirs": [short_path(str(folder)) for folder in folders],
            "output_dir": str(options.output_dir),
            "device": on.device if placement.ray_address else placement.name,
            "ray_address": placement.ray_address,
            "devices": placement.count,
            "batch_size": on.batch_size,
            "mode": mode.value,
            "offline": on.offline,
            "skip_preflight": options.skip_preflight,
            "retry_failed": options.retry_failed,
            "overwrite": options.overwrite,
            "items": not options.no_items,
            "cache_gib": 0.0 if options.no_cache else options.cache_limit,
        },
        "qzhou_eval": __version__,
        # Of the actors' machines it is known when they are there.
        "environment": environment(torch.device("cpu") if placement.distributed else first),
    }
    path = run_path(options.output_dir, resolved.model_name, revision)
    check_unlocked(path, waiter(console) if options.wait else None)
    check_run_folder(path, identity)
    if options.retry_failed:
        failed = unfinished_tasks(path)
        jobs = [job for job in jobs if job.spec.name in failed]
    how = options.overwrite.strip()
    overwrite = _overwritten(how, path, jobs)
    if not options.no_disk_check:
        from qzhou_eval.plan.disk import check_space, run_needs

        kept = {*done_tasks(path)} - {*overwrite}
        asked = [j.spec for j in jobs if j.local is None and j.spec.name not in kept]
        check_space(run_needs(path, () if on.offline else asked, resolved))
    check_results(path, made_with(jobs), overwrite)
    return Settled(suite, resolved, placement, mode, prompts, jobs, identity, path, overwrite, how)


def _overwritten(wanted: str, path: Path, jobs: list[Job]) -> tuple[str, ...]:
    """Return the tasks of which nothing is kept because of --overwrite.

    A run that was stopped is gone on with by the same words: what it has replaced stays, unless
    that was made otherwise than it would be now.

    Raises:
        UserError: one of them is not among those that are run.
    """
    from qzhou_eval.evaluate.run_folder import being_overwritten, changed

    others = changed(path, made_with(jobs))
    begun = being_overwritten(path, wanted)
    named = _named(wanted, [job.spec.name for job in jobs], others)
    return tuple(name for name in named if name not in begun or name in others)


def _named(wanted: str, names: list[str], others: Iterable[str]) -> tuple[str, ...]:
    """Return the tasks that --overwrite names.

    Args:
        wanted: What it was given.
        names: The tasks that are run.
        others: Those of them whose results were made otherwise.

    Raises:
        UserError: one of them is not among those that are run.
    """
    from qzhou_eval.errors import UserError, nearest

    if wanted.lower() == "all":
        return tuple(names)
    if wanted.lower() == "changed":
        return tuple(others)
    by_lower = {name.lower(): name for name in names}
    asked = comma_separated(wanted)
    for name in asked:
        if name.lower() not in by_lower:
            hint = nearest(name, names)
            raise UserError(f"--overwrite {name}: not among the tasks of this run: {hint}")
    return tuple(by_lower[name.lower()] for name in asked)


def _completed(
    console: Console, suite: Suite, names: list[str], types: list[str]
) -> tuple[Suite, tuple[TaskSpec, ...]]:
    """Fill in from mteb what the suite leaves to it; return it and the chosen tasks."""
    from qzhou_eval.suite.suite import with_tasks

    with console.status("Reading mteb's task definitions ..."):
        from qzhou_eval.evaluate.mteb1.tasks import complete
    suite = with_tasks(suite, map(complete, suite.tasks))
    return suite, suite.select(names, types)


def device_count(mode: Mode, count: int) -> dict[str, int]:
    """Return the setting that says how many devices texts are cut up for.

    Nothing in fast mode, where no vector depends on it.
    """
    return {"devices": count} if mode is Mode.STRICT else {}


def _digest(table: Path | None) -> str:
    from qzhou_eval.files import file_digest

    return file_digest(table) if table else ""


def _datasets_dirs(suite: Suite, options: RunOptions) -> list[Path]:
    from qzhou_eval.errors import UserError

    if options.datasets_dir and not options.datasets_dir.is_dir():
        raise UserError(f"--datasets-dir {options.datasets_dir}: no such folder")
    return [folder for folder in (options.datasets_dir, suite.datasets_dir) if folder]


def short_path(location: str) -> str:
    """Return a path below the working folder relative to it, anything else as it is."""
    path, here = Path(location), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else location
