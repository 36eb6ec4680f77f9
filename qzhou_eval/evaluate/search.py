"""Exact dense search over a corpus that arrives chunk by chunk, in tiles of bounded size.

Similarity, document order and rules for ties are those of mteb 1.38.30's dense search: cosine in
float32, the best `depth` documents of a query, of two equal ones the one that was added first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qzhou_eval.encode.encoder import out_of_memory, release_memory
from qzhou_eval.encode.vectors import Vectors

TILE_ELEMENTS = 32 * 2**20
"""Most similarities held at a time: 128 MiB in float32."""
TILE_QUERIES = 256
"""Fewest queries of a tile, where there are as many. A product of fewer rows than that may round
otherwise than mteb's, which multiplies all queries at once."""
ROWS = 1024
"""Queries whose findings are merged at a time."""
LOW = 2**31 - 1
"""All bits of a key's lower half, where the document's number stands, but the sign."""
KEPT_BYTES = 5 * 2**30
"""Memory for the corpus's vectors, which are kept for `Ranking.as_mteb`; those of a larger corpus
are not. All corpora of both suites fit at 4,096 dimensions."""
SAMPLE = 16
"""One in so many scores is looked at to tell which can be among the best."""

Pairs = list[tuple[float, int]]
"""Scores and numbers of documents."""


@dataclass(frozen=True)
class Ranking:
    """The best documents of every query, the best first.

    Attributes:
        scores: Cosine similarities, (queries, depth), float32.
        documents: Numbers of the documents in the order they were added, (queries, depth), int32.
        cut_tied: Whether the last document's score is also that of one left out, (queries,).
        search: The search, if it has kept the corpus's vectors.
        rounding: Scores no further apart than that count as equal: another device's products might
            have them the other way round.
    """

    scores: NDArray[np.float32]
    documents: NDArray[np.int32]
    cut_tied: NDArray[np.bool_]
    search: Search | None
    rounding: float = 0.0

    def as_mteb(self, queries: Sequence[int]) -> list[Pairs]:
        """Return the queries' scores and documents in the order of mteb's result.

        mteb collects results in a heap and never sorts them, so where equal scores stand in the
        way, what counts as the earlier document is the heap's layout. Its mean reciprocal rank
        depends on it. For queries with such a tie the heap is filled here as mteb fills it. Without
        the corpus's vectors, equal documents come in the order in which they were added.
        """
        depth = self.scores.shape[1]
        if self.search is None or not queries:
            return [
                list(zip(self.scores[query].tolist(), self.documents[query].tolist(), strict=True))
                for query in queries
            ]
        heaps: list[Pairs] = []
        for some in tiles(len(queries), ROWS):
            filled: list[Pairs] = [[] for _ in queries[some]]
            for found in self.search.found_again(queries[some]):
                for heap, pairs in zip(filled, found, strict=True):
                    for score, document in pairs:
                        # Documents are numbered against the order of their names: mteb's larger
                        # name is the lower number.
                        push = heapq.heappush if len(heap) < depth else heapq.heappushpop
                        push(heap, (score, -document))
            heaps += [[(score, -document) for score, document in heap] for heap in filled]
        return heaps


