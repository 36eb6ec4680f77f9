"""Checks, before any task is run, that the loaded model is what its recipe says.

Each is of a mistake that gives plausible vectors and wrong scores: a causal mask, padding that is
seen, another pooling, a prompt that does not arrive. A handful of short texts, so seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from qzhou_eval.encode.agreement import sentence_transformers_vectors, why_not
from qzhou_eval.encode.direction import attention_direction, wrong_direction
from qzhou_eval.encode.encoder import Encoder, Meter
from qzhou_eval.encode.rendering import render
from qzhou_eval.encode.vectors import Vectors
from qzhou_eval.errors import UserError, VectorError, one_line
from qzhou_eval.recipe.choices import Dtype, PaddingSide, Pooling
from qzhou_eval.recipe.detection import own_pooling
from qzhou_eval.recipe.recipe import NEUTRAL
from qzhou_eval.recipe.resolution import ResolvedRecipe

TEXTS = (
    "A man is eating food.",
    "A man is eating food in the garden.",
    "如何更换花呗绑定银行卡",
    "why",
    "The committee will meet again in spring to decide how the river bank is to be repaired, who "
    "pays for it, and which of the old trees can stay where they are.",
    "今天天气怎么样？ The answer depends on where one asks: rain in the north, sun in the south.",
)
"""Short and long, in both languages, two with the same beginning: a batch of them has padding, and
pooling that sees the beginning alone shows."""

TOLERANCES: dict[Dtype, float] = {
    Dtype.FLOAT32: 1e-4,
    Dtype.FLOAT16: 5e-2,
    Dtype.BFLOAT16: 3e-1,
}
"""Most that the same text's unit vectors may be apart, alone and in a batch or between two
implementations. Padding that is seen puts some 0.5 to 1.5 apart, at any dtype; bfloat16's rounding
puts 0.005 to 0.03 apart in a sound model of 8 layers, and up to 0.2 in one that is chaotic."""
# Vectors of different strings are apart by more than this, however alike they are.
DISTINCT = 1e-5


DEVICES_AGREE = "devices agree"
"""Name of the check, made where there are several, that all devices give the same vectors."""


class Status(str, Enum):
    """How a check went."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: What was checked.
        field: The recipe's field, or the part of the input, that a failure points at.
        status: How it went.
        detail: What was found, with the tolerance where there is one.
    """

    name: str
    field: str
    status: Status
    detail: str


@dataclass(frozen=True)
class Preflight:
    """All checks of a run.

    Attributes:
        checks: In the order they were made.
        seconds: Time they took.
    """

    checks: tuple[Check, ...]
    seconds: float

    @property
    def failures(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.status is Status.FAILED]

    def to_dict(self) -> dict[str, Any]:
        """Return the checks as plain values for the run's manifest."""
        return {
            "skipped": False,
            "seconds": round(self.seconds, 3),
            "checks": [{**c.__dict__, "status": c.status.value} for c in self.checks],
        }

    def raise_for_failures(self) -> None:
        """Stop if a check failed.

        Raises:
            UserError: one did; names the field of each.
        """
        if self.failures:
            told = "; ".join(f"{check.field}: {check.detail}" for check in self.failures)
            raise UserError(
                f"preflight: {told} (nothing was run; --skip-preflight runs all the same, and is "
                "recorded)"
            )


SKIPPED: dict[str, Any] = {"skipped": True}
"""What the manifest of a run without preflight says."""

Found = tuple[bool | None, str]
"""Whether a check passed, None where it could not be made, and what was found."""


def preflight(
    encoder: Encoder, resolved: ResolvedRecipe, prompts: Mapping[str, str] | None = None
) -> Preflight:
    """Check the loaded model against its recipe.

    Args:
        encoder: The loaded model.
        resolved: Its recipe and checkpoint.
        prompts: What is put before texts in the run, by a name to call it by ("STSB"); every one
            must change a text's vector.
    """
    started = time.monotonic()
    probe = _Probe(replace(encoder, meter=Meter()), resolved, prompts or {})
    sound = _check("sound vectors", "weights", probe.sound)
    checks = [sound]
    if sound.status is Status.PASSED:  # nothing else means anything without
        checks += [_check(*check) for check in probe.checks()]
    return Preflight(tuple(checks), time.monotonic() - started)


def _check(name: str, field: str, make: Callable[[], Found]) -> Check:
    try:
        passed, detail = make()
    except Exception as error:  # whatever a model throws at a text, it is no sound model
        passed, detail = False, f"{type(error).__name__}: {one_line(error)}"
    status = {True: Status.PASSED, False: Status.FAILED, None: Status.NOT_RUN}[passed]
    return Check(name, field, status, detail)


