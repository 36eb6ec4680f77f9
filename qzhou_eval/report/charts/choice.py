"""Which models the pictures show until a reader chooses others."""

from __future__ import annotations

from collections.abc import Callable

from qzhou_eval.report.board import Board, Line


def default_baseline(board: Board, line: Line, wanted: str = "") -> Line | None:
    """Return what a model is held against, unless a reader chooses otherwise.

    `wanted` if the board has it; else the model's own published row, the best other published row,
    the best other row; None if there is no other.
    """
    others = [other for other in board.lines if other is not line]
    tests: list[Callable[[Line], bool]] = [
        lambda other: bool(wanted) and wanted.lower() in (other.label.lower(), _model(other)),
        lambda other: other.row.published and _model(other) == _model(line),
        lambda other: other.row.published,
        lambda other: True,
    ]
    return next((other for test in tests for other in others if test(other)), None)


def _model(line: Line) -> str:
    return line.row.model.lower()


def default_line(board: Board) -> Line:
    """Return the model that is shown at first: the best run, or the best row if there is no run."""
    return next((line for line in board.lines if not line.row.published), board.lines[0])


def default_profile(board: Board, limit: int = 4) -> list[Line]:
    """Return the models whose profiles are shown at first: runs, then the best published rows."""
    runs = [line for line in board.lines if not line.row.published]
    rest = [line for line in board.lines if line.row.published]
    return [*runs, *rest][:limit]
