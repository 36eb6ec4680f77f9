"""The values a recipe's fields may take, and the other names they go by."""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from qzhou_eval.errors import UserError, nearest


class Pooling(str, Enum):
    """How a text's token vectors become one vector."""

    MEAN = "mean"
    """Their mean over the text's own tokens, prompt and special tokens included."""
    WEIGHTED_MEAN = "weighted_mean"
    """Their mean weighted by position: 1 for the first token, L for the last."""
    LAST_TOKEN = "last_token"
    """The last token's vector."""
    BOS_TOKEN = "bos_token"
    """The first token's vector."""


class PaddingSide(str, Enum):
    """Where a batch's shorter texts are filled up."""

    LEFT = "left"
    RIGHT = "right"


class Dtype(str, Enum):
    """The floating-point type the model computes in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Attention(str, Enum):
    """The attention implementation, by its transformers name."""

    SDPA = "sdpa"
    EAGER = "eager"
    FLASH_ATTENTION_2 = "flash_attention_2"


class Mode(str, Enum):
    """How texts are brought through the model."""

    STRICT = "strict"
    """The published procedure, bit for bit."""
    FAST = "fast"
    """Batches by tokens, unpadded where the model allows; the same vectors up to rounding."""


class AttentionDirection(str, Enum):
    """Which tokens a token may look at."""

    BIDIRECTIONAL = "bidirectional"
    CAUSAL = "causal"


ALIASES: dict[str, str] = {
    "eos_token": "last_token",
    "lasttoken": "last_token",
    "last": "last_token",
    "cls": "bos_token",
    "cls_token": "bos_token",
    "weightedmean": "weighted_mean",
    "fp32": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
}

Choice = TypeVar("Choice", bound=Enum)


def parse_choice(kind: type[Choice], value: str, what: str) -> Choice:
    """Return the member of `kind` that `value` names, by its own name or an alias.

    Raises:
        UserError: `value` names none; the message lists those there are.
    """
    known = [str(member.value) for member in kind]
    name = value.strip().lower()
    name = name if name in known else ALIASES.get(name, name)
    if name in known:
        return kind(name)
    also = [alias for alias, target in ALIASES.items() if target in known]
    hint = nearest(name, [*known, *also])
    tail = "" if hint.startswith("known") else f" (known: {', '.join(known)})"
    raise UserError(f"unknown {what} {value!r}: {hint}{tail}")
