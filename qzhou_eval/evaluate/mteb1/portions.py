"""A task cut into portions: units that can be evaluated, and saved, without the others."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from mteb.abstasks.AbsTask import AbsTask
from mteb.abstasks.AbsTaskPairClassification import AbsTaskPairClassification
from mteb.abstasks.AbsTaskSTS import AbsTaskSTS
from mteb.abstasks.AbsTaskSummarization import AbsTaskSummarization

from qzhou_eval.encode.encoder import Meter
from qzhou_eval.evaluate.generators import Generators
from qzhou_eval.evaluate.local_data import LocalDataset
from qzhou_eval.evaluate.mteb1 import classification, reranking, retrieval
from qzhou_eval.evaluate.mteb1.items import Recorder, has_items, unit_items
from qzhou_eval.evaluate.mteb1.model import MtebModel
from qzhou_eval.evaluate.mteb1.replay import encode_ahead, foreseen
from qzhou_eval.evaluate.mteb1.scoring import Scored, Scoring, unchanged
from qzhou_eval.evaluate.mteb1.tasks import build, load_data, loads_as_usual
from qzhou_eval.evaluate.units import Unit, UnitResult, units, units_before
from qzhou_eval.evaluate.workers import guarded_workers
from qzhou_eval.suite.suite import TaskSpec

Fits = Callable[[Any, str, str], bool]
Encode = Callable[[Any, MtebModel, str, str, int], Scoring]

_PATHS: dict[str, tuple[Fits, Encode]] = {
    "Reranking": (reranking.fits, reranking.reranking),
    "Retrieval": (retrieval.fits, retrieval.retrieval),
}
"""Our own ways through tasks of these types, where they fit; the rest is evaluated by mteb."""

_DRAWLESS = (AbsTaskSTS, AbsTaskPairClassification, AbsTaskSummarization)
"""Kinds that mteb evaluates without random numbers: no subset decides another's score."""


@dataclass(frozen=True)
class Prepared:
    """A task whose data is loaded.

    Attributes:
        task: mteb's task.
        spec: What of it counts.
        data_seconds: Time to load its data.
        generators: The random generators as making it, loading its data and drawing left them.
        portions: What is to be evaluated of it, in order.
    """

    task: AbsTask
    spec: TaskSpec
    data_seconds: float
    generators: Generators
    portions: tuple[Portion, ...]


@dataclass(frozen=True)
class Portion:
    """Units that are evaluated together: one, or all that share a stream of random numbers.

    Attributes:
        units: The units.
        draws: Whether their scores depend on what the task's units before them have drawn.
        encode: Encodes their texts, and returns what is left to do of each unit. Takes the model,
            the texts of a forward pass and whether mteb's own evaluation is put off.
    """

    units: tuple[Unit, ...]
    draws: bool
    encode: Callable[[MtebModel, int, bool], dict[Unit, Scoring]]


@dataclass
class Encoded:
    """A portion whose texts are encoded.

    Attributes:
        prepared: Its task.
        portion: The portion.
        scorings: What is left to do, by unit.
        meter: What was encoded.
        seconds: Time since its beginning, scores that could not wait included.
    """

    prepared: Prepared
    portion: Portion
    scorings: dict[Unit, Scoring]
    meter: Meter
    seconds: float = field(default=0.0)

    def score(self) -> list[UnitResult]:
        """Score the portion; asks no model for what was foreseen.

        Raises:
            ValueError: there is no score, or one that is not a number.
        """
        spec = self.prepared.spec
        languages = self.prepared.task.metadata.hf_subsets_to_langscripts
        results = []
        meter, seconds = self.meter, self.seconds
        for unit, scoring in self.scorings.items():
            started = time.monotonic()
            with guarded_workers():
                scored = scoring()
            scores = scored.scores
            value = scores.get("main_score")
            if value is None or not math.isfinite(value):
                raise ValueError(f"the score of {unit[0]}, {unit[1]} is {value}")
            row = {**scores, "hf_subset": unit[1], "languages": languages[unit[1]]}
            results.append(
                UnitResult(
                    unit,
                    # As a file gives it back, so that it is all one whether it comes from there.
                    json.loads(json.dumps(row)),
                    units_before(spec, unit) if self.portion.draws else None,
                    encode_seconds=meter.seconds,
                    score_seconds=seconds - meter.seconds + time.monotonic() - started,
                    meter=meter,
                    items=scored.items,
                )
            )
            meter, seconds = Meter(), 0.0
        return results


