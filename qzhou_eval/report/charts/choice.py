"""Which models the pictures show until a reader chooses others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qzhou_eval.errors import UserError, nearest
from qzhou_eval.report.board import Board, Line
from qzhou_eval.report.labels import Key, folder_text, key, labels
from qzhou_eval.report.words import Words
from qzhou_eval.scores.run_folders import RunScores


def named_baseline(rows: Sequence[RunScores], wanted: str, words: Words = str) -> Key | None:
    """Return which row `wanted` names: a published model, a label, a run's folder, or its model.

    A model's published row goes before a run of it, which its folder names.

    Args:
        rows: Runs and published rows.
        wanted: What a user gave; nothing names none.
        words: The language of the labels.

    Raises:
        UserError: it names none of them, or several.
    """
    if not wanted:
        return None
    named = labels(rows, words)
    own = {key(row): row for row in rows}
    tests: list[Callable[[Key], bool]] = [
        lambda k: own[k].published and own[k].model.lower() == wanted.lower(),
        lambda k: named[k].lower() == wanted.lower(),
        lambda k: folder_text(own[k]) == wanted.rstrip("/"),
        lambda k: own[k].model.lower() == wanted.lower(),
    ]
    for test in tests:
        found = [k for k in own if test(k)]
        if len(found) > 1:
            raise UserError(
                f"--baseline {wanted!r}: there are several, name one: "
                + ", ".join(named[k] for k in found[:5])
            )
        if found:
            return found[0]
    known = {*named.values(), *(row.model for row in rows)}
    more = "" if any(row.published for row in rows) else " (--with-peers adds the published rows)"
    raise UserError(f"--baseline {wanted!r}: {nearest(wanted, known)}{more}")


def default_line(board: Board, baseline: Key | None = None) -> Line:
    """Return the model that is shown at first: the best run that is not the baseline.

    The best row if there is no such run.
    """
    others = [line for line in board.lines if key(line.row) != baseline] or list(board.lines)
    return next((line for line in others if not line.row.published), others[0])


def default_baseline(board: Board, line: Line, wanted: Key | None = None) -> Line | None:
    """Return what a model is held against, unless a reader chooses otherwise.

    `wanted` if the board has it; else the model's own published row, the best other published row,
    the best other row; None if there is no other.
    """
    others = [other for other in board.lines if other is not line]
    tests: list[Callable[[Line], bool]] = [
        lambda other: key(other.row) == wanted,
        lambda other: other.row.published and _model(other) == _model(line),
        lambda other: other.row.published,
        lambda other: True,
    ]
    return next((other for test in tests for other in others if test(other)), None)


def _model(line: Line) -> str:
    return line.row.model.lower()


def default_profile(board: Board, limit: int = 4) -> list[Line]:
    """Return the models whose profiles are shown at first: runs, then the best published rows."""
    runs = [line for line in board.lines if not line.row.published]
    rest = [line for line in board.lines if line.row.published]
    return [*runs, *rest][:limit]
