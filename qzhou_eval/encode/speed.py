"""How fast texts are encoded: measured on the spot with the model itself, or stated."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

from qzhou_eval.encode.encoder import Encoder, Meter

LENGTHS = (16, 64, 256, 1024)
"""Tokens of the texts that are measured with, about; none longer than the recipe's most."""
CHARACTERS_PER_TOKEN = 3.0
"""A guess for cutting texts to a length; what they really have is counted."""
WHOLE_BATCHES = 4
"""Batches of a call, where the time suffices: a task's texts come in many."""

STRIDE = 7919
"""Characters between the beginnings of passages: a prime, so that they hardly ever come again."""


class Pace(Protocol):
    """Says how long an amount of encoding takes."""

    def seconds(self, tokens: float, length: float, flops: float) -> float:
        """Return the seconds that `tokens` take, of texts of `length` tokens, `flops` in all."""
        ...


@dataclass(frozen=True)
class StatedPace:
    """So many floating-point operations a second, whatever the texts.

    Attributes:
        flops_per_second: Sustained rate of forward passes.
    """

    flops_per_second: float

    def seconds(self, tokens: float, length: float, flops: float) -> float:
        """Return the seconds that `flops` operations take."""
        return flops / self.flops_per_second


@dataclass(frozen=True)
class MeasuredPace:
    """Tokens a second at a few lengths of text; in between, interpolated over the logarithms.

    Attributes:
        lengths: Tokens a text, ascending.
        rates: Tokens a second at each.
    """

    lengths: tuple[float, ...]
    rates: tuple[float, ...]

    def seconds(self, tokens: float, length: float, flops: float) -> float:
        """Return the seconds that `tokens` take, of texts of `length` tokens."""
        return tokens / self.rate(length)

    def rate(self, length: float) -> float:
        """Return the tokens a second of texts of `length` tokens; beyond the ends, the ends'."""
        where = math.log(max(length, 1.0))
        known = [math.log(own) for own in self.lengths]
        if where <= known[0]:
            return self.rates[0]
        for index in range(1, len(known)):
            if where <= known[index]:
                share = (where - known[index - 1]) / (known[index] - known[index - 1])
                low, high = self.rates[index - 1], self.rates[index]
                return math.exp((1 - share) * math.log(low) + share * math.log(high))
        return self.rates[-1]


def measure_pace(
    encoder: Encoder, texts: Sequence[str], *, seconds: float, batch_size: int
) -> MeasuredPace:
    """Encode texts of several lengths for about `seconds` in all, and time them.

    Lengths a single text of which would take longer than its share are left out, but the first.

    Args:
        encoder: The loaded model, in the mode whose pace is wanted. Its meter is left as it was.
        texts: Texts to make longer ones of.
        seconds: Time to spend.
        batch_size: Texts of a forward pass in strict mode.
    """
    meter = encoder.meter
    before = replace(meter)
    limit = encoder.recipe.max_length
    wanted = [length for length in LENGTHS if length < limit] + [limit] * (limit <= LENGTHS[-1])
    share = seconds / len(wanted)
    source = passages(texts)
    found: dict[float, float] = {}
    rate = math.inf
    for length in wanted:
        if length / rate > share:
            break
        own, rate = _time(encoder, source, length, share, batch_size)
        found[own] = rate
    meter.texts, meter.tokens, meter.seconds = before.texts, before.tokens, before.seconds
    meter.split_batches = before.split_batches
    lengths = tuple(sorted(found))
    return MeasuredPace(lengths, tuple(found[length] for length in lengths))


def _time(
    encoder: Encoder, source: Iterator[str], length: int, share: float, batch_size: int
) -> tuple[float, float]:
    """Return tokens a text and tokens a second at about `length` tokens."""
    characters = round(length * CHARACTERS_PER_TOKEN)
    most = WHOLE_BATCHES * max(batch_size, encoder_budget(encoder) // length)
    size = 1
    passes: list[Meter] = []
    until = time.monotonic() + share
    while not passes or time.monotonic() < until:
        passes.append(_pass(encoder, [next(source)[:characters] for _ in range(size)], batch_size))
        quickest = min(own.seconds for own in passes if own.texts == size)
        if 4 * quickest < until - time.monotonic():
            size = min(most, 4 * size)
    # What was encoded in the largest calls: whole batches, and warmed up by the smaller ones.
    largest = max(own.texts for own in passes)
    best = [own for own in passes if own.texts == largest]
    tokens = sum(own.tokens for own in best)
    seconds = sum(own.seconds for own in best)
    return tokens / (largest * len(best)), tokens / max(seconds, 1e-9)


def _pass(encoder: Encoder, texts: list[str], batch_size: int) -> Meter:
    """Encode `texts` and return what that alone added to the encoder's meter."""
    meter = encoder.meter
    before = (meter.texts, meter.tokens, meter.seconds)
    encoder.encode(texts, batch_size=batch_size)
    return Meter(meter.texts - before[0], meter.tokens - before[1], meter.seconds - before[2])


def encoder_budget(encoder: Encoder) -> int:
    """Return the tokens of a forward pass in fast mode; 0 in strict mode, which counts texts."""
    return int(getattr(encoder, "budget", 0))


def passages(texts: Sequence[str]) -> Iterator[str]:
    """Yield long texts without end, made of `texts` one after the other, from ever other places."""
    whole = " ".join(texts) + " "
    longest = round(2 * LENGTHS[-1] * CHARACTERS_PER_TOKEN)
    around = whole * (longest // len(whole) + 2)
    for number in count():
        start = number * STRIDE % len(whole)
        yield around[start : start + longest]
