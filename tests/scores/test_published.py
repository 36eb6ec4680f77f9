"""The published tables, from the published folder and from the published scores."""

import csv
from collections import defaultdict

import pytest

from qzhou_eval.scores.aggregation import aggregate
from qzhou_eval.scores.run_folders import find_run_folders, read_run_folder
from qzhou_eval.suite.library import built_in_suites
from qzhou_eval.suite.suite import TASK_TYPES

SUITES = ("MTEB(cmn, v1)", "MTEB(eng, v2)")


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def tables(reference):
    return {(row["suite"], row["model"]): row for row in rows(reference / "published_tables.csv")}


def differences(scores, row):
    """Published heading to how far ours is off, where the table has a figure."""
    ours = {t: scores.type_mean(t) for t in TASK_TYPES}
    ours |= {"mean_task": scores.mean_task, "mean_task_type": scores.mean_task_type}
    return {
        name: abs(100 * ours[name] - float(value))
        for name, value in row.items()
        if name in ours and value
    }


@pytest.mark.parametrize("suite", SUITES)
def test_published_folder_gives_the_published_table(reference, tables, suite):
    [folder] = find_run_folders([reference / "published_runs"])
    [run] = [run for run in read_run_folder(folder) if run.scores.suite.name == suite]
    assert run.model == "Kingsoft-LLM/QZhou-Embedding"
    assert run.scores.done == run.scores.total
    off = differences(run.scores, tables[suite, "QZhou-Embedding"])
    assert len(off) == 2 + len(run.scores.suite.types)
    assert max(off.values()) <= 0.005 + 1e-9, off


def test_published_scores_give_every_published_row_they_cover(reference, tables):
    found = defaultdict(lambda: defaultdict(list))
    for row in rows(reference / "published_scores.csv"):
        key = row["suite"], row["model"].rpartition("/")[2]
        found[key][row["task"]].append((row["split"], row["subset"], float(row["main_score"])))
    suites = built_in_suites()
    checked = []
    for (suite_name, model), by_task in found.items():
        suite = suites[suite_name]
        scores = {}
        for task in suite.tasks:
            pairs = {(split, subset): score for split, subset, score in by_task.get(task.name, [])}
            wanted = [(split, subset) for split in task.splits for subset in task.subsets]
            if all(pair in pairs for pair in wanted):
                scores[task.name] = sum(pairs[pair] for pair in wanted) / len(wanted)
        result = aggregate(suite, scores)
        row = tables.get((suite_name, model))
        if row is None or result.done < result.total:
            continue
        off = differences(result, row)
        assert max(off.values()) <= 0.01, (suite_name, model, off)
        checked.append((suite_name, model))
    assert len(checked) >= 16, checked
    assert ("MTEB(eng, v2)", "QZhou-Embedding") in checked
