"""Running one task, and its result file in mteb's own format."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from mteb.abstasks.AbsTask import AbsTask
from mteb.load_results.task_results import TaskResult

from qzhou_eval.evaluate.generators import Generators
from qzhou_eval.evaluate.local_data import LocalDataset
from qzhou_eval.evaluate.mteb1 import classification, reranking, retrieval
from qzhou_eval.evaluate.mteb1.model import MtebModel
from qzhou_eval.evaluate.mteb1.replay import encode_ahead, foreseen
from qzhou_eval.evaluate.mteb1.scoring import Scores, Scoring
from qzhou_eval.evaluate.mteb1.tasks import build, load_data, loads_as_usual
from qzhou_eval.files import replacing
from qzhou_eval.suite.suite import TaskSpec

Fits = Callable[[Any, str, str], bool]
Encode = Callable[[Any, MtebModel, str, str, int], Scoring]

_PATHS: dict[str, tuple[Fits, Encode]] = {
    "Reranking": (reranking.fits, reranking.reranking),
    "Retrieval": (retrieval.fits, retrieval.retrieval),
}
"""Our own ways through tasks of these types, where they fit; the rest is evaluated by mteb."""


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


@dataclass(frozen=True)
class Encoded:
    """A task whose texts are all encoded.

    Attributes:
        task: mteb's task.
        spec: What of it counts.
        data_seconds: Time to load its data.
        encode_seconds: Time since, scores that could not wait included.
        scorings: What is left to do, by split and subset.
    """

    task: AbsTask
    spec: TaskSpec
    data_seconds: float
    encode_seconds: float
    scorings: dict[tuple[str, str], Scoring]

    def score(self) -> Evaluation:
        """Score the task; draws no random numbers and asks no model.

        Raises:
            ValueError: there is no score, or one that is not a number.
        """
        started = time.monotonic()
        scores: dict[str, Any] = {split: {} for split in self.spec.splits}
        for (split, subset), scoring in self.scorings.items():
            scores[split][subset] = scoring()
            value = scores[split][subset].get("main_score")
            if value is None or not math.isfinite(value):
                raise ValueError(f"the score of {split}, {subset} is {value}")
        seconds = self.encode_seconds + time.monotonic() - started
        result = TaskResult.from_task_results(self.task, scores, evaluation_time=seconds)
        return Evaluation(result, self.data_seconds, seconds)


@dataclass(frozen=True)
class Prepared:
    """A task whose data is loaded.

    Attributes:
        task: mteb's task.
        spec: What of it counts.
        data_seconds: Time to load its data.
        generators: The random generators as making it, loading its data and drawing left them.
        draws: What a classification task draws for each split and subset; empty for others.
    """

    task: AbsTask
    spec: TaskSpec
    data_seconds: float
    generators: Generators
    draws: Mapping[tuple[str, str], list[Any]]


def prepare_task(spec: TaskSpec, local: LocalDataset | None) -> Prepared:
    """Make a fresh task object, load its data, and draw from it what is drawn before encoding.

    Others may use the random generators while data is loaded: that can take long, and draws
    nothing but where a task has its own way of doing it.
    """
    generators = Generators()
    with generators.lent():
        task: AbsTask = build(spec, local)
    started = time.monotonic()
    if loads_as_usual(task):
        transform = task.dataset_transform

        def lent_transform() -> None:
            with generators.lent():
                transform()

        task.dataset_transform = lent_transform
        load_data(task, spec, local)
    else:
        with generators.lent():
            load_data(task, spec, local)
    loaded = time.monotonic() - started
    places = [(split, subset) for split in spec.splits for subset in spec.subsets]
    draws = {}
    if spec.type == "Classification" and all(classification.fits(task, *own) for own in places):
        with generators.lent():
            draws = {own: classification.draw(task, *own) for own in places}
    return Prepared(task, spec, loaded, generators, draws)


def encode_task(
    prepared: Prepared, model: MtebModel, batch_size: int, *, ahead: bool = False
) -> Encoded:
    """Encode one task, the spec's splits and subsets and nothing else.

    A task that mteb evaluates is scored here as well, unless its texts are encoded `ahead`.

    Args:
        prepared: The task.
        model: The model.
        batch_size: Texts a forward pass.
        ahead: Whether to encode what mteb will ask for before it does, so that scoring can wait.

    Raises:
        VectorError: a vector is not finite or all zero.
    """
    started = time.monotonic()
    scorings: dict[tuple[str, str], Scoring] = {}
    for split in prepared.spec.splits:
        for subset, scoring in _scorings(prepared, model, split, batch_size, ahead).items():
            scorings[split, subset] = scoring
    seconds = time.monotonic() - started
    return Encoded(prepared.task, prepared.spec, prepared.data_seconds, seconds, scorings)


def _scorings(
    prepared: Prepared, model: MtebModel, split: str, size: int, ahead: bool
) -> dict[str, Scoring]:
    """Encode a split's subsets; return what is left to do of each."""
    task, spec, generators = prepared.task, prepared.spec, prepared.generators
    if prepared.draws:
        return {
            subset: classification.classification(task, model, prepared.draws[split, subset], size)
            for subset in spec.subsets
        }
    fits, encode = _PATHS.get(spec.type, (None, None))
    if fits and encode and all(fits(task, split, subset) for subset in spec.subsets):
        return {subset: encode(task, model, split, subset, size) for subset in spec.subsets}
    put_off = ahead and foreseen(task)
    asked = encode_ahead(task, model, split, spec.subsets, size) if put_off else model

    @cache
    def evaluated() -> dict[str, Scores]:
        # All subsets in one call: what is drawn for one depends on those before it.
        # A dict of its own each time: mteb writes its defaults into the one it is given, and
        # 1.38.30's own then leak from task to task.
        with generators.lent():
            return task.evaluate(  # type: ignore[no-any-return]
                asked, split, subsets_to_run=list(spec.subsets), encode_kwargs={"batch_size": size}
            )

    if not put_off:
        evaluated()
    return {subset: partial(_of_subset, evaluated, subset) for subset in spec.subsets}


def _of_subset(evaluated: Callable[[], dict[str, Scores]], subset: str) -> Scores:
    return dict(evaluated().get(subset, {}))
