"""The linear layers a sentence-transformers checkpoint may have behind its pooling."""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from torch import nn

from qzhou_eval.errors import UserError, one_line
from qzhou_eval.recipe.checkpoint import WEIGHT_FILES, Checkpoint

ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid)
}
DENSE_KEYS = ("in_features", "out_features", "bias", "activation_function")
WIDEST = 32_768
"""No vectors are wider; a layer is made before its weights are read."""


def load_projection(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype
) -> nn.Module | None:
    """Load the Dense modules that ``modules.json`` lists, as one module.

    They compute in the transformer's dtype, as sentence-transformers has them do.

    Returns:
        A module from pooled vectors (batch, width) to (batch, projected width); None for a
        checkpoint without one.

    Raises:
        UserError: a module lacks its files, or they are not a Dense module's.
    """
    layers = [layer for path in checkpoint.dense_modules for layer in _layer(checkpoint, path)]
    if not layers:
        return None
    return nn.Sequential(*layers).to(device, dtype).eval().requires_grad_(False)


def _layer(checkpoint: Checkpoint, path: str) -> tuple[nn.Module, nn.Module]:
    where = f"--model {checkpoint.name}: its module {path}"
    config = checkpoint.side_files.get(f"{path}/config.json") or {}
    width, projected = config.get("in_features"), config.get("out_features")
    if not (_is_width(width) and _is_width(projected)):
        raise UserError(f"{where} has no config.json of a Dense module")
    linear = nn.Linear(width, projected, bool(config.get("bias", True)))
    unknown = {k: v for k, v in config.items() if k not in DENSE_KEYS}
    if any(value != "sentence_embedding" for value in unknown.values()):
        raise UserError(f"{where} has {', '.join(unknown)}, which is not done here")
    activation = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    if activation not in ACTIVATIONS:
        raise UserError(f"{where} wants the activation {activation}, which is not done here")
    state = _weights(checkpoint, path, where)
    try:
        named = {str(name).removeprefix("linear."): v for name, v in state.items()}
        linear.load_state_dict(named)
    except RuntimeError as error:
        raise UserError(f"{where} has other weights than it says: {one_line(error)}") from error
    return linear, ACTIVATIONS[activation]()


def _is_width(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 < value <= WIDEST


def _weights(checkpoint: Checkpoint, path: str, where: str) -> dict[str, Any]:
    for name in WEIGHT_FILES:
        file = checkpoint.file(f"{path}/{name}")
        if file is None:
            continue
        try:
            if file.suffix == ".safetensors":
                from safetensors.torch import load_file

                return load_file(file)
            return dict(torch.load(file, map_location="cpu", weights_only=True))
        except Exception as error:  # broken files throw anything
            raise UserError(f"{where} does not load: {one_line(error)}") from error
    raise UserError(f"{where} has no weights (looked for {' and '.join(WEIGHT_FILES)})")
