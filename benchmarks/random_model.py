"""Models of QZhou-Embedding's shape with random weights, made where they compute.

Speed does not depend on what the weights are, so none are read: a 7B model stands on a GPU in
seconds. It attends both ways under transformers 4.51 and 5 alike.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2Model

SEVEN_BILLION: dict[str, Any] = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131072,
}
"""Qwen2.5 7B's, which is QZhou-Embedding's."""
SMALL: dict[str, Any] = {
    "vocab_size": 8192,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.1,
}
"""For a few seconds on any machine, and where float32 is to say what is right."""


class BothWays(Qwen2Model):  # type: ignore[misc]
    """Qwen2 in which every token sees all tokens of its text."""

    def forward(
        self, input_ids: Any = None, attention_mask: Any = None, position_ids: Any = None
    ) -> Any:
        """Run the model; without a mask, whatever stands in for attention sees to it."""
        if attention_mask is not None and attention_mask.dim() == 2:
            # Of four dimensions, it is taken as it is by either generation of transformers.
            dtype, length = self.dtype, attention_mask.shape[1]
            shut = (1.0 - attention_mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min
            attention_mask = shut.expand(-1, 1, length, length).contiguous()
        return super().forward(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids
        )

    def _update_causal_mask(self, attention_mask: Any, *_: Any, **__: Any) -> Any:
        return attention_mask  # transformers 4 asks for it; it is made above


def random_model(shape: dict[str, Any], device: torch.device, dtype: torch.dtype) -> BothWays:
    """Return a model of `shape` on `device`, its weights drawn there."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            config = Qwen2Config(**shape, rope_theta=1e6, sliding_window=None, use_cache=False)
            model = BothWays(config)
    finally:
        torch.set_default_dtype(before)
    if model.config._attn_implementation != "sdpa":
        raise SystemExit(f"attention is {model.config._attn_implementation}, sdpa is meant")
    model.eval().requires_grad_(False)
    return model


def twin(model: BothWays) -> BothWays:
    """Return a second model over the same weights, to be run in another way."""
    shared = [*model.parameters(), *model.buffers()]
    copied: BothWays = copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
    return copied


def trained_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of at most `vocabulary` tokens, padding on the left."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|endoftext|>", padding_side="left"
    )
