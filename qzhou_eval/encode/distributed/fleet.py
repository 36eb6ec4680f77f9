"""Several devices as one engine: the actors of a run, started, checked and asked together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from qzhou_eval.encode.backbone import load_tokenizer
from qzhou_eval.encode.cost import Shape
from qzhou_eval.encode.distributed.actor import FORWARDED, Loaded
from qzhou_eval.encode.distributed.encoder import DistributedEncoder
from qzhou_eval.encode.distributed.loading import Loader, ModelLoader
from qzhou_eval.encode.distributed.pool import Pool
from qzhou_eval.encode.engine import FastLayout
from qzhou_eval.encode.placement import Placement
from qzhou_eval.encode.preflight import DEVICES_AGREE, TOLERANCES, Check, Preflight, Status, apart
from qzhou_eval.encode.speed import MeasuredPace
from qzhou_eval.errors import DeviceLostError, UserError
from qzhou_eval.recipe.resolution import ResolvedRecipe


@dataclass
class Fleet:
    """A model in each of several actors, as one engine.

    Attributes:
        resolved: The recipe and the checkpoint.
        pool: The actors.
        loaded: What each has loaded.
        encoder: Cuts texts into chunks and has them encoded.
    """

    resolved: ResolvedRecipe
    pool: Pool
    loaded: list[Loaded]
    encoder: DistributedEncoder = field(init=False)

    def __post_init__(self) -> None:
        # On the cores: a GPU's memory is its actor's, who could not get back what is taken here.
        self.encoder = DistributedEncoder(self.pool, self.loaded[0], torch.device("cpu"))

    @property
    def name(self) -> str:
        """What computes, by kinds of device."""
        names = [one.name for one in self.loaded]
        kinds = dict.fromkeys(names)
        return " + ".join(f"{names.count(kind)} x {kind}" for kind in kinds)

    @property
    def shape(self) -> Shape:
        """The model's sizes."""
        shape = self.loaded[0].shape
        if shape is None:
            raise UserError(f"--model {self.resolved.model_name}: its sizes are not known")
        return shape

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer, loaded in this process too."""
        return load_tokenizer(self.resolved.checkpoint, self.resolved.recipe)

    @property
    def hardware(self) -> dict[str, Any]:
        """The first actor's hardware, and which devices there are."""
        devices = [
            {
                "device": self.pool.device(member),
                "host": member.where.host if member.where else "",
                "name": loaded.name,
                "threads": loaded.hardware.get("threads"),
            }
            for member, loaded in zip(self.pool.members, self.loaded, strict=True)
        ]
        return {**self.loaded[0].hardware, "device": self.name, "devices": devices}

    def preflight(self, prompts: Mapping[str, str]) -> Preflight:
        """Check every actor's model against the recipe, and that all give the same vectors."""
        results: list[Preflight] = self.pool.ask("preflight", dict(prompts))
        names = [self.pool.device(member) for member in self.pool.members]
        checks = []
        for same in zip(*(result.checks for result in results), strict=False):
            failed = [i for i, check in enumerate(same) if check.status is Status.FAILED]
            first = same[failed[0]] if failed else same[0]
            where = f"{names[failed[0]]}: " if failed else ""
            checks.append(replace(first, detail=where + first.detail))
        if not any(check.status is Status.FAILED for check in checks):
            checks.append(self._agreement(names))
        return Preflight(tuple(checks), max(result.seconds for result in results))

    def _agreement(self, names: list[str]) -> Check:
        vectors = self.pool.ask("sample_vectors")
        distances = [apart(vectors[0], other) for other in vectors[1:]]
        furthest = int(np.argmax(distances)) + 1 if distances else 0
        distance = max(distances, default=0.0)
        tolerance = TOLERANCES[self.resolved.recipe.dtype]
        self.pool.vectors, self.pool.tolerance = vectors[0], tolerance
        if all(np.array_equal(vectors[0], other) for other in vectors[1:]):
            detail = f"{len(vectors)} devices give the same bits"
        else:
            detail = (
                f"{names[0]} and {names[furthest]} give vectors {distance:.2g} apart (at most "
                f"{tolerance:g}): scores depend on which device encodes what"
            )
        status = Status.PASSED if distance <= tolerance else Status.FAILED
        return Check(DEVICES_AGREE, "device", status, detail)

    def check_direction(self) -> None:
        """Check that attention looks as the recipe says, on every device."""
        self.pool.ask("check_direction")

    def make_fast(self) -> FastLayout:
        """Encode in fast mode from here on, on every device."""
        layouts: list[FastLayout] = self.pool.ask("make_fast")
        self.pool.fast = True
        self.encoder = replace(self.encoder, exact=False)
        return min(layouts, key=lambda layout: layout.budget)

    def pace(self, seconds: float, batch_size: int) -> MeasuredPace:
        """Measure the first device, and take the others to be like it."""
        pace: MeasuredPace = self.pool.ask_first("pace", seconds, batch_size)
        return replace(pace, rates=tuple(len(self.loaded) * rate for rate in pace.rates))

    def ceiling(self, seconds: float) -> float:
        """Measure every device's matrix products; return their sum."""
        return float(sum(self.pool.ask("ceiling", seconds)))

    def close(self) -> None:
        """End the actors."""
        self.pool.close()


def load_fleet(
    resolved: ResolvedRecipe, placement: Placement, loader: Loader | None = None
) -> Fleet:
    """Start an actor a device and load the model in each.

    Args:
        resolved: The recipe and the checkpoint.
        placement: The devices, with the cluster they are in.
        loader: Loads the model; by default the checkpoint's.

    Raises:
        UserError: Ray cannot place them, a node lacks the model, or it does not load.
    """
    assert placement.cluster is not None
    variables = {name: os.environ[name] for name in FORWARDED if name in os.environ}
    pool = Pool(
        placement.cluster,
        loader or ModelLoader(resolved),
        placement.kind,
        placement.count,
        variables,
    )
    try:
        return Fleet(resolved, pool, pool.start())
    except DeviceLostError as error:
        pool.close()
        raise UserError(
            f"{error}; every node needs this environment with qzhou-eval in it"
        ) from error
    except BaseException:
        pool.close()
        raise
