"""Tables on a terminal: in colour where there is one that has colours, plain elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from qzhou_eval.errors import plain
from qzhou_eval.report.board import INCOMPLETE, MISSING, Board, Figure, Line, boards
from qzhou_eval.report.words import Words
from qzhou_eval.scores.run_folders import RunScores

PADDING = 3
"""What rich puts between two columns."""
NARROWEST_NAME = 20
"""Columns of a terminal that a model's name needs to be told from others when it is folded."""


def print_leaderboard(rows: Sequence[RunScores], console: Console, words: Words = str) -> None:
    """Print one table a suite: a row per model; where that is too wide, a column per model.

    Columns of more models than fit beside each other go into several tables, one below the other.
    """
    for board in boards(rows, words):
        for table in _fitting(board, console, words):
            console.print(table)
        for remark in board.remarks:
            console.print(Text(plain(remark), "yellow"))
        if board.incomplete:
            console.print(f"{MISSING}: {words(INCOMPLETE)}")


def _fitting(board: Board, console: Console, words: Words) -> list[Table]:
    """Return the board as a table, or as several where it is too wide for the terminal.

    A row per model if it fits, else a column per model if that does; else whichever of the two
    takes fewer lines, in parts.
    """
    columns = ("Tasks", *board.headings)
    wide = _models_down(board, columns, words)
    if _width(wide, console) <= console.width:
        return [wide]
    high = _models_across(board, board.lines, words)
    if _width(high, console) <= console.width:
        return [high]
    if len(board.lines) > len(columns):
        name = max(NARROWEST_NAME, console.width * 2 // 5)
        return [
            _models_down(board, part, words, name)
            for part in _parts(columns, console.width - name, words)
        ]
    # What the names may be folded to, and figures need; two spaces between columns.
    room = console.width - _width(_models_across(board, (), words), console)
    each = max(1, room // (NARROWEST_NAME + 2))
    groups = [board.lines[at : at + each] for at in range(0, len(board.lines), each)]
    return [_models_across(board, group, words, folded=True) for group in groups]


def _parts(columns: Sequence[str], room: int, words: Words) -> list[list[str]]:
    """Cut columns into parts that have room beside the names; each has one at least."""
    parts: list[list[str]] = [[]]
    left = room
    for column in columns:
        width = max(cell_len(words(column)), len("100.00")) + PADDING
        if parts[-1] and width > left:
            parts.append([])
            left = room
        parts[-1].append(column)
        left -= width
    return parts


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def _table(board: Board) -> Table:
    # As texts, not as rich's markup: a name from a file may hold brackets.
    title = Text(plain(board.name))
    return Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)


def _models_down(
    board: Board, columns: Sequence[str], words: Words, name_width: int | None = None
) -> Table:
    """Return a row per model, of some columns; names are folded at `name_width`."""
    table = _table(board)
    table.add_column(
        words("Model"), no_wrap=name_width is None, overflow="fold", max_width=name_width
    )
    for heading in columns:
        table.add_column(Text(plain(words(heading))), justify="right", overflow="fold")
    for line in board.lines:
        cells = dict(zip(board.headings, map(_figure, line.figures), strict=True))
        every = {"Tasks": Text(line.progress), **cells}
        table.add_row(_name(line), *(every[column] for column in columns))
    return table


def _models_across(
    board: Board, lines: Sequence[Line], words: Words, folded: bool = False
) -> Table:
    table = _table(board)
    table.add_column("", no_wrap=True)
    for line in lines:
        table.add_column(_name(line, folded), justify="right", overflow="fold")
    table.add_row(words("Tasks"), *(line.progress for line in lines))
    for place, heading in enumerate(board.headings):
        figures = (_figure(line.figures[place]) for line in lines)
        table.add_row(Text(plain(words(heading))), *figures)
    return table


def _name(line: Line, folded: bool = False) -> Text:
    """Return a model's name; `folded`, its organization on a line of its own."""
    name = plain(line.label)
    return Text(
        name.replace("/", "/\n", 1) if folded else name, "dim" if line.row.published else ""
    )


def _figure(figure: Figure) -> Text:
    return Text(figure.text, "bold green" if figure.best else "")