@dataclass
class Search:
    """A search under way: queries that are given once, documents that are added in order.

    Attributes:
        queries: (queries, width), float32.
        depth: Documents to find for each query.
        device: Where products are computed; the CPU takes over where its memory does not suffice.
        rounding: See `Ranking`.
    """

    queries: Vectors
    depth: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rounding: float = 0.0

    def __post_init__(self) -> None:
        count = len(self.queries)
        self._documents = 0
        # The best so far, in no order; see `keys`.
        self._best = torch.empty(count, 0, dtype=torch.int64)
        self._kept: list[Vectors] | None = []
        self._unit = normalized(torch.from_numpy(self.queries))

    def add(self, documents: Vectors) -> None:
        """Search `documents`, (documents, width), float32: the next ones of the corpus."""
        if not len(documents):
            return
        scores, numbers = self._found(documents)
        self._keep(documents)
        best = []
        for rows in tiles(len(self.queries), ROWS):
            own = torch.cat([self._best[rows], keys(scores[rows], numbers[rows])], dim=1)
            if own.shape[1] > self.depth + 1:
                # One more than wanted, to see where equal scores are cut apart.
                own = own.topk(self.depth + 1, dim=1, sorted=False).values
            best.append(own)
        self._best = torch.cat(best)
        self._documents += len(documents)

    def ranking(self) -> Ranking:
        """Return the best documents of what has been added so far."""
        count, found = self._best.shape
        scores = np.empty((count, found), dtype=np.float32)
        numbers = np.empty((count, found), dtype=np.int32)
        for rows in tiles(count, ROWS):
            own = self._best[rows].sort(dim=1, descending=True).values
            scores[rows], numbers[rows] = (part.numpy() for part in taken_apart(own))
        depth = self.depth
        tied = np.zeros(count, dtype=bool)
        if found > depth:
            tied = scores[:, depth - 1] - scores[:, depth] <= self.rounding
        search = None if self._kept is None else self
        return Ranking(scores[:, :depth], numbers[:, :depth], tied, search, self.rounding)

    def found_again(self, queries: Sequence[int]) -> Iterator[list[Pairs]]:
        """Search every chunk for some of the queries again, in mteb's own way.

        Yields:
            For each chunk the best documents of each of `queries`, in torch.topk's order.
        """
        # In company, so that the products round as those of all queries at once.
        own = set(queries)
        company = (query for query in range(len(self.queries)) if query not in own)
        fill = TILE_QUERIES - len(queries)
        rows = torch.tensor([*queries, *islice(company, max(0, fill))])
        before = 0
        for documents in self._kept or ():
            products = Products(documents, torch.device("cpu"))
            count = min(self.depth + 1, len(documents))
            found: list[Pairs] = []
            for some in tiles(len(rows), max(TILE_QUERIES, TILE_ELEMENTS // len(documents))):
                scores, places = products.top(self._unit[rows[some]], count, as_mteb=True)
                both = zip(scores.tolist(), (places + before).tolist(), strict=True)
                found += [list(zip(*pair, strict=True)) for pair in both]
            yield found[: len(queries)]
            before += len(documents)

    def _keep(self, documents: Vectors) -> None:
        if self._kept is not None:
            self._kept.append(documents)
            if sum(own.nbytes for own in self._kept) > KEPT_BYTES:
                self._kept = None

    def _found(self, documents: Vectors) -> tuple[Tensor, Tensor]:
        """Scores and numbers of the best of `documents`, in no order."""
        count = min(self.depth + 1, len(documents))  # one more than wanted, as mteb takes
        scores = torch.empty(len(self.queries), count)
        numbers = torch.empty(len(self.queries), count, dtype=torch.int32)
        most = max(TILE_QUERIES, TILE_ELEMENTS // len(documents))
        products: Products | None = None
        device = self.device
        for rows in tiles(len(self._unit), most):
            try:
                products = products or Products(documents, device)
                top, places = products.top(self._unit[rows], count)
            except RuntimeError as error:
                if device.type == "cpu" or not out_of_memory(error):
                    raise
                products, device = None, torch.device("cpu")
            if products is None:
                # The model has the GPU's memory. mteb, too, computes these on the CPU.
                release_memory(self.device)
                products = Products(documents, device)
                top, places = products.top(self._unit[rows], count)
            scores[rows] = top.cpu()
            numbers[rows] = (places + self._documents).cpu().to(torch.int32)
        return scores, numbers


class Products:
    """Products of queries with one chunk of documents, in float32."""

    def __init__(self, documents: Vectors, device: torch.device) -> None:
        """Put `documents`, (documents, width), on `device`, at unit length."""
        self._documents = normalized(torch.from_numpy(documents).to(device))
        self._buffer = torch.empty(0, device=device)

    def top(self, queries: Tensor, count: int, *, as_mteb: bool = False) -> tuple[Tensor, Tensor]:
        """Return scores and places of the best `count` documents of each query, in no order.

        With `as_mteb`, in that in which torch.topk leaves them.
        """
        shape = (len(queries), len(self._documents))
        if self._buffer.numel() < shape[0] * shape[1]:
            # Kept from tile to tile: fresh memory of this size costs more than the top-k.
            self._buffer = self._buffer.new_empty(shape[0] * shape[1])
        scores = self._buffer[: shape[0] * shape[1]].view(shape)
        torch.mm(queries.to(scores.device), self._documents.T, out=scores)
        if scores.device.type == "cpu" and not as_mteb and shape[1] >= 2 * SAMPLE * count:
            return sifted_top(scores, count)
        top, places = torch.topk(scores, count, dim=1, largest=True, sorted=False)
        return top, places


def sifted_top(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the best `count` of every row and their places, in no order, on the CPU.

    A sample of a row tells a score that some more than `count` of the row reach; the others are
    sifted out in one pass, which leaves torch.topk little to do.

    Args:
        scores: (rows, columns), float32.
        count: How many of each row; columns are many times as many.
    """
    sample = scores[:, ::SAMPLE].contiguous()
    enough = 5 * count // (4 * SAMPLE) + 20
    bars = sample.topk(enough, dim=1, sorted=False).values.min(dim=1).values
    columns = scores.shape[1]
    flat = np.flatnonzero((scores >= bars[:, None]).numpy())
    rows = flat // columns
    counts = np.bincount(rows, minlength=len(scores))
    within = np.arange(len(flat)) - (np.cumsum(counts) - counts)[rows]
    left = np.full((len(scores), int(counts.max())), -np.inf, dtype=np.float32)
    places = np.zeros(left.shape, dtype=np.int64)
    left[rows, within] = scores.numpy().reshape(-1)[flat]
    places[rows, within] = flat - rows * columns
    short = np.flatnonzero(counts < count)
    if len(short) == len(scores) or left.shape[1] < count:
        whole, where = scores.topk(count, dim=1, sorted=False)
        return whole, where
    top, order = torch.from_numpy(left).topk(count, dim=1, sorted=False)
    found = torch.from_numpy(places).gather(1, order)
    if len(short):  # the sample was not like the row
        top[short], found[short] = scores[short].topk(count, dim=1, sorted=False)
    return top, found


def keys(scores: Tensor, numbers: Tensor) -> Tensor:
    """Join score and number of documents into one key each, which sorts as mteb ranks them.

    Args:
        scores: float32, none of them NaN.
        numbers: int32, of the same shape.

    Returns:
        int64: the larger the better; of equal scores, the lower number is the better.
    """
    bits = (scores + 0.0).view(torch.int32)  # -0.0, which equals 0.0, becomes it
    ordered = bits ^ ((bits >> 31) & LOW)
    joined: Tensor = (ordered.to(torch.int64) << 32) | (LOW - numbers)
    return joined


def taken_apart(joined: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores and numbers of `keys`."""
    ordered = (joined >> 32).to(torch.int32)
    bits: Tensor = ordered ^ ((ordered >> 31) & LOW)
    return bits.view(torch.float32), (LOW - (joined & 0xFFFFFFFF)).to(torch.int32)


def normalized(vectors: Tensor) -> Tensor:
    """Return `vectors` at length 1, as mteb's cosine makes them."""
    return torch.nn.functional.normalize(vectors, p=2, dim=1)


def tiles(count: int, most: int) -> Iterator[slice]:
    """Yield slices of about equal size, none larger than `most`, that cover `count` rows."""
    pieces = max(1, -(-count // most))
    for piece in range(pieces):
        yield slice(count * piece // pieces, count * (piece + 1) // pieces)
