"""How a task of one's own stores its data, and the score it is judged by.

The columns are mteb's; a dataset folder is a hub dataset's.
"""

from __future__ import annotations

LAYOUTS: dict[str, dict[str, str]] = {
    "STS": {"pairs": "rows of sentence1, sentence2, score (0 to 5)"},
    "Classification": {"labelled": "rows of text, label (int); splits train and test"},
    "Clustering": {
        "fast": "rows of sentences (one text) and labels (its label)",
        "sets": "rows of sentences (list) and labels (list): one clustering each",
    },
    "PairClassification": {"lists": "one row of lists sentence1, sentence2, labels (0 or 1)"},
    "Reranking": {"candidates": "rows of query, positive (list), negative (list)"},
    "Retrieval": {
        "beir": "configs corpus (_id, title, text), queries (_id, text), default "
        "(query-id, corpus-id, score)",
        "qrels": "splits corpus (id, text) and queries (id, text); a dataset DATASET-qrels "
        "with qid, pid, score",
    },
    "Summarization": {
        "rated": "rows of text, human_summaries, machine_summaries, relevance (1 to 5)"
    },
}
"""Task type to its layouts, each with the columns it expects."""

_METRICS = {
    "STS": "cosine_spearman",
    "Classification": "accuracy",
    "Clustering": "v_measure",
    "PairClassification": "max_ap",
    "Reranking": "map",
    "Retrieval": "ndcg_at_10",
    "Summarization": "cosine_spearman",
}


def default_metric(task_type: str) -> str:
    """Return the main score that both suites use for `task_type`; empty if it has none."""
    return _METRICS.get(task_type, "")
