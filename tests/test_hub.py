"""What passes by itself, and how it is waited for."""

from http.client import IncompleteRead

import pytest
import requests
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from urllib3.exceptions import ProtocolError

from qzhou_eval.hub import FIRST_WAIT_VARIABLE, in_words, patiently, transient


def answered(status, kind=HfHubHTTPError, **headers):
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers)
    return kind(f"{status} Error", response=response)


def raised_from(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (requests.ConnectionError("refused"), True),
        (requests.ReadTimeout("slow"), True),
        (requests.exceptions.ChunkedEncodingError("broke off"), True),
        (ConnectionResetError("reset"), True),
        (TimeoutError("slow"), True),
        (answered(429), True),
        (answered(500), True),
        (answered(503), True),
        (answered(401), False),
        (answered(403), False),
        (answered(404, EntryNotFoundError), False),
        (OfflineModeIsEnabled("offline mode is enabled"), False),
        (ConnectionError("Couldn't reach 'a/b' on the Hub (LocalEntryNotFoundError)"), True),
        (ConnectionError("Couldn't reach 'a/b' on the Hub (OfflineModeIsEnabled)"), False),
        (raised_from(LocalEntryNotFoundError("no"), requests.ConnectionError("no")), True),
        (raised_from(LocalEntryNotFoundError("no"), OfflineModeIsEnabled("no")), False),
        (raised_from(FileNotFoundError("no"), answered(500)), True),
        (requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"), False),
        (ValueError("a bug"), False),
        (OSError(28, "No space left on device"), False),
    ],
)
def test_what_passes(error, passes):
    assert transient(error) is passes


class Flaky:
    def __init__(self, *errors):
        self.errors = list(errors)

    def __call__(self):
        if self.errors:
            raise self.errors.pop(0)
        return "here"


def test_waits_double_and_are_told(monkeypatch):
    monkeypatch.delenv(FIRST_WAIT_VARIABLE, raising=False)
    waits, told = [], []
    call = Flaky(*[requests.ConnectionError("refused")] * 4)
    assert patiently(call, told.append, sleep=waits.append) == "here"
    assert [0.5 * 2**i <= wait <= 2**i for i, wait in enumerate(waits)] == [True] * 4
    assert told[0].startswith("refused: try 2 of 6 in ")


@pytest.mark.parametrize(
    ("header", "wait"),
    [("7", 7), ("0.5", 0.5), ("99999", 300), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_the_hubs_own_wait_is_kept_to(header, wait):
    waits = []
    call = Flaky(answered(429, **{"Retry-After": header}))
    assert patiently(call, lambda told: None, sleep=waits.append) == "here"
    assert waits == [wait]


def test_errors_in_errors_are_told_by_the_innermost():
    inner = ProtocolError("Connection broken", IncompleteRead(b"", 5))
    assert in_words(requests.exceptions.ChunkedEncodingError(inner)) == "Connection broken"
    assert in_words(TimeoutError()) == "TimeoutError"
    assert in_words(OSError(28, "No space left")) == "[Errno 28] No space left"


def test_the_last_error_comes_as_it_is():
    errors = [requests.ConnectionError(str(i)) for i in range(9)]
    with pytest.raises(requests.ConnectionError, match="2"):
        patiently(Flaky(*errors), lambda told: None, tries=3, sleep=lambda s: None)


def test_what_does_not_pass_is_not_tried_again():
    call = Flaky(answered(404, EntryNotFoundError), answered(404, EntryNotFoundError))
    with pytest.raises(EntryNotFoundError):
        patiently(call, sleep=pytest.fail)
    assert len(call.errors) == 1


def test_waiting_can_be_interrupted():
    def interrupt(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        patiently(Flaky(TimeoutError()), lambda told: None, sleep=interrupt)
