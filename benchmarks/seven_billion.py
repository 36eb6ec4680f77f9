"""Time encoding with a model of 7B shape on a GPU, and hold it to what the card can do.

    python benchmarks/seven_billion.py --datasets-dir DIR             on an H100 or H200, one call
    python benchmarks/seven_billion.py --datasets-dir DIR --small     the same on any CPU, seconds

Random bf16 weights of QZhou-Embedding's shape, made on the GPU; real texts (`texts.py`); no mteb.
Strict mode, fast mode and sentence-transformers' way (longest first over all texts, batches of 32,
padded) in turn, in every repetition; the card's matrix products; token budgets; attention kernels;
how far fast vectors are from strict ones; memory; a profile. Writes ``seven-billion-<device>.json``
after every part, so that a run cut short leaves what it has, and ``...-profile.txt``.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ceiling import linear_layers, operations, own_products, synchronize, time_spent
from random_model import SEVEN_BILLION, SMALL, BothWays, random_model, trained_tokenizer, twin
from texts import Texts, abstracts, distributions, sentences

from qzhou_eval.encode import unpadded
from qzhou_eval.encode.backbone import Backbone
from qzhou_eval.encode.cost import matrix_ceiling, read_shape
from qzhou_eval.encode.device import choose_device
from qzhou_eval.encode.encoder import Encoder
from qzhou_eval.encode.fast import Choice, fast_encoder
from qzhou_eval.encode.vectors import Vectors
from qzhou_eval.environment import hardware, package_versions
from qzhou_eval.files import write_json
from qzhou_eval.recipe.choices import Dtype, PaddingSide
from qzhou_eval.recipe.recipe import Recipe

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "tokenizers", "torch", "transformers")
FAST, STRICT, PADDED = "fast", "strict", "padded, as sentence-transformers does"
ROUNDS = 10
"""Of an attention kernel's timing."""
VOCABULARY = 16_384
"""Of the tokenizer, whatever the model has room for: so few, that tokens are parts of words."""
BUDGETS = (8192, 16_384, 32_768, 65_536, 131_072)
WANTED = {"short": 0.5, "medium": 0.65, "long": 0.65}
"""Share of the measured ceiling that fast mode is to reach."""
WANTED_OF_STRICT = 1.5
"""Times that fast mode is to be as fast as strict mode on short texts."""
RECIPE = Recipe(
    name="7B shape", padding_side=PaddingSide.LEFT, max_length=1024, dtype=Dtype.BFLOAT16
)

Encode = Callable[[Sequence[str], str], Vectors]


@dataclass
class Bench:
    """What the parts work with.

    Attributes:
        strict: The strict encoder.
        choice: The fast encoder over the same weights, and its layout.
        device: Where they compute.
        texts: Short, medium and long texts.
        repetitions: How often all are timed.
        ceiling: Operations a second of large square products, once measured.
        profile: Text of the profiles.
    """

    strict: Encoder
    choice: Choice
    device: torch.device
    texts: Sequence[Texts]
    repetitions: int
    ceiling: float = 0.0
    profile: list[str] = field(default_factory=list)

    @property
    def encoders(self) -> dict[str, Encode]:
        """Each contender's encode."""
        return {
            STRICT: lambda texts, prompt: self.strict.encode(texts, prompt=prompt),
            PADDED: lambda texts, prompt: padded_encode(self.strict, texts, prompt),
            FAST: self.fast,
        }

    def fast(self, texts: Sequence[str], prompt: str) -> Vectors:
        """Encode in fast mode."""
        return self.choice.encoder.encode(texts, prompt=prompt)

    def rate(self, texts: Texts, encode: Encode) -> float:
        """Return the tokens a second of one call."""
        started = time.perf_counter()
        encode(texts.texts, texts.prompt)
        return sum(self.lengths(texts)) / (time.perf_counter() - started)

    def lengths(self, texts: Texts) -> list[int]:
        """Return the tokens of each text, its prompt included, cut off as the model sees it."""
        ids = self.strict.backbone.tokenizer(
            [texts.prompt + text for text in texts.texts],
            truncation=True,
            max_length=self.strict.recipe.max_length,
        )["input_ids"]
        return [len(own) for own in ids]


