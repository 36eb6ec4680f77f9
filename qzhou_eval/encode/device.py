"""Which device computes, and whether it can."""

from __future__ import annotations

import torch

from qzhou_eval.errors import UserError
from qzhou_eval.recipe.choices import Attention, Dtype

TORCH_DTYPES: dict[Dtype, torch.dtype] = {
    Dtype.FLOAT32: torch.float32,
    Dtype.BFLOAT16: torch.bfloat16,
    Dtype.FLOAT16: torch.float16,
}


def choose_device(name: str) -> torch.device:
    """Return the device `name` means: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        UserError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"unknown device {name!r}: known: auto, cpu, cuda, cuda:N")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            why = "this torch is built without CUDA"
            if torch.version.cuda:
                why = f"torch {torch.__version__} finds no GPU or no driver"
            raise UserError(f"--device {name}: {why}; use --device cpu, or auto")
        device = torch.device("cuda", device.index or 0)
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(
                f"--device {name}: this machine has {torch.cuda.device_count()} GPUs, "
                "numbered from 0"
            )
    return device


def one_device(names: str) -> str:
    """Return `names`, where "auto" means the first GPU alone: for little work."""
    return "cuda" if names == "auto" and torch.cuda.is_available() else names


def choose_devices(names: str) -> tuple[torch.device, ...]:
    """Return the devices `names` means: "auto" for all GPUs, or one or more, comma-separated.

    "cpu" may be named more than once: each is an actor of its own on this machine's cores.

    Raises:
        UserError: no such devices, the same GPU twice, or GPUs and CPUs together.
    """
    if names == "auto" and torch.cuda.is_available():
        return tuple(torch.device("cuda", number) for number in range(torch.cuda.device_count()))
    parts = [part.strip() for part in names.split(",")]
    if len(parts) > 1 and "auto" in parts:
        raise UserError(f"--device {names}: auto stands alone, for all GPUs")
    devices = tuple(choose_device(part) for part in parts)
    if len({device.type for device in devices}) > 1:
        raise UserError(f"--device {names}: devices of one kind, please: they share the texts")
    gpus = [device for device in devices if device.type == "cuda"]
    if len(set(gpus)) < len(gpus):
        raise UserError(f"--device {names}: names the same GPU twice")
    return devices


def check_support(device: torch.device, dtype: Dtype, attention: Attention) -> None:
    """Refuse, before any weights are read, what `device` cannot compute.

    Raises:
        UserError: the attention implementation or dtype does not run there.
    """
    if attention is Attention.FLASH_ATTENTION_2:
        from transformers.utils import is_flash_attn_2_available

        if device.type != "cuda" or not is_flash_attn_2_available():
            raise UserError(
                "--attention flash_attention_2 needs a GPU and the flash-attn package; "
                "the published figures were made with sdpa"
            )
        if dtype is Dtype.FLOAT32:
            raise UserError(
                "--attention flash_attention_2 computes in half precision: add --dtype bfloat16"
            )
    if device.type == "cuda" and dtype is Dtype.BFLOAT16 and not torch.cuda.is_bf16_supported():
        name = torch.cuda.get_device_name(device)
        raise UserError(f"--dtype bfloat16: {name} does not support it; try float16")
