"""The same texts through sentence-transformers, for a checkpoint that is made for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from qzhou_eval.encode.backbone import Backbone
from qzhou_eval.encode.vectors import Vectors
from qzhou_eval.recipe.checkpoint import Checkpoint, module_kind
from qzhou_eval.recipe.detection import KNOWN_MODULES
from qzhou_eval.recipe.recipe import Recipe


def why_not(checkpoint: Checkpoint) -> str:
    """Return why the comparison is not for this checkpoint; empty if it is."""
    if not checkpoint.modules:
        return "no sentence-transformers checkpoint"
    foreign = [k for k in map(module_kind, checkpoint.modules) if k not in KNOWN_MODULES]
    if foreign:
        return f"its module {foreign[0]} would run code of its own"
    if find_spec("sentence_transformers") is None:
        return "sentence-transformers is not installed"
    from sentence_transformers.models import Transformer

    if not hasattr(Transformer, "_load_model"):
        return "this version of sentence-transformers cannot be lent a loaded model"
    return ""


def sentence_transformers_vectors(
    checkpoint: Checkpoint,
    recipe: Recipe,
    backbone: Backbone,
    batches: Sequence[tuple[str, Sequence[str]]],
) -> list[Vectors]:
    """Encode with `SentenceTransformer.encode`, everything read from the checkpoint's own files.

    Tokenizer, lengths, pooling, projection and normalization are those of the files; only the
    weights of the transformer are lent by `backbone`, so that no second copy of 15 GB is loaded.

    Args:
        checkpoint: The checkpoint.
        recipe: Says whether its code may run.
        backbone: The loaded model.
        batches: Prompt and texts of each call.

    Returns:
        Vectors of each call, shape (len(texts), width), float32.
    """
    from sentence_transformers import SentenceTransformer

    revision = {} if checkpoint.is_local else {"revision": checkpoint.revision or None}
    with _lent(backbone.model):
        model = SentenceTransformer(
            checkpoint.location,
            device=str(backbone.device),
            trust_remote_code=recipe.trust_remote_code,
            **revision,
        )
    model.default_prompt_name = None  # what is to be put on is said
    return [
        np.asarray(
            # Not an empty prompt, which would count as one where prompts are left out of pooling.
            model.encode(
                list(texts), prompt=prompt or None, show_progress_bar=False, convert_to_numpy=True
            ),
            dtype=np.float32,
        )
        for prompt, texts in batches
    ]


@contextmanager
def _lent(model: Any) -> Iterator[None]:
    """Let sentence-transformers take `model` for the weights it would load."""
    from sentence_transformers.models import Transformer

    load = Transformer._load_model

    def take(self: Any, *_: Any, **__: Any) -> None:
        self.auto_model = model

    Transformer._load_model = take
    try:
        yield
    finally:
        Transformer._load_model = load
