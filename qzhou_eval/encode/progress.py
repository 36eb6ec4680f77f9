"""Progress bars with rates, for anything long, on a terminal."""

from __future__ import annotations

import time
from types import TracebackType

from tqdm import tqdm
from typing_extensions import Self


class Progress:
    """A bar over texts that also shows tokens a second.

    Silent without a label, and where standard error is not a terminal.
    """

    def __init__(self, label: str, total: int) -> None:
        self._bar = tqdm(
            total=total,
            desc=label,
            unit=" texts",
            unit_scale=True,
            leave=False,
            delay=0.5,
            dynamic_ncols=True,
            disable=None if label else True,
        )
        self._tokens = 0
        self._started = time.monotonic()

    def advance(self, texts: int, tokens: int) -> None:
        """Count `texts` more texts of `tokens` tokens as done."""
        if self._bar.disable:
            return
        self._tokens += tokens
        rate = self._tokens / max(time.monotonic() - self._started, 1e-9)
        self._bar.set_postfix_str(f"{rate:,.0f} tokens/s", refresh=False)
        self._bar.update(texts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
