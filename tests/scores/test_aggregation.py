import errno
import json
import os

import pytest

from qzhou_eval.errors import UserError
from qzhou_eval.scores.aggregation import aggregate
from qzhou_eval.scores.reading import read_task_scores
from qzhou_eval.scores.run_folders import find_run_folders, read_run_folder, suite_name
from qzhou_eval.suite.library import built_in
from qzhou_eval.suite.suite import Suite, TaskSpec

TWO_TYPES = Suite(
    "two",
    (
        TaskSpec("A", type="STS"),
        TaskSpec("B", type="STS"),
        TaskSpec("C", type="Retrieval"),
    ),
)


def result(scores, name="T", **extra):
    rows = {
        split: [{"hf_subset": subset, "main_score": value} for subset, value in pairs.items()]
        for split, pairs in scores.items()
    }
    return {"task_name": name, "mteb_version": "1.38.30", "scores": rows, **extra}


def write(folder, name, value):
    folder.mkdir(parents=True, exist_ok=True)
    text = value if isinstance(value, str) else json.dumps(value)
    (folder / f"{name}.json").write_text(text)
    return folder / f"{name}.json"


def test_mean_over_tasks_and_over_types_differ():
    scores = aggregate(TWO_TYPES, {"A": 0.2, "B": 0.4, "C": 0.9, "foreign": 0.0})
    assert scores.mean_task == pytest.approx(0.5)
    assert scores.mean_task_type == pytest.approx((0.3 + 0.9) / 2)


def test_a_part_of_the_suite_has_no_mean():
    scores = aggregate(TWO_TYPES, {"A": 0.2, "C": 0.9})
    assert (scores.mean_task, scores.mean_task_type) == (None, None)
    assert (scores.type_mean("STS"), scores.type_mean("Retrieval")) == (None, 0.9)
    assert (scores.done, scores.total, scores.done_of_type("STS")) == (2, 3, (1, 2))


def test_only_the_suites_splits_and_subsets_count(tmp_path):
    path = write(
        tmp_path,
        "T",
        result({"test": {"en": 0.5, "de": 0.9, "en-de": 0.1}, "validation": {"en": 0.7}}),
    )
    scores = read_task_scores(path)
    assert scores.mean(("test",), ("en",)) == 0.5
    assert scores.mean(("test", "validation"), ("en",)) == pytest.approx(0.6)
    assert scores.mean(("test", "validation"), ("en", "de")) is None
    assert scores.mean((), ()) is None


def test_foreign_files_and_half_results_do_not_count(tmp_path):
    folder = tmp_path / "org__model" / "abc"
    two = {"test": {"default": 0.4}, "validation": {"default": float("nan")}}
    write(folder, "STSB", result(two, "STSB"))
    # Not the splits that count: of MultilingualSentiment the last entry stands, validation.
    write(folder, "ATEC", result({"validation": {"default": 0.9}}, "ATEC"))
    earlier = result({"test": {"default": 0.9}}, "MultilingualSentiment")
    write(folder, "MultilingualSentiment", earlier)
    write(folder, "NotATask", "{broken")
    [run] = read_run_folder(folder)
    assert run.scores.tasks == {"STSB": 0.4}
    assert (run.model, run.revision, run.scores.total) == ("org/model", "abc", 31)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{broken", "not a readable result file"),
        ("[]", "no table of scores"),
        ('{"scores": {"test": {}}}', "split test is not a list"),
        ('{"scores": {"test": [{"hf_subset": "default"}]}}', "is no number"),
        ('{"scores": {"test": [{"hf_subset": "default", "main_score": NaN}]}}', "is no number"),
        ('{"scores": {"test": [{"hf_subset": "default", "main_score": true}]}}', "is no number"),
        ('{"task_name": "BQ", "scores": {}}', "the result of another task, BQ"),
        ("[" * 100_000, "not a readable result file"),
        ("\x80\xff", "no table|not a readable"),
    ],
)
def test_unreadable_results_are_told(tmp_path, text, message):
    write(tmp_path, "STSB", text)
    with pytest.raises(UserError, match=message):
        read_run_folder(tmp_path)


def test_folders_are_found_at_any_depth_and_once(tmp_path):
    one = tmp_path / "a" / "org__m" / "1"
    two = tmp_path / "b" / "org__n" / "2"
    for folder in (one, two):
        write(folder, "STSB", result({"test": {"default": 0.4}}, "STSB"))
    write(tmp_path / "c", "unrelated", "{}")
    assert find_run_folders([tmp_path, one]) == [one, two]
    assert find_run_folders([one, tmp_path / "b" / ".." / "a"]) == [one]
    with pytest.raises(UserError, match="no results in it"):
        find_run_folders([tmp_path / "c"])
    with pytest.raises(UserError, match="no such folder"):
        find_run_folders([tmp_path / "nope"])


