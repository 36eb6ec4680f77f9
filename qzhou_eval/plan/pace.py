"""Which pace a plan goes by: the model's own here, this device's products, or stated figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qzhou_eval.encode.cost import matrix_ceiling
from qzhou_eval.encode.speed import MeasuredPace, Pace, StatedPace
from qzhou_eval.errors import UserError, nearest
from qzhou_eval.recipe.choices import Dtype, Mode

if TYPE_CHECKING:
    import torch

    from qzhou_eval.encode.engine import Engine

TERA = 1e12
SHARES: dict[Mode, float] = {Mode.STRICT: 0.5, Mode.FAST: 0.65}
"""Share of a device's matrix products that forward passes are taken to reach, where the model
itself is not measured: stated, not measured. Padding, short batches and attention take the rest."""
DEVICES: dict[str, tuple[float, str]] = {
    "h100": (790.0, "measured, 8192 x 8192 products"),
    "h200": (790.0, "measured, 8192 x 8192 products"),
    "a100": (312.0, "data sheet"),
    "l40s": (362.0, "data sheet"),
    "l4": (121.0, "data sheet"),
    "rtx4090": (165.0, "data sheet"),
}
"""Dense matrix products in half precision, in TFLOP/s, and where each figure is from."""


@dataclass(frozen=True)
class ChosenPace:
    """A pace, and what a reader is told of it.

    Attributes:
        pace: The pace.
        told: On what, and by which measure.
        measured: Whether it was measured with the model itself.
    """

    pace: Pace
    told: str
    measured: bool = False


def times(one: ChosenPace, count: int) -> ChosenPace:
    """Return the pace of `count` devices, each as fast as `one` and none ever waiting."""
    if count == 1:
        return one
    pace = one.pace
    if isinstance(pace, MeasuredPace):
        pace = replace(pace, rates=tuple(count * rate for rate in pace.rates))
    elif isinstance(pace, StatedPace):
        pace = StatedPace(count * pace.flops_per_second)
    return replace(one, pace=pace, told=f"{one.told}; times {count} devices (stated)")


def stated_rate(tflops: float) -> ChosenPace:
    """Return the pace of a stated sustained rate, in TFLOP/s."""
    return ChosenPace(StatedPace(tflops * TERA), f"at {tflops:g} TFLOP/s, as stated")


def stated_device(name: str, dtype: Dtype, mode: Mode) -> ChosenPace:
    """Return the pace of a device by its name.

    Raises:
        UserError: it is not in the table, or the table does not hold for the dtype.
    """
    key = name.lower().replace(" ", "").replace("-", "")
    if key not in DEVICES:
        raise UserError(
            f"unknown --device-name {name!r}: {nearest(key, DEVICES)}; any other: --tflops"
        )
    if dtype is Dtype.FLOAT32:
        raise UserError(
            f"--device-name {key}: its figure is for half precision and the recipe computes in "
            "float32: state a sustained rate with --tflops"
        )
    tflops, source = DEVICES[key]
    share = SHARES[mode]
    told = f"on one {key}: {share:.0%} (stated) of {tflops:g} TFLOP/s ({source})"
    return ChosenPace(StatedPace(share * tflops * TERA), told)


def device_pace(device: torch.device, dtype: Dtype, mode: Mode) -> ChosenPace:
    """Measure this device's matrix products, for a model whose weights are not here."""
    ceiling, share = matrix_ceiling(device, dtype), SHARES[mode]
    told = (
        f"on this {_name(device)}: {share:.0%} (stated) of {ceiling / TERA:.3g} TFLOP/s "
        f"({dtype.value} products, measured)"
    )
    return ChosenPace(StatedPace(share * ceiling), told)


def model_pace(engine: Engine, seconds: float, batch_size: int) -> ChosenPace:
    """Measure the loaded model itself, in its mode.

    Args:
        engine: The loaded model.
        seconds: Time to spend.
        batch_size: Texts of a forward pass in strict mode.
    """
    pace = engine.pace(seconds, batch_size)
    told = f"on this {engine.name}, measured with the model: {_rates(pace)}"
    return ChosenPace(pace, told, measured=True)


def _rates(pace: MeasuredPace) -> str:
    pairs = zip(pace.lengths, pace.rates, strict=True)
    told = ", ".join(f"{rate:,.0f} at {length:.0f} a text" for length, rate in pairs)
    return f"tokens a second {told}"


def _name(device: torch.device) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
