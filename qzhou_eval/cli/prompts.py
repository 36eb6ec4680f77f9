"""``qzhou-eval prompts``: the exact strings that reach the tokenizer."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from qzhou_eval.suite.suite import TaskSpec

EXAMPLE = "{text}"


def prompts(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task's name.", show_default=False)],
    text: Annotated[
        str, typer.Option("--text", metavar="TEXT", help="Show them with this text in place.")
    ] = EXAMPLE,
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="NAME|FILE", help="The recipe whose prompts to show.")
    ] = "qzhou-embedding",
    instructions: Annotated[
        bool, typer.Option("--instructions/--no-instructions", help="Put instructions on.")
    ] = True,
    instruction_table: Annotated[
        Path | None,
        typer.Option(
            "--instruction-table",
            metavar="FILE",
            help="Your own instructions by task.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the strings a task's texts become, on each side."""
    from dataclasses import replace

    from qzhou_eval.encode.rendering import render
    from qzhou_eval.recipe.library import find_recipe
    from qzhou_eval.recipe.resolution import DEFAULT_SET
    from qzhou_eval.suite.instructions import Side
    from qzhou_eval.suite.prompts import prompt_book

    chosen = find_recipe(recipe)
    if not instructions:
        chosen = replace(chosen, instruction_set="")
    elif instruction_table and not chosen.instruction_set:
        chosen = replace(chosen, instruction_set=DEFAULT_SET)
    spec, where = find_task(task, instruction_table)
    book = prompt_book(chosen, [spec], instruction_table)
    instruction = book.instructions.get(spec.name)
    rule = instruction.rule.value if instruction else "no instruction"
    typer.echo(f"{spec.name}: {where}, {rule}, recipe {chosen.name}")
    sides: dict[str, Side | None] = {side.value: side for side in Side}
    if chosen.text_prefix != chosen.query_prefix or chosen.text_prefix != chosen.document_prefix:
        sides["text"] = None  # of a task that knows no sides
    shown = {
        name: render(text, book.prompt(spec.name, side), chosen) for name, side in sides.items()
    }
    for side, string in shown.items():
        typer.echo(f"{side + ':':<10}{shown_lines(json.dumps(string, ensure_ascii=False))}")
    empty = shown_lines(json.dumps(chosen.empty_text, ensure_ascii=False))
    told = f"{empty} stands for an empty text" if chosen.empty_text else "an empty text stays so"
    typer.echo(f"{'empty:':<10}{told}")
    for side, string in shown.items():
        typer.echo(f"\n--- {side}, as it reaches the tokenizer:\n{shown_lines(string)}\n---")


def shown_lines(text: str) -> str:
    """Return `text` with its line ends, and with escapes in Python's way for what is not seen."""
    return "".join(
        c if c.isprintable() or c == "\n" or unicodedata.category(c) == "Zs" else ascii(c)[1:-1]
        for c in text
    )


def find_task(task: str, table: Path | None) -> tuple[TaskSpec, str]:
    """Return the task's spec and where it is known from: a suite, the user's own table, or mteb.

    Raises:
        UserError: it is known from nowhere.
    """
    from qzhou_eval.suite.instructions import read_table
    from qzhou_eval.suite.library import built_in_suites
    from qzhou_eval.suite.suite import TaskSpec

    suites = built_in_suites()
    known = {spec.name: (spec, suite.name) for suite in suites.values() for spec in suite.tasks}
    by_lower = {name.lower(): name for name in known}
    if task.lower() in by_lower:
        spec, suite = known[by_lower[task.lower()]]
        return spec, f"{spec.type} in {suite}"
    if table and task in read_table(table):
        return TaskSpec(name=task), f"of {table.name}"
    # Slow to import, and only needed for tasks of no suite.
    from qzhou_eval.evaluate.mteb1.tasks import complete

    spec = complete(TaskSpec(name=task))
    return spec, f"{spec.type}, in no suite here"
