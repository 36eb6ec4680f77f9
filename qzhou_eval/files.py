"""Reading data files with limits, writing them so that no half of one is ever seen."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
from collections import Counter
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
# A table of a thousand instructions has 200 kB, and a TOML file is parsed a thousand times slower.
MAX_TOML_BYTES = 1024 * 1024
# Deeper than anything that is written; what walks such a value may do so by calling itself.
MAX_DEPTH = 64
# Room for a suffix and a temporary file's letters in the 255 bytes of a file's name.
MAX_NAME_BYTES = 200
# Names that lead to a device on Windows, whatever suffix they have.
DEVICE_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def cache_root() -> Path:
    """Return the folder for cached data: $QZHOU_EVAL_CACHE, or qzhou-eval in the user's cache."""
    if own := os.environ.get("QZHOU_EVAL_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "qzhou-eval"


def is_plain_name(name: str) -> bool:
    """Whether `name` can be one part of a path, on any system, and leads nowhere else."""
    return (
        re.fullmatch(r"[\w.+=@-]+", name) is not None
        and name.strip(".") != ""
        and len(name.encode()) <= MAX_NAME_BYTES
        and DEVICE_NAMES.fullmatch(name) is None
    )


def is_data_file(path: Path) -> bool:
    """Whether there is a regular file (or a link to one) at `path`: no pipe, device or folder.

    Raises:
        UserError: that cannot be looked at.
    """
    try:
        return path.is_file()
    except PermissionError as error:
        raise UserError(f"{path}: cannot be looked at: {error.strerror}") from error
    except (OSError, ValueError):  # a name that no file can have
        return False


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
        # A lone surrogate, out of an error's text say, is no letter of any file.
        temporary.write_text(text, encoding="utf-8", errors="replace", newline="")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, what: str, *, last_wins: bool = False) -> Any:
    """Parse the JSON file `path`; `what` names it in errors ("result file", "manifest").

    Args:
        path: The file.
        what: What it should be.
        last_wins: Whether an object may have a key twice, of which programs differ in what they
            take; for files that others read with us, as a checkpoint's are.

    Raises:
        UserError: missing, too large, not readable or not JSON; or with a key twice, nested too
            deeply, or with text that is no Unicode.
    """
    text = _read_text(path, what, MAX_DATA_FILE_BYTES)
    try:
        value = json.loads(text, object_pairs_hook=None if last_wins else _unique)
        _check_tree(value)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a readable {what}: {one_line(error)}") from error
    return value


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Parse the TOML file `path`; `what` names it in errors.

    Raises:
        UserError: missing, too large, not readable, not TOML, or nested too deeply.
    """
    text = _read_text(path, what, MAX_TOML_BYTES)
    try:
        data: dict[str, Any] = tomllib.loads(text)
        _check_tree(data)
    # An integer of thousands of digits is a plain ValueError.
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a readable {what}: {one_line(error)}") from error
    return data


def read_data(path: Path, what: str, most: int = MAX_DATA_FILE_BYTES) -> bytes:
    """Return the bytes of a regular file; `what` names it in errors.

    Raises:
        UserError: missing, not a regular file, of more than `most` bytes, or not readable.
    """
    try:
        # Or a named pipe that nobody writes to would be waited for.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"{path}: not a {what}: it is no regular file")
            data = file.read(most + 1)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such {what}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable {what}: {one_line(error)}") from error
    if len(data) > most:
        raise UserError(f"{path}: too large for a {what}: more than {most:,} bytes")
    return data


def _read_text(path: Path, what: str, most: int) -> str:
    try:
        # Editors on Windows put a byte order mark first, which is no part of the text.
        return read_data(path, what, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a readable {what}: {one_line(error)}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{name!r} stands in it twice")
    return table


def _check_tree(value: Any) -> None:
    """Raise ValueError for a value nested too deeply, or with half characters in its texts."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and not item.isascii():
                item.encode()  # refuses lone surrogates, which no file can be written with
        if not below:
            return
        level = below
    raise ValueError(f"nested more than {MAX_DEPTH} deep")


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
