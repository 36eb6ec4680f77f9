"""Texts to vectors over several actors, with the interface of the encoder in this process."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from qzhou_eval.encode.chunk_store import Chunk, ChunkStore
from qzhou_eval.encode.distributed.actor import Loaded, Part
from qzhou_eval.encode.distributed.pool import Pool
from qzhou_eval.encode.distributed.work import Work
from qzhou_eval.encode.encoder import Meter, Parameters, check_vectors, restore
from qzhou_eval.encode.fast import WINDOW, distinct
from qzhou_eval.encode.order import chunks
from qzhou_eval.encode.progress import Progress, Told, pace
from qzhou_eval.encode.vectors import Vectors

CHUNKS_A_DEVICE = 4
"""Chunks of a call for each device in fast mode, where their size is ours to choose: small ones
keep all devices busy to the end of the call."""
LEAST_CHUNK = 128
"""Texts of a chunk in fast mode from which on batches are no worse for it."""


@dataclass
class DistributedEncoder:
    """A model in each of several actors.

    In strict mode chunks are those of the published rule for the number of devices, so vectors are
    those of one device with that number. A chunk goes to whichever actor is free.

    Attributes:
        pool: The actors.
        loaded: What the first of them has loaded.
        search_device: Where this process may search.
        exact: Whether the actors' encoders are.
        meter: Texts, tokens and seconds so far; seconds are of this process's clock.
        told: What progress bars say beside their texts.
        elsewhere: The model computes in other processes.
    """

    pool: Pool
    loaded: Loaded
    search_device: torch.device
    exact: bool = True
    meter: Meter = field(default_factory=Meter)
    told: Told = pace
    elsewhere: bool = True
    _learned: dict[str, int] = field(default_factory=dict)

    @property
    def devices(self) -> int:
        """The device count of the chunk rule, which is that of the run's beginning."""
        return self.pool.count

    @property
    def width(self) -> int:
        """Dimensions of a vector."""
        return self.loaded.width

    @property
    def parameters(self) -> Parameters:
        """The model's size, once."""
        return self.loaded.parameters

    @property
    def learned(self) -> dict[str, int]:
        """Of each fact about the devices the least."""
        return dict(self._learned)

    def encode(
        self,
        texts: Sequence[str],
        *,
        prompt: str = "",
        batch_size: int = 32,
        label: str = "",
        store: ChunkStore | None = None,
    ) -> Vectors:
        """Encode `texts`, each with `prompt` before it.

        Args:
            texts: The texts, as the task has them.
            prompt: Put before every text as a plain string.
            batch_size: Texts a forward pass.
            label: What the progress bar calls this; no bar without one.
            store: Keeps vectors on disk chunk by chunk, and has those kept before.

        Returns:
            Vectors, shape (len(texts), width), float32, in the order of `texts`.

        Raises:
            VectorError: a vector is not finite or all zero.
            DeviceLostError: a part of the texts took down actor after actor.
            Stopped: a signal asked to; what is done is in the store.
        """
        started = time.monotonic()
        wanted, places, times = texts, None, None
        if not self.exact:
            # A text comes to one actor alone, so that it is for us to see which are the same.
            wanted, places = distinct(texts)
            times = np.bincount(places, minlength=len(wanted))
        vectors = np.empty((len(wanted), self.width), dtype=np.float32)
        parts = self._parts(len(wanted), batch_size)
        # What is not cut here is cut by the actor, by the same rule.
        devices = self.devices if len(parts) == 1 else 1
        restarts, kept = self.pool.restarts, self.meter.kept_texts
        keys = [store.key(wanted[p], prompt, batch_size, devices) if store else "" for p in parts]
        with Progress(label, len(texts), self.told) as progress:

            def count(number: int) -> int:
                own = parts[number]
                return own.stop - own.start if times is None else int(times[own].sum())

            def restored(number: int) -> bool:
                rows = vectors[parts[number]]
                return restore(store, keys[number], rows, self.meter, progress, count(number))

            def take(number: int, part: Part) -> None:
                own = parts[number]
                vectors[own] = part.vectors
                self._learn(part)
                if store:
                    made = Chunk(part.vectors, part.meter.tokens, part.meter.split_batches)
                    store.write(keys[number], made)
                progress.advance(count(number), part.meter.tokens)

            missing = [number for number in range(len(parts)) if not restored(number)]

            try:
                Work(
                    self.pool,
                    missing,
                    lambda number: (wanted[parts[number]], prompt, batch_size, devices),
                    take,
                    lambda number: _called(label, parts[number]),
                    progress.show,
                ).run()
            finally:
                self.meter.restarts += self.pool.restarts - restarts
        if places is not None:
            vectors = vectors[places]
        check_vectors(vectors, texts)
        self.meter.texts += len(texts) - (self.meter.kept_texts - kept)
        self.meter.seconds += time.monotonic() - started
        return vectors

    def _parts(self, count: int, batch_size: int) -> list[slice]:
        """Return the texts of each actor call: one for a small number of texts."""
        if self.exact:
            if count <= batch_size:
                return [slice(0, count)] if count else []
            return list(chunks(count, self.devices))
        size = math.ceil(count / (CHUNKS_A_DEVICE * self.devices))
        size = min(max(size, LEAST_CHUNK), WINDOW)
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    def _learn(self, part: Part) -> None:
        self.meter.tokens += part.meter.tokens
        self.meter.split_batches += part.meter.split_batches
        for name, value in part.learned.items():
            self._learned[name] = min(value, self._learned.get(name, value))


def _called(label: str, part: slice) -> str:
    return f"the chunk of texts {part.start + 1} to {part.stop}{f' of {label}' if label else ''}"
