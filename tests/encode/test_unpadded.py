"""The kernels that a GPU runs, held against the one for CPUs.

No GPU is needed: what torch hands to its flash kernel is caught at the operator and computed
plainly, text by text.
"""

import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from qzhou_eval.encode import unpadded
from qzhou_eval.encode.encoder import load_encoder
from qzhou_eval.encode.fast import Layout, fast_encoder
from qzhou_eval.encode.unpadded import (
    attend,
    boundaries,
    by_length,
    flash,
    flash_attention,
    kernel_for,
    packaged,
    varlen,
    varlen_parameters,
    within,
)
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.resolution import resolve
from tests.checkpoints import FIVE

CPU, GPU = torch.device("cpu"), torch.device("cuda")
LENGTHS = [7, 5, 5, 1]


@pytest.fixture
def flash_kernel():
    """Let CPUs compute what torch asks its flash kernel for; yields what was asked for."""
    calls = []

    def forward(
        query,
        key,
        value,
        cum_seq_q,
        cum_seq_k,
        max_q,
        max_k,
        dropout_p,
        is_causal,
        return_debug_mask,
        *,
        scale=None,
        window_size_left=None,
        window_size_right=None,
        **others,
    ):
        calls.append({"key": key, "is_causal": is_causal})
        assert cum_seq_q.dtype == cum_seq_k.dtype == torch.int32
        assert max_q == max_k == int(cum_seq_q.diff().max())
        assert dropout_p == 0
        assert (window_size_left, window_size_right) in (
            (None, None),
            (-1, -1),
            *([(-1, 0)] if is_causal else []),
        )
        assert not any(other is not None for other in others.values())
        parts = []
        for start, end in pairwise(cum_seq_q.tolist()):
            rows = [states[start:end].transpose(0, 1)[None] for states in (query, key, value)]
            own = scaled_dot_product_attention(
                *rows, is_causal=is_causal, scale=scale, enable_gqa=query.shape != key.shape
            )
            parts.append(own[0].transpose(0, 1))
        nothing = torch.zeros(1)
        return torch.cat(parts), nothing, nothing, nothing, nothing

    with torch.library._scoped_library("aten", "IMPL") as library:
        library.impl("_flash_attention_forward", forward, "CPU")
        yield calls


@pytest.fixture(autouse=True)
def fresh():
    """Ask anew what this torch's variable-length attention takes."""
    for cached in (varlen_parameters, flash_attention):
        cached.cache_clear()
    yield
    for cached in (varlen_parameters, flash_attention):
        cached.cache_clear()


@pytest.fixture
def public():
    """Torch's own variable-length attention."""
    return pytest.importorskip("torch.nn.attention.varlen", reason="from torch 2.10 on")


def states(key_heads):
    torch.manual_seed(0)
    total = sum(LENGTHS)
    return [torch.randn(total, heads, 8) for heads in (4, key_heads, key_heads)]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("name", ["flash", "varlen"])
def test_kernels_agree(request, flash_kernel, name, scale, key_heads, causal):
    if name == "varlen":
        request.getfixturevalue("public")
    bounds = boundaries(LENGTHS, CPU, causal)
    expected = by_length(*states(key_heads), bounds, scale)
    with torch.no_grad():
        found = {"flash": flash, "varlen": varlen}[name](*states(key_heads), bounds, scale)
    torch.testing.assert_close(found, expected)
    [call] = flash_kernel
    assert call["is_causal"] is causal
    if name == "flash" or "enable_gqa" in varlen_parameters():
        assert call["key"].shape[1] == key_heads, "the kernel shares keys among queries by itself"


def test_grouped_queries_where_torch_does_not_know_them(public, flash_kernel, monkeypatch):
    """As in torch 2.11."""
    monkeypatch.setattr(unpadded, "varlen_parameters", lambda: frozenset({"scale", "window_size"}))
    bounds = boundaries(LENGTHS, CPU, True)
    expected = by_length(*states(2), bounds, None)
    with torch.no_grad():
        found = varlen(*states(2), bounds, None)
    torch.testing.assert_close(found, expected)
    assert flash_kernel[0]["key"].shape[1] == 4


