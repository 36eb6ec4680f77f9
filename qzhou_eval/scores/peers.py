"""Published models beside one's own runs."""

from __future__ import annotations

from collections.abc import Iterable

from qzhou_eval.scores.aggregation import aggregate
from qzhou_eval.scores.published_scores import PublishedModel, published_models
from qzhou_eval.scores.run_folders import RunScores
from qzhou_eval.suite.library import built_in_suites
from qzhou_eval.suite.suite import Suite


def peers(suites: Iterable[str]) -> list[RunScores]:
    """Return the published rows of `suites` (leaderboard names), of every model that has one.

    A suite that nothing is published of has none.
    """
    known = built_in_suites()
    wanted = [known[name] for name in dict.fromkeys(suites) if name in known]
    return [
        _row(model, suite)
        for suite in wanted
        for model in published_models().values()
        if suite.name in model.suites
    ]


def _row(model: PublishedModel, suite: Suite) -> RunScores:
    records = model.suites[suite.name]
    scores: dict[str, float] = {}
    remarks: dict[str, str] = {}
    errors: dict[str, float] = {}
    for task in suite.tasks:
        places = [(task.name, split, subset) for split in task.splits for subset in task.subsets]
        if not all(place in records for place in places):
            continue
        found = [records[place] for place in places]
        scores[task.name] = sum(record.score for record in found) / len(found)
        if remark := found[0].remark:
            remarks[task.name] = remark
        if error := found[0].standard_error:
            errors[task.name] = error
    told = tuple(f"{task}: the published score is a {remark}" for task, remark in remarks.items())
    return RunScores(
        None,
        model.name,
        model.revision,
        aggregate(suite, scores),
        told,
        standard_errors=errors,
        redefined=frozenset(remarks),
    )
