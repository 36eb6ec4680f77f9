import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from qzhou_eval.encode.ahead import ahead
from qzhou_eval.encode.direction import attention_direction
from qzhou_eval.encode.encoder import Encoder, check_vectors, load_encoder, out_of_memory
from qzhou_eval.encode.pooling import POOLINGS
from qzhou_eval.encode.rendering import render
from qzhou_eval.errors import UserError, VectorError
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.choices import AttentionDirection, Pooling
from qzhou_eval.recipe.recipe import Recipe
from qzhou_eval.recipe.resolution import resolve
from tests.checkpoints import FIVE, MODULE_4, make_qzhou, without_own_module

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


def test_a_module_made_for_transformers_4(qzhou, tmp_path):
    """The mask it makes is not asked for in transformers 5, where the recipe speaks for it."""
    texts = ["fox", "the quick brown fox 天气", "", "how much"]
    folder = make_qzhou(tmp_path / "made-for-4", module=MODULE_4)

    def load(folder, **changes):
        resolved = resolve(open_checkpoint(str(folder)), trust_remote_code=True)
        recipe = replace(resolved.recipe, **changes)
        return load_encoder(resolved.checkpoint, recipe, CPU)

    np.testing.assert_array_equal(load(folder).encode(texts), load(qzhou).encode(texts))
    # No other recipe does, and a recipe that says bidirectional refuses such a model.
    unsaid = load(folder, attention_direction=None).backbone
    causal = attention_direction(unsaid) is AttentionDirection.CAUSAL
    assert causal is FIVE


def test_tokens_are_those_of_the_tokenizers_own_file(qzhou, bert, minilm):
    texts = ["The quick  brown fox's 花呗, 2024 times.", " \t\nx ", "ÀéÎ 　ﬁ <|im_end|> [SEP]", ""]
    for folder in (qzhou, bert, minilm):
        resolved = resolve(open_checkpoint(str(folder)), trust_remote_code=True)
        backbone = load_encoder(resolved.checkpoint, resolved.recipe, CPU).backbone
        plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
        plain.no_padding()
        plain.no_truncation()
        for text in texts:
            assert backbone.tokenizer(text)["input_ids"] == plain.encode(text).ids, folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_model_is_in_the_recipes_dtype(bert, dtype):
    resolved = resolve(open_checkpoint(str(bert)), overrides={"dtype": dtype})
    model = load_encoder(resolved.checkpoint, resolved.recipe, CPU).backbone.model
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}


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


def test_a_batch_that_memory_does_not_hold_is_split_as_the_last_resort(bert, monkeypatch):
    resolved = resolve(open_checkpoint(str(bert)))
    encoder = load_encoder(resolved.checkpoint, resolved.recipe, CPU)
    texts = [f"text number {i} " + "and more " * (i % 7) for i in range(50)]
    expected = encoder.encode(texts)
    original, shapes, transient = Encoder._vectors, [], [True]

    def scarce(self, batch):
        shapes.append(tuple(batch["attention_mask"].shape))
        if transient.pop() if transient else len(batch["attention_mask"]) > 12:
            raise torch.OutOfMemoryError("planted")
        return original(self, batch)

    # Once, and gone when tried again: nothing is split.
    monkeypatch.setattr(Encoder, "_vectors", scarce)
    assert np.array_equal(encoder.encode(texts[:10]), encoder.encode(texts[:10]))
    assert encoder.meter.split_batches == 0
    shapes.clear()
    found = encoder.encode(texts)
    assert np.abs(found - expected).max() < 1e-6
    # 32 in four parts, 18 in two; every part as long as the whole was, every whole tried twice.
    assert encoder.meter.split_batches == 4
    assert {length for _, length in shapes[:8]} == {shapes[0][1]}
    assert [rows for rows, _ in shapes[:4]] == [32, 32, 16, 16]


def test_memory_that_runs_out_is_known_by_its_words():
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize("pooling", ["last_token", "bos_token"])
def test_a_vector_does_not_keep_its_batch_alive(pooling):
    hidden, mask = torch.randn(4, 9, 8), torch.ones(4, 9, dtype=torch.int64)
    for left in (True, False):
        pooled = POOLINGS[Pooling(pooling)](hidden, mask, left)
        assert pooled.untyped_storage().nbytes() == 4 * 8 * 4


def test_a_single_text_that_memory_does_not_hold_says_what_to_do(bert, monkeypatch):
    resolved = resolve(open_checkpoint(str(bert)))
    encoder = load_encoder(resolved.checkpoint, resolved.recipe, CPU)

    def none(self, batch):
        raise torch.OutOfMemoryError("planted")

    monkeypatch.setattr(Encoder, "_vectors", none)
    with pytest.raises(UserError, match=r"single text of 3 tokens: a smaller --max-length"):
        encoder.encode(["dog"])


def test_tokenization_ahead_keeps_order_and_raises_what_it_meets():
    assert list(ahead(lambda n: n * n, range(20), depth=3)) == [n * n for n in range(20)]
    assert list(ahead(str, [], depth=3)) == []
    started = []

    def broken(number):
        started.append(number)
        return 1 // (number - 4)

    results = ahead(broken, range(100), depth=2)
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert max(started) <= 4 + 2 + 1
