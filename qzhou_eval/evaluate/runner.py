"""The run loop: every task of a suite, one after the other, each saved as soon as it is done."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qzhou_eval import interruption
from qzhou_eval.encode.ahead import prefetched
from qzhou_eval.encode.encoder import Meter
from qzhou_eval.encode.text_encoder import TextEncoder
from qzhou_eval.errors import DevicesLostError, StorageError, one_line
from qzhou_eval.evaluate.jobs import Job, Outcome
from qzhou_eval.evaluate.quiet import quiet_libraries
from qzhou_eval.evaluate.run_folder import MODEL_META, OVERWRITING, RunFolder
from qzhou_eval.evaluate.units import Unit, UnitResult, units
from qzhou_eval.files import file_digest, write_json
from qzhou_eval.hub import patiently, transient
from qzhou_eval.recipe.resolution import ResolvedRecipe
from qzhou_eval.suite.prompts import PromptBook

if TYPE_CHECKING:
    from qzhou_eval.evaluate.mteb1.model import MtebModel
    from qzhou_eval.evaluate.mteb1.portions import Encoded, Prepared


Planned = Mapping[str, Mapping[str, Any]]
HUB_TRIES = 9
"""How often a task's data is asked for: over about two minutes, besides what the hub asks for."""


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

    Results of the folder that were made with the same data, prompt and mteb are kept, and so is
    what an earlier run has done of a task: its finished units, and the vectors it left on disk.

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

    Raises:
        Stopped: a signal asked to; the same run goes on from there.
        StorageError: results cannot be written; the same.
        DevicesLostError: no device is left; the same.
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
            # An outage may be over by now.
            if passed := [o.spec.name for o in outcomes if o.passing]:
                interruption.check()  # a signal may have come while the last task was scored
                later = [job for job in jobs if job.spec.name in passed]
                outcomes[:] = [o for o in outcomes if not o.passing]
                last = partial(_for_good, tell)
                _run_jobs(later, folder, model, batch_size, overlap, last, on_start, planned)
    except interruption.Stopped:
        _close_manifest(folder, "interrupted")
        raise
    except (DevicesLostError, StorageError):
        with suppress(StorageError):
            _close_manifest(folder)
        raise
    folder.manifest.pop(OVERWRITING, None)
    _close_manifest(folder)
    return outcomes


def _for_good(tell: Callable[[Outcome], None], outcome: Outcome) -> None:
    """Tell of an outcome after which there is no other try."""
    tell(replace(outcome, passing=False))


def _close_manifest(folder: RunFolder, how: str = "finished") -> None:
    entries = folder.manifest["tasks"]
    folder.manifest["failed"] = [n for n, e in entries.items() if e.get("status") == "failed"]
    folder.manifest[how] = now()
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
        submit = scorer.submit if overlap else None
        try:
            for ready in in_turn(partial(_make_ready, folder=folder), jobs):
                # From here on a first signal waits for what is under way, and saves it.
                with interruption.gently():
                    on_start(ready.job.spec.name)
                    current = _start(ready, folder, model, batch_size, planned, submit)
                    if isinstance(current, Started):
                        waiting.append(current)
                    while len(waiting) > (1 if overlap and isinstance(current, Started) else 0):
                        finish_first()
                    if isinstance(current, Outcome):
                        tell(current)
                    del current, ready  # its corpus, once it is finished
                    interruption.check()
        finally:
            # Stopped, too: what has been encoded is not thrown away.
            with interruption.gently():
                while waiting:
                    finish_first()


@dataclass(frozen=True)
class Ready:
    """A job whose data is loaded, or that need not be run.

    Attributes:
        job: The job.
        prepared: Its task; None if nothing of it is to be evaluated, or if it could not be
            prepared.
        finished: Its units that were evaluated before, and others of the same making.
        stands: Whether its result file is there, and as it should be.
        again: Why a result that the folder had is not kept.
        error: What went wrong with its data.
    """

    job: Job
    prepared: Prepared | None = None
    finished: Mapping[Unit, UnitResult] = field(default_factory=dict)
    stands: bool = False
    again: str = ""
    error: Exception | None = None


