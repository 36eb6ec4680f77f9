"""The same figures in every format, equal to the published tables, in two languages."""

import ast
import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import qzhou_eval.report
from qzhou_eval.report.board import boards
from qzhou_eval.report.escaping import cell
from qzhou_eval.report.files import Format, report_files
from qzhou_eval.report.labels import labels, shortened
from qzhou_eval.report.latex import latex_text
from qzhou_eval.report.terminal import print_leaderboard
from qzhou_eval.report.words import CHINESE, Lang, words
from qzhou_eval.suite.suite import TASK_TYPES
from tests.report.runs import HOSTILE, rows_of, task, write_run

ROOT = Path(qzhou_eval.report.__file__).parent
COLUMNS = ("mean_task", "mean_task_type", *TASK_TYPES)


@pytest.fixture(scope="module")
def published(reference):
    return rows_of(reference / "published_runs", with_peers=True)


@pytest.fixture(scope="module")
def tables(reference):
    with (reference / "published_tables.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


RECORDS_SAY = {
    ("MTEB(eng, v2)", "Qwen3-Embedding-8B", "mean_task"): (75.23, 75.22),
    ("MTEB(eng, v2)", "Qwen3-Embedding-4B", "mean_task"): (74.61, 74.60),
}
"""Means that the models' own published task scores do not come to: theirs, and the table's."""


def test_csv_gives_the_published_tables(published, tables):
    """Every published row that there are task scores of, every column, to its digits."""
    frame = pd.read_csv(io.StringIO(report_files(published, Format.CSV)["leaderboard.csv"]))
    checked = 0
    for row in tables:
        own = frame[
            (frame.suite == row["suite"])
            & (frame.model.str.rpartition("/")[2] == row["model"])
            & (frame.source == "published")
            & (frame.tasks_done == frame.tasks_total)
        ]
        if own.empty:
            continue
        [found] = own.to_dict("records")
        for column in COLUMNS:
            if row[column]:
                place = (row["suite"], row["model"], column)
                printed = float(row[column])
                assert (found[column], printed) == RECORDS_SAY.get(place, (printed, printed)), place
        checked += 1
    assert checked == 18
    ours = frame[frame.source == "run"].set_index("suite")
    assert dict(ours.mean_task) == {"MTEB(cmn, v1)": 76.99, "MTEB(eng, v2)": 75.97}
    assert dict(ours.mean_task_type) == {"MTEB(cmn, v1)": 78.58, "MTEB(eng, v2)": 69.52}


def test_long_and_wide_are_one_table(published):
    files = report_files(published, Format.CSV)
    long = pd.read_csv(io.StringIO(files["tasks.csv"]))
    wide = pd.read_csv(io.StringIO(files["tasks-wide.csv"]))
    assert len(wide) == 31 + 41
    found = {}
    for _, row in wide.iterrows():
        for label in wide.columns[3:]:
            if pd.notna(row[label]):
                found[row["suite"], row["task"], label] = row[label]
    expected = dict(
        zip(zip(long.suite, long.task, long.label, strict=True), long.score, strict=True)
    )
    assert found == expected
    assert len(found) > 900


@pytest.mark.parametrize("wanted", [Format.MD, Format.LATEX])
def test_the_best_of_each_column_is_bold(published, wanted):
    [text] = report_files(published, wanted).values()
    bold = r"\*\*([\d.]+)\*\*" if wanted is Format.MD else r"\\textbf\{([\d.]+)\}"
    row = next(line for line in text.splitlines() if "QZhou-Embedding-Zh" in line)
    assert "78.52" in re.findall(bold, row)
    for board in boards(published):
        for column in range(len(board.headings)):
            values = [line.figures[column].value for line in board.lines]
            marked = {f.figures[column].value for f in board.lines if f.figures[column].best}
            assert marked == {max(v for v in values if v is not None)}


def test_one_model_alone_is_not_the_best(reference):
    [text] = report_files(rows_of(reference / "published_runs"), Format.MD).values()
    assert "**" not in text


def test_missing_means_are_marked_with_how_many_there_are(tmp_path):
    folder = write_run(tmp_path / "a", "me/mine", "MTEB(cmn, v1)", {"STSB": 0.5})
    (folder / "run.json").unlink()
    [text] = report_files(rows_of(folder), Format.MD).values()
    row = next(line for line in text.splitlines() if line.startswith("| me/mine") or "1/31" in line)
    assert "| 1/31 | – | – |" in row
    assert "not all of its tasks are done" in text


@pytest.fixture
def failed(tmp_path):
    """Rows of a run all of whose tasks failed."""
    failure = {"status": "failed", "error": "CUDA out of <memory>"}
    folder = write_run(
        tmp_path / "failed",
        "me/mine",
        "own",
        {},
        suites=[{"name": "own", "tasks": [task("Mine"), task("Yours", "Retrieval")]}],
        tasks={"Mine": failure, "Yours": failure},
    )
    return rows_of(folder)


def test_a_run_of_which_nothing_came_is_in_every_format(failed):
    files = report_files(failed, Format.CSV)
    [row] = csv.DictReader(io.StringIO(files["leaderboard.csv"]))
    assert (row["tasks_done"], row["tasks_total"], row["mean_task"]) == ("0", "2", "")
    for name in ("tasks.csv", "tasks-wide.csv"):
        assert len(files[name].splitlines()) == 1
    told = "Mine: failed in run.json: CUDA out of"
    [markdown] = report_files(failed, Format.MD).values()
    assert "| me/mine | 0/2 | – | – | – | – |" in markdown
    assert told in markdown
    assert "| Task |" not in markdown
    [latex] = report_files(failed, Format.LATEX).values()
    assert "me/mine & 0/2" + 4 * " & \\textendash{}" in latex
    assert told in latex
    assert latex.count("begin{tabular}") == 1
    [page] = report_files(failed, Format.HTML).values()
    assert "<td>0/2</td>" in page
    assert told in page
    assert "0/2" in printed(failed, 80)
    assert told in printed(failed, 80)


def test_latex_is_whole_and_holds_names_as_text(tmp_path, published):
    rows = rows_of(write_run(tmp_path / "a", HOSTILE, "50% & more_#1", {"Mine_1": 0.5}))
    [text] = report_files(rows, Format.LATEX).values()
    assert text.count("\\begin{table*}") == text.count("\\end{table*}") == 2
    body = [line for line in text.splitlines() if not line.startswith("%")]
    for line in body:
        # Nothing that starts a comment, a math formula or another cell.
        assert not re.search(r"(?<!\\)[%$#]", line.replace("{!}{%", "{!}{")), line
        if line.endswith("\\\\") and "&" in line:
            cells = re.split(r"(?<!\\)&", line)
            assert len(cells) in (3, 5), line
    assert latex_text("a_b\\c") == "a\\_b\\textbackslash{}c"
    [whole] = report_files(published, Format.LATEX).values()
    assert whole.count("{") == whole.count("}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[exp] base", "{[}exp{]} base"),
        ("*star", "{*}star"),
        ('a "b" 5', r"a \char34{}b\char34{} 5"),
        ("a-b--c---d", r"a-b-\/-c-\/-\/-d"),
        ("–", r"\textendash{}"),
        ("–-", r"\textendash{}-"),
        ("``a'' ?` !` ,,b", r"`\/`a'\/' ?\/` !\/` ,\/,b"),
        ("what?! a, b", "what?! a, b"),
    ],
)
def test_latex_signs_stay_what_they_are(text, expected):
    assert latex_text(text) == expected


