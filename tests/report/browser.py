"""A real browser for the report's page: what it asks for, complains of and shows."""

import os
import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
# Debian's chromium looks home at every start unless told not to.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SECONDS = 60


@contextmanager
def chromium():
    """A browser, or a skipped test that says what it lacks."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not os.access(CHROMIUM, os.X_OK):
        pytest.skip("no chromium on this machine (Debian: apt install chromium fonts-noto-cjk)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Opened:
    """A page that was opened from disk, with all that it asked for and said."""

    def __init__(self, browser, path, **options):
        self.requests, self.said = [], []
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(SECONDS * 1000)
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.page.goto(path.as_uri())
        self.drawn()

    def drawn(self):
        """Wait until the pictures are there."""
        self.page.wait_for_selector("body[data-drawn=yes]")

    def column(self, table, number):
        """Texts of the shown rows' cells in a column of a table."""
        return self.page.eval_on_selector_all(
            f"{table} tbody tr:not([hidden])",
            f"rows => rows.map(row => row.cells[{number}].textContent)",
        )

    def close(self):
        self.context.close()
