"""The run loop: every task of a suite, one after the other, each saved as soon as it is done."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from qzhou_eval.encode.encoder import Encoder
from qzhou_eval.environment import deciding_packages
from qzhou_eval.errors import UserError, one_line
from qzhou_eval.evaluate.local_data import LocalDataset, check_local, find_local
from qzhou_eval.evaluate.run_folder import MODEL_META, RunFolder
from qzhou_eval.files import file_digest, write_json
from qzhou_eval.recipe.resolution import ResolvedRecipe
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
    """

    spec: TaskSpec
    path: Path | None
    seconds: float = 0.0
    kept: bool = False
    error: str = ""


def prepare(
    tasks: tuple[TaskSpec, ...], datasets_dirs: list[Path], prompts: PromptBook
) -> list[Job]:
    """Find and check the data of `tasks`, before any model is loaded.

    Args:
        tasks: The tasks, completed.
        datasets_dirs: Folders of local datasets, the first that holds one wins.
        prompts: The run's prompts.

    Raises:
        UserError: a local dataset lacks what its task reads, or is broken.
    """
    from qzhou_eval.evaluate.mteb1.tasks import requirements

    jobs = []
    for spec in tasks:
        local = None
        for root in datasets_dirs:
            local = local or find_local(root, spec.dataset)
        if local is not None:
            check_local(local, requirements(spec))
        elif spec.layout:
            raise UserError(
                f"{spec.name}: its dataset {spec.dataset} is in none of the folders given"
            )
        instruction = prompts.instructions.get(spec.name)
        made_with = {
            "packages": deciding_packages(),
            "task": {"type": spec.type, "metric": spec.metric, "layout": spec.layout},
            "data": {"folder": local.digest} if local else {"hub": spec.revision},
            "instruction": instruction.to_dict() if instruction else None,
        }
        jobs.append(Job(spec, local, made_with))
    return jobs


def run(
    jobs: list[Job],
    folder: RunFolder,
    encoder: Encoder,
    resolved: ResolvedRecipe,
    prompts: PromptBook,
    *,
    batch_size: int,
    on_outcome: Callable[[Outcome], None],
) -> list[Outcome]:
    """Run `jobs` in order; a task that fails is put down and the rest go on.

    Results of the folder that were made with the same data, prompt and mteb are kept.

    Args:
        jobs: The tasks, with their data.
        folder: Where results go.
        encoder: The loaded model.
        resolved: Its recipe.
        prompts: The run's prompts.
        batch_size: Texts a forward pass.
        on_outcome: Told of each task as it ends.

    Returns:
        One outcome a job, in order.
    """
    from qzhou_eval.evaluate.mteb1.model import MtebModel, model_meta

    meta = model_meta(resolved, encoder, folder.path.name)
    write_json(folder.path / MODEL_META, meta.to_dict())
    folder.manifest["started"] = now()
    folder.save_manifest()
    specs = {job.spec.name: job.spec for job in jobs}
    model = MtebModel(encoder, prompts.prompt, specs, meta)
    outcomes = []
    for job in jobs:
        outcome = _run_job(job, folder, model, batch_size)
        outcomes.append(outcome)
        on_outcome(outcome)
    entries = folder.manifest["tasks"]
    folder.manifest["failed"] = [n for n, e in entries.items() if e.get("status") == "failed"]
    folder.manifest["finished"] = now()
    folder.save_manifest()
    return outcomes


def _run_job(job: Job, folder: RunFolder, model: Any, batch_size: int) -> Outcome:
    from qzhou_eval.evaluate.mteb1.results import encode_task

    spec, path = job.spec, folder.result_path(job.spec.name)
    earlier = folder.kept_result(spec.name, job.made_with)
    if earlier is not None and _holds(earlier, spec):
        return Outcome(spec, path, kept=True)
    skipped = folder.manifest.get("preflight", {}).get("skipped", True)
    record = {
        "made_with": job.made_with,
        "dataset": _dataset(job),
        "preflight": "skipped" if skipped else "passed",
        "hardware": folder.manifest.get("environment", {}).get("hardware"),
        "started": now(),
    }
    # From here until it is done, no reader takes an older result of the task for its score.
    folder.record(spec.name, {"status": "running", **record})
    meter = model.encoder.meter
    before = (meter.texts, meter.tokens, meter.seconds)
    started = time.monotonic()
    try:
        with quiet_libraries():
            evaluation = encode_task(spec, job.local, model, batch_size).score()
        evaluation.save(path, earlier)
    except Exception as error:  # whatever a task throws, the rest of the night goes on
        return _failed(job, folder, record, error)
    seconds = time.monotonic() - started
    encode_seconds = meter.seconds - before[2]
    folder.record(
        spec.name,
        {
            "status": "done",
            **record,
            "finished": now(),
            "sha256": file_digest(path),
            "texts": meter.texts - before[0],
            "tokens": meter.tokens - before[1],
            "tokens_per_second": round((meter.tokens - before[1]) / max(encode_seconds, 1e-9)),
            "seconds": {
                "data": round(evaluation.data_seconds, 3),
                "encode": round(encode_seconds, 3),
                "score": round(evaluation.evaluation_seconds - encode_seconds, 3),
            },
        },
    )
    return Outcome(spec, path, seconds)


def _holds(result: Mapping[str, Any], spec: TaskSpec) -> bool:
    """Whether a result has every split and subset of `spec`."""
    have = {(split, row["hf_subset"]) for split, rows in result["scores"].items() for row in rows}
    return all((split, subset) in have for split in spec.splits for subset in spec.subsets)


def _dataset(job: Job) -> dict[str, str]:
    """Return which data the task is run on: of the hub at a commit, or a folder's content."""
    named = {"name": job.spec.dataset, "revision": job.spec.revision}
    if job.local is None:
        return {**named, "source": "hub"}
    return {**named, "source": "folder", "content": job.local.digest}


def _failed(job: Job, folder: RunFolder, record: Mapping[str, Any], error: Exception) -> Outcome:
    entry = {
        "status": "failed",
        **record,
        "finished": now(),
        "error": one_line(error),
        "kind": type(error).__name__,
        "traceback": "".join(traceback.format_exception(error)),
    }
    folder.record(job.spec.name, entry)
    return Outcome(job.spec, None, error=f"{type(error).__name__}: {one_line(error)}")


def now() -> str:
    """Return the time as UTC, to the second, in ISO form."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep mteb's and datasets' running commentary off the screen, warnings of trouble not."""
    import functools
    import warnings

    import datasets
    import tqdm

    names = ("mteb", "datasets", "sentence_transformers")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    bar = tqdm.tqdm
    # mteb's own bars: on a terminal, where they are of use, and nowhere else.
    setattr(tqdm, "tqdm", functools.partial(bar, disable=None, leave=False))  # noqa: B010
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        setattr(tqdm, "tqdm", bar)  # noqa: B010
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if bars:
            datasets.enable_progress_bars()
