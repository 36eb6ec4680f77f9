import json

import pandas as pd
import pytest


@pytest.fixture(scope="session")
def published_run(reference):
    return reference / "published_runs" / "Kingsoft-LLM__QZhou-Embedding"


def test_the_terminal_gives_the_verdict(cli, published_run):
    outcome = cli("compare", published_run)
    assert outcome.code == 0, outcome.err
    text = " ".join(outcome.out.split())
    assert "reproduced: both means over 31 tasks" in text
    assert "39 exact, 2 not comparable" in text
    assert "75.97 75.97 +0.00" in text
    both = "MedrxivClusteringP2P.v2, MedrxivClusteringS2S.v2"
    assert f"{both}: not comparable, the published score is a record of another task" in text


def test_json(cli, published_run):
    outcome = cli("compare", published_run, "--tasks", "STSB,BQ", "--format", "json")
    value = json.loads(outcome.out)
    assert (value["suite"], value["verdict"]) == ("MTEB(cmn, v1)", "reproduced")
    keys = {"task", "split", "subset", "ours", "published", "difference", "verdict", "reason"}
    assert [row["task"] for row in value["tasks"]] == ["BQ", "STSB"]
    assert all(keys <= row.keys() for row in value["tasks"])
    several = json.loads(cli("compare", published_run, "--format", "json").out)
    assert [suite["suite"] for suite in several] == ["MTEB(cmn, v1)", "MTEB(eng, v2)"]
    assert several[0]["mean_task"] == {"ours": 76.9923, "published": 76.9923, "difference": 0.0}


def test_csv_and_markdown(cli, published_run, tmp_path):
    path = tmp_path / "comparison.csv"
    path.write_text(cli("compare", published_run, "--format", "csv").out)
    frame = pd.read_csv(path)
    assert len(frame) == 72
    assert (frame.verdict == "exact").sum() == 70
    assert (frame.difference == 0).all()
    markdown = cli("compare", published_run, "--format", "md").out
    assert "| Mean(Task) | 76.9923 | 76.9923 | +0.0000 |" in markdown
    assert "**reproduced: both means over 39 tasks" in markdown


def test_exit_codes(cli, published_run, tmp_path):
    assert cli("compare", published_run, "--published", "Qwen/Qwen3-Embedding-8B").code == 1
    for arguments, words in (
        ((tmp_path / "nope",), "no such folder"),
        ((published_run, "--published", "Qwen3"), "no published scores of 'Qwen3'"),
        ((published_run, "--tasks", "STBS"), "unknown task 'STBS'"),
        ((published_run, "--format", "xml"), "unknown --format 'xml'"),
        ((published_run, "--tasks", " ,"), "expected task names"),
    ):
        outcome = cli("compare", *arguments)
        assert (outcome.code, words in outcome.error) == (2, True), outcome.err
