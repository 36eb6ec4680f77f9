"""Attention over texts laid end to end, none of them padded.

A decoder or encoder of transformers computes everything but attention position by position, so a
batch may be one long row of tokens as long as position numbers start anew with every text and
attention stays within it. Attention is put in through transformers' own interface for it, which
Qwen2, Qwen3, Llama, Mistral and their like go through, and from transformers 5 on BERT's family.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor, nn

NAME = "qzhou_eval_unpadded"
"""Under which transformers knows the attention function."""
NOT_DONE = ("position_bias", "softcap", "s_aux", "indices", "block_indices")
"""Arguments by which a model asks for another attention than the plain one done here."""


@dataclass(frozen=True)
class Boundaries:
    """Where texts laid end to end begin and end.

    Attributes:
        lengths: Tokens of each text, the longest first.
        cumulative: 0 and the ends, int32, on the device, shape (texts + 1,).
        causal: Whether a token sees only those before it.
    """

    lengths: tuple[int, ...]
    cumulative: Tensor
    causal: bool

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return max(self.lengths)


def boundaries(lengths: list[int], device: torch.device, causal: bool) -> Boundaries:
    """Return the boundaries of texts of these lengths."""
    ends = torch.zeros(len(lengths) + 1, dtype=torch.int32)
    ends[1:] = torch.tensor(lengths).cumsum(0)
    return Boundaries(tuple(lengths), ends.to(device, non_blocking=True), causal)


# What the attention function is to keep apart, while a forward pass runs.
_current: list[Boundaries] = []


@contextmanager
def within(bounds: Boundaries) -> Iterator[None]:
    """Keep attention within `bounds` for the forward passes of this block."""
    _current.append(bounds)
    try:
        yield
    finally:
        _current.pop()


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention in the form transformers calls it.

    Args:
        module: The layer.
        query: (1, heads, tokens, head width).
        key: (1, key heads, tokens, head width); key heads divide heads.
        value: As `key`.
        attention_mask: Not looked at: the boundaries say who sees whom.
        scaling: Factor on the products; by default one over the root of the head width.
        sliding_window: Tokens that the layer looks back over.
        others: Not looked at (is_causal among them: the boundaries have it), but for `NOT_DONE`.

    Returns:
        (1, tokens, heads, head width), and no weights.

    Raises:
        ValueError: the layer wants an attention that is not done here.
    """
    bounds = _current[-1]
    for name in NOT_DONE:
        if others.get(name) is not None:
            raise ValueError(f"its attention takes {name}, which is not done unpadded")
    if sliding_window is not None and sliding_window < bounds.longest:
        raise ValueError(f"its attention slides over {sliding_window} tokens")
    # (tokens, heads, width), as the projections wrote them.
    rows = [states[0].transpose(0, 1) for states in (query, key, value)]
    kernel = kernel_for(query.device, query.dtype)
    return kernel(rows[0], rows[1], rows[2], bounds, scaling)[None], None


Kernel = Callable[[Tensor, Tensor, Tensor, Boundaries, float | None], Tensor]


def kernel_for(device: torch.device, dtype: torch.dtype) -> Kernel:
    """Return the fastest kernel this torch has for `device` and `dtype`."""
    if device.type == "cuda" and dtype in (torch.float16, torch.bfloat16):
        if flash_attention():
            return packaged
        return varlen if varlen_parameters() else flash
    return by_length


def by_length(
    query: Tensor, key: Tensor, value: Tensor, bounds: Boundaries, scaling: float | None
) -> Tensor:
    """Attend with texts of the same length, which stand together, as one unpadded batch each."""
    heads, key_heads = query.shape[1], key.shape[1]
    parts, start = [], 0
    for length, run in groupby(bounds.lengths):
        count = len(list(run))
        end = start + count * length
        own_query, own_key, own_value = (
            states[start:end].view(count, length, *states.shape[1:]).transpose(1, 2)
            for states in (query, key, value)
        )
        own = nn.functional.scaled_dot_product_attention(
            own_query,
            own_key,
            own_value,
            is_causal=bounds.causal,
            scale=scaling,
            enable_gqa=heads != key_heads,
        )
        parts.append(own.transpose(1, 2).flatten(0, 1))
        start = end
    return torch.cat(parts)


