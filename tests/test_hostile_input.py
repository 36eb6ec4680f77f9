"""Files from someone else, each made to break something that once broke."""

import gzip
import json
import os
import shutil

import pytest
import torch

from qzhou_eval.encode.projection import load_projection
from qzhou_eval.errors import UserError
from qzhou_eval.evaluate import local_data
from qzhou_eval.evaluate.local_data import Requirement, check_local, find_local
from qzhou_eval.evaluate.run_folder import open_run_folder
from qzhou_eval.files import MAX_TOML_BYTES, read_json, read_toml
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.resolution import resolve
from qzhou_eval.report.files import write_together

ROW = b'{"text": "a", "label": 1}\n'


def pipe(path):
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("make", [pipe, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_only_regular_files_are_read(tmp_path, make):
    make(tmp_path / "a.json")
    with pytest.raises(UserError, match=r"a\.json: not a "):
        read_json(tmp_path / "a.json", "result file")


def test_sizes_have_limits(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"#" * (MAX_TOML_BYTES + 1))
    with pytest.raises(UserError, match="too large for a recipe"):
        read_toml(path, "recipe")


def test_a_byte_order_mark_and_windows_line_ends_are_no_harm(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1\r\nb = 2\r\n")
    assert read_toml(path, "recipe") == {"a": 1, "b": 2}


def test_a_lock_that_is_a_link_leaves_the_other_file_alone(tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "run"
    victim.write_text("precious")
    folder.mkdir()
    (folder / ".run.lock").symlink_to(victim)
    with pytest.raises(UserError, match="is a link"):
        open_run_folder(folder, {"fingerprint": "f"}, {"name": "s"})
    assert victim.read_text() == "precious"


def test_a_pipe_among_the_weights(bert, tmp_path):
    copy = shutil.copytree(bert, tmp_path / "copy")
    pipe(copy / "more.safetensors")
    (copy / "folder.safetensors").mkdir()
    assert open_checkpoint(str(copy)).content == open_checkpoint(str(bert)).content


@pytest.mark.parametrize(
    "named", [["evil/repo--code.Tok", None], {"AutoTokenizer": [[None, "evil/repo--code.Tok"]]}]
)
def test_code_of_another_repository_in_any_form(bert, tmp_path, named):
    copy = shutil.copytree(bert, tmp_path / "copy")
    path = copy / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": named}))
    with pytest.raises(UserError, match="Python code of another repository, evil/repo"):
        resolve(open_checkpoint(str(copy)), trust_remote_code=True)


@pytest.mark.parametrize("width", [1e999, 10**9, -3, True, "3", None])
def test_widths_of_a_dense_module(bert, tmp_path, width):
    copy = shutil.copytree(bert, tmp_path / "copy")
    modules = json.loads((copy / "modules.json").read_text())
    modules.append({"type": "sentence_transformers.models.Dense", "path": "9_Dense"})
    (copy / "modules.json").write_text(json.dumps(modules))
    (copy / "9_Dense").mkdir()
    config = {"in_features": width, "out_features": 4}
    (copy / "9_Dense" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="no config.json of a Dense module"):
        load_projection(open_checkpoint(str(copy)), torch.device("cpu"), torch.float32)


def checked(root, **files):
    folder = root / "data" / "a" / "set"
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    dataset = find_local(root / "data", "a/set")
    check_local(dataset, (Requirement(splits=("test",)),))


CARDS = {
    "configs: [{config_name: default, data_dir: ../../..}]": "lists '../../..', outside",
    "configs: [{config_name: default, data_files: x/../../../y}]": "outside its folder",
    "a: 2024-13-45": "month must be in 1..12",
    "a: " + "[" * 5000: "recursion",
    "a: &a [*a]": "stands for more than",
    "\n".join(
        ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 25))]
    ): "stands for more than",
}


@pytest.mark.parametrize("head", CARDS)
def test_dataset_cards(tmp_path, head):
    with pytest.raises(UserError, match=CARDS[head]):
        checked(tmp_path, test__jsonl=ROW, README__md=f"---\n{head}\n---\n".encode())


def test_lines_of_any_size_or_depth(tmp_path, monkeypatch):
    monkeypatch.setattr(local_data, "MAX_LINE_BYTES", 1000)
    long = gzip.compress(ROW + b'{"text": "' + b"a" * 2000 + b'"}\n')
    with pytest.raises(UserError, match="after line 1: a line of more than 1,000 bytes"):
        checked(tmp_path / "long", test__jsonl__gz=long)
    monkeypatch.undo()
    with pytest.raises(UserError, match="after line 0: maximum recursion"):
        checked(tmp_path / "deep", test__jsonl=b'{"a": ' + b"[" * 100_000 + b"\n")
    monkeypatch.setattr(local_data, "MAX_UNPACKED_BYTES", 10_000)
    with pytest.raises(UserError, match="more than 10,000 bytes"):
        checked(tmp_path / "bomb", test__jsonl__gz=gzip.compress(ROW * 1000))


def test_files_that_belong_together_are_written_together(tmp_path):
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match="b: cannot be written: it is a folder"):
        write_together({tmp_path / "a": "1", tmp_path / "b": "2"})
    with pytest.raises(UnicodeEncodeError):
        write_together({tmp_path / "a": "1", tmp_path / "c": "\ud800"})
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_suite_files_name_no_folder_elsewhere(tmp_path, cli):
    suite = tmp_path / "s.toml"
    for folder in ("/etc", "../x", "a/../../x"):
        suite.write_text(f'datasets_dir = "{folder}"\ntasks = ["STSB"]\n')
        outcome = cli("run", suite, "--model", "org/name")
        assert (outcome.code, "no folder beside the suite file" in outcome.error) == (2, True)


def test_prompts_show_what_is_not_seen(cli, tmp_path):
    table = tmp_path / "t.json"
    table.write_text(json.dumps({"Mine": "a\u001b[2Jb\u202ec\u3000d"}))
    out = cli("prompts", "Mine", "--instruction-table", table).out
    assert r"a\x1b[2Jb\u202ec" in out
    assert "\u3000d" in out
    assert "\x1b" not in out
