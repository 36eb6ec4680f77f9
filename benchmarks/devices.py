"""What a second device gains, and what having several costs.

    python benchmarks/devices.py

Efficiency: time of one actor over twice the time of two, on the same texts, with a **stand-in** for
the model that takes a fixed time a text and no core (`stand_in.py`): here two real models would
fight over the cores. As long chunks (a corpus), and as calls of few texts one after the other;
beside both the stand-in in this process, without Ray. Start-up: what a run pays once (Ray, the
actors' processes and imports, a real model loaded in each), beside loading it in this process, and
then what a call costs. Medians over repetitions, in each of which all contenders take turns. Writes
``devices-cpu.json``. An efficiency may come out as low as 0.5, which is no gain at all.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import stand_in
import torch

from qzhou_eval.cli.demo import RECIPE, packaged_model
from qzhou_eval.encode.distributed.cluster import start_local
from qzhou_eval.encode.distributed.fleet import Fleet, load_fleet
from qzhou_eval.encode.engine import load_in_process
from qzhou_eval.encode.placement import Placement
from qzhou_eval.environment import deciding_packages, hardware, package_versions
from qzhou_eval.files import write_json
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.resolution import ResolvedRecipe, resolve

os.environ["TOKENIZERS_PARALLELISM"] = "true"  # forks after it: it would warn of each
CPU = torch.device("cpu")
WIDTH = 3584
SECONDS_A_TEXT = 0.001
"""A 7B model on one H100 takes about that for a text of 50 tokens."""
CORPUS = 32_000
CALLS, CALL_TEXTS = 40, 256


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def corpus(encode: Callable[[list[str]], Any], texts: list[str]) -> float:
    """Time one call of all texts."""
    return timed(lambda: encode(texts))


def calls(encode: Callable[[list[str]], Any], texts: list[str]) -> float:
    """Time calls of few texts, one after the other."""
    starts = range(0, CALLS * CALL_TEXTS, CALL_TEXTS)
    return timed(lambda: [encode(texts[s : s + CALL_TEXTS]) for s in starts])


def efficiency(resolved: ResolvedRecipe, repetitions: int) -> dict[str, Any]:
    """Time one and two actors, and this process, with the stand-in."""
    texts = [f"{number:07} " * 30 for number in range(CORPUS)]
    loader = stand_in.DelayLoader(SECONDS_A_TEXT, WIDTH)
    ray.cloudpickle.register_pickle_by_value(stand_in)
    cluster = start_local((CPU,) * 3)  # for both fleets
    fleets: dict[str, Fleet] = {}
    for count in (1, 2):
        own = Placement("cpu", (CPU,) * count, count, cluster)
        fleets[f"{count} actors"] = load_fleet(resolved, own, loader)
    encoders = {name: fleet.encoder.encode for name, fleet in fleets.items()}
    encoders["in process"] = stand_in.DelayEncoder(SECONDS_A_TEXT, WIDTH).encode
    found: dict[str, Any] = {}
    for name, work in (("corpus", corpus), ("calls", calls)):
        for encode in encoders.values():
            encode(texts[:CALL_TEXTS])
        times: dict[str, list[float]] = {contender: [] for contender in encoders}
        for repetition in range(repetitions):
            order = list(encoders)
            for contender in order[repetition % 3 :] + order[: repetition % 3]:
                times[contender].append(work(encoders[contender], texts))
        pairs = zip(times["1 actors"], times["2 actors"], strict=True)
        alone = zip(times["in process"], times["1 actors"], strict=True)
        found[name] = {
            "seconds": {contender: statistics.median(own) for contender, own in times.items()},
            "efficiency of 2 actors": statistics.median(one / (2 * two) for one, two in pairs),
            "1 actor beside in process": statistics.median(own / one for own, one in alone),
        }
    for fleet in fleets.values():
        fleet.close()
    cluster.close()
    return found


def start_up(resolved: ResolvedRecipe, repetitions: int) -> dict[str, Any]:
    """Time what a run pays once, and what a call costs then."""
    steps: dict[str, list[float]] = {}

    def note(step: str, seconds: float) -> None:
        steps.setdefault(step, []).append(seconds)

    texts = ["a text of a few words"] * 32
    for _ in range(repetitions):
        started = time.perf_counter()
        engine = load_in_process(resolved, CPU)
        note("load in process", time.perf_counter() - started)
        note("call of 32 texts in process", call(engine.encoder.encode, texts))
        started = time.perf_counter()
        cluster = start_local((CPU, CPU))
        note("start Ray", time.perf_counter() - started)
        started = time.perf_counter()
        fleet = load_fleet(resolved, Placement("cpu", (CPU, CPU), 2, cluster))
        note("place 2 actors and load", time.perf_counter() - started)
        before = processes(fleet)
        note("call of 32 texts, 2 actors", call(fleet.encoder.encode, texts))
        # No process is started for a call: they are those of the beginning.
        assert processes(fleet) == before
        started = time.perf_counter()
        fleet.close()
        cluster.close()
        note("end", time.perf_counter() - started)
    return {step: statistics.median(seconds) for step, seconds in steps.items()}


def processes(fleet: Fleet) -> set[int]:
    """Return the actors' processes, by their own word."""
    return {where.pid for where in ray.get([m.actor.where.remote() for m in fleet.pool.members])}


def call(encode: Callable[[list[str]], Any], texts: list[str]) -> float:
    """Return the median time of ten calls, after one that is not counted."""
    encode(texts)
    return statistics.median(timed(lambda: encode(texts)) for _ in range(10))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    resolved = resolve(open_checkpoint(str(packaged_model())), recipe_name=RECIPE)
    found = efficiency(resolved, arguments.repetitions)
    once = start_up(resolved, arguments.repetitions)
    for name, own in found.items():
        print(f"\nstand-in, {name}: {CORPUS if name == 'corpus' else CALLS * CALL_TEXTS:,} texts")
        for contender, seconds in own["seconds"].items():
            print(f"  {contender:<12} {seconds:8.2f} s")
        print(f"  efficiency of 2 actors beside 1: {own['efficiency of 2 actors']:.3f}")
        print(f"  1 actor beside this process:     {own['1 actor beside in process']:.3f}")
    print("\nall-MiniLM-L6-v2, 2 actors on this machine's cores")
    for step, seconds in once.items():
        print(f"  {step:<28} {seconds:8.3f} s")
    write_json(
        arguments.output / "devices-cpu.json",
        {
            "stand_in": {
                "seconds_a_text": SECONDS_A_TEXT,
                "width": WIDTH,
                "corpus_texts": CORPUS,
                "calls": CALLS,
                "call_texts": CALL_TEXTS,
                "found": found,
            },
            "start_up_seconds": once,
            "repetitions": arguments.repetitions,
            "hardware": hardware(CPU),
            "packages": {**deciding_packages(), "ray": package_versions().get("ray", "")},
        },
    )


if __name__ == "__main__":
    main()
