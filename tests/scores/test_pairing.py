"""Two runs made by hand, of which it is known what the comparison must come to."""

import gzip
import json
import shutil

import pytest

from qzhou_eval.errors import NothingToCompareError, UserError
from qzhou_eval.files import file_digest
from qzhou_eval.scores.pair import Difference, Outcome
from qzhou_eval.scores.pairing import compare_runs
from qzhou_eval.scores.result_folder import open_result_folder
from tests.scores.made_runs import alter, alter_result, make_run

TASKS = {
    "Found": ("Retrieval", 0.2),
    "Alike": ("STS", 1.0),
    "Pairs": ("PairClassification", 0.4),
    "Classes": ("Classification", 0.1),
    "Heaps": ("Clustering", 0.1),
}
BETTER = {**TASKS, "Found": ("Retrieval", 0.3), "Classes": ("Classification", 0.05)}


@pytest.fixture
def a(tmp_path):
    return make_run(tmp_path / "a", TASKS)


@pytest.fixture
def b(tmp_path):
    return make_run(tmp_path / "b", BETTER, seed=2)


def paired(a, b, tasks=()):
    return compare_runs(open_result_folder(a), open_result_folder(b), tasks)


def rows(a, b, tasks=()):
    [suite] = paired(a, b, tasks).suites
    return {row.task: row for row in suite.rows}


def test_what_is_more_than_noise_is_found_and_told(a, b):
    [suite] = paired(a, b).suites
    found = {row.task: row for row in suite.rows}
    assert {task: row.outcome for task, row in found.items()} == {
        "Found": Outcome.BETTER,
        "Alike": Outcome.NOISE,
        "Pairs": Outcome.NOISE,
        "Classes": Outcome.WORSE,
        "Heaps": Outcome.NOISE,
    }
    assert found["Found"].difference == pytest.approx(10, abs=4)
    assert found["Found"].source == "bootstrap over 60 queries"
    assert found["Alike"].source == found["Pairs"].source == "bootstrap over 60 pairs"
    assert found["Classes"].source == "t-test over 10 paired draws"
    # Holm's: the least of five p-values five times, and none less than one before it.
    ordered = sorted(found.values(), key=lambda row: row.p)
    assert ordered[0].adjusted_p == pytest.approx(5 * ordered[0].p)
    adjusted = [row.adjusted_p for row in ordered]
    assert adjusted == sorted(adjusted)
    mean = suite.mean_task
    assert mean.name == "Mean(Task)"
    errors = [row.standard_error for row in suite.rows]
    assert mean.standard_error == pytest.approx(sum(e**2 for e in errors) ** 0.5 / 5)
    low, high = mean.interval
    assert (low + high) / 2 == pytest.approx(mean.b - mean.a)
    assert high - low == pytest.approx(2 * 1.959964 * mean.standard_error)
    assert suite.conclusion.startswith(
        "B is better on 1 of 5 tasks (Found), worse on 1 (Classes); the other 3 differ by no more "
        f"than the noise; Mean(Task) {mean.difference:+.2f} (95 % {low:+.2f} to {high:+.2f})"
    )


def test_a_and_b_may_change_places(a, b):
    there, back = rows(a, b), rows(b, a)
    for task, row in there.items():
        assert back[task].difference == pytest.approx(-row.difference)
        assert back[task].standard_error == pytest.approx(row.standard_error)
        assert back[task].p == pytest.approx(row.p)
    assert back["Found"].outcome is Outcome.WORSE


def test_the_same_run_twice_is_equal_in_everything(a, tmp_path):
    shutil.copytree(a, tmp_path / "copy")
    pair = paired(a, tmp_path / "copy")
    [suite] = pair.suites
    assert {row.outcome for row in suite.rows} == {Outcome.EQUAL}
    assert {(row.difference, row.standard_error, row.p) for row in suite.rows} == {(0, 0, None)}
    assert suite.conclusion == "A and B are equal on all of 5 tasks; Mean(Task) +0.00"
    assert pair.differences == ()
    assert str(a) in pair.a.label  # model and revision do not tell them apart
    with pytest.raises(UserError, match="are the same run: give two"):
        paired(a, a)


def test_an_equal_score_of_other_items_has_its_noise(a, b):
    score = json.loads((a / "Found.json").read_text())["scores"]["test"][0]["main_score"]
    shutil.copy(a / "items" / "Found.csv.gz", b / "items" / "Found.csv.gz")
    alter(b, lambda m: m["tasks"]["Found"].update(items=digest(b, "Found")))
    alter_result(b, "Found", lambda r: r["scores"]["test"][0].update(main_score=score, other=1))
    found = rows(a, b)["Found"]
    assert (found.outcome, found.p, found.standard_error) == (Outcome.EQUAL, None, 0)
    assert found.source == "bootstrap over 60 queries"


def digest(folder, task):
    return file_digest(folder / "items" / f"{task}.csv.gz")


def rewritten(folder, task, change, known=True):
    path = folder / "items" / f"{task}.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(change(text).encode()))
    if known:
        alter(folder, lambda m: m["tasks"][task].update(items=digest(folder, task)))


