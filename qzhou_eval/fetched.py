"""What `qzhou-eval fetch` writes down beside what it fetched: one record a dataset or model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any

from qzhou_eval.errors import UserError, one_line
from qzhou_eval.files import is_plain_name, read_json, write_json

RECORDS = ".fetched"
"""Folder of the records, below the folder of what was fetched."""
FORMAT = 1
MAX_COUNT = 2**60
"""Bytes of a file, rows of a split: none comes near it."""
MODELS = "models"
"""Folder of the models, beside the organisations of the datasets."""


class Kind(str, Enum):
    """What a repository of the hub holds."""

    DATASET = "dataset"
    """Data of one or more tasks."""
    MODEL = "model"
    """A checkpoint."""


@dataclass(frozen=True)
class FileRecord:
    """One file.

    Attributes:
        size: Its bytes.
        sha256: Their digest.
    """

    size: int
    sha256: str


@dataclass(frozen=True)
class Record:
    """What was fetched of one repository.

    Attributes:
        kind: What it holds.
        name: Its hub name.
        revision: The commit, 40 hex digits.
        files: Path inside the folder to the file, of everything that is there.
        rows: Config to split to rows, of what tasks read.
        tasks: The tasks it was fetched for.
        left_out: Files of the commit that were not fetched.
        converted: What a loading script was turned into data from: path to sha256 of the
            commit's files. Empty where the folder holds the commit's own files.
        fetched: When, in UTC.
    """

    kind: Kind
    name: str
    revision: str
    files: Mapping[str, FileRecord]
    rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    converted: Mapping[str, str] = field(default_factory=dict)
    fetched: str = ""

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.size for file in self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values for JSON."""
        files = {
            path: {"size": f.size, "sha256": f.sha256} for path, f in sorted(self.files.items())
        }
        values = {
            "format": FORMAT,
            "kind": self.kind.value,
            "repo": self.name,
            "revision": self.revision,
            "fetched": self.fetched,
            "tasks": sorted(self.tasks),
            "rows": {config: dict(splits) for config, splits in sorted(self.rows.items())},
            "files": files,
            "left_out": sorted(self.left_out),
            "converted": dict(self.converted),
        }
        return values if self.converted else {k: v for k, v in values.items() if k != "converted"}


def folder_of(root: Path, kind: Kind, name: str) -> Path:
    """Return where below `root` a repository's files are."""
    return root / MODELS / name if kind is Kind.MODEL else root / name


def record_path(root: Path, kind: Kind, name: str) -> Path:
    """Return where below `root` a repository's record is."""
    return root / RECORDS / f"{kind.value}s" / f"{name}.json"


def write_record(root: Path, record: Record) -> None:
    """Write `record` below `root`, whole or not at all.

    Raises:
        UserError: the folder cannot be written.
    """
    write_json(record_path(root, record.kind, record.name), record.to_dict())


def find_record(root: Path, kind: Kind, name: str) -> Record | None:
    """Return the record of a repository below `root`; None if there is none.

    Raises:
        UserError: it is not a readable record.
    """
    if not is_safe_path(name):
        return None
    path = record_path(root, kind, name)
    return _read(path, kind, name) if path.is_file() else None


def find_records(root: Path) -> Iterator[Record]:
    """Yield all records below `root`, datasets first, in order of name.

    Raises:
        UserError: one of them is not readable.
    """
    for kind in Kind:
        folder = root / RECORDS / f"{kind.value}s"
        names = {
            path.relative_to(folder).as_posix().removesuffix(".json"): path
            for path in folder.rglob("*.json")
        }
        for name in sorted(names):
            yield _read(names[name], kind, name)


def is_safe_path(path: str) -> bool:
    """Whether `path` names a file below a folder and leads nowhere else, on any system."""
    parts = path.split("/")
    return (
        not PurePosixPath(path).is_absolute()
        and "\\" not in path
        and path.isprintable()
        and all(part not in ("", ".", "..") for part in parts)
        and not (len(path) > 1 and path[1] == ":")
    )


def _is_word(text: str) -> bool:
    """Whether `text` may stand in a command as it is, and is no option there."""
    return is_plain_name(text) and not text.startswith((".", "-"))


def _digits(value: Any, count: int) -> str:
    """Return `value`, a text of so many hex digits.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{count}}}", value):
        raise ValueError(f"{value!r} has not {count} hex digits")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{value!r} counts nothing")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{values!r} is no list of texts")
    return tuple(values)


def _read(path: Path, kind: Kind, name: str) -> Record:
    # What is told of a record, commands to be pasted among it, is made of what stands in it; and it
    # may be a stranger's.
    value = read_json(path, "record")
    try:
        if not all(map(_is_word, name.split("/"))):
            raise ValueError(f"{name!r} is not the name of a repository")
        if value["format"] != FORMAT:
            raise UserError(
                f"{path}: a record of format {value['format']}, and this version reads {FORMAT}: "
                "fetch into another folder, or use the version that wrote it"
            )
        if (value["kind"], value["repo"]) != (kind.value, name):
            raise ValueError(f"it is of the {value['kind']} {value['repo']}")
        files = {
            file: FileRecord(_count(entry["size"]), _digits(entry["sha256"], 64))
            for file, entry in value["files"].items()
        }
        if unsafe := [file for file in files if not is_safe_path(file)]:
            raise ValueError(f"{unsafe[0]!r} leads out of its folder")
        rows = {
            config: {split: _count(n) for split, n in splits.items()}
            for config, splits in value["rows"].items()
        }
        tasks = _texts(value["tasks"])
        if strange := [task for task in tasks if not _is_word(task)]:
            raise ValueError(f"{strange[0]!r} is not the name of a task")
        return Record(
            kind=kind,
            name=name,
            revision=_digits(value["revision"], 40),
            files=files,
            rows=rows,
            tasks=tasks,
            left_out=_texts(value["left_out"]),
            converted={f: _digits(d, 64) for f, d in value.get("converted", {}).items()},
            fetched=str(value["fetched"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: not a record of qzhou-eval fetch ({type(error).__name__}: "
            f"{one_line(error, limit=120)}); move it away and fetch again"
        ) from error
