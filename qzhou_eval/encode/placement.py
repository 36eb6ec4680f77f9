"""Where a command's model computes: a device of this process, or actors of Ray."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from qzhou_eval.encode.device import check_support, choose_devices
from qzhou_eval.errors import UserError
from qzhou_eval.recipe.resolution import ResolvedRecipe

if TYPE_CHECKING:
    from qzhou_eval.encode.distributed.cluster import Cluster
    from qzhou_eval.encode.engine import Engine


JOIN_SECONDS = 120.0
"""Time the nodes of a cluster are given to join it, where it is said how many devices there are."""


@dataclass
class Placement:
    """Where a model computes.

    Attributes:
        kind: "cuda" or "cpu".
        devices: Devices of this machine; empty where Ray places the actors on a cluster.
        count: How many devices.
        cluster: Ray, where several devices or a cluster are asked for and it has been started.
        ray_address: The cluster asked for; empty without one.
    """

    kind: str
    devices: tuple[torch.device, ...]
    count: int
    cluster: Cluster | None = None
    ray_address: str = ""

    @property
    def distributed(self) -> bool:
        """Whether actors compute, and not this process."""
        return self.count > 1 or bool(self.ray_address)

    @property
    def name(self) -> str:
        """The devices in words."""
        if self.ray_address:
            what = "GPUs" if self.kind == "cuda" else "CPU actors"
            what = what if self.count > 1 else what[:-1]
            return f"{self.count} {what} of the Ray cluster at {self.ray_address}"
        return ", ".join(str(device) for device in self.devices)

    def close(self) -> None:
        """Leave Ray, if it is there."""
        if self.cluster is not None:
            self.cluster.close()
            self.cluster = None


def place(device: str, ray_address: str = "", actors: int | None = None) -> Placement:
    """Find the devices that are asked for; connects to a cluster, starts nothing.

    Args:
        device: "auto", or devices of this machine, comma-separated; with a cluster "auto", "cuda"
            or "cpu".
        ray_address: A Ray cluster's, or empty.
        actors: Most devices to take of a cluster; None for all that are free.

    Raises:
        UserError: no such devices, or no such cluster.
    """
    if not ray_address:
        if actors is not None:
            raise UserError(
                "--actors says how many devices of a cluster to take: it goes with --ray-address; "
                "here, name the devices with --device"
            )
        devices = choose_devices(device)
        return Placement(devices[0].type, devices, len(devices))
    if device not in ("auto", "cuda", "cpu"):
        raise UserError(
            f"--device {device}: with --ray-address it is auto, cuda or cpu, and Ray chooses the "
            "devices; --actors says how many"
        )
    from qzhou_eval.encode.distributed import cluster

    connection = cluster.connect(ray_address)
    try:
        kind, count = _of_cluster(device, actors)
    except BaseException:
        connection.close()
        raise
    return Placement(kind, (), count, connection, ray_address)


def _of_cluster(device: str, actors: int | None) -> tuple[str, int]:
    """Return which kind of device the cluster's actors get, and how many there are."""
    from qzhou_eval.encode.distributed import cluster

    until = time.monotonic() + JOIN_SECONDS
    while True:
        gpus = device == "cuda" or (device == "auto" and cluster.total("GPU") > 0)
        what = "GPU" if gpus else "CPU"
        free = cluster.free(what)
        wanted = actors or (free if gpus else len(cluster.nodes()))
        if 0 < wanted <= free:
            return ("cuda" if gpus else "cpu"), wanted
        # Nodes of a job that has just begun come one after the other.
        if actors is None or time.monotonic() > until:
            raise UserError(
                f"--ray-address: {wanted or 'no'} actors on {what}s are asked for, and the cluster "
                f"has {free} of {cluster.total(what)} {what}s free"
            )
        time.sleep(1)


def load_engine(resolved: ResolvedRecipe, placement: Placement) -> Engine:
    """Load the model where `placement` says; starts Ray if that takes it.

    Raises:
        UserError: it does not load there.
    """
    from qzhou_eval.encode.engine import load_in_process

    if not placement.distributed:
        return load_in_process(resolved, placement.devices[0])
    from qzhou_eval.encode.distributed import cluster
    from qzhou_eval.encode.distributed.fleet import load_fleet

    if placement.cluster is None:
        placement.cluster = cluster.start_local(placement.devices)
    return load_fleet(resolved, placement)


def check_placement(resolved: ResolvedRecipe, placement: Placement) -> None:
    """Refuse, before any weights are read, what a device of this machine cannot compute.

    Raises:
        UserError: the attention implementation or dtype does not run there.
    """
    for device in placement.devices:
        check_support(device, resolved.recipe.dtype, resolved.recipe.attention)
