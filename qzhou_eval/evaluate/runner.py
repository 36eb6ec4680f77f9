"""The run loop: every task of a suite, one after the other, each saved as soon as it is done."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qzhou_eval.encode.ahead import prefetched
from qzhou_eval.encode.text_encoder import TextEncoder
from qzhou_eval.errors import DevicesLostError, one_line
from qzhou_eval.evaluate.jobs import Job, Outcome
from qzhou_eval.evaluate.quiet import quiet_libraries
from qzhou_eval.evaluate.run_folder import MODEL_META, RunFolder
from qzhou_eval.files import file_digest, write_json
from qzhou_eval.recipe.resolution import ResolvedRecipe
from qzhou_eval.suite.prompts import PromptBook
from qzhou_eval.suite.suite import TaskSpec

if TYPE_CHECKING:
    from qzhou_eval.evaluate.mteb1.model import MtebModel
    from qzhou_eval.evaluate.mteb1.results import Encoded, Evaluation, Prepared


Planned = Mapping[str, Mapping[str, Any]]


def run(
    jobs: list[Job],
    folder: RunFolder,
    encoder: TextEncoder,
    resolved: ResolvedRecipe,
    prompts: PromptBook,
    *,
    batch_size: int,
    on_outcome: Callable[[Outcome], None],
    on_start: Callable[[str], None] = lambda task: None,
    planned: Planned = MappingProxyType({}),
    overlap: bool | None = None,
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
        on_start: Told the name of each task whose encoding begins.
        planned: Task name to what was planned of it, for the manifest.
        overlap: Whether one task is loaded and one is scored while a third is encoded, the longest
            first; by default where other than this process's cores encode. Scores do not depend on
            it: each task finds the random generators as it left them.

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
    if overlap is None:
        # On a CPU scoring would take from encoding what it gives.
        overlap = encoder.elsewhere
    if overlap:
        # The last tasks then leave little to wait for. The order does not decide a score.
        jobs = longest_first(jobs, planned)
    outcomes: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        on_outcome(outcome)

    try:
        with quiet_libraries():
            _run_jobs(jobs, folder, model, batch_size, overlap, tell, on_start, planned)
    except DevicesLostError:
        _close_manifest(folder)
        raise
    _close_manifest(folder)
    return outcomes


def _close_manifest(folder: RunFolder) -> None:
    entries = folder.manifest["tasks"]
    folder.manifest["failed"] = [n for n, e in entries.items() if e.get("status") == "failed"]
    folder.manifest["finished"] = now()
    folder.save_manifest()


def longest_first(jobs: list[Job], planned: Planned) -> list[Job]:
    """Return `jobs` by planned seconds of encoding, most first; those of none come last."""

    def seconds(job: Job) -> float:
        return float(planned.get(job.spec.name, {}).get("seconds") or 0)

    return sorted(jobs, key=seconds, reverse=True)


def _run_jobs(
    jobs: list[Job],
    folder: RunFolder,
    model: MtebModel,
    batch_size: int,
    overlap: bool,
    tell: Callable[[Outcome], None],
    on_start: Callable[[str], None],
    planned: Planned,
) -> None:
    """Run the jobs in order; with `overlap`, load one and score another while encoding a third."""
    waiting: deque[Started] = deque()

    def finish_first() -> None:
        outcome = _finish(waiting[0], folder)
        # Only now: an interruption meanwhile leaves it to be finished below.
        waiting.popleft()
        tell(outcome)

    in_turn = prefetched if overlap else map
    with ThreadPoolExecutor(max_workers=1) as scorer:
        try:
            for ready in in_turn(partial(_make_ready, folder=folder), jobs):
                on_start(ready.job.spec.name)
                current = _start(ready, folder, model, batch_size, planned, ahead=overlap)
                if isinstance(current, Started):
                    waiting.append(current)
                    if overlap:
                        current.evaluation = scorer.submit(current.encoded.score)
                while len(waiting) > (1 if overlap and isinstance(current, Started) else 0):
                    finish_first()
                if isinstance(current, Outcome):
                    tell(current)
                del current, ready  # its corpus, once it is finished
        finally:
            # Interrupted, too: what has been encoded is not thrown away.
            while waiting:
                finish_first()


@dataclass(frozen=True)
class Ready:
    """A job whose data is loaded, or that need not be run.

    Attributes:
        job: The job.
        prepared: Its task; None if an earlier result is kept, or if it could not be prepared.
        earlier: The earlier result, as a whole or with rows that are kept; None without one.
        error: What went wrong with its data.
    """

    job: Job
    prepared: Prepared | None = None
    earlier: dict[str, Any] | None = None
    error: Exception | None = None


def _make_ready(job: Job, folder: RunFolder) -> Ready:
    """Load a job's data, unless a result of it is kept."""
    from qzhou_eval.evaluate.mteb1.results import prepare_task

    earlier = None
    try:
        earlier = folder.kept_result(job.spec.name, job.made_with)
        if earlier is not None and _holds(earlier, job.spec):
            return Ready(job, None, earlier)
        return Ready(job, prepare_task(job.spec, job.local), earlier)
    except Exception as error:  # whatever a task throws, the rest of the night goes on
        return Ready(job, None, earlier, error)


