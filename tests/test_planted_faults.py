"""Ten faults that give plausible scores, each planted and each caught by name.

Before a run by the preflight or the folder's manifest, or after it by `compare`.
"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from qzhou_eval.suite import instructions
from tests.evaluate.results import run_folder

MODEL = "Kingsoft-LLM/QZhou-Embedding"


@pytest.fixture
def run(cli, qzhou, data, tmp_path):
    """Run BQ with the QZhou-shaped checkpoint, or another, under the published name."""

    def go(*options, model=qzhou, task="BQ"):
        arguments = ["--model", model, "--trust-remote-code", "--model-name", MODEL]
        arguments += ["--datasets-dir", data, "--output-dir", tmp_path / "out", "--tasks", task]
        return cli("cmteb", *arguments, *options)

    return go


def refused(outcome, words):
    assert outcome.code == 2
    assert words in outcome.error, outcome.error
    return True


def told(outcome):
    """The output without the terminal's line breaks."""
    return " ".join(outcome.out.split())


def published_copy(reference, tmp_path):
    [folder] = (reference / "published_runs" / "Kingsoft-LLM__QZhou-Embedding").iterdir()
    target = tmp_path / "Kingsoft-LLM__QZhou-Embedding" / folder.name
    shutil.copytree(folder, target)
    target.chmod(0o755)
    for path in target.iterdir():
        path.chmod(0o644)
    return target


def alter(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_1_causal_attention(run, qzhou, tmp_path):
    folder = shutil.copytree(qzhou, tmp_path / "causal")
    module = (folder / "modeling_qzhou.py").read_text()
    module = module.replace("_update_causal_mask", "_not_called")
    (folder / "modeling_qzhou.py").write_text(module)
    refused(run(model=folder), "attention_direction: the recipe says bidirectional")
    assert not (tmp_path / "out").exists()


def test_2_lost_prompt(run, cli, qzhou, tmp_path):
    folder = shutil.copytree(qzhou, tmp_path / "cut")
    alter(folder / "tokenizer_config.json", lambda v: v.update(truncation_side="left"))
    refused(run(model=folder), "prompt_template: the prompt of BQ is cut off")
    # Left away on purpose, it runs, and the comparison names it.
    assert run("--no-instructions").code == 0
    outcome = cli("compare", tmp_path / "out", "--tasks", "BQ")
    assert outcome.code == 1
    assert "likely: prompt missing: published with 'Retrieve" in told(outcome)


def test_3_right_padding_with_last_token_pooling(run):
    outcome = run("--pooling", "last_token", "--padding-side", "right")
    refused(outcome, "padding_side: right, with last_token pooling")


def test_4_wrong_pooling(run, cli, minilm, tmp_path):
    refused(run("--pooling", "cls", model=minilm), "1_Pooling mean")
    # A checkpoint that does not say which: the comparison does.
    assert run("--pooling", "weighted_mean").code == 0
    outcome = cli("compare", tmp_path / "out", "--tasks", "BQ")
    assert "likely: ours has pooling weighted_mean, published mean" in outcome.out


def test_5_another_dataset_revision(cli, reference, tmp_path):
    folder = published_copy(reference, tmp_path)
    alter(folder / "BQ.json", lambda v: v.update(dataset_revision="f" * 40))
    outcome = cli("compare", folder, "--tasks", "BQ")
    assert outcome.code == 1
    assert "BQ: not comparable, ours is of another dataset revision" in told(outcome)
    assert "ffffffffffff" in outcome.out


def test_6_results_of_another_recipe(run, cli, tmp_path):
    assert run("--revision", "1").code == 0
    refused(run("--revision", "1", "--max-length", "512"), "(max_length 1024 there, 512 now)")
    # Copied in by hand, the comparison sees it.
    folder = run_folder(tmp_path / "out")
    alter(folder / "BQ.json", lambda v: v["scores"]["test"][0].update(main_score=0.7))
    outcome = cli("compare", folder, "--tasks", "BQ")
    assert outcome.code == 1
    assert "BQ: not comparable, the file is not the one the run wrote" in told(outcome)
    assert "not the one the run wrote" in told(cli("report", folder))


def test_7_nan_weights(run, qzhou, tmp_path):
    folder = shutil.copytree(qzhou, tmp_path / "nan")
    weights = load_file(folder / "model.safetensors")
    weights["norm.weight"] = torch.full_like(weights["norm.weight"], float("nan"))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    refused(run(model=folder), "preflight: weights:")


def test_8_the_wrong_split_aggregated(cli, reference, tmp_path):
    folder = published_copy(reference, tmp_path)

    def swap(value):
        value["scores"]["validation"] = value["scores"].pop("test")

    alter(folder / "BQ.json", swap)
    outcome = cli("compare", folder, "--tasks", "BQ")
    assert outcome.code == 1
    assert "BQ: missing, its result has validation default, not test default" in told(outcome)
    assert "30/31" in cli("report", folder).out


def test_9_a_wrong_task_version(cli, reference, tmp_path):
    folder = published_copy(reference, tmp_path)

    def older(value):
        row = value["scores"]["test"][0]
        row["v_measures"] = row["v_measures"]["Level 0"]

    alter(folder / "BiorxivClusteringP2P.v2.json", older)
    outcome = cli("compare", folder, "--tasks", "BiorxivClusteringP2P.v2")
    assert outcome.code == 1
    assert "ours is a record of another task definition" in told(outcome)


def test_10_an_altered_instruction_table(run, tmp_path, monkeypatch):
    shutil.copytree(instructions.tables_root(), tmp_path / "tables")
    path = tmp_path / "tables" / "qzhou" / "cmn-v1.toml"
    path.write_text(path.read_text().replace("semantically similar", "similar"))
    monkeypatch.setattr(instructions, "tables_root", lambda: tmp_path / "tables")
    instructions.instruction_set.cache_clear()
    try:
        refused(run(), "the instruction set 'qzhou'")
    finally:
        instructions.instruction_set.cache_clear()