@torch.no_grad()
def padded_encode(encoder: Encoder, texts: Sequence[str], prompt: str) -> Vectors:
    """Encode as sentence-transformers does at its defaults.

    All texts longest first, by characters with the prompt; batches of 32; the mean by a product
    with the mask; each batch to the CPU.
    """
    strings = [prompt + text for text in texts]
    order = np.argsort([-len(string) for string in strings])
    parts = []
    for start in range(0, len(order), 32):
        own = [strings[i] for i in order[start : start + 32]]
        batch = encoder.backbone.tokenize(own, encoder.recipe.max_length)
        hidden = encoder.backbone.forward(batch)
        mask = batch["attention_mask"].to(hidden.device)[:, :, None].to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        parts.append(torch.nn.functional.normalize(pooled, dim=-1).cpu())
    vectors = np.empty((len(order), encoder.width), dtype=np.float32)
    vectors[order] = torch.cat(parts).float().numpy()
    return vectors


def encoders_of(
    model: BothWays, tokenizer: Any, device: torch.device, recipe: Recipe
) -> tuple[Encoder, Choice]:
    """Return a strict and a fast encoder over the same weights."""
    taken = frozenset({"input_ids", "attention_mask", "position_ids"})
    strict = Encoder(Backbone(model, tokenizer, device, taken), recipe)
    other = Encoder(Backbone(twin(model), tokenizer, device, taken), recipe)
    return strict, fast_encoder(other)


def ceilings(bench: Bench) -> dict[str, Any]:
    """Measure the card's matrix products: large square ones, and of the model's own shapes."""
    on_gpu = bench.device.type == "cuda"
    bench.ceiling = matrix_ceiling(bench.device, RECIPE.dtype, 3.0 if on_gpu else 0.5)
    layers = linear_layers(bench.strict.backbone.model)
    rows = (1024, 4096, 16_384, 65_536) if on_gpu else (256, 1024)
    own = {tokens: own_products(layers, tokens, bench.device, torch.bfloat16) for tokens in rows}
    found = {
        "large_square_products": tera(bench.ceiling),
        "products_of_the_models_shapes_by_tokens": {k: tera(v) for k, v in own.items()},
    }
    print(f"ceiling in 10**12 operations a second: {found}")
    return found


def tera(rate: float) -> float:
    """Return operations a second in 10**12."""
    return round(rate / 1e12, 3)


