"""Units of a run: one split and subset of a task, the least that is saved with a score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qzhou_eval.encode.encoder import Meter
from qzhou_eval.suite.suite import TaskSpec

if TYPE_CHECKING:
    from qzhou_eval.evaluate.items import Items

Unit = tuple[str, str]
"""Split and subset."""


def units(spec: TaskSpec) -> list[Unit]:
    """Return the units of `spec`, in the order they are run."""
    return [(split, subset) for split in spec.splits for subset in spec.subsets]


def units_before(spec: TaskSpec, unit: Unit) -> tuple[Unit, ...]:
    """Return the units of `spec` that are run before `unit`."""
    own = units(spec)
    return tuple(own[: own.index(unit)])


@dataclass(frozen=True)
class UnitResult:
    """A unit that has been evaluated.

    Attributes:
        unit: Split and subset.
        row: Its row of the result file: scores, subset and languages.
        drawn_after: The units that had drawn random numbers before it, where it draws from the
            task's one stream; None where no other unit decides its score.
        encode_seconds: Time in the encoder.
        score_seconds: Time to score.
        meter: What was encoded for it; of units evaluated together, the first has it all.
        hardware: What computed its vectors, as far as that can decide their last bits.
        items: What its score is made of; None where that is not known, or not kept.
    """

    unit: Unit
    row: Mapping[str, Any]
    drawn_after: tuple[Unit, ...] | None = None
    encode_seconds: float = 0.0
    score_seconds: float = 0.0
    meter: Meter = field(default_factory=Meter)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    items: Items | None = None

    def holds_for(self, spec: TaskSpec) -> bool:
        """Whether a run of `spec` would give this result: it draws the same numbers."""
        if self.drawn_after is None or self.unit not in units(spec):
            return True
        return self.drawn_after == units_before(spec, self.unit)
