"""Folders for what does not outlive a process, told apart from those of processes that were killed.

The owner holds a lock on its folder for as long as it lives, which other machines and containers
that share the file system see as well; a process number they would not.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "qz-"
OWNER = "owner.lock"
LONGEST = 32
"""Characters of a folder's path: Ray puts sockets below it, whose paths may have 107."""
GRACE_SECONDS = 60
"""Age from which on a folder without an owner is left behind, and not just being made."""


def make_scratch() -> Path:
    """Make a folder that only its owner can enter, and that is this process's while it lives."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_root()))
    # Never closed: the system gives the lock back when the process ends, however it ends.
    held = os.open(folder / OWNER, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    return folder


def remove_scratch(folder: Path) -> None:
    """Remove a folder, into which processes that are ending may still write."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def remove_left_behind() -> None:
    """Remove the folders of processes that were killed."""
    for folder in Path(_root()).glob(f"{PREFIX}*"):
        try:
            if folder.stat().st_uid == os.getuid() and _abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def _abandoned(folder: Path) -> bool:
    lock = folder / OWNER
    if not lock.exists() or time.time() - lock.stat().st_mtime < GRACE_SECONDS:
        return False
    tried = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(tried, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(tried)
    return True


def _root() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) + len(f"/{PREFIX}12345678") <= LONGEST else "/tmp"
