"""Batches by a token budget: how texts of known lengths share forward passes in fast mode."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SLACK = 0.9
"""Padded batches: a text shorter than this share of the batch's longest starts a new batch, once
the batch is worth a forward pass of its own."""


def by_tokens(
    lengths: NDArray[np.int64], budget: int, *, padded: bool, enough: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Yield batches of indices into `lengths`, longest texts first, every index once.

    The longest first, so that what memory has to hold shows at once.

    Args:
        lengths: Tokens of each text, shape (count,).
        budget: Most tokens of a batch. A text longer than that is a batch of its own.
        padded: Whether shorter texts are filled up to the batch's longest, which then count as
            long; else texts are laid end to end.
        enough: Padded batches: tokens from which on a batch may be closed to save padding.
    """
    order = np.argsort(-lengths, kind="stable")
    start, total = 0, 0
    for position, index in enumerate(order):
        longest, own = int(lengths[order[start]]), int(lengths[index])
        count = position - start
        after = (count + 1) * longest if padded else total + own
        shorter = padded and total >= enough and own < SLACK * longest
        if count and (after > budget or shorter):
            yield order[start:position]
            start, total = position, 0
        total += own
    if start < len(order):
        yield order[start:]
