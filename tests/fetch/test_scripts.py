"""Datasets that are a loading script at their commit."""

from pathlib import Path

import pytest

from qzhou_eval.evaluate.local_data import check_local, find_local
from qzhou_eval.fetch.place import faults
from tests.stand_in_hub import Repository, suite_tasks

NAME = "mteb/mtop_domain"
SCRIPT = """
import json
import os

import datasets


class Topics(datasets.GeneratorBasedBuilder):
    BUILDER_CONFIGS = [datasets.BuilderConfig(name=name) for name in ("en", "de")]

    def _info(self):
        return datasets.DatasetInfo()

    def _split_generators(self, manager):
        assert "HF_TOKEN" not in os.environ
        paths = manager.download({s: f"{self.config.name}/{s}.jsonl" for s in ("train", "test")})
        return [datasets.SplitGenerator(s, gen_kwargs={"path": p}) for s, p in paths.items()]

    def _generate_examples(self, path):
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file):
                yield number, json.loads(line)
"""


@pytest.fixture
def scripted(hub, data, monkeypatch):
    """The hub, holding a dataset as a script and its files."""
    files = {
        f"en/{s}.jsonl": (data / NAME / f"en/{s}.jsonl").read_bytes() for s in ("train", "test")
    }
    files["mtop_domain.py"] = SCRIPT.encode()
    commit = hub.repositories["dataset", NAME].commit
    hub.repositories["dataset", NAME] = Repository(commit, files)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    return hub


def test_a_script_is_not_run_without_permission(fetch, scripted):
    found = fetch("MTOPDomainClassification", "BQ")
    [error] = found.errors
    assert "mteb/mtop_domain: at its commit it is a loading script, mtop_domain.py" in error
    assert "--trust-remote-code" in error
    assert not (found.root / NAME).exists()
    assert "C-MTEB/BQ" in found.records


def test_with_permission_it_is_turned_into_plain_files(fetch, scripted):
    from qzhou_eval.evaluate.mteb1.tasks import requirements

    found = fetch("MTOPDomainClassification", trust=True)
    assert not found.errors
    record = found.records[NAME]
    assert set(record.files) == {"README.md", "en/train.parquet", "en/test.parquet"}
    assert set(record.converted) == {"mtop_domain.py", "en/train.jsonl", "en/test.jsonl"}
    assert not faults(found.root, record)
    spec = suite_tasks()["MTOPDomainClassification"]
    [rows] = check_local(find_local(found.root, NAME), requirements(spec))
    assert rows == record.rows["en"]
    scripted.asked.clear()
    assert fetch("MTOPDomainClassification").kept == [True], "it is not converted again"
    assert scripted.asked == []


def test_it_is_found_from_a_relative_folder(fetch, scripted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = fetch("MTOPDomainClassification", trust=True, root=Path("out"))
    assert not found.errors
    assert not faults(tmp_path / "out", found.records[NAME])


def test_a_copy_of_it_says_what_it_was_made_of(fetch, scripted, tmp_path):
    first = fetch("MTOPDomainClassification", trust=True)
    copy = fetch("MTOPDomainClassification", root=tmp_path / "copy", source=first.root)
    assert not copy.errors
    assert copy.records[NAME].converted == first.records[NAME].converted


def test_a_script_that_wants_the_network_fails_by_name(fetch, scripted):
    files = scripted.repositories["dataset", NAME].files
    files["mtop_domain.py"] = SCRIPT.replace(
        'f"{self.config.name}/{s}.jsonl"', 'f"https://example.org/{s}.jsonl"'
    ).encode()
    [error] = fetch("MTOPDomainClassification", trust=True).errors
    assert "its loading script failed over the files of its commit" in error
    assert "with the Hugging Face libraries offline" in error
    assert "hf_secret" not in error
