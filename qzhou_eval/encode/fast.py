"""The encoder in fast mode: no padding where the model allows, nothing encoded twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qzhou_eval import interruption
from qzhou_eval.encode.ahead import ahead
from qzhou_eval.encode.batching import by_tokens
from qzhou_eval.encode.chunk_store import ChunkStore
from qzhou_eval.encode.device import TORCH_DTYPES
from qzhou_eval.encode.direction import attention_direction
from qzhou_eval.encode.encoder import (
    Encoder,
    Meter,
    out_of_memory,
    release_memory,
    restore,
    single_text_too_large,
)
from qzhou_eval.encode.packed_pooling import pool_packed
from qzhou_eval.encode.pooling import POOLINGS
from qzhou_eval.encode.preflight import TEXTS, TOLERANCES, apart
from qzhou_eval.encode.rendering import render
from qzhou_eval.encode.unpadded import attend_unpadded, boundaries, position_numbers, within
from qzhou_eval.encode.vectors import Vectors
from qzhou_eval.errors import UserError, one_line
from qzhou_eval.recipe.choices import AttentionDirection, PaddingSide

if TYPE_CHECKING:
    from qzhou_eval.encode.progress import Progress

WINDOW = 8192
"""Texts that are sorted and batched together; the next ones are tokenized meanwhile."""
ENOUGH = 2048
"""Tokens of a padded batch from which on it is closed rather than padded by much."""
CPU_BUDGET = 4096
"""Tokens of a forward pass on a CPU: more fall out of its caches."""
GPU_BUDGET = 65_536
"""Most tokens of a forward pass on a GPU: more do not make it faster."""
MEMORY_SHARE = 0.6
"""Share of a GPU's free memory that a forward pass may take."""

Ids = list[list[int]]


class Layout(str, Enum):
    """How a batch's texts lie side by side."""

    UNPADDED = "unpadded"
    """End to end, in one row."""
    PADDED = "padded"
    """One row each, filled up to the longest."""


