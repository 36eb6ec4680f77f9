"""Who may write to a run folder: one run at a time, and a dead one holds nobody up."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from qzhou_eval.errors import StorageError, UserError, one_line_text
from qzhou_eval.files import read_json, write_json

LOCK = ".run.lock"
SOFT_LOCK = ".run.softlock"
OWNER = ".run.owner"
POLL_SECONDS = 1.0


class FolderLock:
    """Holds a run folder until it is released, or its process ends, however that happens.

    The system's lock on a file goes with its process. Where the file system has none, the lock is
    a file, and one whose process is gone from this machine is taken over.
    """

    def __init__(self, folder: Path, lock: BaseFileLock) -> None:
        self._folder, self._lock = folder, lock

    def release(self) -> None:
        """Let other runs have the folder."""
        with suppress(OSError):
            (self._folder / OWNER).unlink(missing_ok=True)
        self._lock.release()


def lock_folder(folder: Path, waiting: Callable[[str], None] | None = None) -> FolderLock:
    """Take the folder, which must be there.

    Args:
        folder: A run folder.
        waiting: Where another run has it: told so once, and that run's end is waited for. Without,
            that is an error.

    Raises:
        UserError: another run has it.
        StorageError: it cannot be written to.
    """
    told = False
    while True:
        try:
            lock = _acquired(folder)
            break
        except Timeout as error:
            why = f"{folder}: another run is writing there{_owner(folder)}"
            if waiting is None:
                hint = "wait for it (--wait does), stop it, or choose another --output-dir"
                raise UserError(f"{why}; {hint}") from error
            if not told:
                waiting(why)
                told = True
            time.sleep(POLL_SECONDS)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be written: {error.strerror}") from error
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    try:
        write_json(folder / OWNER, {"pid": os.getpid(), "host": socket.gethostname(), "since": now})
    except StorageError:
        lock.release()
        raise
    return FolderLock(folder, lock)


def check_unlocked(folder: Path, waiting: Callable[[str], None] | None = None) -> None:
    """Refuse a folder that a run is writing to, or wait for that; leaves no trace of its own.

    Raises:
        UserError: another run has it, and there is no waiting for it.
    """
    if any((folder / name).exists() for name in (LOCK, SOFT_LOCK)):
        lock_folder(folder, waiting).release()


def _acquired(folder: Path) -> BaseFileLock:
    if (folder / LOCK).is_symlink():
        # filelock empties the file that it opens, wherever a link leads.
        raise UserError(f"{folder / LOCK}: is a link; remove it")
    lock: BaseFileLock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
        return lock
    except NotImplementedError:  # a file system without locks, as some clusters' are
        soft = folder / SOFT_LOCK
        if soft.exists() and _is_dead(_read_owner(folder)):
            soft.unlink(missing_ok=True)
        lock = SoftFileLock(soft)
        lock.acquire(timeout=0)
        return lock


def _read_owner(folder: Path) -> dict[str, Any]:
    try:
        owner = read_json(folder / OWNER, "owner")
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
    except OSError:
        return False
    return False


def _owner(folder: Path) -> str:
    """Return who has the folder, in brackets; nothing if that is not known."""
    owner = _read_owner(folder)
    if not owner:
        return ""
    told = one_line_text(json.dumps(owner.get("host", "")).strip('"'), limit=80)
    pid, since = (one_line_text(owner.get(key, "?"), limit=40) for key in ("pid", "since"))
    return f" (process {pid} on {told}, since {since})"
