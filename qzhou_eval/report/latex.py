"""Tables as LaTeX, for a paper: booktabs, a table environment a suite."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qzhou_eval.errors import plain
from qzhou_eval.report.board import INCOMPLETE, MISSING, Board, Figure, boards
from qzhou_eval.report.words import Words
from qzhou_eval.scores.run_folders import RunScores

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # Every encoding has it, other than \textquotedbl.
    '"': r"\char34{}",
    "–": r"\textendash{}",
    # After the end of a row these would be read as arguments of it.
    **{sign: f"{{{sign}}}" for sign in "[]*"},
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_LIGATURE = re.compile(r"(?<=-)(?=-)|(?<=[`?!])(?=`)|(?<=')(?=')|(?<=,)(?=,)")
"""Between two signs that fonts make one of: ``--`` would become a dash."""


def latex_text(value: object) -> str:
    """Return `value` as LaTeX text: nothing in it is a command, a comment or a cell's end.

    Its signs stay the signs they are, in each encoding of fonts that LaTeX has.
    """
    # The italic correction parts them under every engine, which an empty group does not.
    text = "".join(_SPECIAL.get(sign, sign) for sign in plain(value))
    return _LIGATURE.sub(r"\\/", text)


def leaderboard_latex(rows: Sequence[RunScores], words: Words = str) -> str:
    """Return two tables a suite: means by model, and scores by task."""
    parts = [
        "% Needs \\usepackage{booktabs} and \\usepackage{graphicx};\n",
        "% Chinese text needs XeLaTeX or LuaLaTeX with \\usepackage{ctex}.\n",
    ]
    for number, board in enumerate(boards(rows, words), 1):
        parts.append(_means(board, words, number))
        if board.tasks:
            parts.append(_tasks(board, words, number))
    return "".join(parts)


def _means(board: Board, words: Words, number: int) -> str:
    header = [words(heading) for heading in ("Model", "Tasks", *board.headings)]
    lines = [
        [latex_text(line.label), line.progress, *map(_figure, line.figures)] for line in board.lines
    ]
    told = [f"{board.name}.", words("Best of each column in bold; scores in points, 0 to 100.")]
    if board.incomplete:
        told.append(f"{MISSING}: {words(INCOMPLETE)}")
    return _table(header, lines, 1, told, f"leaderboard-{number}", board.remarks)


def _tasks(board: Board, words: Words, number: int) -> str:
    header = [words("Task"), words("Type"), *(line.label for line in board.lines)]
    lines = [
        [latex_text(line.task.name), latex_text(words(line.task.type)), *map(_figure, line.figures)]
        for line in board.tasks
    ]
    told = [f"{board.name}.", f"{words('Scores by task')}."]
    if any(figure.value is None for line in board.tasks for figure in line.figures):
        told.append(f"{MISSING}: {words('no score.')}")
    return _table(header, lines, 2, told, f"tasks-{number}")


def _figure(figure: Figure) -> str:
    text = latex_text(figure.text)
    return f"\\textbf{{{text}}}" if figure.best else text


def _table(
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    left: int,
    caption: Sequence[str],
    label: str,
    notes: Sequence[str] = (),
) -> str:
    """Return a table, as wide as the text, whose first `left` columns are text.

    Args:
        header: Headings, as plain text.
        lines: Cells, as LaTeX.
        left: Number of columns that are text.
        caption: Sentences, as plain text.
        label: What it is referred to by.
        notes: What must be told below it, a line each, as plain text.
    """
    layout = "l" * left + "r" * (len(header) - left)
    body = "".join(" & ".join(line) + " \\\\\n" for line in lines)
    return (
        "\n\\begin{table*}\n\\centering\n\\resizebox{\\textwidth}{!}{%\n"
        f"\\begin{{tabular}}{{{layout}}}\n\\toprule\n"
        + " & ".join(latex_text(heading) for heading in header)
        + f" \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}}}\n"
        f"\\caption{{{' '.join(map(latex_text, caption))}}}\n\\label{{tab:{label}}}\n"
        f"{_notes(notes)}\\end{{table*}}\n"
    )


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    lines = "".join(f"{latex_text(note)}.\\par\n" for note in notes)
    return (
        "\\begin{minipage}{\\textwidth}\n\\footnotesize\\raggedright\n"
        f"{lines}\\end{{minipage}}\n"
    )
