"""Without the hub: a run from a fetched folder asks nobody, and what is missing is told first."""

import json
import os
import subprocess
import sys
import time

import datasets
import pytest

from qzhou_eval.errors import UserError
from qzhou_eval.evaluate.hub_cache import is_cached, pinned_cache
from qzhou_eval.evaluate.local_data import Requirement
from qzhou_eval.evaluate.offline import check_cached
from qzhou_eval.files import file_digest
from tests.commands import ROOT, command
from tests.stand_in_hub import MODEL_COMMIT, StandInHub, suite_tasks

TASKS = ("EcomRetrieval", "SCIDOCS", "BQ", "MTOPDomainClassification", "STS22.v2")
"""One of every way a dataset is laid out: with a sibling, in configs, plain, by language."""

NO_NETWORK = """
import os, sys

def forbid(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if arguments[0].family.name == "AF_UNIX":
            return
    elif event not in ("socket.getaddrinfo", "socket.gethostbyname"):
        return
    with open(os.environ["ATTEMPTS"], "a") as file:
        file.write(f"{event} {arguments}\\n")
    raise PermissionError(f"network: {event} {arguments}")

sys.addaudithook(forbid)
"""
"""Put into every Python process: no address is looked up or talked to, this machine's included."""


def write_suite(path):
    lines = ['name = "some of both"']
    for name in TASKS:
        spec = suite_tasks()[name]
        lines += ["[[tasks]]", f'name = "{name}"']
        lines += [f"{key} = {json.dumps(getattr(spec, key))}" for key in ("splits", "subsets")]
    path.write_text("\n".join(lines) + "\n")


def test_a_run_from_a_fetched_folder_makes_no_connection(stand_in: StandInHub, tmp_path):
    write_suite(tmp_path / "some.toml")
    fetched = command(
        tmp_path,
        *["fetch", "some.toml", "--model", "org/tiny", "--output-dir", "here"],
        HF_ENDPOINT=stand_in.url,
    )
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    stand_in.close()

    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(NO_NETWORK)
    attempts = tmp_path / "attempts"
    blocked = {"PYTHONPATH": f"{hook}{os.pathsep}{ROOT}", "ATTEMPTS": str(attempts)}
    probe = [sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))"]
    tried = subprocess.run(probe, env={**os.environ, **blocked}, capture_output=True, text=True)
    assert "network: socket." in tried.stderr, "the hook works"
    attempts.unlink()

    arguments = ["--model", "org/tiny", "--datasets-dir", "here", "--offline"]
    found = command(tmp_path, "run", "some.toml", *arguments, HF_ENDPOINT=stand_in.url, **blocked)
    assert found.returncode == 0, found.stdout + found.stderr
    assert not attempts.exists(), attempts.read_text()
    results = tmp_path / "results" / "org__tiny" / MODEL_COMMIT
    assert {f"{name}.json" for name in TASKS} <= {path.name for path in results.iterdir()}


