"""What a run ran in: versions of packages, and the hardware."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import distributions
from typing import Any

from qzhou_eval.machine import driver_version

PUBLISHED_PINS: dict[str, str] = {
    "sentence-transformers": "3.4.1",
    "transformers": "4.51.1",
    "torch": "2.7.1",
    "accelerate": "1.3.0",
    "datasets": "3.2.0",
    "tokenizers": "0.21.2",
    "mteb": "1.38.30",
}
"""The published environment (Python 3.10.12 beside it)."""


def package_versions() -> dict[str, str]:
    """Return every installed distribution with its version, by name."""
    found: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            # The first on the path is the one that is imported.
            found.setdefault(name.lower().replace("_", "-"), distribution.version)
    return dict(sorted(found.items()))


DECIDING_PACKAGES = (
    "datasets",
    "mteb",
    "numpy",
    "pytrec-eval-terrier",
    "qzhou-eval",
    "scikit-learn",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
)
"""Packages whose version can decide a score."""


def deciding_packages() -> dict[str, str]:
    """Return the versions of the packages that can decide a score."""
    versions = package_versions()
    return {name: versions.get(name, "") for name in DECIDING_PACKAGES}


def hardware(device: Any) -> dict[str, Any]:
    """Return what computes: processor, memory of the GPU, threads.

    Args:
        device: The torch.device of the run.
    """
    import torch

    described: dict[str, Any] = {
        "device": str(device),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        described["gpu"] = properties.name
        described["gpu_memory_bytes"] = properties.total_memory
        described["cuda"] = torch.version.cuda
        described["driver"] = driver_version()
    return described


def computing(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a manifest's hardware what can decide the last bits of a vector.

    Args:
        described: What `hardware` returns, or an engine for its devices.
    """
    devices = described.get("devices") or [described]
    kinds = {
        (str(d.get("name") or d.get("gpu") or d.get("processor")), d.get("threads"))
        for d in devices
    }
    on_gpu = "gpu" in described
    told = {name if on_gpu else f"{name}, {threads} threads" for name, threads in kinds}
    return {"on": sorted(told), "cuda": described.get("cuda")}


def environment(device: Any) -> dict[str, Any]:
    """Return Python, packages and hardware, for the run's manifest."""
    return {
        "python": platform.python_version(),
        "packages": package_versions(),
        "hardware": hardware(device),
    }


MISSING = "missing"


def is_version(installed: str, wanted: str) -> bool:
    """Whether `installed` is the version `wanted`, whatever build of it (2.7.1+cu126)."""
    return installed.split("+")[0] == wanted


def differing_pins(versions: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the published pins an environment departs from, with the version it has.

    Args:
        versions: Its packages; by default those installed here.
    """
    found: Mapping[str, str] = package_versions() if versions is None else versions
    return {
        name: found.get(name, MISSING)
        for name, pin in PUBLISHED_PINS.items()
        if not is_version(found.get(name, ""), pin)
    }
