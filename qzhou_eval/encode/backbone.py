"""Loading the transformer and its tokenizer as the recipe says."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qzhou_eval.encode.device import TORCH_DTYPES, check_support
from qzhou_eval.errors import UserError, one_line
from qzhou_eval.recipe.checkpoint import Checkpoint
from qzhou_eval.recipe.choices import AttentionDirection
from qzhou_eval.recipe.recipe import Recipe


@dataclass(frozen=True)
class Backbone:
    """A loaded model with its tokenizer.

    Attributes:
        model: The transformer, in evaluation mode on `device`.
        tokenizer: Its tokenizer, padding on the recipe's side.
        device: Where the model is.
        inputs: Names of the tokenizer's outputs that the model's forward takes.
    """

    model: nn.Module
    tokenizer: Any
    device: torch.device
    inputs: frozenset[str]

    def tokenize(self, strings: list[str], max_length: int) -> dict[str, Tensor]:
        """Tokenize `strings` as one padded batch of at most `max_length` tokens each.

        Returns:
            input_ids, attention_mask and what else the model takes, each (batch, length), on
            the CPU.
        """
        batch = self.tokenizer(
            strings, padding=True, truncation=True, max_length=max_length, return_tensors="pt"
        )
        return {name: batch[name] for name in batch if name in self.inputs}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Run the model on a tokenized batch.

        Returns:
            Last hidden states, (batch, length, width), in the model's dtype on its device.
        """
        on_device = {n: values.to(self.device, non_blocking=True) for n, values in batch.items()}
        hidden: Tensor = self.model(**on_device).last_hidden_state
        return hidden


def load_backbone(checkpoint: Checkpoint, recipe: Recipe, device: torch.device) -> Backbone:
    """Load model and tokenizer.

    Raises:
        UserError: the device cannot run the recipe, or the checkpoint does not load.
    """
    check_support(device, recipe.dtype, recipe.attention)
    from transformers import AutoModel, AutoTokenizer, __version__
    from transformers.utils import logging

    # Float32 stays float32, whatever an environment variable of some image says.
    torch.set_float32_matmul_precision("highest")
    five = int(__version__.partition(".")[0]) >= 5
    common: dict[str, Any] = {"trust_remote_code": recipe.trust_remote_code}
    if not checkpoint.is_local and checkpoint.revision:
        common["revision"] = checkpoint.revision
    # Onto a GPU shard by shard; the CPU needs no detour.
    placement: dict[str, Any] = {"device_map": {"": device}} if device.type == "cuda" else {}
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # weights that are missing are told below, and refused
    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.location, **common)
        model, loading = AutoModel.from_pretrained(
            checkpoint.location,
            output_loading_info=True,
            attn_implementation=recipe.attention.value,
            # Under the other generation's name it would be left aside without a word.
            **{"dtype" if five else "torch_dtype": TORCH_DTYPES[recipe.dtype]},
            **placement,
            **common,
        )
    except Exception as error:  # broken files and code of the checkpoint's own throw anything
        hint = "; try --attention eager" if "scaled_dot_product" in str(error) else ""
        message = f"--model {checkpoint.name} does not load{hint}: {one_line(error)}"
        raise UserError(message) from error
    finally:
        logging.set_verbosity(verbosity)
    _check_loading(loading, model, checkpoint)
    tokenizer.padding_side = recipe.padding_side.value
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise UserError(f"--model {checkpoint.name}: its tokenizer has no padding token")
        tokenizer.pad_token = tokenizer.eos_token
    embeddings = model.get_input_embeddings()
    if isinstance(embeddings, nn.Embedding) and tokenizer.pad_token_id >= embeddings.num_embeddings:
        raise UserError(
            f"--model {checkpoint.name}: its tokenizer pads with {tokenizer.pad_token_id}, and "
            f"the model knows {embeddings.num_embeddings} tokens"
        )
    model.eval().requires_grad_(False)
    if getattr(model.config, "use_cache", False):
        # A key-value cache nobody reads: gigabytes at 7B, nothing in the vectors.
        model.config.use_cache = False
    bidirectional = recipe.attention_direction is AttentionDirection.BIDIRECTIONAL
    if five and bidirectional and _masks_itself(model):
        # A module made for transformers 4, which asked it for the mask. transformers 5 does not,
        # and builds a causal one unless told so here.
        model.config.is_causal = False
    _check_positions(model, checkpoint, recipe.max_length)
    accepted = inspect.signature(model.forward).parameters
    return Backbone(model, tokenizer, device, frozenset(accepted))


def load_tokenizer(checkpoint: Checkpoint, recipe: Recipe, *, download: bool = True) -> Any:
    """Load the tokenizer alone, for counting.

    Args:
        checkpoint: Whose it is.
        recipe: Says whether its code may run.
        download: Whether the hub may be asked for its files.

    Raises:
        UserError: it does not load.
    """
    from transformers import AutoTokenizer
    from transformers.utils import logging

    common: dict[str, Any] = {"trust_remote_code": recipe.trust_remote_code}
    if not checkpoint.is_local:
        common |= {"revision": checkpoint.revision or None, "local_files_only": not download}
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        return AutoTokenizer.from_pretrained(checkpoint.location, **common)
    except Exception as error:  # missing files and code of the checkpoint's own throw anything
        message = f"--model {checkpoint.name}: its tokenizer does not load: {one_line(error)}"
        raise UserError(message) from error
    finally:
        logging.set_verbosity(verbosity)


def _check_loading(loading: dict[str, Any], model: nn.Module, checkpoint: Checkpoint) -> None:
    """Refuse a model with random weights that the files lack, or without layers they have."""
    random = [*loading.get("missing_keys", ()), *map(str, loading.get("mismatched_keys", ()))]
    # BERT's pooler, which many encoders are saved without, is not what we pool.
    random = sorted(name for name in random if not name.startswith("pooler."))
    if random:
        raise UserError(
            f"--model {checkpoint.name}: its files lack weights the model needs ({random[0]}"
            f"{f' and {len(random) - 1} more' if len(random) > 1 else ''}): wrong architecture "
            "or incomplete copy"
        )
    # A layer of a number the model has no layer of: the configuration says fewer than there are.
    numbered = {LAYER.sub(".N.", name) for name in model.state_dict() if LAYER.search(name)}
    extra = sorted(
        name for name in loading.get("unexpected_keys", ()) if LAYER.sub(".N.", name) in numbered
    )
    if extra:
        raise UserError(
            f"--model {checkpoint.name}: its files have weights the model drops ({extra[0]} and "
            f"{len(extra) - 1} more): config.json says fewer layers than there are"
        )


def _masks_itself(model: nn.Module) -> bool:
    """Whether the model is a module of the checkpoint's own with a mask of its own."""
    return any(
        kind.__module__.startswith("transformers_modules.") and "_update_causal_mask" in vars(kind)
        for kind in type(model).__mro__
    )


LAYER = re.compile(r"\.\d+\.")


POSITION_TABLES = ("position_embeddings", "embed_positions", "wpe")
"""What models call their learnt positions."""


def _check_positions(model: nn.Module, checkpoint: Checkpoint, max_length: int) -> None:
    """Refuse a max_length that a model of learnt absolute positions has no vectors for."""
    for name, module in model.named_modules():
        if name.endswith(POSITION_TABLES) and isinstance(module, nn.Embedding):
            # RoBERTa's family counts positions from behind the padding index.
            usable = module.num_embeddings - (module.padding_idx or -1) - 1
            if max_length > usable:
                raise UserError(
                    f"--max-length {max_length}: {checkpoint.name} has positions for "
                    f"{usable} tokens"
                )
            return
