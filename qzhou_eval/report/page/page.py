"""The page: tables as HTML, pictures drawn in the reader's browser, everything in one file."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import qzhou_eval
from qzhou_eval.errors import plain
from qzhou_eval.report.board import INCOMPLETE, MISSING, Board, Line, boards
from qzhou_eval.report.charts.choice import default_baseline, default_line, default_profile
from qzhou_eval.report.charts.differences import KINDS, differences_spec, tasks_by_type, tolerances
from qzhou_eval.report.charts.profile import profile_spec, type_means
from qzhou_eval.report.charts.specification import THEMES, VEGA_LITE
from qzhou_eval.report.charts.times import PARTS, times_spec
from qzhou_eval.report.labels import Key, shortened
from qzhou_eval.report.page.runs import common_facts, run_facts, without
from qzhou_eval.report.page.verdicts import verdicts
from qzhou_eval.report.tables import points
from qzhou_eval.report.words import Lang, Words, words
from qzhou_eval.scores.run_folders import RunScores
from qzhou_eval.scores.verdicts import TOLERANCE

ASSETS = Path(__file__).parent / "assets"
SCRIPT_WORDS = ("rows shown", "Nothing to draw: choose others.")
"""What the page's script says."""


@dataclass(frozen=True)
class SuiteSection:
    """A suite's part of the page, with what its pictures show at first.

    Attributes:
        board: Its leaderboard.
        line: The model whose differences are shown.
        baseline: What it is held against; None if there is nothing else.
        profile: The models whose profiles are shown.
    """

    board: Board
    line: Line
    baseline: Line | None
    profile: Sequence[Line]


def leaderboard_page(
    rows: Sequence[RunScores], *, lang: Lang = Lang.EN, baseline: Key | None = None
) -> str:
    """Return the page: leaderboards, differences, profiles, verdicts, times, environments.

    Args:
        rows: Runs and published rows.
        lang: Its language.
        baseline: What others are held against at first; by default the published row of the same
            model, or the best published one.

    Raises:
        UserError: a run folder's manifest or results are not readable.
    """
    word = words(lang)
    sections = [_section(board, baseline) for board in boards(rows, word)]
    runs = run_facts(rows, word)
    common = common_facts(runs)
    timed = [run for run in runs if run.times.tasks]
    # One name a line of the page: no text of a file ends its line, and none is markup.
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_harmless,
    )
    return environment.get_template("page.html.jinja").render(
        language="zh-CN" if lang is Lang.ZH else "en",
        title=word("Leaderboard"),
        w=word,
        suites=sections,
        missing=MISSING,
        incomplete=INCOMPLETE,
        verdicts=verdicts(rows, word),
        timed=timed,
        common=common,
        runs=[(run.label, bool(run.fields), without(run.fields, common)) for run in runs],
        version=qzhou_eval.__version__,
        css=Markup(_asset("page.css")),
        js=Markup(_asset("page.js")),
        plotting=Markup(_plotting()),
        data=_script_json(
            {
                "words": {text: word(text) for text in SCRIPT_WORDS},
                "themes": THEMES,
                "tolerance": TOLERANCE,
                "kinds": [word(kind) for kind in KINDS],
                "parts": [word(part) for part in PARTS],
                "specs": {
                    "differences": differences_spec(word),
                    "profile": profile_spec(word),
                    "times": {
                        unit: [times_spec(unit, planned, word) for planned in (False, True)]
                        for unit in {run.times.unit for run in timed}
                    },
                },
                "suites": [_suite_data(section.board, word) for section in sections],
                "times": [{"unit": run.times.unit, "tasks": run.times.tasks} for run in timed],
            }
        ),
    )


def _section(board: Board, baseline: Key | None) -> SuiteSection:
    line = default_line(board, baseline)
    return SuiteSection(
        board, line, default_baseline(board, line, baseline), default_profile(board)
    )


def _suite_data(board: Board, word: Words) -> dict[str, Any]:
    """Return what the page's script needs of a board: scores as in the tables of tasks."""
    tasks = tasks_by_type(board)
    places = {task.name: place for place, task in enumerate(tasks)}
    names = shortened([line.label for line in board.lines])
    return {
        "tasks": [{"name": plain(task.name), "type": plain(word(task.type))} for task in tasks],
        "types": [plain(word(kind)) for kind in board.types],
        "models": [
            {
                "name": name,
                "scores": [points(line.row.scores.tasks.get(task.name)) for task in tasks],
                # By the place of the task; of the others it is the same for all.
                "tolerances": {places[t]: v for t, v in tolerances(line).items() if t in places},
                "redefined": [places[t] for t in sorted(line.row.redefined) if t in places],
                "means": type_means(line, board.types),
            }
            for name, line in zip(names, board.lines, strict=True)
        ],
    }


def _harmless(value: Any) -> Any:
    """Return text without control characters; what is markup already stays as it is."""
    return value if not isinstance(value, str) or isinstance(value, Markup) else plain(value)


def _script_json(value: Any) -> Markup:
    """Return JSON that ends no script element, whatever texts are in it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


@cache
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def _plotting() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script, packed: gzip in base64.

    Made without a network. Packed it is a third of its size, which leaves room for many runs.
    """
    import vl_convert

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    return base64.b64encode(gzip.compress(script.encode("utf-8"), mtime=0)).decode("ascii")
