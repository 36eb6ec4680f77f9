"""Which results of a folder are exported: whole suites, unless a part is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qzhou_eval.errors import UserError, nearest
from qzhou_eval.files import is_data_file, is_plain_name
from qzhou_eval.report.submission.refusal import named
from qzhou_eval.scores.result_folder import ResultFolder
from qzhou_eval.suite.library import RESERVED_NAMES, built_in, parse_task
from qzhou_eval.suite.suite import Suite, TaskSpec

SUITES = ("cmteb", "mteb")
"""Commands of the suites that the leaderboard has."""
OF_A_RUN = ("name", "type", "metric", "splits", "subsets", "dataset", "revision")
"""Fields of a task in a manifest that say what its result must hold."""


@dataclass(frozen=True)
class Choice:
    """What was asked for.

    Attributes:
        suites: Commands of suites (``cmteb``, ``mteb``); none leaves it to the folder.
        tasks: Names of tasks; none means the whole of each suite.
        partial: Whether a suite's missing tasks may be missing.
    """

    suites: Sequence[str] = ()
    tasks: Sequence[str] = ()
    partial: bool = False


@dataclass(frozen=True)
class Part:
    """A suite, as far as it is exported.

    Attributes:
        suite: The suite.
        tasks: Its tasks that are exported.
        missing: Its tasks that were wanted, and of which the folder has no result.
        unfinished: Tasks that were begun, and are left out of a part, with the reason.
    """

    suite: Suite
    tasks: tuple[TaskSpec, ...]
    missing: tuple[str, ...] = ()
    unfinished: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Chosen:
    """What is exported, before any of it is looked at.

    Attributes:
        parts: Of the leaderboard's suites.
        others: Tasks of none of them, asked for by name.
        left_out: Tasks that the folder has results of, and that nobody asked for.
    """

    parts: tuple[Part, ...]
    others: tuple[TaskSpec, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def tasks(self) -> dict[str, TaskSpec]:
        """Every task that is exported, by name."""
        specs = [task for part in self.parts for task in part.tasks]
        return {task.name: task for task in (*specs, *self.others)}


def choose(results: ResultFolder, choice: Choice) -> Chosen:
    """Return which tasks of which suites are to be exported.

    Raises:
        UserError: an unknown suite or task, or nothing of any suite.
    """
    for command in choice.suites:
        if command not in SUITES:
            raise UserError(f"unknown suite {command!r} in --suites: {nearest(command, SUITES)}")
    known = {command: built_in(command) for command in SUITES}
    others = _others(results, known.values(), choice)
    wanted = {name.lower() for name in choice.tasks} - {spec.name.lower() for spec in others}
    commands = [c for c in SUITES if c in choice.suites] or _commands(results, known, choice)
    parts = tuple(
        _part(results, known[command], wanted, choice.partial)
        for command in commands
        if not choice.tasks or wanted & _names(known[command])
    )
    elsewhere = wanted.difference(*(_names(part.suite) for part in parts))
    if elsewhere:
        raise UserError(
            f"--tasks {named(n for n in choice.tasks if n.lower() in elsewhere)}: not of the "
            f"suites of --suites {','.join(choice.suites)}"
        )
    if not any(part.tasks for part in parts) and not others and not choice.tasks:
        asked = [part.suite.name for part in parts] or [suite.name for suite in known.values()]
        raise UserError(
            f"{results.path}: no result of a task of {' or '.join(asked)}; --tasks NAMES exports "
            "other tasks of mteb's that were run into it"
        )
    chosen = Chosen(parts, others)
    if choice.tasks:
        return chosen
    held = {path.stem for path in results.path.glob("*.json") if is_plain_name(path.stem)}
    told = {*chosen.tasks, *RESERVED_NAMES, *(name for p in parts for name in p.unfinished)}
    return Chosen(parts, left_out=tuple(sorted(held - told)))


def _names(suite: Suite) -> set[str]:
    return {task.name.lower() for task in suite.tasks}


def _commands(results: ResultFolder, known: dict[str, Suite], choice: Choice) -> list[str]:
    """Return the suites that are meant: by task, by the manifest, or by what the folder holds."""
    if choice.tasks:
        names = {name.lower() for name in choice.tasks}
        return [c for c, s in known.items() if any(t.name.lower() in names for t in s.tasks)]
    ran = {entry.get("name") for entry in _run_suites(results) if _is_text(entry.get("name"))}
    said = [command for command, suite in known.items() if suite.name in ran]
    return said or [c for c, s in known.items() if any(_there(results, t) for t in s.tasks)]


def _part(results: ResultFolder, suite: Suite, wanted: set[str], partial: bool) -> Part:
    specs = [task for task in suite.tasks if not wanted or task.name.lower() in wanted]
    missing = tuple(task.name for task in specs if not _there(results, task))
    if not partial or wanted:  # a task asked for by name is to be there
        there = tuple(task for task in specs if task.name not in missing)
        return Part(suite, there, missing)
    reasons = {task.name: results.unfinished(task.name) for task in specs}
    reasons |= {name: "its result file is gone" for name in missing if results.entry(name)}
    unfinished = {name: reason for name, reason in reasons.items() if reason}
    done = tuple(t for t in specs if t.name not in missing and t.name not in unfinished)
    return Part(suite, done, unfinished=unfinished)


def _there(results: ResultFolder, task: TaskSpec) -> bool:
    return is_data_file(results.file(task.name))


def _others(results: ResultFolder, suites: Iterable[Suite], choice: Choice) -> tuple[TaskSpec, ...]:
    """Return the tasks asked for by name that are in no suite, as the manifest says them.

    Raises:
        UserError: neither a suite nor the manifest has a task of that name, or it is one of a
            suite file's own, which the leaderboard does not know.
    """
    built = {task.name.lower(): task.name for suite in suites for task in suite.tasks}
    listed = [
        suite["tasks"] for suite in _run_suites(results) if isinstance(suite.get("tasks"), list)
    ]
    entries = {
        entry["name"].lower(): entry
        for entry in (entry for tasks in listed for entry in tasks)
        if isinstance(entry, dict) and _is_text(entry.get("name"))
    }
    specs = []
    for name in choice.tasks:
        if name.lower() in built:
            continue
        entry = entries.get(name.lower())
        if entry is None:
            known = [*built.values(), *(e["name"] for e in entries.values())]
            raise UserError(f"unknown task {name!r} in --tasks: {nearest(name, known)}")
        if entry.get("layout"):
            raise UserError(
                f"--tasks {name}: a task of a suite file's own, which mteb does not have; the "
                "leaderboard takes results of mteb's tasks"
            )
        kept = {key: entry[key] for key in OF_A_RUN if key in entry}
        specs.append(parse_task(kept, f"{results.path / 'run.json'}: a task in it"))
    for spec in specs:
        if not (spec.splits and spec.subsets and spec.revision):
            raise UserError(
                f"{results.path / 'run.json'}: does not say which splits, subsets and dataset "
                f"revision the result of {spec.name} is of; run it again"
            )
        if not _there(results, spec):
            raise UserError(
                f"{results.path}: has no result of {spec.name}; run it into that folder"
            )
    return tuple(dict.fromkeys(specs))


def _run_suites(results: ResultFolder) -> list[dict[str, Any]]:
    suites = results.manifest.get("suites")
    return [s for s in suites if isinstance(s, dict)] if isinstance(suites, list) else []


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def incomplete(part: Part) -> str:
    """Return that a suite's tasks are missing, and what to do; empty if none are."""
    if not part.missing:
        return ""
    count, total = len(part.missing), len(part.suite.tasks)
    command = next(c for c in SUITES if built_in(c).name == part.suite.name)
    return (
        f"{part.suite.name}: {count} of {total} tasks {'has' if count == 1 else 'have'} no result "
        f"({named(part.missing)}); run them into the folder (qzhou-eval {command}), or export a "
        "part: --partial, --tasks NAMES, or --suites without it"
    )
