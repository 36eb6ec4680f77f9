import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from qzhou_eval.encode.direction import attention_direction
from qzhou_eval.encode.encoder import check_vectors, load_encoder
from qzhou_eval.encode.rendering import render
from qzhou_eval.errors import UserError, VectorError
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.choices import AttentionDirection
from qzhou_eval.recipe.recipe import Recipe
from qzhou_eval.recipe.resolution import resolve
from tests.checkpoints import without_own_module

CPU = torch.device("cpu")


def test_only_an_empty_text_is_replaced_and_before_the_prompt():
    recipe = Recipe("r")
    assert render("", "Query: ", recipe) == "Query: Null"
    assert render(" ", "Query: ", recipe) == "Query:  "
    assert render("a", "", recipe) == "a"
    assert render("", "", replace(recipe, empty_text="")) == ""


def test_a_text_template_goes_around_prompt_and_text():
    recipe = Recipe("r", text_template="This: <|im_start|>“{text}” means: “")
    assert render("{text} {0}", "Q: ", recipe) == "This: <|im_start|>“Q: {text} {0}” means: “"


def test_no_texts_give_no_vectors(bert):
    resolved = resolve(open_checkpoint(str(bert)))
    encoder = load_encoder(resolved.checkpoint, resolved.recipe, CPU)
    assert encoder.encode([]).shape == (0, 32)


def test_meter_counts_texts_and_their_own_tokens(bert):
    resolved = resolve(open_checkpoint(str(bert)))
    encoder = load_encoder(resolved.checkpoint, resolved.recipe, CPU)
    texts = ["the quick brown fox", "dog"]
    encoder.encode(texts)
    lengths = [len(encoder.backbone.tokenizer(text)["input_ids"]) for text in texts]
    assert (encoder.meter.texts, encoder.meter.tokens) == (2, sum(lengths))
    assert encoder.meter.seconds > 0


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (0.0, "zero")])
def test_unsound_vectors_name_the_first_text(value, word):
    vectors = np.ones((3, 4), dtype=np.float32)
    vectors[1:] = value
    with pytest.raises(VectorError, match=rf"2 of 3 .* text 2 'second'.*{word}"):
        check_vectors(vectors, ["first", "second", "third"])


def test_sound_vectors_pass():
    check_vectors(np.full((2, 3), 1e-20, dtype=np.float32), ["a", "b"])


def test_learnt_positions_bound_the_length(bert):
    with pytest.raises(UserError, match=r"1024.*128 tokens"):
        resolve(open_checkpoint(str(bert)), overrides={"max_length": 1024})
    # And where config.json is of a family not known for it, once the model is there.
    resolved = resolve(open_checkpoint(str(bert)))
    recipe = replace(resolved.recipe, max_length=1024)
    with pytest.raises(UserError, match=r"1024.*128 tokens"):
        load_encoder(resolved.checkpoint, recipe, CPU)


def test_attention_direction_is_found_by_trying(qzhou, bert):
    def load(folder, **overrides):
        checkpoint = open_checkpoint(str(folder))
        resolved = resolve(checkpoint, overrides=overrides, trust_remote_code=True)
        return load_encoder(resolved.checkpoint, resolved.recipe, CPU)

    for dtype in ("float32", "bfloat16"):
        found = attention_direction(load(qzhou, dtype=dtype).backbone)
        assert found is AttentionDirection.BIDIRECTIONAL
    assert attention_direction(load(bert).backbone) is AttentionDirection.BIDIRECTIONAL


def test_a_causal_model_under_a_bidirectional_recipe_is_refused(qzhou, tmp_path):
    """The same weights without their own module: a stock decoder, which looks back only.

    In a process of its own: transformers keeps a checkpoint's class for the whole architecture
    once it has run its code.
    """
    stock = without_own_module(qzhou, tmp_path / "stock")
    (tmp_path / "t.txt").write_text("a\n")
    command = [sys.executable, "-m", "qzhou_eval", "encode", "t.txt", "o.npy", "--task", "STSB"]
    found = subprocess.run(
        [*command, "--model", str(stock)], capture_output=True, text=True, cwd=tmp_path
    )
    assert found.returncode == 2
    assert "says bidirectional attention, but the model as loaded is causal" in found.stderr
    generic = [*command, "--model", str(stock), "--recipe", "generic"]
    assert subprocess.run(generic, capture_output=True, cwd=tmp_path).returncode == 0


def test_weights_that_do_not_load_are_told(bert, tmp_path):
    broken = shutil.copytree(bert, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"not weights")
    resolved = resolve(open_checkpoint(str(broken)))
    with pytest.raises(UserError, match=r"local/broken does not load"):
        load_encoder(resolved.checkpoint, resolved.recipe, CPU)
