"""How each run was made and where its time went, as the page shows it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qzhou_eval.errors import plain
from qzhou_eval.report.charts.times import Times, times
from qzhou_eval.report.labels import Key, key, labels
from qzhou_eval.report.values import as_table
from qzhou_eval.report.words import Words
from qzhou_eval.scores.result_folder import open_result_folder
from qzhou_eval.scores.run_folders import RunScores

Fields = dict[str, str]
Facts = dict[str, Fields]
"""Titles, each with names and values."""


@dataclass(frozen=True)
class RunFacts:
    """What a run's manifest says.

    Attributes:
        run: Which run.
        label: Its name.
        fields: Titles, each with names and values; none without a manifest.
        times: Where its time went.
    """

    run: Key
    label: str
    fields: Facts
    times: Times


def run_facts(rows: Sequence[RunScores], words: Words = str) -> list[RunFacts]:
    """Return how each run folder of `rows` was made, each once.

    Raises:
        UserError: a manifest is not readable.
    """
    named = labels(rows, words)
    facts = []
    for row in {key(row): row for row in rows if row.folder}.values():
        assert row.folder is not None
        manifest = open_result_folder(row.folder).manifest
        entries = as_table(manifest.get("tasks"))
        went = times({plain(task): entry for task, entry in entries.items()})
        facts.append(RunFacts(key(row), named[key(row)], _fields(row, manifest), went))
    return facts


def common_facts(runs: Sequence[RunFacts]) -> Facts:
    """Return what is the same for all of several runs with a manifest; nothing of one alone."""
    told = [run.fields for run in runs if run.fields]
    if len(told) < 2:
        return {}
    same = {
        title: {n: v for n, v in values.items() if all(f.get(title, {}).get(n) == v for f in told)}
        for title, values in told[0].items()
    }
    return {title: values for title, values in same.items() if values}


def without(fields: Facts, common: Facts) -> Facts:
    """Return `fields` less those of `common`."""
    rest = {
        title: {n: v for n, v in values.items() if n not in common.get(title, {})}
        for title, values in fields.items()
    }
    return {title: values for title, values in rest.items() if values}


def _fields(row: RunScores, manifest: Mapping[str, Any]) -> Facts:
    """Return a manifest's facts by title; none of an empty manifest."""
    if not manifest:
        return {}
    environment = as_table(manifest.get("environment"))
    arguments = manifest.get("arguments")
    given = [str(part) for part in arguments] if isinstance(arguments, list) else []
    command = {"qzhou-eval": shlex.join(given)} if given else {}
    command |= {"revision": row.revision}
    command |= _shown({name: manifest.get(name) for name in ("started", "finished", "fingerprint")})
    machine = {"python": environment.get("python"), **as_table(environment.get("hardware"))}
    parts = {
        "Command": command,
        "Recipe": _shown(as_table(manifest.get("recipe"))),
        "Settings": _shown(as_table(manifest.get("settings"))),
        "Hardware": _shown(machine),
        "Packages": _shown(as_table(environment.get("packages"))),
    }
    return {title: values for title, values in parts.items() if values}


def _shown(values: Mapping[str, Any]) -> Fields:
    return {
        str(name): value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in values.items()
        if value is not None
    }