def prepare_task(
    spec: TaskSpec, local: LocalDataset | None, missing: Collection[Unit] | None = None
) -> Prepared:
    """Make a fresh task object, load its data, and draw from it what is drawn before encoding.

    Others may use the random generators while data is loaded: that can take long, and draws
    nothing but where a task has its own way of doing it.

    Args:
        spec: The task.
        local: Its data in a folder; None for the hub's.
        missing: The units to be evaluated; by default all. A random stream is never continued half
            way: units that share one are all evaluated if one of them is missing.
    """
    generators = Generators()
    with generators.lent():
        task: AbsTask = build(spec, local)
    started = time.monotonic()
    if loads_as_usual(task):
        transform = task.dataset_transform

        def lent_transform() -> None:
            with generators.lent():
                transform()

        task.dataset_transform = lent_transform
        load_data(task, spec, local)
    else:
        with generators.lent():
            load_data(task, spec, local)
    loaded = time.monotonic() - started
    wanted = set(units(spec) if missing is None else missing)
    portions = tuple(p for p in _portions(task, spec, generators) if wanted.intersection(p.units))
    return Prepared(task, spec, loaded, generators, portions)


def _portions(task: AbsTask, spec: TaskSpec, generators: Generators) -> list[Portion]:
    """Cut the task into portions; draws what classification draws."""
    every = units(spec)
    if spec.type == "Classification" and all(classification.fits(task, *unit) for unit in every):
        with generators.lent():
            draws = {unit: classification.draw(task, *unit) for unit in every}
        return [Portion((u,), True, partial(_classified, task, u, draws[u])) for u in every]
    found: list[Portion] = []
    together: list[Unit] = []
    fits, encode = _PATHS.get(spec.type, (None, None))
    drawless = any(
        isinstance(task, kind) and unchanged(task, kind, "evaluate", "_evaluate_subset")
        for kind in _DRAWLESS
    )
    for split in spec.splits:
        own = [(split, subset) for subset in spec.subsets]
        if fits and encode and all(fits(task, *unit) for unit in own):
            found += [Portion((u,), False, partial(_own_way, encode, task, u)) for u in own]
        elif drawless:
            # Without the generators, which others need not wait for then.
            found += [Portion((u,), False, partial(_mteb_way, task, None, (u,))) for u in own]
        else:
            together += own
    if together:
        found.append(
            Portion(tuple(together), True, partial(_mteb_way, task, generators, tuple(together)))
        )
    return found


def _classified(
    task: Any, unit: Unit, draws: list[Any], model: MtebModel, size: int, ahead: bool
) -> dict[Unit, Scoring]:
    return {unit: classification.classification(task, model, draws, size)}


def _own_way(
    encode: Encode, task: Any, unit: Unit, model: MtebModel, size: int, ahead: bool
) -> dict[Unit, Scoring]:
    return {unit: encode(task, model, *unit, size)}


def _mteb_way(
    task: Any,
    generators: Generators | None,
    wanted: tuple[Unit, ...],
    model: MtebModel,
    size: int,
    ahead: bool,
) -> dict[Unit, Scoring]:
    """Have mteb evaluate; at once, unless what it asks for can be encoded ahead."""
    put_off = ahead and foreseen(task)
    scorings: dict[Unit, Scoring] = {}
    for split in dict.fromkeys(split for split, _ in wanted):
        subsets = [subset for own, subset in wanted if own == split]
        asked = encode_ahead(task, model, split, subsets, size) if put_off else model
        evaluated = cache(partial(_evaluated, task, generators, asked, split, subsets, size))
        if not put_off:
            evaluated()
        scorings |= {(split, s): partial(_of_subset, evaluated, s) for s in subsets}
    return scorings


def _evaluated(
    task: Any,
    generators: Generators | None,
    asked: Any,
    split: str,
    subsets: Sequence[str],
    size: int,
) -> dict[str, Scored]:
    # What is asked for two subsets at once could be told apart by nobody.
    single = len(subsets) == 1 and has_items(task)
    recorder = Recorder(asked) if single else None
    # Subsets that draw, in one call: what is drawn for one depends on those before it.
    # A dict of its own each time: mteb writes its defaults into the one it is given, and
    # 1.38.30's own then leak from task to task.
    with generators.lent() if generators else nullcontext():
        scores = task.evaluate(
            recorder or asked,
            split,
            subsets_to_run=list(subsets),
            encode_kwargs={"batch_size": size},
        )
    found = unit_items(task, split, subsets[0], recorder.calls) if recorder else None
    return {subset: Scored(dict(own), found) for subset, own in scores.items()}


def _of_subset(evaluated: Callable[[], Mapping[str, Scored]], subset: str) -> Scored:
    return evaluated().get(subset, Scored({}))


def encode_portion(
    prepared: Prepared, portion: Portion, model: MtebModel, batch_size: int, *, ahead: bool = False
) -> Encoded:
    """Encode a portion's texts, the spec's splits and subsets and nothing else.

    What mteb evaluates is scored here as well, unless its texts are encoded `ahead`.

    Args:
        prepared: The task.
        portion: The portion.
        model: The model.
        batch_size: Texts a forward pass.
        ahead: Whether to encode what mteb will ask for before it does, so that scoring can wait.

    Raises:
        VectorError: a vector is not finite or all zero.
        Stopped: a signal asked to.
    """
    started, before = time.monotonic(), replace(model.encoder.meter)
    with guarded_workers():
        scorings = portion.encode(model, batch_size, ahead)
    meter = model.encoder.meter - before
    return Encoded(prepared, portion, scorings, meter, time.monotonic() - started)
