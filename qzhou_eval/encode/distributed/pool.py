"""Actors that stay for a whole run, and those that take the place of lost ones."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from qzhou_eval.encode.distributed.actor import ASIDE, EncoderActor, Loaded, Where
from qzhou_eval.encode.preflight import apart
from qzhou_eval.encode.vectors import Vectors
from qzhou_eval.errors import DeviceLostError, DevicesLostError, UserError, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qzhou_eval.encode.distributed.cluster import Cluster
    from qzhou_eval.encode.distributed.loading import Loader

TRIES = 3
"""Actors that a chunk, or a device's model, may take down before the run stops trying."""
PLACEMENT_SECONDS = 300.0
"""Time Ray is given to place all actors and start their processes."""
REPLACEMENT_SECONDS = 900.0
"""Time without any working actor after which the devices count as lost."""
POLL_SECONDS = 1.0


@dataclass
class Member:
    """One actor, and the one that takes its place if it is lost.

    Attributes:
        slot: Its number, from 0.
        actor: Ray's handle.
        where: Where it is; None until it has said so.
        threads: Of its forward passes on a CPU.
        running: References and numbers of its chunks, in the order they were given.
        coming: Reference to the model's loading, while it is not ready to work.
        failed_loads: Loadings that failed in a row.
        reason: Why it was lost last.
        asked: Reference to how far it is with its chunk, while it has not answered.
        done: Texts and tokens of its chunk that are done, by its last answer.
    """

    slot: int
    actor: Any
    where: Where | None = None
    threads: int = 1
    running: deque[tuple[Any, int]] = field(default_factory=deque)
    coming: Any = None
    failed_loads: int = 0
    reason: str = ""
    asked: Any = None
    done: tuple[int, int] = (0, 0)


