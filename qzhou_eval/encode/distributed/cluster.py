"""Ray: a private one on this machine, or one that is running already."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qzhou_eval.encode.distributed.scratch import (
    make_scratch,
    remove_left_behind,
    remove_scratch,
)
from qzhou_eval.errors import UserError, one_line

if TYPE_CHECKING:
    import torch

LOOPBACK = "127.0.0.1"
VISIBLE = "CUDA_VISIBLE_DEVICES"
ADDRESS = re.compile(r"auto|\[?[\w.:-]+\]?:\d{1,5}")
STORE_BYTES_AN_ACTOR = 256 * 2**20
"""Shared memory for chunks on their way: two a device, each with its texts and its vectors, 100 MiB
for 3,200 of 8,192 dimensions. What does not fit waits on the disk."""
ANSWER_SECONDS = 10.0
"""Time the head of a cluster is given to answer."""
LEAST_STORE_BYTES = 128 * 2**20


@dataclass
class Cluster:
    """A connection to Ray.

    Attributes:
        local: Whether it is a private one, of this machine alone.
        scratch: Its folder here; None if it is not ours.
        devices: What its actors are called: the devices asked for, of a private one.
    """

    local: bool
    scratch: Path | None = None
    devices: tuple[str, ...] = ()
    _gpus: tuple[str, ...] = field(default=(), repr=False)

    def device_name(self, slot: int, host: str, gpu: str) -> str:
        """Return what to call the device of an actor.

        Args:
            slot: The actor's number, from 0.
            host: Its machine.
            gpu: How CUDA_VISIBLE_DEVICES names its GPU there; empty without one.
        """
        if not self.local:
            return f"{f'GPU {gpu}' if gpu else f'CPU actor {slot + 1}'} of {host}"
        if gpu in self._gpus:
            return self.devices[self._gpus.index(gpu)]
        return f"{self.devices[slot]}, actor {slot + 1}"

    def close(self) -> None:
        """Leave it; a private one ends, with all its actors."""
        import ray

        ray.shutdown()
        if self.scratch is not None:
            remove_scratch(self.scratch)


def start_local(devices: Sequence[torch.device]) -> Cluster:
    """Start a private Ray on this machine, which no other machine can reach.

    All its servers listen on the loopback address alone; there is no dashboard, nothing is
    reported to anybody. Ray knows no passwords: other users of this machine can reach it.

    Args:
        devices: What actors are to have, one each: GPUs by their numbers, or CPUs.

    Raises:
        UserError: it does not start.
    """
    import ray

    remove_left_behind()
    scratch = make_scratch()
    gpus = [device for device in devices if device.type == "cuda"]
    known = _gpu_names()
    names = tuple(known[d.index] if known else str(d.index) for d in gpus)
    _quieten()
    try:
        with _visible(names), _nowhere(scratch):
            ray.init(
                address="local",  # whatever RAY_ADDRESS says
                num_cpus=max(os.cpu_count() or 1, len(devices)),
                num_gpus=len(gpus),
                include_dashboard=False,
                object_store_memory=_store_bytes(len(devices)),
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address=LOOPBACK,
                # Below, because Ray lets everybody write to its own.
                _temp_dir=str(scratch / "ray"),
                # Encoding is what the machine is there for.
                _system_config={"enable_metrics_collection": False, "worker_niceness": 0},
            )
    except Exception as error:  # Ray has no error of its own for what goes wrong here
        remove_scratch(scratch)
        raise UserError(
            f"Ray, which runs several devices, does not start: {one_line(error, limit=200)}; "
            "--device with one device does without it"
        ) from error
    return Cluster(True, scratch, tuple(str(device) for device in devices), names)


def connect(address: str) -> Cluster:
    """Connect to a Ray cluster that is running.

    Args:
        address: "auto" for the one of this machine, or HOST:PORT of its head.

    Raises:
        UserError: no address, or none that answers.
    """
    import ray

    if not ADDRESS.fullmatch(address):
        raise UserError(
            f"--ray-address {address}: give auto, or HOST:PORT of the cluster's head (not ray://, "
            "which is for clients outside of a cluster)"
        )
    _check_answers(address)
    _quieten()
    try:
        with tempfile.TemporaryDirectory() as empty, _nowhere(Path(empty)):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # ConnectionError, RuntimeError and others
        raise UserError(
            f"--ray-address {address}: {one_line(error, limit=200)}; this machine must be part of "
            "the cluster (ray start --address=HEAD:PORT), with the same Python and Ray"
        ) from error
    return Cluster(False)


def _check_answers(address: str) -> None:
    """Refuse an address where no Ray listens, for which Ray itself would wait for ever."""
    asked = [sys.executable, "-m", "ray.scripts.scripts", "health-check"]
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise UserError(
                f"--ray-address {address}: nothing answers there ({one_line(error)}); ray status, "
                "on the head, tells its address"
            ) from error
        asked += ["--address", address]
    try:
        subprocess.run(asked, check=True, capture_output=True, timeout=3 * ANSWER_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        there = "there is no Ray that runs on this machine"
        if address != "auto":
            there = "what answers there is no Ray head, or one that is not healthy"
        raise UserError(
            f"--ray-address {address}: {there}; ray start makes this machine part of a cluster, "
            "ray status, on the head, tells its address"
        ) from error


def free(resource: str) -> int:
    """Return how many whole units of "GPU" or "CPU" the cluster has free."""
    import ray

    return int(ray.available_resources().get(resource, 0))


def total(resource: str) -> int:
    """Return how many units of "GPU" or "CPU" the cluster has."""
    import ray

    return int(ray.cluster_resources().get(resource, 0))


def nodes() -> list[dict[str, Any]]:
    """Return Ray's records of the nodes that are up."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _quieten() -> None:
    """Have Ray report nothing to its makers, and no error that we tell ourselves."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")


@contextmanager
def _nowhere(empty: Path) -> Iterator[None]:
    """Be in an empty folder meanwhile.

    Ray puts the current folder on its workers' path, before the packages: whatever lies there under
    a package's name would run in them.
    """
    before = Path.cwd()
    os.chdir(empty)
    try:
        yield
    finally:
        os.chdir(before)


def _store_bytes(actors: int) -> int:
    """Return the size of the object store, half of the shared memory that is free at most."""
    wanted = STORE_BYTES_AN_ACTOR * (actors + 1)
    try:
        shared = shutil.disk_usage("/dev/shm").free
    except OSError:
        return wanted
    return max(LEAST_STORE_BYTES, min(wanted, shared // 2))


def _gpu_names() -> list[str]:
    """Return the names of the GPUs this process may see, if it is told; numbers will do if not."""
    told = os.environ.get(VISIBLE)
    return [name.strip() for name in told.split(",") if name.strip()] if told else []


@contextmanager
def _visible(names: Sequence[str]) -> Iterator[None]:
    """Let what is started meanwhile see these GPUs alone."""
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = ",".join(names)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before
