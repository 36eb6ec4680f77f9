"""A run folder made ready for the results repository, or all that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qzhou_eval.errors import UserError, one_line_text
from qzhou_eval.files import is_data_file, read_data, read_json
from qzhou_eval.report.submission.choice import Choice, Chosen, choose, incomplete
from qzhou_eval.report.submission.identity import Identity, carries, identify
from qzhou_eval.report.submission.model_record import (
    FILE,
    complete_record,
    left_null,
    record_faults,
    record_text,
)
from qzhou_eval.report.submission.placing import Placing, place
from qzhou_eval.report.submission.refusal import NotExportedError, by_reason, named
from qzhou_eval.report.submission.result_file import as_mteb_writes, faults, remarks
from qzhou_eval.scores.causes import differing_settings
from qzhou_eval.scores.result_folder import ResultFolder
from qzhou_eval.suite.suite import TaskSpec


@dataclass(frozen=True)
class Submission:
    """What is written, and what is told of it.

    Attributes:
        identity: The model and its commit.
        chosen: The tasks, by suite.
        placing: The files, and where they go.
        warnings: What the submitter must know, a line each.
    """

    identity: Identity
    chosen: Chosen
    placing: Placing
    warnings: tuple[str, ...]


def prepare(
    results: ResultFolder,
    output: Path,
    choice: Choice,
    *,
    model_name: str = "",
    revision: str = "",
    allow_fast: bool = False,
) -> Submission:
    """Check a run folder; writes nothing.

    Args:
        results: The run folder.
        output: The folder to write ``results/<org>__<name>/<revision>`` into.
        choice: What of it is exported.
        model_name: ``org/name``, where the folder does not say it.
        revision: The model's commit, likewise.
        allow_fast: Whether results of fast mode are exported, too.

    Raises:
        NotExportedError: the results repository would not take it; has all that is wrong.
        UserError: `choice` names something that is not there.
    """
    chosen = choose(results, choice)
    meta, faulty = _own_record(results)
    identity, wrong, warnings = identify(results, meta, model_name, revision)
    problems = [*faulty, *wrong]
    if results.mode not in ("", "strict"):
        told = f"run in {results.mode} mode"
        if allow_fast:
            warnings.append(told)
        else:
            problems.append(
                f"{told}, not by the published procedure: run it in strict mode, or export it "
                "all the same with --allow-fast"
            )
    problems += [line for part in chosen.parts if (line := incomplete(part))]
    values, reasons = _read(results, chosen.tasks)
    problems += by_reason(reasons, len(chosen.tasks))
    placing = None
    if identity is not None:
        # What is sound is held against the output folder all the same: all is told at once.
        sound = {name: value for name, value in values.items() if name not in reasons}
        ours = carries(identity.model, meta)
        if not ours:
            warnings.append(
                f"the run's {FILE} is of {one_line_text(meta['name'])}: nothing of it is exported"
            )
        record = complete_record(meta if ours and not faulty else {}, identity)
        # A record that already says all is carried over as it is.
        own = read_data(results.path / FILE, "model record").decode() if meta == record else ""
        texts = {f"{name}.json": as_mteb_writes(value) for name, value in sound.items()}
        placing = place(output, identity, texts, own or record_text(record), results.path)
        problems += placing.conflicts
        warnings += placing.warnings
        if (nulls := left_null(record)) and FILE in placing.texts:
            warnings.append(f"{FILE} has null for {', '.join(nulls)}: fill in what you know")
    if problems or identity is None or placing is None:
        raise NotExportedError(results.path, problems)
    warnings += _warnings(results, chosen, values, identity.model)
    return Submission(identity, chosen, placing, tuple(dict.fromkeys(warnings)))


def _own_record(results: ResultFolder) -> tuple[dict[str, Any], list[str]]:
    path = results.path / FILE
    # Opening the folder has shown that it can be read, and is an object.
    meta = dict(read_json(path, "model record")) if is_data_file(path) else {}
    return meta, record_faults(meta)


def _read(
    results: ResultFolder, tasks: Mapping[str, TaskSpec]
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return the contents of the result files, and what is wrong with each."""
    values: dict[str, Any] = {}
    reasons: dict[str, list[str]] = {}
    for name, task in tasks.items():
        try:
            values[name] = read_json(results.file(name), "result file")
        except UserError as error:
            reasons[name] = [f"{error}; run the task again"]
            continue
        if unfinished := results.unfinished(name):
            reasons[name] = [f"not done: {unfinished}; run it again (--retry-failed)"]
        elif foreign := results.foreign(name):
            reasons[name] = [f"{foreign}; run it again into that folder"]
        elif wrong := faults(values[name], task):
            reasons[name] = wrong
    return values, reasons


def _warnings(
    results: ResultFolder, chosen: Chosen, values: Mapping[str, Any], model: str
) -> list[str]:
    """Return what a submitter must know of results that are sound."""
    tasks = chosen.tasks
    told = {
        name: [*remarks(values[name], task), results.departure(name)]
        for name, task in tasks.items()
    }
    lines = by_reason({name: [r for r in own if r] for name, own in told.items()}, len(tasks))
    for part in chosen.parts:
        lines += [f"left out: {name}: {reason}" for name, reason in part.unfinished.items()]
    lines += [words for _, words in differing_settings(results, model)]
    sources = {name: results.entry(name).get("dataset") for name in tasks}
    folders = [n for n, s in sources.items() if isinstance(s, dict) and s.get("source") == "folder"]
    if folders:
        lines.append(
            f"the data of {len(folders)} of {len(tasks)} tasks was read from folders; their files "
            "name the commit that mteb pins all the same"
        )
    if not results.manifest:
        lines.append("there is no run.json: nothing shows that the files are as a run wrote them")
    if chosen.left_out:
        lines.append(f"left out, not asked for: {named(chosen.left_out)} (--tasks NAMES)")
    return lines
