"""Time dense retrieval's scoring, ours beside mteb 1.38.30's own, on the same vectors.

    python benchmarks/scoring.py                     20,000 queries, 100,000 documents, 3,584 wide
    python benchmarks/scoring.py --width 384         as wide as models that run on a CPU are
    python benchmarks/scoring.py --queries 22812 --documents 118605 --only ours     T2Retrieval

Both run one after the other, each in a process of its own, whose peak memory is read at its end.
Vectors are random, made chunk by chunk from seeds, as an encoder would hand them over; three
relevant documents of each query lie near it. Making them is not timed. "search" is from vectors to
the best 1,000 documents of each query, "metrics" from there to mteb's scores. "product" is the time
of one bare matrix product of all queries with all documents, below which no exact search gets.
nDCG, MAP, MRR, recall and precision at every cut must agree to the digits mteb writes, or the
benchmark fails. A ratio below 1 means that ours lost.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qzhou_eval.encode.vectors import Vectors
from qzhou_eval.environment import deciding_packages, hardware
from qzhou_eval.evaluate.retrieval_metrics import CUTS
from qzhou_eval.files import write_json

RESULTS = Path(__file__).parent / "results"
CHUNK = 50_000
RELEVANT = 3
CONTENDERS = ("mteb", "ours")


class Made:
    """Queries, documents and judgements of one size, the same in every process."""

    def __init__(self, queries: int, documents: int, width: int) -> None:
        self.count, self.width = documents, width
        self.query_vectors = unit(np.random.default_rng(0), queries, width)
        self.names = sorted((f"d{n:07d}" for n in range(documents)), reverse=True)
        self.queries = [f"q{n:06d}" for n in range(queries)]
        rng = np.random.default_rng(1)
        self.near = rng.choice(documents, (queries, RELEVANT), replace=documents < 3 * queries)
        self.relevant = {
            query: {self.names[document]: 1 for document in own}
            for query, own in zip(self.queries, self.near, strict=True)
        }
        self.seconds = 0.0

    def documents(self, start: int) -> Vectors:
        """Vectors of the documents from `start` on, a chunk of them."""
        began = time.perf_counter()
        stop = min(start + CHUNK, self.count)
        vectors = unit(np.random.default_rng(1000 + start), stop - start, self.width)
        rows, ranks = np.nonzero((self.near >= start) & (self.near < stop))
        strength = np.array([0.12, 0.07, 0.05], dtype=np.float32)[ranks][:, None]
        vectors[self.near[rows, ranks] - start] += strength * self.query_vectors[rows]
        self.seconds += time.perf_counter() - began
        return vectors

    def encode(self, texts: list[str], prompt_type: Any = None, **_: Any) -> Vectors:
        """Stand in for a model before mteb; a document's text is its number."""
        return self.query_vectors if prompt_type.value == "query" else self.documents(int(texts[0]))


def unit(rng: np.random.Generator, count: int, width: int) -> Vectors:
    """Random vectors of about unit length."""
    vectors = rng.standard_normal((count, width), dtype=np.float32)
    vectors *= np.float32(width**-0.5)
    return vectors


def bare_product(made: Made) -> float:
    """Seconds of the products of all queries with all documents, scaled up from a part of them."""
    queries = torch.from_numpy(made.query_vectors[:2048])
    documents = torch.from_numpy(made.documents(0)[:16384])
    torch.mm(queries, documents.T)
    started = time.perf_counter()
    torch.mm(queries, documents.T)
    seconds = time.perf_counter() - started
    return seconds * len(made.query_vectors) / len(queries) * made.count / len(documents)


