"""Tasks defined in a suite file, as classes of mteb's own kinds."""

from __future__ import annotations

from typing import Any

from mteb.abstasks.AbsTask import AbsTask
from mteb.abstasks.AbsTaskClassification import AbsTaskClassification
from mteb.abstasks.AbsTaskClustering import AbsTaskClustering
from mteb.abstasks.AbsTaskClusteringFast import AbsTaskClusteringFast
from mteb.abstasks.AbsTaskPairClassification import AbsTaskPairClassification
from mteb.abstasks.AbsTaskReranking import AbsTaskReranking
from mteb.abstasks.AbsTaskRetrieval import AbsTaskRetrieval
from mteb.abstasks.AbsTaskSTS import AbsTaskSTS
from mteb.abstasks.AbsTaskSummarization import AbsTaskSummarization
from mteb.abstasks.TaskMetadata import TaskMetadata
from mteb.tasks.Retrieval.zho.CMTEBRetrieval import load_retrieval_data

from qzhou_eval.suite.suite import TaskSpec


def _load_qrels_layout(task: Any, **_: Any) -> None:
    """Load a retrieval task in the Chinese suite's layout: judgements in a dataset of their own."""
    dataset = task.metadata.dataset
    task.corpus, task.queries, task.relevant_docs = load_retrieval_data(
        dataset["path"], dataset["revision"], dataset["revision"], task.metadata.eval_splits
    )
    task.data_loaded = True


# What mteb's own tasks of a kind set in their classes.
_KINDS: dict[tuple[str, str], tuple[type, dict[str, Any]]] = {
    ("STS", "pairs"): (AbsTaskSTS, {"min_score": 0, "max_score": 5}),
    ("Classification", "labelled"): (AbsTaskClassification, {}),
    ("Clustering", "sets"): (AbsTaskClustering, {}),
    # mteb embeds 4 % of a large set; of one's own small one, all of it.
    ("Clustering", "fast"): (AbsTaskClusteringFast, {"max_fraction_of_documents_to_embed": None}),
    ("PairClassification", "lists"): (AbsTaskPairClassification, {}),
    ("Reranking", "candidates"): (AbsTaskReranking, {}),
    ("Retrieval", "beir"): (AbsTaskRetrieval, {}),
    ("Retrieval", "qrels"): (AbsTaskRetrieval, {"load_data": _load_qrels_layout}),
    ("Summarization", "rated"): (AbsTaskSummarization, {"min_score": 1, "max_score": 5}),
}


def build_own(spec: TaskSpec, revision: str) -> AbsTask:
    """Return a fresh task object for `spec`, a task that mteb does not know.

    Args:
        spec: The task, with a layout.
        revision: Stands in the results as the dataset's revision.
    """
    base, attributes = _KINDS[(spec.type, spec.layout)]
    metadata = TaskMetadata(
        name=spec.name,
        description=f"{spec.name}, defined in a suite file",
        type=spec.type,
        modalities=["text"],
        dataset={"path": spec.dataset, "revision": revision},
        eval_splits=list(spec.splits),
        eval_langs=list(spec.languages),
        main_score=spec.metric,
    )
    # Made anew each time and kept by nobody: mteb instantiates every class below its own.
    kind = type("OwnTask", (base,), {**attributes, "metadata": metadata})
    return kind()
