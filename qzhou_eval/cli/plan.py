"""``qzhou-eval plan``: what a run will cost, before anything is downloaded."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qzhou_eval.cli.options import DeviceOptions, ModelOptions, comma_separated, expand
from qzhou_eval.cli.plan_options import PaceOptions, PlannedModelOptions, TaskOptions
from qzhou_eval.recipe.choices import Mode, parse_choice

if TYPE_CHECKING:
    from rich.console import Console

    from qzhou_eval.plan.model import PlannedModel
    from qzhou_eval.plan.pace import ChosenPace
    from qzhou_eval.plan.plan import Data
    from qzhou_eval.recipe.resolution import ResolvedRecipe
    from qzhou_eval.suite.suite import Suite, TaskSpec

FORMATS = ("table", "json", "csv")
DEMO = "demo"


@expand
def plan(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="cmteb | mteb | demo | SUITE.toml | TASK[:SUBSET,SUBSET]...",
            help="A suite, or mteb task names.",
            show_default=False,
        ),
    ],
    model: PlannedModelOptions,
    options: TaskOptions,
    device: DeviceOptions,
    speed: PaceOptions,
    output_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="table, json or csv.")
    ] = "table",
) -> None:
    """Say what a run will cost in texts, tokens, operations, time, memory and disk.

    Nothing is downloaded, and no results are written.
    """
    from qzhou_eval.cli.models import be_offline

    be_offline()
    from rich.console import Console

    from qzhou_eval.errors import UserError, nearest
    from qzhou_eval.plan.plan import make_plan
    from qzhou_eval.plan.resources import Settings
    from qzhou_eval.plan.tokens import token_counter
    from qzhou_eval.suite.prompts import prompt_book

    if output_format not in FORMATS:
        raise UserError(f"unknown --format {output_format!r}: {nearest(output_format, FORMATS)}")
    mode = parse_choice(Mode, device.mode, "mode")
    suite = _suite(what)
    names, types = comma_separated(options.tasks), comma_separated(options.types)
    if all(task.type for task in suite.tasks):
        suite.select(names, types)
    resolved = _resolved(model, suite, options.datasets_dir)
    waiting = Console(stderr=True)
    with waiting.status("Reading the tasks ..."):
        specs, data = _tasks(suite, names, types, options.datasets_dir)
    prompts = prompt_book(resolved.recipe, specs, model.instruction_table)
    from qzhou_eval.plan.model import planned_model
    from qzhou_eval.report.plan import PlanFacts, plan_data, plan_frame, print_plan

    found = planned_model(resolved)
    pace, gpu_bytes = _pace(waiting, found, device, speed, mode)
    with waiting.status("Counting texts and tokens ..."):
        counter = token_counter(resolved.recipe, found.tokenizer)
        settings = Settings(mode, device.batch_size, gpu_bytes is not None)
        made = make_plan(specs, counter, prompts, found.shape, pace.pace, settings, data)
    facts = PlanFacts(suite.name, found, pace.told, mode, counter.ratios, gpu_bytes)
    if output_format == "csv":
        from qzhou_eval.report.escaping import csv_text

        typer.echo(csv_text(plan_frame(made)), nl=False)
    elif output_format == "json":
        typer.echo(json.dumps(plan_data(made, facts), indent=2, ensure_ascii=False))
    else:
        print_plan(made, facts, Console(highlight=False))


def _suite(what: list[str]) -> Suite:
    from qzhou_eval.errors import UserError
    from qzhou_eval.suite.library import BUILT_IN, built_in, suite_from_arguments

    named = [word for word in what if word in BUILT_IN]
    if not named:
        return suite_from_arguments(what)
    if len(what) > 1:
        raise UserError(f"give one suite alone, or task names: got {' '.join(what)}")
    return built_in(named[0])


def _resolved(options: ModelOptions, suite: Suite, fetched_dir: Path | None) -> ResolvedRecipe:
    """Settle the recipe as a run does, but without asking the hub.

    Raises:
        UserError: no such model or recipe, or one of which nothing is here or known.
    """
    from qzhou_eval.cli.demo import RECIPE, model_name, packaged_model
    from qzhou_eval.cli.models import resolve_model
    from qzhou_eval.errors import UserError
    from qzhou_eval.plan.model import bare_checkpoint
    from qzhou_eval.recipe.resolution import resolve

    if not options.model:
        if suite.name != DEMO:
            raise UserError("name the model to plan for: --model PATH_OR_NAME")
        recipe, name = options.recipe or RECIPE, options.model_name or model_name()
        folder = str(packaged_model())
        return resolve_model(replace(options, model=folder, recipe=recipe, model_name=name))
    try:
        return resolve_model(options, fetched_dir)
    except UserError as error:
        # Whatever else is wrong with it is told as it is.
        if "no such folder here" not in str(error):
            raise
        checkpoint = bare_checkpoint(options.model, options.revision, error)
    return resolve(
        checkpoint,
        recipe_name=options.recipe,
        overrides=options.overrides(),
        instructions=True if options.instruction_table else options.instructions,
        model_name=options.model_name,
        trust_remote_code=options.trust_remote_code,
    )


def _tasks(
    suite: Suite, names: list[str], types: list[str], datasets_dir: Path | None
) -> tuple[tuple[TaskSpec, ...], dict[str, Data]]:
    """Return the chosen tasks, completed from mteb where need be, and where their data is."""
    from qzhou_eval.errors import UserError
    from qzhou_eval.evaluate.local_data import check_local, find_in
    from qzhou_eval.machine import hub_cache
    from qzhou_eval.plan.disk import snapshot
    from qzhou_eval.plan.plan import Data
    from qzhou_eval.plan.resources import Where
    from qzhou_eval.suite.suite import with_tasks

    if datasets_dir and not datasets_dir.is_dir():
        raise UserError(f"--datasets-dir {datasets_dir}: no such folder")
    folders = [folder for folder in (datasets_dir, suite.datasets_dir) if folder]
    if not all(task.type and task.splits and task.subsets for task in suite.tasks):
        from qzhou_eval.evaluate.mteb1.tasks import complete  # slow to import

        suite = with_tasks(suite, map(complete, suite.tasks))
    cache = hub_cache()
    data = {}
    chosen = suite.select(names, types)
    for spec in chosen:
        local = find_in(folders, spec)
        if local is not None:
            from qzhou_eval.evaluate.mteb1.tasks import requirements

            check_local(local, requirements(spec))
            data[spec.name] = Data(Where.FOLDER, local)
        elif cache and snapshot(cache, spec).is_dir():
            data[spec.name] = Data(Where.CACHED)
    return chosen, data


def _pace(
    waiting: Console, found: PlannedModel, on: DeviceOptions, speed: PaceOptions, mode: Mode
) -> tuple[ChosenPace, int | None]:
    """Return the pace to plan by, and the GPU's memory in bytes: 0 if unknown, None on a CPU."""
    import torch

    from qzhou_eval.encode.device import check_support, choose_devices
    from qzhou_eval.errors import UserError
    from qzhou_eval.plan.pace import device_pace, model_pace, stated_device, stated_rate, times

    if on.ray_address or on.actors:
        raise UserError(
            "--ray-address and --actors: a plan measures this machine alone; for a cluster say "
            "--device-name or --tflops, and how many with --devices"
        )
    stated = [
        name
        for name, given in (
            ("--calibrate", speed.calibrate),
            ("--tflops", speed.tflops),
            ("--device-name", speed.device_name),
        )
        if given
    ]
    if len(stated) > 1:
        raise UserError(f"{' and '.join(stated)} exclude each other: the time comes from one")
    if not (math.isfinite(speed.tflops or 0) and math.isfinite(speed.seconds)):
        raise UserError("--tflops and --seconds want numbers")
    recipe, count = found.resolved.recipe, speed.devices or 1
    if speed.tflops:
        return times(stated_rate(speed.tflops), count), 0
    if speed.device_name:
        return times(stated_device(speed.device_name, recipe.dtype, mode), count), 0
    calibrate = found.weights_here and speed.calibrate is not False
    if speed.calibrate and not found.weights_here:
        raise UserError(
            f"--calibrate: the weights of {found.resolved.model_name} are not here; leave it out, "
            "or state --tflops or --device-name"
        )
    devices = choose_devices(on.device)
    device, count = devices[0], speed.devices or len(devices)
    check_support(device, recipe.dtype, recipe.attention)
    gpu_bytes = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else None
    if not calibrate:
        return times(device_pace(device, recipe.dtype, mode), count), gpu_bytes
    from qzhou_eval.encode.engine import load_in_process

    with waiting.status(f"Loading the model, and measuring it for {speed.seconds:g} s ..."):
        engine = load_in_process(found.resolved, device)
        if mode is Mode.FAST:
            engine.make_fast()
        return times(model_pace(engine, speed.seconds, on.batch_size), count), gpu_bytes
