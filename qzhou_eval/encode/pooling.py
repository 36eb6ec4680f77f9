"""Pooling: a batch's token vectors to one vector a text.

Every function takes ``hidden`` (batch, length, width) and ``mask`` (batch, length; 1 on a
text's own tokens, which stand together at the right end when `left` padding is used and at the
left end otherwise) and returns (batch, width). The mask is best left on the CPU, where reading it
does not wait for the device.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qzhou_eval.recipe.choices import Pooling


def mean(hidden: Tensor, mask: Tensor, left: bool) -> Tensor:
    """Sum of a text's token vectors divided by their number, in the dtype of `hidden`.

    One row at a time, as published: a sum over the padded row adds the same numbers in another
    grouping and differs in the last bit. The divisor stays a tensor for the same reason: in half
    precision it is rounded (257 tokens divide by 256), a Python number is not.
    """
    lengths = mask.sum(dim=-1)
    divisors = lengths.to(hidden.device, non_blocking=True)
    rows = []
    for row, length, count in zip(hidden, divisors, lengths.tolist(), strict=True):
        own = row[-count:] if left else row[:count]
        rows.append(own.sum(dim=0) / length)
    return torch.stack(rows)


def weighted_mean(hidden: Tensor, mask: Tensor, left: bool) -> Tensor:
    """Mean weighted by position: token i of L weighs i / (1 + ... + L).

    The weights are float32, so a half-precision `hidden` is promoted and the result is float32:
    that is what the published procedure computes.
    """
    mask = mask.to(hidden.device, non_blocking=True)
    weights = mask.cumsum(dim=-1).to(torch.float32) * mask
    # The sum is a whole number below 2**24 for any real length: exact in float32.
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-9)
    return torch.sum(hidden * weights.unsqueeze(-1), dim=1)


def last_token(hidden: Tensor, mask: Tensor, left: bool) -> Tensor:
    """The vector of the text's last token."""
    if left:
        return hidden[:, -1].clone()  # not a view, which would keep all of `hidden`
    return _at(hidden, mask.sum(dim=-1) - 1)


def bos_token(hidden: Tensor, mask: Tensor, left: bool) -> Tensor:
    """The vector of the text's first token."""
    if not left:
        return hidden[:, 0].clone()
    return _at(hidden, mask.shape[1] - mask.sum(dim=-1))


def _at(hidden: Tensor, positions: Tensor) -> Tensor:
    """The vector at one position of each text."""
    rows = torch.arange(len(hidden), device=hidden.device)
    return hidden[rows, positions.to(hidden.device, non_blocking=True)]


POOLINGS: dict[Pooling, Callable[[Tensor, Tensor, bool], Tensor]] = {
    Pooling.MEAN: mean,
    Pooling.WEIGHTED_MEAN: weighted_mean,
    Pooling.LAST_TOKEN: last_token,
    Pooling.BOS_TOKEN: bos_token,
}
