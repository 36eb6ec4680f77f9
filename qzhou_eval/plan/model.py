"""The model of a plan, as far as it is here: its shape, its tokenizer, whether its weights are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qzhou_eval.encode.backbone import load_tokenizer
from qzhou_eval.encode.cost import Shape, known_shapes, read_shape
from qzhou_eval.errors import UserError, nearest
from qzhou_eval.recipe.checkpoint import Checkpoint, weights_here
from qzhou_eval.recipe.library import published_revision, recipe_for_model
from qzhou_eval.recipe.resolution import ResolvedRecipe


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
