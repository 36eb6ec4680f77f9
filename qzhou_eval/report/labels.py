"""What each row is called: one name a run, the same in every table, told apart from the others."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence

from qzhou_eval.errors import plain
from qzhou_eval.report.words import Words
from qzhou_eval.scores.run_folders import RunScores

Key = tuple[str, str]
"""What a row is of: a run's folder, or a published model."""

COMMIT = re.compile(r"[0-9a-f]{16,64}")
"""A commit or a fingerprint: of those the beginning is enough."""
SHORT = 8
STRICT = ("", "strict")
LEGEND = 46
"""Letters of a name that a legend has room for."""


def key(row: RunScores) -> Key:
    """Return what tells a row's run from others, in whichever suite."""
    return ("published", row.model) if row.folder is None else ("run", folder_text(row))


def folder_text(row: RunScores) -> str:
    """Return a run's folder as text, whatever bytes its name has; empty of a published row."""
    if row.folder is None:
        return ""
    return plain(os.fsencode(row.folder).decode("utf-8", "backslashreplace"))


def labels(rows: Sequence[RunScores], words: Words = str) -> dict[Key, str]:
    """Return the name of each run and published model of `rows`.

    The model's name; *published*, or the mode where that is not strict; of several runs of a model
    their revisions, and their folders where these are the same, too.
    """
    own = {key(row): row for row in rows}
    named = {k: _label(row, [_mark(row, words)]) for k, row in own.items()}
    for more in (_short_revision, _revision, folder_text):
        counts = Counter(named.values())
        # All runs of a model alike, so that none is left without what the others have.
        crowded = {own[k].model for k, name in named.items() if counts[name] > 1}
        for k, row in own.items():
            if row.model in crowded and not row.published:
                named[k] = _label(row, [more(row), _mark(row, words)])
    return _apart(named)


def _mark(row: RunScores, words: Words) -> str:
    if row.published:
        return words("published")
    return "" if row.mode in STRICT else plain(row.mode)


def _label(row: RunScores, more: Sequence[str]) -> str:
    told = ", ".join(part for part in more if part)
    return plain(row.model) + (f" ({told})" if told else "")


def _short_revision(row: RunScores) -> str:
    return row.revision[:SHORT] if COMMIT.fullmatch(row.revision) else plain(row.revision)


def _revision(row: RunScores) -> str:
    return plain(row.revision)


def _apart(named: dict[Key, str]) -> dict[Key, str]:
    """Number the names that are the same for all that."""
    seen: Counter[str] = Counter()
    apart = {}
    for k, name in named.items():
        seen[name] += 1
        apart[k] = name if seen[name] == 1 else f"{name} #{seen[name]}"
    return apart


def shortened(names: Sequence[str], length: int = LEGEND) -> list[str]:
    """Return names for a legend: long ones lose their middle, what is in brackets last."""
    short = [_middle(name, length) for name in names]
    counts = Counter(short)
    return [f"{text} #{place}" if counts[text] > 1 else text for place, text in enumerate(short, 1)]


def _middle(name: str, length: int) -> str:
    if len(name) <= length:
        return name
    start = name.rfind(" (")
    tail = name[start:] if 0 < len(name) - start <= length // 2 else name[-length // 2 :]
    return f"{name[: length - len(tail) - 1]}…{tail}"


Named = Callable[[RunScores], str]
"""A row to its label."""


def namer(rows: Sequence[RunScores], words: Words = str) -> Named:
    """Return what gives each of `rows` its label."""
    named = labels(rows, words)
    return lambda row: named[key(row)]
