"""Plans against a real run, and of the big suites with nothing at hand."""

import csv
import io
import json
import time

import pytest
from transformers import AutoTokenizer

from qzhou_eval.encode.cost import known_shapes
from qzhou_eval.encode.speed import StatedPace
from qzhou_eval.files import read_json
from qzhou_eval.plan.plan import planned
from qzhou_eval.recipe.library import find_recipe
from qzhou_eval.suite.library import built_in
from qzhou_eval.suite.prompts import prompt_book

QZHOU = ("--model", "Kingsoft-LLM/QZhou-Embedding", "--tflops", "400")


def plan_of(cli, *arguments):
    outcome = cli("plan", *arguments, "--format", "json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory):
    """The manifest of a real run of the demo suite."""
    from qzhou_eval.cli import _run
    from qzhou_eval.cli.app import app

    folder = tmp_path_factory.mktemp("demo")
    assert _run(app, ["demo", "--output-dir", str(folder)], debug=False) == 0
    [path] = folder.glob("*/*/run.json")
    return read_json(path, "manifest")


def test_demo_is_planned_to_the_token(cli, demo_run):
    plan = plan_of(cli, "demo", "--no-calibrate")
    assert {task["basis"] for task in plan["tasks"]} == {"counted"}
    found = {task["task"]: (task["texts"], task["tokens"]) for task in plan["tasks"]}
    entries = demo_run["tasks"].items()
    assert found == {name: (entry["texts"], entry["tokens"]) for name, entry in entries}
    assert plan["total"]["tokens"] == sum(entry["tokens"] for _, entry in entries)


def test_estimate_of_the_demo_is_near(minilm, demo_run):
    """What a run's manifest gets without reading data: the same texts, about the same tokens."""
    suite, recipe = built_in("demo"), find_recipe("all-minilm-l6-v2")
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    shape = known_shapes()["sentence-transformers/all-minilm-l6-v2"]
    pace = StatedPace(1e10)
    found = planned(suite.tasks, recipe, prompt_book(recipe, suite.tasks), tokenizer, shape, pace)
    for name, entry in demo_run["tasks"].items():
        assert found[name]["texts"] == entry["texts"]
        assert found[name]["tokens"] == pytest.approx(entry["tokens"], rel=0.25)
        assert found[name]["seconds"] == pytest.approx(
            shape.flops(entry["tokens"], 30) / 1e10, rel=0.4
        )


def test_both_suites_of_a_7b_model_with_nothing_at_hand(cli):
    plans = [plan_of(cli, suite, *QZHOU) for suite in ("cmteb", "mteb")]
    assert [len(plan["tasks"]) for plan in plans] == [31, 41]
    for plan in plans:
        assert {task["basis"] for task in plan["tasks"]} == {"estimated"}
        assert not plan["unknown"]
        assert not plan["weights_here"]
        assert not plan["tokenizer_here"]
        assert plan["weights_bytes"] == pytest.approx(14.1e9, rel=0.01)
        total = plan["total"]
        assert total["seconds"] == pytest.approx(total["tflop"] / 400, rel=1e-3)
    tokens = sum(plan["total"]["tokens"] for plan in plans)
    assert 450e6 < tokens < 600e6  # "about 500 million"
    assert sum(plan["total"]["tflop"] for plan in plans) == pytest.approx(
        13.2e-3 * tokens, rel=0.02
    )


def test_estimate_is_quick(qzhou):
    suite, recipe = built_in("mteb"), find_recipe("qzhou-embedding")
    prompts = prompt_book(recipe, suite.tasks)
    tokenizer = AutoTokenizer.from_pretrained(qzhou)
    shape = known_shapes()["kingsoft-llm/qzhou-embedding"]
    started = time.monotonic()
    found = planned(suite.tasks, recipe, prompts, tokenizer, shape)
    assert time.monotonic() - started < 1
    assert len(found) == 41
    assert "seconds" not in found["STS12"]


def test_prompts_count(cli):
    """On queries alone, or on every text, as the task's rule says."""
    with_prompts, without = (
        {t["task"]: t for t in plan_of(cli, "cmteb", *QZHOU, *more)["tasks"]}
        for more in ((), ("--no-instructions",))
    )
    for name, prompted in (("T2Retrieval", 22_812), ("LCQMC", 25_000)):
        more = with_prompts[name]["tokens"] - without[name]["tokens"]
        assert 10 * prompted < more < 30 * prompted


def test_local_data_is_counted_and_the_rest_estimated(cli, bert, data):
    plan = plan_of(
        cli, "cmteb", "--model", bert, "--datasets-dir", data, "--types", "STS", "--no-calibrate"
    )
    tasks = {task["task"]: task for task in plan["tasks"]}
    assert tasks["BQ"]["basis"] == "counted"
    assert tasks["BQ"]["texts"] == 80
    assert tasks["BQ"]["data"] == "folder"
    assert tasks["LCQMC"]["basis"] == "estimated"
    assert tasks["LCQMC"]["texts"] == 25_000


def test_task_of_unknown_size(cli, bert):
    plan = plan_of(cli, "STS12", "STS17:es-es", "--model", bert, "--tflops", "1")
    assert plan["unknown"] == ["STS17"]
    assert [task["basis"] for task in plan["tasks"]] == ["estimated", "unknown"]
    assert plan["total"]["texts"] == 6216
    outcome = cli("plan", "STS17:es-es", "--model", bert, "--tflops", "1")
    assert outcome.code == 0
    assert "in no total: STS17" in " ".join(outcome.out.split())


def test_measured_with_the_model(cli, bert):
    plan = plan_of(cli, "LCQMC", "--model", bert, "--seconds", "0.5", "--mode", "fast")
    assert "measured with the model" in plan["pace"]
    assert plan["total"]["seconds"] > 0


def test_table_is_readable_at_80_columns(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = cli(
        "plan", "mteb", "--model", "Kingsoft-LLM/QZhou-Embedding", "--device-name", "h100"
    )
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(" All") for line in lines)
    assert "of encoding on one h100: 50% (stated) of 790" in " ".join(outcome.out.split())


def test_csv(cli):
    outcome = cli("plan", "cmteb", *QZHOU, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    assert len(rows) == 31
    assert rows[0]["task"] == "T2Retrieval"
    assert int(rows[0]["texts"]) == 141_417


def test_nothing_is_written(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("plan", "demo", "--no-calibrate").code == 0
    assert not list(tmp_path.iterdir())
