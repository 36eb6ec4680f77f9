"""Take the documentation's pictures of the report's page, anew: ``python docs/images/take.py``.

Needs chromium, and the published run in ``../shared/reference``.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.report.browser import Opened, chromium  # noqa: E402

HERE = Path(__file__).parent
RUNS = (ROOT.parent / "shared" / "reference" / "published_runs", ROOT / "results" / "minilm")
BASELINE = "Qwen/Qwen3-Embedding-8B"


def main() -> None:
    """Write the pictures beside this file."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for lang, scheme in (("en", "light"), ("zh", "dark")):
            output = Path(folder, lang)
            command = ["report", *map(str, RUNS), "--with-peers", "--baseline", BASELINE]
            command += ["--lang", lang, "--output", str(output), "--format", "html"]
            subprocess.run([sys.executable, "-m", "qzhou_eval", *command], check=True, cwd=ROOT)
            view = {"width": 1180, "height": 760}
            opened = Opened(browser, output / "report.html", viewport=view, color_scheme=scheme)
            opened.page.screenshot(path=HERE / f"leaderboard-{lang}.png")
            opened.page.locator("#suite-1 figure").first.screenshot(
                path=HERE / f"differences-{lang}.png"
            )
            opened.close()
        phone = {"width": 390, "height": 760}
        opened = Opened(browser, Path(folder, "en", "report.html"), viewport=phone)
        opened.page.locator("#model-0").scroll_into_view_if_needed()
        opened.page.screenshot(path=HERE / "phone.png")
        opened.close()


if __name__ == "__main__":
    main()
