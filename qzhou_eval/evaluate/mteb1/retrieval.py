"""Retrieval: mteb's task with our own search and metrics, to the same digits."""

from __future__ import annotations

from functools import partial
from typing import Any

from mteb.abstasks.AbsTaskRetrieval import AbsTaskRetrieval
from mteb.encoder_interface import PromptType
from mteb.evaluation.evaluators.RetrievalEvaluator import corpus_to_str

from qzhou_eval.encode.ahead import Aside
from qzhou_eval.evaluate.items import items
from qzhou_eval.evaluate.mteb1.model import MtebModel
from qzhou_eval.evaluate.mteb1.scoring import Scored, Scores, Scoring, abstention, unchanged
from qzhou_eval.evaluate.retrieval_metrics import CUTS, Judgements, retrieval_scores
from qzhou_eval.evaluate.search import Ranking, Search

CHUNK = 50_000
"""Documents mteb encodes in one call."""

ROUNDING = 1e-6
"""Most that a GPU's similarity of two unit vectors may differ from a CPU's in float32. mteb's are a
CPU's: where an order could hang on the difference, strict mode looks again on the CPU."""

# Our names of metrics: mteb's in the results, and mteb's in the names of abstention scores.
_NAMES = {
    "ndcg": ("ndcg", "NDCG"),
    "map": ("map", "MAP"),
    "recall": ("recall", "Recall"),
    "precision": ("precision", "P"),
    "mrr": ("mrr", "MRR"),
}


def fits(task: Any, split: str, subset: str) -> bool:
    """Whether the subset is one that mteb evaluates as it does its own, and of plain queries."""
    if not unchanged(task, AbsTaskRetrieval, "evaluate", "_evaluate_subset", "_add_main_score"):
        return False
    _, queries, relevant = _data(task, split, subset)
    return all(
        isinstance(query, str) and bool(relevant.get(name)) for name, query in queries.items()
    )


def _data(task: Any, split: str, subset: str) -> tuple[Any, Any, Any]:
    """Return corpus, queries and judgements."""
    corpus, queries, relevant = (
        data[split] if subset == "default" else data[subset][split]
        for data in (task.corpus, task.queries, task.relevant_docs)
    )
    return corpus, queries, relevant


def retrieval(task: Any, model: MtebModel, split: str, subset: str, size: int) -> Scoring:
    """Encode queries and documents in mteb's calls, and search as the documents come.

    Returns:
        The scoring of the subset.
    """
    corpus, queries, relevant = _data(task, split, subset)
    name = task.metadata.name
    vectors = model.encode(
        list(queries.values()), task_name=name, prompt_type=PromptType.query, batch_size=size
    )
    device = model.encoder.search_device
    rounding = ROUNDING if model.encoder.exact and device.type != "cpu" else 0.0
    search = Search(vectors, max(CUTS), device, rounding)
    names = sorted(corpus, reverse=True)
    # A search on this process's cores need not keep devices elsewhere waiting.
    with Aside(model.encoder.elsewhere and device.type == "cpu") as aside:
        for start in range(0, len(names), CHUNK):
            texts = corpus_to_str([corpus[document] for document in names[start : start + CHUNK]])
            documents = model.encode(
                texts, task_name=name, prompt_type=PromptType.passage, batch_size=size
            )
            aside.do(partial(search.add, documents))
    ranking = search.ranking()
    own = bool(task.ignore_identical_ids)
    return lambda: _scores(ranking, names, list(queries), relevant, own, task.metadata.main_score)


def _scores(
    ranking: Ranking,
    names: list[str],
    queries: list[str],
    relevant: dict[str, dict[str, int]],
    without_own: bool,
    main: str,
) -> Scored:
    numbers = {name: number for number, name in enumerate(names)}
    judgements = [
        Judgements(
            {numbers[name]: grade for name, grade in relevant[query].items() if name in numbers},
            tuple(sorted((g for g in relevant[query].values() if g > 0), reverse=True)),
            numbers.get(query, -1) if without_own else -1,
        )
        for query in queries
    ]
    found = retrieval_scores(ranking, judgements)
    scores: Scores = {}
    values = {key: per_query.tolist() for key, per_query in found.metrics.items()}
    for metric, (written, _) in _NAMES.items():
        for cut in CUTS:
            mean = sum(values[metric, cut]) / len(queries)
            # mteb rounds all means but this one.
            scores[f"{written}_at_{cut}"] = mean if metric == "mrr" else round(mean, 5)
    named = {f"{_NAMES[metric][1]}@{cut}": own for (metric, cut), own in values.items()}
    for key, value in abstention(found.confidence, named).items():
        scores[key.replace("@", "_at_").replace("_P_", "_precision_").lower()] = value
    scores["main_score"] = scores[main]
    averaged = {f"{_NAMES[metric][0]}_at_{cut}": own for (metric, cut), own in values.items()}
    return Scored(scores, items(queries, {main: averaged[main]}) if main in averaged else None)
