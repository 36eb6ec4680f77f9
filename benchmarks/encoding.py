"""Time four ways of encoding the same real texts, side by side, and hold them to the machine.

    python benchmarks/encoding.py --datasets-dir ../shared/datasets

The four: fast and strict mode, sentence-transformers' own `encode` at its defaults, and the
published procedure with the start of its processes (`published_procedure.py`). Every repetition
runs all of them one after the other, each time beginning with another, and ratios are of the same
repetition, so that a machine that slows down slows all of them. So is the share of the machine's
matrix products (`ceiling.py`), which are measured within every repetition.

The published procedure must give the bits of strict mode; else nothing is reported. Writes
``encoding-<device>.json`` with hardware and versions. A ratio below 1 means that the first lost.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ceiling import linear_layers, operations, own_products, time_spent
from numpy.typing import NDArray
from published_procedure import PublishedProcedure
from texts import Texts, distributions

from qzhou_eval.cli.demo import packaged_model
from qzhou_eval.encode.cost import matrix_ceiling, read_shape
from qzhou_eval.encode.device import TORCH_DTYPES, choose_device
from qzhou_eval.encode.encoder import Encoder, load_encoder
from qzhou_eval.encode.fast import Choice, fast_encoder
from qzhou_eval.environment import hardware, package_versions
from qzhou_eval.files import write_json
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.resolution import ResolvedRecipe, resolve

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "sentence-transformers", "tokenizers", "torch", "transformers")
FAST, STRICT = "fast", "strict"
SENTENCE_TRANSFORMERS, PUBLISHED = "sentence-transformers", "published procedure"
PAIRS = (
    (FAST, SENTENCE_TRANSFORMERS),
    (FAST, STRICT),
    (FAST, PUBLISHED),
    (STRICT, PUBLISHED),
    (STRICT, SENTENCE_TRANSFORMERS),
)
"""Whose ratios are printed."""
SQUARE, OWN = "large square products", "products of the model's own shapes"
"""The machine's two ceilings."""

Vectors = NDArray[np.float32]
Encode = Callable[[list[str], str], Vectors]


@dataclass(frozen=True)
class Contenders:
    """The four, loaded.

    Attributes:
        encoders: Each one's encode, from texts and prompt to vectors.
        strict: The strict encoder, whose meter counts tokens.
        fast: The fast encoder, and how it lays out its batches.
        device: Where they compute.
    """

    encoders: dict[str, Encode]
    strict: Encoder
    fast: Choice
    device: torch.device


def load(resolved: ResolvedRecipe, device: torch.device) -> Contenders:
    """Load the model once a contender."""
    strict = load_encoder(resolved.checkpoint, resolved.recipe, device)
    choice = fast_encoder(load_encoder(resolved.checkpoint, resolved.recipe, device))
    published = PublishedProcedure(resolved, [str(device)])
    encoders: dict[str, Encode] = {
        SENTENCE_TRANSFORMERS: sentence_transformers_encode(resolved, device),
        PUBLISHED: published.encode,
        STRICT: lambda texts, prompt: strict.encode(texts, prompt=prompt),
        FAST: lambda texts, prompt: choice.encoder.encode(texts, prompt=prompt),
    }
    return Contenders(encoders, strict, choice, device)


