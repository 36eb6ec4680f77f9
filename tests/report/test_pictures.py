"""Pictures as files: the rows they are drawn from, and that they are what they say."""

import xml.etree.ElementTree as ElementTree

import pytest

from qzhou_eval.errors import UserError
from qzhou_eval.report.board import boards
from qzhou_eval.report.charts.choice import (
    default_baseline,
    default_line,
    default_profile,
    named_baseline,
)
from qzhou_eval.report.charts.differences import differences, tolerances
from qzhou_eval.report.charts.times import times
from qzhou_eval.report.pictures import pictures
from qzhou_eval.report.words import Lang, words
from qzhou_eval.scores.verdicts import Verdict, judge_score
from tests.report.runs import HOSTILE, rows_of, write_run

QWEN = "Qwen/Qwen3-Embedding-8B"


@pytest.fixture(scope="module")
def published(reference):
    return rows_of(reference / "published_runs", with_peers=True)


def test_differences_are_those_of_the_scores(published):
    board = next(board for board in boards(published) if "eng" in board.name)
    line = default_line(board)
    assert (line.row.model, line.row.published) == ("Kingsoft-LLM/QZhou-Embedding", False)
    own = default_baseline(board, line)
    assert (own.row.model, own.row.published) == (line.row.model, True)
    same = differences(board, line, own)
    assert {row["difference"] for row in same} == {0.0}
    # As in the verdict: the two tasks of another definition are held against nothing.
    redefined = {"MedrxivClusteringP2P.v2", "MedrxivClusteringS2S.v2"}
    assert {r["task"] for r in same if r["kind"] == "not comparable"} == redefined
    assert {r["kind"] for r in same if r["task"] not in redefined} == {"Within the tolerance"}
    other = default_baseline(board, line, ("published", QWEN))
    rows = {row["task"]: row for row in differences(board, line, other)}
    assert len(rows) == 41
    for task, row in rows.items():
        ours, theirs = line.row.scores.tasks[task], other.row.scores.tasks[task]
        assert row["difference"] == pytest.approx(100 * (ours - theirs), abs=2e-4)


def test_what_is_shown_at_first(tmp_path, published):
    board = boards(published)[0]
    shown = default_profile(board)
    assert len(shown) == 4
    assert shown[0] is default_line(board)
    alone = boards(rows_of(write_run(tmp_path / "a", "me/mine", "own", {"Mine": 0.5})))[0]
    assert default_baseline(alone, default_line(alone)) is None


def test_times_are_the_manifests():
    entries = {
        "Slow": {
            "seconds": {"data": 60, "encode": 7200, "score": 540},
            "planned": {"seconds": 1e4},
        },
        "Quick": {"seconds": {"data": 1, "encode": 2, "score": 3}},
        "Failed": {"status": "failed"},
        "Odd": {"seconds": {"encode": "soon", "score": float("nan"), "data": -1}},
        "Odder": 7,
    }
    found = times(entries)
    assert (found.unit, found.planned) == ("Hours", True)
    rows = found.rows()
    assert [row["task"] for row in rows] == ["Slow"] * 3 + ["Quick"] * 3
    assert [row["time"] for row in rows[:3]] == pytest.approx([1 / 60, 2, 0.15], rel=1e-3)
    assert found.ticks() == [{"task": "Slow", "time": 2.778}]
    quick = times({"Quick": entries["Quick"]})
    assert (quick.unit, quick.planned) == ("Seconds", False)
    assert times({}).tasks == ()


def test_the_band_is_the_verdicts(published):
    """Whatever the difference, the picture says of it what a verdict would."""
    for board in boards(published):
        for line in board.lines:
            if not line.row.published:
                continue
            allowed = tolerances(line)
            for task, error in line.row.standard_errors.items():
                for step in (-1e-4, 1e-4):
                    points = max(0.1, 200 * error) + step
                    theirs = line.row.scores.tasks[task]
                    verdict, _ = judge_score(theirs + points / 100, theirs, 6, error)
                    beyond = points > allowed.get(task, 0.1) + 1e-9
                    assert beyond == (verdict is Verdict.OFF), (line.label, task)


def test_a_baseline_is_named_by_label_folder_or_model(tmp_path, published):
    runs = [
        write_run(tmp_path / n, "me/mine", "own", {"Mine": s}, revision=f"step-{n}")
        for n, s in (("a", 0.5), ("b", 0.25))
    ]
    rows = [*rows_of(*runs), *published]
    a, b = (("run", str(run)) for run in runs)
    assert named_baseline(rows, "") is None
    assert named_baseline(rows, "me/mine (step-b)") == b
    assert named_baseline(rows, f"{runs[0]}/") == a
    assert named_baseline(rows, QWEN.lower()) == ("published", QWEN)
    own = "Kingsoft-LLM/QZhou-Embedding"
    assert named_baseline(rows, own) == ("published", own)
    with pytest.raises(UserError, match=r"several, name one: me/mine \(step-a\), me/mine"):
        named_baseline(rows, "me/mine")
    # The best run is a baseline like any other.
    [board] = boards(rows_of(*runs))
    line = default_line(board, a)
    against = default_baseline(board, line, a)
    assert (line.label, against.label) == ("me/mine (step-b)", "me/mine (step-a)")


def test_every_picture_as_svg_and_png(tmp_path, published):
    own = write_run(tmp_path / "a", "me/mine", "a b", {"Mine": 0.5, "Other": 0.25})
    twin = write_run(tmp_path / "b", "me/mine", "a-b", {"Mine": 0.5})
    found = pictures([*published, *rows_of(own, twin)], words(Lang.ZH), ("published", QWEN))
    names = {name.rpartition(".")[0] for name in found}
    assert {f"{name}.{kind}" for name in names for kind in ("svg", "png")} == set(found)
    assert {
        "differences-MTEB-cmn-v1",
        "profile-MTEB-eng-v2",
        "profile-a-b",
        "profile-a-b--2",
    } < names
    assert len([name for name in names if name.startswith("time-")]) == 2
    for name, content in found.items():
        if name.endswith("png"):
            assert content.startswith(b"\x89PNG\r\n")
            assert len(content) > 5_000
        else:
            ElementTree.fromstring(content)
    drawn = found["differences-MTEB-cmn-v1.svg"].decode()
    assert "T2Retrieval" in drawn
    assert "分差" in drawn
    assert QWEN in drawn


def test_hostile_names_are_text_in_a_picture(tmp_path):
    runs = [
        write_run(tmp_path / name, name + HOSTILE, HOSTILE, {"Mine": 0.5}, types={"Mine": "STS"})
        for name in ("a", "b")
    ]
    for name, content in pictures(rows_of(*runs)).items():
        assert "/" not in name
        if name.endswith("svg"):
            tags = {
                element.tag.rpartition("}")[2] for element in ElementTree.fromstring(content).iter()
            }
            assert not tags & {"script", "img", "image", "foreignObject", "a"}
