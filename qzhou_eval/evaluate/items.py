"""What a task's score is made of, item by item: a query's metric, a pair's similarity.

A run keeps them beside a task's result, in ``items/<Task>.csv.gz``: a row an item, with its split,
its subset, its name and its figures. Two runs are then told apart by what happened to each item.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qzhou_eval.errors import UserError, one_line
from qzhou_eval.evaluate.units import Unit
from qzhou_eval.files import file_digest, is_plain_name, read_data, remove, replacing

FOLDER = "items"
SUFFIX = ".csv.gz"
KEYS = ("split", "subset", "item")
MAX_BYTES = 64 * 2**20
"""Most bytes of a file once unpacked; the largest task of both suites has 7 MB."""
MAX_ITEMS = 1_000_000
"""Most items of a task; the largest of both suites has 108,000."""
TYPES = ("Retrieval", "Reranking", "STS", "PairClassification", "Summarization")
"""Types of task whose score is made of items. What others draw is in their result."""


@dataclass(frozen=True)
class Items:
    """The items of one split and subset.

    Attributes:
        columns: Names of the figures: "ndcg_at_10"; "cosine" and "gold".
        rows: An item each: its name in the task, and its figures as text.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def items(names: Iterable[object], columns: Mapping[str, Iterable[float]]) -> Items | None:
    """Return items of these names and figures; None if they are too many to be kept.

    Figures are written with nine digits, from which a float32 comes back as it was: no two that
    differ become equal, and none that are equal differ.
    """
    figures = [[f"{value:.9g}" for value in column] for column in columns.values()]
    rows = tuple(zip(map(str, names), *figures, strict=True))
    return Items(tuple(columns), rows) if len(rows) <= MAX_ITEMS else None


def item_path(folder: Path, task: str) -> Path:
    """Return the path of the items of `task` in a run folder.

    Raises:
        UserError: `task` is no name of a file in the folder.
    """
    if not is_plain_name(task):
        raise UserError(f"{folder}: no item file can have the name {task!r}")
    return folder / FOLDER / f"{task}{SUFFIX}"


def check_item_folder(folder: Path) -> None:
    """Refuse a run folder whose place for items leads elsewhere.

    Raises:
        UserError: it is a link, or no folder.
    """
    path = folder / FOLDER
    if path.is_symlink():
        raise UserError(f"{path}: is a link; remove it")
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is no folder; remove it")


def write_items(path: Path, found: Mapping[Unit, Items]) -> str:
    """Write items, whole or not at all; the same items give the same bytes.

    Args:
        path: The file.
        found: The items of each split and subset, all with the same columns.

    Returns:
        The file's sha256.

    Raises:
        StorageError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    # Lines end as RFC 4180 has it: a name with either half of that in it is then quoted.
    writer = csv.writer(text, lineterminator="\r\n")
    columns = next(iter(found.values())).columns
    writer.writerow((*KEYS, *columns))
    for unit, own in found.items():
        writer.writerows((*unit, *row) for row in own.rows)
    # A name that is no Unicode is not to keep a task from being scored.
    data = text.getvalue().encode("utf-8", "replace")
    with replacing(path) as temporary:
        # Without a time and a name in it, which would differ from run to run.
        temporary.write_bytes(gzip.compress(data, mtime=0))
    return file_digest(path)


def keep_items(folder: Path, task: str, found: Mapping[Unit, Items | None]) -> str:
    """Write the item file of a task, or remove one of before where it has no items now.

    Args:
        folder: The run folder.
        task: The task.
        found: The items of each of its splits and subsets; None for one without.

    Returns:
        The file's sha256; empty without items.

    Raises:
        StorageError: the file cannot be written, or removed.
    """
    path = item_path(folder, task)
    known = {unit: own for unit, own in found.items() if own is not None}
    if len({own.columns for own in known.values()}) == 1:
        return write_items(path, known)
    remove(path)
    with suppress(OSError):  # others have theirs, or there never was one
        path.parent.rmdir()
    return ""


def read_items(path: Path) -> dict[Unit, Items]:
    """Read an item file.

    Raises:
        UserError: missing, too large, or not one; the message says what is wrong.
    """
    try:
        return _parsed(_unpacked(read_data(path, "item file")))
    except (ValueError, csv.Error, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path}: not a readable item file: {one_line(error)}") from error


def _unpacked(data: bytes) -> str:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes unpacked")
    return text.decode("utf-8")


def _parsed(text: str) -> dict[Unit, Items]:
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = tuple(next(lines, ()))
    columns = header[len(KEYS) :]
    if header[: len(KEYS)] != KEYS or not columns or len(set(columns)) < len(columns):
        raise ValueError(f"its first line is not {','.join(KEYS)} and names of figures")
    found: dict[Unit, dict[str, tuple[str, ...]]] = {}
    for number, line in enumerate(lines, start=1):
        if number > MAX_ITEMS:
            raise ValueError(f"more than {MAX_ITEMS:,} items")
        if len(line) != len(header):
            raise ValueError(f"item {number} has {len(line)} fields, not {len(header)}")
        split, subset, name, *figures = line
        own = found.setdefault((split, subset), {})
        if name in own:
            raise ValueError(f"item {name!r} of {split}, {subset} is in it twice")
        own[name] = tuple(figures)
    return {
        unit: Items(columns, tuple((name, *figures) for name, figures in own.items()))
        for unit, own in found.items()
    }