def test_what_is_missing_is_named_before_the_run(cli, bert, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    tasks = "BQ,LCQMC,T2Retrieval"
    arguments = ["--model", bert, "--datasets-dir", data, "--tasks", tasks, "--offline"]
    outcome = cli("cmteb", *arguments)
    assert outcome.code == 2
    assert "the data of 2 tasks is neither in a folder nor cached at its commit" in outcome.error
    assert "LCQMC (C-MTEB/LCQMC)" in outcome.error
    assert "T2Retrieval (C-MTEB/T2Retrieval, C-MTEB/T2Retrieval-qrels)" in outcome.error
    told = "qzhou-eval fetch cmteb --tasks T2Retrieval,LCQMC --output-dir DIR"
    assert told in outcome.error
    assert "BQ" not in outcome.error
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_missing_is_told_with_the_command(cli, data):
    arguments = ["--datasets-dir", data, "--tasks", "BQ", "--offline"]
    outcome = cli("cmteb", "--model", "org/none", *arguments)
    assert outcome.code == 2
    assert "qzhou-eval fetch --model org/none --output-dir DIR" in outcome.error


def test_a_fetched_model_at_another_commit_is_refused(cli, data, tmp_path):
    record = tmp_path / ".fetched/models/org/tiny.json"
    record.parent.mkdir(parents=True)
    value = {"format": 1, "kind": "model", "repo": "org/tiny", "revision": MODEL_COMMIT}
    empty = {"fetched": "", "tasks": [], "rows": {}, "left_out": []}
    files = {"config.json": {"size": 2, "sha256": "0" * 64}}
    record.write_text(json.dumps({**value, **empty, "files": files}))
    model = ["cmteb", "--model", "org/tiny", "--datasets-dir", tmp_path]
    outcome = cli(*model, "--revision", "f" * 40)
    assert f"holds it at commit {MODEL_COMMIT}, and {'f' * 40} is wanted" in outcome.error
    outcome = cli(*model)
    assert "config.json is missing; mend it with: qzhou-eval fetch --model" in outcome.error


@pytest.mark.parametrize(
    ("task", "name"), [("BQ", "C-MTEB/BQ"), ("EcomRetrieval", "C-MTEB/EcomRetrieval-qrels")]
)
def test_a_fetched_dataset_at_another_commit_is_refused(cli, bert, data, tmp_path, task, name):
    import shutil

    for own in {f"C-MTEB/{task}", name}:
        shutil.copytree(data / own, tmp_path / own)
    record = tmp_path / f".fetched/datasets/{name}.json"
    record.parent.mkdir(parents=True)
    value = {"format": 1, "kind": "dataset", "repo": name, "revision": "f" * 40}
    empty = {"fetched": "", "tasks": [], "rows": {}, "left_out": []}
    files = {
        path.relative_to(data / name).as_posix(): {
            "size": path.stat().st_size,
            "sha256": file_digest(path),
        }
        for path in (data / name).rglob("*")
        if path.is_file()
    }
    record.write_text(json.dumps({**value, **empty, "files": files}))
    outcome = cli("cmteb", "--model", bert, "--datasets-dir", tmp_path, "--tasks", task)
    assert f"holds {name} at commit {'f' * 40}, and the task reads" in outcome.error


def put_in_cache(cache, name, commit, configs):
    """Cache a dataset as `datasets` does one of the hub's: config to split to rows."""
    org, base = name.split("/")
    for config, splits in configs.items():
        made = datasets.DatasetDict(
            {split: datasets.Dataset.from_list(rows) for split, rows in splits.items()}
        )
        folder = cache / f"{org}___{datasets.naming.camelcase_to_snakecase(base)}"
        folder = folder / config / "0.0.0" / commit
        folder.mkdir(parents=True)
        info = {"config_name": config, "dataset_name": base, "builder_name": "json", "splits": {}}
        for split, rows in made.items():
            rows.save_to_disk(str(folder / "tmp"))
            next((folder / "tmp").glob("*.arrow")).rename(folder / f"{base}-{split}.arrow")
            info["splits"][split] = {"name": split, "num_examples": len(rows)}
        (folder / "dataset_info.json").write_text(json.dumps(info))
        time.sleep(0.02)  # the order they were made in is seen in their times


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    for commit in ("a" * 40, "b" * 40):
        rows = [{"text": commit[0]}]
        put_in_cache(tmp_path, "org/set", commit, {"default": {"test": rows}, "more": {"x": rows}})
    return tmp_path


def loaded(revision, *config):
    return datasets.load_dataset("org/set", *config, revision=revision)


def test_the_trap_is_there(cache):
    """Why the cache is looked after; when datasets mends this, it need not be."""
    assert loaded("a" * 40, "default")["test"]["text"] == ["b"], "asked for the other commit"


@pytest.mark.parametrize("commit", ["a" * 40, "b" * 40])
def test_the_pinned_commit_is_taken_whatever_was_cached_last(cache, commit):
    with pinned_cache({"org/set": commit}):
        assert loaded(commit, "default")["test"]["text"] == [commit[0]]
        assert loaded(commit)["test"]["text"] == [commit[0]], "the default config needs no name"
        assert loaded(commit, "more")["x"]["text"] == [commit[0]]


def test_another_commit_is_not_taken(cache):
    with pinned_cache({"org/set": "c" * 40}), pytest.raises(ConnectionError):
        loaded("c" * 40, "default")


def test_what_counts_as_cached(cache):
    assert is_cached("org/set", "a" * 40, Requirement(splits=("test",)))
    assert is_cached("org/set", "a" * 40, Requirement("more", ("x",)))
    assert not is_cached("org/set", "a" * 40, Requirement(splits=("train",)))
    assert not is_cached("org/set", "a" * 40, Requirement("none"))
    assert not is_cached("org/set", "c" * 40, Requirement(splits=("test",)))
    assert not is_cached("org/set", "", Requirement(splits=("test",)))


def test_tasks_whose_data_is_cached_at_their_commit_may_run(cache):
    spec = suite_tasks()["BQ"]
    rows = [{"sentence1": "a", "sentence2": "b", "score": 1}]
    put_in_cache(cache, spec.dataset, "d" * 40, {"default": {"test": rows}})
    with pytest.raises(UserError, match="BQ"):
        check_cached([spec])
    put_in_cache(cache, spec.dataset, spec.revision, {"default": {"test": rows}})
    check_cached([spec])
