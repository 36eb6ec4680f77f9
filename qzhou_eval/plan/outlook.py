"""How a run is getting on: its pace, the share of the device it gets, and the time left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qzhou_eval.encode.cost import Shape
from qzhou_eval.encode.encoder import Meter


@dataclass
class Outlook:
    """A run's plan beside what has been done of it.

    Attributes:
        planned: Task name to "tokens" and "seconds" of encoding; tasks that are not known or not
            run are left out.
        meter: The encoder's, read as it goes.
        shape: The model's sizes.
        ceiling: Operations a second of large matrix products on the device; 0 if not measured.
    """

    planned: Mapping[str, Mapping[str, Any]]
    meter: Meter
    shape: Shape
    ceiling: float = 0.0
    _task: str = ""
    _before: tuple[int, float] = (0, 0.0)
    _ended: set[str] = field(default_factory=set)
    _taken: float = 0.0
    _foreseen: float = 0.0

    def begin(self, task: str) -> None:
        """Note that `task` is being encoded from here on, and the one before it no more."""
        self._close()
        self._task, self._before = task, (self.meter.tokens, self.meter.seconds)

    def end(self, task: str) -> None:
        """Note that `task` is over, however it went; another may be under way."""
        self._ended.add(task)
        if task == self._task:
            self._close()

    def _close(self) -> None:
        """Learn from the task under way how the plan's times compare with real ones."""
        seconds = self.meter.seconds - self._before[1]
        if self._task in self.planned and seconds > 0:
            self._taken += seconds
            self._foreseen += float(self.planned[self._task].get("seconds") or 0)
        self._ended.add(self._task)
        self._task = ""

    def share(self, tokens: float, texts: float, seconds: float) -> float:
        """Return the share of the device's ceiling that encoding so much in so long comes to."""
        if not (self.ceiling and texts and seconds):
            return 0.0
        return self.shape.flops(tokens, tokens / texts) / seconds / self.ceiling

    def left(self, rate: float = 0.0) -> tuple[float, float]:
        """Return the seconds of encoding left of the task and of all tasks.

        Args:
            rate: Tokens a second at present; 0 to go by the plan.
        """
        pace = self._taken / self._foreseen if self._taken and self._foreseen else 1.0
        ended = self._ended | {self._task}
        others = sum(
            float(entry.get("seconds") or 0) * pace
            for task, entry in self.planned.items()
            if task not in ended
        )
        own = self.planned.get(self._task, {})
        tokens = max(0, int(own.get("tokens") or 0) - (self.meter.tokens - self._before[0]))
        seconds = float(own.get("seconds") or 0) * pace
        seconds *= tokens / max(1, int(own.get("tokens") or 0))
        if rate:
            seconds = tokens / rate
        return seconds, seconds + others

    def told(self, texts: int, tokens: int, seconds: float) -> str:
        """Return what a progress bar says beside its texts.

        Args:
            texts: Texts of the call so far.
            tokens: Their tokens.
            seconds: Time they took.
        """
        rate = tokens / max(seconds, 1e-9)
        parts = [f"{rate:,.0f} tokens/s"]
        if share := self.share(tokens, texts, seconds):
            parts.append(f"{share:.0%} of ceiling")
        if self._task in self.planned:
            task, all_tasks = self.left(rate)
            parts.append(f"task {clock(task)}, all {clock(all_tasks)} left")
        return ", ".join(parts)


def clock(seconds: float) -> str:
    """Return a time as "0:42", "12:05" or "3:10:00"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
