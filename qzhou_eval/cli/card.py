"""What a run prints: the card before it, a line a task, the close after it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qzhou_eval.cli.settling import short_path
from qzhou_eval.errors import plain

if TYPE_CHECKING:
    from rich.console import Console

    from qzhou_eval.cli.options import DeviceOptions
    from qzhou_eval.cli.settling import Settled
    from qzhou_eval.encode.preflight import Preflight
    from qzhou_eval.evaluate.jobs import Outcome
    from qzhou_eval.plan.outlook import Outlook
    from qzhou_eval.recipe.resolution import ResolvedRecipe


def print_card(console: Console, settled: Settled, on: DeviceOptions) -> None:
    """Print what is about to be run, and how this environment departs from the published one."""
    from qzhou_eval.environment import differing_pins

    resolved, recipe = settled.resolved, settled.resolved.recipe
    changed = f", changed here: {', '.join(resolved.overridden)}" if resolved.overridden else ""
    prompts = f"set {recipe.instruction_set}" if recipe.instruction_set else "none"
    count, total = len(settled.jobs), len(settled.suite.tasks)
    local = sum(job.local is not None for job in settled.jobs)
    part = str(count) if count == total else f"{count} of {total}"
    lines = {
        "Suite": f"{settled.suite.name}, {part} tasks",
        "Model": f"{resolved.model_name}  ({short_path(resolved.checkpoint.location)})",
        "Recipe": f"{recipe.name}, {resolved.chosen_by}{changed}",
        "": f"pooling {recipe.pooling.value}, "
        f"{'normalized' if recipe.normalize else 'not normalized'}, "
        f"{recipe.max_length} tokens, padding {recipe.padding_side.value}, {recipe.dtype.value}, "
        f"{recipe.attention.value}, instructions {prompts}",
        **_detected(resolved),
        "Device": f"{settled.placement.name}, {_batches(settled.identity['settings'])}",
        "Data": f"{local} tasks from folders, {count - local} from the hub",
        "Results": str(settled.path),
    }
    for heading, text in lines.items():
        console.print(f"{heading:<8} {plain(text)}", soft_wrap=True, markup=False)
    if pins := differing_pins():
        told = ", ".join(f"{name} {version}" for name, version in pins.items())
        console.print(f"Not the published environment: {told}", style="yellow")


def _batches(settings: dict[str, Any]) -> str:
    size = settings["batch_size"]
    return f"{settings['mode']} mode, batches " + (f"of {size}" if size else "by tokens")


def _devices(identity: dict[str, Any]) -> str:
    count = identity["options"]["devices"]
    kind = str(identity["settings"]["device"])
    return kind if count == 1 else f"{count} x {kind}"


def _detected(resolved: ResolvedRecipe) -> dict[str, str]:
    """Return the line of what the checkpoint's own files decided, where they did."""
    if not resolved.origins:
        return {}
    values = resolved.recipe.to_dict()
    by_file: dict[str, list[str]] = {}
    for name, origin in resolved.origins.items():
        value = values[name]
        shown = repr(value) if isinstance(value, str) and " " in value else str(value or "none")
        by_file.setdefault(origin, []).append(
            f"{name} {str(value).lower() if isinstance(value, bool) else shown}"
        )
    told = "; ".join(f"{', '.join(fields)} ({file})" for file, fields in by_file.items())
    return {"Detected": told}


def print_preflight(console: Console, result: Preflight) -> None:
    """Print that the checks passed, and which could not be made."""
    from qzhou_eval.encode.preflight import DEVICES_AGREE, Status

    passed = [check.name for check in result.checks if check.status is Status.PASSED]
    console.print(
        f"Checked  {', '.join(passed)} ({result.seconds:.1f} s)", soft_wrap=True, markup=False
    )
    for check in result.checks:
        if check.name == DEVICES_AGREE:
            console.print(f"         {check.detail}", soft_wrap=True, markup=False)
        if check.name == "attention direction":
            console.print(f"         attention {check.detail}", soft_wrap=True, markup=False)
        if check.status is Status.NOT_RUN:
            told = f"         not checked: {check.name} ({check.detail})"
            console.print(told, soft_wrap=True, markup=False)
    console.print()


WORTH_TELLING = 120
"""Seconds left of a run from which on its task lines say so."""