def test_a_folder_that_cannot_be_looked_into_is_told(tmp_path, monkeypatch):
    write(tmp_path / "a" / "1", "STSB", result({"test": {"default": 0.4}}, "STSB"))
    closed = tmp_path / "b"
    closed.mkdir()
    original, why = os.scandir, errno.EACCES

    def scandir(path):
        if os.fspath(path) == os.fspath(closed):
            raise OSError(why, os.strerror(why), os.fspath(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(
        UserError, match=r"/b: cannot be looked into \(Permission denied\), so runs"
    ):
        find_run_folders([tmp_path])
    # One that a run has cleared away meanwhile is no loss.
    why = errno.ENOENT
    assert find_run_folders([tmp_path]) == [tmp_path / "a" / "1"]


def test_what_the_manifest_does_not_call_done_is_no_score(tmp_path):
    write(tmp_path, "STSB", result({"test": {"default": 0.4}}, "STSB"))
    write(tmp_path, "BQ", result({"test": {"default": 0.5}}, "BQ"))
    suites = [{"name": "MTEB(cmn, v1)", "tasks": []}]
    tasks = {"STSB": {"status": "failed"}, "BQ": {"status": "done"}}
    write(tmp_path, "run", {"suites": suites, "tasks": tasks})
    [run] = read_run_folder(tmp_path)
    assert run.scores.tasks == {"BQ": 0.5}
    assert run.remarks == (
        "BQ: run.json does not know this result: another run made it",
        "STSB: failed in run.json",
    )


def spec(name):
    return {"name": name, "type": "STS", "splits": ["test"], "subsets": ["default"]}


def test_a_run_of_which_nothing_came_is_a_row(tmp_path):
    suites = [
        {"name": "MTEB(cmn, v1)", "tasks": []},
        {"name": "mine", "tasks": [spec("A"), spec("B")]},
        {"name": "of nothing", "tasks": []},
    ]
    failed = {"status": "failed", "error": "CUDA\nout of memory\x1b[31m"}
    tasks = {"STSB": failed, "A": {"status": "running"}}
    write(tmp_path, "run", {"model": "me/x", "suites": suites, "tasks": tasks})
    assert find_run_folders([tmp_path]) == [tmp_path]
    mine, cmn = sorted(read_run_folder(tmp_path), key=lambda run: run.scores.total)
    assert (cmn.scores.suite.name, cmn.scores.done, cmn.scores.total) == ("MTEB(cmn, v1)", 0, 31)
    assert cmn.remarks == ("STSB: failed in run.json: CUDA out of memory[31m",)
    # Of a task that was never begun there is nothing to say.
    assert (mine.scores.done, mine.remarks) == (0, ("A: running in run.json",))
    assert (mine.scores.mean_task, mine.scores.mean_task_type) == (None, None)


@pytest.mark.parametrize(
    ("count", "last"),
    [
        (5, "T4: failed in run.json: full"),
        (6, "1 more task is not done; run.json says why"),
        (40, "35 more tasks are not done; run.json says why"),
    ],
)
def test_of_many_that_failed_a_few_are_named(tmp_path, count, last):
    names = [f"T{n}" for n in range(count)]
    tasks = {name: {"status": "failed", "error": "full"} for name in names}
    suites = [{"name": "mine", "tasks": [spec(name) for name in names]}]
    write(tmp_path, "run", {"suites": suites, "tasks": tasks})
    [run] = read_run_folder(tmp_path)
    assert run.remarks[:5] == tuple(f"T{n}: failed in run.json: full" for n in range(5))
    assert (len(run.remarks), run.remarks[-1]) == (min(count, 6), last)


def test_long_names_of_suites_stay_apart(tmp_path):
    long = "run: " + "SomeTask " * 40
    suites = [{"name": long + end, "tasks": [spec("A")]} for end in ("B", "C")]
    suites.append({"name": "x" * 300, "tasks": [spec("A")]})
    write(tmp_path, "run", {"suites": suites, "tasks": {"A": {"status": "done"}}})
    write(tmp_path, "A", result({"test": {"default": 0.5}}, "A"))
    names = [run.scores.suite.name for run in read_run_folder(tmp_path)]
    assert [len(name) for name in names] == [300] * 3
    assert len(set(names)) == 3
    assert names[:2] == [suite_name(long + end) for end in ("B", "C")]
    assert names[2] == "x" * 300


def test_another_dataset_revision_is_remarked(tmp_path):
    value = result({"test": {"default": 0.4}}, "STSB", dataset_revision="0" * 40)
    write(tmp_path, "STSB", value)
    [run] = read_run_folder(tmp_path)
    assert run.remarks == (
        "STSB: made with dataset revision 000000000000, not the suite's 0cde68302b35",
    )


@pytest.mark.parametrize("suites", ["null", "[null]", '[{"name": "x"}]', '[{"tasks": 3}]'])
def test_a_strange_manifest_is_told_or_passed_over(tmp_path, suites):
    write(tmp_path, "STSB", result({"test": {"default": 0.4}}, "STSB"))
    write(tmp_path, "run", f'{{"suites": {suites}}}')
    if suites == "null":
        assert read_run_folder(tmp_path)[0].scores.tasks == {"STSB": 0.4}
        return
    with pytest.raises(UserError, match=r"run.json: a suite in it is not readable"):
        read_run_folder(tmp_path)


def test_every_built_in_task_name_is_a_plain_file_name():
    for command in ("cmteb", "mteb", "demo"):
        for task in built_in(command).tasks:
            assert "/" not in task.name
