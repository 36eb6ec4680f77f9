"""How each run was made and where its time went, as the page shows it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qzhou_eval.errors import plain
from qzhou_eval.report.board import labels
from qzhou_eval.report.charts.specification import Rows, Spec
from qzhou_eval.report.charts.times import times, times_spec
from qzhou_eval.report.values import as_table
from qzhou_eval.report.words import Words
from qzhou_eval.scores.result_folder import open_result_folder
from qzhou_eval.scores.run_folders import RunScores

Fields = list[tuple[str, str]]


@dataclass(frozen=True)
class RunFacts:
    """What a run's manifest says.

    Attributes:
        label: Model and revision.
        fields: Titles, each with names and values; none without a manifest.
        tasks: Task to what the manifest says of it.
    """

    label: str
    fields: Sequence[tuple[str, Fields]]
    tasks: Mapping[str, Any]


@dataclass(frozen=True)
class RunTimes:
    """Where a run's time went.

    Attributes:
        label: Model and revision.
        spec: Its picture.
        rows: Time by task and part.
        planned: Planned time by task.
    """

    label: str
    spec: Spec
    rows: Rows
    planned: Rows


def run_facts(rows: Sequence[RunScores], words: Words = str) -> list[RunFacts]:
    """Return how each run folder of `rows` was made, each once.

    Raises:
        UserError: a manifest is not readable.
    """
    own = {row.folder: row for row in rows if row.folder}
    named = labels(list(own.values()), words)
    facts = []
    for (folder, row), label in zip(own.items(), named, strict=True):
        manifest = open_result_folder(folder).manifest
        if row.revision[:8] not in label:
            label += f" ({row.revision[:12]})"
        facts.append(RunFacts(label, _fields(manifest), as_table(manifest.get("tasks"))))
    return facts


def run_times(facts: Sequence[RunFacts], words: Words = str) -> list[RunTimes]:
    """Return where the time went of those runs that say so."""
    found = []
    for run in facts:
        rows, planned, unit = times({plain(t): entry for t, entry in run.tasks.items()}, words)
        if rows:
            found.append(RunTimes(run.label, times_spec(unit, bool(planned), words), rows, planned))
    return found


def _fields(manifest: Mapping[str, Any]) -> list[tuple[str, Fields]]:
    """Return a manifest's facts by title; none of an empty manifest."""
    if not manifest:
        return []
    environment = as_table(manifest.get("environment"))
    arguments = manifest.get("arguments")
    given = [str(part) for part in arguments] if isinstance(arguments, list) else []
    command = [("qzhou-eval", shlex.join(given))] if given else []
    command += _pairs({key: manifest.get(key) for key in ("started", "finished", "fingerprint")})
    machine = {"python": environment.get("python"), **as_table(environment.get("hardware"))}
    parts = [
        ("Command", command),
        ("Recipe", _pairs(as_table(manifest.get("recipe")))),
        ("Settings", _pairs(as_table(manifest.get("settings")))),
        ("Hardware", _pairs(machine)),
        ("Packages", _pairs(as_table(environment.get("packages")))),
    ]
    return [(name, pairs) for name, pairs in parts if pairs]


def _pairs(values: Mapping[str, Any]) -> Fields:
    return [(str(name), _shown(value)) for name, value in values.items() if value is not None]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
