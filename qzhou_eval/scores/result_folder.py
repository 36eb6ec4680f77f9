"""One folder of result files, with what its manifest says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qzhou_eval.errors import UserError, one_line_text
from qzhou_eval.files import file_digest, is_data_file, is_plain_name, read_json
from qzhou_eval.scores.reading import TaskScores, read_task_scores


@dataclass
class ResultFolder:
    """A folder of result files in mteb's format, with or without a ``run.json``.

    Attributes:
        path: The folder.
        manifest: Contents of ``run.json``; empty without one.
        model: ``org/name``.
        revision: The model's revision, or the run's fingerprint.
    """

    path: Path
    manifest: Mapping[str, Any]
    model: str
    revision: str
    _read: dict[str, TaskScores] = field(default_factory=dict, repr=False)

    @property
    def mode(self) -> str:
        """The mode of the folder's run ("strict", "fast"); empty if nothing says it."""
        settings = self.manifest.get("settings")
        return one_line_text(settings.get("mode", "")) if isinstance(settings, dict) else ""

    def entry(self, task: str) -> Mapping[str, Any]:
        """Return what the manifest says of `task`; nothing if it says nothing."""
        entries = self.manifest.get("tasks")
        entry = entries.get(task) if isinstance(entries, dict) else None
        return entry if isinstance(entry, dict) else {}

    def unfinished(self, task: str) -> str:
        """Return why the folder's file of `task`, if any, is not its score; empty if it is.

        An older result of a task that failed since, or is running, is not its score.
        """
        entries = self.manifest.get("tasks")
        if not isinstance(entries, dict) or task not in entries:
            return ""
        entry = self.entry(task)
        status = entry.get("status")
        if status == "done":
            return ""
        error = f": {one_line_text(entry['error'])}" if entry.get("error") else ""
        return f"{one_line_text(status or 'not readable')} in run.json{error}"

    def foreign(self, task: str) -> str:
        """Return why the file of `task` is not what the folder's run wrote; empty if it is."""
        if not self.manifest:
            return ""
        digest = self.entry(task).get("sha256")
        if digest is None:
            return "run.json does not know this result: another run made it"
        if digest != file_digest(self.file(task)):
            return "the file is not the one the run wrote: its digest differs from run.json's"
        return ""

    def departure(self, task: str) -> str:
        """Return how the run of `task` had to depart from its batches; empty if it did not."""
        count = self.entry(task).get("split_batches")
        if not isinstance(count, int) or count < 1:
            return ""
        batches = "1 batch was" if count == 1 else f"{count} batches were"
        return f"{batches} computed in parts for lack of memory, not whole as published"

    def file(self, task: str) -> Path:
        """Return the path of the result file of `task`, whether or not it is there.

        Raises:
            UserError: `task` is no name of a file in the folder.
        """
        if not is_plain_name(task):
            raise UserError(f"{self.path}: no result file can have the name {task!r}")
        return self.path / f"{task}.json"

    def scores(self, task: str) -> TaskScores | None:
        """Read the result of `task`; None if there is none, or none that counts.

        Raises:
            UserError: the file is not readable.
        """
        path = self.file(task)
        if not is_data_file(path) or self.unfinished(task):
            return None
        if task not in self._read:
            self._read[task] = read_task_scores(path)
        return self._read[task]


def open_result_folder(path: Path) -> ResultFolder:
    """Open a folder of results.

    Raises:
        UserError: its ``run.json`` or ``model_meta.json`` is not readable.
    """
    manifest = _read_object(path / "run.json", "run manifest")
    meta = _read_object(path / "model_meta.json", "model record")
    # A path like "." has no name to read the model off.
    resolved = path.resolve()
    parent = resolved.parent.name.replace("__", "/", 1)
    return ResultFolder(
        path,
        manifest,
        model=one_line_text(manifest.get("model") or meta.get("name") or parent),
        revision=one_line_text(manifest.get("revision") or meta.get("revision") or resolved.name),
    )


def _read_object(path: Path, what: str) -> dict[str, Any]:
    data = read_json(path, what) if is_data_file(path) else {}
    if not isinstance(data, dict):
        raise UserError(f"{path}: not a readable {what}: expected an object")
    return data
