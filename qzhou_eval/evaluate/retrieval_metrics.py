"""Retrieval metrics of a ranking, query by query, as trec_eval and mteb 1.38.30 define them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qzhou_eval.evaluate.search import Pairs, Ranking

CUTS = (1, 3, 5, 10, 20, 100, 1000)
"""Ranks at which mteb cuts a ranking."""

PerQuery = NDArray[np.float64]


@dataclass(frozen=True)
class Judgements:
    """What is known of a query's documents.

    Attributes:
        gains: Grade of each judged document that was searched, by its number; grades above 0 are
            relevant.
        grades: All grades above 0, of documents that were not searched too, the highest first.
        own: Number of the document of the query's own name, which does not count; -1 for none.
    """

    gains: Mapping[int, int]
    grades: tuple[int, ...]
    own: int = -1


@dataclass(frozen=True)
class RetrievalScores:
    """Metrics of every query, and how sure the search was of each.

    Attributes:
        metrics: "ndcg", "map", "recall", "precision" and "mrr" at each cut, one number a query.
        confidence: "max", "std" and "diff1" of a query's similarities, one number a query: the
            best, their standard deviation, the best less the second best.
    """

    metrics: Mapping[tuple[str, int], PerQuery]
    confidence: Mapping[str, PerQuery]


def retrieval_scores(
    ranking: Ranking, judgements: Sequence[Judgements], cuts: Sequence[int] = CUTS
) -> RetrievalScores:
    """Score a ranking.

    Args:
        ranking: The search's result.
        judgements: One a query, in the ranking's order.
        cuts: Ranks to cut at, ascending.
    """
    discounts = [math.log2(rank + 2) for rank in range(ranking.scores.shape[1])]
    names = ("ndcg", "map", "recall", "precision", "mrr")
    metrics = {(name, cut): np.zeros(len(judgements)) for name in names for cut in cuts}
    confidence = {name: np.zeros(len(judgements)) for name in ("max", "std", "diff1")}
    # Where each document of the corpus stands in the query's ranking; -1 where it does not.
    highest = int(ranking.documents.max(initial=-1))
    place = np.full(max([highest, *(max(j.gains, default=-1) for j in judgements)]) + 2, -1)
    tied = [query for query, judged in enumerate(judgements) if _tied(ranking, query, judged)]
    heaps = dict(zip(tied, ranking.as_mteb(tied), strict=True))
    for query, judged in enumerate(judgements):
        scores, documents = ranking.scores[query], ranking.documents[query]
        if query in heaps:
            scores, documents = _settled(heaps[query])
        if judged.own >= 0 and (keep := documents != judged.own).sum() < len(documents):
            scores, documents = scores[keep], documents[keep]
        place[documents] = np.arange(len(documents))
        hits = sorted(
            (int(place[d]), g) for d, g in judged.gains.items() if g > 0 and place[d] >= 0
        )
        place[documents] = -1
        first = hits[0][0] if hits else len(documents)
        if query in heaps:
            first = _first_as_mteb(heaps[query], judged)
        for cut in cuts:
            within = [hit for hit in hits if hit[0] < cut]
            metrics["ndcg", cut][query] = _ndcg(within, judged.grades[:cut], discounts)
            metrics["mrr", cut][query] = 1 / (first + 1) if first < min(cut, len(documents)) else 0
            if judged.grades:
                precisions = sum((n + 1) / (rank + 1) for n, (rank, _) in enumerate(within))
                metrics["map", cut][query] = precisions / len(judged.grades)
                metrics["recall", cut][query] = len(within) / len(judged.grades)
                metrics["precision", cut][query] = len(within) / cut
        for name, value in confidences(scores).items():
            confidence[name][query] = value
    return RetrievalScores(metrics, confidence)


def confidences(scores: NDArray[np.float32]) -> dict[str, float]:
    """Return "max", "std" and "diff1" of similarities, the best first."""
    exact = scores.astype(np.float64)
    second = exact[1] if len(exact) > 1 else exact[0]
    return {"max": exact[0], "std": exact.std(), "diff1": exact[0] - second}


def _ndcg(
    hits: list[tuple[int, int]], grades: tuple[int, ...], discounts: Sequence[float]
) -> float:
    """Discounted gain over that of the best ranking, summed in trec_eval's order."""
    ideal = sum(grade / math.log2(rank + 2) for rank, grade in enumerate(grades))
    return sum(gain / discounts[rank] for rank, gain in hits) / ideal if ideal else 0.0


def _tied(ranking: Ranking, query: int, judged: Judgements) -> bool:
    """Whether equal scores may decide: a relevant document has another's, or one was left out."""
    scores, documents = ranking.scores[query], ranking.documents[query]
    if ranking.cut_tied[query]:
        return True
    # The best first, so that no difference is negative.
    same = scores[:-1] - scores[1:] <= ranking.rounding
    if not same.any():
        return False
    in_tie = np.zeros(len(scores), bool)
    in_tie[1:] |= same
    in_tie[:-1] |= same
    return any(judged.gains.get(document, 0) > 0 for document in documents[in_tie].tolist())


def _settled(heap: Pairs) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The documents mteb's heap ends up with, in trec_eval's order: by score, then by number."""
    pairs = sorted(heap, key=lambda pair: (-pair[0], pair[1]))
    return (
        np.array([score for score, _ in pairs], dtype=np.float32),
        np.array([document for _, document in pairs], dtype=np.int32),
    )


def _first_as_mteb(heap: Pairs, judged: Judgements) -> int:
    """Rank of the first relevant document where mteb sorts its heap by score alone."""
    pairs = [pair for pair in heap if pair[1] != judged.own]
    order = sorted(pairs, key=lambda pair: pair[0], reverse=True)
    relevant = (rank for rank, (_, d) in enumerate(order) if judged.gains.get(d, 0) > 0)
    return next(relevant, len(order))
