"""The main job: a suite through a model into result files and tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qzhou_eval import __version__
from qzhou_eval.cli.models import be_offline, resolve_model
from qzhou_eval.cli.options import DeviceOptions, ModelOptions, RunOptions, comma_separated

if TYPE_CHECKING:
    from rich.console import Console

    from qzhou_eval.evaluate.runner import Outcome
    from qzhou_eval.recipe.resolution import ResolvedRecipe
    from qzhou_eval.suite.suite import Suite

MODE = "strict"
SOME_FAILED = 1
SHOWN_FINGERPRINT = 16


def run_suite(suite: Suite, model: ModelOptions, options: RunOptions, on: DeviceOptions) -> int:
    """Run `suite`; return the exit code, 0 when every task has a score.

    Everything that can be wrong with the input is found before the model's weights are read.

    Raises:
        UserError: wrong input; nothing has been written.
    """
    if on.offline:
        be_offline()
    from rich.console import Console

    from qzhou_eval.encode.device import check_support, choose_device
    from qzhou_eval.encode.encoder import load_encoder
    from qzhou_eval.environment import differing_pins, environment
    from qzhou_eval.evaluate.run_folder import check_run_folder, open_run_folder, run_path
    from qzhou_eval.suite.prompts import prompt_book
    from qzhou_eval.suite.suite import with_tasks

    console = Console(highlight=False)
    names, types = comma_separated(options.tasks), comma_separated(options.types)
    known = all(task.type for task in suite.tasks)  # mteb need not be asked
    chosen = suite.select(names, types if known else ())
    resolved = resolve_model(model)
    recipe = resolved.recipe
    device = choose_device(on.device)
    check_support(device, recipe.dtype, recipe.attention)
    if known:
        prompts = prompt_book(recipe, chosen, model.instruction_table)
    folders = _datasets_dirs(suite, options)

    with console.status("Reading mteb's task definitions ..."):
        from qzhou_eval.evaluate.mteb1.tasks import complete
        from qzhou_eval.evaluate.runner import prepare, run
    suite = with_tasks(suite, map(complete, suite.tasks))
    chosen = suite.select(names, types)
    prompts = prompt_book(recipe, chosen, model.instruction_table)
    with console.status("Checking local datasets ..."):
        jobs = prepare(chosen, folders, prompts)

    fingerprint = resolved.fingerprint()
    revision = resolved.checkpoint.revision or fingerprint[:SHOWN_FINGERPRINT]
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
        "location": _short(resolved.checkpoint.location),
        "arguments": sys.argv[1:],
        "qzhou_eval": __version__,
        "environment": environment(device),
    }
    path = run_path(options.output_dir, resolved.model_name, revision)
    check_run_folder(path, identity)
    _print_card(console, resolved, suite, len(chosen), str(device), on, path)
    if pins := differing_pins():
        told = ", ".join(f"{name} {version}" for name, version in pins.items())
        console.print(f"Not the published environment: {told}", style="yellow")
    with console.status("Loading the model ..."):
        encoder = load_encoder(resolved.checkpoint, recipe, device)
    folder = open_run_folder(path, identity, suite.to_dict())
    try:
        outcomes = run(
            jobs,
            folder,
            encoder,
            resolved,
            prompts,
            batch_size=on.batch_size,
            on_outcome=_Teller(console, len(jobs)),
        )
        _write_tables(console, suite, path, identity)
    finally:
        folder.close()
    return _close(console, outcomes, path)


def _short(location: str) -> str:
    """Return a path below the working folder relative to it, anything else as it is."""
    here = Path.cwd()
    path = Path(location)
    return str(path.relative_to(here)) if path.is_relative_to(here) else location


def _digest(table: Path | None) -> str:
    from qzhou_eval.files import file_digest

    return file_digest(table) if table else ""


def _datasets_dirs(suite: Suite, options: RunOptions) -> list[Path]:
    from qzhou_eval.errors import UserError

    if options.datasets_dir and not options.datasets_dir.is_dir():
        raise UserError(f"--datasets-dir {options.datasets_dir}: no such folder")
    return [folder for folder in (options.datasets_dir, suite.datasets_dir) if folder]


def _print_card(
    console: Console,
    resolved: ResolvedRecipe,
    suite: Suite,
    count: int,
    device: str,
    on: DeviceOptions,
    path: Path,
) -> None:
    recipe = resolved.recipe
    changed = f", changed here: {', '.join(resolved.overridden)}" if resolved.overridden else ""
    prompts = f"set {recipe.instruction_set}" if recipe.instruction_set else "none"
    total = len(suite.tasks)
    lines = {
        "Suite": f"{suite.name}, {count if count == total else f'{count} of {total}'} tasks",
        "Model": f"{resolved.model_name}  ({_short(resolved.checkpoint.location)})",
        "Recipe": f"{recipe.name}, {resolved.chosen_by}{changed}",
        "": f"pooling {recipe.pooling.value}, "
        f"{'normalized' if recipe.normalize else 'not normalized'}, "
        f"{recipe.max_length} tokens, padding {recipe.padding_side.value}, {recipe.dtype.value}, "
        f"{recipe.attention.value}, instructions {prompts}",
        "Device": f"{device}, {MODE} mode, batches of {on.batch_size}",
        "Results": str(path),
    }
    for heading, text in lines.items():
        console.print(f"{heading:<8} {text}", soft_wrap=True, markup=False)
    console.print()


class _Teller:
    """Prints a line for each task as it ends."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total, self._count = console, total, 0

    def __call__(self, outcome: Outcome) -> None:
        from qzhou_eval.scores.reading import read_task_scores

        self._count += 1
        spec = outcome.spec
        head = f"[{self._count:>2}/{self._total}] {spec.name:<33} {spec.type:<18} "
        if outcome.path is None:
            self._console.print(
                head + f"failed: {outcome.error}", style="red", markup=False, soft_wrap=True
            )
            return
        score = read_task_scores(outcome.path).mean(spec.splits, spec.subsets) or 0.0
        tail = "kept" if outcome.kept else f"{outcome.seconds:7.1f} s"
        line = head + f"{100 * score:6.2f}  {tail}"
        self._console.print(line, markup=False, soft_wrap=True)