def _make_ready(job: Job, folder: RunFolder) -> Ready:
    """Load a job's data, unless all of it was evaluated before."""
    from qzhou_eval.evaluate.mteb1.portions import prepare_task

    finished: dict[Unit, UnitResult] = {}
    again = ""
    try:
        if folder.stands(job.spec, job.made_with):
            return Ready(job, stands=True)
        again = folder.lost(job.spec.name)
        finished = folder.finished(job.spec, job.made_with)
        missing = [unit for unit in units(job.spec) if unit not in finished]
        if not missing:
            return Ready(job, None, finished, again=again)
        # A hub that is ill for a moment is no reason to lose a task. Each try is from the start: a
        # fresh task object, with its seeds.
        prepared = patiently(partial(prepare_task, job.spec, job.local, missing), tries=HUB_TRIES)
        return Ready(job, prepared, finished, again=again)
    except Exception as error:  # whatever a task throws, the rest of the night goes on
        return Ready(job, None, finished, again=again, error=error)


@dataclass
class Started:
    """A job whose texts are encoded and whose scores may still be to come.

    Attributes:
        job: The job.
        record: What the manifest says of it so far.
        data_seconds: Time to load its data.
        finished: Its units that were evaluated before, and others of the same making.
        again: Why a result that the folder had is not kept.
        scored: Give the units that were evaluated now, each portion's when it is scored and saved.
    """

    job: Job
    record: dict[str, Any]
    data_seconds: float
    finished: Mapping[Unit, UnitResult]
    again: str
    scored: list[Callable[[], list[UnitResult]]]


Submit = Callable[[Callable[[], list[UnitResult]]], "Future[list[UnitResult]]"]


def _start(
    ready: Ready,
    folder: RunFolder,
    model: MtebModel,
    batch_size: int,
    planned: Planned,
    submit: Submit | None,
) -> Started | Outcome:
    """Encode a job's texts, portion by portion, and have them scored: by `submit`, or at once.

    An outcome at once if an earlier result is kept, or if it fails.
    """
    from qzhou_eval.evaluate.mteb1.portions import encode_portion

    job, spec = ready.job, ready.job.spec
    if ready.stands:
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
    made_by = folder.made_by(job.made_with)
    written = folder.in_ledger(spec, job.made_with)
    for unit, result in ready.finished.items():
        # Those of a result file, which does not stand for the task any more from here on.
        if unit not in written:
            folder.ledger.save(spec.name, made_by, result)
    if ready.error is not None:
        return _failed(job, folder, record, ready.error)
    folder.record(spec.name, {"status": "running", **record})
    seconds = ready.prepared.data_seconds if ready.prepared else 0.0
    started = Started(job, record, seconds, ready.finished, ready.again, [])
    model.stores[spec.name] = folder.ledger.store(spec.name, folder.vectors_by(made_by))
    try:
        for portion in ready.prepared.portions if ready.prepared else ():
            interruption.check()
            assert ready.prepared is not None
            encoded = encode_portion(
                ready.prepared, portion, model, batch_size, ahead=submit is not None
            )
            score = partial(_score, encoded, folder, made_by)
            started.scored.append(submit(score).result if submit else partial(_same, score()))
            del encoded, score  # its vectors, once it is scored
    except DevicesLostError as error:  # nor would any other task come to an end
        _failed(job, folder, record, error)
        raise
    except interruption.Stopped:
        _interrupted(started, folder)
        raise
    except Exception as error:  # whatever a task throws, the rest of the night goes on
        if of_the_signal(error):
            _interrupted(started, folder)
            interruption.check()
        return _failed(job, folder, record, error)
    finally:
        model.forget()
    record |= model.encoder.learned
    return started


