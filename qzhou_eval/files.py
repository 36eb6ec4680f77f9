"""Reading data files with limits, writing them so that no half of one is ever seen."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from qzhou_eval.errors import StorageError, UserError, one_line

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the same parser under its older name
    import tomli as tomllib

# A result file of a 100-language task is about 150 kB; nothing we parse comes near this.
MAX_DATA_FILE_BYTES = 64 * 1024 * 1024
FULL = (errno.ENOSPC, errno.EDQUOT)
"""How the system says that a disk, or one's share of it, is full."""
TEMPORARY = ".tmp"
"""How the names of files end that are being written."""


def cache_root() -> Path:
    """Return the folder for cached data: $QZHOU_EVAL_CACHE, or qzhou-eval in the user's cache."""
    if own := os.environ.get("QZHOU_EVAL_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "qzhou-eval"


def is_plain_name(name: str) -> bool:
    """Whether `name` can be one part of a path and leads nowhere else."""
    return bool(re.fullmatch(r"[\w.+=@-]+", name)) and name.strip(".") != ""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that takes its place when the block ends well.

    Raises:
        StorageError: the folder cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _not_written(path.parent, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes private files; results are for sharing, as the umask allows.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        with suppress(OSError):  # a folder made read-only meanwhile is told of above
            temporary.unlink(missing_ok=True)


@cache
def _umask() -> int:
    """Return the process's umask; asked for once, because asking sets it for a moment."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _not_written(path: Path, error: OSError) -> StorageError:
    """Return what to tell of a file that could not be written."""
    hint = ""
    if error.errno in FULL:
        hint = "; make room there, and give the same command again"
    return StorageError(f"{path}: cannot be written: {error.strerror}{hint}")


def out_of_space(error: BaseException) -> bool:
    """Whether `error` says, itself or by its cause, that something could not be stored."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, StorageError):
            return True
        if isinstance(cause, OSError) and cause.errno in FULL:
            return True
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False


def remove_temporary(folder: Path) -> None:
    """Remove what writers that were killed have left in `folder` itself.

    Raises:
        StorageError: the folder may not be written to.
    """
    for path in folder.glob(f".*{TEMPORARY}"):
        remove(path)


def remove(path: Path) -> None:
    """Remove the file `path`, if it is there.

    Raises:
        StorageError: the folder may not be written to.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be removed: {error.strerror}") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all.

    Raises:
        StorageError: the folder cannot be written or the disk is full.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, what: str) -> Any:
    """Parse the JSON file `path`; `what` names it in errors ("result file", "manifest").

    Raises:
        UserError: missing, too large, not readable or not JSON.
    """
    text = _read_limited(path, what)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a readable {what}: {one_line(error)}") from error


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Parse the TOML file `path`; `what` names it in errors.

    Raises:
        UserError: missing, too large, not readable or not TOML.
    """
    text = _read_limited(path, what)
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not a readable {what}: {one_line(error)}") from error
    return data


def _read_limited(path: Path, what: str) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_DATA_FILE_BYTES:
            raise UserError(f"{path}: {size:,} bytes is too large for a {what}")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such {what}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable {what}: {one_line(error)}") from error


def file_digest(path: Path) -> str:
    """Return the sha256 of the file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def file_digests(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of every path's bytes, by its name relative to `root`, in order of name.

    Files are hashed side by side: hashlib lets go of the interpreter lock, so the 15 GB of a
    7B checkpoint take as long as the disk needs.
    """
    ordered = sorted(paths)
    with ThreadPoolExecutor(max_workers=4) as pool:
        digests = list(pool.map(file_digest, ordered))
    names = [path.relative_to(root).as_posix() for path in ordered]
    return dict(zip(names, digests, strict=True))


def text_digest(value: Any) -> str:
    """Return the sha256 of `value` as canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
