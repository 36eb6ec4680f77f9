"""The options, each defined once: a field of a dataclass, and an option of every command.

A command takes the dataclasses as parameters; `expand` turns their fields into its options.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

MODEL_PANEL = "Model and recipe"
RUN_PANEL = "What runs, and where"


def _option(panel: str, name: str, metavar: str | None, text: str, **kwargs: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=panel, **kwargs)


def _model(name: str, metavar: str | None, text: str) -> Any:
    return _option(MODEL_PANEL, name, metavar, text, show_default=False)


def _run(name: str, metavar: str | None, text: str, **kwargs: Any) -> Any:
    return _option(RUN_PANEL, name, metavar, text, **kwargs)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What the command line says of the model; None and "" leave it to the recipe."""

    model: Annotated[
        str, _model("--model", "PATH_OR_NAME", "A checkpoint's folder, or a hub name.")
    ]
    recipe: Annotated[
        str,
        _model(
            "--recipe",
            "NAME|FILE",
            "How the model is run; by default what its name, weights or files say.",
        ),
    ] = ""
    revision: Annotated[str, _model("--revision", "COMMIT", "Commit of the model on the hub.")] = ""
    model_name: Annotated[
        str, _model("--model-name", "ORG/NAME", "Name to file a folder's results under.")
    ] = ""
    pooling: Annotated[
        str | None,
        _model(
            "--pooling", "KIND", "mean, weighted_mean, last_token (eos_token) or bos_token (cls)."
        ),
    ] = None
    normalize: Annotated[
        bool | None,
        _model("--normalize/--no-normalize", None, "Divide vectors by their L2 norm."),
    ] = None
    instructions: Annotated[
        bool | None,
        _model("--instructions/--no-instructions", None, "Put the tasks' instructions on."),
    ] = None
    instruction_table: Annotated[
        Path | None,
        _model("--instruction-table", "FILE", "Your own instructions by task (TOML or JSON)."),
    ] = None
    max_length: Annotated[
        int | None,
        _model("--max-length", "TOKENS", "Most tokens of a text, its prompt included."),
    ] = None
    padding_side: Annotated[str | None, _model("--padding-side", "SIDE", "left or right.")] = None
    dtype: Annotated[str | None, _model("--dtype", "DTYPE", "float32, bfloat16 or float16.")] = None
    attention: Annotated[
        str | None, _model("--attention", "KIND", "sdpa, eager or flash_attention_2.")
    ] = None
    trust_remote_code: Annotated[
        bool, _model("--trust-remote-code", None, "Let the checkpoint's own Python code run.")
    ] = False

    def overrides(self) -> dict[str, Any]:
        """Return the recipe fields that are set here, as plain values."""
        names = ("pooling", "normalize", "max_length", "padding_side", "dtype", "attention")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where the model computes, and how many texts at a time."""

    batch_size: Annotated[
        int,
        _run("--batch-size", "TEXTS", "Texts a forward pass; part of the protocol.", min=1),
    ] = 32
    mode: Annotated[
        str,
        _run(
            "--mode",
            "MODE",
            "strict (the published procedure, bit for bit) or fast (batches by tokens, no "
            "padding where the model allows).",
        ),
    ] = "strict"
    device: Annotated[
        str,
        _run(
            "--device",
            "DEVICES",
            "auto (every GPU, or the CPU), cpu, cuda, cuda:N, or several: cuda:0,cuda:1.",
        ),
    ] = "auto"
    ray_address: Annotated[
        str,
        _run(
            "--ray-address",
            "auto|HOST:PORT",
            "Compute on the devices of a Ray cluster.",
            show_default=False,
        ),
    ] = ""
    actors: Annotated[
        int | None,
        _run(
            "--actors",
            "NUMBER",
            "Devices to take of the cluster; by default all that are free.",
            min=1,
            show_default=False,
        ),
    ] = None
    offline: Annotated[bool, _run("--offline", None, "Never ask the hub for anything.")] = False


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Which tasks are run on which data, and where results go."""

    tasks: Annotated[
        str, _run("--tasks", "NAMES", "Only these tasks, comma-separated.", show_default=False)
    ] = ""
    types: Annotated[
        str,
        _run("--types", "TYPES", "Only tasks of these types, comma-separated.", show_default=False),
    ] = ""
    datasets_dir: Annotated[
        Path | None,
        _run(
            "--datasets-dir",
            "DIR",
            "Datasets in folders named like the hub (DIR/C-MTEB/LCQMC); the hub is asked for "
            "what is not there.",
            show_default=False,
        ),
    ] = None
    output_dir: Annotated[Path, _run("--output-dir", "DIR", "Where result folders go.")] = Path(
        "results"
    )
    retry_failed: Annotated[
        bool,
        _run(
            "--retry-failed",
            None,
            "Only the tasks that were begun in that folder and have no result.",
        ),
    ] = False
    overwrite: Annotated[
        str,
        _run(
            "--overwrite",
            "NAMES|all|changed",
            "Evaluate these tasks anew, whatever there is of them; changed: those made with other "
            "packages, data or prompts.",
            show_default=False,
        ),
    ] = ""
    wait: Annotated[
        bool,
        _run("--wait", None, "Wait while another run writes to the folder; else refuse."),
    ] = False
    cache_limit: Annotated[
        float,
        _run(
            "--cache-limit",
            "GIB",
            "Disk space for vectors of tasks under way, from which a killed run goes on.",
            min=0,
        ),
    ] = 20.0
    no_disk_check: Annotated[
        bool,
        _run("--no-disk-check", None, "Run though the disk does not seem to hold what is needed."),
    ] = False
    no_cache: Annotated[
        bool, _run("--no-cache", None, "Keep no vectors on disk: encode a killed task anew.")
    ] = False
    no_items: Annotated[
        bool,
        _run(
            "--no-items",
            None,
            "Keep no figures by query and pair, which comparing two runs goes by.",
        ),
    ] = False
    skip_preflight: Annotated[
        bool,
        _run("--skip-preflight", None, "Run without checking the loaded model; is recorded."),
    ] = False


def expand(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn parameters of `command` that are option dataclasses into one option a field.

    The options come out in the order of the parameters and fields. Commands return an exit code
    or None.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if not is_dataclass(kind):
            keyword_only = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(annotation=kind, kind=keyword_only))
            continue
        groups[name] = kind
        own = get_type_hints(kind, include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                # Without a default: a required option.
                default=field.default if field.default is not MISSING else inspect.Parameter.empty,
                annotation=own[field.name],
            )
            for field in fields(kind)
        ]

    @functools.wraps(command)
    def expanded(**values: Any) -> Any:
        built = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        return command(**built, **values)

    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {p.name: p.annotation for p in parameters}
    return expanded


def comma_separated(value: str) -> list[str]:
    """Return the parts of a comma-separated option, empty ones left out."""
    return [part.strip() for part in value.split(",") if part.strip()]
