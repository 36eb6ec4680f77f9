"""Instruction tables: which task is prompted with what, and on which side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from qzhou_eval.errors import UserError, nearest
from qzhou_eval.files import read_json, read_toml, text_digest


class Rule(str, Enum):
    """Which texts of a task are prompted."""

    QUERY_ONLY = "query only"
    """Queries alone; documents, and texts that are neither, get no prompt."""
    QUERY_AND_DOCUMENT = "query and document"
    """Every text."""


class Side(str, Enum):
    """What a text is in its task."""

    QUERY = "query"
    DOCUMENT = "document"


@dataclass(frozen=True)
class Instruction:
    """A task's instruction and the rule of who gets it."""

    text: str
    rule: Rule

    def applies_to(self, side: Side | None) -> bool:
        """Whether a text on `side` is prompted; None is a task that knows no sides."""
        return self.rule is Rule.QUERY_AND_DOCUMENT or side is Side.QUERY

    def to_dict(self) -> dict[str, str]:
        """Return text and rule as plain values."""
        return {"instruction": self.text, "rule": self.rule.value}


Table = Mapping[str, Instruction]


def tables_root() -> Path:
    """Return the folder of instruction sets: beside the code, or inside an installed wheel."""
    package = Path(__file__).parents[1]
    for candidate in (package / "task_instructions", package.parent / "task_instructions"):
        if candidate.is_dir():
            return candidate
    raise UserError(f"the instruction tables are missing from {package}: reinstall the package")


PUBLISHED_DIGESTS: dict[str, str] = {
    "mteb": "d7699c2d25889fdba6c2124bc1afcf2aa5e235ad68de8808c8d72b647f67ea7b",
    "qzhou": "28ec31bd97ea983757ff8f0faa238a6a9d83a08420e51b577c0490cac9fe1140",
}
"""sha256 of the sets that come with the project, texts and rules of all tasks."""


def table_digest(table: Table) -> str:
    """Return the sha256 of a table's tasks, texts and rules."""
    return text_digest({task: entry.to_dict() for task, entry in table.items()})


@cache
def instruction_set(name: str) -> Table:
    """Return all tables of the set `name` as one, task name to instruction.

    Raises:
        UserError: there is no such set, one of its files is not a table, or it is a published set
            that was altered.
    """
    root = tables_root()
    known = sorted(path.name for path in root.iterdir() if path.is_dir())
    if name not in known:
        raise UserError(f"unknown instruction set {name!r}: {nearest(name, known)}")
    table: dict[str, Instruction] = {}
    for path in sorted((root / name).glob("*.toml")):
        table.update(read_table(path))
    expected = PUBLISHED_DIGESTS.get(name)
    if expected and table_digest(table) != expected:
        raise UserError(
            f"the instruction set {name!r} in {root} is not as published (its digest differs): "
            "restore it, and give texts of your own with --instruction-table FILE"
        )
    return table


def read_table(path: Path, known: Table | None = None) -> Table:
    """Read an instruction table, TOML or JSON.

    Per task either the instruction alone or a table of ``instruction`` and ``rule``. Without a
    rule it is the one that `known` has for the task, else queries and documents.

    Raises:
        UserError: not readable, or an entry that is neither.
    """
    what = "instruction table"
    data = read_json(path, what) if path.suffix == ".json" else read_toml(path, what)
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected task names with their instructions")
    table = {}
    for task, value in data.items():
        rule = known[task].rule if known and task in known else Rule.QUERY_AND_DOCUMENT
        table[task] = parse_instruction(value, f"{path}: {task}", rule)
    return table


def parse_instruction(
    value: Any, where: str, rule_else: Rule = Rule.QUERY_AND_DOCUMENT
) -> Instruction:
    """Turn a table's entry into an Instruction; `where` names it in errors.

    Args:
        value: The instruction, or a table of ``instruction`` and ``rule``.
        where: Names the entry in errors.
        rule_else: The rule of an entry that names none.

    Raises:
        UserError: the entry has no instruction text, or an unknown rule.
    """
    if isinstance(value, str):
        value = {"instruction": value}
    text = value.get("instruction") if isinstance(value, dict) else None
    if not isinstance(text, str) or not text:
        raise UserError(f"{where}: expected an instruction, or a table of instruction and rule")
    rule = value.get("rule", rule_else.value)
    known = [r.value for r in Rule]
    if rule not in known:
        raise UserError(f"{where}: unknown rule {rule!r}: known: {', '.join(known)}")
    return Instruction(text, Rule(rule))
