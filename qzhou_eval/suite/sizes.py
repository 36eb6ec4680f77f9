"""How many texts a task has encoded, and how long they are, known before its data is here."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qzhou_eval.suite.instructions import Side
from qzhou_eval.suite.suite import TaskSpec

SIZES = Path(__file__).parent / "sizes.csv"


@dataclass(frozen=True)
class Size:
    """The texts that a task has encoded on one side.

    Attributes:
        split: The split they are of.
        subset: The subset.
        side: What they are in their task; None in a task that knows no sides.
        language: Language of the texts, as in "eng".
        texts: How many texts are encoded.
        characters: Their characters, prompts left out.
        stored: Characters of the rows the texts are taken from, which may be more.
        origin: How the figures arose: "counted", "published", "listed" or "drawn" (the head of
            the file says what these mean).
    """

    split: str
    subset: str
    side: Side | None
    language: str
    texts: int
    characters: int
    stored: int
    origin: str


@cache
def _table() -> dict[tuple[str, str], tuple[Size, ...]]:
    found: dict[tuple[str, str], list[Size]] = {}
    with SIZES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            size = Size(
                row["split"],
                row["subset"],
                Side(row["side"]) if row["side"] else None,
                row["language"],
                int(row["texts"]),
                int(row["characters"]),
                int(row["stored"]),
                row["origin"],
            )
            found.setdefault((row["task"], row["dataset"]), []).append(size)
    return {key: tuple(sizes) for key, sizes in found.items()}


def task_sizes(spec: TaskSpec) -> tuple[Size, ...]:
    """Return what `spec` has encoded; nothing if that is not known of all its splits and subsets.

    A task is known by its name and its dataset: another of the same name is another task.
    """
    known = _table().get((spec.name, spec.dataset), ())
    wanted = {(split, subset) for split in spec.splits for subset in spec.subsets}
    own = tuple(size for size in known if (size.split, size.subset) in wanted)
    return own if {(size.split, size.subset) for size in own} == wanted else ()


def language_of(spec: TaskSpec, sizes: Iterable[Size] = ()) -> str:
    """Return the language of a task's texts, as in "eng"; empty where it is not known."""
    codes = [code.partition("-")[0] for code in spec.languages]
    return next(iter([*codes, *(size.language for size in sizes)]), "")
