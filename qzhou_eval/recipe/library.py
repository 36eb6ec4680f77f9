"""The recipes that come with the project, and recipe files of a user's own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from qzhou_eval.errors import UserError, nearest
from qzhou_eval.files import read_toml
from qzhou_eval.recipe.recipe import Recipe, override

LIBRARY = Path(__file__).parent / "library"
GENERIC = "generic"


@cache
def library() -> dict[str, Recipe]:
    """Return the library's recipes by name."""
    return {path.stem: read_recipe(path) for path in sorted(LIBRARY.glob("*.toml"))}


def read_recipe(path: Path) -> Recipe:
    """Read one recipe file; its stem is the recipe's name.

    Raises:
        UserError: not a readable TOML file, or a field or value that is not a recipe's.
    """
    return override(Recipe(name=path.stem), read_toml(path, "recipe"), where=str(path))


def find_recipe(name: str) -> Recipe:
    """Return the recipe `name`: a library name, or the path of a TOML file.

    Raises:
        UserError: neither; the message names the closest library recipes.
    """
    if name.endswith(".toml"):
        return read_recipe(Path(name))
    recipes = library()
    if name.lower() in recipes:
        return recipes[name.lower()]
    raise UserError(
        f"unknown recipe {name!r}: {nearest(name, recipes)}; a path ending in .toml is read as "
        "a recipe file"
    )


def recipe_for_model(name: str) -> Recipe | None:
    """Return the library recipe published for the hub model `name`, if there is one."""
    matches = (r for r in library().values() if r.model and r.model.lower() == name.lower())
    return next(matches, None)


def recipe_for_architecture(name: str) -> Recipe | None:
    """Return the library recipe for checkpoints of the model class `name`, if there is one."""
    matches = (r for r in library().values() if r.architecture and r.architecture == name)
    return next(matches, None)


def published_revision(model: str) -> str:
    """Return the commit the library pins the hub model `model` to; empty if it pins none."""
    recipe = recipe_for_model(model)
    return recipe.revision if recipe else ""


def recipe_for_weights(sha256: str) -> Recipe | None:
    """Return the library recipe whose published weights have this digest, if there is one."""
    matches = (r for r in library().values() if r.weights_sha256 and r.weights_sha256 == sha256)
    return next(matches, None)
