"""Whether the disks hold what a run will write to them, before it begins."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qzhou_eval.encode.cost import read_shape
from qzhou_eval.errors import UserError
from qzhou_eval.evaluate.hub_cache import cached_configs
from qzhou_eval.machine import existing, hub_cache
from qzhou_eval.plan.parts import stored_bytes
from qzhou_eval.recipe.checkpoint import weights_here
from qzhou_eval.recipe.resolution import ResolvedRecipe
from qzhou_eval.suite.sizes import task_sizes
from qzhou_eval.suite.suite import TaskSpec

RESULTS_BYTES = 32 * 2**20
"""For result files, manifest and tables: those of both suites take 10 MiB; what is kept of them
item by item about as much again, if that."""
GIB = 2**30


@dataclass(frozen=True)
class Need:
    """Something that will be written.

    Attributes:
        place: The folder it goes to, which need not be there.
        what: In words.
        size: In bytes.
    """

    place: Path
    what: str
    size: float


def run_needs(output: Path, hub_tasks: Iterable[TaskSpec], resolved: ResolvedRecipe) -> list[Need]:
    """Return what a run will write, as far as it is known; vectors are kept only where they fit.

    Args:
        output: Where results go.
        hub_tasks: The tasks whose data comes from the hub.
        resolved: The model.
    """
    import datasets

    needs = [Need(output, "results", RESULTS_BYTES)]
    cache = hub_cache()
    if cache is None:
        return needs
    missing = [
        spec
        for spec in hub_tasks
        if not snapshot(cache, spec).is_dir() and not cached_configs(spec.dataset, spec.revision)
    ]
    data = sum(map(stored_bytes, (size for spec in missing for size in task_sizes(spec))))
    if missing:
        what = f"data of {len(missing)} task{'s' if len(missing) > 1 else ''}"
        needs.append(Need(cache, what, data))
        needs.append(Need(Path(datasets.config.HF_DATASETS_CACHE), f"{what} as tables", data))
    if not weights_here(resolved.checkpoint):
        try:
            shape = read_shape(resolved.checkpoint.config, resolved.checkpoint.name)
        except UserError:
            return needs
        needs.append(Need(cache, "weights", shape.weights_bytes(resolved.recipe.dtype)))
    return needs


def snapshot(cache: Path, spec: TaskSpec) -> Path:
    """Return where the hub's cache has a task's dataset at its revision, if it has it."""
    return cache / f"datasets--{spec.dataset.replace('/', '--')}" / "snapshots" / spec.revision


def check_space(needs: Iterable[Need], free: Mapping[int, int] | None = None) -> None:
    """Refuse what does not fit on a disk, all that goes there taken together.

    Args:
        needs: What will be written.
        free: Device number to free bytes; by default as they are.

    Raises:
        UserError: it does not fit; names what is needed and what there is.
    """
    by_disk: dict[int, list[Need]] = {}
    for need in needs:
        by_disk.setdefault(existing(need.place).stat().st_dev, []).append(need)
    for disk, own in by_disk.items():
        place = existing(own[0].place)
        there = shutil.disk_usage(place).free if free is None else free[disk]
        wanted = sum(need.size for need in own)
        if wanted > there:
            listed = ", ".join(f"{_size(need.size)} of {need.what}" for need in own)
            raise UserError(
                f"{place}: {_size(there)} are free and about {_size(wanted)} are needed there "
                f"({listed}): make room, name other places (--output-dir, HF_HOME), or go on all "
                "the same with --no-disk-check"
            )


def _size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 2**20:,.0f} MiB"
