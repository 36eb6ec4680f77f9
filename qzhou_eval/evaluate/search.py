"""Exact dense search over a corpus that arrives chunk by chunk, in tiles of bounded size.

Similarity, document order and rules for ties are those of mteb 1.38.30's dense search: cosine in
float32, the best `depth` documents of a query, of two equal ones the one that was added first.
"""

from __future__ import annotations

import gc
import heapq
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qzhou_eval.encode.encoder import Vectors

TILE_ELEMENTS = 32 * 2**20
"""Most similarities held at a time: 128 MiB in float32."""
TILE_QUERIES = 256
"""Fewest queries of a tile, where there are as many. A product of fewer rows than that may round
otherwise than mteb's, which multiplies all queries at once."""
ARRIVALS_BYTES = 2**30
"""Memory for what every chunk's search found, in the order found; see `Ranking.as_mteb`."""


@dataclass(frozen=True)
class Arrivals:
    """What the search of one chunk of documents found, in the order it came out in.

    Attributes:
        scores: (queries, found), float32.
        documents: (queries, found), int32, numbers of the documents over the whole corpus.
    """

    scores: NDArray[np.float32]
    documents: NDArray[np.int32]


@dataclass(frozen=True)
class Ranking:
    """The best documents of every query, the best first.

    Attributes:
        scores: Cosine similarities, (queries, depth), float32.
        documents: Numbers of the documents in the order they were added, (queries, depth), int32.
        cut_tied: Whether the last document's score is also that of one left out, (queries,).
        arrivals: What each chunk's search found; empty where that was too much to keep.
    """

    scores: NDArray[np.float32]
    documents: NDArray[np.int32]
    cut_tied: NDArray[np.bool_]
    arrivals: tuple[Arrivals, ...]

    def as_mteb(self, query: int) -> list[tuple[float, int]]:
        """Return the query's (score, document) pairs in the order of mteb's result.

        mteb collects results in a heap and never sorts them, so where equal scores stand in the
        way, what counts as the earlier document is the heap's layout. Its mean reciprocal rank
        depends on it. For queries with such a tie the heap is filled here as mteb fills it.
        """
        depth = self.scores.shape[1]
        # Documents are numbered against their names' order: mteb's larger name is the lower number.
        heap: list[tuple[float, int]] = []
        for arrivals in self.arrivals:
            scores, documents = arrivals.scores[query].tolist(), arrivals.documents[query].tolist()
            for score, document in zip(scores, documents, strict=True):
                push = heapq.heappush if len(heap) < depth else heapq.heappushpop
                push(heap, (score, -document))
        if not self.arrivals:
            scores, documents = self.scores[query].tolist(), self.documents[query].tolist()
            return list(zip(scores, documents, strict=True))
        return [(score, -document) for score, document in heap]


