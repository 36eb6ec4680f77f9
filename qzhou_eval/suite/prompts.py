"""The prompts of a run: recipe, instruction tables and tasks put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qzhou_eval.errors import UserError
from qzhou_eval.recipe.recipe import Recipe
from qzhou_eval.suite.instructions import Instruction, Side, instruction_set, read_table
from qzhou_eval.suite.suite import TaskSpec


@dataclass(frozen=True)
class PromptBook:
    """What is put before a task's texts.

    Attributes:
        recipe: Its template is filled in.
        instructions: Task name to instruction; empty where the run takes none.
    """

    recipe: Recipe
    instructions: Mapping[str, Instruction]

    def prompt(self, task: str, side: Side | None) -> str:
        """Return the string put before a text of `task` on `side`; None where sides are unknown."""
        instruction = self.instructions.get(task)
        if instruction is not None and instruction.applies_to(side):
            return self.recipe.prompt(instruction.text)
        if side is Side.QUERY:
            return self.recipe.query_prefix
        return self.recipe.document_prefix if side is Side.DOCUMENT else self.recipe.text_prefix


def prompt_book(recipe: Recipe, tasks: Iterable[TaskSpec], table: Path | None = None) -> PromptBook:
    """Find the instruction of every task, or none at all for a recipe that takes none.

    Args:
        recipe: Names the instruction set.
        tasks: The tasks of the run.
        table: A table of the user's own, which goes before a suite file's entries and the set.

    Raises:
        UserError: a task has no instruction anywhere.
    """
    if not recipe.instruction_set:
        return PromptBook(recipe, {})
    tasks = list(tasks)
    common = instruction_set(recipe.instruction_set)
    own = read_table(table, common) if table else {}
    found: dict[str, Instruction] = {}
    missing: list[str] = []
    for task in tasks:
        instruction = own.get(task.name) or task.instruction or common.get(task.name)
        if instruction:
            found[task.name] = instruction
        else:
            missing.append(task.name)
    if missing:
        raise UserError(
            f"no instruction for {', '.join(missing)} in the set {recipe.instruction_set!r}: "
            "give one with --instruction-table FILE, or run without any with --no-instructions"
        )
    for task in tasks:
        if task.type and not any(found[task.name].applies_to(side) for side in task.sides):
            raise UserError(
                f"the instruction of {task.name} would reach none of its texts: its rule is "
                f"{found[task.name].rule.value!r}, and a {task.type} task knows no queries"
            )
    return PromptBook(recipe, found)
