"""The chunks of one call, which flow to whichever actor is free."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from qzhou_eval import interruption
from qzhou_eval.encode.distributed import pool as pool_module
from qzhou_eval.encode.distributed.actor import ASIDE, Part
from qzhou_eval.encode.distributed.pool import TRIES, Member, Pool, cause_of, why_lost
from qzhou_eval.errors import DeviceLostError, DevicesLostError, one_line

QUEUED = 2
"""Chunks an actor has at a time: one under way, one waiting, so that it never waits itself."""
BROKEN_DEVICE = ("CUDA error", "CUDNN_STATUS", "CUBLAS_STATUS_EXECUTION", "NCCL error")
"""Words of errors after which a process has no use of its GPU any more."""

Chunk = tuple[Sequence[str], str, int, int]
"""Arguments of `EncoderActor.encode`."""


@dataclass
class Work:
    """Chunks to be encoded, each once, by a pool's actors.

    Attributes:
        pool: The actors.
        numbers: The chunks to be encoded.
        chunk: Number of a chunk to what is to be encoded; asked for when an actor is free, and
            again if that actor is lost.
        take: Told each chunk's number and vectors as they come, each number once, in no order.
        called: What to call a chunk in an error.
        show: Told, about every second, how many texts and tokens are done of chunks that are not.
    """

    pool: Pool
    numbers: Sequence[int]
    chunk: Callable[[int], Chunk]
    take: Callable[[int, Part], None]
    called: Callable[[int], str]
    show: Callable[[int, int], None]
    _waiting: deque[int] = field(init=False)
    _tries: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self._waiting = deque(self.numbers)
        self._tries = dict.fromkeys(self.numbers, 0)

    def run(self) -> None:
        """Have all chunks encoded; an actor that is lost is replaced, its chunks given to others.

        Raises:
            DeviceLostError: one chunk took down actor after actor.
            DevicesLostError: no actor is left, and none could be brought up again.
            Stopped: a signal asked to; the chunks under way have been taken.
        """
        import ray

        idle_since = 0.0
        try:
            while self._waiting or self._running():
                if interruption.asked():
                    self._begin_to_stop()
                    if not self._running():
                        interruption.check()
                else:
                    self._hand_out()
                refs = {m.running[0][0]: m for m in self.pool.members if m.running}
                refs |= {m.coming: m for m in self.pool.members if m.coming is not None}
                if not refs:
                    raise DevicesLostError(self.pool.all_lost())
                done, _ = ray.wait(list(refs), num_returns=1, timeout=pool_module.POLL_SECONDS)
                for ref in done:
                    member = refs[ref]
                    if member.coming is not None and ref == member.coming:
                        self.pool.arrived(member)
                    else:
                        self._collect(member)
                if self._running():
                    idle_since = 0.0
                    if not done:
                        self._look()
                    continue
                idle_since = idle_since or time.monotonic()
                if time.monotonic() - idle_since > pool_module.REPLACEMENT_SECONDS:
                    raise DevicesLostError(self.pool.all_lost())
        finally:
            self._abandon()

    def _running(self) -> bool:
        return any(member.running for member in self.pool.members)

    def _begin_to_stop(self) -> None:
        """Take back what no actor has begun with."""
        import ray

        for member in self.pool.members:
            while len(member.running) > 1:
                ref, number = member.running.pop()
                self._waiting.appendleft(number)
                with suppress(Exception):
                    ray.cancel(ref)

    def _hand_out(self) -> None:
        """Give waiting chunks to the actors that have room, the emptiest first."""
        for room in range(QUEUED):
            for member in self.pool.members:
                if not self._waiting:
                    return
                if member.coming is None and len(member.running) == room:
                    number = self._waiting.popleft()
                    member.running.append((member.actor.encode.remote(*self.chunk(number)), number))

    def _collect(self, member: Member) -> None:
        """Take the chunk that a member has done, or replace the member."""
        import ray

        ref, number = member.running[0]
        try:
            part = ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            cause = cause_of(error)
            if not any(words in str(cause) for words in BROKEN_DEVICE):
                raise cause from error
            reason = one_line(cause)
        except ray.exceptions.RayError as error:
            reason = why_lost(error)
        else:
            member.running.popleft()
            member.done = (0, 0)
            self.take(number, part)
            return
        lost = [number for _, number in member.running]
        member.running.clear()
        self._waiting.extendleft(reversed(lost))
        self._tries[number] += 1
        if interruption.asked():
            # What asked this run to stop may have ended Ray as well: nothing is begun with it.
            return
        device = self.pool.device(member)
        self.pool.replace(member, reason)
        if self._tries[number] >= TRIES:
            raise DeviceLostError(
                f"{self.called(number)} took down its actor {TRIES} times, the last time on "
                f"{device}: {reason}"
            )

    def _look(self) -> None:
        """See how far all are with their chunks, as far as they have answered."""
        import ray

        for member in self.pool.members:
            if member.coming is not None or not member.running:
                continue
            if member.asked is not None and ray.wait([member.asked], timeout=0)[0]:
                with suppress(Exception):  # lost: is seen by its chunk
                    member.done = ray.get(member.asked)
                member.asked = None
            if member.asked is None:
                aside = member.actor.under_way.options(concurrency_group=ASIDE)
                member.asked = aside.remote()
        busy = [member.done for member in self.pool.members if member.running]
        self.show(sum(texts for texts, _ in busy), sum(tokens for _, tokens in busy))

    def _abandon(self) -> None:
        """Forget what is still under way, as after an error; nobody takes it any more."""
        import ray

        for member in self.pool.members:
            for ref, _ in list(member.running)[1:]:
                with suppress(Exception):
                    ray.cancel(ref)
            member.running.clear()
            member.asked, member.done = None, (0, 0)
