"""Vectors of a task's texts, remembered so that a text in several of its calls is encoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from qzhou_eval.encode.vectors import Vectors

MEMO_BYTES = 2**29
"""Memory for vectors remembered; texts beyond it are encoded each time they come."""


@dataclass
class Memo:
    """Vectors by task, prompt and text; those of another task are forgotten."""

    _task: str = ""
    _vectors: dict[tuple[str, str], Vectors] = field(default_factory=dict)
    _bytes: int = 0

    def forget(self) -> None:
        """Forget everything."""
        self._task, self._bytes = "", 0
        self._vectors.clear()

    def encode(
        self,
        task: str,
        prompt: str,
        texts: Sequence[str],
        encode: Callable[[list[str]], Vectors],
    ) -> Vectors:
        """Return the vectors of `texts`, (len(texts), width), asking `encode` for new ones."""
        if task != self._task:
            self.forget()
            self._task = task
        new = [text for text in dict.fromkeys(texts) if (prompt, text) not in self._vectors]
        made = encode(new)
        found = dict(zip(new, made, strict=True))
        result = np.empty((len(texts), made.shape[1]), dtype=np.float32)
        for row, text in enumerate(texts):
            own = found.get(text)
            result[row] = self._vectors[prompt, text] if own is None else own
        for text in new[: max(0, (MEMO_BYTES - self._bytes) // max(1, made[:1].nbytes))]:
            # A copy: a view would keep all the call's vectors.
            self._vectors[prompt, text] = found[text].copy()
            self._bytes += found[text].nbytes
        return result
