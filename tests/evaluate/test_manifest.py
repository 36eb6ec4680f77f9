"""What a run's manifest says, and what it keeps from being mixed."""

import json

import pytest

from qzhou_eval.files import read_json
from qzhou_eval.recipe.recipe import NEUTRAL, Recipe
from tests.evaluate.results import contents, run_folder


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--pooling", "mean"], "pooling 'bos_token' there, 'mean' now"),
        (["--batch-size", "8"], "batch_size 32 there, 8 now"),
    ],
)
def test_results_of_another_recipe_are_refused(cli, bert, data, tmp_path, change, named):
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    arguments += ["--tasks", "BQ", "--revision", "main"]
    assert cli("cmteb", *arguments).code == 0
    before = contents(run_folder(tmp_path))
    outcome = cli("cmteb", *arguments, *change)
    assert outcome.code == 2
    assert named in outcome.error
    assert contents(run_folder(tmp_path)) == before


OTHER_VALUES = {
    "pooling": "mean",
    "normalize": False,
    "padding_side": "left",
    "max_length": 50,
    "dtype": "bfloat16",
    "attention": "eager",
    "attention_direction": "bidirectional",
    "prompt_template": "{instruction}: ",
    "query_prefix": "q: ",
    "document_prefix": "d: ",
    "text_prefix": "t: ",
    "text_template": "<{text}>",
    "empty_text": "",
    "dimensions": 8,
    "instruction_set": "qzhou",
}


def test_every_field_that_decides_vectors_is_tried_below():
    decides = {"trust_remote_code", *Recipe("r").vector_fields(), *NEUTRAL}
    assert decides == {"trust_remote_code", *OTHER_VALUES}


@pytest.mark.parametrize("field", OTHER_VALUES)
def test_a_changed_field_is_refused_by_name(cli, bert, data, tmp_path, field):
    def run(values):
        recipe = tmp_path / "mine.toml"
        recipe.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items()))
        arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path / "out"]
        return cli("cmteb", "--tasks", "BQ", "--recipe", recipe, "--revision", "1", *arguments)

    base = {"pooling": "cls", "max_length": 96, "dtype": "float32"}
    assert run(base).code == 0
    before = contents(run_folder(tmp_path / "out"))
    outcome = run({**base, field: OTHER_VALUES[field]})
    assert outcome.code == 2
    assert "holds results made otherwise" in outcome.error
    assert f"({field} " in outcome.error
    assert contents(run_folder(tmp_path / "out")) == before


def test_what_was_run_without_preflight_stays_so(cli, bert, data, tmp_path):
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    assert cli("cmteb", "--tasks", "BQ", *arguments, "--skip-preflight").code == 0
    assert cli("cmteb", "--tasks", "Ocnli", *arguments).code == 0
    manifest = read_json(run_folder(tmp_path) / "run.json", "run manifest")
    found = {name: entry["preflight"] for name, entry in manifest["tasks"].items()}
    assert found == {"BQ": "skipped", "Ocnli": "passed"}
    assert manifest["tasks"]["BQ"]["hardware"]["device"] == "cpu"


def test_the_manifest_says_how_a_run_was_made(cli, qzhou, data, tmp_path):
    arguments = ["--model", qzhou, "--trust-remote-code", "--datasets-dir", data]
    assert cli("cmteb", "--tasks", "BQ", *arguments, "--output-dir", tmp_path).code == 0
    manifest = read_json(run_folder(tmp_path) / "run.json", "run manifest")
    assert manifest["options"]["tasks"] == ["BQ"]
    assert manifest["options"]["device"] == "cpu"
    assert manifest["instructions"]["set"] == "qzhou"
    assert len(manifest["instructions"]["sha256"]) == 64
    checks = {check["name"]: check["status"] for check in manifest["preflight"]["checks"]}
    assert checks["attention direction"] == checks["prompts"] == "passed"
    assert manifest["environment"]["packages"]["mteb"] == "1.38.30"
    assert manifest["failed"] == []
    task = manifest["tasks"]["BQ"]
    assert task["dataset"]["source"] == "folder"
    assert len(task["dataset"]["content"]) == 64
    assert task["dataset"]["revision"]
    assert set(task["seconds"]) == {"data", "encode", "score"}
    assert task["tokens_per_second"] > 0
    assert manifest["started"] <= task["started"] <= task["finished"] <= manifest["finished"]


def test_results_without_a_manifest_are_not_written_over(cli, bert, data, tmp_path):
    folder = tmp_path / "local__tiny-bert" / "main"
    folder.mkdir(parents=True)
    (folder / "BQ.json").write_text("{}")
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    outcome = cli("cmteb", *arguments, "--tasks", "BQ", "--revision", "main")
    assert outcome.code == 2
    assert "no run.json" in outcome.error
    assert (folder / "BQ.json").read_text() == "{}"
