import gzip
import json
import shutil

import datasets
import pytest

from qzhou_eval.errors import UserError
from qzhou_eval.evaluate.local_data import (
    LocalDataset,
    Requirement,
    cached_by_content,
    check_local,
    find_local,
)

README = """---
configs:
- config_name: default
  data_files:
  - split: test
    path: data/test.jsonl
---
"""


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def make(root, name="org/set", value="one", readme=README):
    folder = root / name
    write_rows(folder / "data" / "test.jsonl", [{"text": value}])
    if readme:
        (folder / "README.md").write_text(readme)
    return folder


def load(dataset):
    with cached_by_content(dataset):
        return datasets.load_dataset(str(dataset.folder))["test"]["text"]


def test_the_cache_trap_is_there():
    """Why content keys are needed; when datasets mends this, they can go."""
    assert datasets.__version__ == "3.2.0"


def test_plain_loading_falls_into_the_trap(tmp_path):
    for side in ("a", "b"):
        make(tmp_path / side, value=side)
    cache = str(tmp_path / "cache")
    read = [
        datasets.load_dataset(str(tmp_path / side / "org" / "set"), cache_dir=cache)["test"]["text"]
        for side in ("a", "b")
    ]
    assert read == [["a"], ["a"]], "the trap is gone: see local_data.py"


def test_another_folder_of_the_same_name_gives_its_own_rows(tmp_path):
    for side in ("a", "b"):
        make(tmp_path / side, value=side)
    assert [load(find_local(tmp_path / side, "org/set")) for side in ("a", "b")] == [["a"], ["b"]]


def test_changed_rows_are_seen(tmp_path):
    make(tmp_path, value="before")
    assert load(find_local(tmp_path, "org/set")) == ["before"]
    make(tmp_path, value="after")
    assert load(find_local(tmp_path, "org/set")) == ["after"]


def test_the_cache_setting_is_put_back(tmp_path):
    before = datasets.config.HF_DATASETS_CACHE
    make(tmp_path)
    load(find_local(tmp_path, "org/set"))
    assert before == datasets.config.HF_DATASETS_CACHE


def test_digest_follows_content_not_place(tmp_path):
    make(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first, second = (find_local(tmp_path / side, "org/set") for side in "ab")
    assert first.digest == second.digest
    write_rows(tmp_path / "b" / "org" / "set-qrels" / "test.jsonl", [{"qid": "1"}])
    assert find_local(tmp_path / "b", "org/set").digest != first.digest


def test_absent_and_outside_folders(tmp_path):
    assert find_local(tmp_path, "org/none") is None
    (tmp_path / "root").mkdir()
    make(tmp_path, "secret/set")
    with pytest.raises(UserError, match="points outside"):
        find_local(tmp_path / "root", "../secret/set")
    (tmp_path / "root" / "empty").mkdir()
    with pytest.raises(UserError, match="is empty"):
        find_local(tmp_path / "root", "empty")


def check(root, *requirements, name="org/set"):
    dataset = find_local(root, name)
    assert isinstance(dataset, LocalDataset)
    check_local(dataset, requirements or (Requirement(splits=("test",)),))


def test_sound_folder_passes(tmp_path):
    make(tmp_path)
    check(tmp_path)
    check(tmp_path)  # the second time from its seal


def test_missing_listed_file(tmp_path):
    (make(tmp_path) / "data" / "test.jsonl").rename(tmp_path / "org" / "set" / "other.jsonl")
    with pytest.raises(UserError, match=r"lists data/test.jsonl, and no such file"):
        check(tmp_path)


def test_listed_file_outside(tmp_path):
    make(tmp_path, readme=README.replace("data/test.jsonl", "../../../etc/passwd"))
    with pytest.raises(UserError, match="outside its folder"):
        check(tmp_path)


def test_missing_split_and_config(tmp_path):
    make(tmp_path)
    with pytest.raises(UserError, match=r"no split train .*\(it has test\)"):
        check(tmp_path, Requirement(splits=("test", "train")))
    with pytest.raises(UserError, match=r"config corpus is missing.*README.md must list"):
        check(tmp_path, Requirement("corpus"))


def test_missing_sibling(tmp_path):
    make(tmp_path)
    with pytest.raises(UserError, match="set-qrels is missing"):
        check(tmp_path, Requirement(splits=("test",)), Requirement(suffix="-qrels"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"text": "b', "broken after line 1"),
        (b'{"text": "a"}\n["b"]\n', "broken after line 1: not an object"),
        (b"\xff\xfe\n", "broken after line 0"),
    ],
)
def test_broken_line(tmp_path, content, message):
    path = make(tmp_path) / "data" / "test.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        check(tmp_path)


def test_broken_parquet_and_no_rows(tmp_path):
    folder = make(tmp_path, readme="")
    (folder / "data" / "test.jsonl").unlink()
    path = folder / "data" / "test-00000-of-00001.parquet"
    datasets.Dataset.from_dict({"text": ["a"] * 100}).to_parquet(path)
    check(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="does not load"):
        check(tmp_path)
    path.unlink()
    (folder / "data" / "test.csv").write_text("text\n")
    with pytest.raises(UserError, match="no rows|no data"):
        check(tmp_path)


def test_a_loading_script_is_not_run(tmp_path):
    folder = make(tmp_path)
    (folder / "set.py").write_text("raise SystemExit('ran')")
    with pytest.raises(UserError, match=r"set.py is a loading script, which is not run"):
        check(tmp_path)


def test_a_linked_folder_and_leftovers_are_fine(tmp_path):
    make(tmp_path / "real")
    (tmp_path / "linked" / "org").mkdir(parents=True)
    (tmp_path / "linked" / "org" / "set").symlink_to(tmp_path / "real" / "org" / "set")
    (tmp_path / "real" / "org" / "set" / "data" / "test.jsonl.old").write_text("{")
    check(tmp_path / "linked")


def test_cut_off_gzip(tmp_path):
    folder = make(tmp_path, readme="")
    (folder / "data" / "test.jsonl").unlink()
    whole = gzip.compress(b'{"text": "a long enough line to cut"}\n' * 100)
    (folder / "data" / "test.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="broken after line"):
        check(tmp_path)


def test_cache_folder_that_cannot_be_made(tmp_path, monkeypatch):
    make(tmp_path)
    file = tmp_path / "a-file"
    file.write_text("")
    monkeypatch.setenv("QZHOU_EVAL_CACHE", str(file))
    with pytest.raises(UserError, match="QZHOU_EVAL_CACHE"):
        check(tmp_path)
