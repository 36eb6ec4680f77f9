"""Classification: mteb's task with all its draws known before the first text is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mteb.abstasks.AbsTaskClassification import AbsTaskClassification
from mteb.evaluation.evaluators import logRegClassificationEvaluator

from qzhou_eval.encode.vectors import Vectors
from qzhou_eval.evaluate.mteb1.model import MtebModel
from qzhou_eval.evaluate.mteb1.scoring import Scored, Scores, Scoring, unchanged


class _Given:
    """Stands in for a model where the vectors are there already."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def encode(self, *_: Any, **__: Any) -> Vectors:
        return self._vectors


def fits(task: Any, split: str, subset: str) -> bool:
    """Whether the task is evaluated as mteb's own are."""
    methods = ("evaluate", "_evaluate_subset", "_undersample_data", "_add_main_score")
    return unchanged(task, AbsTaskClassification, *methods) and task.method == "logReg"


def draw(task: Any, split: str, subset: str) -> list[Any]:
    """Draw the training sets of all experiments, as mteb does; draws random numbers.

    Returns:
        mteb's evaluator of each experiment, with its training set and the test set.
    """
    whole = subset == "default" and subset not in task.dataset
    data = task.dataset if whole else task.dataset[subset]
    train, test = data["train"], data[split]
    texts, labels = train["text"], train["label"]
    test_texts, test_labels = test["text"], test["label"]
    evaluators, indices = [], None
    for _ in range(task.n_experiments):
        drawn, drawn_labels, indices = task._undersample_data(
            texts, labels, task.samples_per_label, indices
        )
        # Building an evaluator seeds the generator that the next draw takes its numbers from.
        evaluators.append(
            logRegClassificationEvaluator(
                drawn,
                drawn_labels,
                test_texts,
                test_labels,
                task_name=task.metadata.name,
                encode_kwargs={},
                k=task.k,
            )
        )
    return evaluators


def classification(task: Any, model: MtebModel, evaluators: Sequence[Any], size: int) -> Scoring:
    """Encode the draws from the training set, and the test set once.

    An exact encoder gets mteb's own calls, a draw each. Another gets every text once, draws and
    test set in one call.

    Args:
        task: mteb's task.
        model: The model.
        evaluators: The draws.
        size: Texts of a forward pass.

    Returns:
        The scoring of the subset.
    """
    draws = [evaluator.sentences_train for evaluator in evaluators]
    test = evaluators[0].sentences_test
    known, tested = _encode(model, task.metadata.name, draws, test, size)
    return lambda: Scored(_scores(evaluators, known, tested, task.metadata.main_score))


def _encode(
    model: MtebModel, name: str, draws: Sequence[list[str]], test: list[str], size: int
) -> tuple[list[Vectors], Vectors]:
    """Return the vectors of every draw and of the test set."""
    if model.encoder.exact:
        # In mteb's order, which a run's progress and a meter see; no vector depends on it.
        first = model.encode(draws[0], task_name=name, batch_size=size)
        tested = model.encode(test, task_name=name, batch_size=size)
        rest = [model.encode(draw, task_name=name, batch_size=size) for draw in draws[1:]]
        return [first, *rest], tested
    together = [text for part in (test, *draws) for text in part]
    vectors = model.encode(together, task_name=name, batch_size=size)
    parts = np.split(vectors, np.cumsum([len(test), *map(len, draws)])[:-1])
    return parts[1:], parts[0]


def _scores(
    evaluators: Sequence[Any], known: Sequence[Vectors], tested: Vectors, main: str
) -> Scores:
    draws = [
        evaluator(_Given(vectors), test_cache=tested)[0]
        for evaluator, vectors in zip(evaluators, known, strict=True)
    ]
    scores: Scores = {name: np.mean([draw[name] for draw in draws]) for name in draws[0]}
    scores["scores_per_experiment"] = draws
    scores["main_score"] = scores[main]
    return scores
