"""A fetched folder looked through: is all there that was fetched, byte for byte?"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from qzhou_eval.errors import UserError
from qzhou_eval.fetch.place import Place, faults
from qzhou_eval.fetched import RECORDS, Kind, Record, find_records
from qzhou_eval.suite.library import arguments_for


@dataclass(frozen=True)
class Verified:
    """One repository, beside its record.

    Attributes:
        record: What was fetched.
        faults: What is missing, changed or too much, in words.
    """

    record: Record
    faults: tuple[str, ...]


def verify(root: Path) -> tuple[list[Verified], list[str]]:
    """Hash everything that was fetched into `root` and hold it against the records.

    Rows are not counted again: the same bytes have the same rows.

    Returns:
        Every repository, and the names of those that are still on their way.

    Raises:
        UserError: there is no record there.
    """
    records = list(find_records(root)) if root.is_dir() else []
    if not records:
        raise UserError(
            f"{root}: nothing was fetched there (no records in {root / RECORDS}); expected a "
            "folder that qzhou-eval fetch has filled"
        )
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = pool.map(lambda record: tuple(faults(root, record)), records)
        verified = [Verified(r, f) for r, f in zip(records, found, strict=True)]
    return verified, Place(root).incomplete()


def mending(root: Path, records: Iterable[Record]) -> list[str]:
    """Return the commands that fetch `records` anew, broken files alone."""
    records = list(records)
    where = f"--output-dir {shlex.quote(str(root))}"
    tasks = sorted({task for r in records if r.kind is Kind.DATASET for task in r.tasks})
    commands = [f"qzhou-eval fetch {arguments_for(tasks)} {where}"] if tasks else []
    return commands + [
        f"qzhou-eval fetch --model {shlex.quote(r.name)} --revision {r.revision} {where}"
        for r in records
        if r.kind is Kind.MODEL
    ]
