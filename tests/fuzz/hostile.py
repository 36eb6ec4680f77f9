"""Documents that started out valid and were then tampered with, and what a reader may do then."""

import copy
import json
import math

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from qzhou_eval.errors import UserError

SETTINGS = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


def examples(count):
    return settings(max_examples=count, **SETTINGS)


TEXTS = (
    "",
    ".",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../b",
    "evil/repo--code.Class",
    "con",
    "x" * 300,
    "a|b",
    "a\nb",
    "=1+1",
    "+1",
    "@SUM(A1)",
    "\t=1",
    "\r-1",
    "[x](javascript:alert(1))",
    "<script>alert(1)</script>",
    "`x` \\",
    "[/]",
    "\x1b[2J",
    "\x9b31m",
    "\u202egnp",
    "\ud800",
    "\x00",
    "MTEB(eng, v2)",
    "mean_task",
)
NUMBERS = (0, -1, 1, 10**400, -(10**20), 1e308, 1e-300, math.nan, math.inf, True, False, None)

texts = st.sampled_from(TEXTS) | st.text(max_size=12)
scalars = texts | st.sampled_from(NUMBERS) | st.floats()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def _places(value, own=()):
    yield own
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _places(item, (*own, key))


@st.composite
def tampered(draw, document, most=3):
    """Draw `document` with up to `most` of its parts dropped, renamed, doubled or replaced."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(0, most))):
        # A text for a text leaves most documents valid: what is shown of them is then hostile.
        place = draw(st.sampled_from(list(_places(document))))
        if not place:
            if draw(st.integers(0, 9)) == 0:
                return draw(values)
            continue
        owner = document
        for key in place[:-1]:
            owner = owner[key]
        key = place[-1]
        kind = draw(st.sampled_from(("text", "text", "value", "drop", "rename", "twice", "deep")))
        if kind == "text" and not isinstance(owner[key], dict | list):
            owner[key] = draw(texts)
        elif kind == "value":
            owner[key] = draw(values)
        elif kind == "drop":
            del owner[key]
        elif kind == "rename" and isinstance(owner, dict):
            owner[draw(texts)] = owner.pop(key)
        elif kind == "twice" and isinstance(owner, list):
            owner.append(copy.deepcopy(owner[key]))
        elif kind == "deep":
            owner[key] = nested(draw(st.sampled_from((50, 70))))
    return document


@st.composite
def damaged(draw, data):
    """Draw `data` (bytes) as it is, or cut off, with flipped bits or with something put in."""
    kind = draw(st.sampled_from(("", "", "", "cut", "flip", "put", "bom", "crlf")))
    where = draw(st.integers(0, len(data)))
    if kind == "cut":
        return data[:where]
    if kind == "flip" and where < len(data):
        return (
            data[:where] + bytes([data[where] ^ (1 << draw(st.integers(0, 7)))]) + data[where + 1 :]
        )
    if kind == "put":
        extra = st.binary(max_size=4) | st.sampled_from((b"9" * 5000, b"[" * 2000, b"NaN", b"\0"))
        return data[:where] + draw(extra) + data[where:]
    if kind == "bom":
        return b"\xef\xbb\xbf" + data
    return data.replace(b"\n", b"\r\n") if kind == "crlf" else data


def as_json(value, ascii_only=True):
    text = json.dumps(value, indent=1, ensure_ascii=ascii_only)
    return text.encode("utf-8", "surrogatepass")


@st.composite
def json_bytes(draw, document):
    return draw(damaged(as_json(draw(tampered(document)), draw(st.booleans()))))


def _toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


@st.composite
def toml_bytes(draw, document):
    value = draw(tampered(document))
    table = value if isinstance(value, dict) else {"x": value}
    try:
        text = "".join(f"{json.dumps(k)} = {_toml(v)}\n" for k, v in table.items())
    except RecursionError:
        text = "a = " + "[" * 5000
    return draw(damaged(text.encode()))


def told(call):
    """Return what `call` gives; None where it refuses, in one printable line."""
    try:
        return call()
    except UserError as error:
        message = str(error)
    assert message
    assert message.isprintable()
    return None
