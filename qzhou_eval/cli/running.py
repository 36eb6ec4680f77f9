"""The main job: a suite through a model into result files and tables."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from qzhou_eval.cli.card import (
    Teller,
    print_card,
    print_close,
    print_preflight,
    print_stopped,
    summary_notes,
)
from qzhou_eval.cli.models import be_offline
from qzhou_eval.cli.options import DeviceOptions, ModelOptions, RunOptions
from qzhou_eval.cli.settling import Settled, made_with, settle
from qzhou_eval.cli.waiting import waiter
from qzhou_eval.errors import DevicesLostError, StorageError, plain
from qzhou_eval.interruption import Stopped, end_within, heeding_signals
from qzhou_eval.recipe.choices import Mode

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from qzhou_eval.encode.engine import Engine
    from qzhou_eval.plan.outlook import Outlook
    from qzhou_eval.suite.suite import Suite

SOME_FAILED = 1
CLOSING_SECONDS = 15.0
"""What Ray is given to end by itself after a signal."""


def _preflight(console: Console, settled: Settled, engine: Engine, skip: bool) -> dict[str, Any]:
    """Check the loaded model, and return what the manifest says of it.

    Raises:
        UserError: a check failed.
    """
    from qzhou_eval.encode.preflight import SKIPPED

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
        result = engine.preflight(prompts)
    result.raise_for_failures()
    print_preflight(console, result)
    return result.to_dict()


def _make_fast(console: Console, settled: Settled, engine: Engine) -> None:
    """Have the model encode in fast mode, and tell how its batches are laid out."""
    fast = engine.make_fast()
    settled.identity["fast"] = {"layout": fast.layout, "reason": fast.reason}
    told = f"Fast     batches of {fast.budget:,} tokens, {fast.reason}\n"
    console.print(told, soft_wrap=True, markup=False)


LONG_TOKENS = 1_000_000
"""Planned tokens from which on a run's pace is measured with care."""


def _outlook(console: Console, settled: Settled, engine: Engine, batch_size: int) -> Outlook | None:
    """Plan the run by the loaded model's pace; None where that cannot be measured."""
    try:
        return _measured(console, settled, engine, batch_size)
    except Exception as error:  # figures for the reader: no reason not to run
        from qzhou_eval.errors import one_line

        told = f"Not planned: {one_line(error, limit=120)}\n"
        console.print(told, style="yellow", soft_wrap=True, markup=False)
        return None


def _measured(console: Console, settled: Settled, engine: Engine, batch_size: int) -> Outlook:
    """Measure the loaded model's pace and the device's ceiling, and plan the run by them."""
    from qzhou_eval.plan.outlook import Outlook
    from qzhou_eval.plan.pace import model_pace
    from qzhou_eval.plan.plan import planned

    specs = [job.spec for job in settled.jobs]
    recipe, prompts = settled.resolved.recipe, settled.prompts
    tokenizer, shape = engine.tokenizer, engine.shape
    with console.status("Measuring its pace ..."):
        sizes = planned(specs, recipe, prompts, tokenizer, shape)
        tokens = sum(entry["tokens"] for entry in sizes.values())
        seconds = 5.0 if tokens >= LONG_TOKENS else 0.5
        pace = model_pace(engine, seconds, batch_size).pace
        entries = planned(specs, recipe, prompts, tokenizer, shape, pace)
        ceiling = engine.ceiling(seconds / 10)
    settled.identity["matrix_tflops"] = round(ceiling / 1e12, 3)
    outlook = Outlook(entries, engine.encoder.meter, shape, ceiling)
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

    console = Console(highlight=False)
    with ExitStack() as stack:
        settled = settle(console, suite, model, options, on, stack)
        if not settled.jobs:
            console.print(_nothing_left(settled.path), soft_wrap=True, markup=False)
            return 0
        print_card(console, settled, on)
        engine = _load(console, settled, stack)
        settled.identity["preflight"] = _preflight(console, settled, engine, options.skip_preflight)
        if settled.mode is Mode.FAST:
            _make_fast(console, settled, engine)
        outlook = _outlook(console, settled, engine, on.batch_size)
        if outlook:
            engine.encoder.told = outlook.told
        return _run(console, settled, engine, outlook, options, on.batch_size)


