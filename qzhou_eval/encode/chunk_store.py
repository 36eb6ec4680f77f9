"""Vectors of long encode calls, kept on disk chunk by chunk while their task is under way.

A run that was killed takes them from there. A chunk is found by everything that decides its
vectors, is read back to the bit or not at all, and takes two bytes a number where the model
computed in half precision.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from qzhou_eval.encode.vectors import Vectors
from qzhou_eval.files import TEMPORARY

FORMAT = 1
SUFFIX = ".vectors"
LEAST_TEXTS = 32
"""Texts of a chunk worth keeping: fewer are encoded again as fast as they are found."""
RESERVE_BYTES = 256 * 2**20
"""Disk space that is left to others: to the result files, first of all."""
HEADER_BYTES = 4096
"""Longest header that is read: what comes before the first line's end."""


@dataclass(frozen=True)
class Chunk:
    """Vectors of a chunk, and what making them came to.

    Attributes:
        vectors: (texts, width), float32.
        tokens: Tokens of its texts.
        split_batches: Batches computed in parts, for lack of memory.
    """

    vectors: Vectors
    tokens: int = 0
    split_batches: int = 0


@dataclass
class Space:
    """The disk space that all stores of a run share.

    Attributes:
        root: Folder that all of them are below.
        limit: Most bytes; 0 to keep nothing.
        used: Bytes that are taken.
        refused: Why a chunk was not kept, the first time; empty as long as all were.
        evict: Makes room, where that is possible, before something is refused.
    """

    root: Path
    limit: int
    used: int = 0
    refused: str = ""
    evict: Callable[[], None] = field(default=lambda: None, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def take(self, size: int) -> bool:
        """Set `size` bytes aside; False, and remember why, if there are not as many."""
        with self._lock:
            if self.used + size > self.limit:
                self.evict()
            if self.used + size > self.limit:
                return self.refuse(f"--cache-limit of {self.limit / 2**30:.3g} GiB is reached")
            try:
                free = shutil.disk_usage(self.root).free
            except OSError as error:
                return self.refuse(f"{self.root}: {error.strerror}")
            if free - size < RESERVE_BYTES:
                return self.refuse(f"no more than {free / 2**20:,.0f} MiB are free in {self.root}")
            self.used += size
            return True

    def give_back(self, size: int) -> None:
        """Return bytes that were taken."""
        with self._lock:
            self.used -= size

    def refuse(self, why: str) -> bool:
        """Remember why something was not kept; False."""
        self.refused = self.refused or why
        return False


class ChunkStore:
    """The chunks of one task.

    Args:
        folder: Where they are; is made when the first is written.
        made_by: Digest of all that decides vectors beside the texts: recipe with its weights,
            mode, versions of packages.
        space: What may be taken of the disk.
    """

    def __init__(self, folder: Path, made_by: str, space: Space) -> None:
        self._folder, self._made_by, self._space = folder, made_by, space
        self._own: set[str] = set()

    def key(self, texts: Sequence[str], prompt: str, batch_size: int, devices: int = 1) -> str:
        """Return the name of the vectors that these texts get in this company and order.

        Texts as the task has them and the prompt before them: with the recipe, these give the
        strings that reach the tokenizer, and the order of the batches as well.
        """
        digest = hashlib.sha256()
        for part in (self._made_by, prompt, str(batch_size), str(devices), *texts):
            # Surrogates can come out of JSON; lengths keep parts apart.
            data = part.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(data))
            digest.update(data)
        return digest.hexdigest()

    def read(self, key: str, count: int, width: int) -> Chunk | None:
        """Return the chunk `key` that an earlier run wrote, of `count` texts; None if it did not.

        A task may hand over the same texts twice: a run encodes them twice, as the procedure has
        it. A file that is not as it was written is removed.
        """
        if key in self._own:
            return None
        path = self._path(key)
        try:
            with path.open("rb") as file:
                head = file.readline(HEADER_BYTES)
                body = file.read()
        except OSError:
            return None
        chunk = _decoded(head, body, key, (count, width))
        if chunk is None:
            self._remove(path)
            return None
        return chunk

    def write(self, key: str, chunk: Chunk) -> None:
        """Keep a chunk, if it is worth it, sound, and there is space; a full disk is no error."""
        vectors = chunk.vectors
        if key in self._own or len(vectors) < LEAST_TEXTS or not np.isfinite(vectors).all():
            return
        if not vectors.any(axis=1).all():
            return  # nor is an all-zero vector one to score from
        kind, body = _encoded(vectors)
        head = {
            "format": FORMAT,
            "key": key,
            "kind": kind,
            "shape": vectors.shape,
            "tokens": chunk.tokens,
            "split_batches": chunk.split_batches,
        }
        line = json.dumps({**head, "sha256": _digest(head, body)}).encode() + b"\n"
        if not self._space.take(len(line) + len(body)):
            return
        path = self._path(key)
        self._remove(path)
        temporary = path.with_suffix(TEMPORARY)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Not brought to the disk at once: what a power cut leaves of it does not pass `read`.
            with temporary.open("wb") as file:
                file.write(line)
                file.write(body)
            temporary.replace(path)
            self._own.add(key)
        except OSError as error:
            self._space.give_back(len(line) + len(body))
            self._space.refuse(f"{self._folder}: {error.strerror}")
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _remove(self, path: Path) -> None:
        """Remove a file that is of no use, and give its bytes back."""
        with suppress(OSError):
            size = path.stat().st_size
            path.unlink()
            self._space.give_back(size)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{SUFFIX}"


