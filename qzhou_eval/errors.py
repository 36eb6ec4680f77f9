"""Errors a user can mend, and the words they are told in."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Wrong input: one line that says what is wrong, what was expected and what to do.

    The command line prints it without a traceback and exits with 2.
    """

    def __str__(self) -> str:
        """Return the message as one printable line, whatever names from files it quotes."""
        return plain(super().__str__())


class VectorError(UserError):
    """A text got a vector that no score may be computed from (not finite, or all zero)."""


class StorageError(UserError):
    """Something could not be written: the disk is full, or the folder may not be written to."""


class DeviceLostError(Exception):
    """A device went away under its work, and what it was doing could not be done elsewhere."""


class DevicesLostError(DeviceLostError):
    """No device is left: there is no use in going on with other tasks."""


class NothingToCompareError(UserError):
    """A folder of results that no published scores can be held against."""


def nearest(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """Return the names in `known` closest to `name`, as the tail of an error message."""
    known = sorted(set(known))
    by_lower = {item.lower(): item for item in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=limit, cutoff=0.5)
    if close:
        return "did you mean " + ", ".join(by_lower[item] for item in close) + "?"
    if len(known) <= 12:
        return "known: " + ", ".join(known)
    return f"{len(known)} are known, none of them close to it"


def one_line(error: BaseException, *, limit: int = 300) -> str:
    """Return the message of `error` folded into one line of at most `limit` characters."""
    return one_line_text(str(error), limit=limit) or type(error).__name__


def one_line_text(value: object, *, limit: int = 300) -> str:
    """Return `value` as one line of at most `limit` printable characters.

    For texts from files: nothing in them moves a terminal's cursor or starts a new line.
    """
    text = plain(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plain(value: object) -> str:
    """Return `value` as one line of printable characters, however long.

    Left out are control characters, escapes, lone surrogates, and what changes the direction of
    writing or takes no room; any white space becomes a single space.
    """
    text = " ".join(str(value).split())
    if text.isprintable():
        return text
    # Split once more: between two spaces there may have been nothing that is seen.
    return " ".join("".join(c for c in text if c.isprintable()).split())
