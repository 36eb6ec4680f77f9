"""Time fast, strict and sentence-transformers encoding of the same real texts, side by side.

    python benchmarks/encoding.py --datasets-dir ../shared/datasets

Every repetition runs all three one after the other, and the ratios are of the same repetition, so
that a machine that slows down slows all of them. Prints a table of tokens a second and of median
ratios, and writes it with hardware and versions to ``benchmarks/results/encoding-<device>.json``.
A ratio below 1 means that fast lost.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from qzhou_eval.cli.demo import packaged_model
from qzhou_eval.encode.device import choose_device
from qzhou_eval.encode.encoder import load_encoder
from qzhou_eval.encode.fast import fast_encoder
from qzhou_eval.environment import deciding_packages, hardware
from qzhou_eval.files import write_json
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.resolution import ResolvedRecipe, resolve

RESULTS = Path(__file__).parent / "results"
PROMPT = "Instruct: Retrieve semantically similar text\nQuery: "


def rows(folder: Path, pattern: str) -> Iterator[dict[str, str]]:
    """Yield the rows of JSON Lines files below `folder`."""
    for path in sorted(folder.rglob(pattern)):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            yield from map(json.loads, file)


def distributions(datasets: Path, count: int) -> dict[str, tuple[str, list[str]]]:
    """Return name to prompt and texts: short, medium and long ones, and a mixture."""
    short = [
        text
        for name in ("sts12-sts", "sts13-sts", "sts15-sts")
        for row in rows(datasets / "mteb" / name, "*test*.jsonl*")
        for text in (row["sentence1"], row["sentence2"])
    ]
    medium = [
        f"{row['title']} {row['text']}"
        for row in rows(datasets / "mteb" / "scifact", "*corpus*.jsonl*")
    ]
    long = [" ".join(medium[i : i + 3]) for i in range(0, len(medium), 3)]
    tenth = max(count // 10, 1)
    return {
        "short": (PROMPT, short[:count]),
        "medium": ("", medium[:tenth]),
        "long": ("", long[: max(tenth // 3, 1)]),
        "mixed": ("", short[: count // 2] + medium[: tenth // 2]),
    }


def sentence_transformers_encode(
    resolved: ResolvedRecipe, device: torch.device
) -> Callable[[list[str], str], object]:
    """Return sentence-transformers' own encode, at its defaults, over the same checkpoint."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        resolved.checkpoint.location,
        device=str(device),
        trust_remote_code=resolved.recipe.trust_remote_code,
        model_kwargs={"torch_dtype": resolved.recipe.dtype.value},
    )
    model.max_seq_length = resolved.recipe.max_length
    return lambda texts, prompt: model.encode(texts, prompt=prompt or None)


def main() -> None:
    """Run the comparison and write its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--datasets-dir", type=Path, required=True)
    parser.add_argument("--model", default="")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--texts", type=int, default=2000, help="texts of the short distribution")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    resolved = resolve(open_checkpoint(arguments.model or str(packaged_model())))
    strict = load_encoder(resolved.checkpoint, resolved.recipe, device)
    choice = fast_encoder(load_encoder(resolved.checkpoint, resolved.recipe, device))
    fast = choice.encoder
    encoders: dict[str, Callable[[list[str], str], object]] = {
        "sentence-transformers": sentence_transformers_encode(resolved, device),
        "strict": lambda texts, prompt: strict.encode(texts, prompt=prompt),
        "fast": lambda texts, prompt: fast.encode(texts, prompt=prompt),
    }
    table = []
    for name, (prompt, texts) in distributions(arguments.datasets_dir, arguments.texts).items():
        for encode in encoders.values():  # once, so that nothing is measured cold
            encode(texts[:64], prompt)
        before = strict.meter.tokens
        strict.encode(texts, prompt=prompt)
        tokens = strict.meter.tokens - before
        seconds: dict[str, list[float]] = {kind: [] for kind in encoders}
        for _ in range(arguments.repetitions):
            for kind, encode in encoders.items():
                started = time.perf_counter()
                encode(texts, prompt)
                seconds[kind].append(time.perf_counter() - started)
        ratios = {
            kind: statistics.median(s / f for s, f in zip(own, seconds["fast"], strict=True))
            for kind, own in seconds.items()
            if kind != "fast"
        }
        rates = {kind: round(tokens / statistics.median(own)) for kind, own in seconds.items()}
        table.append(
            {"texts": name, "count": len(texts), "tokens": tokens, "tokens_per_second": rates}
            | {"fast_against": {kind: round(ratio, 2) for kind, ratio in ratios.items()}}
        )
        shown = ", ".join(f"{ratio:.2f} x {kind}" for kind, ratio in ratios.items())
        size = f"{len(texts):>5} texts, {tokens:>8} tokens"
        print(f"{name:<7} {size}: {rates['fast']} tokens/s, {shown}")
    target = RESULTS / f"encoding-{device.type}.json"
    write_json(
        target,
        {
            "model": resolved.model_name,
            "dtype": resolved.recipe.dtype.value,
            "fast": choice.reason,
            "repetitions": arguments.repetitions,
            "hardware": hardware(device),
            "packages": deciding_packages(),
            "distributions": table,
        },
    )
    print(
        f"wrote {target.relative_to(Path.cwd()) if target.is_relative_to(Path.cwd()) else target}"
    )


if __name__ == "__main__":
    main()
