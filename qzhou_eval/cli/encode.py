"""``qzhou-eval encode``: a text file to vectors, as a task would see them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from qzhou_eval.cli.options import DeviceOptions, ModelOptions, expand


@expand
def encode(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Texts, one a line, UTF-8.", show_default=False)
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT.npy", help="The vectors, float32, a row a text.", show_default=False
        ),
    ],
    model: ModelOptions,
    device: DeviceOptions,
    task: Annotated[
        str,
        typer.Option(
            "--task", metavar="TASK", help="The task whose prompt goes on.", show_default=False
        ),
    ] = "",
    side: Annotated[
        str,
        typer.Option("--side", metavar="SIDE", help="query or document.", show_default=False),
    ] = "",
) -> None:
    """Write the vectors of a text file, exactly as a task would see them."""
    from qzhou_eval.cli.models import be_offline, resolve_model
    from qzhou_eval.errors import UserError
    from qzhou_eval.recipe.choices import Mode, parse_choice

    if device.offline:
        be_offline()
    texts = read_texts(source)
    if target.suffix != ".npy":
        raise UserError(f"{target}: the vectors are written as .npy; name it {target.stem}.npy")
    mode = parse_choice(Mode, device.mode, "mode")
    resolved = resolve_model(model)
    prompt = _prompt(resolved.recipe, task, side, model.instruction_table)

    import numpy as np

    from qzhou_eval.encode.device import one_device
    from qzhou_eval.encode.placement import load_engine, place
    from qzhou_eval.files import replacing

    # Several where they are named: how many there are decides how texts are cut up.
    named = device.device if device.ray_address else one_device(device.device)
    with ExitStack() as stack:
        placement = place(named, device.ray_address, device.actors)
        stack.callback(placement.close)
        engine = load_engine(resolved, placement)
        stack.callback(engine.close)
        engine.check_direction()
        if mode is Mode.FAST:
            engine.make_fast()
        vectors = engine.encoder.encode(
            texts, prompt=prompt, batch_size=device.batch_size, label=source.name
        )
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.save(file, vectors)
    typer.echo(f"{len(texts)} texts, {vectors.shape[1]} dimensions: {target}")


def read_texts(path: Path) -> list[str]:
    """Return the lines of `path`, without their line ends; an empty line is an empty text.

    Raises:
        UserError: not a readable UTF-8 file.
    """
    from qzhou_eval.errors import UserError, one_line

    try:
        # Not splitlines(): U+2028 and its like are part of a text.
        lines = path.read_bytes().decode("utf-8").split("\n")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such text file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable text file: {one_line(error)}") from error
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _prompt(recipe: object, task: str, side: str, table: Path | None) -> str:
    from qzhou_eval.cli.prompts import find_task
    from qzhou_eval.errors import UserError
    from qzhou_eval.recipe.recipe import Recipe
    from qzhou_eval.suite.instructions import Side
    from qzhou_eval.suite.prompts import prompt_book
    from qzhou_eval.suite.suite import SIDED_TYPES

    assert isinstance(recipe, Recipe)
    known = [s.value for s in Side]
    if side and side not in known:
        raise UserError(f"unknown side {side!r}: known: {', '.join(known)}")
    spec = find_task(task, table)[0] if task else None
    if spec is None and recipe.instruction_set:
        raise UserError(
            f"recipe {recipe.name} puts instructions on: say which with --task, or use "
            "--no-instructions"
        )
    book = prompt_book(recipe, [spec] if spec else [], table)
    name = spec.name if spec else ""
    prompts = {s: book.prompt(name, s) for s in (None, *Side)}
    if side:
        return prompts[Side(side)]
    if spec and spec.type and spec.type not in SIDED_TYPES:
        return prompts[None]
    if len(set(prompts.values())) > 1:
        what = f"{spec.name}: " if spec else ""
        raise UserError(
            f"{what}queries and documents differ in what is put before them: say which "
            "these are with --side"
        )
    return prompts[None]
