import itertools
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from qzhou_eval.encode.encoder import Meter
from qzhou_eval.encode.speed import MeasuredPace, StatedPace, measure_pace, passages


@dataclass
class Clockwork:
    """An encoder of a token a character that takes a fixed time for each."""

    seconds_per_token: float
    max_length: int = 1024
    meter: Meter = field(default_factory=Meter)
    sizes: list = field(default_factory=list)

    def __post_init__(self):
        self.recipe = SimpleNamespace(max_length=self.max_length)

    def encode(self, texts, *, batch_size):
        tokens = sum(min(len(text) // 3, self.max_length) for text in texts)
        time.sleep(tokens * self.seconds_per_token)
        self.meter.texts += len(texts)
        self.meter.tokens += tokens
        self.meter.seconds += tokens * self.seconds_per_token
        self.sizes.append(len(texts))


def test_measured_rate_and_time():
    encoder = Clockwork(1e-5)
    encoder.meter.tokens = 7
    started = time.monotonic()
    pace = measure_pace(encoder, ["some words to go on with"], seconds=0.8, batch_size=8)
    assert time.monotonic() - started < 1.6
    assert [round(length) for length in pace.lengths] == [16, 64, 256, 1024]
    assert pace.rates == pytest.approx([1e5] * 4)
    assert max(encoder.sizes) == 32  # whole batches, four at most
    assert encoder.meter == Meter(tokens=7)


def test_slow_model_is_not_waited_for():
    """One that takes seconds for a long text is measured with short ones alone."""
    started = time.monotonic()
    pace = measure_pace(Clockwork(5e-3), ["some words"], seconds=0.4, batch_size=32)
    assert time.monotonic() - started < 1
    assert [round(length) for length in pace.lengths] == [16]
    assert pace.seconds(1000, 500, 0) == pytest.approx(5)


def test_no_length_beyond_the_recipes():
    pace = measure_pace(Clockwork(1e-6, max_length=100), ["words"], seconds=0.1, batch_size=2)
    assert max(pace.lengths) == 100


def test_in_between_lengths():
    pace = MeasuredPace((16.0, 256.0), (1000.0, 4000.0))
    assert pace.rate(4) == pytest.approx(1000)
    assert pace.rate(64) == pytest.approx(2000)
    assert pace.rate(9999) == pytest.approx(4000)
    assert pace.seconds(8000, 256, 0) == pytest.approx(2)


def test_stated_rate():
    assert StatedPace(4e12).seconds(10, 10, 8e12) == pytest.approx(2)


def test_passages_are_long_and_differ():
    found = list(itertools.islice(passages(["a few words", "and some more", "of them"] * 40), 50))
    assert min(map(len, found)) >= 3072
    assert len(set(found)) > 20
