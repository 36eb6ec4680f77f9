"""Fast mode against strict mode: the same vectors up to rounding, whatever the layout."""

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3Model,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from qzhou_eval.encode.batching import by_tokens
from qzhou_eval.encode.encoder import load_encoder
from qzhou_eval.encode.fast import FastEncoder, Layout, distinct, fast_encoder
from qzhou_eval.errors import UserError
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.resolution import resolve
from tests.checkpoints import FIVE, make_model

CPU = torch.device("cpu")
WORDS = ["the", "quick", "brown", "fox", "天气", "jumps", "银行", "over", "查询"]
EXACT = 1e-5
"""Most that a number of the two modes' unit vectors may be apart in float32."""


@pytest.fixture(scope="module")
def texts():
    random = np.random.default_rng(0)
    drawn = [" ".join(random.choice(WORDS, random.integers(1, 90))) for _ in range(120)]
    return [*drawn, "", "x", drawn[0], "x", "the " * 1500]


def load(folder, **overrides):
    resolved = resolve(open_checkpoint(str(folder)), overrides=overrides, trust_remote_code=True)
    return load_encoder(resolved.checkpoint, resolved.recipe, CPU)


def both(folder, texts, *, prompt="Query: ", budget=700, **overrides):
    strict = load(folder, dtype="float32", **overrides)
    expected = strict.encode(texts, prompt=prompt)
    choice = fast_encoder(strict, budget)
    return expected, choice.encoder.encode(texts, prompt=prompt), choice


@pytest.mark.parametrize("pooling", ["mean", "weighted_mean", "last_token", "bos_token"])
def test_bidirectional_unpadded(qzhou, texts, pooling):
    expected, found, choice = both(qzhou, texts, pooling=pooling)
    assert choice.encoder.layout is Layout.UNPADDED
    assert not choice.encoder.causal
    assert np.abs(expected - found).max() <= EXACT
    assert found.dtype == np.float32


