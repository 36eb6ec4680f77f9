"""Models by hub name, out of a hub cache as the libraries lay it out; no network."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from qzhou_eval.errors import UserError
from tests.stand_in_hub import MODEL_COMMIT

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put_in_cache(home, name, folder, commit=COMMIT, complete=True):
    repo = home / "hub" / ("models--" + name.replace("/", "--"))
    shutil.copytree(folder, repo / "snapshots" / commit)
    # What the hub once said it does not have, as a run with a network leaves it behind.
    absent = repo / ".no_exist" / commit
    absent.mkdir(parents=True)
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        if complete and not (folder / name).exists():
            (absent / name).touch()
    if complete and not (folder / "1_Pooling").exists():
        (absent / "1_Pooling").mkdir()
        (absent / "1_Pooling" / "config.json").touch()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)


@pytest.fixture
def command(tmp_path):
    """Run the command line in a process of its own, with a hub cache below `home`."""

    def run(home, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "qzhou_eval", *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "HF_HOME": str(home)},
            cwd=tmp_path,
        )

    return run


def test_name_and_commit_name_the_result_folder(command, bert, tmp_path):
    put_in_cache(tmp_path / "home", "org/tiny", bert)
    rows = [
        {"sentence1": "fox " * (i + 1), "sentence2": "the dog", "score": i % 5} for i in range(8)
    ]
    folder = tmp_path / "data" / "C-MTEB" / "BQ"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--model", "org/tiny", "--datasets-dir", "data", "--tasks", "BQ", "--offline"]
    found = command(tmp_path / "home", "cmteb", *arguments)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "results" / "org__tiny" / COMMIT / "BQ.json").is_file()


def test_what_is_not_known_offline_is_not_taken_for_absent(command, bert, tmp_path):
    put_in_cache(tmp_path / "home", "org/tiny", bert, complete=False)
    (tmp_path / "t.txt").write_text("a\n")
    arguments = ["encode", "t.txt", "o.npy", "--model", "org/tiny", "--offline"]
    found = command(tmp_path / "home", *arguments)
    assert found.returncode == 2
    assert "config_sentence_transformers.json it is not known" in found.stderr


def test_remote_code_of_a_branch_is_refused_and_of_a_commit_runs(command, qzhou, tmp_path):
    put_in_cache(tmp_path / "home", "org/coded", qzhou)
    (tmp_path / "t.txt").write_text("a\n")
    task = ["--task", "STSB", "--trust-remote-code", "--offline"]
    unpinned = command(tmp_path / "home", "encode", "t.txt", "o.npy", "--model", "org/coded", *task)
    assert unpinned.returncode == 2
    assert "pin it with --revision" in unpinned.stderr
    pinned = command(
        tmp_path / "home",
        *["encode", "t.txt", "o.npy", "--model", "org/coded", "--revision", COMMIT, *task],
    )
    assert pinned.returncode == 0, pinned.stderr
    assert (tmp_path / "o.npy").is_file()


def test_the_librarys_commit_is_taken_by_default(command, qzhou, tmp_path):
    from qzhou_eval.recipe.library import find_recipe

    recipe = find_recipe("qzhou-embedding")
    put_in_cache(tmp_path / "home", recipe.model, qzhou, recipe.revision)
    (tmp_path / "t.txt").write_text("a\n")
    # Neither --trust-remote-code nor --revision: the recipe of that name stands for both.
    arguments = ["--model", recipe.model, "--task", "STSB", "--offline"]
    found = command(tmp_path / "home", "encode", "t.txt", "o.npy", *arguments)
    assert found.returncode == 0, found.stderr


def test_another_commit_of_a_library_model_needs_permission(command, qzhou, tmp_path):
    put_in_cache(tmp_path / "home", "Kingsoft-LLM/QZhou-Embedding", qzhou)
    (tmp_path / "t.txt").write_text("a\n")
    arguments = ["--model", "Kingsoft-LLM/QZhou-Embedding", "--revision", COMMIT, "--task", "STSB"]
    found = command(tmp_path / "home", "encode", "t.txt", "o.npy", *arguments, "--offline")
    assert found.returncode == 2
    assert "--trust-remote-code" in found.stderr


@pytest.fixture
def checked(bert, tmp_path, monkeypatch):
    """Whether a cached model with these files beside its others passes for one that is here."""
    from huggingface_hub import constants

    from qzhou_eval.recipe.checkpoint import check_here, open_checkpoint

    put_in_cache(tmp_path, "org/tiny", bert)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub" / "models--org--tiny" / "snapshots" / COMMIT

    def check(**files):
        for name, text in files.items():
            (snapshot / name.replace("__", ".")).write_text(text)
        check_here(open_checkpoint("org/tiny", COMMIT))

    check.snapshot = snapshot
    return check


def test_the_second_format_need_not_be_whole(checked):
    index = {"weight_map": {"a": "pytorch_model-00001-of-00002.bin"}}
    checked(pytorch_model__bin__index__json=json.dumps(index))


def test_parts_of_weights_must_all_be_here(checked):
    (checked.snapshot / "model.safetensors").rename(checked.snapshot / "one.safetensors")
    parts = {"a": "one.safetensors", "b": "one.safetensors"}
    checked(model__safetensors__index__json=json.dumps({"weight_map": parts}))
    with pytest.raises(UserError, match="its weights are not, or not all, cached here"):
        checked(model__safetensors__index__json=json.dumps({"weight_map": {**parts, "c": "two"}}))


@pytest.mark.parametrize("parts", [["one"], {"a": ["one"]}, "one", {}, None])
def test_a_list_of_parts_that_is_none(checked, parts):
    (checked.snapshot / "model.safetensors").unlink()
    with pytest.raises(UserError, match="its weights are not, or not all, cached here"):
        checked(model__safetensors__index__json=json.dumps({"weight_map": parts}))


def test_a_hub_that_is_ill_for_a_moment_is_waited_for(hub, tmp_path, monkeypatch):
    from huggingface_hub import constants

    from qzhou_eval.recipe.checkpoint import open_checkpoint

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    hub.fail("500", "org/tiny/resolve/" + MODEL_COMMIT + "/config.json", times=2)
    hub.fail("503", "modules.json", times=1)
    found = open_checkpoint("org/tiny", MODEL_COMMIT)
    assert found.architecture == "BertModel"
    assert found.modules


def test_a_model_that_is_not_there_is_not_waited_for(hub, tmp_path, monkeypatch):
    from huggingface_hub import constants

    from qzhou_eval.errors import UserError
    from qzhou_eval.recipe.checkpoint import open_checkpoint

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="the hub knows no such model"):
        open_checkpoint("org/none", MODEL_COMMIT)
    assert len(hub.asked) == 1
