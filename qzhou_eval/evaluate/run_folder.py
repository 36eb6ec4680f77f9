"""A run's folder: its manifest, who may write to it, and which results in it may be kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qzhou_eval.encode.encoder import Meter
from qzhou_eval.environment import computing
from qzhou_eval.errors import StorageError, UserError
from qzhou_eval.evaluate.items import (
    FOLDER,
    TYPES,
    Items,
    check_item_folder,
    item_path,
    keep_items,
    read_items,
)
from qzhou_eval.evaluate.ledger import Ledger
from qzhou_eval.evaluate.units import Unit, UnitResult, units
from qzhou_eval.files import (
    file_digest,
    is_data_file,
    is_plain_name,
    read_json,
    remove_temporary,
    text_digest,
    write_json,
)
from qzhou_eval.folder_lock import FolderLock, lock_folder
from qzhou_eval.suite.suite import TaskSpec

MANIFEST = "run.json"
MODEL_META = "model_meta.json"
FORMAT = 1
DONE = "done"
OVERWRITING = "overwriting"
"""Key of a manifest whose run is to replace results, and has not come to its end."""
WAITING = "to be evaluated again"
"""Status of a task whose result is to be replaced: what there is does not count."""
UNSAID = {"devices": 1}
"""Settings of a manifest that does not speak of them."""


@dataclass
class RunFolder:
    """The folder ``OUT/<org>__<name>/<revision or fingerprint>``.

    Attributes:
        path: The folder.
        manifest: Contents of ``run.json``: who ran what, how, and how it went.
        ledger: What is finished of tasks that are not.
    """

    path: Path
    manifest: dict[str, Any]
    ledger: Ledger
    _lock: FolderLock = field(repr=False)

    def result_path(self, task: str) -> Path:
        """Return the path of the result file of `task`."""
        return self.path / f"{task}.json"

    def save_manifest(self) -> None:
        """Write ``run.json``."""
        write_json(self.path / MANIFEST, self.manifest)

    def record(self, task: str, entry: Mapping[str, Any]) -> None:
        """Put down how `task` went, and save."""
        self.manifest["tasks"][task] = dict(entry)
        self.save_manifest()

    def made_by(self, made_with: Mapping[str, Any]) -> str:
        """Return a digest of all that decides the scores of a task."""
        own = {key: self.manifest.get(key) for key in ("fingerprint", "settings")}
        return text_digest({**own, "made_with": made_with})

    def vectors_by(self, made_by: str) -> str:
        """Return a digest of all but texts and prompts that decides the vectors of a task.

        The hardware, too: another's vectors differ in the last bits.
        """
        return text_digest([made_by, self.computing, self.manifest.get("fast")])

    @property
    def computing(self) -> dict[str, Any]:
        """What computes in this run, as far as it can decide the last bits of a vector."""
        return computing(self.manifest.get("environment", {}).get("hardware") or {})

    def stands(self, spec: TaskSpec, made_with: Mapping[str, Any]) -> bool:
        """Whether the folder's result file of `spec` has all of it, made in the same way."""
        found = self._of_file(spec, made_with)
        return all(unit in found and found[unit].holds_for(spec) for unit in units(spec))

    def finished(self, spec: TaskSpec, made_with: Mapping[str, Any]) -> dict[Unit, UnitResult]:
        """Return the units that need not be evaluated for `spec`, and others of the same making.

        They are in its result file, if that is untouched, and in the ledger, which is the later.
        """
        found = self._of_file(spec, made_with)
        if found and self.ledger.keeps_items:
            items = self._items(spec.name)
            found = {unit: replace(own, items=items.get(unit)) for unit, own in found.items()}
        found |= self.in_ledger(spec, made_with)
        return {unit: result for unit, result in found.items() if result.holds_for(spec)}

    def in_ledger(self, spec: TaskSpec, made_with: Mapping[str, Any]) -> dict[Unit, UnitResult]:
        """Return the units of `spec` that are finished while its task is not."""
        made_by = self.made_by(made_with)
        return self.ledger.finished(spec.name, made_by, of_items=spec.type in TYPES)

    def keep_items(self, task: str, results: Mapping[Unit, UnitResult]) -> dict[str, str]:
        """Write the items of a task's `results`, for a result file that is written with them.

        Returns:
            What its entry in the manifest says of them: nothing where there are none.

        Raises:
            StorageError: they cannot be written, or those of before not removed.
        """
        keeps = self.ledger.keeps_items
        digest = keep_items(
            self.path, task, {unit: own.items for unit, own in results.items() if keeps}
        )
        return {"items": digest} if digest else {}

    def _items(self, task: str) -> dict[Unit, Items]:
        """Return the items of a finished task; none where they are not as the run wrote them."""
        path = item_path(self.path, task)
        said = self.manifest["tasks"].get(task, {}).get("items")
        if not said or not is_data_file(path) or file_digest(path) != said:
            return {}
        try:
            return read_items(path)
        except UserError:
            return {}

    def lost(self, task: str) -> str:
        """Return why the result that the manifest has of `task` does not stand; empty if it does.

        Empty, too, where it has none.
        """
        entry, path = self.manifest["tasks"].get(task, {}), self.result_path(task)
        if entry.get("status") != "done":
            return ""
        if not path.is_file():
            return "its result file is gone"
        if file_digest(path) != entry.get("sha256"):
            return "its result file is not as the run wrote it"
        return ""

    def _of_file(self, spec: TaskSpec, made_with: Mapping[str, Any]) -> dict[Unit, UnitResult]:
        """Return the units of a task's result file; none if it, or what is said of it, is off."""
        entry = self.manifest["tasks"].get(spec.name, {})
        if entry.get("status") != DONE or entry.get("made_with") != dict(made_with):
            return {}
        if self.lost(spec.name):
            return {}
        try:
            return self._rows(spec, entry)
        except (KeyError, TypeError, ValueError, AttributeError):
            return {}

    def _rows(self, spec: TaskSpec, entry: Mapping[str, Any]) -> dict[Unit, UnitResult]:
        path = self.result_path(spec.name)
        drawn = {
            (said["split"], said["subset"]): tuple((s, u) for s, u in said["drawn_after"])
            for said in entry.get("drawn", [])
        }
        seconds, hardware = entry.get("seconds", {}), entry.get("hardware")
        found: dict[Unit, UnitResult] = {}
        for split, rows in read_json(path, "result file")["scores"].items():
            for row in rows:
                unit = (split, row["hf_subset"])
                found[unit] = UnitResult(
                    unit, row, drawn.get(unit), hardware=computing(hardware) if hardware else {}
                )
        if "drawn" not in entry and set(found) != set(units(spec)):
            # An older manifest does not say what was drawn before what.
            found = {unit: own for unit, own in found.items() if unit not in units(spec)}
        for unit in list(found)[:1]:  # of the whole file, so one has it all
            found[unit] = replace(
                found[unit],
                encode_seconds=seconds.get("encode", 0.0),
                score_seconds=seconds.get("score", 0.0),
                meter=_meter(entry),
            )
        return found

    def close(self) -> None:
        """Let other runs write to the folder."""
        self.ledger.close()
        self._lock.release()


