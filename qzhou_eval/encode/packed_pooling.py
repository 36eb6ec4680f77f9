"""Pooling of texts laid end to end, in float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qzhou_eval.recipe.choices import Pooling


def pool_packed(hidden: Tensor, lengths: Sequence[int], pooling: Pooling) -> Tensor:
    """Return one vector a text.

    Args:
        hidden: Token vectors, (tokens, width), float32, text after text.
        lengths: Tokens of each text, their sum `tokens`.
        pooling: How a text's token vectors become one.

    Returns:
        (texts, width), float32.
    """
    counts = torch.tensor(lengths, device=hidden.device)
    ends = counts.cumsum(0)
    if pooling is Pooling.LAST_TOKEN:
        return hidden[ends - 1]
    if pooling is Pooling.BOS_TOKEN:
        return hidden[ends - counts]
    if pooling is Pooling.WEIGHTED_MEAN:
        place = torch.cat([torch.arange(1, n + 1) for n in lengths]).to(hidden)
        totals = (counts * (counts + 1) / 2).to(hidden)
        weighted = hidden * (place / totals.repeat_interleave(counts))[:, None]
        return torch.segment_reduce(weighted, "sum", lengths=counts, axis=0)
    return torch.segment_reduce(hidden, "mean", lengths=counts, axis=0)
