"""Wrong input: one clear line, exit code 2, nothing written, nothing lost."""

import json
import subprocess
import sys

import pytest
import torch


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        ("cmteb", ["--model", "./no/such/model"], "no such folder"),
        ("cmteb", ["--model", "no-such-org/model"], "the hub could not be reached"),
        ("cmteb", ["--model", "{bert}", "--tasks", "STSBB"], "did you mean STSB"),
        ("cmteb", ["--model", "{bert}", "--types", "Retreival"], "did you mean Retrieval"),
        ("cmteb", ["--model", "{bert}", "--pooling", "meen"], "did you mean mean"),
        ("cmteb", ["--model", "{bert}", "--dtype", "int4"], "unknown dtype 'int4'"),
        ("cmteb", ["--model", "{bert}", "--attention", "fast"], "eager, flash_attention_2, sdpa"),
        ("cmteb", ["--model", "{bert}", "--padding-side", "top"], "unknown padding side 'top'"),
        ("cmteb", ["--model", "{bert}", "--recipe", "qzhou"], "did you mean qzhou-embedding"),
        ("cmteb", ["--model", "{bert}", "--recipe", "no.toml"], "no such recipe"),
        ("cmteb", ["--model", "{bert}", "--device", "tpu"], "unknown device 'tpu'"),
        ("cmteb", ["--model", "{bert}", "--datasets-dir", "no-dir"], "no such folder"),
        ("cmteb", ["--model", "{bert}", "--max-length", "1024", "--tasks", "BQ"], "128 tokens"),
        ("cmteb", ["--model", "{bert}", "--model-name", "name"], "form org/name"),
        ("cmteb", ["--model", "{qzhou}"], "--trust-remote-code"),
        ("cmteb", [], "Missing option '--model'"),
        ("cmteb", ["--model", "{bert}", "--poling", "mean"], "No such option: --poling"),
        ("cmteb", ["--model", "{bert}", "--batch-size", "0"], "--batch-size"),
        ("run", ["SciFact", "--model", "{bert}", "--instructions"], "no instruction for SciFact"),
        ("run", ["SciFakt", "--model", "{bert}"], "did you mean SciFact"),
        ("run", ["STS17:en-xx", "--model", "{bert}"], "unknown subset 'en-xx' of STS17"),
        ("run", ["no.toml", "--model", "{bert}"], "no such suite file"),
        ("run", ["CQADupstackRetrieval", "--model", "{bert}"], "collection of tasks"),
        ("prompts", ["T2Retrival"], "did you mean T2Retrieval"),
        ("report", ["no-dir"], "no such folder"),
        ("nonsense", [], "No such command 'nonsense'"),
    ],
)
def test_told_in_one_line(cli, bert, qzhou, data, tmp_path, monkeypatch, command, arguments, told):
    monkeypatch.chdir(tmp_path)
    filled = [argument.format(bert=bert, qzhou=qzhou) for argument in arguments]
    if command in ("cmteb", "run") and "--datasets-dir" not in filled:
        filled += ["--datasets-dir", str(data)]
    outcome = cli(command, *filled)
    assert outcome.code == 2, outcome
    assert told in outcome.error
    assert outcome.error.startswith("error: ")
    assert "Traceback" not in outcome.err + outcome.out
    assert list(tmp_path.iterdir()) == [], "nothing may be written"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda(cli, bert):
    outcome = cli("cmteb", "--model", bert, "--device", "cuda")
    assert outcome.code == 2
    assert "--device cuda" in outcome.error
    assert "--device cpu" in outcome.error


def test_dataset_folder_that_lacks_a_file(cli, bert, data, tmp_path):
    import shutil

    copy = shutil.copytree(data, tmp_path / "data")
    (copy / "mteb" / "scidocs" / "corpus" / "corpus.jsonl").unlink()
    (copy / "C-MTEB" / "EcomRetrieval-qrels" / "default" / "dev.jsonl").write_text('{"qid": "1"')
    arguments = ["--model", bert, "--datasets-dir", copy, "--output-dir", tmp_path / "out"]
    outcome = cli("mteb", "--tasks", "SCIDOCS", *arguments)
    assert (outcome.code, "corpus/corpus.jsonl, and no such file" in outcome.error) == (2, True)
    outcome = cli("cmteb", "--tasks", "EcomRetrieval", *arguments)
    assert (outcome.code, "is broken after line 0" in outcome.error) == (2, True)
    assert not (tmp_path / "out").exists()


def test_unreadable_result_file(cli, tmp_path):
    good = {"scores": {"test": [{"hf_subset": "default", "main_score": 0.5}]}}
    (tmp_path / "STSB.json").write_text(json.dumps(good))
    (tmp_path / "BQ.json").write_text(json.dumps(good)[:-9])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    outcome = cli("report", tmp_path, "--output", tmp_path / "out")
    assert outcome.code == 2
    assert "BQ.json: not a readable result file" in outcome.error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_output_that_cannot_be_written(cli, bert, data, tmp_path):
    (tmp_path / "file").write_text("")
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path / "file"]
    outcome = cli("cmteb", "--tasks", "BQ", *arguments)
    assert outcome.code == 2
    assert "cannot be written" in outcome.err


def test_debug_shows_the_traceback():
    command = [sys.executable, "-m", "qzhou_eval", "report", "no-dir"]
    plain = subprocess.run(command, capture_output=True, text=True)
    assert (plain.returncode, plain.stderr.count("\n")) == (2, 1)
    debug = subprocess.run([*command, "--debug"], capture_output=True, text=True)
    assert debug.returncode == 2
    assert "Traceback" in debug.stderr


def test_an_incomplete_copy_of_a_model(cli, bert, data, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(bert, tmp_path / "half-bert")
    weights = load_file(copy / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    arguments = ["--model", copy, "--datasets-dir", data, "--output-dir", tmp_path / "out"]
    outcome = cli("cmteb", "--tasks", "BQ", *arguments)
    assert outcome.code == 2
    assert "encoder.layer.1.output.dense.weight" in outcome.err
    assert not (tmp_path / "out").exists()
