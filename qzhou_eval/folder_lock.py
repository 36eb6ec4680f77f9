"""Who may write to a folder: one process at a time, and a dead one holds nobody up."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from qzhou_eval.errors import StorageError, UserError, one_line_text
from qzhou_eval.files import TEMPORARY, read_json, write_json

LOCK = ".run.lock"
SOFT_LOCK = ".run.softlock"
OWNER = ".run.owner"
POLL_SECONDS = 1.0
HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
"""What a file system answers that has no locks: some clusters' Lustre, NFS without its daemon."""


class HeldError(Exception):
    """Another process has the folder."""


@dataclass(frozen=True)
class Purpose:
    """What a folder is held for, in words for whom it is not free.

    Attributes:
        what: Who has it: "run".
        doing: What it does there: "writing".
        advice: What can be done.
    """

    what: str
    doing: str
    advice: str


RUN = Purpose(
    "run", "writing", "wait for it (--wait does), stop it, or choose another --output-dir"
)
FETCH = Purpose("fetch", "at work", "wait for it, or fetch into another folder")


class FolderLock:
    """Holds a folder until it is released, or its process ends, however that happens.

    The system's lock on a file goes with its process. Where the file system has none, the lock is
    a file that names its process, and that of a process gone from this machine is taken over.
    """

    def __init__(self, folder: Path, handle: int | None) -> None:
        self._folder, self._handle = folder, handle

    def release(self) -> None:
        """Let others have the folder."""
        with suppress(OSError):
            (self._folder / OWNER).unlink(missing_ok=True)
        if self._handle is None:
            with suppress(OSError):
                (self._folder / SOFT_LOCK).unlink(missing_ok=True)
        else:
            os.close(self._handle)


def lock_folder(
    folder: Path, waiting: Callable[[str], None] | None = None, purpose: Purpose = RUN
) -> FolderLock:
    """Take the folder, which must be there.

    Args:
        folder: The folder.
        waiting: Where another process has it: told so once, and its end is waited for. Without,
            that is an error.
        purpose: What it is held for.

    Raises:
        UserError: another process has it.
        StorageError: it cannot be written to.
    """
    told = False
    while True:
        try:
            lock = FolderLock(folder, _acquired(folder))
            break
        except HeldError as error:
            why = f"{folder}: another {purpose.what} is {purpose.doing} there{_owner(folder)}"
            if waiting is None:
                hint = f"{purpose.advice}{_if_dead(folder, purpose)}"
                raise UserError(f"{why}; {hint}") from error
            if not told:
                waiting(why)
                told = True
            time.sleep(POLL_SECONDS)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be written: {error.strerror}") from error
    try:
        write_json(folder / OWNER, _self())
    except StorageError:
        lock.release()
        raise
    return lock


def check_unlocked(folder: Path, waiting: Callable[[str], None] | None = None) -> None:
    """Refuse a folder that a run is writing to, or wait for that; leaves no trace of its own.

    Raises:
        UserError: another run has it, and there is no waiting for it.
    """
    if any((folder / name).exists() for name in (LOCK, SOFT_LOCK)):
        lock_folder(folder, waiting).release()


def _acquired(folder: Path) -> int | None:
    """Return the handle of the system's lock; None where the lock is a file.

    Raises:
        HeldError: another process has it.
        UserError: the lock's file is a link, which could lead anywhere.
    """
    path = folder / LOCK
    if path.is_symlink():
        raise UserError(f"{path}: is a link; remove it")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    except OSError as error:
        os.close(handle)
        if error.errno in NO_LOCKS:
            _make_soft_lock(folder / SOFT_LOCK)
            return None
        if error.errno in HELD:
            raise HeldError from error
        raise


def _make_soft_lock(path: Path) -> None:
    """Make the file that is the lock, with its owner in it from the first moment.

    Raises:
        HeldError: another process, alive or of another machine, has made it.
    """
    own = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    own.write_text(json.dumps(_self()), encoding="utf-8")
    try:
        for _ in range(2):
            try:
                os.link(own, path)
                return
            except FileExistsError:
                if not _take_away_dead(path):
                    break
        raise HeldError
    finally:
        own.unlink(missing_ok=True)


def _take_away_dead(path: Path) -> bool:
    """Remove the lock of a dead process; return whether it is worth trying again.

    It is where the lock is gone, whoever removed it: by renaming it, which one process alone can
    do, and looking at what it was. Another may have taken its place meanwhile, which is put back.
    """
    seen = _read(path)
    if not _is_dead(seen):
        return False
    away = path.with_name(f".{path.name}.{os.getpid()}.dead{TEMPORARY}")
    try:
        path.rename(away)
    except FileNotFoundError:
        return True
    if _read(away) != seen:
        with suppress(OSError):
            os.link(away, path)
    away.unlink(missing_ok=True)
    return True


def _self() -> dict[str, Any]:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": now}


def _read(path: Path) -> dict[str, Any]:
    try:
        owner = read_json(path, "owner")
    except UserError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_dead(owner: dict[str, Any]) -> bool:
    """Whether the owner's process was on this machine and is no more."""
    pid = owner.get("pid")
    if owner.get("host") != socket.gethostname() or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _owner(folder: Path) -> str:
    """Return who has the folder, in brackets; nothing if that is not known."""
    owner = _read(folder / SOFT_LOCK) or _read(folder / OWNER)
    if not owner:
        return ""
    host, pid, since = (
        one_line_text(owner.get(k, "?"), limit=80) for k in ("host", "pid", "since")
    )
    return f" (process {pid} on {host}, since {since})"


def _if_dead(folder: Path, purpose: Purpose) -> str:
    """Return what to do about a lock that is a file, should its owner be dead after all."""
    path = folder / SOFT_LOCK
    return f"; if that {purpose.what} is dead, remove {path}" if path.exists() else ""