SHAPES = {
    "llama": (LlamaModel, LlamaConfig, {}),
    "mistral": (MistralModel, MistralConfig, {"sliding_window": 4096}),
    "qwen2": (Qwen2Model, Qwen2Config, {}),
    "qwen3": (Qwen3Model, Qwen3Config, {"head_dim": 8}),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pooling", ["mean", "last_token"])
def test_causal_unpadded(qzhou, tmp_path, texts, shape, pooling, monkeypatch):
    # transformers keeps a checkpoint's class for the whole architecture once it has run its code.
    monkeypatch.setattr(AutoModel._model_mapping, "_extra_content", {})
    folder = make_model(tmp_path / shape, qzhou, *SHAPES[shape])
    expected, found, choice = both(folder, texts, pooling=pooling)
    assert choice.encoder.layout is Layout.UNPADDED
    assert choice.encoder.causal
    assert np.abs(expected - found).max() <= EXACT


def test_berts_family(bert, minilm, tmp_path, texts):
    """Unpadded from transformers 5 on, which gave its attention the interface."""
    roberta = (XLMRobertaModel, XLMRobertaConfig, {"pad_token_id": 0, "num_key_value_heads": 4})
    for folder in (bert, minilm, make_model(tmp_path / "roberta", bert, *roberta)):
        expected, found, choice = both(folder, texts)
        assert choice.encoder.layout is (Layout.UNPADDED if FIVE else Layout.PADDED), choice.reason
        assert np.abs(expected - found).max() <= EXACT


def test_padded_where_attention_cannot_be_put_in(bert, tmp_path, texts):
    folder = make_model(tmp_path / "mpnet", bert, MPNetModel, MPNetConfig, {"pad_token_id": 0})
    expected, found, choice = both(folder, texts, attention="eager")
    assert choice.encoder.layout is Layout.PADDED
    assert "does not go through transformers' interface" in choice.reason
    assert np.abs(expected - found).max() <= EXACT


def test_a_sliding_window_shorter_than_the_texts_is_padded(qzhou, tmp_path, texts):
    shape = (MistralModel, MistralConfig, {"sliding_window": 64})
    folder = make_model(tmp_path / "sliding", qzhou, *shape)
    expected, found, choice = both(folder, texts, pooling="last_token")
    assert choice.reason == "padded, because attention slides over 64 tokens"
    assert np.abs(expected - found).max() <= EXACT


def test_layers_that_slide_are_padded(bert, tmp_path, texts):
    values = {"local_attention": 16, "global_attn_every_n_layers": 2, "pad_token_id": 0}
    folder = make_model(tmp_path / "modern", bert, ModernBertModel, ModernBertConfig, values)
    expected, found, choice = both(folder, texts)
    assert choice.encoder.layout is Layout.PADDED
    assert np.abs(expected - found).max() <= EXACT


def test_unpadded_vectors_that_are_not_strict_ones_are_not_used(qzhou, texts, monkeypatch):
    from qzhou_eval.encode import fast

    wrong = fast.attention_direction
    monkeypatch.setattr(fast, "attention_direction", lambda backbone: flipped(wrong(backbone)))
    expected, found, choice = both(qzhou, texts)
    assert choice.encoder.layout is Layout.PADDED
    assert "from strict ones" in choice.reason
    assert np.abs(expected - found).max() <= EXACT  # and the model is as it was before


def flipped(direction):
    return next(other for other in type(direction) if other is not direction)


def test_each_string_is_encoded_once(qzhou, monkeypatch):
    encoder = fast_encoder(load(qzhou)).encoder
    rows = []
    original = FastEncoder._forward
    monkeypatch.setattr(
        FastEncoder, "_forward", lambda self, ids: rows.append(len(ids)) or original(self, ids)
    )
    vectors = encoder.encode(["a", "b", "a", "", "Null", "a"])
    assert sum(rows) == 3
    assert (vectors[0] == vectors[2]).all()
    assert (vectors[3] == vectors[4]).all()
    assert encoder.meter.texts == 6


def test_running_out_of_memory_halves_the_budget_and_goes_on(qzhou, texts, monkeypatch):
    strict = load(qzhou, dtype="float32")
    expected = strict.encode(texts)
    encoder = fast_encoder(strict, 4000).encoder
    original, most = FastEncoder._forward, 1100

    def limited(self, ids):
        if sum(map(len, ids)) > most:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, ids)

    monkeypatch.setattr(FastEncoder, "_forward", limited)
    assert np.abs(expected - encoder.encode(texts)).max() <= EXACT
    # As far as it takes and no further, though several batches were planned at the old size.
    assert most // 2 - 60 <= encoder.budget <= most
    learned = encoder.budget
    encoder.encode(texts)
    assert encoder.budget == learned
    most = 10
    with pytest.raises(UserError, match="out of memory with a single text of"):
        encoder.encode(texts)


@pytest.mark.parametrize("padded", [True, False])
def test_batches_keep_the_budget_and_lose_nothing(padded):
    lengths = np.random.default_rng(1).integers(1, 300, 500)
    batches = list(by_tokens(lengths, 1000, padded=padded, enough=300))
    assert sorted(np.concatenate(batches)) == list(range(500))
    for batch in batches:
        own = lengths[batch]
        assert list(own) == sorted(own, reverse=True)
        assert (len(own) * own[0] if padded else own.sum()) <= 1000
    if padded:
        filled = sum(len(b) * lengths[b].max() for b in batches)
        assert filled <= 1.12 * lengths.sum()


def test_a_text_longer_than_the_budget_goes_alone():
    lengths = np.array([5, 2000, 7])
    assert [list(b) for b in by_tokens(lengths, 100, padded=False)] == [[1], [2, 0]]
    assert list(by_tokens(np.array([], dtype=np.int64), 100, padded=True)) == []


def test_distinct():
    strings, places = distinct(["b", "a", "b"])
    assert (strings, list(places)) == (["b", "a"], [0, 1, 0])
