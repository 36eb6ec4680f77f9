"""Reading mteb result files, whatever else their folder holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qzhou_eval.errors import UserError, one_line_text
from qzhou_eval.files import read_json

LARGEST = 1e6
"""No main score of mteb's comes near it; means over larger numbers could become infinite."""


@dataclass(frozen=True)
class TaskScores:
    """The main scores of one result file.

    Attributes:
        path: The file.
        task: The task's name, as the file gives it.
        main_scores: (split, subset) to main score, 0 to 1; NaN where the file has no number.
        rows: (split, subset) to all that the file says of it.
        dataset_revision: As the file gives it; empty if it gives none.
        mteb_version: As the file gives it; empty if it gives none.
    """

    path: Path
    task: str
    main_scores: Mapping[tuple[str, str], float]
    rows: Mapping[tuple[str, str], Mapping[str, Any]]
    dataset_revision: str = ""
    mteb_version: str = ""

    def mean(self, splits: Iterable[str], subsets: Iterable[str]) -> float | None:
        """Return the mean main score over `splits` and `subsets`; None unless all are there.

        Other splits and subsets of the file do not count, whatever they hold.

        Raises:
            UserError: a score that counts is not a number.
        """
        splits, subsets = dict.fromkeys(splits), dict.fromkeys(subsets)
        # Asked first: a list of pairs could be longer than any memory.
        if not 0 < len(splits) * len(subsets) <= len(self.main_scores):
            return None
        pairs = [(split, subset) for split in splits for subset in subsets]
        if any(pair not in self.main_scores for pair in pairs):
            return None
        for split, subset in pairs:
            if not math.isfinite(self.main_scores[split, subset]):
                raise UserError(f"{self.path}: the main_score of {split}, {subset} is no number")
        return sum(self.main_scores[pair] for pair in pairs) / len(pairs)


def read_task_scores(path: Path) -> TaskScores:
    """Read one result file in mteb's format.

    Raises:
        UserError: not readable, or not a result; the message says what is wrong.
    """
    data = read_json(path, "result file")
    scores = data.get("scores") if isinstance(data, dict) else None
    if not isinstance(scores, dict):
        raise UserError(f"{path}: not a result file: it has no table of scores")
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for split, rows in scores.items():
        if not isinstance(rows, list):
            raise UserError(f"{path}: not a result file: split {split} is not a list")
        for row in rows:
            if not isinstance(row, dict) or not isinstance(row.get("hf_subset"), str):
                continue
            subset = row["hf_subset"]
            if (split, subset) in found:
                raise UserError(f"{path}: has two results of {split}, {subset}")
            found[split, subset] = row
    return TaskScores(
        path=path,
        task=one_line_text(data.get("task_name", path.stem)),
        main_scores={pair: _number(row.get("main_score")) for pair, row in found.items()},
        rows=found,
        dataset_revision=one_line_text(data.get("dataset_revision") or ""),
        mteb_version=one_line_text(data.get("mteb_version") or ""),
    )


def _number(value: Any) -> float:
    """Return a JSON number as float; NaN for anything else, or a size that no score has."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if abs(value) <= LARGEST else math.nan
