"""Each run's verdict against its model's published row, as the page shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qzhou_eval.errors import NothingToCompareError
from qzhou_eval.report.comparison import comparison_cells, counts, place, reason
from qzhou_eval.report.labels import namer
from qzhou_eval.report.words import Words
from qzhou_eval.scores.comparison import compare
from qzhou_eval.scores.published_scores import published_model
from qzhou_eval.scores.result_folder import open_result_folder
from qzhou_eval.scores.run_folders import RunScores
from qzhou_eval.scores.verdicts import SuiteVerdict


@dataclass(frozen=True)
class ShownScore:
    """One published score beside ours, as text.

    Attributes:
        place: Task, with its subset where that is not the default one.
        ours: Our score, in points.
        published: The published one.
        difference: Ours less the published.
        verdict: What became of it.
        reason: Why, with likely causes.
    """

    place: str
    ours: str
    published: str
    difference: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class ShownVerdict:
    """A suite's verdict.

    Attributes:
        title: The suite and the run.
        published: Whose published row it is held against.
        suite: The verdict.
        counts: Number of scores of each kind, in words.
        rows: Every score.
    """

    title: str
    published: str
    suite: SuiteVerdict
    counts: str
    rows: Sequence[ShownScore]


def verdicts(rows: Sequence[RunScores], words: Words = str) -> list[ShownVerdict]:
    """Return a verdict per run and suite that something is published of.

    Args:
        rows: Runs, and published rows, which have none.
        words: The language of the labels.

    Raises:
        UserError: a result file is not readable.
    """
    named = namer(rows, words)
    found = []
    for folder, row in {row.folder: row for row in rows if row.folder}.items():
        results = open_result_folder(folder)
        try:
            comparison = compare(results, published_model(results.model))
        except NothingToCompareError:
            continue
        for suite in comparison.suites:
            shown = [
                ShownScore(place(row), *comparison_cells(row), row.verdict.value, reason(row))
                for row in suite.rows
            ]
            name = f"{suite.suite.name}: {named(row)}"
            against = comparison.published.name
            found.append(ShownVerdict(name, against, suite, counts(suite), shown))
    return found
