"""The global random generators, lent to one task at a time.

mteb 1.38.30 seeds them when a task object is made and draws from them while the task is run. Where
one task is scored while another is prepared, each must find them as it left them.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_LOCK = threading.RLock()


class Generators:
    """The generators of Python, numpy and torch as one task has left them."""

    def __init__(self) -> None:
        self._state: tuple[Any, Any, Any] | None = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Put the generators where the task left them; no other task draws meanwhile."""
        with _LOCK:
            if self._state is not None:
                random.setstate(self._state[0])
                np.random.set_state(self._state[1])
                torch.set_rng_state(self._state[2])
            try:
                yield
            finally:
                self._state = (random.getstate(), np.random.get_state(), torch.get_rng_state())
