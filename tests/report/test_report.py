import csv
import io

import pandas as pd
import pytest

from qzhou_eval.report.markdown import cell
from qzhou_eval.suite.suite import TASK_TYPES


def table(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


@pytest.fixture
def report(cli, reference, tmp_path):
    outcome = cli("report", reference / "published_runs", "--output", tmp_path)
    assert outcome.code == 0, outcome.err
    return outcome, tmp_path


def test_published_run_gives_the_published_row(report, reference):
    outcome, folder = report
    published = {
        row["suite"]: row
        for row in table(reference / "published_tables.csv")
        if row["model"] == "QZhou-Embedding"
    }
    for row in table(folder / "leaderboard.csv"):
        expected = published[row["suite"]]
        for column in ("mean_task", "mean_task_type", *TASK_TYPES):
            assert (row[column] or None) is None or float(row[column]) == float(expected[column])
            assert bool(row[column]) == bool(expected[column])
            if row[column]:
                assert f"{float(row[column]):.2f}" in outcome.out
        assert row["model"] == "Kingsoft-LLM/QZhou-Embedding"
        assert row["tasks_done"] == row["tasks_total"] != "0"
    for mean in ("76.99", "78.58", "75.97", "69.52"):
        assert mean in outcome.out
        assert mean in (folder / "leaderboard.md").read_text()


def test_columns(report, reference):
    _, folder = report
    with (reference / "published_tables.csv").open() as file:
        published = next(csv.reader(file))
    found = list(table(folder / "leaderboard.csv")[0])
    assert set(published) <= set(found)
    assert found[:4] == published[:4]
    assert {"tasks_done", "tasks_total"} <= set(found)


def test_long_table_reads_back_to_the_means(report):
    _, folder = report
    tasks = pd.read_csv(folder / "tasks.csv")
    assert list(tasks.columns[:5]) == ["suite", "model", "type", "task", "score"]
    means = tasks.groupby("suite")["score"].mean().round(2)
    assert means.to_dict() == {"MTEB(cmn, v1)": 76.99, "MTEB(eng, v2)": 75.97}
    by_type = tasks.groupby(["suite", "type"])["score"].mean().groupby("suite").mean().round(2)
    assert by_type.to_dict() == {"MTEB(cmn, v1)": 78.58, "MTEB(eng, v2)": 69.52}


def test_a_part_of_a_suite_has_no_mean(cli, reference, tmp_path):
    import shutil

    [source] = (reference / "published_runs").glob("*/*")
    part = tmp_path / "org__part" / "1"
    part.mkdir(parents=True)
    for name in ("STSB", "T2Retrieval", "Ocnli", "Cmnli"):
        shutil.copy(source / f"{name}.json", part)
    outcome = cli("report", tmp_path, "--output", tmp_path / "out")
    assert outcome.code == 0
    [row] = table(tmp_path / "out" / "leaderboard.csv")
    assert (row["tasks_done"], row["tasks_total"]) == ("4", "31")
    assert (row["mean_task"], row["mean_task_type"], row["STS"]) == ("", "", "")
    assert row["PairClassification"] == "95.07"
    assert "4/31" in (tmp_path / "out" / "leaderboard.md").read_text()


def test_the_best_comes_first_and_parts_last(cli, reference, tmp_path):
    import shutil

    [source] = (reference / "published_runs").glob("*/*")
    shutil.copytree(source, tmp_path / "a__part" / "1")
    (tmp_path / "a__part" / "1" / "STSB.json").unlink()
    shutil.copytree(source, tmp_path / "b__whole" / "1")
    for folder in ("a__part", "b__whole"):
        (tmp_path / folder / "1" / "model_meta.json").unlink()
    assert cli("report", tmp_path, "--output", tmp_path / "out").code == 0
    rows = [r for r in table(tmp_path / "out" / "leaderboard.csv") if "cmn" in r["suite"]]
    assert [row["model"] for row in rows] == ["b/whole", "a/part"]


def test_names_stay_text_in_markdown():
    assert cell("a|b <script>\n*x*") == r"a\|b \<script\> \*x\*"
