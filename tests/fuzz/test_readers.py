"""Every reader of a file gives a valid object or refuses in one line, whatever the file holds."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qzhou_eval.encode.cost import read_shape
from qzhou_eval.evaluate.items import read_items
from qzhou_eval.evaluate.local_data import LocalDataset, _check_lines, _check_listed_files
from qzhou_eval.evaluate.run_folder import open_run_folder
from qzhou_eval.fetch.place import faults
from qzhou_eval.fetch.telling import told_bytes
from qzhou_eval.fetch.verifying import mending
from qzhou_eval.fetched import Kind, find_record
from qzhou_eval.files import is_plain_name
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.library import read_recipe
from qzhou_eval.recipe.recipe import Recipe
from qzhou_eval.recipe.resolution import resolve
from qzhou_eval.report.plan import parameters
from qzhou_eval.scores.reading import TaskScores, read_task_scores
from qzhou_eval.suite.instructions import Instruction, read_table
from qzhou_eval.suite.library import built_in, read_suite
from tests.fuzz.hostile import damaged, examples, json_bytes, told, toml_bytes

RESULT = {
    "dataset_revision": "0cde68302b3541bb8b3c340dc0644b0b745b3dc0",
    "task_name": "STSB",
    "mteb_version": "1.38.30",
    "scores": {
        "test": [
            {"hf_subset": "default", "main_score": 0.5, "languages": ["cmn-Hans"]},
            {"hf_subset": "en", "main_score": 0.25, "v_measures": {"Level 0": [0.1]}},
        ]
    },
    "evaluation_time": 3.5,
}
RECIPE = {
    "model": "org/name",
    "pooling": "cls",
    "normalize": True,
    "max_length": 512,
    "dtype": "bf16",
    "prompt_template": "Instruct: {instruction}\nQuery: ",
    "instruction_set": "mteb",
    "dimensions": 64,
}
SUITE = {
    "name": "mine",
    "datasets_dir": "data",
    "tasks": [
        {"name": "STS17", "subsets": ["en-en"], "splits": ["test"]},
        {
            "name": "Own",
            "type": "STS",
            "layout": "pairs",
            "dataset": "mine/own",
            "languages": ["eng-Latn"],
            "instruction": "Find it",
            "rule": "query only",
        },
    ],
}
TABLE = {"STSB": "Find it", "BQ": {"instruction": "Find that", "rule": "query only"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


def written(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@given(data=json_bytes(RESULT) | st.binary(max_size=40))
@examples(400)
def test_result_files(folder, data):
    path = written(folder / "STSB.json", data)
    scores = told(lambda: read_task_scores(path))
    if scores is not None:
        assert isinstance(scores, TaskScores)
        assert scores.task.isprintable()
        mean = told(lambda: scores.mean(["test"], ["default", "en"]))
        assert mean is None or abs(mean) <= 1e6


ITEMS = b"split,subset,item,cosine,gold\ntest,default,0,0.5,1\ntest,default,1,0.25,0.5\n"


@given(data=damaged(ITEMS).map(gzip.compress) | damaged(gzip.compress(ITEMS)))
@examples(300)
def test_item_files(folder, data):
    path = written(folder / "STSB.csv.gz", data)
    found = told(lambda: read_items(path))
    for own in (found or {}).values():
        assert own.columns
        assert all(len(row) == len(own.columns) + 1 for row in own.rows)


@given(data=toml_bytes(RECIPE) | st.binary(max_size=40))
@examples(300)
def test_recipes(folder, data):
    path = written(folder / "r.toml", data)
    recipe = told(lambda: read_recipe(path))
    if recipe is not None:
        assert isinstance(recipe, Recipe)
        assert 1 <= recipe.max_length <= 10**6
        assert json.dumps(recipe.to_dict()).encode()


@given(data=toml_bytes(SUITE) | st.binary(max_size=40))
@examples(300)
def test_suites(folder, data):
    path = written(folder / "s.toml", data)
    suite = told(lambda: read_suite(path))
    if suite is not None:
        assert suite.name.isprintable()
        assert all(is_plain_name(task.name) for task in suite.tasks)
        inside = suite.datasets_dir is None or suite.datasets_dir.resolve().is_relative_to(
            folder.resolve()
        )
        assert inside


@given(as_toml=toml_bytes(TABLE), as_json=json_bytes(TABLE))
@examples(200)
def test_instruction_tables(folder, as_toml, as_json):
    for path in (written(folder / "t.toml", as_toml), written(folder / "t.json", as_json)):
        table = told(lambda path=path: read_table(path))
        assert table is None or all(isinstance(entry, Instruction) for entry in table.values())


FILES = {
    "config.json": {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "auto_map": {"AutoModel": "code.Model"},
        "torch_dtype": "float32",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": 100,
        "max_position_embeddings": 128,
    },
    "tokenizer_config.json": {
        "padding_side": "right",
        "model_max_length": 128,
        "auto_map": ["code.Tokenizer", None],
    },
    "modules.json": [
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    ],
    "1_Pooling/config.json": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
    "2_Dense/config.json": {"in_features": 32, "out_features": 16, "bias": True},
    "sentence_bert_config.json": {"max_seq_length": 96, "model_args": {"torch_dtype": "float32"}},
    "config_sentence_transformers.json": {
        "prompts": {"query": "q: ", "document": "d: "},
        "default_prompt_name": None,
    },
}


@given(name=st.sampled_from(list(FILES)), data=st.data())
@examples(400)
def test_checkpoints(folder, name, data):
    root = folder / "checkpoint"
    for path, contents in FILES.items():
        written(root / path, json.dumps(contents).encode())
    written(root / "model.safetensors", b"weights")
    written(root / name, data.draw(json_bytes(FILES[name])))
    checkpoint = told(lambda: open_checkpoint(str(root)))
    if checkpoint is None:
        return
    assert isinstance(checkpoint.architecture, str)
    resolved = told(lambda: resolve(checkpoint, trust_remote_code=True))
    if resolved is not None:
        assert len(resolved.fingerprint()) == 64
        # Code of another repository is never let through, in whatever form it is named.
        assert "evil/repo--" not in json.dumps(
            [
                checkpoint.config.get("auto_map"),
                (checkpoint.side_files["tokenizer_config.json"] or {}).get("auto_map"),
            ]
        )
    shape = told(lambda: read_shape(checkpoint.config))
    assert shape is None or parameters(shape.parameters)


IDENTITY = {"fingerprint": "f", "settings": {"mode": "strict"}, "recipe": {"dtype": "float32"}}
MANIFEST = {
    **IDENTITY,
    "suites": [{"name": "s", "tasks": []}],
    "commands": [["run"]],
    "tasks": {"STSB": {"status": "done", "sha256": "0"}},
}


@given(data=json_bytes(MANIFEST))
@examples(200)
def test_manifests_of_earlier_runs(folder, data):
    path = written(folder / "run" / "run.json", data)
    run = told(lambda: open_run_folder(path.parent, {**IDENTITY, "arguments": []}, {"name": "s"}))
    if run is not None:
        run.close()
        run.record("BQ", {"status": "done"})
        spec = built_in("cmteb").task("STSB")
        assert run.finished(spec, {}) == {}
        assert not run.stands(spec, {})
        assert json.loads(path.read_text(encoding="utf-8"))["tasks"]["BQ"]


RECORD = {
    "format": 1,
    "kind": "dataset",
    "repo": "org/set",
    "revision": "0cde68302b3541bb8b3c340dc0644b0b745b3dc0",
    "fetched": "2026-01-01T00:00:00+00:00",
    "tasks": ["BQ", "STSB"],
    "rows": {"default": {"test": 40}},
    "files": {"README.md": {"size": 3, "sha256": "0" * 64}, "a/b": {"size": 1, "sha256": "1" * 64}},
    "left_out": [".gitattributes"],
    "converted": {"set.py": "2" * 64},
}


@given(data=json_bytes(RECORD) | st.binary(max_size=40))
@examples(400)
def test_records_of_what_was_fetched(folder, data):
    written(folder / "fetched/.fetched/datasets/org/set.json", data)
    record = told(lambda: find_record(folder / "fetched", Kind.DATASET, "org/set"))
    if record is not None:
        assert told_bytes(record.bytes)
        assert json.dumps(record.to_dict()).encode()
        assert all(path.isprintable() for path in record.files)
        [command] = mending(folder, [record]) or [""]
        # Pasted into a shell it is this one command, with these options.
        assert not set(command) & set(";|&$`()<>\n\\'\"*?")
        options = {word for word in command.split() if word.startswith("-")}
        assert options <= {"--tasks", "--output-dir"}
        told(lambda: faults(folder / "fetched", record))


CARD = """---
license: mit
date: 2024-01-01
configs:
- config_name: default
  data_dir: here
  data_files: &files
  - split: test
    path: test.jsonl
