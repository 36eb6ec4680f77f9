"""One result file: what mteb's reader and the results repository ask of it, and how mteb writes it.

Read with mteb 1.38.30's ``TaskResult``, held against the task's splits, subsets and dataset.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from qzhou_eval.environment import PUBLISHED_PINS
from qzhou_eval.errors import one_line_text
from qzhou_eval.scores.definitions import other_definition
from qzhou_eval.suite.suite import TaskSpec

MTEB = PUBLISHED_PINS["mteb"]
DIGITS = 6
"""Decimals that mteb writes a score with."""
CORRELATIONS = ("spearman", "pearson")
"""Main scores that can be below 0: a model that knows nothing may order pairs the wrong way."""
LANGUAGE = re.compile(r"[a-z0-9+#]+-[A-Z][a-z]{3}")
"""As ``eng-Latn``; ``c++-Code`` too."""
MOST_BYTES = 10 * 1024 * 1024
"""The results repository takes no larger file."""
MOST_TOLD = 3
"""Rows of one file of which it is told what is wrong; the others are counted."""
RUN_AGAIN = "run the task again"


def faults(value: Any, task: TaskSpec) -> list[str]:
    """Return why the contents `value` of a result file would not be taken as the result of `task`.

    Rows beyond the task's own splits and subsets are exported too, so they are held to the same.
    """
    if not isinstance(value, dict) or not isinstance(value.get("scores"), dict):
        return [f"not a result file, it has no table of scores; {RUN_AGAIN}"]
    lowest = -1 if task.metric.endswith(CORRELATIONS) else 0
    rows = list(_row_faults(value["scores"], lowest))
    if len(rows) > MOST_TOLD:
        rows = [*rows[:MOST_TOLD], f"{len(rows) - MOST_TOLD} more such faults in its rows"]
    found = [*_head_faults(value, task), *rows, *_lacking(value["scores"], task)]
    if not found and len(as_mteb_writes(value)) > MOST_BYTES:
        found.append(
            f"larger than {MOST_BYTES:,} bytes, which the results repository does not take"
        )
    return found


def remarks(value: Mapping[str, Any], task: TaskSpec) -> list[str]:
    """Return what a submitter must be told of a sound result: another definition of its task."""
    found = (
        other_definition(task, row)
        for split in task.splits
        for row in value["scores"][split]
        if row["hf_subset"] in task.subsets
    )
    return list(dict.fromkeys(remark for remark in found if remark))


def as_mteb_writes(value: Mapping[str, Any]) -> str:
    """Return a sound result file's text as mteb's ``TaskResult.to_disk`` writes it."""
    return json.dumps(
        {
            "dataset_revision": value["dataset_revision"],
            "task_name": value["task_name"],
            "mteb_version": value["mteb_version"],
            "scores": _rounded(value["scores"]),
            "evaluation_time": _float(value["evaluation_time"]),
            "kg_co2_emissions": _float(value.get("kg_co2_emissions")),
        },
        indent=2,
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _head_faults(value: Mapping[str, Any], task: TaskSpec) -> Iterator[str]:
    name = value.get("task_name")
    if name != task.name:
        yield f"holds the result of another task, {_said(name)}; {RUN_AGAIN}"
    version = value.get("mteb_version")
    if version != MTEB:
        yield f"made with mteb {_said(version)}, not {MTEB}; run it again in the pinned environment"
    revision = value.get("dataset_revision")
    if not revision or not isinstance(revision, str):
        yield f"does not say which revision of its dataset it is of; {RUN_AGAIN}"
    elif task.revision and revision != task.revision:
        yield (
            f"made with dataset revision {one_line_text(revision, limit=40)}, not {task.revision}; "
            f"{RUN_AGAIN} on that revision"
        )
    if "evaluation_time" not in value:
        yield "lacks evaluation_time, without which mteb does not read it; put it in, null at least"
    for key in ("evaluation_time", "kg_co2_emissions"):
        seconds = value.get(key)
        if seconds is not None and not (_is_number(seconds) and seconds >= 0):
            yield f"{key} is {_said(seconds)}, not a number or null"


def _row_faults(scores: Mapping[str, Any], lowest: int) -> Iterator[str]:
    for split, rows in scores.items():
        if not isinstance(rows, list):
            yield f"split {split} is not a list of results; {RUN_AGAIN}"
            continue
        seen = set()
        for row in rows:
            subset = row.get("hf_subset") if isinstance(row, dict) else None
            if not isinstance(subset, str):
                yield f"a row of split {split} does not name its subset (hf_subset); {RUN_AGAIN}"
                continue
            if subset in seen:
                yield f"has two results of {split}, {subset}; {RUN_AGAIN}"
            seen.add(subset)
            languages = row.get("languages")
            if (
                not isinstance(languages, list)
                or not languages
                or not all(map(_is_code, languages))
            ):
                yield f"{split}, {subset} does not name its languages as [eng-Latn]; {RUN_AGAIN}"
            score = row.get("main_score")
            if not _is_number(score):
                yield f"main_score of {split}, {subset} is {_said(score)}, no number; {RUN_AGAIN}"
            elif not lowest <= score <= 1:
                yield (
                    f"main_score of {split}, {subset} is {score}, not from {lowest} to 1; "
                    f"{RUN_AGAIN}"
                )


def _lacking(scores: Mapping[str, Any], task: TaskSpec) -> Iterator[str]:
    for split in task.splits:
        rows = scores.get(split)
        if rows is None:
            yield f"lacks split {split} (it has {_said(', '.join(scores))}); {RUN_AGAIN}"
        if not isinstance(rows, list):
            continue
        there = [row.get("hf_subset") for row in rows if isinstance(row, dict)]
        missing = [subset for subset in task.subsets if subset not in there]
        if missing:
            subsets = f"subset{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
            yield f"lacks {subsets} of split {split}; {RUN_AGAIN}"


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # A whole number may be too large for a float.
    return abs(value) < 10**18 if isinstance(value, int) else math.isfinite(value)


def _is_code(value: Any) -> bool:
    return isinstance(value, str) and LANGUAGE.fullmatch(value) is not None


def _said(value: Any) -> str:
    """Return what a file says, shortened, in an error's words."""
    return "nothing" if value in (None, "") else one_line_text(value, limit=60)
