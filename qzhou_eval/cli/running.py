"""The main job: a suite through a model into result files and tables."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qzhou_eval import __version__
from qzhou_eval.cli.card import Teller, print_card, print_close, short_path, summary_notes
from qzhou_eval.cli.models import be_offline, resolve_model
from qzhou_eval.cli.options import DeviceOptions, ModelOptions, RunOptions, comma_separated

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from qzhou_eval.evaluate.runner import Job
    from qzhou_eval.recipe.resolution import ResolvedRecipe
    from qzhou_eval.suite.prompts import PromptBook
    from qzhou_eval.suite.suite import Suite, TaskSpec

MODE = "strict"
SOME_FAILED = 1
NAMING_DIGITS = 16
"""Digits of a fingerprint that name a folder."""


@dataclass(frozen=True)
class Settled:
    """A run whose input has been checked, before anything is written or any weights are read.

    Attributes:
        suite: The suite, its tasks completed from mteb.
        resolved: The model and its recipe.
        device: Where it computes.
        prompts: The run's prompts.
        jobs: The chosen tasks with their data.
        identity: What all results of the folder are made with, and the command.
        path: The run's folder.
    """

    suite: Suite
    resolved: ResolvedRecipe
    device: torch.device
    prompts: PromptBook
    jobs: list[Job]
    identity: dict[str, Any]
    path: Path


def run_suite(suite: Suite, model: ModelOptions, options: RunOptions, on: DeviceOptions) -> int:
    """Run `suite`; return the exit code, 0 when every task has a score.

    Raises:
        UserError: wrong input; nothing has been written.
    """
    if on.offline:
        be_offline()
    from rich.console import Console

    from qzhou_eval.encode.encoder import load_encoder
    from qzhou_eval.evaluate.run_folder import open_run_folder

    console = Console(highlight=False)
    settled = _settle(console, suite, model, options, on)
    print_card(console, settled, on)
    with console.status("Loading the model ..."):
        resolved = settled.resolved
        encoder = load_encoder(resolved.checkpoint, resolved.recipe, settled.device)
    # Only now is a folder made: by here, wrong input has been told.
    from qzhou_eval.evaluate.runner import run

    folder = open_run_folder(settled.path, settled.identity, settled.suite.to_dict())
    try:
        outcomes = run(
            settled.jobs,
            folder,
            encoder,
            resolved,
            settled.prompts,
            batch_size=on.batch_size,
            on_outcome=Teller(console, len(settled.jobs)),
        )
        _write_tables(console, settled)
    finally:
        folder.close()
    failed = [outcome.spec.name for outcome in outcomes if outcome.path is None]
    print_close(console, settled.path, failed, len(outcomes))
    return SOME_FAILED if failed else 0


def _settle(
    console: Console, suite: Suite, model: ModelOptions, options: RunOptions, on: DeviceOptions
) -> Settled:
    from qzhou_eval.encode.device import check_support, choose_device
    from qzhou_eval.environment import environment
    from qzhou_eval.evaluate.run_folder import check_run_folder, run_path
    from qzhou_eval.suite.prompts import prompt_book

    names, types = comma_separated(options.tasks), comma_separated(options.types)
    known = all(task.type for task in suite.tasks)  # mteb need not be asked
    chosen = suite.select(names, types if known else ())
    resolved = resolve_model(model)
    recipe = resolved.recipe
    device = choose_device(on.device)
    check_support(device, recipe.dtype, recipe.attention)
    if known:
        prompt_book(recipe, chosen, model.instruction_table)
    folders = _datasets_dirs(suite, options)

    suite, chosen = _completed(console, suite, names, types)
    prompts = prompt_book(recipe, chosen, model.instruction_table)
    with console.status("Checking local datasets ..."):
        from qzhou_eval.evaluate.runner import prepare

        jobs = prepare(chosen, folders, prompts)

    fingerprint = resolved.fingerprint()
    revision = resolved.checkpoint.revision or fingerprint[:NAMING_DIGITS]
    identity = {
        "model": resolved.model_name,
        "revision": revision,
        "fingerprint": fingerprint,
        "recipe": recipe.to_dict(),
        "settings": {
            "mode": MODE,
            "batch_size": on.batch_size,
            "device": device.type,
            "instruction_table": _digest(model.instruction_table),
        },
        "recipe_chosen": resolved.chosen_by,
        "overridden": list(resolved.overridden),
        "location": short_path(resolved.checkpoint.location),
        "arguments": sys.argv[1:],
        "qzhou_eval": __version__,
        "environment": environment(device),
    }
    path = run_path(options.output_dir, resolved.model_name, revision)
    check_run_folder(path, identity)
    return Settled(suite, resolved, device, prompts, jobs, identity, path)


def _completed(
    console: Console, suite: Suite, names: list[str], types: list[str]
) -> tuple[Suite, tuple[TaskSpec, ...]]:
    """Fill in from mteb what the suite leaves to it; return it and the chosen tasks."""
    from qzhou_eval.suite.suite import with_tasks

    with console.status("Reading mteb's task definitions ..."):
        from qzhou_eval.evaluate.mteb1.tasks import complete
    suite = with_tasks(suite, map(complete, suite.tasks))
    return suite, suite.select(names, types)


def _digest(table: Path | None) -> str:
    from qzhou_eval.files import file_digest

    return file_digest(table) if table else ""


def _datasets_dirs(suite: Suite, options: RunOptions) -> list[Path]:
    from qzhou_eval.errors import UserError

    if options.datasets_dir and not options.datasets_dir.is_dir():
        raise UserError(f"--datasets-dir {options.datasets_dir}: no such folder")
    return [folder for folder in (options.datasets_dir, suite.datasets_dir) if folder]


def _write_tables(console: Console, settled: Settled) -> None:
    """Write the folder's summaries; print the table of the suite that was run."""
    from qzhou_eval.report.files import SUMMARY_FILES, write_summary
    from qzhou_eval.report.terminal import print_leaderboard
    from qzhou_eval.scores.run_folders import read_run_folder

    rows = read_run_folder(settled.path)
    if not rows:
        for name in SUMMARY_FILES:  # of results that stand no longer
            (settled.path / name).unlink(missing_ok=True)
        return
    write_summary(rows, settled.path, summary_notes(settled.identity))
    console.print()
    print_leaderboard([r for r in rows if r.scores.suite.name == settled.suite.name], console)
