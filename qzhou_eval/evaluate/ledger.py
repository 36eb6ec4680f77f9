"""The ledger of a run folder: what is finished of tasks that are not, and their vectors.

``RUN/.work/<Task>/units`` holds a file a finished unit, ``RUN/.work/<Task>/vectors`` the chunks of
its encode calls. A unit's file says what it was made with and has a digest of itself: a damaged one
counts as none. Its items are in a file beside it, whose digest it has, too. Nothing is left of a
task once its result file is written.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qzhou_eval.encode.chunk_store import ChunkStore, Space, stored_bytes
from qzhou_eval.encode.encoder import Meter
from qzhou_eval.errors import UserError
from qzhou_eval.evaluate.items import SUFFIX, Items, read_items, write_items
from qzhou_eval.evaluate.units import Unit, UnitResult
from qzhou_eval.files import (
    TEMPORARY,
    file_digest,
    is_data_file,
    read_json,
    remove,
    remove_temporary,
    text_digest,
    write_json,
)

WORK = ".work"
FORMAT = 1
NONE = ""
"""In place of the digest of a unit's items: there are none of it."""


class Ledger:
    """Finished units and kept vectors of the tasks under way in a run folder.

    Args:
        folder: The run folder; its lock is held.
        cache_limit: Most bytes of vectors on disk; 0 to keep none.
        keeps_items: Whether the items of units are kept.
    """

    def __init__(self, folder: Path, cache_limit: int = 0, keeps_items: bool = False) -> None:
        self.keeps_items = keeps_items
        self.root = folder / WORK
        self.space = Space(folder, cache_limit, stored_bytes(self.root))
        self.space.evict = self._make_room
        self._under_way: set[str] = set()

    def tidy(self, finished: Collection[str]) -> None:
        """Remove what killed writers have left, and the work of tasks that are `finished`.

        Raises:
            UserError: something there is a link, which could lead anywhere.
            StorageError: it may not be removed.
        """
        for path in (self.root, *self.root.glob("*"), *self.root.glob("*/*")):
            if path.is_symlink():
                raise UserError(f"{path}: is a link; remove it")
        for folder in self.root.glob("*/*/"):
            remove_temporary(folder)
            for path in folder.glob(f"*{TEMPORARY}"):
                remove(path)
        for folder in self.root.glob("*/"):
            if folder.name in finished:
                self.clear(folder.name)

    def store(self, task: str, made_by: str) -> ChunkStore | None:
        """Return where the vectors of `task` are kept; None where none are."""
        if not self.space.limit:
            return None
        self._under_way.add(task)
        return ChunkStore(self.root / task / "vectors", made_by, self.space)

    def save(self, task: str, made_by: str, result: UnitResult) -> None:
        """Write down a finished unit, whole or not at all.

        Args:
            task: The task's name.
            made_by: Digest of all that decides its scores.
            result: The unit.

        Raises:
            StorageError: it cannot be written.
        """
        entry: dict[str, Any] = {
            "format": FORMAT,
            "task": task,
            "made_by": made_by,
            "split": result.unit[0],
            "row": result.row,
            "drawn_after": result.drawn_after,
            "encode_seconds": result.encode_seconds,
            "score_seconds": result.score_seconds,
            "meter": asdict(result.meter),
            "hardware": dict(result.hardware),
        }
        path = self._path(task, result.unit)
        if self.keeps_items:
            # First, so that there is no unit whose items are still to come.
            items = {result.unit: result.items} if result.items else {}
            entry["items"] = write_items(_items_beside(path), items) if items else NONE
        write_json(path, {**entry, "sha256": text_digest(entry)})

    def finished(
        self, task: str, made_by: str, *, of_items: bool = False
    ) -> dict[Unit, UnitResult]:
        """Return the finished units of `task` that were made by `made_by` and are as written.

        Args:
            task: The task's name.
            made_by: Digest of all that decides its scores.
            of_items: Whether its score is made of items. Where they are kept, a unit that was
                finished without keeping them counts as none: its texts' vectors are still here.
        """
        paths = sorted((self.root / task / "units").glob("*.json"))
        wanted = self.keeps_items and of_items
        results = (_read(path, task, made_by, wanted) for path in paths)
        return {result.unit: result for result in results if result is not None}

    def leave(self, task: str) -> None:
        """Let the vectors of `task` go first where room is needed: it failed."""
        self._under_way.discard(task)

    def clear(self, task: str) -> None:
        """Remove all that is kept of `task`."""
        self._under_way.discard(task)
        folder = self.root / task
        self.space.give_back(stored_bytes(folder))
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove the ledger's folder if nothing is left in it; when nobody writes there any more.

        Not any earlier: a unit that is being saved makes the folder and then its own in that.
        """
        with suppress(OSError):  # tasks are to be gone on with
            self.root.rmdir()

    def _make_room(self) -> None:
        """Remove the vectors of tasks that are not under way: failed ones, or to be resumed."""
        for folder in self.root.glob("*/"):
            if folder.name not in self._under_way:
                vectors = folder / "vectors"
                self.space.give_back(stored_bytes(vectors))
                shutil.rmtree(vectors, ignore_errors=True)

    def _path(self, task: str, unit: Unit) -> Path:
        # Names of splits and subsets are anybody's: "en-ext", "zho_Hans", "a/b".
        return self.root / task / "units" / f"{text_digest(unit)[:16]}.json"


def _items_beside(path: Path) -> Path:
    """Return the path of the items of the unit in `path`."""
    return path.with_suffix(SUFFIX)


def _read(path: Path, task: str, made_by: str, with_items: bool) -> UnitResult | None:
    """Return the unit in a file; None if it is damaged or was made by something else.

    Damaged is, too, one whose items are not beside it as written, if they are wanted.
    """
    try:
        entry = read_json(path, "finished unit")
        said = entry.pop("sha256")
        if said != text_digest(entry) or entry["format"] != FORMAT:
            return None
        if (entry["task"], entry["made_by"]) != (task, made_by):
            return None
        after = entry["drawn_after"]
        row: Mapping[str, Any] = entry["row"]
        unit = (entry["split"], row["hf_subset"])
        return UnitResult(
            unit=unit,
            row=row,
            drawn_after=None if after is None else tuple((s, u) for s, u in after),
            encode_seconds=float(entry["encode_seconds"]),
            score_seconds=float(entry["score_seconds"]),
            meter=Meter(**entry["meter"]),
            hardware=dict(entry["hardware"]),
            items=_read_items(path, unit, entry["items"]) if with_items else None,
        )
    except (UserError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _read_items(path: Path, unit: Unit, digest: str) -> Items | None:
    """Return the items of the unit in `path`; None if it has none.

    Raises:
        ValueError: they are not there as written.
        UserError: they are not readable.
    """
    if digest == NONE:
        return None
    beside = _items_beside(path)
    if not is_data_file(beside) or file_digest(beside) != digest:
        raise ValueError("its items are not as written")
    return read_items(beside)[unit]
