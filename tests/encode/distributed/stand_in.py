"""Stand-ins for a model, for what does not depend on one: their vectors are made of a text's bytes.

Actors import this module, or are sent it.
"""

import os
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qzhou_eval.encode.distributed.loading import ModelLoader
from qzhou_eval.encode.encoder import Meter, Parameters
from qzhou_eval.errors import UserError

WIDTH = 16


def vectors_of(texts, width=WIDTH):
    rows = [np.random.default_rng(zlib.crc32(t.encode())).standard_normal(width) for t in texts]
    return np.array(rows, dtype=np.float32).reshape(len(texts), width)


class StandInEncoder:
    """Does what the loader says to certain texts."""

    exact = True
    parameters = Parameters(0, 0)
    learned: dict = {}  # noqa: RUF012

    def __init__(self, loader):
        self.loader = loader
        self.width = loader.width
        self.devices = 1
        self.meter = Meter()

    def unchecked(self, texts, *, prompt="", batch_size=32, label="", store=None):
        time.sleep(self.loader.delay)
        if "kill" in texts:
            os.kill(os.getpid(), 9)
        if "once" in texts and not Path(self.loader.mark).exists():
            Path(self.loader.mark).touch()
            os.kill(os.getpid(), 9)
        if "fault" in texts:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if "wrong" in texts:
            raise UserError("this text is wrong")
        self.meter.texts += len(texts)
        self.meter.tokens += len(texts)
        vectors = vectors_of(texts, self.width)
        vectors[[text == "nan" for text in texts]] = np.nan
        return vectors


class StandInEngine:
    name = "stand-in"
    shape = None
    hardware: dict = {}  # noqa: RUF012

    def __init__(self, loader):
        self.encoder = StandInEncoder(loader)


@dataclass(frozen=True)
class StandInLoader:
    delay: float = 0.0
    width: int = WIDTH
    mark: str = ""
    """A file: there, "once" has killed already, and "broken" models do not load any more."""
    broken: bool = False
    unchecked: bool = False

    def check(self):
        if self.unchecked and Path(self.mark).exists():
            raise UserError("has other files there")

    def load(self, device):
        if self.broken and Path(self.mark).exists():
            raise UserError("it does not load any more")
        return StandInEngine(self)


@dataclass(frozen=True)
class SlowLoader(ModelLoader):
    """A real model that takes its time over each chunk, so that there is a time to kill it in."""

    delay: float = 0.1

    def load(self, device):
        engine = super().load(device)
        encode = engine.encoder.unchecked

        def slow(*arguments, **named):
            time.sleep(self.delay)
            return encode(*arguments, **named)

        engine.encoder.unchecked = slow
        return engine
