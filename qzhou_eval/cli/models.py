"""From the model options to a resolved recipe, shared by every command that needs a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from qzhou_eval.cli.options import ModelOptions

if TYPE_CHECKING:
    from qzhou_eval.fetched import Record
    from qzhou_eval.recipe.checkpoint import Checkpoint
    from qzhou_eval.recipe.resolution import ResolvedRecipe


def be_offline() -> None:
    """Tell the Hugging Face libraries, before they are imported, never to use the network."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ[name] = "1"


def resolve_model(options: ModelOptions, fetched_dir: Path | None = None) -> ResolvedRecipe:
    """Open the checkpoint and settle its recipe; loads no weights.

    Args:
        options: What is asked for of the model.
        fetched_dir: A folder that may have been fetched, with the model in it.

    Raises:
        UserError: no such model or recipe, a value a field does not take, or remote code
            without permission.
    """
    from dataclasses import replace

    from rich.console import Console

    from qzhou_eval.errors import UserError
    from qzhou_eval.fetched import Kind, folder_of
    from qzhou_eval.recipe.checkpoint import open_checkpoint
    from qzhou_eval.recipe.library import published_revision
    from qzhou_eval.recipe.resolution import resolve

    if options.instructions is False and options.instruction_table:
        raise UserError("--instruction-table and --no-instructions exclude each other")
    revision = options.revision
    if not revision and not Path(options.model).expanduser().exists():
        revision = published_revision(options.model)
    fetched = _find_fetched(options.model, revision, fetched_dir) if fetched_dir else None
    with Console(stderr=True).status("Reading the checkpoint ..."):
        if fetched and fetched_dir:
            folder = folder_of(fetched_dir, Kind.MODEL, options.model)
            # Under its own name: that, and not where it is, says which model it is.
            opened = open_checkpoint(str(folder), fetched.revision)
            checkpoint = replace(opened, name=options.model)
            _check_as_fetched(checkpoint, fetched, fetched_dir)
        else:
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


def _find_fetched(model: str, revision: str, root: Path) -> Record | None:
    """Return the record of the hub model `model` below `root`; None without it.

    Raises:
        UserError: it is there at another commit, or a file of it is missing.
    """
    from qzhou_eval.errors import UserError
    from qzhou_eval.fetched import Kind, find_record, folder_of

    if Path(model).expanduser().exists():
        return None
    record = find_record(root, Kind.MODEL, model)
    if record is None:
        return None
    folder = folder_of(root, Kind.MODEL, model)
    if revision and record.revision != revision:
        raise UserError(
            f"--model {model}: {root} holds it at commit {record.revision}, and {revision} is "
            "wanted: fetch that one into another folder, or name the other with --revision"
        )
    for path, file in record.files.items():
        here = folder / path
        if not here.is_file() or here.stat().st_size != file.size:
            raise UserError(
                f"--model {model}: {here} is {'cut' if here.is_file() else 'missing'}; mend it "
                f"with: qzhou-eval fetch --model {model} --revision {record.revision} "
                f"--output-dir {root}"
            )
    return record


def _check_as_fetched(checkpoint: Checkpoint, record: Record, root: Path) -> None:
    """Make sure that what names the checkpoint's results is what was fetched under that name.

    Raises:
        UserError: a file has other bytes, or was not fetched.
    """
    from qzhou_eval.errors import UserError

    for path, digest in checkpoint.digests.items():
        if path not in record.files or record.files[path].sha256 != digest:
            raise UserError(
                f"--model {checkpoint.name}: {Path(checkpoint.location) / path} is not as it was "
                f"fetched; qzhou-eval fetch --verify {root} tells what is wrong, and how it is "
                "mended"
            )