def by_mteb(made: Made) -> dict[str, Any]:
    """Search and score with mteb's own code."""
    from mteb.evaluation.evaluators.RetrievalEvaluator import (
        DenseRetrievalExactSearch,
        DRESModel,
        RetrievalEvaluator,
    )

    dense = DenseRetrievalExactSearch(DRESModel(made), {"batch_size": 32})
    corpus = {name: str(number) for number, name in enumerate(made.names)}
    started = time.perf_counter()
    found = dense.search(corpus, {name: name for name in made.queries}, max(CUTS), "task")
    searched = time.perf_counter()
    means = RetrievalEvaluator.evaluate(made.relevant, found, list(CUTS))[:4]
    mrr = RetrievalEvaluator.evaluate_custom(made.relevant, found, list(CUTS), "mrr")[0]
    scores = {k.lower().replace("p@", "precision@"): v for m in (*means, mrr) for k, v in m.items()}
    scores = {k.replace("maprecision", "map"): v for k, v in scores.items()}
    return measured(made, started, searched, {k.replace("@", "_at_"): v for k, v in scores.items()})


def by_ours(made: Made) -> dict[str, Any]:
    """Search and score with the project's code."""
    from qzhou_eval.evaluate.mteb1 import retrieval
    from qzhou_eval.evaluate.search import Search

    started = time.perf_counter()
    search = Search(made.query_vectors, max(CUTS))
    for start in range(0, made.count, CHUNK):
        search.add(made.documents(start))
    ranking = search.ranking()
    searched = time.perf_counter()
    scores = retrieval._scores(
        ranking, made.names, made.queries, made.relevant, False, "ndcg_at_10"
    ).scores
    return measured(made, started, searched, scores)


def measured(
    made: Made, started: float, searched: float, scores: dict[str, float]
) -> dict[str, Any]:
    """What a contender's process reports."""
    scores = {k: round(v, 6) for k, v in scores.items() if not k.startswith(("nauc", "main"))}
    return {
        "search": round(searched - started - made.seconds, 2),
        "metrics": round(time.perf_counter() - searched, 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "scores": scores,
    }


def main() -> None:
    """Run the contenders and write their table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=3584)
    parser.add_argument("--only", default=",".join(CONTENDERS), help="comma-separated contenders")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size = (arguments.queries, arguments.documents, arguments.width)
    if arguments.contender:
        made = Made(*size)
        own = arguments.contender
        found = by_mteb(made) if own == "mteb" else by_ours(made)
        print(json.dumps(found | {"product": round(bare_product(made), 2)}))
        return
    found = {}
    for contender in arguments.only.split(","):
        command = [sys.executable, __file__, "--contender", contender]
        command += [
            f"--{n}={v}" for n, v in zip(("queries", "documents", "width"), size, strict=True)
        ]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        own = found[contender] = json.loads(run.stdout.splitlines()[-1])
        print(
            f"{contender:<6} search {own['search']:8.2f} s, metrics {own['metrics']:7.2f} s, "
            f"peak {own['peak_gib']:.2f} GiB; the bare product {own['product']:.2f} s"
        )
    equal = len({json.dumps(own["scores"], sort_keys=True) for own in found.values()}) == 1
    ratios = {}
    for contender, own in found.items():
        if contender == "mteb" or "mteb" not in found:
            continue
        mteb = found["mteb"]
        ratios[contender] = {
            "search": round(mteb["search"] / own["search"], 2),
            "all": round((mteb["search"] + mteb["metrics"]) / (own["search"] + own["metrics"]), 2),
        }
        print(
            f"{contender}: {ratios[contender]['search']} x mteb's search, "
            f"{ratios[contender]['all']} x its scoring"
        )
    if len(found) > 1:
        print("metrics agree to the digits mteb writes" if equal else "METRICS DIFFER")
    name = f"scoring-{size[0]}x{size[1]}x{size[2]}-cpu.json"
    write_json(
        arguments.output / name,
        {
            "queries": size[0],
            "documents": size[1],
            "width": size[2],
            "contenders": found,
            "mteb_against": ratios,
            "metrics_agree": equal if len(found) > 1 else None,
            "hardware": hardware(torch.device("cpu")),
            "packages": deciding_packages(),
        },
    )
    if not equal:
        for key, value in found[next(iter(found))]["scores"].items():
            others = [own["scores"].get(key) for own in found.values()]
            if any(other != value for other in others):
                print(key, others)
        sys.exit(1)


if __name__ == "__main__":
    main()
