"""Strict mode against the plainly written protocol: the same bits."""

import random

import numpy as np
import pytest
import torch

from qzhou_eval.encode.encoder import load_encoder
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.resolution import resolve
from tests.encode import reference

PROMPT = "Instruct: Retrieve semantically similar text\nQuery: "
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
POOLINGS = ("mean", "weighted_mean", "last_token", "bos_token")
CPU = torch.device("cpu")


def make_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of many lengths, with empty, one-character and repeated ones among them."""
    rng = random.Random(seed)
    words = "the quick brown fox forest lazy runs into dog 花呗 更换 银行卡 天气 账单 查询"
    texts = [" ".join(rng.choices(words.split(), k=rng.randint(1, 30))) for _ in range(count)]
    texts[::17] = ["" for _ in texts[::17]]
    texts[3::29] = ["x" for _ in texts[3::29]]
    texts[5::31] = ["Null" for _ in texts[5::31]]
    return texts


def long_texts() -> list[str]:
    """Texts on both sides of the limit of 1,024 tokens, and far over it."""
    return ["fox " * n for n in (500, 1000, 1100, 3000)] + ["花呗更换" * 700, "", "a"]


def ours(folder, recipe="", batch_size=32, devices=1, prompt="", texts=(), **overrides):
    checkpoint = open_checkpoint(str(folder))
    resolved = resolve(checkpoint, recipe_name=recipe, overrides=overrides, trust_remote_code=True)
    encoder = load_encoder(resolved.checkpoint, resolved.recipe, CPU, devices)
    return encoder.encode(list(texts), prompt=prompt, batch_size=batch_size)


@pytest.mark.parametrize("prompt", [PROMPT, ""], ids=["prompt", "plain"])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_qzhou_shape_is_bit_identical(qzhou, dtype, pooling, prompt):
    texts = make_texts(70) + long_texts()
    tokenizer, model = reference.load(qzhou, DTYPES[dtype], left=True)
    expected = reference.encode(
        tokenizer, model, texts, prompt=prompt, pooling=pooling, left=True, max_length=1024
    )
    found = ours(qzhou, texts=texts, prompt=prompt, dtype=dtype, pooling=pooling)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_chunks_of_3200_are_sorted_apart(qzhou, dtype):
    texts = make_texts(3500)
    tokenizer, model = reference.load(qzhou, DTYPES[dtype], left=True)
    arguments = {"prompt": "", "pooling": "mean", "left": True, "max_length": 1024}
    expected = reference.encode(tokenizer, model, texts, **arguments)
    np.testing.assert_array_equal(ours(qzhou, texts=texts, dtype=dtype), expected)


def test_device_count_of_the_published_procedure_cuts_smaller_chunks(qzhou):
    texts = make_texts(300)
    tokenizer, model = reference.load(qzhou, torch.bfloat16, left=True)
    arguments = {"prompt": "", "pooling": "mean", "left": True, "max_length": 1024}
    eight = reference.encode(tokenizer, model, texts, devices=8, **arguments)
    np.testing.assert_array_equal(ours(qzhou, texts=texts, devices=8), eight)
    one = reference.encode(tokenizer, model, texts, **arguments)
    assert not np.array_equal(eight, one), "the chunk rule should show in bfloat16's last bits"


@pytest.mark.parametrize(("batch_size", "normalize"), [(1, True), (7, False), (64, True)])
def test_batch_size_and_normalization(qzhou, batch_size, normalize):
    texts = make_texts(100)
    tokenizer, model = reference.load(qzhou, torch.bfloat16, left=True)
    expected = reference.encode(
        tokenizer,
        model,
        texts,
        prompt=PROMPT,
        pooling="mean",
        left=True,
        max_length=1024,
        batch_size=batch_size,
        normalize=normalize,
    )
    found = ours(qzhou, texts=texts, prompt=PROMPT, batch_size=batch_size, normalize=normalize)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_minilm_is_bit_identical(minilm, dtype, pooling):
    texts = make_texts(60) + long_texts()[:2]
    tokenizer, model = reference.load(minilm, DTYPES[dtype], left=False)
    expected = reference.encode(
        tokenizer, model, texts, prompt="", pooling=pooling, left=False, max_length=256
    )
    found = ours(minilm, texts=texts, dtype=dtype, pooling=pooling)
    np.testing.assert_array_equal(found, expected)


def test_minilm_agrees_with_sentence_transformers(minilm):
    library = pytest.importorskip("sentence_transformers", reason="no part of the encoder alone")

    texts = [text for text in make_texts(60) if text]
    expected = library.SentenceTransformer(str(minilm), device="cpu").encode(texts)
    np.testing.assert_allclose(ours(minilm, texts=texts), expected, atol=2e-6)