class Teller:
    """Prints a line for each task as it ends."""

    def __init__(self, console: Console, total: int, outlook: Outlook | None) -> None:
        self._console, self._total, self._count = console, total, 0
        self.done = 0
        """Tasks that have a score."""
        self._outlook = outlook

    def __call__(self, outcome: Outcome) -> None:
        """Print the line of `outcome`."""
        from qzhou_eval.report.plan import duration
        from qzhou_eval.scores.reading import read_task_scores

        spec = outcome.spec
        if outcome.passing:
            told = (
                f"{spec.name} failed: {outcome.error}; it is tried again when the others are done"
            )
            self._console.print(told, style="yellow", markup=False, soft_wrap=True)
            return
        self._count += 1
        if self._outlook:
            self._outlook.end(spec.name)
        line = f"[{self._count:>2}/{self._total}] {spec.name:<33} {spec.type:<18} "
        if outcome.path is None:
            line += f"failed: {outcome.error}"
        else:
            self.done += 1
            score = read_task_scores(outcome.path).mean(spec.splits, spec.subsets) or 0.0
            line += f"{100 * score:6.2f}  "
            line += "kept" if outcome.kept else f"{outcome.seconds:7.1f} s"
        line += _from_before(outcome)
        if outcome.again:
            line += f", evaluated again: {outcome.again}"
        if outcome.restarts:
            actors = "actor was" if outcome.restarts == 1 else "actors were"
            line += f", {outcome.restarts} {actors} lost and replaced"
        left = self._outlook.left()[1] if self._outlook else 0
        if left >= WORTH_TELLING:
            line += f", about {duration(left)} left"
        style = "red" if outcome.path is None else None
        self._console.print(line, style=style, markup=False, soft_wrap=True)


def _from_before(outcome: Outcome) -> str:
    """Return what of a task an earlier run had done, if it was not all."""
    texts = f"{outcome.kept_texts:,} texts" if outcome.kept_texts else ""
    units = f"{outcome.kept_units} splits or subsets" if outcome.kept_units else ""
    parts = [part for part in (units, texts) if part]
    return f", {' and '.join(parts)} from before" if parts else ""


def summary_notes(identity: dict[str, Any]) -> list[str]:
    """Return how a run's results were made, in the lines that head its summary."""
    recipe, settings = identity["recipe"], identity["settings"]
    packages = identity["environment"]["packages"]
    table = settings["instruction_table"]
    return [
        f"qzhou-eval {identity['qzhou_eval']}, {_batches(settings)}, {_devices(identity)}; "
        f"mteb {packages.get('mteb')}, torch {packages.get('torch')}, "
        f"transformers {packages.get('transformers')}",
        f"recipe {recipe['name']} ({identity['recipe_chosen']}), {recipe['dtype']}, "
        f"{recipe['pooling']} pooling, {recipe['max_length']} tokens, instructions: "
        f"{recipe['instruction_set'] or 'none'}" + (f", table {table[:12]}" if table else ""),
        f"revision {identity['revision']}, fingerprint {identity['fingerprint'][:16]}",
    ]


def print_stopped(console: Console, settled: Settled, error: BaseException, done: int) -> None:
    """Print that a run ended before its time, and how it goes on."""
    from qzhou_eval.interruption import Stopped

    if isinstance(error, Stopped):
        console.print(
            f"Stopped by {error}: {done} of {len(settled.jobs)} tasks are done. What is done of "
            "the others is kept: the same command goes on from there.",
            style="yellow",
            soft_wrap=True,
            markup=False,
        )
        return
    console.print(f"error: {error}", style="red", soft_wrap=True, markup=False)
    console.print(
        f"{done} of {len(settled.jobs)} tasks are done, and kept with what is done of the others.",
        soft_wrap=True,
        markup=False,
    )


def print_close(
    console: Console, path: Path, failed: list[str], total: int, not_kept: str = ""
) -> None:
    """Print where the tables are, which tasks failed, and why vectors were not kept on disk."""
    if not_kept:
        console.print(
            f"Some vectors were not kept on disk while their tasks were run ({not_kept}): had the "
            "run been killed, they would have been encoded again.",
            style="yellow",
            soft_wrap=True,
            markup=False,
        )
    if len(failed) < total:
        console.print(f"Tables: {path / 'summary.md'}", soft_wrap=True, markup=False)
    if failed:
        console.print(
            f"{len(failed)} of {total} tasks failed: {', '.join(failed)}. The tracebacks are in "
            f"{path / 'run.json'}; the same command tries them again, and nothing else with "
            "--retry-failed.",
            style="red",
            soft_wrap=True,
            markup=False,
        )