@dataclass
class Started:
    """A job whose texts are encoded and whose score is still to come.

    Attributes:
        job: The job.
        record: What the manifest says of it so far.
        encoded: Its encoded task.
        encode_seconds: Time in the encoder.
        earlier: A result whose other rows are kept.
        evaluation: Its scoring under way in another thread; None to score when finishing.
    """

    job: Job
    record: dict[str, Any]
    encoded: Encoded
    encode_seconds: float
    earlier: dict[str, Any] | None
    evaluation: Future[Evaluation] | None = None


def _start(
    ready: Ready,
    folder: RunFolder,
    model: MtebModel,
    batch_size: int,
    planned: Planned,
    *,
    ahead: bool,
) -> Started | Outcome:
    """Encode a job's texts; an outcome at once if an earlier result is kept, or if it fails."""
    from qzhou_eval.evaluate.mteb1.results import encode_task

    job, spec = ready.job, ready.job.spec
    if ready.prepared is None and ready.error is None:
        return Outcome(spec, folder.result_path(spec.name), kept=True)
    skipped = folder.manifest.get("preflight", {}).get("skipped", True)
    record: dict[str, Any] = {
        "made_with": job.made_with,
        "dataset": _dataset(job),
        "preflight": "skipped" if skipped else "passed",
        "hardware": folder.manifest.get("environment", {}).get("hardware"),
        "started": now(),
    }
    if spec.name in planned:
        record["planned"] = dict(planned[spec.name])
    if ready.prepared is None:
        assert ready.error is not None
        return _failed(job, folder, record, ready.error)
    # From here until it is done, no reader takes an older result of the task for its score.
    folder.record(spec.name, {"status": "running", **record})
    before = replace(model.encoder.meter)
    try:
        encoded = encode_task(ready.prepared, model, batch_size, ahead=ahead)
    except DevicesLostError as error:  # nor would any other task come to an end
        _failed(job, folder, record, error)
        raise
    except Exception as error:  # whatever a task throws, the rest of the night goes on
        return _failed(job, folder, record, error)
    finally:
        model.forget()
    meter = model.encoder.meter
    record |= meter.since(before) | model.encoder.learned
    return Started(job, record, encoded, meter.seconds - before.seconds, ready.earlier)


def _finish(started: Started, folder: RunFolder) -> Outcome:
    """Score a job whose texts are encoded, and save its result."""
    job, record = started.job, started.record
    path = folder.result_path(job.spec.name)
    try:
        waiting = started.evaluation
        evaluation = started.encoded.score() if waiting is None else waiting.result()
        evaluation.save(path, started.earlier)
    except Exception as error:
        return _failed(job, folder, record, error)
    seconds = {
        "data": evaluation.data_seconds,
        "encode": started.encode_seconds,
        "score": evaluation.evaluation_seconds - started.encode_seconds,
    }
    folder.record(
        job.spec.name,
        {
            "status": "done",
            **record,
            "finished": now(),
            "sha256": file_digest(path),
            "seconds": {part: round(taken, 3) for part, taken in seconds.items()},
        },
    )
    restarts = record.get("restarts", 0)
    return Outcome(job.spec, path, sum(seconds.values()), restarts=restarts)


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
