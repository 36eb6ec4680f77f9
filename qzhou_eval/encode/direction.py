"""Which way a loaded model's attention looks, found by trying."""

from __future__ import annotations

import torch

from qzhou_eval.encode.backbone import Backbone
from qzhou_eval.errors import UserError
from qzhou_eval.recipe.choices import AttentionDirection

PROBE = "which way does this model look"
# A token that sees the changed one moves by far more than rounding; one that does not, by nothing.
NOISE = 1e-5


@torch.no_grad()
def attention_direction(backbone: Backbone) -> AttentionDirection:
    """Return whether changing a text's last token changes the vector of its first.

    Two texts of the same length, so without padding: a mask that is only bidirectional where
    there is padding is found out too.
    """
    ids = list(backbone.tokenizer(PROBE, add_special_tokens=False)["input_ids"])
    other = next((token for token in ids if token != ids[-1]), ids[-1] + 1)
    both = torch.tensor([ids, [*ids[:-1], other]])
    batch = {"input_ids": both, "attention_mask": torch.ones_like(both)}
    first = backbone.forward(batch)[:, 0].float()
    moved = (first[0] - first[1]).abs().max() > NOISE * first.abs().max()
    return AttentionDirection.BIDIRECTIONAL if moved else AttentionDirection.CAUSAL


def check_direction(backbone: Backbone, expected: AttentionDirection | None) -> None:
    """Stop where the model does not look the way its recipe says.

    Raises:
        UserError: it looks the other way.
    """
    if expected is None:
        return
    found = attention_direction(backbone)
    if found is not expected:
        raise UserError(
            f"the recipe says {expected.value} attention, but the model as loaded is "
            f"{found.value}: its own model class may be missing (auto_map in config.json), or "
            "another recipe is meant"
        )
