"""``qzhou-eval doctor``: this environment against the published one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from qzhou_eval.lock import EnvironmentState

PIN_DIFFERS = 1
GIB = 2**30


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the hub whether it is there.")
    ] = False,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", metavar="DIR", help="Where results would go.")
    ] = Path("results"),
) -> int:
    """Hold this environment against the pinned one; exit 1 when a published pin differs."""
    from rich.console import Console

    from qzhou_eval.lock import Standing, environment_state
    from qzhou_eval.machine import accelerators, hub, memory_bytes, places

    console = Console(highlight=False)
    with Console(stderr=True).status("Looking around ..."):
        state = environment_state()
        machine = {
            **accelerators(),
            "memory_bytes": memory_bytes(),
            "disk": places(output_dir),
            "hub": hub(offline),
        }
    if as_json:
        typer.echo(json.dumps({**state.to_dict(), "machine": machine}, indent=2))
    else:
        _print_packages(console, state)
        _print_machine(console, machine)
        _print_standing(console, state)
    return PIN_DIFFERS if state.standing is Standing.DIFFERS else 0


def _print_packages(console: Console, state: EnvironmentState) -> None:
    from rich import box
    from rich.table import Table

    from qzhou_eval.lock import PUBLISHED_PYTHON

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("Published", "Version", "Here", ""):
        table.add_column(heading, no_wrap=True)
    same = state.python.rpartition(".")[0] == PUBLISHED_PYTHON.rpartition(".")[0]
    table.add_row("Python", PUBLISHED_PYTHON, state.python, "" if same else "other")
    for package in state.packages:
        if package.published:
            mark = "" if package.same else "[red]differs[/]"
            table.add_row(package.name, package.locked, package.installed or "missing", mark)
    console.print(table)
    rest = [p for p in state.packages if not p.published]
    others = [p for p in state.differing if not p.published]
    console.print(f"Other locked packages: {len(rest) - len(others)} of {len(rest)} as locked")
    for package in others:
        console.print(
            f"  {package.name} {package.installed or 'missing'} (locked {package.locked})",
            style="yellow",
            markup=False,
        )


def _print_machine(console: Console, machine: dict[str, Any]) -> None:
    cuda = f"CUDA {machine['cuda']}" if machine["cuda"] else "built without CUDA"
    driver = f"driver {machine['driver']}" if machine["driver"] else "no NVIDIA driver"
    lines = [("torch", f"{machine['torch']}, {cuda}, {driver}")]
    if not machine["torch"]:
        lines = [("torch", f"cannot be imported: {machine['error']}; {driver}")]
    for gpu in machine["gpus"]:
        kinds = "bfloat16, float16" if gpu["bfloat16"] else "float16, no bfloat16"
        text = f"{gpu['name']}, {gpu['memory_bytes'] / GIB:.0f} GiB, capability "
        lines.append(("GPU", f"{text}{gpu['capability']}, {kinds}"))
    if not machine["gpus"]:
        lines.append(("GPU", "none: runs are on the CPU"))
    lines.append(("Memory", f"{machine['memory_bytes'] / GIB:.0f} GiB"))
    for name, place in machine["disk"].items():
        free = f"{place['free_bytes'] / GIB:.0f} GiB free"
        lines.append(("Disk", f"{free} for the {name} ({place['path']})"))
    hub = machine["hub"]
    answer = {True: "reachable", False: "not reachable", None: ""}[hub["reachable"]]
    lines.append(("Hub", f"{hub['endpoint']} {answer} ({hub['detail']})"))
    if "cached_models" in hub:
        cached = f"{hub['cached_models']} models and {hub['cached_datasets']} datasets"
        lines.append(("", f"{cached} in its cache"))
    console.print()
    for heading, text in lines:
        console.print(f"{heading:<8} {text}", soft_wrap=True, markup=False)


def _print_standing(console: Console, state: EnvironmentState) -> None:
    from qzhou_eval.lock import LOCKED_PYTHONS, Standing

    told = {
        Standing.EXACT: "exact: the published environment",
        Standing.COMPATIBLE: "compatible: the published pins, with what is said above besides",
        Standing.DIFFERS: "differs: not the published environment; install "
        f"requirements/leaderboard.txt under Python {', '.join(LOCKED_PYTHONS)} (make demo does)",
    }
    style = "red" if state.standing is Standing.DIFFERS else "green"
    console.print()
    console.print(told[state.standing], style=f"bold {style}", soft_wrap=True)
