"""Fetching from a hub that is well, and from one that is not: verified data or a clear error."""

import json
import random
import shutil
from dataclasses import replace

import pytest

from qzhou_eval.errors import UserError
from qzhou_eval.evaluate.local_data import find_local
from qzhou_eval.fetch.place import faults
from qzhou_eval.fetch.source import BLOCK
from tests.stand_in_hub import suite_tasks

QUESTIONS = "C-MTEB/BQ"
RETRIEVAL = "C-MTEB/EcomRetrieval"
LEFT = {".fetched"}


def same(folder, data, name):
    """Whether a fetched dataset has the very bytes of the hub's."""
    want = {p.relative_to(data / name): p.read_bytes() for p in files(data / name)}
    return want == {p.relative_to(folder / name): p.read_bytes() for p in files(folder / name)}


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def nothing_to_be_seen(found, name=QUESTIONS):
    return not (found.root / name).exists() and name not in found.records


def test_every_kind_of_dataset(fetch, hub, data):
    found = fetch(*suite_tasks())
    assert not found.errors
    for name in ("C-MTEB/BQ", "mteb/scidocs", "mteb/amazon_massive_intent", RETRIEVAL):
        assert same(found.root, data, name)
    assert found.told.bytes == found.told.size
    assert {path.name for path in found.root.iterdir()} == {".fetched", "C-MTEB", "mteb"}


def test_the_record_says_what_is_there(fetch, hub):
    found = fetch("BQ", "EcomRetrieval")
    value = json.loads((found.root / ".fetched/datasets/C-MTEB/BQ.json").read_text())
    assert value["revision"] == suite_tasks()["BQ"].revision
    assert value["tasks"] == ["BQ"]
    assert value["left_out"] == [".gitattributes"]
    assert set(value["files"]) == {"README.md", "default/test.jsonl"}
    assert value["rows"] == {"default": {"test": 40}}
    assert set(found.records[RETRIEVAL].rows["default"]) == {"corpus", "queries"}
    assert set(found.records[RETRIEVAL + "-qrels"].rows["default"]) == {"dev"}
    assert hub.url not in json.dumps(value)


def test_a_second_time_nothing_is_asked(fetch, hub):
    fetch("BQ", "EcomRetrieval", model="org/tiny")
    hub.asked.clear()
    found = fetch("BQ", "EcomRetrieval", model="org/tiny")
    assert found.kept == [True, True, True]
    assert hub.asked == []


@pytest.mark.parametrize("kind", ["drop", "short"])
def test_a_body_that_breaks_off_goes_on_where_it_stopped(fetch, hub, kind):
    content = random.Random(0).randbytes(3_000_000)
    hub.repositories["model", "org/tiny"].files["extra.dat"] = content
    hub.fail(kind, "org/tiny/extra.dat", times=8)  # more often than a call is tried
    found = fetch(model="org/tiny")
    assert not found.errors
    assert (found.root / "models/org/tiny/extra.dat").read_bytes() == content
    ranges = [r for m, p, r in hub.asked if p.endswith("extra.dat")]
    assert ranges[0] == ""
    assert all(r.startswith("bytes=") for r in ranges[1:])
    # Of what is read at a time, the part before the break may come twice.
    assert hub.served["org/tiny/extra.dat"] <= len(content) + 8 * BLOCK
    assert found.told.bytes == found.told.size


def test_a_hub_that_cannot_go_on_begins_again(fetch, hub, data):
    hub.fail("drop", "BQ/default/test.jsonl", times=1)
    hub.fail("no-range")
    found = fetch("BQ")
    assert not found.errors
    assert same(found.root, data, QUESTIONS)
    assert found.told.bytes == found.told.size


def test_a_hub_that_always_breaks_off_is_given_up(fetch, hub):
    hub.fail("drop", "BQ/default/test.jsonl")
    hub.fail("no-range")
    found = fetch("BQ", "TNews")
    [error] = found.errors
    assert "C-MTEB/BQ: default/test.jsonl" in error
    assert "failed after several tries" in error
    assert nothing_to_be_seen(found)
    assert "C-MTEB/TNews-classification" in found.records, "the others go on"


def test_wrong_bytes_once_are_fetched_again(fetch, hub, data):
    hub.fail("wrong", "BQ/default/test.jsonl", times=1)
    found = fetch("BQ")
    assert not found.errors
    assert same(found.root, data, QUESTIONS)
    assert any("came with wrong bytes; it is fetched again" in line for line in found.told.lines)


def test_wrong_bytes_always_are_never_seen(fetch, hub):
    hub.fail("wrong", "BQ/default/test.jsonl")
    found = fetch("BQ")
    [error] = found.errors
    assert "C-MTEB/BQ: default/test.jsonl came with wrong bytes 3 times: expected" in error
    assert nothing_to_be_seen(found)
    assert not files(found.root / ".fetching" / "parts"), "wrong bytes are thrown away"


