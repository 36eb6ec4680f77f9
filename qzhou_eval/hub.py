"""The hub's bad days: which of its errors pass by themselves, and how long to wait for that."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TypeVar

from qzhou_eval.errors import one_line_text

T = TypeVar("T")

TRIES = 6
"""How often a call is made before its error is taken for lasting."""
FIRST_WAIT = 1.0
"""Seconds before the second try; each further wait is twice as long."""
FIRST_WAIT_VARIABLE = "QZHOU_EVAL_RETRY_SECONDS"
LONGEST_WAIT = 60.0
LONGEST_ASKED_WAIT = 300.0
"""The longest that a hub's own Retry-After is waited for, in seconds."""

NAP = 0.2
"""Seconds after which a waiting thread looks up."""

TRANSIENT_STATUS = (408, 425, 429)
# By name: which of these libraries is there depends on the generation of huggingface_hub.
TRANSIENT_CLASSES = {
    ("requests", "ConnectionError"),
    ("requests", "Timeout"),
    ("requests", "ChunkedEncodingError"),
    ("urllib3", "ProtocolError"),
    ("urllib3", "TimeoutError"),
    ("httpx", "TransportError"),
    ("aiohttp", "ClientConnectionError"),
    ("aiohttp", "ClientPayloadError"),
    ("http", "IncompleteRead"),
    ("asyncio", "TimeoutError"),
}
OFFLINE = ("OfflineModeIsEnabled", "offline mode is enabled")
LASTING = ("CERTIFICATE_VERIFY_FAILED",)
"""Words of connection errors that no waiting mends."""
HALF_A_FILE = "Consistency check failed"
"""How huggingface_hub tells of a body that broke off."""


class BrokenOffError(ConnectionError):
    """A body that ended before its end."""


def transient(error: BaseException) -> bool:
    """Whether `error` may be gone on another try: a lost connection, a hub that is busy or ill.

    What it was raised from counts as well, the nearest that says anything deciding. Not: access
    refused, nothing of that name, and the offline mode.
    """
    for link in _chain(error):
        text = str(link)
        if any(word in text or type(link).__name__ == word for word in OFFLINE):
            return False
        if any(word in text for word in LASTING):
            return False
        status = _status(link)
        if status is not None:
            return status in TRANSIENT_STATUS or status >= 500
        if isinstance(link, ConnectionError | TimeoutError) or HALF_A_FILE in text:
            return True
        kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(link).__mro__}
        if kinds & TRANSIENT_CLASSES:
            return True
    return False


def patiently(
    call: Callable[[], T],
    tell: Callable[[str], None] | None = None,
    *,
    tries: int = TRIES,
    sleep: Callable[[float], object] | None = None,
) -> T:
    """Return what `call` returns, called again after a while when its error is a transient one.

    Waits double, by a random share less each, so that many who were turned away together do not
    come back together; a hub that says how long to wait is waited for so long.

    Args:
        call: Does the asking. It must bear being called again.
        tell: Is told, in a line, of each wait; by default it is written to stderr.
        tries: How often it is called at most.
        sleep: Waits for some seconds; by default so that Ctrl-C ends it.

    Raises:
        Exception: what the last call raised, as it is.
    """
    for number in range(1, tries):
        try:
            return call()
        except Exception as error:
            if not transient(error):
                raise
            wait = _wait(error, number)
            told = f"{in_words(error)}: try {number + 1} of {tries} in {wait:.0f} s"
        (tell or _to_stderr)(told)
        (sleep or _sleep)(wait)
    return call()


def in_words(error: BaseException) -> str:
    """Return what `error` says in one line, without what it is wrapped in.

    urllib3 and requests put errors into errors; the text of the outermost shows all of them.
    """
    said: object = error
    while isinstance(said, BaseException) and said.args:
        if not isinstance(said.args[0], BaseException | str):
            break
        said = said.args[0]
    return one_line_text(said, limit=200) or type(error).__name__


def _wait(error: BaseException, number: int) -> float:
    """Return the seconds to wait after the failure `number`."""
    asked = next((s for s in map(_retry_after, _chain(error)) if s is not None), None)
    if asked is not None:
        return min(asked, LONGEST_ASKED_WAIT)
    try:
        first = float(os.environ.get(FIRST_WAIT_VARIABLE, FIRST_WAIT))
    except ValueError:
        first = FIRST_WAIT
    longest = min(LONGEST_WAIT, max(first, 0.0) * 2.0 ** (number - 1))
    return longest * (0.5 + 0.5 * random.random())


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "status", None)
    return status if isinstance(status, int) else None


def _retry_after(error: BaseException) -> float | None:
    """Return what the response of `error` says in its Retry-After, in seconds."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    value = headers.get("Retry-After")
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=timezone.utc)
        seconds = (when - datetime.now(timezone.utc)).total_seconds()
    # NaN compares with nothing.
    return max(seconds, 0.0) if seconds == seconds else None


def _sleep(seconds: float) -> None:
    """Sleep in short naps.

    With torch and its like imported, the system hands Ctrl-C to some other thread, and the main
    one learns of it only when it wakes.
    """
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, NAP))


def _to_stderr(told: str) -> None:
    print(told, file=sys.stderr)
