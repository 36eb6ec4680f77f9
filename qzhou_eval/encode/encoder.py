"""The encoder in strict mode: the published procedure, bit for bit."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qzhou_eval import interruption
from qzhou_eval.encode.ahead import ahead
from qzhou_eval.encode.backbone import Backbone, load_backbone
from qzhou_eval.encode.chunk_store import Chunk, ChunkStore
from qzhou_eval.encode.device import TORCH_DTYPES
from qzhou_eval.encode.order import chunks, longest_first
from qzhou_eval.encode.pooling import POOLINGS
from qzhou_eval.encode.progress import Progress, Told, pace
from qzhou_eval.encode.projection import load_projection
from qzhou_eval.encode.rendering import render
from qzhou_eval.encode.vectors import Vectors
from qzhou_eval.errors import UserError, VectorError
from qzhou_eval.recipe.checkpoint import Checkpoint
from qzhou_eval.recipe.choices import PaddingSide
from qzhou_eval.recipe.recipe import Recipe

AHEAD = 8
"""Batches tokenized in advance."""


@dataclass
class Meter:
    """What an encoder has done so far.

    Attributes:
        texts: Texts encoded.
        tokens: Their tokens, prompts and special tokens included, padding not.
        seconds: Time spent on them.
        split_batches: Batches computed in parts because memory did not hold them. The company a
            text is computed in then differs from the published procedure's.
        restarts: Actors that were lost and replaced, where several devices encode.
        kept_texts: Texts whose vectors were on disk, besides.
        kept_tokens: Their tokens.
    """

    texts: int = 0
    tokens: int = 0
    seconds: float = 0.0
    split_batches: int = 0
    restarts: int = 0
    kept_texts: int = 0
    kept_tokens: int = 0

    def __add__(self, other: Meter) -> Meter:
        """Return what both have done."""
        return Meter(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Meter)))

    def __sub__(self, before: Meter) -> Meter:
        """Return what was done since `before`, a copy of this meter."""
        return Meter(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(Meter)))

    def keep(self, chunk: Chunk, texts: int) -> None:
        """Count a chunk whose vectors were on disk: those of `texts` texts, equal ones included."""
        self.kept_texts += texts
        self.kept_tokens += chunk.tokens
        # Its vectors are those of its batches, whenever these were computed.
        self.split_batches += chunk.split_batches

    def told(self) -> dict[str, int]:
        """Return what was done, for the manifest."""
        done = {
            "texts": self.texts + self.kept_texts,
            "tokens": self.tokens + self.kept_tokens,
            "tokens_per_second": round(self.tokens / max(self.seconds, 1e-9)),
        }
        more = {
            "split_batches": self.split_batches,
            "restarts": self.restarts,
            "kept_texts": self.kept_texts,
            "kept_tokens": self.kept_tokens,
        }
        return done | {name: count for name, count in more.items() if count}


@dataclass(frozen=True)
class Parameters:
    """Size of a model.

    Attributes:
        count: Number of its parameters.
        bytes: Memory they take.
    """

    count: int
    bytes: int


@dataclass
class Encoder:
    """A model on one device, loaded once and used for a whole run.

    Attributes:
        backbone: The loaded model.
        recipe: How it is run.
        projection: The layers behind the pooling; None for a model without any.
        devices: The device count of the published chunk rule.
        meter: Texts, tokens and seconds so far.
        told: What progress bars say beside their texts.
        under_way: How far the call under way is, or the last one.
    """

    backbone: Backbone
    recipe: Recipe
    projection: nn.Module | None = None
    devices: int = 1
    meter: Meter = field(default_factory=Meter)
    told: Told = pace
    under_way: Progress | None = None
    exact: ClassVar[bool] = True
    """Whether vectors are those of the published procedure, bit for bit, which a text's company in
    a call decides as well as the text."""

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
            Stopped: a signal asked to; what is done is in the store.
        """
        vectors = self.unchecked(
            texts, prompt=prompt, batch_size=batch_size, label=label, store=store
        )
        check_vectors(vectors, texts)
        return vectors

    def unchecked(
        self,
        texts: Sequence[str],
        *,
        prompt: str,
        batch_size: int,
        label: str = "",
        store: ChunkStore | None = None,
    ) -> Vectors:
        """Encode as `encode` does, without looking at what comes out."""
        started = time.monotonic()
        if not texts:
            return np.zeros((0, self.width), dtype=np.float32)
        with Progress(label, len(texts), self.told) as progress:
            self.under_way = progress
            kept = self.meter.kept_texts
            vectors = self._encode_all(texts, prompt, batch_size, progress, store)
        self.meter.texts += len(texts) - (self.meter.kept_texts - kept)
        self.meter.seconds += time.monotonic() - started
        return vectors

    @property
    def learned(self) -> dict[str, int]:
        """What the encoder has found out about the device, for the manifest."""
        return {}

    @property
    def width(self) -> int:
        """Dimensions of a vector."""
        config = self.backbone.model.config
        width = int(config.hidden_size)  # type: ignore[union-attr, arg-type]
        for layer in self.projection.children() if self.projection is not None else ():
            width = layer.out_features if isinstance(layer, nn.Linear) else width
        return min(width, self.recipe.dimensions or width)

    @property
    def parameters(self) -> Parameters:
        """Number and bytes of the model's parameters."""
        own = list(self.backbone.model.parameters())
        count = sum(values.numel() for values in own)
        return Parameters(count, sum(values.numel() * values.element_size() for values in own))

    @property
    def search_device(self) -> torch.device:
        """Where this process may search: beside the model."""
        return self.backbone.device

    @property
    def elsewhere(self) -> bool:
        """Whether the model computes on something else than this process's own cores."""
        return self.backbone.device.type != "cpu"

    @torch.no_grad()
    def _encode_all(
        self,
        texts: Sequence[str],
        prompt: str,
        batch_size: int,
        progress: Progress,
        store: ChunkStore | None,
    ) -> Vectors:
        """Vectors of all texts, (len(texts), width), on the CPU."""
        whole = np.empty((len(texts), self.width), dtype=np.float32)
        parts, keys = [], []
        for part in chunks(len(texts), self.devices):
            key = store.key(texts[part], prompt, batch_size) if store else ""
            rows = whole[part]
            if not restore(store, key, rows, self.meter, progress, len(rows)):
                parts.append(part)
                keys.append(key)
        orders = [longest_first(texts[part]) for part in parts]
        planned = [
            part.start + order[start : start + batch_size]
            for part, order in zip(parts, orders, strict=True)
            for start in range(0, len(order), batch_size)
        ]
        batches = ahead(lambda own: self._batch(texts, own, prompt), planned, AHEAD)
        with closing(batches):
            for part, key, order in zip(parts, keys, orders, strict=True):
                before = replace(self.meter)
                # A chunk's vectors stay on the device until it is through: a copy a batch would
                # make the device wait for the host 100 times.
                done = []
                for _, own in zip(range(0, len(order), batch_size), batches, strict=False):
                    done.append(self._fit(own))
                    tokens = int(own["attention_mask"].sum())
                    self.meter.tokens += tokens
                    progress.advance(len(own["attention_mask"]), tokens)
                whole[part][order] = torch.cat(done).cpu().to(torch.float32).numpy()
                self._keep(whole[part], key, store, self.meter - before)
                if part is not parts[-1]:
                    interruption.check()
        return whole

    def _keep(self, rows: Vectors, key: str, store: ChunkStore | None, made: Meter) -> None:
        """Keep a chunk's vectors on disk, if that is wanted."""
        if store:
            store.write(key, Chunk(rows, made.tokens, made.split_batches))

    def _batch(
        self, texts: Sequence[str], own: NDArray[np.int64], prompt: str
    ) -> dict[str, Tensor]:
        """Tokenize the texts of these numbers, ready to be copied to the device."""
        strings = [render(texts[i], prompt, self.recipe) for i in own]
        batch = self.backbone.tokenize(strings, self.recipe.max_length)
        if self.backbone.device.type == "cuda":
            # Pinned for this GPU: another's context would cost memory there.
            with torch.cuda.device(self.backbone.device):
                return {name: values.pin_memory() for name, values in batch.items()}
        return batch

    def _fit(self, batch: dict[str, Tensor]) -> Tensor:
        """Vectors of a batch; where memory does not hold it even when tidied up, in two parts."""
        count, length = batch["attention_mask"].shape
        for again in (False, True):
            if again:
                release_memory(self.backbone.device)
            try:
                return self._vectors(batch)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if again and count == 1:
                    raise UserError(single_text_too_large(length)) from error
        # Padded as it was, so that as little as possible differs from the whole batch.
        self.meter.split_batches += 1
        half = -(-count // 2)
        parts = (
            {n: v[rows] for n, v in batch.items()} for rows in (slice(half), slice(half, None))
        )
        return torch.cat([self._fit(part) for part in parts])

    def _vectors(self, batch: dict[str, Tensor]) -> Tensor:
        """Pooled (projected, cut, normalized) vectors of a tokenized batch, (batch, width)."""
        hidden = self.backbone.forward(batch)
        left = self.recipe.padding_side is PaddingSide.LEFT
        pooled = POOLINGS[self.recipe.pooling](hidden, batch["attention_mask"], left)
        return self._finish(pooled, hidden.dtype)

    def _finish(self, pooled: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Project, cut and normalize pooled vectors; project in `dtype`, by default their own."""
        if self.projection is not None:
            pooled = self.projection(pooled.to(dtype or pooled.dtype))
        if self.recipe.dimensions:
            pooled = pooled[:, : self.recipe.dimensions]
        if self.recipe.normalize:
            pooled = torch.nn.functional.normalize(pooled, p=2, dim=-1)
        return pooled


def load_encoder(
    checkpoint: Checkpoint, recipe: Recipe, device: torch.device, devices: int = 1
) -> Encoder:
    """Load the model of `checkpoint` onto `device` as `recipe` says.

    Raises:
        UserError: it does not load, the device cannot run it, or the recipe keeps more
            dimensions than there are.
    """
    backbone = load_backbone(checkpoint, recipe, device)
    projection = load_projection(checkpoint, device, TORCH_DTYPES[recipe.dtype])
    encoder = Encoder(backbone, recipe, projection, devices)
    if encoder.width < recipe.dimensions:
        raise UserError(
            f"recipe {recipe.name} keeps {recipe.dimensions} dimensions, and {checkpoint.name} "
            f"has {encoder.width}"
        )
    return encoder


def restore(
    store: ChunkStore | None, key: str, rows: Vectors, meter: Meter, progress: Progress, texts: int
) -> bool:
    """Fill `rows` with the vectors that are kept under `key`; False if there are none.

    Args:
        store: What keeps vectors, if anything does.
        key: The chunk's name there.
        rows: A row a distinct text.
        meter: Counts them.
        progress: Shows them.
        texts: The texts these vectors are of: more than rows, where equal ones are encoded once.
    """
    chunk = store.read(key, *rows.shape) if store else None
    if chunk is None:
        return False
    rows[:] = chunk.vectors
    meter.keep(chunk, texts)
    progress.skip(texts)
    return True


NO_MEMORY = ("can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")
"""How torch says in words that memory ran out, where it has no error of its own for it."""


def out_of_memory(error: Exception) -> bool:
    """Whether `error` says that memory ran out, on a CPU or a GPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)


def release_memory(device: torch.device) -> None:
    """Give back what is held and not used."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def single_text_too_large(tokens: int) -> str:
    """Return what to tell where not even one text fits."""
    return (
        f"out of memory with a single text of {tokens} tokens: a smaller --max-length, or a "
        "larger device"
    )


def check_vectors(vectors: Vectors, texts: Sequence[str]) -> None:
    """Stop at vectors no score may be computed from.

    Raises:
        VectorError: a vector is not finite or all zero; names the first such text.
    """
    # A row's sum of squares is finite and positive exactly if the row is sound (or overflows,
    # which no normalized or trained vector comes near).
    energy = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(energy) | (energy == 0))
    if len(bad):
        first = int(bad[0])
        what = "zero" if energy[first] == 0 else "not finite (NaN or infinite)"
        shown = texts[first] if len(texts[first]) <= 80 else texts[first][:79] + "…"
        raise VectorError(
            f"{len(bad)} of {len(vectors)} vectors cannot be scored; the first, of text "
            f"{first + 1} {shown!r}, is {what}: check --dtype and --attention"
        )
