"""The page's pictures as SVG and PNG files, for a paper or a slide."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from qzhou_eval.report.board import boards
from qzhou_eval.report.charts.choice import default_baseline, default_line, default_profile
from qzhou_eval.report.charts.differences import differences, differences_spec
from qzhou_eval.report.charts.profile import profile, profile_spec
from qzhou_eval.report.charts.specification import THEMES, VEGA_LITE, Spec, with_rows
from qzhou_eval.report.charts.times import times_spec
from qzhou_eval.report.labels import Key, key
from qzhou_eval.report.page.runs import run_facts
from qzhou_eval.report.words import Words
from qzhou_eval.scores.run_folders import RunScores

SCALE = 2
"""Dots of a PNG for each of the picture's own: 560 of plot come to 1,120."""


def pictures(
    rows: Sequence[RunScores], words: Words = str, baseline: Key | None = None
) -> dict[str, bytes]:
    """Return the pictures, by name of file: each as SVG and as PNG.

    Per suite ``differences-SUITE`` and ``profile-SUITE``, with the models that the page shows at
    first, and ``time-RUN`` of each run among those.

    Args:
        rows: Runs and published rows.
        words: The language.
        baseline: What the best run is held against; by default its own published row, or the best
            published one.

    Raises:
        UserError: a run folder's manifest is not readable.
    """
    specs: dict[str, Spec] = {}

    def add(kind: str, name: str, spec: Spec) -> None:
        # Other names may come to the same name of a file.
        own = f"{kind}-{_file_name(name)}"
        number = sum(taken == own or taken.startswith(f"{own}--") for taken in specs)
        specs[f"{own}--{number + 1}" if number else own] = spec

    shown: dict[Key, RunScores] = {}
    for board in boards(rows, words):
        line = default_line(board, baseline)
        if against := default_baseline(board, line, baseline):
            told = f"{line.label} − {against.label}"
            drawn = differences(board, line, against, words)
            if drawn:
                spec = with_rows(differences_spec(words), rows=drawn)
                add("differences", board.name, spec | {"title": _title(board.name, told)})
        lines = default_profile(board)
        shown |= {key(one.row): one.row for one in (line, *lines)}
        drawn = profile(lines, board.types, words)
        if drawn:
            spec = with_rows(profile_spec(words), rows=drawn)
            add("profile", board.name, spec | {"title": _title(board.name)})
    for run in run_facts(rows, words):
        if run.run in shown and (drawn := run.times.rows(words)):
            spec = times_spec(run.times.unit, run.times.planned, words)
            spec = with_rows(spec, rows=drawn, planned=run.times.ticks())
            add("time", run.label, spec | {"title": _title(run.label)})
    return {
        f"{name}.{kind}": drawing(spec, kind)
        for name, spec in specs.items()
        for kind in ("svg", "png")
    }


def drawing(spec: Spec, kind: str) -> bytes:
    """Return a specification drawn as ``svg`` or ``png``, on white."""
    import vl_convert

    whole = {**spec, "background": "white"}
    config = {**THEMES["light"], "background": "white"}
    text = json.dumps(whole, allow_nan=False)
    if kind == "svg":
        drawn = vl_convert.vegalite_to_svg(text, vl_version=VEGA_LITE, config=config)
        return drawn.encode("utf-8")
    return bytes(vl_convert.vegalite_to_png(text, vl_version=VEGA_LITE, scale=SCALE, config=config))


def _title(text: str, more: str = "") -> Spec:
    return {"text": text, "subtitle": more, "anchor": "start", "fontWeight": "normal"}


def _file_name(text: str) -> str:
    """Return a name for a file: what is no letter, digit or dot becomes a hyphen."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:80] or "suite"
