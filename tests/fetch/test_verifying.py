"""Fetched folders: looked through, mended, copied."""

import json
import shutil

import pytest

from qzhou_eval.errors import UserError
from qzhou_eval.fetch.place import Place
from qzhou_eval.fetch.verifying import mending, verify
from tests.stand_in_hub import MODEL_COMMIT

QUESTIONS = "C-MTEB/BQ"


@pytest.fixture
def fetched(fetch, hub):
    """A folder with a few datasets and a model."""
    return fetch("BQ", "EcomRetrieval", model="org/tiny").root


def broken(root):
    return {entry.record.name: entry.faults for entry in verify(root)[0] if entry.faults}


def test_sound(fetched):
    verified, incomplete = verify(fetched)
    assert [entry.record.name for entry in verified] == [
        QUESTIONS,
        "C-MTEB/EcomRetrieval",
        "C-MTEB/EcomRetrieval-qrels",
        "org/tiny",
    ]
    assert not broken(fetched)
    assert not incomplete


def test_missing_changed_and_extra_files(fetched):
    (fetched / QUESTIONS / "README.md").unlink()
    rows = fetched / QUESTIONS / "default" / "test.jsonl"
    rows.write_bytes(rows.read_bytes().replace(b"{", b"[", 1))
    (fetched / "C-MTEB/EcomRetrieval/more.jsonl").touch()
    (fetched / "C-MTEB/EcomRetrieval/.DS_Store").touch()
    with (fetched / "models/org/tiny/model.safetensors").open("ab") as file:
        file.write(b"x")
    found = broken(fetched)
    assert found[QUESTIONS][0] == "README.md is missing"
    assert "default/test.jsonl is changed: sha256" in found[QUESTIONS][1]
    assert found["C-MTEB/EcomRetrieval"] == ("more.jsonl is not of the commit",)
    assert "model.safetensors is changed: " in found["org/tiny"][0]


def test_the_commands_that_mend(fetched):
    records = [entry.record for entry in verify(fetched)[0]]
    assert mending(fetched, records) == [
        f"qzhou-eval fetch cmteb --tasks BQ,EcomRetrieval --output-dir {fetched}",
        f"qzhou-eval fetch --model org/tiny --revision {MODEL_COMMIT} --output-dir {fetched}",
    ]


def test_what_is_on_its_way_is_told(fetch, hub):
    hub.fail("wrong", "default/test.jsonl")
    root = fetch("BQ", "EcomRetrieval").root
    assert verify(root)[1] == [QUESTIONS]


def test_a_folder_that_was_not_fetched(tmp_path):
    with pytest.raises(UserError, match="nothing was fetched there"):
        verify(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"repo": "C-MTEB/Other"},
        {"files": {"../../evil": {"size": 1, "sha256": "0" * 64}}},
        {"files": []},
        {"files": {"README.md": {"size": -1, "sha256": "0" * 64}}},
        {"files": {"README.md": {"size": 1e999, "sha256": "0" * 64}}},
        {"files": {"README.md": {"size": 1, "sha256": "\x1b[2J"}}},
        {"rows": None},
        {"rows": {"default": {"test": "40"}}},
        {"revision": "main; rm -r ~"},
        {"revision": "$(touch evil)"},
        {"tasks": ["BQ; rm -r ~"]},
        {"tasks": ["--trust-remote-code"]},
        {"tasks": "BQ"},
    ],
)
def test_a_record_that_is_none(fetched, change):
    path = fetched / ".fetched/datasets/C-MTEB/BQ.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=r"BQ\.json: "):
        verify(fetched)


@pytest.mark.parametrize("name", ["org/$(touch evil)", "org/a; rm -r ~", "org/-m", "org/\x1b[2J"])
def test_a_record_of_a_name_that_is_none(fetched, name):
    path = fetched / ".fetched/models" / f"{name}.json"
    value = json.loads((fetched / ".fetched/models/org/tiny.json").read_text())
    path.write_text(json.dumps({**value, "repo": name}))
    with pytest.raises(UserError, match="is not the name of a repository"):
        verify(fetched)


def test_a_colleagues_folder_is_copied_without_the_hub(fetch, hub, fetched, tmp_path):
    hub.asked.clear()
    copy = fetch("BQ", "EcomRetrieval", model="org/tiny", root=tmp_path / "copy", source=fetched)
    assert not copy.errors
    assert hub.asked == []
    assert not broken(copy.root)
    for path in (QUESTIONS, "C-MTEB/EcomRetrieval-qrels", "models/org/tiny"):
        ours = {p.name: p.read_bytes() for p in (copy.root / path).iterdir() if p.is_file()}
        theirs = {p.name: p.read_bytes() for p in (fetched / path).iterdir() if p.is_file()}
        assert ours == theirs


def test_a_colleagues_broken_file_is_not_taken(fetch, fetched, tmp_path):
    rows = fetched / QUESTIONS / "default" / "test.jsonl"
    rows.write_bytes(rows.read_bytes()[:-2])
    copy = fetch("BQ", "EcomRetrieval", root=tmp_path / "copy", source=fetched)
    [error] = copy.errors
    assert "test.jsonl is not what the record there says: expected" in error
    assert not (copy.root / QUESTIONS).exists()
    assert "C-MTEB/EcomRetrieval" in copy.records


def test_what_a_colleague_lacks_is_told(fetch, fetched, tmp_path):
    shutil.rmtree(fetched / "C-MTEB/EcomRetrieval-qrels")
    copy = fetch("BQ", "TNews", "EcomRetrieval", root=tmp_path / "copy", source=fetched)
    assert any("TNews-classification" in e and "has no record of it" in e for e in copy.errors)
    assert any("EcomRetrieval-qrels" in e and "is missing" in e for e in copy.errors)
    assert set(copy.records) == {QUESTIONS}


def test_another_commit_of_a_colleagues_is_not_taken(fetch, fetched, tmp_path):
    path = fetched / ".fetched/datasets/C-MTEB/BQ.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "revision": "c" * 40}))
    [error] = fetch("BQ", root=tmp_path / "copy", source=fetched).errors
    assert f"holds it at commit {'c' * 40}, and " in error


def test_a_folder_is_free_again_after_a_fetch(fetched):
    with Place(fetched).alone():
        pass