def _nothing_left(path: Path) -> str:
    """Return what to tell where --retry-failed finds none of the tasks asked for unfinished."""
    from qzhou_eval.evaluate.run_folder import unfinished_tasks

    others = unfinished_tasks(path)
    if not others:
        return f"Every task that was begun in {path} is done"
    named = plain(", ".join(others))
    return f"None of the tasks asked for is left to retry in {path}; others are: {named}"


def _load(console: Console, settled: Settled, stack: ExitStack) -> Engine:
    """Load the model where it is to compute."""
    from qzhou_eval.encode.placement import load_engine

    placement = settled.placement
    what = f"the model on {placement.count} devices" if placement.distributed else "the model"
    with console.status(f"Loading {what} ..."):
        engine = load_engine(settled.resolved, placement)
    stack.callback(engine.close)
    if placement.distributed:
        settled.identity["environment"]["hardware"] = engine.hardware
    return engine


def _run(
    console: Console,
    settled: Settled,
    engine: Engine,
    outlook: Outlook | None,
    options: RunOptions,
    batch_size: int,
) -> int:
    """Run the tasks and write the tables; return the exit code."""
    from qzhou_eval.evaluate.run_folder import check_results, open_run_folder
    from qzhou_eval.evaluate.runner import run

    teller = Teller(console, len(settled.jobs), outlook)
    with heeding_signals():
        # Only now is a folder made: by here, wrong input has been told.
        folder = open_run_folder(
            settled.path,
            settled.identity,
            settled.suite.to_dict(),
            cache_limit=0 if options.no_cache else int(options.cache_limit * 2**30),
            keeps_items=not options.no_items,
            overwrite=settled.overwrite,
            overwriting=settled.overwriting,
            waiting=waiter(console) if options.wait else None,
        )
        try:
            # Once more, under the lock: another run may have ended meanwhile.
            check_results(settled.path, made_with(settled.jobs), settled.overwrite)
            outcomes = run(
                settled.jobs,
                folder,
                engine.encoder,
                settled.resolved,
                settled.prompts,
                batch_size=batch_size,
                on_outcome=teller,
                on_start=outlook.begin if outlook else lambda task: None,
                planned=outlook.planned if outlook else {},
            )
            _write_tables(console, settled)
        except (DevicesLostError, Stopped, StorageError) as error:
            with suppress(StorageError):
                _write_tables(console, settled)  # of the tasks that are done
            if isinstance(error, DevicesLostError):
                raise
            print_stopped(console, settled, error, teller.done)
            if isinstance(error, Stopped):
                if settled.placement.distributed:
                    end_within(CLOSING_SECONDS, 128 + error.signal)
                # Past the command line's own word on interruptions.
                raise SystemExit(128 + error.signal) from None
            return SOME_FAILED
        finally:
            folder.close()
    failed = [outcome.spec.name for outcome in outcomes if outcome.path is None]
    print_close(console, settled.path, failed, len(outcomes), folder.ledger.space.refused)
    return SOME_FAILED if failed else 0


def _write_tables(console: Console, settled: Settled) -> None:
    """Write the folder's summaries; print the table of the suite that was run."""
    from qzhou_eval.report.files import write_summary
    from qzhou_eval.report.terminal import print_leaderboard
    from qzhou_eval.scores.run_folders import read_run_folder, suite_name

    rows = read_run_folder(settled.path)
    write_summary(rows, settled.path, summary_notes(settled.identity))
    console.print()
    ran = suite_name(settled.suite.name)
    print_leaderboard([row for row in rows if row.scores.suite.name == ran], console)
