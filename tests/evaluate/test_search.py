"""Search and retrieval metrics, held against mteb 1.38.30's own on the same vectors."""

import math

import numpy as np
import pytest
import torch
from mteb.evaluation.evaluators.RetrievalEvaluator import (
    DenseRetrievalExactSearch,
    DRESModel,
    RetrievalEvaluator,
)

from qzhou_eval.evaluate import search as search_module
from qzhou_eval.evaluate.mteb1 import retrieval
from qzhou_eval.evaluate.retrieval_metrics import CUTS
from qzhou_eval.evaluate.search import Search, keys, sifted_top, taken_apart, tiles


class Case:
    """Vectors, names and judgements of a small search, many of its documents equal."""

    def __init__(self, queries, documents, width, seed, *, distinct=None, chunk=1000):
        rng = np.random.default_rng(seed)
        self.chunk = chunk
        self.query_vectors = rng.standard_normal((queries, width)).astype(np.float32)
        kinds = rng.standard_normal((distinct or documents, width)).astype(np.float32)
        which = rng.integers(0, len(kinds), documents) if distinct else np.arange(documents)
        vectors = kinds[which]
        # Names whose order is not that of numbers, and which some queries share.
        self.names = [f"d{n}" for n in rng.permutation(documents)]
        self.vectors = dict(zip(self.names, vectors, strict=True))
        self.queries = [f"d{n}" if n % 2 else f"q{n}" for n in range(queries)]
        self.relevant = {}
        for query, own in zip(self.queries, self.query_vectors, strict=True):
            near = np.argsort(-(vectors @ own))[:50]
            some = {self.names[i]: int(rng.integers(0, 4)) for i in rng.choice(near, 3)}
            far = {self.names[i]: 1 for i in rng.integers(0, documents, 2)}
            self.relevant[query] = {**far, **some, "not in the corpus": 1}

    def encode(self, texts, prompt_type=None, **_):
        if prompt_type.value == "query":
            return self.query_vectors
        return np.array([self.vectors[text] for text in texts])

    def by_mteb(self, without_own):
        dense = DenseRetrievalExactSearch(
            DRESModel(self), encode_kwargs={"batch_size": 32}, corpus_chunk_size=self.chunk
        )
        corpus = {name: name for name in self.names}
        found = dense.search(corpus, {name: name for name in self.queries}, max(CUTS), "task")
        *means, naucs = RetrievalEvaluator.evaluate(self.relevant, found, list(CUTS), without_own)
        mrr, mrr_naucs = RetrievalEvaluator.evaluate_custom(self.relevant, found, list(CUTS), "mrr")
        scores = {}
        for mean in (*means, mrr, naucs, mrr_naucs):
            for key, value in mean.items():
                name = key.replace("@", "_at_").replace("_P", "_precision").lower()
                scores["precision" + name[1:] if name.startswith("p_") else name] = value
        return scores

    def by_ours(self, without_own, **options):
        search = Search(self.query_vectors, max(CUTS), **options)
        names = sorted(self.names, reverse=True)
        for start in range(0, len(names), self.chunk):
            search.add(np.array([self.vectors[n] for n in names[start : start + self.chunk]]))
        ranking = search.ranking()
        return retrieval._scores(
            ranking, names, self.queries, self.relevant, without_own, "ndcg_at_10"
        ).scores


def assert_same(ours, theirs, digits=6):
    assert set(ours) == {*theirs, "main_score"}
    for name, value in theirs.items():
        got = ours[name]
        same = math.isnan(value) and math.isnan(got)
        assert same or round(got, digits) == round(value, digits), (name, got, value)


CASES = {
    "several chunks": {"documents": 3500, "width": 24},
    "many equal documents": {"documents": 3500, "width": 24, "distinct": 400},
    "very many equal documents": {"documents": 2500, "width": 8, "distinct": 7},
    "fewer documents than ranks": {"documents": 300, "width": 24, "distinct": 60},
    "two documents": {"documents": 2, "width": 8},
    "one chunk less than its ranks": {"documents": 1400, "width": 16, "distinct": 90, "chunk": 700},
}


@pytest.mark.parametrize("without_own", [False, True], ids=["", "without own"])
@pytest.mark.parametrize("case", CASES)
def test_every_metric_is_mtebs(case, without_own):
    made = Case(60, seed=len(case), **CASES[case])
    assert_same(made.by_ours(without_own), made.by_mteb(without_own))


