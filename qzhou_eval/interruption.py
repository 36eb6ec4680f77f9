"""Stopping a run from outside: the first signal lets it finish what is under way, the second not.

A process has one handler a signal, so there is one state, this module's.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal asked the run to stop, and what was under way has been saved.

    Attributes:
        signal: The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class _State:
    """What the handler knows: the signal that came, and whether there is something to finish."""

    def __init__(self) -> None:
        self.asked = 0
        self.gentle = 0


_state = _State()


def check() -> None:
    """Stop here if a signal has asked to: called where nothing would be lost by it.

    Raises:
        Stopped: one has.
    """
    if asked():
        raise Stopped(_state.asked)


def asked() -> bool:
    """Whether a signal has asked this thread to stop: the main one, which others work for."""
    return bool(_state.asked) and threading.current_thread() is threading.main_thread()


@contextmanager
def gently() -> Iterator[None]:
    """Inside, the first signal only asks to stop, and `check` does; elsewhere it stops at once."""
    _state.gentle += 1
    try:
        yield
    finally:
        _state.gentle -= 1


def end_within(seconds: float, code: int) -> None:
    """End the process with `code` after so long, if it has not ended in good order by then.

    A signal to a whole job ends Ray's processes too, and Ray's own way out then takes minutes.
    """
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()


@contextmanager
def heeding_signals() -> Iterator[None]:
    """Handle SIGINT and SIGTERM inside; the handlers before are put back behind it."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _state.asked = 0
    for number in SIGNALS:
        signal.signal(number, _handle)
    try:
        yield
    finally:
        stopping = bool(_state.asked)
        _state.asked = 0
        for number, handler in before.items():
            # A run on its way out is not interrupted in that: a further signal ends it at once.
            signal.signal(number, _leave if stopping else handler)


def _leave(number: int, frame: FrameType | None) -> None:
    _say("stopped at once")
    os._exit(128 + number)


def _handle(number: int, frame: FrameType | None) -> None:
    if _state.asked:
        # Every file is written aside and renamed, so nothing is torn by going without a word to
        # anybody; Python's own way out would wait for threads.
        _leave(number, frame)
    _state.asked = number
    if not _state.gentle:
        raise Stopped(number)
    _say("stopping as soon as what is under way is saved; once more stops at once")


def _say(text: str) -> None:
    # Past Python's streams, which the interrupted code may be in the middle of using.
    with suppress(OSError):
        os.write(2, f"\n{text}\n".encode())
