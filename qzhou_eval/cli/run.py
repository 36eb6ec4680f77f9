"""``qzhou-eval run``: any tasks, or a suite of one's own."""

from __future__ import annotations

from typing import Annotated

import typer

from qzhou_eval.cli.options import DeviceOptions, ModelOptions, RunOptions, expand


@expand
def run(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK[:SUBSET,SUBSET]... | SUITE.toml",
            help="mteb task names, each with the subsets that count, or one suite file.",
            show_default=False,
        ),
    ],
    model: ModelOptions,
    options: RunOptions,
    device: DeviceOptions,
) -> int:
    """Run any mteb tasks by name, or a suite of your own."""
    from qzhou_eval.cli.running import run_suite
    from qzhou_eval.suite.library import suite_from_arguments

    return run_suite(suite_from_arguments(what), model, options, device)