def _meter(entry: Mapping[str, Any]) -> Meter:
    """Return what a task's entry in a manifest says was encoded for it."""
    kept, kept_tokens = (int(entry.get(key, 0)) for key in ("kept_texts", "kept_tokens"))
    return Meter(
        texts=int(entry.get("texts", 0)) - kept,
        tokens=int(entry.get("tokens", 0)) - kept_tokens,
        seconds=float(entry.get("seconds", {}).get("encode", 0.0)),
        split_batches=int(entry.get("split_batches", 0)),
        restarts=int(entry.get("restarts", 0)),
        kept_texts=kept,
        kept_tokens=kept_tokens,
    )


def run_path(output_dir: Path, model_name: str, revision: str) -> Path:
    """Return the folder of a run, as mteb names it.

    Raises:
        UserError: name or revision would lead out of `output_dir`.
    """
    for what, name in (("model name", model_name.replace("/", "__", 1)), ("revision", revision)):
        if not is_plain_name(name.replace(" ", "_")):
            raise UserError(
                f"{what} {name!r} cannot name a folder: letters, digits, '.', '_' and '-' can"
            )
    return output_dir / model_name.replace("/", "__").replace(" ", "_") / revision


def check_run_folder(path: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder that holds results of another recipe; writes nothing.

    Raises:
        UserError: it does; the message names the fields that differ.
    """
    for folder in (path, *path.parents):
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{path}: cannot be written: {folder} is a file")
    before = _previous(path)
    if before is not None:
        _check_same(path, before, identity)


def check_results(
    path: Path, made_with: Mapping[str, Mapping[str, Any]], overwrite: Collection[str] = ()
) -> None:
    """Refuse to mix: results in `path` that were made with other packages, data or prompts.

    Args:
        path: The run's folder, which need not be there.
        made_with: Task name to what its result must have been made with.
        overwrite: Tasks whose results are to be replaced.

    Raises:
        UserError: there are such results; names them, and what differs.
    """
    others = {t: d for t, d in changed(path, made_with).items() if t not in overwrite}
    if not others:
        return
    named = ", ".join(others)
    raise UserError(
        f"{path}: {named} {'was' if len(others) == 1 else 'were'} made otherwise there "
        f"({'; '.join(dict.fromkeys(others.values()))}); --overwrite {','.join(others)} evaluates "
        "anew, another --output-dir keeps both"
    )


def changed(path: Path, made_with: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the tasks of `made_with` that were made otherwise in `path`, with what differs."""
    tasks = (_previous(path) or {"tasks": {}})["tasks"]
    found = {}
    for task, wanted in made_with.items():
        entry = tasks.get(task)
        if not isinstance(entry, dict) or entry.get("status") in ("failed", WAITING):
            continue
        if entry.get("made_with") != dict(wanted):
            found[task] = _difference(entry.get("made_with"), wanted)
    return found


def _difference(there: Any, now: Mapping[str, Any], name: str = "") -> str:
    """Return what differs, by name: "packages mteb '1.38.30' there, '1.39.0' now"."""
    if not isinstance(there, Mapping):
        return f"{name} {there!r} there, {now!r} now" if name else "it is not said how"
    found = []
    for key in sorted({*there, *now}):
        old, new = there.get(key), now.get(key)
        label = f"{name} {key}".strip()
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found.append(_difference(old, new, label))
        else:
            found.append(f"{label} {_shown(old)} there, {_shown(new)} now")
    return ", ".join(found)


def _shown(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40,}", value):
        return value[:12]  # digests and commits
    text = "none" if value is None else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def unfinished_tasks(path: Path) -> list[str]:
    """Return the tasks that were begun in the run folder `path` and have no result: failed ones.

    A task that failed and was being tried again when the run was killed is one of them.

    Raises:
        UserError: nothing was run there.
    """
    before = _previous(path)
    if before is None:
        raise UserError(f"{path}: nothing was run there, so nothing has failed")
    return [name for name, entry in before["tasks"].items() if entry.get("status") != DONE]


def done_tasks(path: Path) -> list[str]:
    """Return the tasks that have a result in the run folder `path`, which need not be there."""
    tasks = (_previous(path) or {"tasks": {}})["tasks"]
    return [name for name, entry in tasks.items() if entry.get("status") == DONE]


def being_overwritten(path: Path, how: str) -> frozenset[str]:
    """Return the tasks that runs in `path` have begun to replace, and not come to their end.

    Args:
        path: The run's folder, which need not be there.
        how: The words that asked for it; those of other words do not count.
    """
    return _begun(_previous(path) or {}, how)


def _begun(manifest: Mapping[str, Any], how: str) -> frozenset[str]:
    said = manifest.get(OVERWRITING)
    if not how or not isinstance(said, dict) or said.get("asked") != how:
        return frozenset()
    tasks = said.get("tasks")
    return frozenset(map(str, tasks)) if isinstance(tasks, list) else frozenset()


def open_run_folder(
    path: Path,
    identity: Mapping[str, Any],
    suite: Mapping[str, Any],
    *,
    cache_limit: int = 0,
    keeps_items: bool = False,
    overwrite: Collection[str] = (),
    overwriting: str = "",
    waiting: Callable[[str], None] | None = None,
) -> RunFolder:
    """Open `path` for writing, making it if need be, and clear up behind runs that were killed.

    Args:
        path: The run's folder.
        identity: What all results of the folder must have been made with: model, recipe,
            fingerprint, settings.
        suite: The suite as data; reports read it back.
        cache_limit: Most bytes of vectors kept on disk while their tasks are run.
        keeps_items: Whether what scores are made of is kept, item by item.
        overwrite: Tasks of which nothing is kept.
        overwriting: How that was asked for; stays in the manifest, with the tasks it was taken to
            mean, until the run comes to its end.
        waiting: Told, once, that another run's end is waited for; without, that is an error.

    Raises:
        UserError: another run is writing there, or the folder holds results of another recipe.
        StorageError: it cannot be written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    lock = lock_folder(path, waiting)
    # Read under the lock: what another run has written since is not lost.
    try:
        check_run_folder(path, identity)
        before = _previous(path) or {}
        tasks = before.get("tasks", {}) | {name: {"status": WAITING} for name in overwrite}
        check_item_folder(path)
        for folder in (path, path / FOLDER):
            remove_temporary(folder)
        ledger = Ledger(path, cache_limit, keeps_items)
        done = {name for name, entry in tasks.items() if entry.get("status") == DONE}
        ledger.tidy({*done, *overwrite})
    except BaseException:
        lock.release()
        raise
    manifest = {"format": FORMAT, **identity}
    suites = [s for s in before.get("suites", []) if s.get("name") != suite["name"]]
    manifest["suites"] = [*suites, dict(suite)]
    commands = before.get("commands", [])
    arguments = identity.get("arguments", [])
    manifest["commands"] = commands if arguments in commands else [*commands, arguments]
    manifest["tasks"] = tasks
    if overwriting:
        begun = {*_begun(before, overwriting), *overwrite}
        manifest[OVERWRITING] = {"asked": overwriting, "tasks": sorted(begun)}
    return RunFolder(path, manifest, ledger, lock)


def _previous(path: Path) -> dict[str, Any] | None:
    manifest = path / MANIFEST
    if manifest.is_file():
        data = read_json(manifest, "run manifest")
        if not _is_manifest(data):
            raise UserError(f"{manifest}: not a run manifest; choose another --output-dir")
        return dict(data)
    results = [p for p in path.glob("*.json") if p.name != MODEL_META]
    if results:
        raise UserError(
            f"{path}: holds results ({results[0].name}) but no {MANIFEST} that says how they were "
            "made; choose another --output-dir"
        )
    return None


def _is_manifest(data: Any) -> bool:
    """Whether `data` has the shape of a manifest, as far as a run goes by an earlier one."""
    if not isinstance(data, dict) or not isinstance(data.get("tasks"), dict):
        return False
    tables = [*data["tasks"].values(), data.get("settings") or {}, data.get("recipe") or {}]
    suites, commands = data.get("suites", []), data.get("commands", [])
    if not isinstance(suites, list) or not isinstance(commands, list):
        return False
    return all(isinstance(table, dict) for table in [*tables, *suites])


def _check_same(path: Path, before: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    settings = [{**UNSAID, **(made.get("settings") or {})} for made in (before, identity)]
    if before.get("fingerprint") == identity["fingerprint"] and settings[0] == settings[1]:
        return
    differences = []
    recipes = [made.get("recipe") or {} for made in (before, identity)]
    for old, new in (recipes, settings):
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key) and key not in ("name", "source"):
                differences.append(f"{key} {old.get(key)!r} there, {new.get(key)!r} now")
    if not differences:
        differences.append("other model files")
    raise UserError(
        f"{path}: holds results made otherwise ({'; '.join(differences)}); "
        "choose another --output-dir, or remove that folder"
    )