def apart(one: Vectors, other: Vectors) -> float:
    """Return the greatest distance between corresponding rows, each scaled to length 1."""
    units = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (one, other)]
    return float(np.linalg.norm(units[0] - units[1], axis=1).max())


@dataclass
class _Probe:
    """The checks, over the same few vectors."""

    encoder: Encoder
    resolved: ResolvedRecipe
    prompts: Mapping[str, str]

    def __post_init__(self) -> None:
        self.recipe = self.resolved.recipe
        self.checkpoint = self.resolved.checkpoint
        self.tolerance = TOLERANCES[self.recipe.dtype]
        self.alone = np.zeros((0, 0), dtype=np.float32)

    def checks(self) -> list[tuple[str, str, Callable[[], Found]]]:
        return [
            ("different vectors", "pooling", self.different),
            ("attention direction", "attention_direction", self.direction),
            ("padding side", "padding_side", self.padding_side),
            ("padding invariance", "padding_side", self.padding_invariance),
            ("pooling", "pooling", self.pooling),
            ("normalization", "normalize", self.normalization),
            ("prompts", "prompt_template", self.prompts_arrive),
            ("agreement with sentence-transformers", "recipe", self.agreement),
        ]

    def encode(self, prompt: str = "", batch_size: int = 1) -> Vectors:
        return self.encoder.encode(TEXTS, prompt=prompt, batch_size=batch_size)

    def sound(self) -> Found:
        """Vectors are finite, not zero and not constant."""
        try:
            self.alone = self.encode()
        except VectorError as error:
            return False, one_line(error)
        if (self.alone.std(axis=1) == 0).any():
            return False, "a vector has the same number in every dimension"
        return True, f"{self.alone.shape[1]} dimensions"

    def different(self) -> Found:
        """Different texts get different vectors."""
        pairs = ((i, j) for i in range(len(TEXTS)) for j in range(i))
        closest, one, other = min(
            (apart(self.alone[i : i + 1], self.alone[j : j + 1]), i, j) for i, j in pairs
        )
        if closest <= DISTINCT:
            return False, (
                f"{TEXTS[other]!r} and {TEXTS[one]!r} get the same vector with "
                f"{self.recipe.pooling.value} pooling and {self.recipe.max_length} tokens"
            )
        return True, f"different texts are {closest:.3f} apart or more"

    def direction(self) -> Found:
        """A later token changes an earlier hidden state, or does not, as the recipe says."""
        sides = (None, self.recipe.padding_side)
        found = [attention_direction(self.encoder.backbone, padded) for padded in sides]
        expected = self.recipe.attention_direction
        for direction in found:
            if expected is not None and direction is not expected:
                return False, wrong_direction(expected, direction)
        if found[0] is not found[1]:
            return False, f"{found[0].value} without padding, {found[1].value} with it"
        said = "as the recipe says" if expected else "the recipe does not say"
        return True, f"{found[0].value}, with and without padding; {said}"

    def padding_side(self) -> Found:
        """The tokenizer pads where the recipe says, and last-token pooling finds the last token."""
        mask = self.encoder.backbone.tokenize(list(TEXTS), self.recipe.max_length)["attention_mask"]
        wanted, pads = self.recipe.padding_side, mask == 0
        where = PaddingSide.LEFT if pads[:, 0].any() else PaddingSide.RIGHT
        if pads.any() and where is not wanted:
            return False, f"the recipe pads {wanted.value}, its tokenizer pads {where.value}"
        # A recipe of the library or of a file may say both, and so may a checkpoint whose vectors
        # are held against sentence-transformers' below.
        decided = {*self.resolved.overridden, *self.resolved.origins}
        if not why_not(self.checkpoint):
            decided = {*self.resolved.overridden}
        if decided & {"pooling", "padding_side"} and (self.recipe.pooling, wanted) == (
            Pooling.LAST_TOKEN,
            PaddingSide.RIGHT,
        ):
            return False, (
                "right, with last_token pooling: the last position of a shorter text is then "
                "padding; pad left, or say both in a recipe file if the model was made so"
            )
        return True, f"{wanted.value}, as the recipe says"

    def padding_invariance(self) -> Found:
        """A text alone and in a batch with longer ones gets the same vector."""
        distance = apart(self.alone, self.encode(batch_size=len(TEXTS)))
        detail = f"a text alone and in a padded batch: {distance:.2g} apart"
        return distance <= self.tolerance, f"{detail} (at most {self.tolerance:g})"

    def pooling(self) -> Found:
        """The pooling is the one the checkpoint's 1_Pooling names."""
        named = own_pooling(self.checkpoint)
        if not named:
            return None, "the checkpoint has no 1_Pooling"
        ours = self.recipe.pooling.value
        if named != [ours]:
            return (
                False,
                f"the recipe says {ours}, the checkpoint's 1_Pooling {' and '.join(named)}",
            )
        return True, f"{ours}, as the checkpoint's 1_Pooling"

    def normalization(self) -> Found:
        """Vectors have length 1 where the recipe normalizes."""
        lengths = np.linalg.norm(self.alone, axis=1)
        shown = f"vectors of length {lengths.min():.4f} to {lengths.max():.4f}"
        if self.recipe.normalize:
            return bool(np.abs(lengths - 1).max() <= self.tolerance), f"{shown}, normalized"
        kinds = [str(module.get("type", "")) for module in self.checkpoint.modules]
        if any(kind.endswith("Normalize") for kind in kinds):
            return False, "the recipe does not normalize, and the checkpoint's modules.json does"
        return True, f"{shown}, not normalized"

    def prompts_arrive(self) -> Found:
        """Every prompt of the run changes the vectors, each in its own way, and is not cut off."""
        by_text: dict[str, str] = {}
        for name, prompt in self.prompts.items():
            if prompt:
                by_text.setdefault(prompt, name)
        if not by_text:
            return None, "the run puts no prompts on"
        seen: dict[str, tuple[list[int], Vectors]] = {"no prompt": ([], self.alone[:1])}
        for prompt, name in by_text.items():
            vector = self.encoder.encode(TEXTS[:1], prompt=prompt, batch_size=1)
            tokens = self._tokens(prompt, TEXTS[0])
            for other, (known_tokens, known) in seen.items():
                # A tokenizer may take two prompts for the same, in upper and lower case.
                if apart(vector, known) <= DISTINCT and tokens != known_tokens:
                    return False, f"the prompt of {name} gives the vector of {other}: it is lost"
            seen[name] = (tokens, vector)
            other_text = self.encoder.encode(TEXTS[1:2], prompt=prompt, batch_size=1)
            if apart(vector, other_text) <= DISTINCT:
                return False, (
                    f"behind the prompt of {name} different texts get the same vector: "
                    f"max_length {self.recipe.max_length} leaves no room for them, or "
                    f"{self.recipe.pooling.value} pooling does not see them"
                )
        long = "long " * self.recipe.max_length
        for prompt, name in by_text.items():
            if self._tokens(prompt, long) == self._tokens("", long):
                return (
                    False,
                    f"the prompt of {name} is cut off before a long text (truncation side)",
                )
        return True, f"{len(by_text)} different prompts, each changes the vector"

    def _tokens(self, prompt: str, text: str) -> list[int]:
        string = render(text, prompt, self.recipe)
        batch = self.encoder.backbone.tokenize([string], self.recipe.max_length)
        return [int(i) for i in batch["input_ids"][0]]

    def agreement(self) -> Found:
        """Vectors are those of SentenceTransformer.encode, prompt and all."""
        if why := why_not(self.checkpoint):
            return None, why
        neutral = self.recipe.text_template == NEUTRAL["text_template"]
        prompt = next((p for p in self.prompts.values() if p and neutral), "")
        rendered = [render(text, "", self.recipe) for text in TEXTS]
        calls = [("", rendered), *([(prompt, list(TEXTS))] if prompt else [])]
        ours = [self.alone, *([self.encode(prompt)] if prompt else [])]
        try:
            theirs = sentence_transformers_vectors(
                self.checkpoint, self.recipe, self.encoder.backbone, calls
            )
        except Exception as error:  # whatever loading a checkpoint throws there
            return None, f"sentence-transformers does not load it: {one_line(error, limit=120)}"
        width = self.recipe.dimensions or None
        for (put_on, _), a, b in zip(calls, ours, theirs, strict=True):
            b = b[:, :width]
            if a.shape != b.shape:
                return False, f"{a.shape[1]} dimensions, sentence-transformers has {b.shape[1]}"
            distance = apart(a, b)
            if distance > self.tolerance:
                with_prompt = "with a prompt" if put_on else "without a prompt"
                return False, (
                    f"vectors {with_prompt} are {distance:.2g} from those of SentenceTransformer."
                    f"encode (at most {self.tolerance:g})"
                )
        distances = [apart(a, b[:, :width]) for a, b in zip(ours, theirs, strict=True)]
        return True, f"vectors agree to {max(distances):.2g}"
