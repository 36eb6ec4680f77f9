"""Memory and disk that a task takes, roughly."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from qzhou_eval.encode.cost import Shape
from qzhou_eval.encode.fast import CPU_BUDGET, GPU_BUDGET
from qzhou_eval.evaluate.search import KEPT_BYTES
from qzhou_eval.plan.parts import Parts
from qzhou_eval.plan.tokens import Tokens
from qzhou_eval.recipe.choices import Mode
from qzhou_eval.recipe.recipe import Recipe
from qzhou_eval.suite.instructions import Side

FLOAT_BYTES = 4
DOCUMENTS_AT_ONCE = 50_000
"""Documents of a retrieval task whose vectors are searched at a time."""
FOUND = 1_001
"""Documents that retrieval keeps for a query."""
FOUND_BYTES = 64
"""Bytes for each: score and number, in the search and on the way to the metrics."""
TILE_BYTES = 256 * 2**20
"""Similarities that retrieval computes at a time, and what is sorted of them."""
COPIES = 2
"""Vectors are held as they come and once more: put together, normalized or by text."""


class Where(str, Enum):
    """Where a task's data is."""

    FOLDER = "folder"
    """In a folder of datasets: it is only cached."""
    CACHED = "cached"
    """In the hub's cache: no more space is needed."""
    HUB = "hub"
    """On the hub: it is downloaded and cached."""


@dataclass(frozen=True)
class Settings:
    """How a run is made, as far as memory depends on it.

    Attributes:
        mode: How texts are brought through the model.
        batch_size: Texts of a forward pass in strict mode.
        gpu: Whether the device has memory of its own.
    """

    mode: Mode
    batch_size: int
    gpu: bool


def pass_bytes(shape: Shape, recipe: Recipe, total: Tokens, settings: Settings) -> int:
    """Return the memory of a task's largest forward pass, weights left out, in bytes."""
    if settings.mode is Mode.STRICT:
        tokens = settings.batch_size * total.longest
    else:
        tokens = GPU_BUDGET if settings.gpu else CPU_BUDGET
    tokens = max(total.longest, min(tokens, int(total.tokens)))
    return shape.activation_bytes(tokens, recipe.dtype)


def scoring_bytes(task_type: str, width: int, parts: Parts) -> int:
    """Return the main memory for a task's texts, their vectors and the search, in bytes.

    Args:
        task_type: The task's type.
        width: Dimensions of a vector.
        parts: What it has encoded.
    """
    texts = COPIES * parts.stored_bytes
    vector = COPIES * FLOAT_BYTES * width
    if task_type != "Retrieval":
        return int(texts + parts.total.texts * vector)
    queries = parts.sides.get(Side.QUERY, Tokens()).texts
    documents = parts.sides.get(Side.DOCUMENT, Tokens()).texts
    at_once = min(DOCUMENTS_AT_ONCE, documents)
    # Those searched before are kept once, up to a limit.
    before = min((documents - at_once) * FLOAT_BYTES * width, KEPT_BYTES)
    search = queries * FOUND * FOUND_BYTES + TILE_BYTES
    return int(texts + (queries + at_once) * vector + before + search)


def disk_bytes(parts: Parts, where: Where) -> int:
    """Return the disk space a task's data still takes: files, and datasets' cache of their rows.

    Of the splits that count alone; a dataset may have others, which the hub sends along.
    """
    times = {Where.HUB: 2, Where.FOLDER: 1, Where.CACHED: 0}
    return int(times[where] * parts.stored_bytes)
