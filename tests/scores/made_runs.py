"""Run folders made by hand: results, what they are made of, and a manifest that knows them."""

import json

import numpy as np

from qzhou_eval.evaluate.items import Items, write_items
from qzhou_eval.files import file_digest
from qzhou_eval.scores.item_scores import score_of

METRICS = {
    "Retrieval": "ndcg_at_10",
    "STS": "cosine_spearman",
    "PairClassification": "max_ap",
    "Classification": "accuracy",
    "Clustering": "v_measure",
}
SIZE = 60


def figures(kind, rng, quality, size=SIZE):
    """Return figures of a type of task, the better the higher `quality`, and its draws."""
    if kind == "Retrieval":
        return {"ndcg_at_10": np.clip(rng.normal(0.4 + quality, 0.1, size), 0, 1)}
    if kind == "STS":
        gold = np.random.default_rng(0).integers(0, 6, size) / 5
        return {"cosine": gold * quality + rng.normal(0, 0.3, size), "gold": gold}
    labels = (np.random.default_rng(0).random(size) < 0.4).astype(float)
    return {"cosine": labels * quality + rng.normal(0, 0.3, size), "label": labels}


def make_run(folder, tasks, *, seed=1, **changes):
    """Write a run folder and return it.

    Args:
        folder: The folder.
        tasks: Name to (type, quality).
        seed: Of its figures.
        changes: Keys of the manifest.
    """
    folder.mkdir(parents=True)
    entries = {}
    for name, (kind, quality) in tasks.items():
        rng = np.random.default_rng([seed, len(name)])
        row = {"hf_subset": "default", "languages": ["eng-Latn"]}
        entry = {"status": "done", "made_with": {"task": {"type": kind}, "data": {"hub": "1"}}}
        if kind in ("Classification", "Clustering"):
            # The draws are the same for all, what is made of them is not.
            drawn = np.random.default_rng(9).normal(0.5, 0.02, 10) + rng.normal(0, 0.002, 10)
            drawn = [round(float(value), 6) for value in drawn + quality]
            key = "scores_per_experiment" if kind == "Classification" else "v_measures"
            row[key] = [{"accuracy": v} for v in drawn] if kind == "Classification" else drawn
            row["main_score"] = round(float(np.mean(drawn)), 6)
            entry["drawn"] = [{"split": "test", "subset": "default", "drawn_after": []}]
        else:
            own = figures(kind, rng, quality)
            texts = zip(*([f"{v:.9g}" for v in column] for column in own.values()), strict=True)
            rows = tuple((f"q{n}", *line) for n, line in enumerate(texts))
            found = {("test", "default"): Items(tuple(own), rows)}
            entry["items"] = write_items(folder / "items" / f"{name}.csv.gz", found)
            ones = np.ones((1, SIZE), dtype=int)
            row["main_score"] = round(float(score_of(own, METRICS[kind])(ones)[0]), 6)
        result = {
            "task_name": name,
            "dataset_revision": "a" * 40,
            "mteb_version": "1.38.30",
            "scores": {"test": [row]},
        }
        (folder / f"{name}.json").write_text(json.dumps(result))
        entries[name] = {**entry, "sha256": file_digest(folder / f"{name}.json")}
    specs = [
        {
            "name": name,
            "type": kind,
            "metric": METRICS[kind],
            "splits": ["test"],
            "subsets": ["default"],
        }
        for name, (kind, _) in tasks.items()
    ]
    manifest = {
        "model": "org/name",
        "revision": "0123456789abcdef",
        "fingerprint": "0123456789abcdef",
        "recipe": {"pooling": "mean", "max_length": 512},
        "settings": {"mode": "strict", "batch_size": 32},
        "environment": {"python": "3.11.7", "packages": {"torch": "2.7.1", "mteb": "1.38.30"}},
        "suites": [{"name": "mine", "tasks": specs}],
        "tasks": entries,
        **changes,
    }
    (folder / "run.json").write_text(json.dumps(manifest))
    return folder


def alter(folder, change):
    """Change the manifest of a run folder."""
    path = folder / "run.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def alter_result(folder, task, change):
    """Change a result, as if the run had written it so."""
    path = folder / f"{task}.json"
    result = json.loads(path.read_text())
    change(result)
    path.write_text(json.dumps(result))
    alter(folder, lambda m: m["tasks"][task].update(sha256=file_digest(path)))