def test_wrong_bytes_of_lfs_files_are_never_seen(fetch, hub):
    hub.fail("wrong", "model.safetensors")
    found = fetch(model="org/tiny")
    assert "model.safetensors came with wrong bytes 3 times" in found.errors[0]
    assert not (found.root / "models").exists()


@pytest.mark.parametrize("kind", ["429", "500", "503"])
def test_a_busy_hub_is_waited_for(fetch, hub, data, kind):
    hub.fail(kind, "", times=3, retry_after="0.002" if kind == "429" else "")
    found = fetch("BQ")
    assert not found.errors
    assert same(found.root, data, QUESTIONS)
    assert any("of 6 in" in line for line in found.told.lines)


def test_a_hub_that_stays_busy_is_given_up(fetch, hub):
    hub.fail("429", "", retry_after="0.001")
    found = fetch("BQ")
    assert "failed after several tries: 429" in found.errors[0]
    assert nothing_to_be_seen(found)


@pytest.mark.parametrize(
    "evil",
    ["../../evil", "/evil", "a/../../evil", "a\\..\\evil", "C:evil", "a//evil", "./evil", "e\nvil"],
)
def test_names_that_lead_outside_are_refused(fetch, hub, tmp_path, evil):
    hub.hostile.append(evil)
    found = fetch("BQ")
    assert "which leads out of its folder" in found.errors[0]
    assert nothing_to_be_seen(found)
    assert not [path for path in tmp_path.rglob("*") if "vil" in path.name]


def test_a_file_that_is_a_folder_too_is_refused(fetch, hub):
    hub.hostile.append("default")
    assert "'default' as a file and as a folder" in fetch("BQ").errors[0]


def test_another_commit_than_the_pinned_is_refused(fetch, hub):
    repository = hub.repositories["dataset", QUESTIONS]
    wanted, repository.commit = repository.commit, "f" * 40
    repository.refs[wanted] = "f" * 40
    [error] = fetch("BQ").errors
    assert wanted in error
    assert "f" * 40 in error


def test_a_list_without_digests_is_refused(fetch, hub, monkeypatch):
    monkeypatch.setattr(hub, "_sibling", lambda path, content: {"rfilename": path})
    assert "without size or digest, so it cannot be verified" in fetch("BQ").errors[0]


def test_what_the_hub_does_not_have(fetch, hub):
    del hub.repositories["dataset", QUESTIONS]
    found = fetch("BQ", model="org/none")
    assert "knows no such dataset" in found.errors[0]
    assert "knows no such model" in found.errors[1]
    assert len(hub.asked) == 2, "what is not there is not asked for twice"


def test_data_that_lacks_a_split_is_not_seen(fetch, hub):
    repository = hub.repositories["dataset", QUESTIONS]
    repository.files["README.md"] = repository.files["README.md"].replace(
        b"split: test", b"split: dev"
    )
    found = fetch("BQ")
    assert "no split test" in found.errors[0]
    assert nothing_to_be_seen(found)


def test_judgements_and_texts_are_seen_together_or_not_at_all(fetch, hub):
    hub.fail("wrong", "EcomRetrieval-qrels/default/dev.jsonl")
    found = fetch("EcomRetrieval")
    assert len(found.errors) == 1
    assert nothing_to_be_seen(found, RETRIEVAL)
    hub.faults.clear()
    hub.served.clear()
    again = fetch("EcomRetrieval")
    assert not again.errors
    assert set(hub.served) == {"C-MTEB/EcomRetrieval-qrels/default/dev.jsonl"}


def test_only_broken_files_are_fetched_anew(fetch, hub, data):
    first = fetch("EcomRetrieval")
    broken = first.root / RETRIEVAL / "default" / "queries.jsonl"
    broken.write_text("{}\n")
    hub.served.clear()
    again = fetch("EcomRetrieval")
    assert not again.errors
    assert same(again.root, data, RETRIEVAL)
    assert set(hub.served) == {"C-MTEB/EcomRetrieval/default/queries.jsonl"}


def test_another_commit_takes_the_place_of_the_old(fetch, hub):
    fetch(model="org/tiny")
    hub.repositories["model", "org/tiny"].commit = "a" * 40
    hub.repositories["model", "org/tiny"].refs["main"] = "a" * 40
    hub.repositories["model", "org/tiny"].files["config.json"] += b" "
    hub.served.clear()
    again = fetch(model="org/tiny", revision="")
    assert not again.errors
    assert again.records["org/tiny"].revision == "a" * 40
    assert set(hub.served) == {"org/tiny/config.json"}
    written = json.loads((again.root / ".fetched/models/org/tiny.json").read_text())
    assert written["revision"] == "a" * 40
    config = (again.root / "models/org/tiny/config.json").read_bytes()
    assert config == hub.repositories["model", "org/tiny"].files["config.json"]
    assert not faults(again.root, again.records["org/tiny"])