def test_tiles_do_not_show(monkeypatch):
    made = Case(700, 2100, 24, seed=3, distinct=300)
    whole = made.by_ours(False)
    monkeypatch.setattr(search_module, "TILE_ELEMENTS", 1000)
    assert made.by_ours(False) == whole
    assert_same(whole, made.by_mteb(False))


def test_without_the_corpus_kept_only_ties_can_differ(monkeypatch):
    monkeypatch.setattr(search_module, "KEPT_BYTES", 0)
    made = Case(60, 3500, 24, seed=1)
    assert_same(made.by_ours(False), made.by_mteb(False))
    equal = Case(60, 3500, 24, seed=1, distinct=400)
    ours, theirs = equal.by_ours(False), equal.by_mteb(False)
    for name in ("ndcg_at_10", "map_at_100", "recall_at_100", "precision_at_10"):
        assert ours[name] == theirs[name]


def test_a_gpu_without_memory_leaves_it_to_the_cpu(monkeypatch):
    made = Case(60, 2100, 24, seed=2)
    expected = made.by_ours(False)
    original, asked = search_module.Products, []

    def scarce(documents, device):
        asked.append(device.type)
        if device.type != "cpu":
            raise torch.OutOfMemoryError("planted")
        return original(documents, device)

    monkeypatch.setattr(search_module, "Products", scarce)
    assert made.by_ours(False, device=torch.device("meta")) == expected
    assert asked[:2] == ["meta", "cpu"]


def test_products_that_round_otherwise_are_looked_at_again_where_an_order_hangs_on_them(
    monkeypatch,
):
    original = search_module.Products.top
    noise = np.random.default_rng(0)

    def rounded(self, queries, count, *, as_mteb=False):
        top, places = original(self, queries, count, as_mteb=as_mteb)
        if not as_mteb:  # as another device's
            top = top + torch.from_numpy(noise.uniform(-4e-7, 4e-7, top.shape).astype(np.float32))
        return top, places

    made = Case(
        200, 3500, 3, seed=4, distinct=2500
    )  # so near one another that orders do hang on it
    theirs = made.by_mteb(False)
    monkeypatch.setattr(search_module.Products, "top", rounded)
    ours = made.by_ours(False, rounding=1e-6)
    exact = [name for name in theirs if "nauc" not in name]
    assert all(round(ours[name], 6) == round(theirs[name], 6) for name in exact)
    careless = made.by_ours(False)
    assert any(round(careless[name], 6) != round(theirs[name], 6) for name in exact)


@pytest.mark.parametrize("kind", ["random", "equal", "ascending", "few high", "sample too high"])
def test_sifting_finds_what_topk_finds(kind):
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.standard_normal((30, 4000)).astype(np.float32))
    if kind == "equal":
        scores[::2] = 0.25
    elif kind == "ascending":
        scores = scores.sort(dim=1).values
    elif kind == "few high":
        scores[:, :40] += 100
    elif kind == "sample too high":  # every sixteenth is, and in every other row nothing else
        scores[::2, :: search_module.SAMPLE] += 100
    top, places = sifted_top(scores, 101)
    assert torch.equal(scores.gather(1, places), top)
    assert all(len(set(row)) == 101 for row in places.tolist())
    expected = scores.topk(101, dim=1).values
    assert torch.equal(top.sort(dim=1, descending=True).values, expected)


def test_metrics_are_mtebs_where_most_documents_are_sifted_out():
    made = Case(40, 34_000, 8, seed=9, distinct=3000, chunk=33_000)
    assert_same(made.by_ours(False), made.by_mteb(False))


def test_keys_sort_by_score_then_number_and_come_apart_again():
    scores = torch.tensor([[0.5, -0.5, 0.5, 0.0, -0.0, -1.0, 1e-30, -1e-30]])
    numbers = torch.tensor([[7, 1, 2, 9, 3, 0, 5, 2**31 - 1]], dtype=torch.int32)
    made = keys(scores, numbers)
    back = taken_apart(made)
    assert torch.equal(back[0], scores)
    assert torch.equal(back[1], numbers)
    order = made[0].argsort(descending=True).tolist()
    assert order == sorted(range(8), key=lambda i: (-float(scores[0, i]), int(numbers[0, i])))


@pytest.mark.parametrize(("count", "most"), [(0, 5), (1, 5), (5, 5), (11, 5), (700, 256)])
def test_tiles_cover_every_row_once(count, most):
    pieces = list(tiles(count, most))
    assert [row for piece in pieces for row in range(count)[piece]] == list(range(count))
    sizes = [piece.stop - piece.start for piece in pieces]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