def stored_bytes(root: Path) -> int:
    """Return the bytes of all chunks at or below `root`."""
    return sum(size for _, size in _sizes(root))


def _sizes(root: Path) -> Iterable[tuple[Path, int]]:
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(SUFFIX):
                path = Path(folder) / name
                with suppress(OSError):
                    yield path, path.stat().st_size


def _encoded(vectors: Vectors) -> tuple[str, bytes]:
    """Return how the numbers are written, in as few bytes as hold every bit, and the bytes."""
    whole = np.ascontiguousarray(vectors, dtype="<f4")
    bits = whole.view("<u4")
    if not (bits & 0xFFFF).any():  # bfloat16 is the upper half of a float32
        return "bfloat16", (bits >> 16).astype("<u2").tobytes()
    with np.errstate(over="ignore", under="ignore"):
        half = whole.astype("<f2")
    if np.array_equal(half.astype("<f4").view("<u4"), bits):
        return "float16", half.tobytes()
    return "float32", whole.tobytes()


_WIDTHS = {"bfloat16": 2, "float16": 2, "float32": 4}


def _digest(head: Mapping[str, Any], body: bytes) -> str:
    """Return a digest of a file's content, the header but for the digest itself included."""
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()


def _decoded(head: bytes, body: bytes, key: str, shape: tuple[int, int]) -> Chunk | None:
    """Return what a file holds; None if anything about it is not as `write` makes it."""
    try:
        said = json.loads(head)
        digest, kind = said.pop("sha256"), said["kind"]
        sound = (
            said["format"] == FORMAT
            and said["key"] == key
            and tuple(said["shape"]) == shape
            and len(body) == shape[0] * shape[1] * _WIDTHS[kind]
            and digest == _digest(said, body)
        )
        tokens, split_batches = int(said["tokens"]), int(said["split_batches"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    if not sound:
        return None
    if kind == "bfloat16":
        bits = np.frombuffer(body, dtype="<u2").astype("<u4") << 16
        vectors = bits.view("<f4")
    else:
        vectors = np.frombuffer(body, dtype="<f2" if kind == "float16" else "<f4").astype("<f4")
    return Chunk(vectors.reshape(shape), tokens, split_batches)
