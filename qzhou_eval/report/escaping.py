"""Text that came from files, made harmless where it is shown: Markdown, HTML, CSV.

A terminal gets `plain` text: one line without control characters.
"""

from __future__ import annotations

import html
import re

import pandas as pd

from qzhou_eval.errors import plain

FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula, in full width too."""
TEXT_SIGN = "'"
"""Put before such a text, as one does in a spreadsheet by hand."""

_MARKUP = re.compile(r"[\\|<>*_`\[\]~$&]")
# Of a text that stands in a paragraph of its own.
_BLOCK_START = re.compile(r"^([-+#=]|\d{1,9}[.)](?=\s|$))")


def cell(value: object) -> str:
    """Return `value` as Markdown: nothing in it ends a table's cell or starts markup."""
    text = _MARKUP.sub(r"\\\g<0>", plain(value))
    return _BLOCK_START.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", text)


def html_text(value: object) -> str:
    """Return `value` as HTML text, also good between the quotes of an attribute."""
    return html.escape(plain(value), quote=True)


def csv_text(frame: pd.DataFrame) -> str:
    """Return `frame` as CSV without its index; None becomes an empty field.

    Numbers stay numbers. A text that a spreadsheet would take for a formula has an apostrophe
    before it; pandas and csv readers get it as a text with that apostrophe.
    """
    harmless = frame.map(_csv_cell).rename(columns=_csv_cell)
    return harmless.to_csv(index=False, lineterminator="\n")


def _csv_cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = plain(value)
    return TEXT_SIGN + text if text.startswith(FORMULA_STARTS) else text
