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