def test_latex_rows_do_not_start_with_what_ends_of_rows_would_read(tmp_path):
    names = {"[exp] base": 0.5, "*star": 0.25}
    runs = [write_run(tmp_path / name, name, "own", {"T": s}) for name, s in names.items()]
    [text] = report_files(rows_of(*runs), Format.LATEX).values()
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert [row[:7] for row in rows] == ["Model &", "{[}exp{", "{*}star", "Task & ", "T & STS"]


def test_latex_tells_what_the_others_tell(tmp_path, published):
    scores = {"Mine_1": 0.5, "Yours": 0.25}
    whole = write_run(tmp_path / "a", "me/a", "own", scores)
    tasks = {"Mine_1": {"status": "failed", "error": "100% full"}}
    part = write_run(tmp_path / "b", "me/b", "own", scores, tasks=tasks, settings={"mode": "fast"})
    rows = rows_of(whole, part)
    [board] = boards(rows)
    [text] = report_files(rows, Format.LATEX).values()
    [markdown] = report_files(rows, Format.MD).values()
    assert len(board.remarks) == 3
    for remark in board.remarks:
        assert text.count(f"{latex_text(remark)}.\\par\n") == 1
        assert markdown.count(f"{cell(remark)}.\n") == 1
    assert r"me/b (fast): Mine\_1: failed in run.json: 100\% full.\par" in text
    assert "me/b (fast): run in fast mode.\\par" in text
    means, tasks = text.split("\\label{tab:leaderboard-1}")
    assert r"\textendash{}: not all of its tasks are done" in means
    assert r"\textendash{}: no score." in tasks
    [told] = report_files(published, Format.LATEX).values()
    assert told.count("record of another task definition") >= 4
    [alone] = report_files(rows_of(whole), Format.LATEX).values()
    assert "minipage" not in alone
    assert "no score." not in alone


