"""The worker processes that scikit-learn starts for mteb's classifiers, and how they end.

They are joblib's. Left to themselves they die of a Ctrl-C that was meant for the run, which then
fails its task, and outlive a killed run by five minutes, with half a gigabyte each.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import joblib

LOOK_SECONDS = 1.0


@contextmanager
def guarded_workers() -> Iterator[None]:
    """Have the workers that are started inside, by this thread, end with this process alone."""
    with joblib.parallel_config("loky", initializer=guard, initargs=(os.getpid(),)):
        yield


def guard(parent: int) -> None:
    """Leave signals to the process `parent`, and end when it is gone; runs in a worker."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)