def sentence_transformers_encode(resolved: ResolvedRecipe, device: torch.device) -> Encode:
    """Return sentence-transformers' own encode, at its defaults, over the same checkpoint."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        resolved.checkpoint.location,
        device=str(device),
        trust_remote_code=resolved.recipe.trust_remote_code,
        model_kwargs={"torch_dtype": resolved.recipe.dtype.value},
    )
    model.max_seq_length = resolved.recipe.max_length
    return lambda texts, prompt: np.asarray(model.encode(texts, prompt=prompt or None))


def measure(all_of: Contenders, texts: Texts, repetitions: int) -> dict[str, Any]:
    """Run the repetitions over one distribution.

    Raises:
        SystemExit: the published procedure and strict mode gave different bits.
    """
    device, own, prompt = all_of.device, list(texts.texts), texts.prompt
    dtype = all_of.strict.recipe.dtype
    model = all_of.strict.backbone.model
    shape, layers = read_shape(model.config), linear_layers(model)
    for encode in all_of.encoders.values():  # once, so that nothing is measured cold
        encode(own[:64], prompt)
    lengths = token_counts(all_of.strict, own, prompt)
    tokens, needed = sum(lengths), operations(shape, lengths)
    kinds = list(all_of.encoders)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    ceilings: dict[str, list[float]] = {SQUARE: [], OWN: []}
    vectors: dict[str, Vectors] = {}
    for repetition in range(repetitions):
        turn = repetition % len(kinds)
        for kind in kinds[turn:] + kinds[:turn]:
            started = time.perf_counter()
            vectors[kind] = all_of.encoders[kind](own, prompt)
            seconds[kind].append(time.perf_counter() - started)
        if not np.array_equal(vectors[STRICT], vectors[PUBLISHED]):
            raise SystemExit(
                f"{texts.name}: strict vectors are not the bits of the published procedure "
                f"(furthest {np.abs(vectors[STRICT] - vectors[PUBLISHED]).max():.2g}): "
                "nothing is reported"
            )
        budget = all_of.fast.encoder.budget
        ceilings[SQUARE].append(matrix_ceiling(device, dtype, 1.0))
        ceilings[OWN].append(own_products(layers, budget, device, TORCH_DTYPES[dtype]))
    shares = {
        kind: {
            name: median(needed / s / rate for s, rate in zip(times, rates, strict=True))
            for name, rates in ceilings.items()
        }
        for kind, times in seconds.items()
    }
    spent = {
        # The published procedure computes in processes that no profiler here looks into.
        kind: time_spent(lambda: all_of.encoders[kind](own, prompt), device)  # noqa: B023
        for kind in kinds
        if kind != PUBLISHED
    }
    unpadded = 2 * shape.layer_parameters * tokens
    return {
        "texts": texts.name,
        "count": len(own),
        "tokens": tokens,
        "tokens_per_second": {
            kind: round(tokens / statistics.median(times)) for kind, times in seconds.items()
        },
        "ratios": {f"{one} / {other}": ratio(seconds[other], seconds[one]) for one, other in PAIRS},
        "million_operations_a_token": round(needed / tokens / 1e6, 2),
        "ceilings_in_billion_operations_a_second": {
            name: round(statistics.median(rates) / 1e9, 1) for name, rates in ceilings.items()
        },
        "shares_of_the_ceilings": shares,
        "most_times_as_fast": {
            # What is left to gain: nothing but products, no padding, at the better ceiling.
            kind: round(1 / max(min(share.values()), 1e-9), 2)
            for kind, share in shares.items()
        },
        "padding": {
            kind: round(1 - unpadded / max(own_spent.operations, unpadded), 3)
            for kind, own_spent in spent.items()
        },
        "time": {kind: own_spent.to_dict() for kind, own_spent in spent.items()},
        "strict_and_published_equal_in_every_bit": True,
        "furthest_fast_from_strict": float(np.abs(vectors[FAST] - vectors[STRICT]).max()),
    }


def token_counts(encoder: Encoder, texts: list[str], prompt: str) -> list[int]:
    """Return the tokens of each text, its prompt included, cut off as the model sees it."""
    ids = encoder.backbone.tokenizer(
        [prompt + text for text in texts], truncation=True, max_length=encoder.recipe.max_length
    )["input_ids"]
    return [len(own) for own in ids]


def median(values: Iterable[float]) -> float:
    """Return the median, to three places."""
    return round(statistics.median(values), 3)


def ratio(seconds: list[float], own: list[float]) -> dict[str, Any]:
    """Return how many times as fast `own` was, in each repetition and in the middle one."""
    each = [round(other / mine, 3) for other, mine in zip(seconds, own, strict=True)]
    return {"median": median(each), "each": each}


def show(entry: dict[str, Any]) -> None:
    """Print one distribution's figures."""
    print(f"\n{entry['texts']}: {entry['count']} texts, {entry['tokens']} tokens")
    for kind, rate in entry["tokens_per_second"].items():
        share = entry["shares_of_the_ceilings"][kind]
        shown = ", ".join(f"{value:.0%} of {name}" for name, value in share.items())
        print(f"  {kind:<22} {rate:>7} tokens/s   {shown}")
    for name, values in entry["ratios"].items():
        print(f"  {name:<38} {values['median']:.2f}   {values['each']}")
    for kind, time_of in entry["time"].items():
        parts = ", ".join(f"{share:.0%} {part}" for part, share in time_of["shares"].items())
        rate = time_of["linear_layers_in_billion_operations_a_second"]
        others = ", ".join(f"{k} {v:.0%}" for k, v in time_of["longest_other_operations"].items())
        padding = entry["padding"][kind]
        print(f"  time of {kind}: {parts} ({others})")
        print(f"    linear layers at {rate:.0f} GFLOP/s, {padding:.0%} of it padding")
    ceilings = entry["ceilings_in_billion_operations_a_second"]
    print(f"  ceilings: {', '.join(f'{v:.0f} GFLOP/s {k}' for k, v in ceilings.items())}")
    most = entry["most_times_as_fast"][SENTENCE_TRANSFORMERS]
    print(f"  at the ceiling, one would be {most:.2f} times as fast as sentence-transformers")


def main() -> None:
    """Run the comparison and write its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--datasets-dir", type=Path, required=True)
    parser.add_argument("--model", default="", help="by default the packaged all-MiniLM-L6-v2")
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--texts", type=int, default=2000, help="texts of the short distribution")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", default="", help="distributions, comma-separated")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    resolved = resolve(
        open_checkpoint(arguments.model or str(packaged_model())),
        trust_remote_code=arguments.trust_remote_code,
    )
    chosen = distributions(arguments.datasets_dir, arguments.texts, resolved.recipe.max_length)
    wanted = arguments.only.split(",") if arguments.only else [texts.name for texts in chosen]
    all_of = load(resolved, device)
    shape = read_shape(all_of.strict.backbone.model.config)
    versions = package_versions()
    result = {
        "model": resolved.model_name,
        "dtype": resolved.recipe.dtype.value,
        "max_length": resolved.recipe.max_length,
        "layer_parameters": shape.layer_parameters,
        "fast": all_of.fast.reason,
        "budget": all_of.fast.encoder.budget,
        "repetitions": arguments.repetitions,
        "hardware": hardware(device),
        "packages": {name: versions.get(name, "") for name in PACKAGES},
        "distributions": [],
    }
    for texts in chosen:
        if texts.name in wanted:
            entry = measure(all_of, texts, arguments.repetitions)
            result["distributions"].append(entry)
            show(entry)
    target = arguments.output / f"encoding-{device.type}.json"
    write_json(target, result)
    print(f"\nwrote {target}")


if __name__ == "__main__":
    main()