def without(folder, task):
    alter(folder, lambda m: m["tasks"][task].pop("items"))


def one_digit(text):
    return text.replace("q7,0.", "q7,9.")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: without(f, "Found"), "B kept no items"),
        (lambda f: (f / "items" / "Found.csv.gz").unlink(), "B has lost its item file"),
        (
            lambda f: rewritten(f, "Found", one_digit, known=False),
            "B has an item file that is not the one its run wrote",
        ),
        (
            lambda f: rewritten(f, "Found", one_digit),
            "B has items that are not those of its result: they come to ",
        ),
        (
            lambda f: rewritten(f, "Found", lambda t: t.replace("q7,0.", "q7,nan0.")),
            "B has items that cannot be gone by: could not convert",
        ),
        (
            lambda f: rewritten(f, "Found", lambda t: t.replace("ndcg_at_10", "map")),
            "B has items that cannot be gone by: ndcg_at_10 is not made of map",
        ),
        (
            lambda f: rewritten(f, "Found", lambda t: t.replace("test,default", "dev,default")),
            "B has no items of test, default",
        ),
        (
            lambda f: rewritten(f, "Found", lambda t: t.replace("q7,", "other,")),
            "A's and B's queries of test, default are not the same",
        ),
        (
            lambda f: rewritten(f, "Found", lambda t: t.replace(",q7,", ",")),
            "B has no readable item file: ",
        ),
    ],
)
def test_items_that_cannot_be_gone_by_are_not(a, b, change, reason):
    change(b)
    [suite] = paired(a, b).suites
    found = {row.task: row for row in suite.rows}["Found"]
    assert found.outcome is Outcome.UNKNOWN
    assert found.reason.startswith(reason)
    assert found.difference is not None
    assert (found.p, found.standard_error) == (None, None)
    assert suite.mean_task.interval is None  # the noise of one is not known
    assert "the noise of 1 is not known" in suite.conclusion


def test_other_gold_scores_are_other_data(a, b):
    from qzhou_eval.evaluate.items import Items, read_items, write_items

    path = b / "items" / "Alike.csv.gz"
    [(unit, own)] = read_items(path).items()
    # Twice as high, so that no rank and no score is another.
    changed = tuple((name, cosine, f"{2 * float(gold):.9g}") for name, cosine, gold in own.rows)
    digest = write_items(path, {unit: Items(own.columns, changed)})
    alter(b, lambda m: m["tasks"]["Alike"].update(items=digest))
    assert rows(a, b)["Alike"].reason == "the golds of the two differ: other data"


def test_neither_has_items(a, b):
    without(a, "Found")
    without(b, "Found")
    assert rows(a, b)["Found"].reason == "A and B kept no items"


def test_draws_that_tell_nothing(a, b):
    def few(result):
        own = result["scores"]["test"][0]
        own["v_measures"] = own["v_measures"][:4]
        own["main_score"] = sum(own["v_measures"]) / 4

    def alike(result):
        own = result["scores"]["test"][0]
        own["scores_per_experiment"] = [{"accuracy": own["main_score"]}] * 10

    for folder in (a, b):
        alter_result(folder, "Heaps", few)
        alter_result(folder, "Classes", alike)
    found = rows(a, b)
    assert found["Heaps"].reason == "4 draws are too few to tell"
    assert found["Classes"].reason == "its draws are all alike"
    alter_result(b, "Classes", lambda r: r["scores"]["test"][0].pop("scores_per_experiment"))
    assert rows(a, b)["Classes"].reason == "there are neither items nor draws of it"


def test_draws_behind_others_are_not_paired(a, b):
    after = [{"split": "test", "subset": "default", "drawn_after": [["test", "de"]]}]
    alter(b, lambda m: m["tasks"]["Classes"].update(drawn=after))
    found = rows(a, b)["Classes"]
    assert found.source == "t-test over 10 unpaired draws"
    assert found.standard_error > rows(a, a_copy(a))["Classes"].standard_error


def a_copy(folder):
    target = folder.parent / "copy"
    shutil.copytree(folder, target)
    return target


def of_result(task, **fields):
    return lambda folder: alter_result(folder, task, lambda result: result.update(fields))


def redefined(folder):
    alter(folder, lambda m: m["tasks"]["Found"]["made_with"]["task"].update(type="Reranking"))


def other_subset(folder):
    def change(manifest):
        manifest["suites"][0]["tasks"][0]["subsets"] = ["en"]

    alter(folder, change)
    alter_result(folder, "Found", lambda result: result["scores"]["test"][0].update(hf_subset="en"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            of_result("Found", dataset_revision="b" * 40),
            "another dataset revision: aaaaaaaaaaaa in A, bbbbbbbbbbbb in B",
        ),
        (of_result("Found", mteb_version="2.1.0"), "another mteb version: 1.38.30 in A, 2.1.0 in"),
        (of_result("Found", task_name="Other"), "B's file holds the result of another task, Other"),
        (redefined, "another task definition: type Retrieval in A, type Reranking in B"),
        (other_subset, "another task: its subsets default in A, en in B"),
        (
            lambda f: (f / "Found.json").write_text((f / "Found.json").read_text() + " "),
            "B: the file is not the one the run wrote",
        ),
    ],
)
def test_what_is_not_comparable(a, b, change, reason):
    change(b)
    [suite] = paired(a, b).suites
    found = {row.task: row for row in suite.rows}["Found"]
    assert found.outcome is Outcome.NOT_COMPARABLE
    assert found.reason.startswith(reason)
    assert "1 not comparable (Found)" in suite.conclusion
    assert suite.mean_task.name == "Mean(Task) of the 4 compared"