def said_in_code():
    """Everything that the code and the page's template ask the words for."""
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("words", "word"):
                found |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    template = (ROOT / "page" / "assets" / "page.html.jinja").read_text(encoding="utf-8")
    return found | set(re.findall(r"w\('([^']+)'\)", template))


def test_everything_said_has_a_chinese_counterpart():
    said = said_in_code()
    assert len(said) > 30
    assert said - set(CHINESE) == set()


def test_nothing_is_translated_that_is_not_said():
    package = ROOT.parent
    files = [
        p for p in package.rglob("*") if p.suffix in (".py", ".jinja") and p.name != "words.py"
    ]
    # A long sentence is written in parts.
    said = re.sub(r'"\s*\n\s*"', "", "".join(p.read_text(encoding="utf-8") for p in files))
    assert [text for text in CHINESE if not re.search(f"[\"']{re.escape(text)}[\"']", said)] == []


def test_chinese_reports_have_the_same_figures(published):
    english = report_files(published, Format.MD)["leaderboard.md"]
    chinese = report_files(published, Format.MD, lang=Lang.ZH)["leaderboard.md"]
    assert "任务平均" in chinese
    assert "Mean(Task)" not in chinese
    assert re.findall(r"\d+\.\d\d", english) == re.findall(r"\d+\.\d\d", chinese)
    page = report_files(published, Format.HTML, lang=Lang.ZH)["report.html"]
    assert '<html lang="zh-CN">' in page
    assert "<h2>复现判定</h2>" in page


def printed(rows, width, **options):
    console = Console(width=width, file=io.StringIO(), **options)
    print_leaderboard(rows, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, 200])
