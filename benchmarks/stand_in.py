"""A stand-in for a model: it takes a fixed time a text and computes next to nothing.

So that what several actors gain and cost can be measured on a machine with few cores, where real
models would fight over them. Figures made with it say nothing of any model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from qzhou_eval.encode.encoder import Meter, Parameters, check_vectors
from qzhou_eval.encode.order import chunks
from qzhou_eval.encode.vectors import Vectors


class DelayEncoder:
    """Sleeps for each text, and returns vectors of ones."""

    exact = True
    parameters = Parameters(0, 0)
    learned: dict[str, int] = {}  # noqa: RUF012

    def __init__(self, seconds_a_text: float, width: int) -> None:
        self.seconds_a_text, self.width = seconds_a_text, width
        self.devices, self.meter = 1, Meter()

    def unchecked(
        self, texts: Sequence[str], *, prompt: str = "", batch_size: int = 32, label: str = ""
    ) -> Vectors:
        """Return vectors of ones, (len(texts), width), after the time they take."""
        time.sleep(self.seconds_a_text * len(texts))
        self.meter = replace(self.meter, texts=self.meter.texts + len(texts))
        return np.ones((len(texts), self.width), dtype=np.float32)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode chunk by chunk, as one device does."""
        parts = [self.unchecked(texts[part]) for part in chunks(len(texts), self.devices)]
        vectors = np.concatenate(parts)
        check_vectors(vectors, texts)
        return vectors


class DelayEngine:
    """As much of an engine as an actor asks for."""

    name = "stand-in"
    shape = None
    hardware: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, encoder: DelayEncoder) -> None:
        self.encoder = encoder


@dataclass(frozen=True)
class DelayLoader:
    """Loads the stand-in in an actor.

    Attributes:
        seconds_a_text: Time it takes a text.
        width: Dimensions of its vectors.
    """

    seconds_a_text: float
    width: int

    def check(self) -> None:
        """Nothing can be missing."""

    def load(self, device: torch.device) -> Any:
        """Return the stand-in's engine."""
        return DelayEngine(DelayEncoder(self.seconds_a_text, self.width))
