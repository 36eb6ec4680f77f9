"""What a forward pass costs: operations, weights and memory, by a transformer's shape alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qzhou_eval.errors import UserError
from qzhou_eval.files import read_toml
from qzhou_eval.recipe.choices import Dtype

if TYPE_CHECKING:
    import torch

SHAPES = Path(__file__).parent / "shapes.toml"
ITEM_BYTES: dict[Dtype, int] = {Dtype.FLOAT32: 4, Dtype.BFLOAT16: 2, Dtype.FLOAT16: 2}

# A fact of the shape, under the names that configurations have for it.
_NAMES: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layers", "n_layer", "num_layers"),
    "hidden": ("hidden_size", "dim", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_heads", "n_head", "num_heads"),
    "vocabulary": ("vocab_size",),
}
_INNER = ("intermediate_size", "hidden_dim", "n_inner", "d_ff")
# Feed-forwards of three matrices, which their activation does not give away.
_GATED_TYPES = ("new", "gemma", "gemma2", "gemma3", "gemma3_text", "modernbert")
# Layers, widths and tokens beyond this are no model's.
MOST_OF_ANY = 2**31
_GATED_ACTIVATIONS = ("silu", "swiglu", "swish")


@dataclass(frozen=True)
class Shape:
    """The sizes that decide what a transformer costs.

    Attributes:
        layers: Transformer layers.
        hidden: Width of the residual stream.
        inner: Width of the feed-forward.
        heads: Attention heads.
        key_heads: Heads that have keys and values of their own.
        head_width: Width of a head.
        gated: Whether the feed-forward has three matrices (two halves and back) or two.
        vocabulary: Token embeddings.
    """

    layers: int
    hidden: int
    inner: int
    heads: int
    key_heads: int
    head_width: int
    gated: bool
    vocabulary: int

    @property
    def layer_parameters(self) -> int:
        """Weights of all layers' matrices; biases and norms, a thousandth of them, left out."""
        attention = 2 * self.hidden * self.head_width * (self.heads + self.key_heads)
        feed_forward = (3 if self.gated else 2) * self.hidden * self.inner
        return self.layers * (attention + feed_forward)

    @property
    def parameters(self) -> int:
        """Weights of the layers' matrices and the token embeddings."""
        return self.layer_parameters + self.vocabulary * self.hidden

    def weights_bytes(self, dtype: Dtype) -> int:
        """Return the memory the weights take in `dtype`, in bytes."""
        return self.parameters * ITEM_BYTES[dtype]

    def flops(self, tokens: float, length: float) -> float:
        """Return the floating-point operations of a forward pass.

        Two for each weight of the layers and token, and in attention two for each number of query
        and value, times the tokens looked at. Looking up embeddings, norms and activations are not
        counted, nor what a causal model may save.

        Args:
            tokens: Tokens in all.
            length: Tokens of the text that a token is part of, on average over tokens.
        """
        attention = 4 * self.layers * self.heads * self.head_width * length
        return tokens * (2 * self.layer_parameters + attention)

    def activation_bytes(self, tokens: int, dtype: Dtype) -> int:
        """Return roughly the memory a forward pass over `tokens` tokens needs, in bytes.

        The residual stream and the projections, the feed-forward's halves, and a float32 output.
        """
        per_token = ITEM_BYTES[dtype] * (8 * self.hidden + 3 * self.inner) + 8 * self.hidden
        return tokens * per_token


def read_shape(config: Any, name: str = "the model") -> Shape:
    """Read the shape off a configuration.

    Args:
        config: The contents of a ``config.json``, or a transformers configuration.
        name: Names the model in errors.

    Raises:
        UserError: it does not say what is needed.
    """
    values: Mapping[str, Any] = config if isinstance(config, Mapping) else config.to_dict()
    nested = values.get("text_config")
    if isinstance(nested, Mapping):
        values = nested
    found = {fact: _number(values, names) for fact, names in _NAMES.items()}
    missing = [_NAMES[fact][0] for fact, value in found.items() if not value]
    if missing:
        raise UserError(f"{name}: its config.json does not say {', '.join(missing)}")
    hidden, heads = found["hidden"], found["heads"]
    activations = (values.get("hidden_act"), values.get("activation_function"))
    return Shape(
        **found,
        inner=_number(values, _INNER) or 4 * hidden,
        key_heads=_number(values, ("num_key_value_heads",)) or heads,
        head_width=_number(values, ("head_dim",)) or hidden // heads,
        gated=values.get("model_type") in _GATED_TYPES
        or any(activation in _GATED_ACTIVATIONS for activation in activations),
    )


def _number(values: Mapping[str, Any], names: tuple[str, ...]) -> int:
    found = (values.get(name) for name in names)
    return next((value for value in found if type(value) is int and 0 < value < MOST_OF_ANY), 0)


@cache
def known_shapes() -> dict[str, Shape]:
    """Return the shapes of the library's models, by hub name in lower case."""
    wanted = {field.name for field in fields(Shape)}
    shapes = {}
    for name, values in read_toml(SHAPES, "table of shapes").items():
        given = {"key_heads": values["heads"], "gated": False, **values}
        given.setdefault("head_width", given["hidden"] // given["heads"])
        assert set(given) == wanted, (name, given)
        shapes[name.lower()] = Shape(**given)
    return shapes


def matrix_ceiling(device: torch.device, dtype: Dtype, seconds: float = 0.5) -> float:
    """Measure what large matrix products alone reach on `device`.

    Args:
        device: Where to compute.
        dtype: The factors' type.
        seconds: About how long to take.

    Returns:
        Floating-point operations a second, the median over products.
    """
    import torch

    from qzhou_eval.encode.device import TORCH_DTYPES

    side = 8192 if device.type == "cuda" else 1024
    # Random, not zeros: a GPU multiplies zeros faster than it ever multiplies numbers.
    left, right = (torch.randn(side, side, device=device).to(TORCH_DTYPES[dtype]) for _ in range(2))
    left @ right
    rates: list[float] = []
    until = time.perf_counter() + seconds
    while len(rates) < 3 or (time.perf_counter() < until and len(rates) < 1000):
        _wait(device)
        started = time.perf_counter()
        left @ right
        _wait(device)
        rates.append(2 * side**3 / (time.perf_counter() - started))
    return statistics.median(rates)


def _wait(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
