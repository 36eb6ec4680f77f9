"""The options of ``qzhou-eval plan`` that no other command has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from qzhou_eval.cli.options import MODEL_PANEL, RUN_PANEL, ModelOptions

PACE_PANEL = "How fast"


@dataclass(frozen=True, kw_only=True)
class PlannedModelOptions(ModelOptions):
    """The model options; the demo suite has a model of its own."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="PATH_OR_NAME",
            help="A checkpoint's folder, or a hub name, whose weights need not be here.",
            rich_help_panel=MODEL_PANEL,
            show_default=False,
        ),
    ] = ""


@dataclass(frozen=True, kw_only=True)
class PaceOptions:
    """Where the time comes from."""

    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate/--no-calibrate",
            help="Measure the model itself on this device; done where its weights are here.",
            rich_help_panel=PACE_PANEL,
            show_default=False,
        ),
    ] = None
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            metavar="SECONDS",
            help="Time to measure for.",
            min=0.1,
            max=3600,
            rich_help_panel=PACE_PANEL,
        ),
    ] = 20.0
    tflops: Annotated[
        float | None,
        typer.Option(
            "--tflops",
            metavar="TFLOP/S",
            help="Go by this sustained rate of forward passes instead.",
            min=1e-6,
            max=1e9,
            rich_help_panel=PACE_PANEL,
            show_default=False,
        ),
    ] = None
    device_name: Annotated[
        str,
        typer.Option(
            "--device-name",
            metavar="GPU",
            help="Go by the figure known of another device: h100, h200, a100, l40s, l4, rtx4090.",
            rich_help_panel=PACE_PANEL,
            show_default=False,
        ),
    ] = ""

    devices: Annotated[
        int | None,
        typer.Option(
            "--devices",
            metavar="NUMBER",
            help="Plan for so many devices; by default those of --device.",
            min=1,
            max=100_000,
            rich_help_panel=PACE_PANEL,
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Which tasks are planned on which data."""

    tasks: Annotated[
        str,
        typer.Option(
            "--tasks",
            metavar="NAMES",
            help="Only these tasks, comma-separated.",
            rich_help_panel=RUN_PANEL,
            show_default=False,
        ),
    ] = ""
    types: Annotated[
        str,
        typer.Option(
            "--types",
            metavar="TYPES",
            help="Only tasks of these types, comma-separated.",
            rich_help_panel=RUN_PANEL,
            show_default=False,
        ),
    ] = ""
    datasets_dir: Annotated[
        Path | None,
        typer.Option(
            "--datasets-dir",
            metavar="DIR",
            help="Datasets in folders named like the hub; their texts are counted.",
            rich_help_panel=RUN_PANEL,
            show_default=False,
        ),
    ] = None
