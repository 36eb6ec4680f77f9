"""Where files come from: the hub, or a folder that was fetched before."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from qzhou_eval.errors import UserError, one_line
from qzhou_eval.fetch.listing import ListedFile, Listing, Wanted, make_listing
from qzhou_eval.fetch.watching import Stop, StoppedError, Watcher
from qzhou_eval.fetched import Kind, find_record, folder_of
from qzhou_eval.hub import BrokenOffError, in_words, patiently, transient

LISTING_TIMEOUT = 60.0
"""Seconds for the hub to list a commit's files."""
WRONG_TRIES = 3
"""How often a file is fetched whose bytes come wrong."""
BLOCK = 1 << 16
"""Bytes read at a time; of a connection that drops, no more than these are lost."""


class Source(Protocol):
    """Lists repositories and gets their files."""

    def listing(self, wanted: Wanted) -> Listing:
        """Return what the repository holds.

        Raises:
            UserError: it is not to be had.
        """

    def get(self, listing: Listing, file: ListedFile, part: Path) -> None:
        """Bring the bytes of `file` to `part`, where some of them may be already; verify them.

        Raises:
            UserError: they are not to be had, or are wrong.
        """


class HubSource:
    """The hub, or the mirror that HF_ENDPOINT names.

    Files are asked for by plain requests of huggingface_hub's own session (its proxies, token and
    addresses), not by its hf_hub_download: that asks for the headers of each file besides, which
    plain mirrors do not all send, appends to what it has without looking whether the mirror went
    on there, and waits by a clock of its own.
    """

    def __init__(self, watch: Watcher, stop: Stop) -> None:
        self._watch = watch
        self._stop = stop

    def listing(self, wanted: Wanted) -> Listing:
        """Ask the hub for the files of a commit; see `Source`."""
        from huggingface_hub import HfApi

        api = HfApi()
        ask = api.model_info if wanted.kind is Kind.MODEL else api.dataset_info
        try:
            info = patiently(
                lambda: ask(
                    wanted.name,
                    revision=wanted.revision or None,
                    files_metadata=True,
                    timeout=LISTING_TIMEOUT,
                ),
                lambda told: self._watch.say(f"{wanted.name}: {told}"),
                sleep=self._stop.sleep,
            )
        except Exception as error:
            raise UserError(f"{wanted.name}: {_told(error, wanted)}") from error
        files = [
            ListedFile(
                path=str(sibling.rfilename),
                size=sibling.size if isinstance(sibling.size, int) else -1,
                sha256=str(sibling.lfs.sha256) if sibling.lfs else "",
                blob=str(sibling.blob_id or "") if not sibling.lfs else "",
            )
            for sibling in info.siblings or ()
        ]
        return make_listing(wanted, str(info.sha or ""), files)

    def get(self, listing: Listing, file: ListedFile, part: Path) -> None:
        """Download a file, from where an earlier download of it stopped; see `Source`."""
        name = listing.wanted.name
        for number in range(1, WRONG_TRIES + 1):
            self._complete(listing, file, part)
            if file.is_at(part):
                return
            size, found = part.stat().st_size, file.digest(part)
            part.unlink()
            self._watch.advance(-size)
            if number < WRONG_TRIES:
                self._watch.say(f"{name}: {file.path} came with wrong bytes; it is fetched again")
        raise UserError(
            f"{name}: {file.path} came with wrong bytes {WRONG_TRIES} times: expected "
            f"{file.size:,} bytes of digest {file.expected}, found {size:,} of {found}"
        )

    def _complete(self, listing: Listing, file: ListedFile, part: Path) -> None:
        """Download what is missing of a file, through as many dropped connections as it takes.

        Given up when a whole round of tries has brought nothing more.
        """
        furthest = _size(part)
        while True:
            try:
                return patiently(
                    lambda: self._go_on(listing, file, part),
                    lambda told: self._watch.say(f"{listing.wanted.name}: {told}"),
                    sleep=self._stop.sleep,
                )
            except StoppedError:
                raise
            except Exception as error:
                passes = transient(error)
                if passes and _size(part) > furthest:
                    furthest = _size(part)
                    continue
                if isinstance(error, OSError) and not (hasattr(error, "response") or passes):
                    raise  # the disk's, not the hub's
                told = _told(error, listing.wanted)
                raise UserError(f"{listing.wanted.name}: {file.path}: {told}") from error

    def _go_on(self, listing: Listing, file: ListedFile, part: Path) -> None:
        """Download the rest of a file in one request."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        self._stop.check()
        have = _size(part)
        if have > file.size:
            part.unlink()
            self._watch.advance(-have)
            have = 0
        part.parent.mkdir(parents=True, exist_ok=True)
        if have == file.size:
            part.touch()
            return
        url = hf_hub_url(
            listing.wanted.name,
            file.path,
            repo_type=listing.wanted.kind.value,
            revision=listing.revision,
        )
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with get_session().get(url, headers=headers, stream=True, timeout=_timeout()) as response:
            if response.status_code == 416:
                part.unlink(missing_ok=True)
                self._watch.advance(-have)
                raise BrokenOffError(f"{file.path}: the hub would not go on where it stopped")
            hf_raise_for_status(response)
            begins = response.headers.get("Content-Range", "")
            if have and not (response.status_code == 206 and begins.startswith(f"bytes {have}-")):
                self._watch.advance(-have)  # the whole file once more
                have = 0
            with part.open("ab" if have else "wb") as out:
                for block in response.iter_content(BLOCK):
                    self._stop.check()
                    out.write(block)
                    have += len(block)
                    self._watch.advance(len(block))
                    if have > file.size:
                        break
        if have < file.size:
            raise BrokenOffError(f"{file.path}: {have:,} of {file.size:,} bytes came")


class FolderSource:
    """A folder that `qzhou-eval fetch` filled, a colleague's say."""

    def __init__(self, root: Path, watch: Watcher, stop: Stop) -> None:
        self._root = root
        self._watch = watch
        self._stop = stop

    def listing(self, wanted: Wanted) -> Listing:
        """Return what the folder's record has; see `Source`."""
        record = find_record(self._root, wanted.kind, wanted.name)
        if record is None:
            raise UserError(f"{wanted.name}: {self._root} has no record of it")
        if wanted.revision and record.revision != wanted.revision:
            raise UserError(
                f"{wanted.name}: {self._root} holds it at commit {record.revision}, and "
                f"{wanted.revision} is wanted"
            )
        files = tuple(
            ListedFile(path, file.size, sha256=file.sha256)
            for path, file in sorted(record.files.items())
        )
        return Listing(wanted, record.revision, files, record.left_out, record.converted)

    def get(self, listing: Listing, file: ListedFile, part: Path) -> None:
        """Copy a file; what counts is what was written; see `Source`."""
        wanted = listing.wanted
        source = folder_of(self._root, wanted.kind, wanted.name) / file.path
        part.parent.mkdir(parents=True, exist_ok=True)
        self._watch.advance(-_size(part))
        digest, size = hashlib.sha256(), 0
        if not source.is_file():
            raise UserError(
                f"{wanted.name}: {source} is missing, which the record there lists; look it "
                f"through with: qzhou-eval fetch --verify {self._root}"
            )
        with source.open("rb") as old, part.open("wb") as new:
            while block := old.read(1 << 22):
                self._stop.check()
                new.write(block)
                digest.update(block)
                size += len(block)
                self._watch.advance(len(block))
        if digest.hexdigest() != file.sha256:
            part.unlink()
            self._watch.advance(-size)
            raise UserError(
                f"{wanted.name}: {source} is not what the record there says: expected "
                f"{file.size:,} bytes of sha256 {file.sha256}, found {size:,} of "
                f"{digest.hexdigest()}"
            )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _timeout() -> float:
    from huggingface_hub import constants

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)


def _told(error: Exception, wanted: Wanted) -> str:
    """Return what the hub's error means, in words."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub = f"the hub ({constants.ENDPOINT})"
    if isinstance(error, GatedRepoError):
        return "access to it must be asked for on the hub, then: huggingface-cli login"
    if isinstance(error, RevisionNotFoundError):
        return f"{hub} knows no revision {wanted.revision or 'main'} of it"
    if isinstance(error, RepositoryNotFoundError):
        return f"{hub} knows no such {wanted.kind.value}, or shows it to its owners alone"
    if isinstance(error, EntryNotFoundError):
        return f"{hub} lists it and does not have it"
    if isinstance(error, HFValidationError):
        return one_line(error, limit=160)
    lasting = " after several tries" if transient(error) else ""
    return f"{hub} failed{lasting}: {in_words(error)}"
