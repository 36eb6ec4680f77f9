"""The page in a real browser: what it shows, and that it asks nobody for anything."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from qzhou_eval.report.board import boards
from qzhou_eval.report.files import Format, report_files
from qzhou_eval.report.tables import TABLE_DIGITS, points
from qzhou_eval.report.words import Lang
from tests.report.browser import Opened, chromium
from tests.report.runs import HOSTILE, rows_of, task, write_run

LIMIT = 1.5e6
QWEN = "Qwen/Qwen3-Embedding-8B"


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def rows(reference, results):
    """The published run and the real ones of all-MiniLM-L6-v2, with the published rows."""
    return rows_of(reference / "published_runs", results, with_peers=True)


@pytest.fixture(scope="module")
def results():
    from pathlib import Path

    return Path(__file__).parents[2] / "results" / "minilm"


@pytest.fixture(scope="module")
def page(rows, tmp_path_factory):
    [(name, text)] = report_files(rows, Format.HTML, baseline=("published", QWEN)).items()
    path = tmp_path_factory.mktemp("page") / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, page):
    opened = Opened(browser, page, viewport={"width": 1280, "height": 900})
    yield opened
    opened.close()
    assert opened.said == []
    assert opened.requests == [page.as_uri()]


def numbers(texts):
    return [float(text) for text in texts if text != "–"]


def test_it_is_small_and_names_nothing_outside(page):
    text = page.read_text(encoding="utf-8")
    assert len(text.encode()) < LIMIT
    head = text[: text.index("<script>")]
    # Beside itself, only an icon that is empty.
    assert set(re.findall(r'(?:src|href)="([^"#]*)', head)) <= {"data:,", ""}
    assert "default-src 'none'" in head
    assert "unsafe-eval" not in head


def test_figures_are_those_of_the_csv(opened, rows):
    """Every figure of every leaderboard, and every score of a table of tasks, in its place."""
    files = report_files(rows, Format.CSV)
    lines = list(csv.DictReader(io.StringIO(files["leaderboard.csv"])))
    tasks = list(csv.DictReader(io.StringIO(files["tasks-wide.csv"])))
    for number, board in enumerate(boards(rows)):
        table = f"#leaderboard-{number}"
        own = [line for line in lines if line["suite"] == board.name]
        columns = ["mean_task", "mean_task_type", *board.types]
        for place, column in enumerate(columns):
            expected = [float(line[column]) if line[column] else None for line in own]
            shown = [None if t == "–" else float(t) for t in opened.column(table, place + 2)]
            assert shown == expected, (board.name, column)
        own = [row for row in tasks if row["suite"] == board.name]
        assert opened.column(f"#tasks-{number}", 0) == [row["task"] for row in own]
        for place, line in enumerate(board.lines):
            scores = [line.row.scores.tasks.get(row["task"]) for row in own]
            expected = ["–" if s is None else f"{points(s, TABLE_DIGITS):.2f}" for s in scores]
            assert opened.column(f"#tasks-{number}", place + 2) == expected, line.label
            # Four digits there.
            csv_scores = [float(row[line.label]) if row[line.label] else None for row in own]
            assert csv_scores == [points(score) for score in scores], line.label


def test_a_heading_sorts_by_mouse_and_keyboard(opened):
    page, table = opened.page, "#leaderboard-1"
    heading = page.locator(f"{table} thead th").nth(4)
    heading.locator("button").click()
    falling = opened.column(table, 4)
    assert heading.get_attribute("aria-sort") == "descending"
    assert numbers(falling) == sorted(numbers(falling), reverse=True)
    assert falling[-1] == "–"
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    rising = opened.column(table, 4)
    assert heading.get_attribute("aria-sort") == "ascending"
    assert numbers(rising) == sorted(numbers(falling))
    assert rising[-1] == "–"
    page.locator(f"{table} thead th button").first.press("Space")
    names = opened.column(table, 0)
    assert names == sorted(names, key=str.lower)
    assert heading.get_attribute("aria-sort") is None


def test_filters_leave_what_fits_all_of_them(opened):
    page, table = opened.page, "#leaderboard-0"
    every = opened.column(table, 0)
    page.fill(f"input[data-filters='{table[1:]}']", "qzhou")
    assert opened.column(table, 0) == [name for name in every if "QZhou" in name]
    page.select_option(f"select[data-filters='{table[1:]}']", "run")
    assert opened.column(table, 0) == ["Kingsoft-LLM/QZhou-Embedding"]
    assert page.locator(f"[data-counts='{table[1:]}']").inner_text().startswith(f"1 / {len(every)}")
    page.fill(f"input[data-filters='{table[1:]}']", "no such model")
    assert opened.column(table, 0) == []
    page.select_option("select[data-filters='tasks-0']", "Reranking")
    assert set(opened.column("#tasks-0", 1)) == {"Reranking"}


def drawn_differences(opened, number):
    """Task to difference, as the picture's tooltips and marks have it."""
    labels = opened.page.eval_on_selector_all(
        f"#differences-{number} svg [aria-roledescription='point']",
        "marks => marks.map(mark => mark.getAttribute('aria-label'))",
    )
    found = {}
    for label in labels:
        parts = dict(part.split(": ", 1) for part in label.split("; "))
        found[parts["Task"]] = float(parts["Difference"].replace("−", "-"))
    return found