def test_another_definition_of_clustering_is_not_comparable(a, b):
    def fast(result):
        own = result["scores"]["test"][0]
        own["v_measures"] = {"Level 0": own["v_measures"]}

    alter_result(b, "Heaps", fast)
    assert rows(a, b)["Heaps"].reason == "one of the two is a record of another task definition"


def test_what_is_missing_is_said(a, b):
    (b / "Found.json").unlink()
    alter(b, lambda m: m["tasks"]["Alike"].update(status="failed", error="no\nmemory"))
    alter_result(a, "Pairs", lambda r: r["scores"]["test"][0].update(main_score=float("nan")))
    found = rows(a, b)
    assert {t: found[t].reason for t in ("Found", "Alike", "Pairs")} == {
        "Found": "B: no result",
        "Alike": "B: failed in run.json: no memory",
        "Pairs": "A: its main_score of test, default is no score of 0 to 1",
    }
    assert {found[t].outcome for t in ("Found", "Alike", "Pairs")} == {Outcome.MISSING}


def test_what_was_made_otherwise_is_told(a, tmp_path):
    changes = {
        "recipe": {"pooling": "last_token", "max_length": 512},
        "settings": {"mode": "fast", "batch_size": None},
        "environment": {"python": "3.11.7", "packages": {"torch": "2.8.0", "mteb": "1.38.30"}},
    }
    b = make_run(tmp_path / "b", TASKS, revision="f" * 16, fingerprint="f" * 16, **changes)
    for task in ("Found", "Alike"):
        alter(b, lambda m, t=task: m["tasks"][t]["made_with"].update(data={"folder": "c" * 64}))
    pair = paired(a, b)
    data = Difference("data", '{"hub": "1"}', '{"folder": "cccccccccccc"}', ("Found", "Alike"))
    assert pair.differences == (
        Difference("revision", "0123456789abcdef", "f" * 16),
        Difference("recipe pooling", "mean", "last_token"),
        Difference("settings mode", "strict", "fast"),
        Difference("settings batch_size", "32", "none"),
        Difference("packages torch", "2.7.1", "2.8.0"),
        data,
    )
    assert pair.a.label == "org/name (0123456789ab)"
    (b / "run.json").unlink()
    with pytest.raises(NothingToCompareError, match="no task is in both"):
        paired(a, b)


def test_tasks_of_different_suites_are_compared_where_both_have_them(a, tmp_path):
    others = {"Found": TASKS["Found"], "More": ("STS", 1.0)}
    b = make_run(tmp_path / "b", others, seed=2)
    alter(b, lambda m: m["suites"][0].update(name="other"))
    [suite] = paired(a, b).suites
    assert suite.suite.name == "the tasks of both"
    assert [row.task for row in suite.rows] == ["Found"]
    alter(b, lambda m: m["suites"][0].update(name="mine"))
    found = rows(a, b)
    assert set(found) == {*TASKS, "More"}
    assert found["More"].reason == "A: no result"


def test_only_some_tasks(a, b):
    found = rows(a, b, ["found", "Alike"])
    assert set(found) == {"Found", "Alike"}
    # Two tests, not five.
    assert found["Found"].adjusted_p == pytest.approx(2 * found["Found"].p)
    with pytest.raises(UserError, match=r"unknown task 'Fond' in the suites of both runs.*Found"):
        paired(a, b, ["Fond"])


def test_two_published_folders_without_manifests(reference, tmp_path):
    """Of results as mteb writes them there are draws, and no items."""
    [source] = (reference / "published_runs").glob("*/*")
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        for task in ("STSB", "TNews", "BiorxivClusteringP2P.v2"):
            shutil.copyfile(source / f"{task}.json", folder / f"{task}.json")
    for task in ("STSB", "TNews"):
        path = tmp_path / "b" / f"{task}.json"
        value = json.loads(path.read_text())
        [row] = value["scores"]["validation" if task == "TNews" else "test"]
        row["main_score"] = row["main_score"] - 0.01
        for own in row.get("scores_per_experiment", []):
            own["accuracy"] -= 0.01
        path.write_text(json.dumps(value))
    pair = paired(tmp_path / "a", tmp_path / "b")
    found = {row.task: row for suite in pair.suites for row in suite.rows}
    assert found["STSB"].reason == "A and B kept no items"
    assert found["TNews"].source == "t-test over 10 unpaired draws"
    assert found["BiorxivClusteringP2P.v2"].outcome is Outcome.EQUAL
    assert "A has no run.json: how it was made is not known" in pair.remarks
