"""Tables as LaTeX, for a paper: booktabs, a table environment a suite."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qzhou_eval.errors import plain
from qzhou_eval.report.board import INCOMPLETE, Board, Figure, boards
from qzhou_eval.report.words import Words
from qzhou_eval.scores.run_folders import RunScores

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_SPECIAL_PATTERN = re.compile("[" + re.escape("".join(_SPECIAL)) + "]")


def latex_text(value: object) -> str:
    """Return `value` as LaTeX text: nothing in it is a command, a comment or a cell's end."""
    return _SPECIAL_PATTERN.sub(lambda found: _SPECIAL[found[0]], plain(value))


def leaderboard_latex(rows: Sequence[RunScores], words: Words = str) -> str:
    """Return two tables a suite: means by model, and scores by task."""
    parts = [
        "% Needs \\usepackage{booktabs} and \\usepackage{graphicx};\n",
        "% Chinese text needs XeLaTeX or LuaLaTeX with \\usepackage{ctex}.\n",
    ]
    for number, board in enumerate(boards(rows, words), 1):
        parts += [_means(board, words, number), _tasks(board, words, number)]
    return "".join(parts)


def _means(board: Board, words: Words, number: int) -> str:
    header = [words(heading) for heading in ("Model", "Tasks", *board.headings)]
    lines = [
        [latex_text(line.label), line.progress, *map(_figure, line.figures)] for line in board.lines
    ]
    told = [f"{board.name}.", words("Best of each column in bold; scores in points, 0 to 100.")]
    if board.incomplete:
        told.append(f"–: {words(INCOMPLETE)}")
    caption = " ".join(map(latex_text, told))
    return _table(header, lines, 1, caption, f"leaderboard-{number}")


def _tasks(board: Board, words: Words, number: int) -> str:
    header = [words("Task"), words("Type"), *(line.label for line in board.lines)]
    lines = [
        [latex_text(line.task.name), latex_text(words(line.task.type)), *map(_figure, line.figures)]
        for line in board.tasks
    ]
    caption = latex_text(f"{board.name}. {words('Scores by task')}.")
    return _table(header, lines, 2, caption, f"tasks-{number}")


def _figure(figure: Figure) -> str:
    text = latex_text(figure.text)
    return f"\\textbf{{{text}}}" if figure.best else text


def _table(
    header: Sequence[str], lines: Sequence[Sequence[str]], left: int, caption: str, label: str
) -> str:
    """Return a table, as wide as the text, whose first `left` columns are text.

    Args:
        header: Headings, as plain text.
        lines: Cells, as LaTeX.
        left: Number of columns that are text.
        caption: As LaTeX.
        label: What it is referred to by.
    """
    layout = "l" * left + "r" * (len(header) - left)
    body = "".join(" & ".join(line) + " \\\\\n" for line in lines)
    return (
        "\n\\begin{table*}\n\\centering\n\\resizebox{\\textwidth}{!}{%\n"
        f"\\begin{{tabular}}{{{layout}}}\n\\toprule\n"
        + " & ".join(latex_text(heading) for heading in header)
        + f" \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}}}\n"
        f"\\caption{{{caption}}}\n\\label{{tab:{label}}}\n\\end{{table*}}\n"
    )
