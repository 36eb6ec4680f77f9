"""A run's folder: its manifest, who may write to it, and which results in it may be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from qzhou_eval.errors import UserError
from qzhou_eval.files import file_digest, is_plain_name, read_json, write_json

MANIFEST = "run.json"
MODEL_META = "model_meta.json"
LOCK = ".run.lock"
FORMAT = 1
UNSAID = {"devices": 1}
"""Settings of a manifest that does not speak of them."""


@dataclass
class RunFolder:
    """The folder ``OUT/<org>__<name>/<revision or fingerprint>``.

    Attributes:
        path: The folder.
        manifest: Contents of ``run.json``: who ran what, how, and how it went.
    """

    path: Path
    manifest: dict[str, Any]
    _lock: FileLock = field(repr=False)

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

    def kept_result(self, task: str, made_with: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the folder's result of `task`, if it is untouched and was made with `made_with`.

        None if there is no such result. Of what `made_with` says nothing (splits, subsets) the
        result may hold less or more than is wanted.
        """
        entry, path = self.manifest["tasks"].get(task, {}), self.result_path(task)
        if entry.get("status") != "done" or entry.get("made_with") != dict(made_with):
            return None
        if not path.is_file() or file_digest(path) != entry.get("sha256"):
            return None
        result: dict[str, Any] = read_json(path, "result file")
        return result

    def close(self) -> None:
        """Let other runs write to the folder."""
        self._lock.release()


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


def open_run_folder(path: Path, identity: Mapping[str, Any], suite: Mapping[str, Any]) -> RunFolder:
    """Open `path` for writing, making it if need be.

    Args:
        path: The run's folder.
        identity: What all results of the folder must have been made with: model, recipe,
            fingerprint, settings.
        suite: The suite as data; reports read it back.

    Raises:
        UserError: another run is writing there, or the folder holds results of another recipe.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if (path / LOCK).is_symlink():
            # filelock empties the file that it opens, wherever a link leads.
            raise UserError(f"{path / LOCK}: is a link; remove it")
        lock = FileLock(path / LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"{path}: another run is writing there; wait for it or stop it") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    # Read under the lock: what another run has written since is not lost.
    try:
        check_run_folder(path, identity)
        before = _previous(path)
    except UserError:
        lock.release()
        raise
    manifest = {"format": FORMAT, **identity}
    before = before or {}
    suites = [s for s in before.get("suites", []) if s.get("name") != suite["name"]]
    manifest["suites"] = [*suites, dict(suite)]
    commands = before.get("commands", [])
    arguments = identity.get("arguments", [])
    manifest["commands"] = commands if arguments in commands else [*commands, arguments]
    manifest["tasks"] = before.get("tasks", {})
    return RunFolder(path, manifest, lock)


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
