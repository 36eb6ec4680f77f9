"""``compare A B`` through the command line: every form of it, and what is refused."""

import json
import shutil

import pandas as pd
import pytest

from tests.evaluate.hub_layout import CMTEB_TASKS
from tests.evaluate.results import run_folder
from tests.scores.made_runs import alter, make_run

TASKS = {"Found": ("Retrieval", 0.2), "Alike": ("STS", 1.0), "Classes": ("Classification", 0.1)}
BETTER = {**TASKS, "Found": ("Retrieval", 0.4)}


@pytest.fixture
def two(tmp_path):
    a = make_run(tmp_path / "one" / "a", TASKS)
    b = make_run(tmp_path / "two" / "b", BETTER, seed=2, recipe={"pooling": "mean"})
    return a, b


def test_the_terminal_gives_the_difference_and_whether_it_is_noise(cli, two, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    outcome = cli("compare", *two)
    assert outcome.code == 0, outcome.err
    lines = {line.split()[0]: line.split() for line in outcome.out.splitlines() if line.strip()}
    assert lines["Found"][-1] == "better"
    assert lines["Found"][-2] == "<0.001"
    assert lines["Alike"][-3:] == ["within", "the", "noise"]
    assert lines["Mean(Task)"][5:7] == ["95", "%"]
    assert "  recipe max_length: 512 in A, none in B" in outcome.out
    last = outcome.out.splitlines()[-1]
    assert last.startswith("B is better on 1 of 3 tasks (Found), worse on none; the other 2 differ")
    assert "the draws, from the same data" in " ".join(outcome.out.split())


def test_json(cli, two):
    value = json.loads(cli("compare", *two, "--format", "json").out)
    assert set(value) == {"a", "b", "suites", "differences", "remarks", "covered"}
    assert value["b"]["folder"] == str(two[1])
    [suite] = value["suites"]
    rows = {row["task"]: row for row in suite["tasks"]}
    found = rows["Found"]
    assert found["difference"] == pytest.approx(found["b"] - found["a"], abs=2e-4)
    assert (found["outcome"], found["noise"]) == ("better", "bootstrap over 60 queries")
    assert found["p"] < found["adjusted_p"] < 0.05
    low, high = suite["mean_task"]["interval"]
    assert low < suite["mean_task"]["difference"] < high
    assert value["differences"] == [
        {"field": "recipe max_length", "a": "512", "b": "none", "tasks": []}
    ]
    # The same figures each time.
    assert json.loads(cli("compare", *two, "--format", "json").out) == value


def test_csv_and_markdown(cli, two, tmp_path):
    path = tmp_path / "pair.csv"
    path.write_text(cli("compare", *two, "--format", "csv", "--tasks", "Found,Classes").out)
    frame = pd.read_csv(path).set_index("task")
    assert frame.outcome.to_dict() == {"Found": "better", "Classes": "within the noise"}
    assert frame.run_a.unique().tolist() != frame.run_b.unique().tolist()
    markdown = cli("compare", *two, "--format", "md").out
    assert "**B is better on 1 of 3 tasks (Found)" in markdown
    assert "| Found | Retrieval | better | bootstrap over 60 queries |" in markdown
    assert "| recipe max\\_length | 512 | none | all |" in markdown


def test_wrong_input(cli, two, tmp_path):
    a, b = two
    both = tmp_path / "both"
    for name in ("x", "y"):
        shutil.copytree(a, both / name)
    for arguments, words in (
        ((a, b, "--published", "QZhou-Embedding"), "--published QZhou-Embedding: two runs are"),
        ((a, tmp_path / "nope"), "no such folder"),
        ((a, a), "are the same run: give two"),
        ((a, both), "both: has 2 runs in it, give one of them"),
        ((a, b, "--tasks", "Fond"), "unknown task 'Fond'"),
        ((a, b, "--tasks", " ,"), "expected task names"),
        ((a, b, "--format", "xml"), "unknown --format 'xml'"),
    ):
        outcome = cli("compare", *arguments)
        assert (outcome.code, words in outcome.error) == (2, True), outcome.err
    # A folder above one run is as good as the run.
    assert cli("compare", a.parent, b.parent).code == 0
    alter(b, lambda m: m["tasks"].clear())
    shutil.rmtree(b / "items")
    for task in TASKS:
        (b / f"{task}.json").unlink()
    assert "no task has a result in both" in cli("compare", a, b).error


def test_two_real_runs_of_every_type(cli, bert, data, tmp_path):
    arguments = ["--model", bert, "--datasets-dir", data, "--skip-preflight"]
    arguments += ["--tasks", ",".join(CMTEB_TASKS)]
    for name, more in (("a", []), ("b", ["--pooling", "mean"])):
        assert cli("cmteb", *arguments, "--output-dir", tmp_path / name, *more).code == 0
    outcome = cli("compare", tmp_path / "a", tmp_path / "b", "--format", "json")
    assert outcome.code == 0, outcome.err
    value = json.loads(outcome.out)
    [suite] = value["suites"]
    rows = {row["task"]: row for row in suite["tasks"]}
    assert set(rows) == set(CMTEB_TASKS)
    assert [own["field"] for own in value["differences"]] == ["revision", "recipe pooling"]
    for task, row in rows.items():
        told = row["standard_error"] is not None
        # The small data has one training set of the size that is drawn.
        assert told == (task != "TNews"), row
    assert rows["TNews"]["reason"] == "its draws are all alike"
    shutil.copytree(run_folder(tmp_path / "a"), tmp_path / "c" / "run")
    again = json.loads(cli("compare", tmp_path / "a", tmp_path / "c", "--format", "json").out)
    assert {row["outcome"] for row in again["suites"][0]["tasks"]} == {"equal"}