@dataclass
class Search:
    """A search under way: queries that are given once, documents that are added in order.

    Attributes:
        queries: (queries, width), float32.
        depth: Documents to find for each query.
        device: Where products are computed; the CPU takes over where its memory does not suffice.
        halves: Whether products of vectors that half precision holds exactly may be computed in
            bfloat16 with float32 sums, on CPUs that do that faster. Changes last bits.
    """

    queries: Vectors
    depth: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    halves: bool = False

    def __post_init__(self) -> None:
        count = len(self.queries)
        self._documents = 0
        self._scores = torch.empty(count, 0)
        self._numbers = torch.empty(count, 0, dtype=torch.int32)
        self._arrivals: list[Arrivals] | None = []
        self._given = torch.from_numpy(self.queries)
        self._unit = normalized(self._given)
        self._halved = self.halves and self.device.type == "cpu" and exact_halves(self.queries)

    def add(self, documents: Vectors) -> None:
        """Search `documents`, (documents, width), float32: the next ones of the corpus."""
        if not len(documents):
            return
        found_scores, found_numbers = self._found(documents)
        self._keep(found_scores, found_numbers)
        # By number, then stably by score: of equal ones the first added comes first, and what was
        # found before has the lower numbers.
        best_scores, best_numbers = [], []
        for rows in tiles(len(self.queries), 2048):
            numbers, order = found_numbers[rows].sort(dim=1)
            scores = torch.cat([self._scores[rows], found_scores[rows].gather(1, order)], dim=1)
            numbers = torch.cat([self._numbers[rows], numbers], dim=1)
            scores, order = scores.sort(dim=1, descending=True, stable=True)
            # One more than wanted, to see where equal scores are cut apart.
            best_scores.append(scores[:, : self.depth + 1])
            best_numbers.append(numbers.gather(1, order[:, : self.depth + 1]))
        self._scores, self._numbers = torch.cat(best_scores), torch.cat(best_numbers)
        self._documents += len(documents)

    def ranking(self) -> Ranking:
        """Return the best documents of what has been added so far."""
        scores, numbers, depth = self._scores.numpy(), self._numbers.numpy(), self.depth
        tied = np.zeros(len(scores), dtype=bool)
        if scores.shape[1] > depth:
            tied = scores[:, depth] == scores[:, depth - 1]
        kept = tuple(self._arrivals or ())
        return Ranking(scores[:, :depth], numbers[:, :depth], tied, kept)

    def _keep(self, scores: Tensor, numbers: Tensor) -> None:
        if self._arrivals is None:
            return
        arrivals = Arrivals(scores.numpy(), numbers.numpy())
        size = arrivals.scores.nbytes + arrivals.documents.nbytes
        if size * (len(self._arrivals) + 1) > ARRIVALS_BYTES:
            self._arrivals = None
        else:
            self._arrivals.append(arrivals)

    def _found(self, documents: Vectors) -> tuple[Tensor, Tensor]:
        """Scores and numbers of the best of `documents`, as torch.topk gives them."""
        count = min(self.depth + 1, len(documents))  # one more than wanted, as mteb takes
        scores = torch.empty(len(self.queries), count)
        numbers = torch.empty(len(self.queries), count, dtype=torch.int32)
        halved = self._halved and exact_halves(documents)
        queries = self._given if halved else self._unit
        device = self.device
        products = None
        for rows in tiles(len(queries), max(TILE_QUERIES, TILE_ELEMENTS // len(documents))):
            try:
                products = products or Products(documents, device, halved)
                top, places = products.top(queries[rows], count)
            except torch.OutOfMemoryError:
                if device.type == "cpu":
                    raise
                products, device = None, torch.device("cpu")
            if products is None:
                # The model has the GPU's memory. mteb, too, computes these on the CPU.
                gc.collect()
                torch.cuda.empty_cache()
                products = Products(documents, device, halved)
                top, places = products.top(queries[rows], count)
            scores[rows] = top.cpu()
            numbers[rows] = (places + self._documents).cpu().to(torch.int32)
        if halved:
            scores /= self._given.norm(dim=1, keepdim=True)
        return scores, numbers


class Products:
    """Products of queries with one chunk of documents."""

    def __init__(self, documents: Vectors, device: torch.device, halved: bool) -> None:
        """Put `documents`, (documents, width), on `device`, at unit length.

        With `halved` they stay as they are, so that bfloat16 holds them, and the products are
        divided by their lengths.
        """
        given = torch.from_numpy(documents).to(device)
        self._documents = given if halved else normalized(given)
        self._scale = given.norm(dim=1).reciprocal() if halved else None
        self._buffer = torch.empty(0, device=device)

    def top(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return scores and places of the best `count` documents of each query, unsorted."""
        shape = (len(queries), len(self._documents))
        if self._buffer.numel() < shape[0] * shape[1]:
            # Kept from tile to tile: fresh memory of this size costs more than the top-k.
            self._buffer = self._buffer.new_empty(shape[0] * shape[1])
        scores = self._buffer[: shape[0] * shape[1]].view(shape)
        with halving(self._scale is not None):
            torch.mm(queries.to(scores.device), self._documents.T, out=scores)
        if self._scale is not None:
            scores.mul_(self._scale)
        top, places = torch.topk(scores, count, dim=1, largest=True, sorted=False)
        return top, places


@contextmanager
def halving(wanted: bool) -> Iterator[None]:
    """Let float32 products on the CPU be computed in bfloat16, summed in float32, if `wanted`."""
    before = torch.get_float32_matmul_precision()
    if wanted:
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def normalized(vectors: Tensor) -> Tensor:
    """Return `vectors` at length 1, as mteb's cosine makes them."""
    return torch.nn.functional.normalize(vectors, p=2, dim=1)


def exact_halves(vectors: Vectors) -> bool:
    """Whether bfloat16 holds every number of `vectors` exactly, as it does a bfloat16 model's."""
    # The lower half of every float32, part by part: a mask of all of it would be as large again.
    lower = vectors.view(np.uint16)[:, sys.byteorder == "big" :: 2]
    return not any(lower[rows].any() for rows in tiles(len(lower), 512))


def tiles(count: int, most: int) -> Iterator[slice]:
    """Yield slices of about equal size, none larger than `most`, that cover `count` rows."""
    pieces = max(1, -(-count // most))
    for piece in range(pieces):
        yield slice(count * piece // pieces, count * (piece + 1) // pieces)