@pytest.mark.parametrize(
    ("function", "kernel"),
    [
        (lambda query, *, scale=None, window_size=(-1, -1): query, varlen),
        (lambda query, is_causal=False, scale=None: query, flash),  # as in torch 2.10
    ],
)
def test_the_public_attention_is_used_where_it_takes_a_window(monkeypatch, function, kernel):
    module = SimpleNamespace(varlen_attn=function)
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", module)
    assert kernel_for(GPU, torch.bfloat16) is kernel
    assert kernel_for(GPU, torch.float32) is kernel_for(CPU, torch.bfloat16) is by_length


def test_a_torch_without_the_public_attention(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)
    assert kernel_for(GPU, torch.float16) is flash


def test_this_torchs_own_choice(public):
    expected = flash if torch.__version__.startswith("2.10.") else varlen
    assert kernel_for(GPU, torch.bfloat16) is expected


@pytest.mark.parametrize("name", ["flash", "varlen"])
@pytest.mark.parametrize("shape", ["qzhou", "bert"])
def test_a_whole_model_through_the_kernels(request, flash_kernel, shape, name, monkeypatch):
    if name == "varlen":
        request.getfixturevalue("public")
    if shape == "bert" and not FIVE:
        pytest.skip("BERT's attention cannot be put in before transformers 5")
    texts = ["the quick brown fox", "天气", "", "jumps over the lazy dog " * 9]
    checkpoint = open_checkpoint(str(request.getfixturevalue(shape)))
    overrides = {"dtype": "float32"}
    resolved = resolve(checkpoint, overrides=overrides, trust_remote_code=True)
    strict = load_encoder(resolved.checkpoint, resolved.recipe, CPU)
    expected = strict.encode(texts)
    kernel = {"flash": flash, "varlen": varlen}[name]
    monkeypatch.setattr(unpadded, "kernel_for", lambda device, dtype: kernel)
    choice = fast_encoder(strict)
    found = choice.encoder.encode(texts)
    assert choice.encoder.layout is Layout.UNPADDED, choice.reason
    assert np.abs(expected - found).max() <= 1e-5
    assert flash_kernel


@pytest.mark.parametrize("name", ["position_bias", "softcap", "s_aux"])
def test_attention_that_is_not_done_is_refused(name):
    rows = [part.transpose(0, 1)[None] for part in states(4)]
    with within(boundaries(LENGTHS, CPU, False)):
        attend(torch.nn.Identity(), *rows, None, is_causal=False, position_ids=None, **{name: None})
        with pytest.raises(ValueError, match=name):
            attend(torch.nn.Identity(), *rows, None, **{name: torch.ones(1)})


def test_a_window_is_refused_only_where_a_text_is_longer():
    rows = [part.transpose(0, 1)[None] for part in states(4)]
    with within(boundaries(LENGTHS, CPU, True)):
        attend(torch.nn.Identity(), *rows, None, sliding_window=max(LENGTHS))
        with pytest.raises(ValueError, match="slides over 6 tokens"):
            attend(torch.nn.Identity(), *rows, None, sliding_window=6)


@pytest.mark.parametrize("pair", [False, True], ids=["second generation", "third"])
def test_an_installed_package_is_used(monkeypatch, pair):
    asked = []

    def function(query, key, value, starts, ends, longest, other, *, softmax_scale, causal):
        asked.append((starts.tolist(), longest, causal))
        assert starts is ends
        assert longest == other
        found = by_length(query, key, value, boundaries(LENGTHS, CPU, causal), softmax_scale)
        return (found, None) if pair else found

    module = SimpleNamespace(flash_attn_varlen_func=function)
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    assert kernel_for(GPU, torch.bfloat16) is packaged
    assert kernel_for(GPU, torch.float32) is by_length
    for causal in (True, False):
        bounds = boundaries(LENGTHS, CPU, causal)
        torch.testing.assert_close(
            packaged(*states(2), bounds, 0.3), by_length(*states(2), bounds, 0.3)
        )
    assert asked == [([0, 7, 12, 17, 18], 7, True), ([0, 7, 12, 17, 18], 7, False)]


def test_a_package_that_does_not_load_is_none(monkeypatch, tmp_path):
    (tmp_path / "flash_attn.py").write_text("raise ImportError('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "flash_attn", raising=False)
    assert flash_attention() is None
    assert kernel_for(GPU, torch.bfloat16) is not packaged
