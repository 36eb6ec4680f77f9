"""What a repository of the hub holds at one commit: its files, with sizes and digests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from qzhou_eval.errors import UserError
from qzhou_eval.fetched import Kind, is_safe_path
from qzhou_eval.suite.suite import TaskSpec

COMMIT = re.compile(r"[0-9a-f]{40}")
READ_THOUGH_HIDDEN = (".huggingface.yaml",)
"""What `datasets` reads of the hidden files, all others of which are left out."""
OTHER_WEIGHTS = ("*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data", "*.gguf", "*.tflite")
OTHER_FOLDERS = ("onnx", "openvino", "coreml", "gguf")
"""Weights in formats that nothing here loads."""


@dataclass(frozen=True)
class Wanted:
    """A repository to fetch.

    Attributes:
        kind: What it holds.
        name: Its hub name.
        revision: The commit, or a branch or tag; empty for the main branch.
        tasks: The tasks that read it, completed.
    """

    kind: Kind
    name: str
    revision: str
    tasks: tuple[TaskSpec, ...] = ()

    @property
    def is_pinned(self) -> bool:
        """Whether a commit is named."""
        return COMMIT.fullmatch(self.revision) is not None


@dataclass(frozen=True)
class ListedFile:
    """A file of a commit.

    Attributes:
        path: Its path in the repository.
        size: Its bytes.
        sha256: Their digest, for a file stored with LFS or listed by a record.
        blob: Their digest as a git object, for any other.
    """

    path: str
    size: int
    sha256: str = ""
    blob: str = ""

    @property
    def expected(self) -> str:
        """The digest it must have."""
        return self.sha256 or self.blob

    def digest(self, path: Path) -> str:
        """Return the digest of the file `path`, of the kind this one is listed with."""
        if self.sha256:
            digest = hashlib.sha256()
        else:  # git's own name for the content: no secret hangs on it
            digest = hashlib.sha1(usedforsecurity=False)
            digest.update(f"blob {path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
        return digest.hexdigest()

    def is_at(self, path: Path) -> bool:
        """Whether `path` is a file with this one's bytes."""
        return (
            path.is_file()
            and path.stat().st_size == self.size
            and self.digest(path) == self.expected
        )


@dataclass(frozen=True)
class Listing:
    """The files of a commit that are fetched.

    Attributes:
        wanted: The repository.
        revision: The commit, 40 hex digits.
        files: Its files, in order of path.
        left_out: Paths of its files that are not fetched.
        converted: What these files were converted from, if they were (see `fetched.Record`).
    """

    wanted: Wanted
    revision: str
    files: tuple[ListedFile, ...]
    left_out: tuple[str, ...] = ()
    converted: Mapping[str, str] = field(default_factory=dict)


def make_listing(wanted: Wanted, revision: str, files: Iterable[ListedFile]) -> Listing:
    """Check what the hub says a commit holds, and choose what is fetched of it.

    Raises:
        UserError: another commit than the pinned one, a name that leads out of the folder, a file
            without digest, or nothing at all.
    """
    name = wanted.name
    if not COMMIT.fullmatch(revision) or (wanted.is_pinned and revision != wanted.revision):
        raise UserError(
            f"{name}: asked for commit {wanted.revision or 'of the main branch'}, and the hub "
            f"answered with {revision[:60] or 'none'}"
        )
    listed = {file.path: file for file in files}
    for path, file in listed.items():
        if not is_safe_path(path):
            raise UserError(f"{name}: the hub lists a file {path!r}, which leads out of its folder")
        if clash := next((str(p) for p in PurePosixPath(path).parents if str(p) in listed), ""):
            raise UserError(f"{name}: the hub lists {clash!r} as a file and as a folder")
        if file.size < 0 or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", file.expected):
            raise UserError(
                f"{name}: the hub lists {path} without size or digest, so it cannot be verified; "
                "name another mirror in HF_ENDPOINT"
            )
    left = _left_out(wanted.kind, listed)
    kept = tuple(listed[path] for path in sorted(listed) if path not in left)
    if not kept:
        raise UserError(f"{name}: the hub lists no files at commit {revision}")
    return Listing(wanted, revision, kept, tuple(sorted(left)))


def _left_out(kind: Kind, names: Iterable[str]) -> set[str]:
    """Return the files that nothing reads: hidden ones, and weights in a second format."""
    paths = [PurePosixPath(name) for name in names]
    left = {
        path
        for path in paths
        if any(part.startswith(".") for part in path.parts) and str(path) not in READ_THOUGH_HIDDEN
    }
    if kind is Kind.MODEL:
        # By folder: a module behind the transformer may have its weights in .bin alone.
        safe = {path.parent for path in paths if path.suffix == ".safetensors"}
        left |= {
            path
            for path in paths
            if any(fnmatch(path.name, pattern) for pattern in OTHER_WEIGHTS)
            or path.parts[0] in OTHER_FOLDERS
            or (path.suffix == ".bin" and path.parent in safe)
            or (path.name.endswith(".bin.index.json") and path.parent in safe)
        }
    return {str(path) for path in left}
