"""From what was asked for to what is run: library, detection and overrides put together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from qzhou_eval.errors import UserError
from qzhou_eval.files import text_digest
from qzhou_eval.recipe.checkpoint import Checkpoint
from qzhou_eval.recipe.detection import detect, usable_positions
from qzhou_eval.recipe.library import (
    GENERIC,
    find_recipe,
    recipe_for_architecture,
    recipe_for_model,
    recipe_for_weights,
)
from qzhou_eval.recipe.recipe import Recipe, override


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe bound to a checkpoint.

    Attributes:
        recipe: The fields as they will be used.
        checkpoint: The model they are used on.
        chosen_by: Why this recipe was taken, in words for the user.
        overridden: Names of the fields the command line changed.
        origins: Field to the checkpoint's file that says it, where the recipe was detected.
    """

    recipe: Recipe
    checkpoint: Checkpoint
    chosen_by: str
    overridden: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def model_name(self) -> str:
        """``org/name`` under which results are filed."""
        return self.checkpoint.name

    def fingerprint(self) -> str:
        """Return the sha256 over the recipe's fields and the model's files.

        The instructions are put down with each task's result, which is not kept under others.
        """
        fields, weights = self.recipe.vector_fields(), self.checkpoint.identity
        # The empty part is of older fingerprints, which stay good.
        return text_digest({"fields": fields, "weights": weights, "instructions": {}})


DEFAULT_SET = "qzhou"
"""The instruction set for a recipe that names none, where instructions are asked for."""

BY_OPTION = "named by --recipe"
BY_NAME = "the library's recipe for this model"
BY_WEIGHTS = "recognised by its weights"
BY_ARCHITECTURE = "recognised by its architecture"
BY_FILES = "detected from the checkpoint's files"


def resolve(
    checkpoint: Checkpoint,
    *,
    recipe_name: str = "",
    overrides: Mapping[str, Any] | None = None,
    instructions: bool | None = None,
    model_name: str = "",
    trust_remote_code: bool = False,
) -> ResolvedRecipe:
    """Choose the recipe for `checkpoint` and apply `overrides` (field name to plain value).

    Args:
        checkpoint: The model.
        recipe_name: A library recipe or recipe file; empty to let the model decide.
        overrides: Fields given on the command line.
        instructions: Whether instructions are put on; None leaves it to the recipe.
        model_name: ``org/name`` to file the results of a local folder under.
        trust_remote_code: Whether the user lets the checkpoint's own code run.

    Raises:
        UserError: an unknown recipe or field value, or remote code without permission.
    """
    if model_name and (model_name.count("/") != 1 or not all(model_name.split("/"))):
        raise UserError(f"--model-name {model_name!r}: expected the form org/name")
    changed = {name: value for name, value in (overrides or {}).items() if value is not None}
    given = {*changed, *(() if instructions is None else ("instruction_set",))}
    recipe, chosen_by, origins = _choose(checkpoint, recipe_name, given)
    if instructions is not None:
        changed["instruction_set"] = (recipe.instruction_set or DEFAULT_SET) if instructions else ""
        if changed["instruction_set"] == recipe.instruction_set:
            del changed["instruction_set"]
    recipe = override(recipe, changed, "command line")
    usable = usable_positions(checkpoint.config)
    if usable is not None and recipe.max_length > usable:
        raise UserError(
            f"--max-length {recipe.max_length}: {checkpoint.name} has positions for {usable} tokens"
        )
    if checkpoint.wants_remote_code:
        _check_permission(checkpoint, recipe, chosen_by, trust_remote_code)
    recipe = replace(recipe, trust_remote_code=checkpoint.wants_remote_code)
    # The name results are filed under does not decide how the model is run.
    if model_name:
        checkpoint = replace(checkpoint, name=model_name)
    elif chosen_by == BY_WEIGHTS:
        checkpoint = replace(checkpoint, name=recipe.model)
    left = {name: origin for name, origin in origins.items() if name not in changed}
    return ResolvedRecipe(recipe, checkpoint, chosen_by, tuple(sorted(changed)), left)


def _choose(
    checkpoint: Checkpoint, recipe_name: str, given: Collection[str]
) -> tuple[Recipe, str, dict[str, str]]:
    """Return the recipe, why it was taken, and the origins of what was detected."""
    if recipe_name and recipe_name != GENERIC:
        return find_recipe(recipe_name), BY_OPTION, {}
    if not recipe_name:
        if recipe := recipe_for_model(checkpoint.name):
            return recipe, BY_NAME, {}
        if recipe := recipe_for_weights(checkpoint.weights_sha256):
            return recipe, BY_WEIGHTS, {}
        if recipe := recipe_for_architecture(checkpoint.architecture):
            return recipe, BY_ARCHITECTURE, {}
    generic = find_recipe(GENERIC)
    found = detect(checkpoint, generic.max_length, given)
    return override(generic, found.values, checkpoint.name), BY_FILES, found.origins


def _check_permission(checkpoint: Checkpoint, recipe: Recipe, chosen_by: str, given: bool) -> None:
    """Let a checkpoint's own code run only when the user, or a recipe he chose, says so."""
    if checkpoint.foreign_code:
        raise UserError(
            f"{checkpoint.name} runs Python code of another repository, {checkpoint.foreign_code}, "
            "at no fixed commit: copy that code into the checkpoint's folder and name it there"
        )
    granted = given or (
        recipe.trust_remote_code
        and (
            chosen_by == BY_OPTION
            # A folder's name proves nothing; a hub model at the published commit is that model.
            or (
                chosen_by == BY_NAME
                and not checkpoint.is_local
                and checkpoint.revision == recipe.revision
            )
        )
    )
    if not granted:
        raise UserError(
            f"{checkpoint.name} runs Python code of its own (auto_map in its configuration): "
            "read that code, then allow it with --trust-remote-code"
        )
    if not checkpoint.pinned:
        raise UserError(
            f"{checkpoint.name} runs Python code of its own and no commit is named: "
            "pin it with --revision and 40 hex digits"
        )
