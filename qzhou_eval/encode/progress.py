"""Progress bars with rates, for anything long, on a terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol

from tqdm import tqdm
from typing_extensions import Self


class Told(Protocol):
    """Texts and tokens done so far and the seconds they took, to what a bar says of them."""

    def __call__(self, texts: int, tokens: int, seconds: float, /) -> str:
        """Return what a bar says."""
        ...


def pace(texts: int, tokens: int, seconds: float) -> str:
    """Return the tokens a second."""
    return f"{tokens / max(seconds, 1e-9):,.0f} tokens/s"


class Progress:
    """A bar over texts that also shows tokens a second, or what else it is given to tell.

    Silent without a label, and where standard error is not a terminal.

    Attributes:
        texts: Texts done.
        tokens: Their tokens.
    """

    def __init__(self, label: str, total: int, told: Told = pace) -> None:
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
        self._told = told
        self.texts = self.tokens = 0
        self._skipped = self._shown = 0
        self._started = time.monotonic()

    def advance(self, texts: int, tokens: int) -> None:
        """Count `texts` more texts of `tokens` tokens as done."""
        self.texts += texts
        self.tokens += tokens
        self.show(0, 0)

    def skip(self, texts: int) -> None:
        """Count `texts` texts as done that took no time."""
        self._skipped += texts
        self.show(0, 0)

    def show(self, texts: int, tokens: int) -> None:
        """Show, beside what is done, `texts` texts of `tokens` tokens that are under way.

        Those may be done again elsewhere: the bar may then go back.
        """
        if self._bar.disable:
            return
        seconds = time.monotonic() - self._started
        told = self._told(self.texts + texts, self.tokens + tokens, seconds)
        self._bar.set_postfix_str(told, refresh=False)
        shown = self._skipped + self.texts + texts
        if shown < self._shown:
            self._bar.n = shown
            self._bar.refresh()
        else:
            self._bar.update(shown - self._shown)
        self._shown = shown

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