def test_a_copy_made_by_hand_is_taken_over_if_it_is_the_commits(fetch, hub, data, tmp_path):
    own = shutil.copytree(data / QUESTIONS, tmp_path / "out" / QUESTIONS)
    (own / ".git").mkdir()
    hidden = [own / ".git" / "HEAD", own / "default" / ".notes"]
    for path in hidden:
        path.write_text("mine")
    found = fetch("BQ")
    assert not found.errors
    assert hub.bodies() == 0
    assert not faults(found.root, found.records[QUESTIONS])
    assert [path.read_text() for path in hidden] == ["mine", "mine"]


def test_files_of_the_users_own_are_never_lost(fetch, hub, tmp_path):
    own = tmp_path / "out" / QUESTIONS / "notes.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    found = fetch("BQ")
    assert "notes.txt was not fetched" in found.errors[0]
    assert own.read_text() == "mine"


def test_a_dataset_of_several_tasks_is_fetched_once():
    from qzhou_eval.fetch.needs import dataset_bundles

    own = suite_tasks()["BQ"]
    [bundle] = dataset_bundles([own, replace(own, name="LCQMC")])
    [wanted] = bundle.repositories
    assert [spec.name for spec in wanted.tasks] == ["BQ", "LCQMC"]
    with pytest.raises(UserError, match="fetch them into two folders"):
        dataset_bundles([own, replace(own, revision="b" * 40)])


def test_too_little_space_is_told_with_numbers(fetch, hub, monkeypatch, tmp_path):
    from types import SimpleNamespace

    monkeypatch.setattr(
        "qzhou_eval.fetch.fetching.shutil.disk_usage", lambda path: SimpleNamespace(free=1000)
    )
    with pytest.raises(UserError, match=r"kB are to be fetched, and 1.0 kB are free"):
        fetch("BQ")
    assert hub.bodies() == 0


def test_two_fetches_into_one_folder(fetch, hub, tmp_path):
    from qzhou_eval.fetch.place import Place

    with (
        Place(tmp_path / "out").alone(),
        pytest.raises(UserError, match="another fetch is at work"),
    ):
        fetch("BQ")


def test_a_lock_that_is_a_link_leaves_the_other_file_alone(tmp_path):
    from qzhou_eval.fetch.place import Place

    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "out/.fetched").mkdir(parents=True)
    for name in (".lock", ".run.lock"):
        (tmp_path / "out/.fetched" / name).symlink_to(precious)
    with pytest.raises(UserError, match="is a link"), Place(tmp_path / "out").alone():
        pass
    assert precious.read_text() == "mine"


def test_a_fetch_where_the_file_system_has_no_locks(tmp_path, monkeypatch):
    import errno
    import fcntl

    from qzhou_eval.fetch.place import Place

    def none(*_):
        raise OSError(errno.ENOSYS, "planted: no locks")

    monkeypatch.setattr(fcntl, "flock", none)
    place = Place(tmp_path / "out")
    with place.alone(), pytest.raises(UserError, match="another fetch.*if that fetch is dead"):
        place.alone().__enter__()
    with place.alone():
        pass


def test_fewer_rows_than_published_are_told(fetch, hub, monkeypatch):
    from qzhou_eval.suite.sizes import task_sizes

    monkeypatch.setattr("qzhou_eval.fetch.counting.task_sizes", task_sizes)
    found = fetch("BQ", "EcomRetrieval", "TNews", "AskUbuntuDupQuestions")
    assert len(found.errors) == 3, "of reranking, nothing can be compared exactly"
    assert any("BQ has 20,000 texts to encode (split test" in error for error in found.errors)
    assert nothing_to_be_seen(found)


def test_a_model_without_second_formats(fetch, hub):
    repository = hub.repositories["model", "org/tiny"]
    repository.files |= {
        "pytorch_model.bin": b"x",
        "pytorch_model.bin.index.json": b"{}",
        "tf_model.h5": b"x",
        "onnx/model.onnx": b"x",
        "openvino/openvino_model.xml": b"x",
        "2_Dense/pytorch_model.bin": b"kept: its folder has nothing else",
    }
    record = fetch(model="org/tiny").records["org/tiny"]
    assert "2_Dense/pytorch_model.bin" in record.files
    assert {"model.safetensors", "1_Pooling/config.json", "tokenizer.json"} <= set(record.files)
    assert set(record.left_out) == {
        ".gitattributes",
        "onnx/model.onnx",
        "openvino/openvino_model.xml",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "tf_model.h5",
    }


def test_find_local_sees_what_was_fetched(fetch, hub):
    found = fetch("BQ")
    assert find_local(found.root, QUESTIONS)


def test_what_another_fetch_has_on_its_way_stays(fetch, hub):
    hub.fail("500", "default/test.jsonl")
    fetch("BQ")
    hub.faults.clear()
    hub.served.clear()
    assert not fetch("TNews").errors
    assert not fetch("BQ").errors
    assert "C-MTEB/BQ/README.md" not in hub.served, "it was here already"
