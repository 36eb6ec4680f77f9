"""Real sentences that are always here: the demo suite's texts, to measure with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from qzhou_eval.suite.library import built_in

COLUMNS = (
    "text",
    "title",
    "query",
    "positive",
    "negative",
    "sentence1",
    "sentence2",
    "sentences",
    "human_summaries",
    "machine_summaries",
)
"""Columns of the demo's data that hold texts."""


@cache
def sample_texts() -> dict[str, list[str]]:
    """Return some 800 texts a language, by language ("eng", "cmn")."""
    suite = built_in("demo")
    assert suite.datasets_dir is not None
    found: dict[str, list[str]] = {}
    for spec in suite.tasks:
        texts = found.setdefault(spec.languages[0].partition("-")[0], [])
        for path in sorted((suite.datasets_dir / spec.dataset).glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                texts.extend(_strings(row[column] for column in COLUMNS if column in row))
    return found


def _strings(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        else:
            yield from _strings(value)