def told_differences(opened, number):
    """The same of the table below the picture."""
    return {
        task: float(difference.replace("−", "-"))
        for task, difference in opened.page.eval_on_selector_all(
            f"#differences-table-{number} tbody tr",
            "rows => rows.map(row => [row.cells[0].textContent, row.cells[3].textContent])",
        )
    }


def test_the_baseline_is_the_readers_choice(opened, rows):
    board = boards(rows)[1]
    scores = {line.label: line.row.scores.tasks for line in board.lines}
    ours = "Kingsoft-LLM/QZhou-Embedding"

    def expected(model, baseline):
        return {
            task: pytest.approx(100 * (score - scores[baseline][task]), abs=2e-4)
            for task, score in scores[model].items()
            if task in scores[baseline]
        }

    assert opened.page.locator("#baseline-1 option:checked").inner_text() == f"{QWEN} (published)"
    assert drawn_differences(opened, 1) == expected(ours, f"{QWEN} (published)")
    assert told_differences(opened, 1) == expected(ours, f"{QWEN} (published)")
    other = "google/gemini-embedding-001 (published)"
    opened.page.select_option("#baseline-1", label=other)
    opened.drawn()
    assert drawn_differences(opened, 1) == expected(ours, other)
    mini = "sentence-transformers/all-MiniLM-L6-v2"
    opened.page.select_option("#model-1", label=mini)
    opened.drawn()
    assert drawn_differences(opened, 1) == expected(mini, other)
    assert told_differences(opened, 1) == expected(mini, other)


def test_profiles_are_of_the_models_that_are_ticked(opened):
    page = opened.page
    bars = "#profile-0 svg [aria-roledescription='bar']"
    before = page.locator(bars).count()
    page.locator("#profile-models-0 input").nth(5).check()
    opened.drawn()
    assert page.locator(bars).count() > before
    while page.locator("#profile-models-0 input:checked").count():
        page.locator("#profile-models-0 input:checked").first.uncheck()
    opened.drawn()
    assert page.locator("#profile-0 svg").count() == 0
    assert page.locator("#profile-0").inner_text()