def _write_tables(console: Console, suite: Suite, path: Path, identity: dict[str, Any]) -> None:
    from qzhou_eval.report.files import write_summary
    from qzhou_eval.report.terminal import print_leaderboard
    from qzhou_eval.scores.run_folders import read_run_folder

    rows = read_run_folder(path)
    if not rows:
        for name in ("summary.csv", "summary.md"):  # of results that stand no longer
            (path / name).unlink(missing_ok=True)
        return
    recipe, settings = identity["recipe"], identity["settings"]
    packages = identity["environment"]["packages"]
    notes = [
        f"qzhou-eval {__version__}, {settings['mode']} mode, batches of {settings['batch_size']}, "
        f"{settings['device']}; mteb {packages.get('mteb')}, torch {packages.get('torch')}, "
        f"transformers {packages.get('transformers')}",
        f"recipe {recipe['name']} ({identity['recipe_chosen']}), {recipe['dtype']}, "
        f"{recipe['pooling']} pooling, {recipe['max_length']} tokens, instructions: "
        f"{recipe['instruction_set'] or 'none'}"
        + (
            f", table {settings['instruction_table'][:12]}" if settings["instruction_table"] else ""
        ),
        f"revision {identity['revision']}, "
        f"fingerprint {identity['fingerprint'][:SHOWN_FINGERPRINT]}",
    ]
    write_summary(rows, path, notes)
    console.print()
    print_leaderboard([row for row in rows if row.scores.suite.name == suite.name], console)


def _close(console: Console, outcomes: list[Outcome], path: Path) -> int:
    failed = [outcome for outcome in outcomes if outcome.path is None]
    if len(failed) < len(outcomes):
        console.print(f"Tables: {path / 'summary.md'}", soft_wrap=True, markup=False)
    if not failed:
        return 0
    names = ", ".join(outcome.spec.name for outcome in failed)
    console.print(
        f"{len(failed)} of {len(outcomes)} tasks failed: {names}. The tracebacks are in "
        f"{path / 'run.json'}; the same command tries them again.",
        style="red",
        soft_wrap=True,
        markup=False,
    )
    return SOME_FAILED
