"""The suites that come with the project, and suite files of a user's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from qzhou_eval.errors import UserError, nearest, one_line_text
from qzhou_eval.files import is_plain_name, read_toml
from qzhou_eval.suite.instructions import parse_instruction
from qzhou_eval.suite.layouts import LAYOUTS, default_metric
from qzhou_eval.suite.suite import Suite, TaskSpec, last_entries

HERE = Path(__file__).parent
BUILT_IN: dict[str, Path] = {
    "cmteb": HERE / "library" / "cmn-v1.toml",
    "mteb": HERE / "library" / "eng-v2.toml",
    "demo": HERE / "demo" / "demo.toml",
}
"""Command name to file, of the suites that come with the project."""

TASK_KEYS = (
    "name",
    "type",
    "metric",
    "splits",
    "subsets",
    "dataset",
    "revision",
    "layout",
    "definition",
    "languages",
    "instruction",
    "rule",
)
RESERVED_NAMES = ("run", "model_meta", "summary")
"""Names of a run folder's other files."""

TYPE_NAME = re.compile(r"[A-Z][\w()]*")
"""mteb's task types ("STS", "VisualSTS(eng)"): never a table's own column, such as "model"."""

TEXT_KEYS = ("type", "metric", "dataset", "revision", "layout", "definition")
LIST_KEYS = ("splits", "subsets", "languages")


def built_in(command: str) -> Suite:
    """Return the suite that ``qzhou-eval COMMAND`` runs."""
    return read_suite(BUILT_IN[command])


def built_in_suites() -> dict[str, Suite]:
    """Return the project's suites by their leaderboard name."""
    suites = [built_in(command) for command in BUILT_IN]
    return {suite.name: suite for suite in suites}


def arguments_for(tasks: Iterable[str]) -> str:
    """Return what stands for `tasks` on a command line: of a suite where one has them all.

    A suite's tasks have its splits and subsets; by its bare name a task has all of mteb's.
    """
    names = list(tasks)
    for command in ("cmteb", "mteb"):
        own = [task.name for task in built_in(command).tasks]
        if set(names) == set(own):
            return command
        if set(names) < set(own):
            return f"{command} --tasks {','.join(names)}"
    return " ".join(names)


def read_suite(path: Path) -> Suite:
    """Read a suite file.

    Raises:
        UserError: not readable, or an entry that is not a task; the message names it.
    """
    data = read_toml(path, "suite file")
    name = data.get("name", path.stem)
    entries = data.get("tasks")
    if not isinstance(name, str) or not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: a suite file has a name and at least one [[tasks]]")
    name = one_line_text(name)
    tasks = [parse_task(entry, f"{path}: task {i + 1}") for i, entry in enumerate(entries)]
    return Suite(
        name=name,
        tasks=last_entries(tasks),
        description=one_line_text(data.get("description", "")),
        datasets_dir=_folder_beside(path, data.get("datasets_dir", "")),
    )


def _folder_beside(path: Path, name: Any) -> Path | None:
    """Return the folder `name` beside or below the suite file `path`; None for no name."""
    if not isinstance(name, str):
        raise UserError(f"{path}: datasets_dir takes a text, not {type(name).__name__}")
    if Path(name).is_absolute() or ".." in Path(name).parts or not name.isprintable():
        raise UserError(
            f"{path}: datasets_dir {name!r} is no folder beside the suite file; name one "
            "elsewhere with --datasets-dir"
        )
    return path.parent / name if name else None


def parse_task(entry: Any, where: str) -> TaskSpec:
    """Turn a ``[[tasks]]`` table (or a bare task name) into a TaskSpec.

    Raises:
        UserError: a key or value that a task does not take.
    """
    if isinstance(entry, str):
        entry = {"name": entry}
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise UserError(f"{where}: expected a table with a name")
    where = f"{where} ({entry['name']})"
    if not is_plain_name(entry["name"]) or entry["name"] in RESERVED_NAMES:
        raise UserError(f"{where}: not a name a result file can have")
    for key in entry:
        if key not in TASK_KEYS:
            raise UserError(f"{where}: unknown key {key!r}: {nearest(key, TASK_KEYS)}")
    lists = {key: _strings(entry.get(key, []), f"{where}: {key}") for key in LIST_KEYS}
    texts = {key: entry.get(key, "") for key in TEXT_KEYS}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise UserError(f"{where}: {key} takes a text, not {type(value).__name__}")
        _check_printable(value, f"{where}: {key}")
    if texts["type"] and not TYPE_NAME.fullmatch(texts["type"]):
        raise UserError(f"{where}: {texts['type']!r} is not a task type: expected a name like STS")
    instruction = None
    if "instruction" in entry:
        value = {k: entry[k] for k in ("instruction", "rule") if k in entry}
        instruction = parse_instruction(value, where)
    if texts["layout"]:
        _check_own_task(texts, lists, where)
        texts["metric"] = texts["metric"] or default_metric(texts["type"])
        lists["subsets"] = lists["subsets"] or ("default",)
        lists["splits"] = lists["splits"] or ("test",)
    return TaskSpec(
        name=entry["name"],
        instruction=instruction,
        splits=lists["splits"],
        subsets=lists["subsets"],
        languages=lists["languages"],
        **texts,
    )


def _strings(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UserError(f"{where} takes a list of texts")
    for item in value:
        _check_printable(item, where)
    return tuple(value)


def _check_printable(text: str, where: str) -> None:
    """Refuse what would not stay in its line, or its cell, wherever it is shown."""
    if not text.isprintable():
        raise UserError(f"{where}: {text!r} has characters that cannot be printed")


def _check_own_task(texts: dict[str, str], lists: dict[str, tuple[str, ...]], where: str) -> None:
    layouts = LAYOUTS.get(texts["type"])
    if layouts is None:
        hint = nearest(texts["type"], LAYOUTS)
        raise UserError(f"{where}: unknown task type {texts['type']!r}: {hint}")
    if texts["layout"] not in layouts:
        hint = nearest(texts["layout"], layouts)
        raise UserError(f"{where}: unknown layout {texts['layout']!r}: {hint}")
    if not texts["dataset"]:
        raise UserError(f"{where}: a task of one's own names its dataset")
    if not lists["languages"]:
        raise UserError(f'{where}: a task of one\'s own names its languages, such as ["eng-Latn"]')


def parse_task_argument(argument: str) -> TaskSpec:
    """Turn ``TASK`` or ``TASK:SUBSET,SUBSET`` of the command line into a TaskSpec.

    Raises:
        UserError: an empty task or subset name.
    """
    name, colon, rest = argument.partition(":")
    subsets = tuple(part.strip() for part in rest.split(",")) if colon else ()
    if not name.strip() or not all(subsets):
        raise UserError(f"task {argument!r}: expected TASK or TASK:SUBSET,SUBSET")
    return TaskSpec(name=name.strip(), subsets=subsets)


def suite_from_arguments(arguments: Sequence[str]) -> Suite:
    """Return the suite that ``qzhou-eval run ARGUMENT...`` means.

    Raises:
        UserError: a suite file mixed with other arguments, or a task named twice.
    """
    files = [a for a in arguments if a.endswith(".toml")]
    if files:
        if len(arguments) > 1:
            raise UserError(f"give one suite file alone, or task names: got {' '.join(arguments)}")
        return read_suite(Path(files[0]))
    specs = [parse_task_argument(argument) for argument in arguments]
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"task {name} is named twice: write {name}:SUBSET,SUBSET")
    return Suite(name="run: " + " ".join(arguments), tasks=tuple(specs))