- config_name: other
  data_files: *files
---
# Text
"""
PIECES = (
    "../x",
    "/etc",
    "a/../../b",
    "hf://x",
    "2024-99-99",
    "[[[[",
    "*files",
    "&a [*a]",
    "!!int x",
)


@given(data=st.data())
@examples(300)
def test_dataset_cards(folder, data):
    text = CARD
    for _ in range(data.draw(st.integers(0, 2))):
        word = data.draw(st.sampled_from(CARD.split()))
        text = text.replace(word, data.draw(st.sampled_from(PIECES) | st.text(max_size=8)), 1)
    root = folder / "data" / "set"
    written(root / "README.md", data.draw(damaged(text.encode("utf-8", "replace"))))
    written(root / "test.jsonl", b"{}\n")
    (root / "here").mkdir(exist_ok=True)
    dataset = LocalDataset("data/set", root, "0")
    told(lambda: _check_listed_files(dataset, root))


LINES = b"".join(b'{"text": "a text", "label": %d}\n' % n for n in range(40))


@given(data=damaged(LINES), packed=damaged(gzip.compress(LINES, mtime=0)))
@examples(300)
def test_lines_of_data(folder, data, packed):
    dataset = LocalDataset("data/set", folder, "0")
    for name, contents in (("a.jsonl", data), ("a.jsonl.gz", packed)):
        path = written(folder / name, contents)
        told(lambda path=path: _check_lines(dataset, path))