@pytest.mark.parametrize(
    "options",
    [
        {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True},
        {"viewport": {"width": 320, "height": 600}},
        {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    ],
    ids=["phone", "small phone", "dark"],
)
def test_it_is_readable_on_a_phone_and_in_the_dark(browser, page, options):
    opened = Opened(browser, page, **options)
    wide = opened.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= options["viewport"]["width"]
    ink, paper = opened.page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    fill = opened.page.eval_on_selector("#differences-0 svg text", "t => getComputedStyle(t).fill")
    assert contrast(ink, paper) > 7
    assert contrast(fill, paper) > 7
    for kind in ("td.best", ".verdict", "p"):
        colour = opened.page.eval_on_selector(kind, "e => getComputedStyle(e).color")
        assert contrast(colour, paper) > 4.5, kind
    assert opened.said == []
    opened.close()


def contrast(one, other):
    """Contrast ratio of two CSS colours (WCAG 2.2, 1.4.3)."""

    def luminance(colour):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        parts = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_printed_in_the_dark_it_is_black_on_white(browser, page):
    opened = Opened(browser, page, color_scheme="dark", viewport={"width": 1000, "height": 800})
    opened.page.emulate_media(media="print", color_scheme="dark")
    fill = opened.page.eval_on_selector("#differences-0 svg text", "t => getComputedStyle(t).fill")
    body = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (fill, body) == ("rgb(0, 0, 0)", "rgb(255, 255, 255)")
    assert not opened.page.locator(".controls").first.is_visible()
    folds = opened.page.locator("details.printed")
    assert folds.count() > 4
    opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert folds.evaluate_all("all => all.every(fold => fold.open)")
    opened.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert folds.evaluate_all("all => all.every(fold => !fold.open)")
    opened.close()


def test_chinese_is_shown_in_a_font_that_has_it(browser, rows, tmp_path):
    [(name, text)] = report_files(rows, Format.HTML, lang=Lang.ZH).items()
    (tmp_path / name).write_text(text, encoding="utf-8")
    opened = Opened(browser, tmp_path / name)
    assert opened.page.locator("h1").inner_text() == "榜单"
    # Letters that no font has are all the same box: of the same width and the same pixels.
    drawn = opened.page.evaluate(
        """() => ['榜', '单'].map(letter => {
            const canvas = document.createElement('canvas');
            canvas.width = canvas.height = 40;
            const pen = canvas.getContext('2d');
            pen.font = '30px ' + getComputedStyle(document.body).fontFamily;
            pen.fillText(letter, 2, 32);
            return canvas.toDataURL();
        })"""
    )
    assert opened.said == []
    opened.close()
    if drawn[0] == drawn[1] and not must_have_chinese():
        pytest.skip("no font with Chinese letters on this machine (Debian: fonts-noto-cjk)")
    assert drawn[0] != drawn[1]


def must_have_chinese():
    """Whether a font with Chinese letters is installed, or would have to be."""
    if os.environ.get("CI"):
        return True
    fonts = shutil.which("fc-list") and subprocess.check_output(["fc-list", ":lang=zh"])
    return bool(fonts)


@pytest.fixture
def hostile(tmp_path):
    """A report of runs whose names are all that a page could mistake for its own."""
    suites = {"Mine": 0.5, "Yours": 0.25}
    folders = [
        write_run(
            tmp_path / "runs" / name,
            name + HOSTILE,
            f"{HOSTILE} {{{{w}}}}",
            suites,
            recipe={HOSTILE: HOSTILE, "pooling": ["<b>", None]},
            settings={"device": HOSTILE, "mode": "</style>"},
            arguments=["cmteb", HOSTILE],
            environment={"packages": {HOSTILE: "1"}, "hardware": {"device": "<i>"}},
        )
        for name in ("a", "b")
    ]
    [(name, text)] = report_files(rows_of(*folders), Format.HTML).items()
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_hostile_names_stay_text(browser, hostile):
    opened = Opened(browser, hostile)
    assert opened.said == []
    assert opened.requests == [hostile.as_uri()]
    assert opened.page.locator("img").count() == 0
    # One more than in the file: the library, unpacked.
    assert opened.page.locator("script").count() == 4
    named = [f"{name}{HOSTILE} (</style>)" for name in "ab"]
    assert sorted(opened.column("#leaderboard-0", 0)) == named
    opened.page.locator("details > summary").last.click()
    assert HOSTILE in opened.page.locator("#runs").inner_text()
    opened.page.locator("#differences-0 svg [aria-roledescription='point']").first.hover()
    assert opened.page.locator("img").count() == 0
    opened.page.fill("input[data-filters='leaderboard-0']", "b<img")
    assert opened.column("#leaderboard-0", 0) == named[1:]
    assert opened.said == []
    opened.close()


def test_a_run_of_which_nothing_came_is_shown(browser, tmp_path):
    folders = [
        write_run(
            tmp_path / "runs" / name,
            f"me/{name}",
            "own",
            {},
            suites=[{"name": "own", "tasks": [task("Mine")]}],
            tasks={"Mine": {"status": "failed", "error": "CUDA out of memory"}},
        )
        for name in "ab"
    ]
    [(name, text)] = report_files(rows_of(*folders), Format.HTML).items()
    (tmp_path / name).write_text(text, encoding="utf-8")
    opened = Opened(browser, tmp_path / name)
    assert opened.column("#leaderboard-0", 1) == ["0/1", "0/1"]
    assert opened.column("#leaderboard-0", 2) == ["–", "–"]
    opened.page.locator("#suite-0 summary").first.click()
    told = opened.page.locator("#suite-0").inner_text()
    assert "me/a: Mine: failed in run.json: CUDA out of memory" in told
    assert opened.said == []
    opened.close()


def test_what_a_browser_fills_in_again_filters(browser, page):
    opened = Opened(browser, page)
    every = len(opened.column("#leaderboard-0", 0))
    count = opened.page.locator("[data-counts='leaderboard-0']")
    assert count.inner_text().startswith(f"{every} / {every}")
    opened.page.evaluate(
        "document.querySelector('input[data-filters=leaderboard-0]').value = 'qwen'"
    )
    opened.page.evaluate("window.dispatchEvent(new Event('pageshow'))")
    assert len(opened.column("#leaderboard-0", 0)) == 3
    opened.close()


def test_a_drawing_that_fails_does_not_keep_the_next_from_being_drawn(browser, page):
    opened = Opened(browser, page)
    opened.page.evaluate(
        """() => {
            const whole = window.vegaEmbed;
            window.vegaEmbed = () => {
                window.vegaEmbed = whole;
                return Promise.reject(new Error("planted"));
            };
        }"""
    )
    opened.page.select_option("#baseline-1", index=3)
    opened.drawn()
    opened.page.select_option("#baseline-1", index=4)
    opened.drawn()
    assert opened.page.locator("#differences-1 svg").count() == 1
    opened.close()


def test_sixty_checkpoints_are_one_small_page(browser, rows, tmp_path):
    """With all tasks, and manifests as long as real ones: below the limit, in working order."""
    from qzhou_eval.suite.library import built_in

    packages = {f"package-{n}": f"1.{n}" for n in range(100)}
    names = [task.name for command in ("cmteb", "mteb") for task in built_in(command).tasks]
    folders = []
    for step in range(60):
        folder = write_run(
            tmp_path / "runs" / f"step-{step}",
            "mylab/my-embedding-7B-instruct-hard-negatives-long-name",
            "own",
            dict.fromkeys(names, 0.5 + step / 200),
            revision=f"checkpoint-{step * 200}",
            environment={"packages": packages, "python": "3.11"},
            recipe={f"field {n}": "value" for n in range(22)},
            started=f"2026-01-01T00:00:{step:02}",
        )
        folders.append(folder)
    [(name, text)] = report_files(
        [*rows_of(*folders), *(row for row in rows if row.published)], Format.HTML
    ).items()
    assert len(text.encode()) < LIMIT
    (tmp_path / name).write_text(text, encoding="utf-8")
    opened = Opened(browser, tmp_path / name)
    assert opened.page.locator("#time svg").count() == 1
    opened.page.select_option("#time-run", index=59)
    opened.drawn()
    shown = opened.page.locator("#profile-0 svg").text_content()
    assert "checkpoint-11800" in shown
    assert opened.page.locator("#runs details").count() == 61
    assert "package-7" in opened.page.locator("#runs details").first.text_content()
    assert "package-7" not in opened.page.locator("#runs details").last.text_content()
    assert opened.said == []
    opened.close()


class Elements(HTMLParser):
    """What elements a page has, without a browser."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_hostile_names_are_no_elements(hostile):
    """The same without a browser, so that it is checked everywhere."""
    parser = Elements()
    parser.feed(hostile.read_text(encoding="utf-8"))
    assert parser.tags.count("script") == 3
    assert not {"img", "b", "i"} & set(parser.tags)
    assert not [name for name in parser.attributes if name.startswith("on")]
    text = hostile.read_text(encoding="utf-8")
    data = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert json.loads(data)["suites"][0]["tasks"][0]["name"] == "Mine"


def test_verdicts_times_and_environments_are_there(opened):
    page = opened.page
    assert page.locator("#verdicts .verdict").all_inner_texts()[:2] == ["reproduced", "reproduced"]
    assert "39 exact, 2 not comparable" in page.locator("#verdicts").inner_text()
    assert page.locator("#time svg [aria-roledescription='bar']").count() > 20
    page.locator("#runs details summary").last.click()
    told = page.locator("#runs details").last.inner_text()
    assert "transformers" in told
    assert "all-minilm-l6-v2" in told
