"""What a task has encoded, side by side, from its data where that is here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from qzhou_eval.evaluate.local_data import LocalDataset
from qzhou_eval.plan.tokens import TokenCounter, Tokens
from qzhou_eval.suite.instructions import Side
from qzhou_eval.suite.prompts import PromptBook
from qzhou_eval.suite.sizes import Size, task_sizes
from qzhou_eval.suite.suite import TaskSpec

BYTES_PER_CHARACTER: dict[str, float] = {"eng": 1.0, "cmn": 3.0}
OTHER_BYTES = 2.0
"""UTF-8 bytes a character: of Latin and Chinese letters, and of a language in no table here."""


class Basis(str, Enum):
    """How a task's texts and tokens are known."""

    COUNTED = "counted"
    """Every text of its data was tokenized."""
    SAMPLED = "sampled"
    """The texts of its data were counted, their tokens on a sample of them."""
    ESTIMATED = "estimated"
    """From the sizes that are known of its dataset."""
    UNKNOWN = "unknown"
    """Its data is not here, and its sizes are not known."""


@dataclass(frozen=True)
class Parts:
    """What a task has encoded.

    Attributes:
        basis: How it is known.
        sides: Side to the tokens on it; None is the side of a task that knows none.
        stored_bytes: Its data's texts in UTF-8, in bytes.
    """

    basis: Basis
    sides: dict[Side | None, Tokens]
    stored_bytes: float = 0.0

    @property
    def total(self) -> Tokens:
        """The tokens of all sides."""
        return sum(self.sides.values(), Tokens())


def estimated_parts(spec: TaskSpec, counter: TokenCounter, prompts: PromptBook) -> Parts:
    """Return what is known of `spec` without its data."""
    sizes = task_sizes(spec)
    if not sizes:
        return Parts(Basis.UNKNOWN, {})
    sides = _by_side(
        (size.side, counter.estimate(size, prompts.prompt(spec.name, size.side))) for size in sizes
    )
    return Parts(Basis.ESTIMATED, sides, sum(map(stored_bytes, sizes)))


def counted_parts(
    spec: TaskSpec,
    local: LocalDataset,
    counter: TokenCounter,
    prompts: PromptBook,
    *,
    distinct: bool,
) -> Parts:
    """Count what `spec` has encoded of its local data; what is not known of its kind is estimated.

    Args:
        spec: The task, completed.
        local: Its data.
        counter: Turns texts into tokens.
        prompts: The run's prompts.
        distinct: Whether equal texts of a call are encoded once, as in fast mode.
    """
    from qzhou_eval.evaluate.mteb1.texts import calls
    from qzhou_eval.evaluate.quiet import quiet_libraries

    found: list[tuple[Side | None, Tokens]] = []
    stored = 0.0
    with quiet_libraries():
        for call in calls(spec, local):
            prompt = prompts.prompt(spec.name, call.side)
            found.append((call.side, counter.count(call.texts, prompt, distinct=distinct)))
            stored += sum(len(text.encode()) for text in call.texts)
    if not found:
        return estimated_parts(spec, counter, prompts)
    sampled = any(tokens.sampled for _, tokens in found)
    if counter.tokenizer is None:
        basis = Basis.ESTIMATED
    else:
        basis = Basis.SAMPLED if sampled else Basis.COUNTED
    return Parts(basis, _by_side(found), stored)


def _by_side(found: Iterable[tuple[Side | None, Tokens]]) -> dict[Side | None, Tokens]:
    sides: dict[Side | None, Tokens] = {}
    for side, tokens in found:
        sides[side] = sides.get(side, Tokens()) + tokens
    return sides


def stored_bytes(size: Size) -> float:
    """Return the bytes, in UTF-8, of the rows that a task's texts are taken from."""
    return size.stored * BYTES_PER_CHARACTER.get(size.language, OTHER_BYTES)
