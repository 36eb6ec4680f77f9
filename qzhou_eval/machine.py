"""What a machine has for a run: GPUs and their driver, disk, memory, and a way to the hub."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from qzhou_eval.errors import UserError, one_line
from qzhou_eval.files import cache_root

HUB_TIMEOUT = 5.0
"""Seconds the hub is given to answer."""
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


def accelerators() -> dict[str, Any]:
    """Return CUDA as torch has it, the driver, and each GPU with what it can compute.

    torch is empty where it cannot be imported: a broken environment is looked at, too.
    """
    try:
        import torch
    except Exception as error:  # a broken installation throws anything
        broken = {"torch": "", "cuda": None, "error": one_line(error)}
        return {**broken, "driver": driver_version(), "gpus": []}
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "driver": driver_version(),
        "gpus": [],
    }
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            with torch.cuda.device(index):
                bfloat16 = torch.cuda.is_bf16_supported()
            found["gpus"].append(
                {
                    "name": properties.name,
                    "memory_bytes": properties.total_memory,
                    "capability": f"{properties.major}.{properties.minor}",
                    "bfloat16": bfloat16,
                }
            )
    return found


def driver_version() -> str:
    """Return the version of the NVIDIA driver; empty without one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip().partition("\n")[0]


def places(output_dir: Path) -> dict[str, dict[str, Any]]:
    """Return the folders a run writes to, each with its free space in bytes.

    Args:
        output_dir: Where results go.
    """
    cache = hub_cache()
    folders = {"results": output_dir, "dataset cache": cache_root()}
    folders |= {"hub cache": cache} if cache else {}
    return {
        name: {"path": str(path), "free_bytes": shutil.disk_usage(existing(path)).free}
        for name, path in folders.items()
    }


def hub_cache() -> Path | None:
    """Return where the hub's files are cached; None where its library cannot be imported."""
    try:
        from huggingface_hub import constants
    except Exception:  # a broken installation throws anything
        return None
    return Path(constants.HF_HUB_CACHE)


def existing(path: Path) -> Path:
    """Return `path`, or the nearest folder above it that is there.

    Raises:
        UserError: it cannot be looked at.
    """
    try:
        whole = path.expanduser().resolve()
        return next(folder for folder in (whole, *whole.parents) if folder.exists())
    except (OSError, RuntimeError) as error:
        raise UserError(f"{one_line(OSError(str(path)))}: {one_line(error)}") from error


def memory_bytes() -> int:
    """Return the machine's main memory; 0 where it cannot be asked."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def hub(offline: bool) -> dict[str, Any]:
    """Return whether the hub (or the mirror of HF_ENDPOINT) answers, and what is cached of it.

    Args:
        offline: Do not try; only look at the caches.
    """
    cache = hub_cache()
    if cache is None:
        return {"endpoint": "", "reachable": None, "detail": "huggingface_hub cannot be imported"}
    from huggingface_hub import constants

    found: dict[str, Any] = {
        "endpoint": constants.ENDPOINT,
        "cached_models": len(list(cache.glob("models--*"))),
        "cached_datasets": len(list(cache.glob("datasets--*"))),
    }
    if offline or any(os.environ.get(name, "0") not in ("", "0") for name in OFFLINE_VARIABLES):
        return {**found, "reachable": None, "detail": "offline: not tried"}
    started = time.monotonic()
    try:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT):
            pass
    except urllib.error.HTTPError:
        pass  # it answered
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        return {**found, "reachable": False, "detail": one_line(OSError(str(reason)), limit=120)}
    return {**found, "reachable": True, "detail": f"{time.monotonic() - started:.1f} s"}