@dataclass
class Pool:
    """One actor a device.

    Attributes:
        cluster: Where they are.
        loader: What each loads its model with.
        kind: "cuda" or "cpu".
        count: How many.
        variables: Environment variables of their processes.
        fast: Whether replacements are made fast.
        restarts: Actors lost and replaced so far.
        vectors: What a replacement must give for preflight's texts; None to take its word.
        tolerance: How far from them it may be.
    """

    cluster: Cluster
    loader: Loader
    kind: str
    count: int
    variables: Mapping[str, str]
    fast: bool = False
    restarts: int = 0
    vectors: Vectors | None = None
    tolerance: float = 0.0
    members: list[Member] = field(default_factory=list)
    _checked: set[str] = field(default_factory=set)
    _gone: list[Member] = field(default_factory=list)

    def start(self) -> list[Loaded]:
        """Place all actors, check their nodes and load the model on each.

        Returns:
            What each has loaded.

        Raises:
            UserError: Ray cannot place them, a node lacks the model, or it does not load.
        """
        self.members = [Member(slot, self._create()) for slot in range(self.count)]
        self._place()
        self._share_cores()
        for member, ref in [(m, m.actor.check.remote()) for m in self._one_a_node()]:
            self._answer(member, ref)
            self._checked.add(_node(member))
        loading = [(m, m.actor.load.remote(m.threads, fast=self.fast)) for m in self.members]
        return [self._answer(member, ref) for member, ref in loading]

    def ask(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every actor's engine at once; return the answers in order.

        An actor that is lost is replaced, and its successor asked.

        Raises:
            UserError: an actor says so.
            DeviceLostError: a device took down actor after actor.
            DevicesLostError: no actor is left.
        """
        return self._ask(lambda: list(self.members), method, arguments)

    def ask_first(self, method: str, *arguments: Any) -> Any:
        """Call a method of the first actor's engine; see `ask`."""
        return self._ask(lambda: self.members[:1], method, arguments)[0]

    def _ask(
        self, asked: Callable[[], list[Member]], method: str, arguments: tuple[Any, ...]
    ) -> list[Any]:
        answers: dict[int, Any] = {}
        for attempt in range(TRIES):
            self._bring_back()
            missing = [member for member in asked() if member.slot not in answers]
            refs = [(member, member.actor.ask.remote(method, *arguments)) for member in missing]
            for member, ref in refs:
                try:
                    answers[member.slot] = self._answer(member, ref)
                except DeviceLostError as error:
                    if attempt == TRIES - 1:
                        raise
                    self.replace(member, one_line(error))
            if all(member.slot in answers for member in asked()):
                break
        return [answers[member.slot] for member in asked()]

    def _bring_back(self) -> None:
        """Wait for all replacements that are on their way."""
        import ray

        until = time.monotonic() + REPLACEMENT_SECONDS
        while coming := {m.coming: m for m in self.members if m.coming is not None}:
            done, _ = ray.wait(list(coming), num_returns=1, timeout=POLL_SECONDS)
            for ref in done:
                self.arrived(coming[ref])
            if time.monotonic() > until:
                for member in coming.values():
                    self._give_up(member, member.reason)
        if not self.members:
            raise DevicesLostError(self.all_lost())

    def close(self) -> None:
        """End all actors."""
        for member in self.members:
            self._kill(member)

    def device(self, member: Member) -> str:
        """Return what to call a member's device."""
        if member.where is None:
            return f"actor {member.slot + 1}"
        return self.cluster.device_name(member.slot, member.where.host, member.where.gpu)

    def _create(self) -> Any:
        """Return a new actor, which Ray places where there is room."""
        import ray

        options: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0}
        if self.kind == "cuda":
            options |= {"num_gpus": 1, "num_cpus": 0}
        else:
            options |= {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
        scratch = str(self.cluster.scratch or "")
        remote = ray.remote(concurrency_groups={ASIDE: 1}, **options)(EncoderActor)
        return remote.remote(self.loader, self.kind, dict(self.variables), scratch)

    def _place(self) -> None:
        """Wait until all actors are somewhere; one whose node goes away meanwhile moves on.

        Raises:
            UserError: there is no room for all.
            DeviceLostError: an actor was lost wherever it went.
        """
        import ray

        until = time.monotonic() + PLACEMENT_SECONDS
        for attempt in range(TRIES):
            missing = [member for member in self.members if member.where is None]
            refs = [member.actor.where.remote() for member in missing]
            wait = max(0.0, until - time.monotonic())
            _, late = ray.wait(refs, num_returns=len(refs), timeout=wait) if refs else ([], [])
            if late:
                raise UserError(
                    f"Ray placed {self.count - len(late)} of {self.count} actors in "
                    f"{PLACEMENT_SECONDS:.0f} s: the other devices are taken, or not there; fewer "
                    "with --actors"
                )
            for member, ref in zip(missing, refs, strict=True):
                try:
                    member.where = self._answer(member, ref)
                except DeviceLostError:
                    if attempt == TRIES - 1:
                        raise
                    member.actor = self._create()

    def _share_cores(self) -> None:
        """Divide each machine's cores among its actors."""
        hosts = [member.where.host for member in self.members if member.where]
        for member in self.members:
            if member.where:
                member.threads = max(1, member.where.cores // hosts.count(member.where.host))

    def _one_a_node(self) -> list[Member]:
        """Return one member of each node, the first; none of this machine's own."""
        nodes: dict[str, Member] = {}
        for member in self.members:
            nodes.setdefault(_node(member), member)
        return [] if self.cluster.local else list(nodes.values())

    def _answer(self, member: Member, ref: Any) -> Any:
        """Return what an actor answers; its errors with its device before them."""
        import ray

        try:
            return ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            cause = cause_of(error)
            if isinstance(cause, UserError) and not self.cluster.local:
                raise UserError(f"{self.device(member)}: {cause}") from error
            raise cause from error
        except ray.exceptions.RayError as error:
            raise DeviceLostError(f"{self.device(member)} was lost: {why_lost(error)}") from error

    def replace(self, member: Member, reason: str) -> None:
        """Put a new actor in a lost one's place; it joins in as soon as its model is loaded."""
        self._kill(member)
        member.reason, member.asked, member.done = reason, None, (0, 0)
        self.restarts += 1
        member.actor = self._create()
        member.coming = member.actor.where.remote()

    def arrived(self, member: Member) -> None:
        """Go on with a replacement that has come a step further: placed, checked, loaded."""
        import ray

        ref, member.coming = member.coming, None
        try:
            answer = ray.get(ref)
            if self._differ(answer):
                raise UserError("it gives other vectors than the devices of the run's beginning")
        except (ray.exceptions.RayError, UserError) as error:
            cause = cause_of(error)
            member.failed_loads += 1
            own = not isinstance(cause, ray.exceptions.RayError)
            reason = one_line(cause) if own else why_lost(error)
            if member.failed_loads < TRIES:
                # The GPU's memory may not have been given back yet.
                time.sleep(POLL_SECONDS)
                self.replace(member, reason)
            else:
                self._give_up(member, reason)
            return
        if isinstance(answer, Where):
            member.where = answer
            self._share_cores()
            if not self.cluster.local and answer.node not in self._checked:
                member.coming = member.actor.check.remote()
                return
        if answer is None:  # the check has been passed
            self._checked.add(_node(member))
        if isinstance(answer, Loaded) and self.vectors is not None:
            member.coming = member.actor.ask.remote("sample_vectors")
        elif isinstance(answer, Where) or answer is None:
            member.coming = member.actor.load.remote(member.threads, fast=self.fast)
        else:
            member.failed_loads = 0

    def _differ(self, answer: Any) -> bool:
        """Whether an answer is sample vectors, and others than they should be."""
        if self.vectors is None or not isinstance(answer, np.ndarray):
            return False
        return apart(self.vectors, answer) > self.tolerance

    def _give_up(self, member: Member, reason: str) -> None:
        """Go on without a member."""
        self._kill(member)
        member.actor, member.coming, member.reason = None, None, reason
        self.members.remove(member)
        self._gone.append(member)

    def all_lost(self) -> str:
        """Return what to tell where no device is left, with why each was lost."""
        every = [*self._gone, *self.members]
        told = "; ".join(f"{self.device(member)}: {member.reason}" for member in every)
        return f"all devices were lost, and none came back: {told}"

    def _kill(self, member: Member) -> None:
        import ray

        if member.actor is not None:
            with suppress(Exception):
                ray.kill(member.actor)


def _node(member: Member) -> str:
    return member.where.node if member.where else ""


def cause_of(error: Exception) -> Exception:
    """Return what an actor raised, out of Ray's error of the call; any other error as it is."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else error


def why_lost(error: Exception) -> str:
    """Return Ray's reason for a loss in one line, without its table of facts."""
    lines = [line for line in str(error).splitlines() if line and not line.startswith("\t")]
    return one_line(UserError(" ".join(lines)), limit=240)
