"""In what order and company texts go through the model.

In half precision a vector depends, in its last bits, on the batch it was computed in, so the
published order is part of the published protocol.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

MAX_CHUNK = 3200
"""Most texts of a chunk in the published procedure."""


def chunks(count: int, devices: int = 1) -> Iterator[slice]:
    """Yield the slices `count` texts are cut into, in order.

    A chunk holds min(ceil(count / devices), 3200) texts, the last one what is left.

    Args:
        count: Number of texts.
        devices: Number of devices the published procedure would have spread them over.
    """
    size = min(math.ceil(count / devices), MAX_CHUNK)
    for start in range(0, count, max(size, 1)):
        yield slice(start, min(start + size, count))


def longest_first(texts: Sequence[str]) -> NDArray[np.int64]:
    """Return the indices that sort `texts` by length in characters, longest first.

    The length is that of the text as given, without prompt, an empty one counting 0. The sort is
    numpy's default kind: not stable, and its order among equal lengths is part of the protocol.

    Returns:
        Indices, shape (len(texts),).
    """
    return np.argsort(np.array([-len(text) for text in texts], dtype=np.int64))
