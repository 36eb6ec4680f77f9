"""The command: what it writes, prints and refuses."""

import csv
import io

import pytest

from tests.report.runs import write_run

TASKS = {"Mine": 0.5, "Yours": 0.25}


@pytest.fixture
def runs(tmp_path):
    for name, score in (("a", 0.5), ("b", 0.75)):
        write_run(tmp_path / "runs" / name, f"me/{name}", "own", {"Mine": score, "Yours": 0.25})
    return tmp_path / "runs"


def test_tables_and_page_are_written_by_default(cli, runs, tmp_path):
    outcome = cli("report", runs, "--output", tmp_path / "out")
    assert outcome.code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "leaderboard.csv",
        "leaderboard.md",
        "report.html",
        "tasks-wide.csv",
        "tasks.csv",
    ]
    assert outcome.out.count("wrote ") == 5


def test_formats_are_the_users_choice(cli, runs, tmp_path):
    assert cli("report", runs, "--output", tmp_path / "out", "--format", "latex,md").code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["leaderboard.md", "leaderboard.tex"]


@pytest.mark.parametrize("wanted", ["csv", "md", "latex"])
def test_one_format_is_printed_and_nothing_else(cli, runs, wanted):
    outcome = cli("report", runs, "--format", wanted)
    assert (outcome.code, outcome.err) == (0, "")
    if wanted == "csv":
        rows = list(csv.DictReader(io.StringIO(outcome.out)))
        assert [row["model"] for row in rows] == ["me/b", "me/a"]
    assert outcome.out.startswith({"csv": "suite,", "md": "# Leaderboard", "latex": "%"}[wanted])


def test_pictures_beside_a_printed_table_do_not_disturb_it(cli, runs, tmp_path):
    outcome = cli("report", runs, "--format", "csv", "--plots", tmp_path / "plots")
    assert "wrote" not in outcome.out
    assert outcome.err.count("wrote") == len(list((tmp_path / "plots").iterdir())) == 8


def test_peers_and_language(cli, reference, tmp_path):
    outcome = cli("report", reference / "published_runs", "--with-peers", "--lang", "zh")
    assert outcome.code == 0
    assert "任务平均" in outcome.out
    assert "ByteDance-Seed/" in outcome.out
    assert "75.63" in outcome.out
    assert "已公布" in outcome.out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--format", "pdf"], "unknown --format 'pdf': known: csv, html, latex, md"),
        (["--format", ","], "--format ',': expected csv, md, html, latex, comma-separated"),
        (["--format", "html"], "--format html: needs --output OUT"),
        (["--format", "csv,md"], "--format csv,md: needs --output OUT"),
        (["--lang", "fr"], "unknown --lang 'fr': known: en, zh"),
        (["--baseline", "me/c"], "--baseline 'me/c': did you mean me/"),
        (["--baseline", "Qwen/Qwen3-Embedding-8B"], "(--with-peers adds the published rows)"),
    ],
)
def test_wrong_options_write_nothing(cli, runs, tmp_path, options, expected):
    plots = [] if "html" in options else ["--plots", tmp_path / "plots"]
    outcome = cli("report", runs, *options, *plots)
    assert outcome.code == 2
    assert expected in outcome.error
    assert outcome.out == ""
    assert not (tmp_path / "plots").exists()


def test_a_picture_that_cannot_be_written_is_told(cli, runs, tmp_path):
    (tmp_path / "plots" / "profile-own.svg").mkdir(parents=True)
    outcome = cli("report", runs, "--plots", tmp_path / "plots")
    assert outcome.code == 2
    assert "profile-own.svg: cannot be written: it is a folder" in outcome.error
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["profile-own.svg"]
    outcome = cli("report", runs, "--output", tmp_path / "out", "--plots", tmp_path / "plots")
    assert outcome.code == 2
    assert not (tmp_path / "out").exists()
