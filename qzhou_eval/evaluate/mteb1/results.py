"""Result files in mteb's own format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mteb.load_results.task_results import TaskResult

from qzhou_eval.evaluate.generators import Generators
from qzhou_eval.evaluate.local_data import LocalDataset
from qzhou_eval.evaluate.mteb1.tasks import build
from qzhou_eval.evaluate.units import Unit, UnitResult, units
from qzhou_eval.files import replacing
from qzhou_eval.suite.suite import TaskSpec


def write_result(
    path: Path, spec: TaskSpec, local: LocalDataset | None, finished: Mapping[Unit, UnitResult]
) -> None:
    """Write mteb's result file of a task, whole or not at all.

    Args:
        path: The file.
        spec: The task; its units come first, in its order.
        local: Its data in a folder; None for the hub's.
        finished: All its units, and others of the same making that are kept.

    Raises:
        StorageError: the file cannot be written.
    """
    with Generators().lent():  # making a task seeds the generators
        metadata = build(spec, local).metadata
    own = {unit: finished[unit] for unit in units(spec)}
    scores: dict[str, list[Any]] = {}
    for (split, _), result in (own | dict(finished)).items():
        # A copy: mteb rounds the numbers of what it writes in place.
        scores.setdefault(split, []).append(dict(result.row))
    result = TaskResult(
        dataset_revision=metadata.revision,
        task_name=metadata.name,
        mteb_version=version("mteb"),
        scores=scores,
        evaluation_time=_seconds(own.values()),
        kg_co2_emissions=None,
    )
    with replacing(path) as temporary:
        result.to_disk(temporary)


def _seconds(results: Iterable[UnitResult]) -> float:
    return sum(result.encode_seconds + result.score_seconds for result in results)