def _score(encoded: Encoded, folder: RunFolder, made_by: str) -> list[UnitResult]:
    """Score a portion and save its units."""
    results = [replace(result, hardware=folder.computing) for result in encoded.score()]
    for result in results:
        folder.ledger.save(encoded.prepared.spec.name, made_by, result)
    return results


def of_the_signal(error: Exception) -> bool:
    """Whether a task's error is that its workers had the signal as well that stops the run.

    Ctrl-C in a terminal goes to them too, and one that is just being started dies of it.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return interruption.asked() and bool(kinds & {"BrokenProcessPool", "TerminatedWorkerError"})


def _same(results: list[UnitResult]) -> list[UnitResult]:
    return results


def _interrupted(started: Started, folder: RunFolder) -> None:
    """Wait for what is being scored of a job, and put down that it is to go on."""
    for scored in started.scored:
        with suppress(Exception):  # it is evaluated again, and told of then
            scored()
    entry = {"status": "interrupted", **started.record, "finished": now()}
    folder.record(started.job.spec.name, entry)


def _finish(started: Started, folder: RunFolder) -> Outcome:
    """Write the result of a job whose texts are encoded, once it is scored."""
    from qzhou_eval.evaluate.mteb1.results import write_result

    job, spec, record = started.job, started.job.spec, started.record
    path = folder.result_path(spec.name)
    try:
        results = dict(started.finished)
        for scored in started.scored:
            results |= {result.unit: result for result in scored()}
        items = folder.keep_items(spec.name, results)
        write_result(path, spec, job.local, results)
    except Exception as error:
        if of_the_signal(error):
            _interrupted(started, folder)
            return Outcome(spec, None, error="its workers had the signal too; it goes on from here")
        return _failed(job, folder, record, error)
    # Of the whole file: what is told of it is true of the rows that were kept, too.
    meter = sum((result.meter for result in results.values()), Meter())
    seconds = {
        "data": started.data_seconds,
        "encode": sum(result.encode_seconds for result in results.values()),
        "score": sum(result.score_seconds for result in results.values()),
    }
    others = [r.hardware for r in results.values() if r.hardware not in ({}, folder.computing)]
    drawn = [
        {"split": split, "subset": subset, "drawn_after": result.drawn_after}
        for (split, subset), result in results.items()
        if result.drawn_after is not None
    ]
    entry = {
        "status": "done",
        **record,
        **meter.told(),
        "finished": now(),
        "sha256": file_digest(path),
        **items,
        "drawn": drawn,
        "seconds": {part: round(taken, 3) for part, taken in seconds.items()},
    }
    if others:
        entry["also_computed"] = [own for n, own in enumerate(others) if own not in others[:n]]
    folder.record(spec.name, entry)
    folder.ledger.clear(spec.name)
    before = sum(unit in started.finished for unit in units(spec))
    return Outcome(
        spec,
        path,
        sum(seconds.values()),
        kept=not started.scored,
        restarts=meter.restarts,
        kept_units=before if len(units(spec)) > before else 0,
        kept_texts=meter.kept_texts,
        again=started.again,
    )


def _dataset(job: Job) -> dict[str, str]:
    """Return which data the task is run on: of the hub at a commit, or a folder's content."""
    named = {"name": job.spec.dataset, "revision": job.spec.revision}
    if job.local is None:
        return {**named, "source": "hub"}
    return {**named, "source": "folder", "content": job.local.digest}


def _failed(job: Job, folder: RunFolder, record: Mapping[str, Any], error: Exception) -> Outcome:
    if isinstance(error, StorageError):
        raise error  # nor could any other task be saved; what there is of this one is kept
    folder.ledger.leave(job.spec.name)
    entry = {
        "status": "failed",
        **record,
        "finished": now(),
        "error": one_line(error),
        "kind": type(error).__name__,
        "traceback": "".join(traceback.format_exception(error)),
    }
    folder.record(job.spec.name, entry)
    told = f"{type(error).__name__}: {one_line(error)}"
    return Outcome(job.spec, None, error=told, passing=transient(error))


def now() -> str:
    """Return the time as UTC, to the second, in ISO form."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
