"""The main job: a suite through a model into result files and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qzhou_eval.cli.card import (
    Teller,
    print_card,
    print_close,
    print_preflight,
    summary_notes,
)
from qzhou_eval.cli.models import be_offline
from qzhou_eval.cli.options import DeviceOptions, ModelOptions, RunOptions
from qzhou_eval.cli.settling import Settled, settle
from qzhou_eval.recipe.choices import Mode

if TYPE_CHECKING:
    from rich.console import Console

    from qzhou_eval.encode.encoder import Encoder
    from qzhou_eval.plan.outlook import Outlook
    from qzhou_eval.suite.suite import Suite

SOME_FAILED = 1


def _preflight(console: Console, settled: Settled, encoder: Encoder, skip: bool) -> dict[str, Any]:
    """Check the loaded model, and return what the manifest says of it.

    Raises:
        UserError: a check failed.
    """
    from qzhou_eval.encode.preflight import SKIPPED, preflight

    if skip:
        console.print("Preflight skipped: the model was not checked\n", style="yellow")
        return SKIPPED
    prompts = {
        f"{job.spec.name} ({side.value})" if side else job.spec.name: settled.prompts.prompt(
            job.spec.name, side
        )
        for job in settled.jobs
        for side in job.spec.sides
    }
    with console.status("Checking the model ..."):
        result = preflight(encoder, settled.resolved, prompts)
    result.raise_for_failures()
    print_preflight(console, result)
    return result.to_dict()


def _fast(console: Console, settled: Settled, encoder: Encoder) -> Encoder:
    """Turn the loaded encoder into a fast one, and tell how its batches are laid out."""
    from qzhou_eval.encode.fast import fast_encoder

    choice = fast_encoder(encoder)
    fast = choice.encoder
    settled.identity["fast"] = {"layout": fast.layout.value, "reason": choice.reason}
    told = f"Fast     batches of {fast.budget:,} tokens, {choice.reason}\n"
    console.print(told, soft_wrap=True, markup=False)
    return fast


LONG_TOKENS = 1_000_000
"""Planned tokens from which on a run's pace is measured with care."""


def _outlook(
    console: Console, settled: Settled, encoder: Encoder, batch_size: int
) -> Outlook | None:
    """Plan the run by the loaded model's pace; None where that cannot be measured."""
    try:
        return _measured(console, settled, encoder, batch_size)
    except Exception as error:  # figures for the reader: no reason not to run
        from qzhou_eval.errors import one_line

        told = f"Not planned: {one_line(error, limit=120)}\n"
        console.print(told, style="yellow", soft_wrap=True, markup=False)
        return None


def _measured(console: Console, settled: Settled, encoder: Encoder, batch_size: int) -> Outlook:
    """Measure the loaded model's pace and the device's ceiling, and plan the run by them."""
    from qzhou_eval.encode.cost import matrix_ceiling, read_shape
    from qzhou_eval.plan.outlook import Outlook
    from qzhou_eval.plan.pace import model_pace
    from qzhou_eval.plan.plan import planned

    specs = [job.spec for job in settled.jobs]
    recipe, prompts = settled.resolved.recipe, settled.prompts
    tokenizer = encoder.backbone.tokenizer
    shape = read_shape(encoder.backbone.model.config, settled.resolved.model_name)
    with console.status("Measuring its pace ..."):
        sizes = planned(specs, recipe, prompts, tokenizer, shape)
        tokens = sum(entry["tokens"] for entry in sizes.values())
        seconds = 5.0 if tokens >= LONG_TOKENS else 0.5
        pace = model_pace(encoder, seconds, batch_size).pace
        entries = planned(specs, recipe, prompts, tokenizer, shape, pace)
        ceiling = matrix_ceiling(settled.device, recipe.dtype, seconds / 10)
    settled.identity["matrix_tflops"] = round(ceiling / 1e12, 3)
    outlook = Outlook(entries, encoder.meter, shape, ceiling)
    if tokens >= LONG_TOKENS:
        from qzhou_eval.report.plan import duration

        known = "" if len(entries) == len(specs) else f" for {len(entries)} of {len(specs)} tasks"
        console.print(
            f"Plan     about {tokens / 1e6:,.1f} million tokens, {duration(outlook.left()[1])} of "
            f"encoding{known}\n",
            soft_wrap=True,
            markup=False,
        )
    return outlook


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
    settled = settle(console, suite, model, options, on)
    print_card(console, settled, on)
    with console.status("Loading the model ..."):
        resolved = settled.resolved
        encoder = load_encoder(resolved.checkpoint, resolved.recipe, settled.device)
    settled.identity["preflight"] = _preflight(console, settled, encoder, options.skip_preflight)
    if settled.mode is Mode.FAST:
        encoder = _fast(console, settled, encoder)
    outlook = _outlook(console, settled, encoder, on.batch_size)
    if outlook:
        encoder.told = outlook.told
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
            on_outcome=Teller(console, len(settled.jobs), outlook),
            on_start=outlook.begin if outlook else lambda task: None,
            planned=outlook.planned if outlook else {},
        )
        _write_tables(console, settled)
    finally:
        folder.close()
    failed = [outcome.spec.name for outcome in outcomes if outcome.path is None]
    print_close(console, settled.path, failed, len(outcomes))
    return SOME_FAILED if failed else 0


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
