"""The folder that is fetched into: what is there, on its way, and how it comes to be seen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from qzhou_eval.errors import UserError, one_line
from qzhou_eval.fetch.listing import READ_THOUGH_HIDDEN, ListedFile, Listing, Wanted
from qzhou_eval.fetched import RECORDS, FileRecord, Kind, Record, folder_of, write_record
from qzhou_eval.files import file_digest, text_digest
from qzhou_eval.folder_lock import FETCH, lock_folder

STAGING = ".fetching"
"""Folder of what is on its way, below the folder that is fetched into: on the same disk, so that it
can become visible by a rename."""


class Place:
    """The folder that is fetched into.

    Attributes:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other fetches out of the folder.

        Raises:
            UserError: one is at work there, or it cannot be written.
        """
        records = self.root / RECORDS
        try:
            records.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.root}: cannot be written: {one_line(error)}") from error
        lock = lock_folder(records, purpose=FETCH)
        try:
            yield
        finally:
            lock.release()

    def folder(self, wanted: Wanted) -> Path:
        """Return where a repository's files are seen."""
        return folder_of(self.root, wanted.kind, wanted.name)

    def staged_root(self, kind: Kind) -> Path:
        """Return the folder that whole files wait in, laid out as the hub is."""
        return self.root / STAGING / "files" / f"{kind.value}s"

    def staged(self, wanted: Wanted) -> Path:
        """Return where a repository's whole files wait."""
        return self.staged_root(wanted.kind) / wanted.name

    def part(self, listing: Listing, path: str) -> Path:
        """Return where the first bytes of a file wait for the others."""
        name = text_digest([listing.wanted.kind, listing.wanted.name, listing.revision, path])
        return self.root / STAGING / "parts" / name[:32]

    def scratch(self, name: str) -> Path:
        """Return a folder for what is needed while fetching alone."""
        return self.root / STAGING / name

    def missing(self, listing: Listing) -> list[ListedFile]:
        """Return the files of a listing that are not staged yet, and stage those seen already."""
        staged, seen = self.staged(listing.wanted), self.folder(listing.wanted)
        missing = []
        for file in listing.files:
            target = staged / file.path
            if file.is_at(target):
                continue
            if file.is_at(seen / file.path):
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(seen / file.path, target)
            else:
                missing.append(file)
        return missing

    def check_replaceable(self, listing: Listing, record: Record | None) -> None:
        """Make sure that nothing of the user's own is lost when `listing` becomes visible.

        Raises:
            UserError: the folder that is seen has files that no fetch put there.
        """
        seen, wanted = self.folder(listing.wanted), listing.wanted
        listed = {file.path: file for file in listing.files}
        known = set(record.files) if record else set()
        for path in visible_files(seen):
            file = listed.get(path)
            if path not in known and not (file and file.is_at(seen / path)):
                raise UserError(
                    f"{wanted.name}: {seen / path} was not fetched, and commit "
                    f"{listing.revision} has {'other bytes there' if file else 'no such file'}: "
                    "move it away, or fetch into another folder"
                )

    def publish(
        self, listing: Listing, rows: dict[str, dict[str, int]], converted: dict[str, str]
    ) -> Record:
        """Let the staged files of a repository be seen, and write its record.

        Args:
            listing: What is staged.
            rows: Config to split to rows.
            converted: Files of the commit that the staged ones were converted from, if they were.
        """
        wanted = listing.wanted
        staged, seen = self.staged(wanted), self.folder(wanted)
        files = {path: _file_record(staged / path) for path in visible_files(staged)}
        old = self.scratch("old") / text_digest([wanted.kind, wanted.name])[:32]
        shutil.rmtree(old, ignore_errors=True)
        seen.parent.mkdir(parents=True, exist_ok=True)
        if seen.exists():
            if not seen.is_symlink():  # of a link nothing but itself is removed
                _move_hidden(seen, staged)
            old.parent.mkdir(parents=True, exist_ok=True)
            seen.rename(old)
        staged.rename(seen)
        record = Record(
            kind=wanted.kind,
            name=wanted.name,
            revision=listing.revision,
            files=files,
            rows=rows,
            tasks=tuple(sorted(spec.name for spec in wanted.tasks)),
            left_out=listing.left_out,
            converted=converted,
            fetched=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        write_record(self.root, record)
        shutil.rmtree(old, ignore_errors=True)
        return record

    def drop_strangers(self, listing: Listing) -> None:
        """Remove what another commit has left among the staged files."""
        staged = self.staged(listing.wanted)
        listed = {file.path for file in listing.files}
        for path in visible_files(staged):
            if path not in listed:
                (staged / path).unlink()

    def incomplete(self) -> list[str]:
        """Return the names of the repositories that are on their way."""
        found = set()
        for kind in Kind:
            root = self.staged_root(kind)
            for path in visible_files(root):
                found.add("/".join(path.split("/")[:2]))
        if any((self.root / STAGING / "parts").glob("*")):
            found.add("files half fetched")
        return sorted(found)

    def tidy(self) -> None:
        """Remove what is of no more use; what is on its way stays, of other fetches as well."""
        for name in ("old", "cache", "script"):
            shutil.rmtree(self.scratch(name), ignore_errors=True)
        staging = self.root / STAGING
        for folder in sorted([*staging.rglob("*"), staging], reverse=True):
            if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
                folder.rmdir()


def visible_files(folder: Path) -> list[str]:
    """Return the paths of all files below `folder`, but what an editor or a system hides there."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    # A hidden file that datasets reads counts like any other.
    shown = (
        path
        for path in found
        if path.name in READ_THOUGH_HIDDEN or not any(p.startswith(".") for p in path.parts)
    )
    return sorted(path.as_posix() for path in shown)


def _move_hidden(source: Path, target: Path) -> None:
    """Move what an editor, a system or git hides in `source` to the same places in `target`.

    Into what will be seen, before that takes the place of `source`: killed at any moment, it is in
    one of them.
    """
    for folder, below, files in os.walk(source):
        for name in [*below, *files]:
            place = target / Path(folder).relative_to(source) / name
            if name.startswith(".") and name not in READ_THOUGH_HIDDEN and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).rename(place)
        below[:] = [name for name in below if not name.startswith(".")]


def faults(root: Path, record: Record) -> list[str]:
    """Return what of the files of `record` is missing, changed or more than it has, in words."""
    folder = folder_of(root, record.kind, record.name)
    found = []
    for path, file in record.files.items():
        here = folder / path
        if not here.is_file():
            found.append(f"{path} is missing")
        elif here.stat().st_size != file.size:
            found.append(f"{path} is changed: {here.stat().st_size:,} bytes, not {file.size:,}")
        elif (digest := file_digest(here)) != file.sha256:
            found.append(f"{path} is changed: sha256 {digest[:16]}…, not {file.sha256[:16]}…")
    extra = [path for path in visible_files(folder) if path not in record.files]
    return found + [f"{path} is not of the commit" for path in extra]


def _file_record(path: Path) -> FileRecord:
    return FileRecord(path.stat().st_size, file_digest(path))


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