def flash(
    query: Tensor, key: Tensor, value: Tensor, bounds: Boundaries, scaling: float | None
) -> Tensor:
    """Attend with the flash kernel that torch ships, from 2.7 on; keys may have fewer heads."""
    longest = bounds.longest
    output: Tensor = torch.ops.aten._flash_attention_forward(
        query,
        key,
        value,
        bounds.cumulative,
        bounds.cumulative,
        longest,
        longest,
        0.0,
        bounds.causal,
        False,
        scale=scaling,
    )[0]
    return output


def varlen(
    query: Tensor, key: Tensor, value: Tensor, bounds: Boundaries, scaling: float | None
) -> Tensor:
    """Attend with torch's public variable-length attention, from torch 2.11 on."""
    from torch.nn.attention.varlen import varlen_attn  # type: ignore[import-not-found]

    options: dict[str, Any] = {"scale": scaling}
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and "enable_gqa" in varlen_parameters():
        options["enable_gqa"] = True
    elif groups > 1:  # torch 2.11 knows no grouped queries here
        key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
    longest = bounds.longest
    output: Tensor = varlen_attn(
        query,
        key,
        value,
        bounds.cumulative,
        bounds.cumulative,
        longest,
        longest,
        # A pair, not a list: torch takes (-1, 0), and nothing else, for causal.
        window_size=(-1, 0) if bounds.causal else (-1, -1),
        **options,
    )
    return output


def packaged(
    query: Tensor, key: Tensor, value: Tensor, bounds: Boundaries, scaling: float | None
) -> Tensor:
    """Attend with an installed flash-attention package; keys may have fewer heads."""
    function = flash_attention()
    assert function is not None
    longest = bounds.longest
    output = function(
        query,
        key,
        value,
        bounds.cumulative,
        bounds.cumulative,
        longest,
        longest,
        softmax_scale=scaling,
        causal=bounds.causal,
    )
    # The third generation gives the sums along with it, as a pair.
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


@cache
def flash_attention() -> Callable[..., Any] | None:
    """Return the variable-length function of an installed flash-attention package, if any.

    Of the third generation, for Hopper GPUs, before the second. One that does not load is as none.
    """
    names = ["flash_attn"]
    if torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0):
        names.insert(0, "flash_attn_interface")
    for name in names:
        try:
            function = getattr(importlib.import_module(name), "flash_attn_varlen_func", None)
        except Exception:  # built for another torch, as often as not
            continue
        if callable(function):
            return cast("Callable[..., Any]", function)
    return None


@cache
def varlen_parameters() -> frozenset[str]:
    """Return what torch's public variable-length attention takes.

    Nothing where there is none, nor for that of torch 2.10, which knows no windows and says causal
    in another way: `flash` serves there.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    names = frozenset(inspect.signature(varlen_attn).parameters)
    return names if {"scale", "window_size"} <= names else frozenset()


def position_numbers(lengths: list[int], model: nn.Module) -> Tensor:
    """Return every token's position in its own text, (tokens,), as `model` counts positions."""
    numbers = torch.cat([torch.arange(length) for length in lengths])
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # RoBERTa's family counts from behind the padding index.
            return numbers + (-1 if module.padding_idx is None else module.padding_idx) + 1
    return numbers


def attend_unpadded(model: Any) -> None:
    """Make `model` attend within the boundaries of `within`, and build no masks.

    Raises:
        ValueError: its attention does not go through transformers' interface.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if not getattr(model, "_supports_attention_backend", False):
        raise ValueError("its attention does not go through transformers' interface")
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    try:
        # transformers 5 asks a function of the same name for the mask.
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    except ImportError:
        model._update_causal_mask = lambda *_, **__: None
    else:
        ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, lambda *_, **__: None)
        if hasattr(model, "_update_causal_mask"):  # a module of the checkpoint's own
            model._update_causal_mask = lambda *_, **__: None
    model.config._attn_implementation = NAME