def timings(bench: Bench) -> list[dict[str, Any]]:
    """Time the contenders on each distribution, all of them in every repetition."""
    shape = read_shape(bench.strict.backbone.model.config)
    table = []
    for texts in bench.texts:
        lengths = bench.lengths(texts)
        seconds: dict[str, list[float]] = {kind: [] for kind in bench.encoders}
        memory: dict[str, float] = {}
        for encode in bench.encoders.values():  # once, so that nothing is measured cold
            encode(texts.texts[:: max(len(texts.texts) // 64, 1)], texts.prompt)
        kinds = list(bench.encoders.items())
        for turn in range(bench.repetitions):
            turn %= len(kinds)
            for kind, encode in kinds[turn:] + kinds[:turn]:
                forget_peak(bench.device)
                started = time.perf_counter()
                encode(texts.texts, texts.prompt)
                seconds[kind].append(time.perf_counter() - started)
                memory[kind] = peak_gigabytes(bench.device)
        needed, tokens = operations(shape, lengths), sum(lengths)
        middle = {kind: statistics.median(times) for kind, times in seconds.items()}
        entry = {
            "texts": texts.name,
            "count": len(lengths),
            "tokens": tokens,
            "mean_length": round(tokens / len(lengths), 1),
            "million_operations_a_token": round(needed / tokens / 1e6, 2),
            "tokens_per_second": {kind: round(tokens / own) for kind, own in middle.items()},
            "seconds": {kind: [round(s, 3) for s in own] for kind, own in seconds.items()},
            "share_of_ceiling": {
                kind: round(needed / own / bench.ceiling, 3) for kind, own in middle.items()
            },
            "fast_against": {
                kind: round(
                    statistics.median(s / f for s, f in zip(own, seconds[FAST], strict=True)),
                    3,
                )
                for kind, own in seconds.items()
                if kind != FAST
            },
            "peak_memory_in_gigabytes": memory,
        }
        table.append(entry)
        print(f"{texts.name}: {tokens} tokens, {entry['tokens_per_second']} tokens/s,")
        print(f"  of the ceiling {entry['share_of_ceiling']}, fast against {entry['fast_against']}")
    return table


def forget_peak(device: torch.device) -> None:
    """Let memory's peak begin anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_gigabytes(device: torch.device) -> float:
    """Return the most memory that was taken since, weights included; 0 on a CPU."""
    return round(torch.cuda.max_memory_allocated(device) / 1e9, 2) if device.type == "cuda" else 0


def targets(table: list[dict[str, Any]]) -> dict[str, Any]:
    """Hold the figures against what is wanted; they can come out the other way."""
    found: dict[str, Any] = {}
    for entry in table:
        name = entry["texts"]
        if name in WANTED:
            reached = entry["share_of_ceiling"][FAST]
            found[f"fast's share of the ceiling, {name}"] = held(reached, WANTED[name])
        if name == "short":
            reached = entry["fast_against"][STRICT]
            found["fast against strict, short"] = held(reached, WANTED_OF_STRICT)
    for name, value in found.items():
        print(f"{name}: {value}")
    return found


def held(reached: float, wanted: float) -> dict[str, Any]:
    """Return a figure beside what it is to be."""
    return {"reached": reached, "wanted": wanted, "met": reached >= wanted}


def parity(bench: Bench) -> dict[str, Any]:
    """Say how far vectors are apart, in cosine distance: fast from strict, strict from itself.

    Strict mode with batches of 8 in place of 32 is as right as strict mode: what its vectors are
    apart is rounding, and the measure of what fast vectors may be.
    """
    found = {}
    for texts in bench.texts:
        own = texts.texts[:128]
        vectors = bench.strict.encode(own, prompt=texts.prompt)
        others = bench.strict.encode(own, prompt=texts.prompt, batch_size=8)
        found[texts.name] = {
            "texts": len(own),
            "fast_from_strict": distances(bench.fast(own, texts.prompt), vectors),
            "strict_in_batches_of_8_from_strict": distances(others, vectors),
        }
        print(f"cosine distances, {texts.name}: {found[texts.name]}")
    return found


def small_parity(bench: Bench) -> dict[str, Any]:
    """Hold fast against strict in float32, and both in bf16 against float32, on a small model."""
    device, tokenizer, texts = bench.device, bench.strict.backbone.tokenizer, bench.texts[0]
    shape = {**SMALL, "vocab_size": len(tokenizer)}
    exact_model = random_model(shape, device, torch.float32)
    rounded_model = random_model(shape, device, torch.bfloat16)
    state = {name: weight.to(torch.bfloat16) for name, weight in exact_model.state_dict().items()}
    rounded_model.load_state_dict(state)
    exact_model.load_state_dict({name: weight.float() for name, weight in state.items()})
    own = texts.texts[:256]
    exact_recipe = Recipe(name="small", padding_side=PaddingSide.LEFT, dtype=Dtype.FLOAT32)
    strict, choice = encoders_of(exact_model, tokenizer, device, exact_recipe)
    exact = strict.encode(own, prompt=texts.prompt)
    fast = choice.encoder.encode(own, prompt=texts.prompt)
    found: dict[str, Any] = {
        "float32_fast": choice.reason,
        "float32_furthest_number_fast_from_strict": float(np.abs(fast - exact).max()),
    }
    strict, choice = encoders_of(rounded_model, tokenizer, device, RECIPE)
    rounded = strict.encode(own, prompt=texts.prompt)
    fast = choice.encoder.encode(own, prompt=texts.prompt)
    found |= {
        "bfloat16_fast": choice.reason,
        "bfloat16_strict_from_float32": distances(rounded, exact),
        "bfloat16_fast_from_float32": distances(fast, exact),
    }
    print(f"small model: {found}")
    return found


def distances(vectors: Vectors, others: Vectors) -> dict[str, float]:
    """Return the spread of 1 minus cosine between vectors and others, in float64."""
    a, b = (
        v / np.linalg.norm(v, axis=1)[:, None] for v in (np.float64(vectors), np.float64(others))
    )
    apart = 1 - (a * b).sum(1)
    named = {"median": 50, "of_100_the_99th": 99, "furthest": 100}
    return {name: float(f"{np.percentile(apart, q):.3g}") for name, q in named.items()}


def budgets(bench: Bench) -> dict[str, dict[int, Any]]:
    """Time fast mode at several token budgets, once each, and say what memory it took."""
    fast, chosen = bench.choice.encoder, bench.choice.encoder.budget
    found: dict[str, dict[int, Any]] = {texts.name: {} for texts in bench.texts}
    sizes = BUDGETS if bench.device.type == "cuda" else (512, 1024)
    for budget in sizes:
        for texts in bench.texts:
            fast.budget = budget
            forget_peak(bench.device)
            bench.fast(texts.texts[: len(texts.texts) // 4 or 1], texts.prompt)
            rate = bench.rate(texts, bench.fast)
            found[texts.name][budget] = {
                "tokens_per_second": round(rate),
                "peak_memory_in_gigabytes": peak_gigabytes(bench.device),
                # Less than asked for, if memory ran out.
                "budget_in_the_end": fast.budget,
            }
    fast.budget = chosen
    for name, rates in found.items():
        shown = {k: v["tokens_per_second"] for k, v in rates.items()}
        print(f"tokens/s by token budget, {name}: {shown}")
    return found


@torch.no_grad()
def kernels(bench: Bench) -> dict[str, Any]:
    """Time the unpadded attention kernels alone, on the lengths of the texts, and check them."""
    config: Any = bench.strict.backbone.model.config
    heads, key_heads = config.num_attention_heads, config.num_key_value_heads
    width = config.hidden_size // heads
    found: dict[str, Any] = {}
    for texts in bench.texts:
        lengths = sorted(bench.lengths(texts), reverse=True)
        lengths = lengths[:: max(sum(lengths) // 16_384, 1)]
        shapes = ((sum(lengths), count, width) for count in (heads, key_heads, key_heads))
        states = [torch.randn(s, device=bench.device, dtype=torch.bfloat16) for s in shapes]
        bounds = unpadded.boundaries(lengths, bench.device, False)
        query, key, value = (state.float() for state in states)
        exact = unpadded.by_length(query, key, value, bounds, None)
        found[texts.name] = {"tokens": sum(lengths), "texts": len(lengths)}
        for name in ("varlen", "flash", "by_length"):
            found[texts.name][name] = kernel(name, states, bounds, exact, bench.device)
        print(f"attention kernels, {texts.name}: {found[texts.name]}")
    return found


def kernel(
    name: str, states: list[torch.Tensor], bounds: Any, exact: torch.Tensor, device: torch.device
) -> dict[str, Any]:
    """Time one kernel; say why if it does not run here."""
    attend = getattr(unpadded, name)
    try:
        output = attend(*states, bounds, None).float()
        synchronize(device)
        started = time.perf_counter()
        for _ in range(ROUNDS):
            attend(*states, bounds, None)
        synchronize(device)
    except Exception as error:  # what a kernel that is not there throws
        return {"does_not_run": f"{type(error).__name__}: {error}"[:100]}
    return {
        "milliseconds": round((time.perf_counter() - started) / ROUNDS * 1e3, 3),
        "error": float(f"{((output - exact).norm() / exact.norm()).item():.3g}"),
    }


def fast_by_kernel(bench: Bench) -> dict[str, Any]:
    """Time fast mode with each attention kernel in place of the one it chooses."""
    chosen = unpadded.kernel_for
    first = chosen(bench.device, torch.bfloat16).__name__
    found: dict[str, Any] = {"chosen": first}
    for name in ("varlen", "flash", "by_length"):
        own = getattr(unpadded, name)
        unpadded.kernel_for = lambda *_, own=own: own
        try:
            found[name] = {t.name: round(bench.rate(t, bench.fast)) for t in bench.texts}
        except Exception as error:  # what a kernel that is not there throws
            found[name] = {"does_not_run": f"{type(error).__name__}: {error}"[:100]}
        finally:
            unpadded.kernel_for = chosen
    print(f"fast tokens/s by kernel: {found}")
    return found


def profiles(bench: Bench) -> dict[str, Any]:
    """Say where the time of strict and fast mode goes, and keep the tables of kernels."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = bench.device.type == "cuda"
    found: dict[str, Any] = {}
    for texts in bench.texts:
        # Enough for several batches of either mode, and few enough for the profiler's memory.
        part = texts.texts[: max(len(texts.texts) // 4, 1)]
        for kind, encode in ((STRICT, bench.encoders[STRICT]), (FAST, bench.fast)):
            name = f"{kind}, {texts.name}"
            found[name] = time_spent(lambda: encode(part, texts.prompt), bench.device).to_dict()  # noqa: B023
            activities = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
            with profile(activities=activities) as profiler:
                encode(part[: max(len(part) // 4, 1)], texts.prompt)
                synchronize(bench.device)
            rows = profiler.key_averages().table(
                sort_by="self_device_time_total" if on_gpu else "self_cpu_time_total",
                row_limit=20,
                max_name_column_width=90,
            )
            lines = (line.rstrip() for line in rows.splitlines())
            bench.profile.append("\n".join((name, "", *lines, "")))
            print(f"time of {name}: {found[name]['shares']}")
    return found


def load(arguments: argparse.Namespace) -> Bench:
    """Make model, tokenizer and encoders."""
    device = choose_device(arguments.device)
    shape = SMALL if arguments.small else SEVEN_BILLION
    count = arguments.texts or (48 if arguments.small else 4096)
    texts = distributions(arguments.datasets_dir, count, RECIPE.max_length)[:3]
    started = time.perf_counter()
    documents = islice(abstracts(arguments.datasets_dir), 200 if arguments.small else 1500)
    corpus = [*documents, *islice(sentences(arguments.datasets_dir), 5000)]
    tokenizer = trained_tokenizer(corpus, min(VOCABULARY, shape["vocab_size"]))
    print(f"tokenizer of {len(tokenizer)} tokens, {time.perf_counter() - started:.1f} s")
    model = random_model(shape, device, torch.bfloat16)
    print(f"model, {time.perf_counter() - started:.1f} s")
    strict, choice = encoders_of(model, tokenizer, device, RECIPE)
    print(f"fast: {choice.reason}; batches of {choice.encoder.budget} tokens")
    return Bench(strict, choice, device, texts, arguments.repetitions)


def file_name(device: torch.device, small: bool) -> str:
    """Return what result files of a device are called."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"seven-billion-{slug}{'-small' if small else ''}"


def main() -> None:
    """Run all parts, the most important first, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--datasets-dir", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="a tiny model and few texts")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--texts", type=int, default=0, help="texts of the short distribution")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=7.5, help="begin no part after so many")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result files")
    arguments = parser.parse_args()
    started = time.monotonic()
    bench = load(arguments)
    shape = read_shape(bench.strict.backbone.model.config)
    versions = package_versions()
    result: dict[str, Any] = {
        "model": "small shape, random weights" if arguments.small else "7B shape, random weights",
        "layer_parameters": shape.layer_parameters,
        "dtype": RECIPE.dtype.value,
        "max_length": RECIPE.max_length,
        "fast": bench.choice.reason,
        "budget": bench.choice.encoder.budget,
        "repetitions": bench.repetitions,
        "hardware": hardware(bench.device),
        "packages": {name: versions.get(name, "") for name in PACKAGES},
    }
    target = arguments.output / f"{file_name(bench.device, arguments.small)}.json"
    parts: dict[str, Callable[[Bench], Any]] = {
        "ceilings_in_10_to_the_12": ceilings,
        "distributions": timings,
        "parity": parity,
        "small_model": small_parity,
        "attention_kernels": kernels,
        "budgets": budgets,
        "time": profiles,
        "fast_by_kernel": fast_by_kernel,
    }
    for name, part in parts.items():
        if time.monotonic() - started > 60 * arguments.minutes:
            result.setdefault("left_out_for_time", []).append(name)
            continue
        try:
            result[name] = part(bench)
        except Exception as error:  # the other parts are worth having all the same
            result[name] = {"failed": f"{type(error).__name__}: {error}"}
            print(f"{name} failed: {error}")
        if name == "distributions" and isinstance(result[name], list) and not arguments.small:
            result["targets"] = targets(result[name])
        result["seconds"] = round(time.monotonic() - started, 1)
        write_json(target, result)
    if bench.profile:
        (target.parent / f"{target.stem}-profile.txt").write_text(
            "\n".join(bench.profile), encoding="utf-8"
        )
    print(f"wrote {target} after {result['seconds']} s")


if __name__ == "__main__":
    main()
