"""Running one task, and its result file in mteb's own format."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mteb.abstasks.AbsTask import AbsTask
from mteb.load_results.task_results import TaskResult

from qzhou_eval.evaluate.local_data import LocalDataset
from qzhou_eval.evaluate.mteb1.model import MtebModel
from qzhou_eval.evaluate.mteb1.tasks import build, load_data
from qzhou_eval.files import replacing
from qzhou_eval.suite.suite import TaskSpec


@dataclass(frozen=True)
class Evaluation:
    """A task that was run.

    Attributes:
        result: mteb's record of it.
        data_seconds: Time to load its data.
        evaluation_seconds: Time to encode and score.
    """

    result: TaskResult
    data_seconds: float
    evaluation_seconds: float

    def save(self, path: Path, earlier: dict[str, Any] | None) -> None:
        """Write mteb's result file, whole or not at all.

        Args:
            path: The file.
            earlier: A result made in the same way, whose other splits and subsets stay.
        """
        if earlier is not None:
            _keep_other_rows(self.result, TaskResult.from_dict(earlier))
        with replacing(path) as temporary:
            self.result.to_disk(temporary)


def _keep_other_rows(result: TaskResult, earlier: TaskResult) -> None:
    for split, rows in earlier.scores.items():
        new = result.scores.setdefault(split, [])
        have = {row["hf_subset"] for row in new}
        new.extend(row for row in rows if row["hf_subset"] not in have)
    result.evaluation_time = (result.evaluation_time or 0) + (earlier.evaluation_time or 0)


def evaluate(
    spec: TaskSpec, local: LocalDataset | None, model: MtebModel, batch_size: int
) -> Evaluation:
    """Run one task: a fresh task object, the spec's splits and subsets and nothing else.

    Raises:
        ValueError: mteb gave no score, or one that is not a number.
    """
    task: AbsTask = build(spec, local)
    started = time.monotonic()
    load_data(task, spec, local)
    loaded = time.monotonic()
    scores: dict[str, Any] = {}
    for split in spec.splits:
        # A dict of its own each time: mteb writes its defaults into the one it is given, and
        # 1.38.30's own then leak from task to task.
        encode_kwargs = {"batch_size": batch_size}
        scores[split] = task.evaluate(
            model, split, subsets_to_run=list(spec.subsets), encode_kwargs=encode_kwargs
        )
        for subset in spec.subsets:
            value = scores[split].get(subset, {}).get("main_score")
            if value is None or not math.isfinite(value):
                raise ValueError(f"mteb gave {value} as the score of {split}, {subset}")
    seconds = time.monotonic() - loaded
    result = TaskResult.from_task_results(task, scores, evaluation_time=seconds)
    return Evaluation(result, loaded - started, seconds)
