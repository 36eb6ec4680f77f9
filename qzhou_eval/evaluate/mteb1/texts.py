"""The texts a task hands over to be encoded, read from its data without running it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from mteb.abstasks.AbsTask import AbsTask
from mteb.abstasks.AbsTaskClassification import AbsTaskClassification
from mteb.abstasks.AbsTaskClustering import AbsTaskClustering
from mteb.abstasks.AbsTaskClusteringFast import AbsTaskClusteringFast
from mteb.abstasks.AbsTaskPairClassification import AbsTaskPairClassification
from mteb.abstasks.AbsTaskReranking import AbsTaskReranking
from mteb.abstasks.AbsTaskRetrieval import AbsTaskRetrieval
from mteb.abstasks.AbsTaskSTS import AbsTaskSTS
from mteb.abstasks.AbsTaskSummarization import AbsTaskSummarization
from mteb.evaluation.evaluators.RetrievalEvaluator import corpus_to_str

from qzhou_eval.evaluate.local_data import LocalDataset
from qzhou_eval.evaluate.mteb1.tasks import build, load_data
from qzhou_eval.suite.instructions import Side
from qzhou_eval.suite.suite import TaskSpec

CHUNK = 50_000
"""Documents that mteb's retrieval has encoded at a time."""


@dataclass(frozen=True)
class Call:
    """Texts that a task hands over at once.

    Attributes:
        split: The split they are of.
        subset: The subset.
        side: What they are in their task; None in a task that knows no sides.
        texts: The texts, without any prompt.
    """

    split: str
    subset: str
    side: Side | None
    texts: list[str]


Part = tuple[Side | None, list[str]]


def calls(spec: TaskSpec, local: LocalDataset) -> Iterator[Call]:
    """Yield what a run of `spec` has encoded, in its order, the same draws of texts included.

    Nothing for a kind of task that is not known here.
    """
    task = build(spec, local)
    read = next((read for kind, read in READERS if isinstance(task, kind)), None)
    if read is None:
        return
    load_data(task, spec, local)
    for split in spec.splits:
        for subset in spec.subsets:
            for side, texts in read(task, split, subset):
                yield Call(split, subset, side, texts)


def subset_rows(task: Any, split: str, subset: str) -> Any:
    """Return the rows of a split and subset of a task whose data is loaded."""
    whole = subset not in task.dataset and subset == "default"
    return (task.dataset if whole else task.dataset[subset])[split]


def _sts(task: Any, split: str, subset: str) -> Iterator[Part]:
    rows = subset_rows(task, split, subset)
    yield None, list(rows["sentence1"])
    yield None, list(rows["sentence2"])


def _pairs(task: Any, split: str, subset: str) -> Iterator[Part]:
    row = subset_rows(task, split, subset)[0]
    yield None, sorted({*row["sentence1"], *row["sentence2"]})


def _classification(task: Any, split: str, subset: str) -> Iterator[Part]:
    train = subset_rows(task, "train", subset)
    order = None
    for number in range(task.n_experiments):
        drawn, _, order = task._undersample_data(
            train["text"], train["label"], task.samples_per_label, order
        )
        # As every experiment's evaluator does, so that the next draw is the run's.
        np.random.seed(task.seed)
        yield None, drawn
        if not number:
            yield None, list(subset_rows(task, split, subset)["text"])


def _sets(task: Any, split: str, subset: str) -> Iterator[Part]:
    for row in subset_rows(task, split, subset):
        yield None, list(row["sentences"])


def _fast_clustering(task: Any, split: str, subset: str) -> Iterator[Part]:
    rows = subset_rows(task, split, subset)
    share, most = task.max_fraction_of_documents_to_embed, task.max_document_to_embed
    if share is not None:
        most = int(share * len(rows))
    if most is not None:
        drawn = random.Random(task.seed).sample(range(len(rows)), k=min(len(rows), most))
        rows = rows.select(drawn)
    yield None, list(rows["sentences"])


def _reranking(task: Any, split: str, subset: str) -> Iterator[Part]:
    rows = [row for row in subset_rows(task, split, subset) if row["positive"] and row["negative"]]
    if rows and isinstance(rows[0]["query"], str):
        yield Side.QUERY, [row["query"] for row in rows]
    else:  # several wordings of a query; each distinct one once
        yield Side.QUERY, _distinct(query for row in rows for query in row["query"])
    documents = (text for row in rows for part in ("positive", "negative") for text in row[part])
    yield Side.DOCUMENT, _distinct(documents)


def _retrieval(task: Any, split: str, subset: str) -> Iterator[Part]:
    whole = subset == "default"
    queries = (task.queries if whole else task.queries[subset])[split]
    corpus = (task.corpus if whole else task.corpus[subset])[split]
    yield Side.QUERY, [q if isinstance(q, str) else "; ".join(q) for q in queries.values()]
    documents = [corpus[name] for name in sorted(corpus, reverse=True)]
    for start in range(0, len(documents), CHUNK):
        yield Side.DOCUMENT, corpus_to_str(documents[start : start + CHUNK])


def _summarization(task: Any, split: str, subset: str) -> Iterator[Part]:
    rows = subset_rows(task, split, subset)
    for column in ("human_summaries", "machine_summaries"):
        yield None, [text for summaries in rows[column] for text in summaries]


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


READERS: tuple[tuple[type[AbsTask], Callable[[Any, str, str], Iterator[Part]]], ...] = (
    (AbsTaskSTS, _sts),
    (AbsTaskPairClassification, _pairs),
    (AbsTaskClassification, _classification),
    (AbsTaskClusteringFast, _fast_clustering),
    (AbsTaskClustering, _sets),
    (AbsTaskReranking, _reranking),
    (AbsTaskRetrieval, _retrieval),
    (AbsTaskSummarization, _summarization),
)
"""mteb's kinds of task, and what each has encoded."""
