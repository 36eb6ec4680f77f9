"""The options of ``qzhou-eval fetch``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

WHAT_PANEL = "What is fetched"
WHERE_PANEL = "From where to where"


def _what(name: str, metavar: str | None, text: str) -> Any:
    return typer.Option(
        name, metavar=metavar, help=text, rich_help_panel=WHAT_PANEL, show_default=False
    )


def _where(name: str, metavar: str | None, text: str, **kwargs: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=WHERE_PANEL, **kwargs)


@dataclass(frozen=True, kw_only=True)
class WhatOptions:
    """What is fetched, beside the tasks that are named."""

    model: Annotated[str, _what("--model", "ORG/NAME", "A model of the hub as well.")] = ""
    revision: Annotated[
        str,
        _what(
            "--revision",
            "COMMIT",
            "Commit of the model; by default the library's, or the newest.",
        ),
    ] = ""
    tasks: Annotated[str, _what("--tasks", "NAMES", "Only these tasks, comma-separated.")] = ""
    types: Annotated[
        str, _what("--types", "TYPES", "Only tasks of these types, comma-separated.")
    ] = ""
    trust_remote_code: Annotated[
        bool,
        _what("--trust-remote-code", None, "Let datasets' loading scripts be run, once."),
    ] = False


@dataclass(frozen=True, kw_only=True)
class WhereOptions:
    """From where to where it is fetched."""

    output_dir: Annotated[
        Path | None,
        _where(
            "--output-dir",
            "DIR",
            "Folder to fill; a run takes it as --datasets-dir.",
            show_default=False,
        ),
    ] = None
    source: Annotated[
        Path | None,
        _where(
            "--from",
            "DIR",
            "Copy from this fetched folder instead of the hub.",
            show_default=False,
        ),
    ] = None
    verify: Annotated[
        Path | None,
        _where(
            "--verify",
            "DIR",
            "Fetch nothing: hold a fetched folder against its records.",
            show_default=False,
        ),
    ] = None
    jobs: Annotated[int, _where("--jobs", "NUMBER", "Files at a time.", min=1, max=32)] = 4
