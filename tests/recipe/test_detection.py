"""Recipes read off a checkpoint's own files, as sentence-transformers reads them."""

import json
import shutil
from dataclasses import replace

import pytest

from qzhou_eval.errors import UserError
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.detection import own_pooling
from qzhou_eval.recipe.resolution import BY_FILES, resolve
from qzhou_eval.suite.instructions import Side
from qzhou_eval.suite.prompts import prompt_book


def test_files_are_read_for_an_unknown_model(bert):
    resolved = resolve(open_checkpoint(str(bert)))
    assert resolved.chosen_by == BY_FILES
    found = resolved.recipe
    assert found.pooling.value == "bos_token"
    assert (found.max_length, found.normalize, found.instruction_set) == (96, True, "")
    assert found.dtype.value == "float32"
    assert resolved.model_name == "local/tiny-bert"


@pytest.mark.parametrize(
    ("file", "value", "told"),
    [
        ("modules.json", [{"type": "sentence_transformers.models.LayerNorm"}], "has LayerNorm"),
        (
            "modules.json",
            [{"type": "sentence_transformers.models.Dense", "path": "../x"}],
            "'../x' is not a folder of the checkpoint",
        ),
        # Called like one of sentence-transformers', and code of the checkpoint's own.
        ("modules.json", [{"type": "custom_st.Normalize"}], "has custom_st.Normalize"),
        (
            "modules.json",
            [{"type": f"sentence_transformers.models.{k}"} for k in ("Transformer", "Dense")],
            "has the order Transformer, Dense",
        ),
        ("modules.json", {"a": 1}, "modules.json is not the list"),
        ("1_Pooling/config.json", ["a"], "config.json is not the table"),
        (
            "sentence_bert_config.json",
            {"max_seq_length": 9, "config_args": {"num_hidden_layers": 1}},
            "config_args num_hidden_layers",
        ),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            "choose a --pooling",
        ),
        (
            "config_sentence_transformers.json",
            {"prompts": {"Classification": "classify: "}},
            "prompts of its own .Classification: 'classify: '.",
        ),
    ],
)
def test_what_is_not_done_here_is_refused(bert, tmp_path, file, value, told):
    copy = shutil.copytree(bert, tmp_path / "other")
    (copy / file).write_text(json.dumps(value))
    with pytest.raises(UserError, match=told):
        resolve(open_checkpoint(str(copy)))
    # Decided by the user, it runs.
    if "Pooling" in file and isinstance(value, dict):
        assert resolve(open_checkpoint(str(copy)), overrides={"pooling": "mean"})
    if "prompts" in value:
        assert resolve(open_checkpoint(str(copy)), instructions=False)


@pytest.mark.parametrize(
    ("config", "query", "document", "text"),
    [
        ({"prompts": {"query": "q: ", "passage": "p: "}}, "q: ", "p: ", ""),
        ({"prompts": {"query": "q: ", "document": ""}}, "q: ", "", ""),
        ({"prompts": {"query": "q: "}, "default_prompt_name": "query"}, "q: ", "q: ", "q: "),
        (
            {"prompts": {"query": "q: ", "document": "d: "}, "default_prompt_name": "document"},
            "q: ",
            "d: ",
            "d: ",
        ),
    ],
)
def test_prompts_of_the_checkpoints_own(bert, tmp_path, config, query, document, text):
    copy = shutil.copytree(bert, tmp_path / "prompted")
    (copy / "config_sentence_transformers.json").write_text(json.dumps(config))
    resolved = resolve(open_checkpoint(str(copy)))
    book = prompt_book(resolved.recipe, [])
    assert book.prompt("T", Side.QUERY) == query
    assert book.prompt("T", Side.DOCUMENT) == document
    assert book.prompt("T", None) == text
    assert resolved.origins["query_prefix"] == "config_sentence_transformers.json"
    # Decided by the user, they are not put on.
    plain = resolve(open_checkpoint(str(copy)), instructions=False)
    assert prompt_book(plain.recipe, []).prompt("T", Side.QUERY) == ""


