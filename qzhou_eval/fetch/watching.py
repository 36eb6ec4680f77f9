"""How a fetch tells what it does, and is told to stop."""

from __future__ import annotations

import threading
from typing import Protocol


class Watcher(Protocol):
    """Is shown how a fetch goes; called from several threads."""

    def total(self, size: int) -> None:
        """So many bytes are to be fetched."""

    def advance(self, size: int) -> None:
        """So many more bytes are here; negative when some are thrown away."""

    def say(self, line: str) -> None:
        """One line for the reader."""


class StoppedError(Exception):
    """The fetch is over before this file was: nothing is wrong with it."""


class Stop:
    """Tells the threads of a fetch that it is over."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def now(self) -> None:
        """Have all threads end soon."""
        self._event.set()

    def check(self) -> None:
        """Go on, or not.

        Raises:
            StoppedError: the fetch is over.
        """
        if self._event.is_set():
            raise StoppedError

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until the fetch is over.

        Raises:
            StoppedError: it is over.
        """
        self._event.wait(seconds)
        self.check()
