"""The published way of encoding, written from the protocol alone, to be timed beside ours.

One call starts a process a device (spawned, the model in shared memory), deals the texts out to
them in chunks, and ends them again. Nothing of `qzhou_eval.encode` is used: where both give the
same bits, they do so by the protocol.
"""

from __future__ import annotations

import math
import queue
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from qzhou_eval.recipe.resolution import ResolvedRecipe

MAX_CHUNK = 3200
BATCH_SIZE = 32
PATIENCE = 5.0
"""Seconds between looks at whether the workers are still there."""


@dataclass(frozen=True)
class Settings:
    """What a worker has to know besides model and tokenizer.

    Attributes:
        pooling: mean, weighted_mean, last_token or bos_token.
        left: Whether padding is on the left.
        max_length: Most tokens of a text, its prompt included.
        empty_text: What an empty text becomes.
        normalize: Whether vectors are divided by their norm.
    """

    pooling: str
    left: bool
    max_length: int
    empty_text: str
    normalize: bool


class PublishedProcedure:
    """A model in the main process's memory, and an `encode` that starts processes each time."""

    def __init__(self, resolved: ResolvedRecipe, devices: Sequence[str]) -> None:
        """Load the model of `resolved`.

        Raises:
            SystemExit: the published procedure does not know what the recipe asks for.
        """
        recipe, checkpoint = resolved.recipe, resolved.checkpoint
        if checkpoint.dense_modules or recipe.dimensions or recipe.text_template != "{text}":
            raise SystemExit(
                f"{checkpoint.name}: the published procedure knows no layers behind the pooling, "
                "no fewer dimensions and no text template"
            )
        self.devices = list(devices)
        self.settings = Settings(
            pooling=recipe.pooling.value,
            left=recipe.padding_side.value == "left",
            max_length=recipe.max_length,
            empty_text=recipe.empty_text,
            normalize=recipe.normalize,
        )
        where: dict[str, Any] = {"trust_remote_code": recipe.trust_remote_code}
        if not checkpoint.is_local and checkpoint.revision:
            where["revision"] = checkpoint.revision
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint.location, **where)
        self.tokenizer.padding_side = recipe.padding_side.value
        self.tokenizer.pad_token = self.tokenizer.pad_token or self.tokenizer.eos_token
        self.model = AutoModel.from_pretrained(
            checkpoint.location,
            torch_dtype=getattr(torch, recipe.dtype.value),
            attn_implementation=recipe.attention.value,
            **where,
        )
        self.model.eval().requires_grad_(False)
        self.model.share_memory()

    def encode(self, texts: Sequence[str], prompt: str = "") -> NDArray[np.float32]:
        """Encode `texts`, each with `prompt` before it, in processes of this call alone.

        Returns:
            Vectors, shape (len(texts), width), in the order of `texts`.

        Raises:
            RuntimeError: a worker ended before its work was done.
        """
        context = torch.multiprocessing.get_context("spawn")
        waiting, done = context.Queue(), context.Queue()
        given = (self.model, self.tokenizer, self.settings, prompt, waiting, done)
        workers = [
            context.Process(target=work, args=(device, *given), daemon=True)
            for device in self.devices
        ]
        for worker in workers:
            worker.start()
        try:
            size = min(math.ceil(len(texts) / len(self.devices)), MAX_CHUNK)
            starts = range(0, len(texts), size)
            for start in starts:
                waiting.put((start, list(texts[start : start + size])))
            parts: dict[int, NDArray[np.float32]] = {}
            while len(parts) < len(starts):
                try:
                    start, vectors = done.get(timeout=PATIENCE)
                    parts[start] = vectors
                except queue.Empty:
                    if not all(worker.is_alive() for worker in workers):
                        raise RuntimeError("a worker of the published procedure ended") from None
        finally:
            for worker in workers:
                worker.terminate()
            for worker in workers:
                worker.join()
        return np.concatenate([parts[start] for start in starts])


def work(
    device: str,
    model: Any,
    tokenizer: Any,
    settings: Settings,
    prompt: str,
    waiting: Any,
    done: Any,
) -> None:
    """Encode chunks as they come, until the process is ended from outside."""
    torch.set_grad_enabled(False)
    model = model.to(device)
    while True:
        start, texts = waiting.get()
        done.put((start, encode_chunk(texts, prompt, model, tokenizer, settings, device)))


def encode_chunk(
    texts: list[str], prompt: str, model: Any, tokenizer: Any, settings: Settings, device: str
) -> NDArray[np.float32]:
    """Return the vectors of one chunk, in the order of `texts`."""
    # Longest first, in characters of the text as it came.
    order = np.argsort([-len(text) for text in texts])
    vectors: list[Tensor] = []
    for start in range(0, len(texts), BATCH_SIZE):
        batch = [texts[i] for i in order[start : start + BATCH_SIZE]]
        strings = [prompt + (settings.empty_text if text == "" else text) for text in batch]
        features = tokenizer(
            strings,
            padding=True,
            truncation=True,
            max_length=settings.max_length,
            return_tensors="pt",
        ).to(device)
        hidden = model(**features).last_hidden_state
        pooled = pool(hidden, features["attention_mask"], settings)
        if settings.normalize:
            pooled = torch.nn.functional.normalize(pooled, p=2, dim=1)
        vectors.append(pooled.cpu().float())
    sorted_vectors = torch.cat(vectors).numpy()
    result = np.empty_like(sorted_vectors)
    result[order] = sorted_vectors
    return result


def pool(hidden: Tensor, mask: Tensor, settings: Settings) -> Tensor:
    """Return one vector a row of `hidden` (rows, positions, width), (rows, width)."""
    vectors = []
    for states, own in zip(hidden, mask, strict=True):
        length = own.sum()
        states = states[-length:] if settings.left else states[:length]
        if settings.pooling == "mean":
            vectors.append(states.sum(dim=0) / length)
        elif settings.pooling == "last_token":
            vectors.append(states[-1])
        elif settings.pooling == "bos_token":
            vectors.append(states[0])
    if settings.pooling != "weighted_mean":
        return torch.stack(vectors)
    # The published weights are float32 and go over the padded batch.
    weights = torch.zeros(mask.shape, dtype=torch.float32, device=hidden.device)
    for row, own in zip(weights, mask, strict=True):
        length = int(own.sum())
        place = torch.arange(1, length + 1, dtype=torch.float32, device=hidden.device)
        row[own.bool()] = place / place.sum()
    return (hidden * weights[:, :, None]).sum(dim=1)