def test_the_template_is_the_checkpoints_own(bert, tmp_path):
    copy = shutil.copytree(bert, tmp_path / "prompted")
    config = {"prompts": {"query": "Instruct: Given a query, find it\nQuery:", "document": ""}}
    (copy / "config_sentence_transformers.json").write_text(json.dumps(config))
    resolved = resolve(open_checkpoint(str(copy)))
    assert resolved.recipe.prompt("x") == "Instruct: x\nQuery:"
    assert resolved.origins["prompt_template"] == "config_sentence_transformers.json"


@pytest.mark.parametrize(
    ("file", "sentence", "tokenizer", "expected"),
    [
        ("sentence_bert_config.json", 96, 50, 96),  # it alone decides
        ("sentence_bert_config.json", None, 50, 50),
        ("sentence_bert_config.json", 4096, 50, 128),  # but for the positions there are
        ("sentence_roberta_config.json", 70, 90, 70),
        ("sentence_bert_config.json", None, 10**30, 128),
    ],
)
def test_max_length_is_read_as_sentence_transformers_does(
    bert, tmp_path, file, sentence, tokenizer, expected
):
    from sentence_transformers import SentenceTransformer

    copy = shutil.copytree(bert, tmp_path / "long")
    (copy / "sentence_bert_config.json").unlink()
    (copy / file).write_text(json.dumps({"max_seq_length": sentence} if sentence else {}))
    values = json.loads((copy / "tokenizer_config.json").read_text())
    values["model_max_length"] = tokenizer
    (copy / "tokenizer_config.json").write_text(json.dumps(values))
    assert resolve(open_checkpoint(str(copy))).recipe.max_length == expected
    theirs = SentenceTransformer(str(copy), device="cpu").max_seq_length
    assert min(theirs, 128) == expected


def test_detected_fields_have_their_origin(bert):
    assert resolve(open_checkpoint(str(bert))).origins == {
        "pooling": "1_Pooling/config.json",
        "normalize": "modules.json",
        "empty_text": "modules.json",
        "instruction_set": "modules.json",
        "max_length": "sentence_bert_config.json",
        "attention_direction": "config.json",
        "dtype": "config.json",
    }
    given = resolve(open_checkpoint(str(bert)), overrides={"pooling": "mean", "dtype": "bf16"})
    assert "pooling" not in given.origins
    assert given.overridden == ("dtype", "pooling")


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, ["mean"]),  # as sentence-transformers reads a file that says nothing
        ({"pooling_mode_cls_token": True}, ["mean", "bos_token"]),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ["bos_token"]),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, ["last_token"]),
        ({"pooling_mode": "cls"}, ["bos_token"]),
        ({"pooling_mode": "lasttoken"}, ["last_token"]),
        ({"pooling_mode": "weightedmean"}, ["weighted_mean"]),
        ({"pooling_mode": "max"}, ["pooling_mode max"]),
    ],
)
def test_a_pooling_file_is_read_as_sentence_transformers_does(bert, config, wanted):
    from sentence_transformers.models import Pooling

    checkpoint = replace(open_checkpoint(str(bert)), side_files={"1_Pooling/config.json": config})
    assert own_pooling(checkpoint) == wanted
    theirs = Pooling(word_embedding_dimension=8, **config)
    assert theirs.pooling_output_dimension == 8 * len(wanted)


def test_a_plain_bert_is_cut_to_its_positions(bert, tmp_path):
    copy = shutil.copytree(bert, tmp_path / "plain")
    for file in ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json"):
        (copy / file).unlink()
    tokenizer = json.loads((copy / "tokenizer_config.json").read_text())
    tokenizer["model_max_length"] = 10**30
    (copy / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    resolved = resolve(open_checkpoint(str(copy)))
    assert (resolved.recipe.max_length, resolved.recipe.instruction_set) == (128, "qzhou")


def test_sentence_transformers_prompts_keep_instructions_on(bert, tmp_path):
    copy = shutil.copytree(bert, tmp_path / "prompted")
    config = {"prompts": {"query": "Instruct: find\nQuery: "}}
    (copy / "config_sentence_transformers.json").write_text(json.dumps(config))
    assert resolve(open_checkpoint(str(copy))).recipe.instruction_set == "qzhou"
