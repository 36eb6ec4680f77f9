"""The tasks of a run with their data, and how each of them went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qzhou_eval.environment import deciding_packages
from qzhou_eval.evaluate.local_data import LocalDataset, check_local, find_in
from qzhou_eval.evaluate.offline import check_cached
from qzhou_eval.suite.prompts import PromptBook
from qzhou_eval.suite.suite import TaskSpec


@dataclass(frozen=True)
class Job:
    """One task of a run.

    Attributes:
        spec: The task, completed.
        local: Its data in a folder; None for data of the hub.
        made_with: What a result must have been made with to be kept: package versions, task
            definition, data, instruction.
    """

    spec: TaskSpec
    local: LocalDataset | None
    made_with: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a task went.

    Attributes:
        spec: The task.
        path: Its result file; None if it failed.
        seconds: Time it took; 0 if an earlier result was kept.
        kept: Whether an earlier result was kept.
        error: What went wrong, in one line; empty if nothing did.
        restarts: Actors that were lost under it and replaced.
        kept_units: Its units that an earlier run had finished.
        kept_texts: Texts whose vectors an earlier run had left on disk.
        passing: Whether it failed of something that may pass, and is tried again at the end.
        again: Why it was evaluated though the folder had a result; empty otherwise.
    """

    spec: TaskSpec
    path: Path | None
    seconds: float = 0.0
    kept: bool = False
    error: str = ""
    restarts: int = 0
    kept_units: int = 0
    kept_texts: int = 0
    passing: bool = False
    again: str = ""


def prepare(
    tasks: tuple[TaskSpec, ...],
    datasets_dirs: list[Path],
    prompts: PromptBook,
    *,
    offline: bool = False,
) -> list[Job]:
    """Find and check the data of `tasks`, before any model is loaded.

    Args:
        tasks: The tasks, completed.
        datasets_dirs: Folders of local datasets, the first that holds one wins.
        prompts: The run's prompts.
        offline: Whether the hub may not be asked for what is in no folder.

    Raises:
        UserError: a local dataset lacks what its task reads, or is broken; or, offline, data is
            nowhere here.
    """
    from qzhou_eval.evaluate.mteb1.tasks import repositories, requirements

    found = [(spec, find_in(datasets_dirs, spec, repositories(spec))) for spec in tasks]
    if offline:
        check_cached(spec for spec, local in found if local is None)
    jobs = []
    for spec, local in found:
        if local is not None:
            check_local(local, requirements(spec))
        instruction = prompts.instructions.get(spec.name)
        made_with = {
            "packages": deciding_packages(),
            "task": {"type": spec.type, "metric": spec.metric, "layout": spec.layout},
            "data": {"folder": local.digest} if local else {"hub": spec.revision},
            "instruction": instruction.to_dict() if instruction else None,
        }
        jobs.append(Job(spec, local, made_with))
    return jobs
