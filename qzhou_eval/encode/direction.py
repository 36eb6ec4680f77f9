"""Which way a loaded model's attention looks, found by trying."""

from __future__ import annotations

import torch

from qzhou_eval.encode.backbone import Backbone
from qzhou_eval.errors import UserError
from qzhou_eval.recipe.choices import AttentionDirection

LENGTH = 4
"""Tokens of the probe: the fewer, the more each weighs in what another sees."""
# A token that sees the changed one moves by far more than rounding; one that does not, by nothing.
NOISE = 1e-5


@torch.no_grad()
def attention_direction(backbone: Backbone) -> AttentionDirection:
    """Return whether changing a text's last token changes the vector of its first.

    Two texts of the same length, so without padding: a mask that is only bidirectional where
    there is padding is found out too.
    """
    # Any four tokens will do, and one more to change the last into.
    middle = backbone.model.get_input_embeddings().num_embeddings // 2  # type: ignore[operator]
    ids = [middle - i for i in range(LENGTH)]
    both = torch.tensor([ids, [*ids[:-1], middle - LENGTH]])
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
