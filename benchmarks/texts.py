"""Real texts for the timings: short, medium and long ones, and a mixture of the first two."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

PROMPT = "Instruct: Retrieve semantically similar text\nQuery: "
CHARACTERS = 5
"""Of a token, about, in English abstracts."""
GOLDEN = 0.6180339887
"""Steps of this length spread over an interval evenly, and in no order."""


@dataclass(frozen=True)
class Texts:
    """Texts of one distribution of lengths, all of them different.

    Attributes:
        name: What the distribution is called.
        prompt: Put before each text; may be empty.
        texts: The texts.
    """

    name: str
    prompt: str
    texts: Sequence[str]


def distributions(datasets: Path, count: int, max_length: int) -> tuple[Texts, ...]:
    """Return short, medium, long and mixed texts, of about as many tokens each.

    No text comes twice, so that nothing is gained by encoding each once.

    Args:
        datasets: Datasets in hub layout: ``mteb/sts12-sts``, ``sts13-sts``, ``sts15-sts`` and
            ``scifact``.
        count: Short texts; the others are fewer.
        max_length: Tokens at which texts are cut off; long ones have a quarter to five quarters
            of it, as the passages of T2Retrieval do.
    """
    short = first(sentences(datasets), count, "sentences")
    medium = first(abstracts(datasets), max(count // 8, 1), "abstracts")
    long = first(passages(datasets, max_length * CHARACTERS), max(count // 16, 1), "passages")
    mixed = [*short[: len(short) // 2], *medium[: len(medium) // 2]]
    return (
        # Short ones are an STS task's, which has a prompt.
        Texts("short", PROMPT, short),
        Texts("medium", "", medium),
        Texts("long", "", long),
        Texts("mixed", "", mixed or short),
    )


def first(texts: Iterator[str], count: int, what: str) -> list[str]:
    """Return the first `count` different texts.

    Raises:
        SystemExit: there are fewer.
    """
    seen: dict[str, None] = {}
    for text in texts:
        seen[text] = None
        if len(seen) == count:
            return list(seen)
    raise SystemExit(f"{count} different {what} wanted, the data has {len(seen)}")


def sentences(datasets: Path) -> Iterator[str]:
    """Yield the sentences of three STS tasks."""
    for name in ("sts12-sts", "sts13-sts", "sts15-sts"):
        for row in rows(datasets / "mteb" / name, "*test*.jsonl*"):
            yield row["sentence1"]
            yield row["sentence2"]


def abstracts(datasets: Path) -> Iterator[str]:
    """Yield SciFact's documents, title and abstract."""
    for row in rows(datasets / "mteb" / "scifact", "*corpus*.jsonl*"):
        yield f"{row['title']} {row['text']}"


def passages(datasets: Path, full: int) -> Iterator[str]:
    """Yield abstracts joined and cut to a quarter to five quarters of `full` characters."""
    documents = abstracts(datasets)
    position = 0.0
    while True:
        wanted = int(full * (0.25 + position))
        position = (position + GOLDEN) % 1
        parts: list[str] = []
        length = 0
        while length < wanted:
            part = next(islice(documents, 1), None)
            if part is None:
                return
            parts.append(part)
            length += len(part) + 1
        yield " ".join(parts)[:wanted]


def rows(folder: Path, pattern: str) -> Iterator[dict[str, str]]:
    """Yield the rows of the JSON Lines files below `folder`.

    Raises:
        SystemExit: there are none.
    """
    paths = sorted(folder.rglob(pattern))
    if not paths:
        raise SystemExit(f"{folder}: no {pattern} below it")
    for path in paths:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            yield from map(json.loads, file)
