"""From the model options to a resolved recipe, shared by every command that needs a model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qzhou_eval.cli.options import ModelOptions

if TYPE_CHECKING:
    from qzhou_eval.recipe.resolution import ResolvedRecipe


def be_offline() -> None:
    """Tell the Hugging Face libraries, before they are imported, never to use the network."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ[name] = "1"


def resolve_model(options: ModelOptions) -> ResolvedRecipe:
    """Open the checkpoint and settle its recipe; loads no weights.

    Raises:
        UserError: no such model or recipe, a value a field does not take, or remote code
            without permission.
    """
    from pathlib import Path

    from rich.console import Console

    from qzhou_eval.errors import UserError
    from qzhou_eval.recipe.checkpoint import open_checkpoint
    from qzhou_eval.recipe.library import published_revision
    from qzhou_eval.recipe.resolution import resolve

    if options.instructions is False and options.instruction_table:
        raise UserError("--instruction-table and --no-instructions exclude each other")
    revision = options.revision
    if not revision and not Path(options.model).expanduser().exists():
        revision = published_revision(options.model)
    with Console(stderr=True).status("Reading the checkpoint ..."):
        checkpoint = open_checkpoint(options.model, revision)
    # A table of one's own is a wish for instructions.
    wanted = True if options.instruction_table else options.instructions
    return resolve(
        checkpoint,
        recipe_name=options.recipe,
        overrides=options.overrides(),
        instructions=wanted,
        model_name=options.model_name,
        trust_remote_code=options.trust_remote_code,
    )
