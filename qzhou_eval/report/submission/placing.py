"""Where exported files go: what is there already, and writing the others together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from qzhou_eval.errors import UserError
from qzhou_eval.files import read_data, read_json, remove_temporary
from qzhou_eval.report.files import write_together
from qzhou_eval.report.submission.identity import Identity
from qzhou_eval.report.submission.model_record import FILE, record_faults


@dataclass(frozen=True)
class Placing:
    """Files and their folder.

    Attributes:
        folder: ``OUT/results/<org>__<name>/<revision>``.
        texts: Name of file to text, of those that are to be written.
        there: Names of files that are there already, as they would be written.
        conflicts: What keeps them from being written, a line each.
        warnings: What must be told of what is there, a line each.
    """

    folder: Path
    texts: Mapping[str, str]
    there: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def place(
    output: Path, identity: Identity, texts: Mapping[str, str], record: str, source: Path
) -> Placing:
    """Hold files against what the output folder has already; writes nothing.

    Args:
        output: The folder, or a checkout of the results repository.
        identity: The model and commit.
        texts: Name to text of the result files.
        record: Text of the model's record. One that is there stays: its nulls may be filled in.
        source: The run folder the files are of.
    """
    folder = output / identity.folder
    if blocked := _blocked(folder, output, source):
        return Placing(folder, {}, conflicts=(blocked,))
    new: dict[str, str] = {}
    there, conflicts = [], []
    for name, text in texts.items():
        path = folder / name
        if not path.exists() and not path.is_symlink():
            new[name] = text
        elif _holds(path, text):
            there.append(name)
        else:
            conflicts.append(
                f"{path}: there already, and different; remove it, or export into another folder"
            )
    warnings = []
    if not (folder / FILE).exists():
        new[FILE] = record
    elif wrong := _other_record(folder / FILE, identity):
        conflicts.append(f"{folder / FILE}: there already, and {wrong}; mend or remove it")
    else:
        there.append(FILE)
        if read_json(folder / FILE, "model record") != json.loads(record):
            warnings.append(f"{folder / FILE} was there already, and is left as it is")
    warnings += _other_revisions(folder, texts)
    return Placing(folder, new, tuple(there), tuple(conflicts), tuple(warnings))


def write(placing: Placing) -> None:
    """Write the files: all of them, or, where that fails, none.

    Raises:
        UserError: one of them cannot be written.
    """
    if not placing.texts:
        return
    with _or_none(placing):
        if placing.folder.is_dir():
            remove_temporary(placing.folder)  # of an export that was killed
        write_together({placing.folder / name: text for name, text in placing.texts.items()})


@contextmanager
def _or_none(placing: Placing) -> Iterator[None]:
    """Take back, if the block fails, the files and folders that were not there before it."""
    made = [folder for folder in (placing.folder, *placing.folder.parents) if not folder.exists()]
    try:
        yield
    except BaseException:
        for name in placing.texts:
            with suppress(OSError):
                (placing.folder / name).unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


def _blocked(folder: Path, output: Path, source: Path) -> str:
    """Return why nothing can be written into `folder`; empty if it can."""
    if output.resolve().is_relative_to(source.resolve()):
        return f"{output}: the run folder itself; export into another folder"
    if folder.resolve() == source.resolve():
        return f"{folder}: the run folder itself; export into another folder"
    for path in (folder, *folder.parents):
        if path.is_symlink() and not path.exists():
            return f"{path}: a link that leads nowhere; export into another folder"
        if path.exists() and not path.is_dir():
            return f"{path}: is a file, and would have to be a folder; export into another one"
    return ""


def _holds(path: Path, text: str) -> bool:
    try:
        return read_data(path, "result file") == text.encode()
    except UserError:
        return False


def _other_record(path: Path, identity: Identity) -> str:
    """Return why the record at `path` is not one of this model; empty if it is."""
    try:
        meta = read_json(path, "model record")
    except UserError:
        return "not readable"
    if not isinstance(meta, dict) or record_faults(meta):
        return "not a record as mteb writes it"
    if (meta.get("name"), meta.get("revision")) != (identity.model, identity.revision):
        return "of another model or revision"
    return ""


def _other_revisions(folder: Path, texts: Mapping[str, str]) -> list[str]:
    """Return the model's other revisions there with results of the same tasks."""
    if not folder.parent.is_dir():
        return []
    found = []
    for other in sorted(folder.parent.iterdir()):
        if other.name == folder.name or not other.is_dir():
            continue
        count = sum((other / name).exists() for name in texts)
        if count:
            found.append(
                f"{other} has results of {count} of these tasks, too; the results repository "
                "takes a task of a model at one revision alone"
            )
    return found
