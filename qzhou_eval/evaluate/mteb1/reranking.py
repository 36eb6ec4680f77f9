"""Reranking: mteb's task with every distinct document held once, and metrics without sklearn.

mteb 1.38.30 copies a document's vector for every query it is a candidate of: 34 GB for the two
million pairs of MindSmallReranking at 3,584 dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mteb.abstasks.AbsTaskReranking import AbsTaskReranking
from mteb.encoder_interface import PromptType
from numpy.typing import NDArray
from torch import Tensor

from qzhou_eval.evaluate.items import items
from qzhou_eval.evaluate.mteb1.model import MtebModel
from qzhou_eval.evaluate.mteb1.scoring import Scored, Scores, Scoring, abstention, unchanged
from qzhou_eval.evaluate.retrieval_metrics import confidences
from qzhou_eval.evaluate.search import normalized

CUT = 10
"""Rank at which the reciprocal rank is cut."""


@dataclass(frozen=True)
class Candidates:
    """One query and what is to be ranked for it.

    Attributes:
        number: The query's row in the data.
        queries: Rows of its queries' vectors; a document counts by the query nearest to it.
        documents: Rows of its documents' vectors, the relevant ones first.
        relevant: How many are relevant.
    """

    number: int
    queries: slice
    documents: NDArray[np.int64]
    relevant: int


def fits(task: Any, split: str, subset: str) -> bool:
    """Whether the task is evaluated as mteb's own are."""
    return unchanged(task, AbsTaskReranking, "evaluate", "_evaluate_subset", "_add_main_score")


def reranking(task: Any, model: MtebModel, split: str, subset: str, size: int) -> Scoring:
    """Encode queries and distinct documents in mteb's calls.

    Returns:
        The scoring of the subset.

    Raises:
        ValueError: no query has both relevant and other documents.
    """
    whole = subset == "default" and subset not in task.dataset
    rows = task.dataset[split] if whole else task.dataset[subset][split]
    kept = [
        (number, row)
        for number, row in enumerate(rows)
        if len(row["positive"]) > 0 and len(row["negative"]) > 0
    ]
    if not kept:
        raise ValueError("no query has both relevant and other documents")
    name = task.metadata.name
    queries: list[str] = []
    texts: dict[str, int] = {}
    candidates = []
    for number, row in kept:
        own = [row["query"]] if isinstance(row["query"], str) else list(row["query"])
        documents = [*row["positive"], *row["negative"]]
        places = [texts.setdefault(text, len(texts)) for text in documents]
        span = slice(len(queries), len(queries) + len(own))
        candidates.append(Candidates(number, span, np.array(places), len(row["positive"])))
        queries += own
    listed = not isinstance(kept[0][1]["query"], str)
    distinct = dict.fromkeys(queries) if listed else queries
    vectors = model.encode(
        list(distinct), task_name=name, prompt_type=PromptType.query, batch_size=size
    )
    if listed:  # mteb encodes the distinct ones alone where a query is a list
        numbers = {query: number for number, query in enumerate(distinct)}
        vectors = vectors[[numbers[query] for query in queries]]
    pool = model.encode(
        list(texts), task_name=name, prompt_type=PromptType.passage, batch_size=size
    )
    return lambda: _scores(
        normalized(torch.from_numpy(vectors)),
        normalized(torch.from_numpy(pool)),
        candidates,
        task.metadata.main_score,
    )


def _scores(queries: Tensor, pool: Tensor, candidates: Sequence[Candidates], main: str) -> Scored:
    precisions, ranks = [], []
    confidence: dict[str, list[float]] = {"max": [], "std": [], "diff1": []}
    for own in candidates:
        # One product a query, as in mteb: another grouping would round otherwise.
        products = torch.mm(queries[own.queries], pool[torch.from_numpy(own.documents)].T)
        similarities = torch.amax(products, dim=0)
        best = torch.argsort(-similarities)[:CUT].numpy()
        first = np.flatnonzero(best < own.relevant)
        ranks.append(1 / (int(first[0]) + 1) if len(first) else 0.0)
        values = similarities.numpy()
        precisions.append(average_precision(values, own.relevant))
        for name, value in confidences(np.sort(values)[::-1]).items():
            confidence[name].append(value)
    metrics = {"map": precisions, "mrr": ranks}
    scores: Scores = {name: np.mean(values) for name, values in metrics.items()}
    sure = {name: np.array(values) for name, values in confidence.items()}
    scores.update(abstention(sure, metrics))
    scores["main_score"] = scores[main]
    names = (own.number for own in candidates)
    return Scored(scores, items(names, {main: metrics[main]}) if main in metrics else None)


def average_precision(scores: NDArray[np.float32], relevant: int) -> float:
    """Return the average precision of a ranking whose first `relevant` documents are relevant.

    Documents of equal score share one threshold: the precision counts behind the last of them.

    Args:
        scores: Similarities, (documents,).
        relevant: How many documents are relevant; at least 1.
    """
    order = np.argsort(-scores, kind="stable")
    hits = (order < relevant).cumsum()
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    recalled = np.diff(hits[ends], prepend=0) / relevant
    return float(np.sum(recalled * hits[ends] / (ends + 1)))
