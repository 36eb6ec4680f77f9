"""The items of tasks that mteb evaluates itself, from the vectors it asked for.

mteb gives a task's score and keeps what it is the mean or the correlation of to itself. Here that
is computed once more from the same vectors, by the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mteb.abstasks.AbsTaskPairClassification import AbsTaskPairClassification
from mteb.abstasks.AbsTaskSTS import AbsTaskSTS
from mteb.abstasks.AbsTaskSummarization import AbsTaskSummarization
from mteb.evaluation.evaluators import SummarizationEvaluator
from mteb.evaluation.evaluators.utils import cos_sim, dot_score
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics.pairwise import (
    paired_cosine_distances,
    paired_euclidean_distances,
    paired_manhattan_distances,
)

from qzhou_eval.encode.vectors import Vectors
from qzhou_eval.evaluate.items import Items, items
from qzhou_eval.evaluate.mteb1.scoring import unchanged
from qzhou_eval.evaluate.mteb1.texts import subset_rows

Call = tuple[list[str], Vectors]
Paired = NDArray[np.float32]
CHUNK = 4096
"""Pairs that are compared at a time: their vectors are copied for it."""


def _dots(first: Vectors, second: Vectors) -> Paired:
    return np.array([np.dot(a, b) for a, b in zip(first, second, strict=True)])


SIMILARITIES: dict[str, Callable[[Vectors, Vectors], Paired]] = {
    "cosine": lambda a, b: 1 - paired_cosine_distances(a, b),
    "manhattan": lambda a, b: -paired_manhattan_distances(a, b),
    "euclidean": lambda a, b: -paired_euclidean_distances(a, b),
    "dot": _dots,
}
"""mteb's similarities of pairs; distances negated, so that the larger is the more similar."""


class Recorder:
    """A model as mteb sees one, which remembers what it was asked and what it answered."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.mteb_model_meta = model.mteb_model_meta
        self.calls: list[Call] = []

    def encode(self, sentences: Sequence[str], **named: Any) -> Vectors:
        """Return the vectors of `sentences`, (len(sentences), width), float32."""
        vectors: Vectors = self._model.encode(sentences, **named)
        self.calls.append((list(sentences), vectors))
        return vectors


def has_items(task: Any) -> bool:
    """Whether the score of `task` is made of items as mteb's own tasks' are."""
    return _reader(task) is not None


def unit_items(task: Any, split: str, subset: str, calls: Sequence[Call]) -> Items | None:
    """Return the items of a unit that mteb has evaluated.

    Args:
        task: mteb's task.
        split: The split.
        subset: The subset.
        calls: What was encoded for it.

    Returns:
        Its items; None where its score is made of something else.
    """
    read = _reader(task)
    try:
        return read(task, subset_rows(task, split, subset), calls) if read else None
    except (ValueError, TypeError, KeyError, IndexError):
        # Data of another shape than we know, which mteb has made a score of all the same.
        return None


def _sts(task: Any, rows: Any, calls: Sequence[Call]) -> Items | None:
    kind, _, figure = task.metadata.main_score.rpartition("_")
    kind = kind or "cosine"  # a model without a similarity of its own
    if figure not in ("spearman", "pearson") or kind not in SIMILARITIES:
        return None
    (_, first), (_, second) = calls
    span = task.max_score - task.min_score
    gold = [(score - task.min_score) / span for score in rows["score"]]
    similar = _in_chunks(kind, len(gold), lambda part: (first[part], second[part]))
    return items(range(len(gold)), {kind: similar, "gold": gold})


def _pairs(task: Any, rows: Any, calls: Sequence[Call]) -> Items | None:
    [(texts, vectors)] = calls
    places = {text: place for place, text in enumerate(texts)}
    own = rows[0]
    sides = [[places[text] for text in own[side]] for side in ("sentence1", "sentence2")]
    labels = own["labels"]

    def pair(part: slice) -> tuple[Vectors, Vectors]:
        return vectors[sides[0][part]], vectors[sides[1][part]]

    columns = {kind: _in_chunks(kind, len(labels), pair) for kind in SIMILARITIES}
    return items(range(len(labels)), {**columns, "label": labels})


def _in_chunks(
    kind: str, count: int, pair: Callable[[slice], tuple[Vectors, Vectors]]
) -> NDArray[np.float32]:
    """Return one kind of similarity of `count` pairs, (count,)."""
    parts = [slice(start, start + CHUNK) for start in range(0, count, CHUNK)]
    return np.concatenate([SIMILARITIES[kind](*pair(part)) for part in parts])


def _summaries(task: Any, rows: Any, calls: Sequence[Call]) -> Items | None:
    kind, _, figure = task.metadata.main_score.rpartition("_")
    similarity = {"": cos_sim, "cosine": cos_sim, "dot": dot_score}.get(kind)
    correlation = {"spearman": spearmanr, "pearson": pearsonr}.get(figure)
    # The evaluator of before averages correlations together with their p-values.
    usual = task.evalutor is SummarizationEvaluator
    if similarity is None or correlation is None or not usual:
        return None
    (_, human), (_, machine) = calls
    span = task.max_score - task.min_score
    names, values = [], []
    ends = [np.cumsum([len(own) for own in rows[f"{who}_summaries"]]) for who in WRITERS]
    parts = zip(np.split(human, ends[0][:-1]), np.split(machine, ends[1][:-1]), strict=True)
    for number, ((theirs, ours), rated) in enumerate(zip(parts, rows["relevance"], strict=True)):
        gold = ((np.array(rated) - task.min_score) / span).tolist()
        best = {
            measure: [torch.max(measure(own, theirs)).item() for own in ours]
            for measure in (cos_sim, dot_score)
        }
        # mteb leaves out texts of which nothing can be correlated.
        if all(len(set(own)) > 1 for own in (gold, *best.values())):
            names.append(number)
            values.append(correlation(gold, best[similarity]).statistic)
    return items(names, {task.metadata.main_score: values})


WRITERS = ("human", "machine")
Read = Callable[[Any, Any, Sequence[Call]], Items | None]
READERS: tuple[tuple[type, Read], ...] = (
    (AbsTaskSTS, _sts),
    (AbsTaskPairClassification, _pairs),
    (AbsTaskSummarization, _summaries),
)


def _reader(task: Any) -> Read | None:
    own = ((kind, read) for kind, read in READERS if isinstance(task, kind))
    return next((r for k, r in own if unchanged(task, k, "evaluate", "_evaluate_subset")), None)