def test_tables_fit_the_terminal_and_lose_nothing(published, width):
    text = printed(published, width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    shown = sorted(re.findall(r"\b\d+\.\d\d\b", text))
    figures = sorted(
        figure.text
        for board in boards(published)
        for line in board.lines
        for figure in line.figures
        if figure.value is not None
    )
    assert shown == figures


def test_colours_where_there_is_a_terminal(published):
    text = printed(published, 200, force_terminal=True, color_system="standard")
    assert re.search(r"\x1b\[1;32m *78\.52", text)


def named(*rows):
    return list(labels(rows_of(*rows)).values())


def test_equal_names_are_told_apart(tmp_path):
    scores = {"Mine": 0.5}

    def run(name, **manifest):
        return write_run(tmp_path / name, "me/mine", "own", scores, **manifest)

    first, other = run("a"), run("b", revision="2" * 40)
    assert named(first) == ["me/mine"]
    assert named(first, other) == ["me/mine (11111111)", "me/mine (22222222)"]
    # Checkpoints are named in full.
    steps = [run(f"step-{n}", revision=f"checkpoint-{n}") for n in (200, 400)]
    assert named(*steps) == ["me/mine (checkpoint-200)", "me/mine (checkpoint-400)"]
    # The mode is told wherever it is not strict, and first of all.
    fast = run("fast", settings={"mode": "fast"})
    assert named(fast) == ["me/mine (fast)"]
    assert named(first, fast) == ["me/mine", "me/mine (fast)"]
    twin = run("twin")
    assert named(first, twin) == [f"me/mine ({first})", f"me/mine ({twin})"]
    assert len(set(named(first, twin, fast, other, *steps))) == 6


def test_a_run_has_one_name_in_all_suites(tmp_path):
    one = write_run(tmp_path / "one", "me/x", "own", {"Mine": 0.5})
    suites = [{"name": name, "tasks": [task("Mine")]} for name in ("own", "another")]
    both = write_run(
        tmp_path / "both", "me/x", "own", {"Mine": 0.25}, suites=suites, revision="2" * 40
    )
    rows = rows_of(one, both)
    wide = pd.read_csv(io.StringIO(report_files(rows, Format.CSV)["tasks-wide.csv"]))
    assert list(wide.columns) == ["suite", "type", "task", "me/x (11111111)", "me/x (22222222)"]
    assert wide.suite.tolist() == ["own", "another"]
    shown = {line.label for board in boards(rows) for line in board.lines}
    assert shown == set(wide.columns[3:])


def test_models_called_like_columns_are_columns_beside_them(tmp_path):
    runs = [
        write_run(tmp_path / name, name, "own", {"Mine": 0.5}) for name in ("suite", "type", "task")
    ]
    wide = pd.read_csv(io.StringIO(report_files(rows_of(*runs), Format.CSV)["tasks-wide.csv"]))
    assert wide.shape == (1, 6)
    assert wide.task.tolist() == ["Mine"]


def test_suites_of_one_name_but_other_tasks_are_apart(tmp_path):
    runs = {
        "a": ({"T1": 0.6, "T2": 0.6, "T3": 0.6}, {}),
        "b": ({"T1": 0.9, "T9": 0.95}, {}),
        "c": ({"T1": 0.5}, {"T1": "Retrieval"}),
        "d": ({"T1": 0.7, "T2": 0.7, "T3": 0.7}, {}),
    }
    rows = rows_of(
        *(write_run(tmp_path / n, f"me/{n}", "own", s, types=t) for n, (s, t) in runs.items())
    )
    found = {b.name: [line.row.model for line in b.lines] for b in boards(rows)}
    assert found == {
        "own": ["me/d", "me/a"],
        "own [2: 2 tasks]": ["me/b"],
        "own [3: 1 tasks]": ["me/c"],
    }
    files = report_files(rows, Format.CSV)
    for name in ("leaderboard.csv", "tasks.csv", "tasks-wide.csv"):
        assert set(pd.read_csv(io.StringIO(files[name])).suite) == set(found)
    wide = pd.read_csv(io.StringIO(files["tasks-wide.csv"]))
    assert sorted(wide.task) == ["T1", "T1", "T1", "T2", "T3", "T9"]


def test_the_mode_and_the_run_are_in_every_csv(tmp_path):
    modes = {"strict": 0.5, "fast": 0.6}
    runs = [
        write_run(tmp_path / m, "me/x", "own", {"Mine": s}, settings={"mode": m})
        for m, s in modes.items()
    ]
    files = report_files(rows_of(*runs), Format.CSV)
    for name in ("leaderboard.csv", "tasks.csv"):
        frame = pd.read_csv(io.StringIO(files[name]))
        assert dict(zip(frame["mode"], frame["label"], strict=True)) == {
            "strict": "me/x",
            "fast": "me/x (fast)",
        }
    long = pd.read_csv(io.StringIO(files["tasks.csv"]))
    assert long.pivot(index="task", columns="label", values="score").shape == (1, 2)


def test_long_names_keep_their_ends_in_a_legend():
    names = [f"{'a-very-long-name/' * 5}x (checkpoint-{n})" for n in (200, 400)]
    short = shortened(names)
    assert all(len(name) <= 46 for name in short)
    assert [name[-16:] for name in short] == ["(checkpoint-200)", "(checkpoint-400)"]
    assert shortened(["short", "short too"]) == ["short", "short too"]
    same = shortened(["a" * 60 + "b" * 60, "a" * 60 + "c" + "b" * 60])
    assert len(set(same)) == 2


def test_words_of_both_languages_are_asked_alike():
    assert words(Lang.EN)("Model") == "Model"
    assert words(Lang.ZH)("Model") == "模型"
    assert words(Lang.ZH)("a suite's own type") == "a suite's own type"
