"""In what two runs were made otherwise, as their manifests have it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qzhou_eval.environment import DECIDING_PACKAGES, PUBLISHED_PINS, computing
from qzhou_eval.errors import one_line_text
from qzhou_eval.scores.pair import Difference, few
from qzhou_eval.scores.result_folder import ResultFolder

SHOWN = 120
"""Characters of a value."""
DIGITS = 12
"""Of a digest or commit."""
NAMES_ALONE = ("name", "source")
"""Fields of a recipe that decide no vector."""


def run_differences(
    a: ResultFolder, b: ResultFolder, tasks: Sequence[str]
) -> tuple[Difference, ...]:
    """Return in what two runs were made otherwise: what their scores could differ by.

    Nothing but the model's name and revision where one has no manifest.

    Args:
        a: The one.
        b: The other.
        tasks: Tasks that both have a result of.
    """
    ours, theirs = dict(_facts(a)), dict(_facts(b))
    if not (a.manifest and b.manifest):
        known = ("model", "revision")
        ours, theirs = ({k: v for k, v in own.items() if k in known} for own in (ours, theirs))
    found = _differing(ours, theirs)
    if any(difference.field.startswith("recipe ") for difference in found):
        # It says no more than they do.
        found = [difference for difference in found if difference.field != "fingerprint"]
    by_task: dict[tuple[str, str, str], list[str]] = {}
    for task in tasks:
        for own in _differing(dict(_task_facts(a, task)), dict(_task_facts(b, task))):
            by_task.setdefault((own.field, own.a, own.b), []).append(task)
    return (*found, *(Difference(*said, tuple(names)) for said, names in by_task.items()))


def run_remarks(a: ResultFolder, b: ResultFolder, tasks: Sequence[str]) -> list[str]:
    """Return what a reader must be told of the two runs, beside in what they differ."""
    remarks = []
    for name, folder in (("A", a), ("B", b)):
        if not folder.manifest:
            remarks.append(f"{name} has no run.json: how it was made is not known")
        unchecked = [t for t in tasks if folder.entry(t).get("preflight") == "skipped"]
        if unchecked:
            remarks.append(f"{name} was run without preflight checks: {few(unchecked)}")
        remarks += [
            f"{name}, {task}: {departure}"
            for task in tasks
            if (departure := folder.departure(task))
        ]
        unsaid = [
            task
            for task in tasks
            if (own := folder.scores(task)) and not (own.dataset_revision and own.mteb_version)
        ]
        if unsaid:
            remarks.append(
                f"{name} does not say which dataset revision and mteb it is of: {few(unsaid)}"
            )
    return remarks


def _facts(folder: ResultFolder) -> Iterator[tuple[str, Any]]:
    """Yield what decides the scores of a run as a whole, by name."""
    manifest = folder.manifest
    yield "model", folder.model
    yield "revision", folder.revision
    yield "fingerprint", manifest.get("fingerprint")
    for field, value in _mapping(manifest.get("recipe")).items():
        if field not in NAMES_ALONE:
            yield f"recipe {field}", value
    for field, value in _mapping(manifest.get("settings")).items():
        yield f"settings {field}", value
    yield "fast layout", _mapping(manifest.get("fast")).get("layout")
    environment = _mapping(manifest.get("environment"))
    yield "python", environment.get("python")
    packages = _mapping(environment.get("packages"))
    for name in sorted({*DECIDING_PACKAGES, *PUBLISHED_PINS}):
        yield f"packages {name}", packages.get(name)
    yield "hardware", _hardware(environment.get("hardware"))


def _hardware(described: Any) -> Any:
    """Return what of the hardware can decide a vector's last bits, if the manifest says it."""
    try:
        return computing(described) if described else None
    except (TypeError, AttributeError, ValueError):
        return described


def _task_facts(folder: ResultFolder, task: str) -> Iterator[tuple[str, Any]]:
    """Yield what decides the scores of one task alone, by name."""
    made_with = _mapping(folder.entry(task).get("made_with"))
    for field in ("data", "instruction"):
        yield field, made_with.get(field)


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    return [
        Difference(one_line_text(field), _shown(a.get(field)), _shown(b.get(field)))
        for field in dict.fromkeys((*a, *b))
        if a.get(field) != b.get(field)
    ]


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "none"
    text = value if isinstance(value, str) else json.dumps(_short(value), ensure_ascii=False)
    return one_line_text(_short(text), limit=SHOWN)


def _short(value: Any) -> Any:
    """Return a value with its digests cut, one level down too."""
    if isinstance(value, dict):
        return {key: _short(own) for key, own in value.items()}
    whole = isinstance(value, str) and len(value) in (40, 64)
    return value[:DIGITS] if whole and value.isalnum() and value.islower() else value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
