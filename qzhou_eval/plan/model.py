"""The model of a plan, as far as it is here: its shape, its tokenizer, whether its weights are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qzhou_eval.encode.backbone import load_tokenizer
from qzhou_eval.encode.cost import Shape, known_shapes, read_shape
from qzhou_eval.errors import UserError, nearest
from qzhou_eval.files import read_json
from qzhou_eval.recipe.checkpoint import Checkpoint
from qzhou_eval.recipe.library import published_revision, recipe_for_model
from qzhou_eval.recipe.resolution import ResolvedRecipe

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class PlannedModel:
    """A model to plan for.

    Attributes:
        resolved: Its recipe.
        shape: Its sizes.
        tokenizer: Its tokenizer; None where that is not here.
        weights_here: Whether its weights are.
    """

    resolved: ResolvedRecipe
    shape: Shape
    tokenizer: Any
    weights_here: bool


def bare_checkpoint(model: str, revision: str, error: UserError) -> Checkpoint:
    """Stand in for a hub model of the library of which no file is here.

    Args:
        model: Its hub name.
        revision: The commit asked for; empty for the published one.
        error: Why it could not be opened.

    Raises:
        UserError: the library does not have it, so that nothing is known of it.
    """
    recipe = recipe_for_model(model)
    if recipe is None or recipe.model.lower() not in known_shapes():
        hint = nearest(model, known_shapes())
        raise UserError(
            f"{error}; a plan downloads nothing: give the folder of a checkpoint, or a model of "
            f"the library, whose sizes are known ({hint})"
        ) from error
    commit = revision or published_revision(model)
    return Checkpoint(recipe.model, recipe.model, commit, "", {}, {})


def planned_model(resolved: ResolvedRecipe) -> PlannedModel:
    """Read what is here of the model; downloads nothing.

    Raises:
        UserError: its configuration does not say its sizes.
    """
    checkpoint = resolved.checkpoint
    if checkpoint.config:
        shape = read_shape(checkpoint.config, checkpoint.name)
    else:
        shape = known_shapes()[checkpoint.location.lower()]
    return PlannedModel(resolved, shape, _tokenizer(resolved), weights_here(checkpoint))


def _tokenizer(resolved: ResolvedRecipe) -> Any:
    """Return the model's tokenizer; None where its files are not here."""
    try:
        return load_tokenizer(resolved.checkpoint, resolved.recipe, download=False)
    except UserError:
        if resolved.checkpoint.is_local:
            raise
        return None


def weights_here(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint's weights need not be downloaded."""
    if checkpoint.is_local:
        return True
    from huggingface_hub import try_to_load_from_cache

    def cached(file: str) -> str:
        path = try_to_load_from_cache(
            checkpoint.location, file, revision=checkpoint.revision or None
        )
        return path if isinstance(path, str) else ""

    for file in WEIGHT_FILES:
        if cached(file):
            return True
        if index := cached(f"{file}.index.json"):
            listed = read_json(Path(index), "index of weights", last_wins=True)
            parts = listed.get("weight_map") if isinstance(listed, dict) else None
            named = [*parts.values()] if isinstance(parts, dict) else []
            return bool(named) and all(isinstance(p, str) and cached(p) for p in named)
    return False
