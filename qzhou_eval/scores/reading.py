"""Reading mteb result files, whatever else their folder holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qzhou_eval.errors import UserError
from qzhou_eval.files import read_json


@dataclass(frozen=True)
class TaskScores:
    """The main scores of one result file.

    Attributes:
        task: The task's name, as the file gives it.
        main_scores: (split, subset) to main score, 0 to 1.
        dataset_revision: As the file gives it; empty if it gives none.
        mteb_version: As the file gives it; empty if it gives none.

    """

    task: str
    main_scores: Mapping[tuple[str, str], float]
    dataset_revision: str = ""
    mteb_version: str = ""

    def mean(self, splits: Sequence[str], subsets: Sequence[str]) -> float | None:
        """Return the mean main score over `splits` and `subsets`; None unless all are there.

        Other splits and subsets of the file do not count.
        """
        pairs = [(split, subset) for split in splits for subset in subsets]
        if not pairs or any(pair not in self.main_scores for pair in pairs):
            return None
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
    found: dict[tuple[str, str], float] = {}
    for split, rows in scores.items():
        if not isinstance(rows, list):
            raise UserError(f"{path}: not a result file: split {split} is not a list")
        for row in rows:
            subset, value = _row(row, path, split)
            found[(split, subset)] = value
    return TaskScores(
        task=str(data.get("task_name", path.stem)),
        main_scores=found,
        dataset_revision=str(data.get("dataset_revision") or ""),
        mteb_version=str(data.get("mteb_version") or ""),
    )


def _row(row: Any, path: Path, split: str) -> tuple[str, float]:
    subset = row.get("hf_subset") if isinstance(row, dict) else None
    value = row.get("main_score") if isinstance(row, dict) else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(subset, str) or not is_number or not math.isfinite(value or 0):
        raise UserError(
            f"{path}: not a result file: a row of split {split} lacks hf_subset or a main_score "
            "that is a number"
        )
    return subset, float(value)  # type: ignore[arg-type]
