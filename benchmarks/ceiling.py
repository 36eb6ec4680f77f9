"""What a machine's matrix products reach at a model's own shapes, and where its time goes.

A forward pass is matrix products and little else, so floating-point operations a second, held
against what products alone reach on the same machine, say how much there is left to gain. Products
of large square matrices, and what a token costs, are `qzhou_eval.encode.cost`'s.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from qzhou_eval.encode.cost import Shape

Call = Callable[[], object]
Layers = Mapping[tuple[int, int], int]
"""Inputs and outputs of linear layers, to how many there are of that shape."""


def linear_layers(model: nn.Module) -> Layers:
    """Return the linear layers a token goes through."""
    return Counter(
        (module.in_features, module.out_features)
        for name, module in model.named_modules()
        # A pooler sees one token a text, and nothing is read from it.
        if isinstance(module, nn.Linear) and "pooler" not in name
    )


def operations(shape: Shape, lengths: Sequence[int]) -> float:
    """Return the floating-point operations for texts of so many tokens, none of them padding."""
    # Attention costs a token what its own text is long, so a long text's tokens count as such.
    tokens = sum(lengths)
    return shape.flops(tokens, sum(length * length for length in lengths) / tokens)


def own_products(
    layers: Layers, tokens: int, device: torch.device, dtype: torch.dtype, seconds: float = 1.0
) -> float:
    """Return the operations a second of a model's own linear layers, at `tokens` a batch.

    Each shape is timed alone; they count by how many layers have it.
    """
    spent, needed = 0.0, 0
    for (inputs, outputs), count in layers.items():
        x = torch.randn(tokens, inputs, device=device, dtype=dtype)
        # Scaled as a model's are: what the numbers are decides a GPU's clock, and so its rate.
        weight = torch.randn(outputs, inputs, device=device, dtype=dtype) / inputs**0.5
        spent += count * seconds_of(_product(x, weight), device, seconds / len(layers))
        needed += count * 2 * inputs * outputs * tokens
    return needed / spent


def _product(x: torch.Tensor, weight: torch.Tensor) -> Call:
    return lambda: nn.functional.linear(x, weight)


@torch.no_grad()
def seconds_of(call: Call, device: torch.device, seconds: float) -> float:
    """Return the mean time of `call`, done over and over for `seconds`."""
    for _ in range(3):  # the first picks an algorithm and takes memory
        call()
    synchronize(device)
    count, batch = 0, 1
    started = time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        for _ in range(batch):
            call()
        synchronize(device)
        count += batch
        batch = min(2 * batch, 64)  # so that waiting for a GPU does not count
    return spent / count


def synchronize(device: torch.device) -> None:
    """Wait for what a GPU was given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


LINEAR_LAYERS = ("aten::addmm", "aten::mm", "aten::linear")
OTHER_PRODUCTS = ("aten::bmm", "aten::baddbmm")
"""Of attention, where it is not one operation of its own."""
ATTENTION = ("attention", "attn")
SHOWN = 4
"""Of the operations that are neither, those named."""


@dataclass(frozen=True)
class Spent:
    """Where the time of a call goes.

    Attributes:
        shares: Of the time that passes, in linear layers, attention, other operations and besides
            (on a CPU outside of torch: tokenizing, Python; on a GPU while no kernel runs).
        others: The longest of the other operations, with their shares.
        rate: Operations a second at which the linear layers run, padding counted.
        operations: Floating-point operations of the linear layers, padding counted.
    """

    shares: Mapping[str, float]
    others: Mapping[str, float]
    rate: float
    operations: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {
            "shares": dict(self.shares),
            "longest_other_operations": dict(self.others),
            "linear_layers_in_billion_operations_a_second": round(self.rate / 1e9, 1),
        }


def time_spent(call: Call, device: torch.device) -> Spent:
    """Return where the time of `call` goes, by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities, with_flops=True) as profiler:
        started = time.perf_counter()
        call()
        synchronize(device)
        passed = time.perf_counter() - started
    spent = dict.fromkeys(("linear layers", "attention", "other operations"), 0.0)
    others: dict[str, float] = {}
    operations = 0.0
    for event in profiler.key_averages():
        if not str(event.device_type).endswith("CPU"):
            continue  # a kernel's time is that of the operation that started it, too
        own = (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6
        if event.key in LINEAR_LAYERS:
            spent["linear layers"] += own
            operations += event.flops
        elif event.key in OTHER_PRODUCTS or any(part in event.key for part in ATTENTION):
            spent["attention"] += own
        else:
            spent["other operations"] += own
            others[event.key] = own
    besides = "no kernel" if on_gpu else "outside of torch"
    rate = operations / max(spent["linear layers"], 1e-9)
    spent[besides] = max(passed - sum(spent.values()), 0.0)
    longest = sorted(others, key=lambda name: -others[name])[:SHOWN]
    return Spent(
        {kind: round(own / passed, 3) for kind, own in spent.items()},
        {name.removeprefix("aten::"): round(others[name] / passed, 3) for name in longest},
        rate,
        operations,
    )
