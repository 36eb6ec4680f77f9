"""Which way a loaded model's attention looks, found by trying."""

from __future__ import annotations

import torch

from qzhou_eval.encode.backbone import Backbone
from qzhou_eval.errors import UserError
from qzhou_eval.recipe.choices import AttentionDirection, PaddingSide

LENGTH = 4
"""Tokens of the probe: the fewer, the more each weighs in what another sees."""
PADDING = 3
"""Positions the probe is filled up by, where it is tried in a padded batch."""
# A token that sees the changed one moves by far more than rounding; one that does not, by nothing.
NOISE = 1e-5


@torch.no_grad()
def attention_direction(
    backbone: Backbone, padded: PaddingSide | None = None
) -> AttentionDirection:
    """Return whether changing a text's last token changes the hidden state of its first.

    Args:
        backbone: The loaded model.
        padded: Try it in a batch with a longer text, padded on this side; None tries it without
            any padding. A mask that is only bidirectional where there is padding (or where there
            is none) is found out by trying both.

    Raises:
        UserError: the hidden states are not finite.
    """
    # Any four tokens will do, and one more to change the last into.
    middle = backbone.model.get_input_embeddings().num_embeddings // 2  # type: ignore[operator]
    ids = [middle - i for i in range(LENGTH)]
    rows = [ids, [*ids[:-1], middle - LENGTH]]
    masks = [[1] * LENGTH] * 2
    first = 0
    if padded is not None:
        fill, none = [backbone.tokenizer.pad_token_id or 0] * PADDING, [0] * PADDING
        left = padded is PaddingSide.LEFT
        first = PADDING if left else 0
        rows = [fill + row if left else row + fill for row in rows]
        masks = [none + mask if left else mask + none for mask in masks]
        rows.append([middle - i for i in range(LENGTH + PADDING)])
        masks.append([1] * (LENGTH + PADDING))
    batch = {"input_ids": torch.tensor(rows), "attention_mask": torch.tensor(masks)}
    hidden = backbone.forward(batch)[:2, first].float()
    if not hidden.isfinite().all():
        raise UserError(
            "the model gives NaN or infinite hidden states: its weights are broken, or --dtype or "
            "--attention is not for it"
        )
    moved = (hidden[0] - hidden[1]).abs().max() > NOISE * hidden.abs().max()
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
        raise UserError(wrong_direction(expected, found))


def wrong_direction(expected: AttentionDirection, found: AttentionDirection) -> str:
    """Return the words for a model that looks the other way than its recipe says."""
    return (
        f"the recipe says {expected.value} attention, but the model as loaded is {found.value}: "
        "its own model class may be missing (auto_map in config.json), or another recipe is meant"
    )