@dataclass
class FastEncoder(Encoder):
    """A model on one device, as `Encoder`, with batches by token budget.

    Vectors are those of the strict encoder up to rounding: a text does not see its company either
    way. Each distinct string of a call is encoded once. Pooling, projection and normalization are
    in float32.

    Attributes:
        layout: How batches are laid out.
        budget: Most tokens of a forward pass; halved for good where memory runs out.
        causal: Whether a token sees only those before it; for unpadded batches.
    """

    layout: Layout = Layout.PADDED
    budget: int = 8192
    causal: bool = False
    exact: ClassVar[bool] = False

    @torch.no_grad()
    def _encode_all(
        self,
        texts: Sequence[str],
        prompt: str,
        batch_size: int,
        progress: Progress,
        store: ChunkStore | None,
    ) -> Vectors:
        """Encode by token budget; `batch_size` does not count here."""
        strings, places = distinct([render(text, prompt, self.recipe) for text in texts])
        times = np.bincount(places, minlength=len(strings))
        vectors = np.empty((len(strings), self.width), dtype=np.float32)
        starts, keys = [], []
        for start in range(0, len(strings), WINDOW):
            own = slice(start, start + WINDOW)
            # The strings hold the prompt already.
            key = store.key(strings[own], "", 0) if store else ""
            count = int(times[own].sum())
            if not restore(store, key, vectors[own], self.meter, progress, count):
                starts.append(start)
                keys.append(key)
        for key, (start, ids) in zip(keys, self._tokenized(strings, starts), strict=True):
            before = replace(self.meter)
            lengths = np.array([len(own) for own in ids])
            part = torch.empty(len(ids), self.width, device=self.backbone.device)
            for batch in by_tokens(lengths, self.budget, padded=self._pads, enough=ENOUGH):
                part[torch.from_numpy(batch)] = self._fit_ids(ids, batch)
                tokens = int(lengths[batch].sum())
                self.meter.tokens += tokens
                progress.advance(int(times[start + batch].sum()), tokens)
            rows = vectors[start : start + len(ids)]
            rows[:] = part.cpu().numpy()
            self._keep(rows, key, store, self.meter - before)
            if start != starts[-1]:
                interruption.check()
        return vectors[places]

    @property
    def learned(self) -> dict[str, int]:
        """The token budget, which is halved where memory runs out."""
        return {"token_budget": self.budget}

    @property
    def _pads(self) -> bool:
        return self.layout is Layout.PADDED

    def _tokenized(
        self, strings: Sequence[str], starts: Sequence[int]
    ) -> Iterator[tuple[int, Ids]]:
        """Yield windows of token ids with their `starts`; the next is made while one is used."""
        windows = (strings[start : start + WINDOW] for start in starts)
        yield from zip(starts, ahead(self._ids, windows, depth=1), strict=True)

    def _ids(self, strings: Sequence[str]) -> Ids:
        limit = self.recipe.max_length
        tokenizer = self.backbone.tokenizer
        ids: Ids = tokenizer(list(strings), truncation=True, max_length=limit)["input_ids"]
        return ids

    def _fit_ids(self, ids: Ids, batch: NDArray[np.int64]) -> Tensor:
        """Vectors of a batch, (len(batch), width); in parts where memory does not hold it."""
        lengths = np.array([len(ids[i]) for i in batch])
        total = int(lengths.max() * len(batch) if self._pads else lengths.sum())
        # A batch planned before the budget shrank is not tried again at its old size.
        if len(batch) == 1 or total <= self.budget:
            try:
                return self._forward([ids[i] for i in batch])
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise UserError(single_text_too_large(total)) from error
            # Out of the handler, which would keep the failed pass's tensors alive.
            release_memory(self.backbone.device)
            self.budget = max(1, total // 2)
        whole = torch.empty(len(batch), self.width, device=self.backbone.device)
        for part in by_tokens(lengths, self.budget, padded=self._pads):
            whole[torch.from_numpy(part)] = self._fit_ids(ids, batch[part])
        return whole

    def _forward(self, ids: Ids) -> Tensor:
        """Vectors of texts given as token ids, the longest first, (len(ids), width), float32."""
        pooled = self._unpadded(ids) if self.layout is Layout.UNPADDED else self._padded(ids)
        return self._finish(pooled)

    def _unpadded(self, ids: Ids) -> Tensor:
        lengths = [len(own) for own in ids]
        flat = torch.tensor([i for own in ids for i in own])
        bounds = boundaries(lengths, self.backbone.device, self.causal)
        batch = {
            "input_ids": flat[None],
            "position_ids": position_numbers(lengths, self.backbone.model)[None],
        }
        with within(bounds):
            hidden = self.backbone.forward(batch)[0]
        return pool_packed(hidden.float(), lengths, self.recipe.pooling)

    def _padded(self, ids: Ids) -> Tensor:
        longest = len(ids[0])
        left = self.recipe.padding_side is PaddingSide.LEFT
        filled = torch.full((len(ids), longest), self.backbone.tokenizer.pad_token_id or 0)
        mask = torch.zeros(len(ids), longest, dtype=torch.int64)
        for row, own in enumerate(ids):
            place = slice(longest - len(own), None) if left else slice(0, len(own))
            filled[row, place] = torch.tensor(own)
            mask[row, place] = 1
        batch = {"input_ids": filled, "attention_mask": mask}
        if "token_type_ids" in self.backbone.inputs:
            batch["token_type_ids"] = torch.zeros_like(filled)
        hidden = self.backbone.forward(batch).float()
        return POOLINGS[self.recipe.pooling](hidden, mask, left)


def distinct(strings: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return each string once, in order of first sight, and where each of `strings` is in that."""
    seen: dict[str, int] = {}
    places = np.fromiter((seen.setdefault(s, len(seen)) for s in strings), np.int64, len(strings))
    return list(seen), places


@dataclass(frozen=True)
class Choice:
    """A fast encoder, and why its batches are laid out as they are.

    Attributes:
        encoder: The encoder.
        reason: In words for the user.
    """

    encoder: FastEncoder
    reason: str


def fast_encoder(strict: Encoder, budget: int = 0) -> Choice:
    """Turn a loaded strict encoder into a fast one; `strict` must not be used afterwards.

    Batches are unpadded if the model's attention can be had that way and a handful of texts then
    get the same vectors, else padded.

    Args:
        strict: The encoder, as loaded.
        budget: Most tokens of a forward pass; 0 to choose by the device.
    """
    expected = strict.encode(TEXTS, batch_size=1)
    direction = attention_direction(strict.backbone)
    projection = strict.projection.float() if strict.projection is not None else None
    fast = FastEncoder(
        strict.backbone,
        strict.recipe,
        projection,
        strict.devices,
        budget=budget or default_budget(strict),
        causal=direction is AttentionDirection.CAUSAL,
    )
    model = strict.backbone.model
    attention = model.config._attn_implementation  # type: ignore[union-attr]
    reason = _why_padded(fast)
    if not reason:
        attend_unpadded(model)
        fast.layout = Layout.UNPADDED
        try:
            distance = apart(expected, fast.encode(TEXTS))
            if distance <= TOLERANCES[strict.recipe.dtype]:
                fast.meter = Meter()
                return Choice(fast, f"no padding, {distance:.1g} from strict vectors")
            reason = f"unpadded vectors are {distance:.1g} from strict ones"
        except Exception as error:  # NaN, or whatever a model's own module throws
            reason = one_line(error, limit=120)
        model.config._attn_implementation = attention  # type: ignore[union-attr]
        model.__dict__.pop("_update_causal_mask", None)
    fast.layout = Layout.PADDED
    fast.meter = Meter()
    return Choice(fast, f"padded, because {reason}")


def _why_padded(fast: FastEncoder) -> str:
    """Return why unpadded batches are out of the question; empty if they may be tried."""
    config: Any = fast.backbone.model.config
    window = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) and window and window < fast.recipe.max_length:
        return f"attention slides over {window} tokens"
    if not getattr(fast.backbone.model, "_supports_attention_backend", False):
        return "the model's attention does not go through transformers' interface"
    return ""


def default_budget(encoder: Encoder) -> int:
    """Return the tokens a forward pass may hold: by free memory on a GPU, by caches on a CPU."""
    if encoder.backbone.device.type != "cuda":
        return CPU_BUDGET
    free, _ = torch.cuda.mem_get_info(encoder.backbone.device)
    config: Any = encoder.backbone.model.config
    inner = int(getattr(config, "intermediate_size", 4 * config.hidden_size))
    # Per token: the residual stream and projections, the feed-forward's halves, float32 output.
    per_token = TORCH_DTYPES[encoder.recipe.dtype].itemsize * (8 * config.hidden_size + 3 * inner)
    per_token += 8 * config.hidden_size
    return int(min(GPU_BUDGET, max(1024, MEMORY_SHARE * free / per_token)))
