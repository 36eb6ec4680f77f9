"""Verdicts over the published folder, its copies with single things altered, and real runs."""

import json
import shutil

import pytest

from qzhou_eval.errors import NothingToCompareError, UserError
from qzhou_eval.scores.comparison import compare
from qzhou_eval.scores.published_scores import published_model, published_models
from qzhou_eval.scores.result_folder import open_result_folder
from qzhou_eval.scores.verdicts import TaskVerdict, Verdict, judge_score, judge_suite
from qzhou_eval.suite.suite import Suite, TaskSpec

MEDRXIV = {"MedrxivClusteringP2P.v2", "MedrxivClusteringS2S.v2"}
QZHOU = "Kingsoft-LLM__QZhou-Embedding"


@pytest.fixture(scope="session")
def published_folder(reference):
    [folder] = (reference / "published_runs" / QZHOU).iterdir()
    return folder


@pytest.fixture
def copy(published_folder, tmp_path):
    target = tmp_path / QZHOU / published_folder.name
    shutil.copytree(published_folder, target)
    for path in target.iterdir():
        path.chmod(0o644)
    target.chmod(0o755)
    return target


def judged(folder, tasks=(), model=None):
    results = open_result_folder(folder)
    return compare(results, published_model(model or results.model), tasks)


def row_of(comparison, task):
    return next(r for s in comparison.suites for r in s.rows if r.task == task)


def suite_of(comparison, name):
    return next(suite for suite in comparison.suites if name in suite.suite.name)


def alter(folder, task, change):
    path = folder / f"{task}.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def add(points, split="validation", row=0):
    def change(value):
        value["scores"][split][row]["main_score"] += points / 100

    return change


def test_the_table_is_the_reference(reference):
    import csv

    with (reference / "published_scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    models = published_models()
    assert len(models) == 17
    count = 0
    for row in rows:
        model = models[row["model"]]
        record = model.suites[row["suite"]][row["task"], row["split"], row["subset"]]
        assert model.revision == row["revision"]
        assert record.score == float(row["main_score"])
        assert record.dataset_revision == row["dataset_revision"].replace("None", "")
        assert record.mteb_version == row["mteb_version"]
        error = row["draw_standard_error"]
        assert record.standard_error == (float(error) if error else None)
        assert record.remark == row["remark"]
        count += 1
    assert count == sum(len(s) for m in models.values() for s in m.suites.values()) == 837
    assert all(model.source and model.date >= "2021" for model in models.values())


def test_the_published_folder_against_itself(published_folder):
    comparison = judged(published_folder)
    for suite in comparison.suites:
        for row in suite.rows:
            expected = Verdict.NOT_COMPARABLE if row.task in MEDRXIV else Verdict.EXACT
            assert row.verdict is expected, row
    assert comparison.reproduced
    assert row_of(comparison, "MedrxivClusteringS2S.v2").reason == (
        "the published score is a record of another task definition"
    )
    chinese, english = suite_of(comparison, "cmn"), suite_of(comparison, "eng")
    assert round(chinese.mean_task.ours, 2) == round(chinese.mean_task.published, 2) == 76.99
    assert round(chinese.mean_task_type.ours, 2) == 78.58
    assert round(english.mean_task.ours, 2) == 75.97
    assert round(english.mean_task_type.published, 2) == 69.52
    assert (chinese.compared, english.compared) == (31, 39)


@pytest.mark.parametrize(
    ("points", "verdict"),
    [
        (0.00004, Verdict.EXACT),
        (0.0002, Verdict.WITHIN),
        (0.1, Verdict.WITHIN),
        (-0.1, Verdict.WITHIN),
        (0.1002, Verdict.OFF),
        (-5, Verdict.OFF),
        (float("nan"), Verdict.MISSING),
    ],
)
def test_one_altered_score(copy, points, verdict):
    alter(copy, "LCQMC", add(points, "test"))
    comparison = judged(copy)
    row = row_of(comparison, "LCQMC")
    assert row.verdict is verdict
    assert comparison.reproduced is (verdict in (Verdict.EXACT, Verdict.WITHIN))
    assert suite_of(comparison, "eng").reproduced  # the other suite is not touched
    if verdict is Verdict.OFF:
        assert row.difference == pytest.approx(points)
        assert row.causes[-1] == "there is no run.json that says how ours was made"
        assert "1 off (LCQMC)" in suite_of(comparison, "cmn").reason


def test_two_standard_errors_of_the_draws_are_allowed(copy):
    record = published_model("QZhou-Embedding").suites["MTEB(cmn, v1)"]
    place = ("MultilingualSentiment", "validation", "default")
    allowed = 200 * record[place].standard_error
    assert allowed > 0.1
    alter(copy, place[0], add(allowed - 0.001))
    row = row_of(judged(copy), place[0])
    assert row.verdict is Verdict.WITHIN
    assert "two standard errors" in row.reason
    alter(copy, place[0], add(0.002))
    assert row_of(judged(copy), place[0]).verdict is Verdict.OFF


def test_a_tolerance_has_its_reason():
    assert judge_score(0.5, 0.5, 6, 0.01) == (Verdict.EXACT, "equal to 6 decimals")
    assert judge_score(0.5, 0.5001, 6, 0.0001)[1] == "tolerance 0.1 points"
    assert judge_score(0.7551, 0.75512, 4, None)[0] is Verdict.EXACT


def drop_file(folder):
    (folder / "STSB.json").unlink()


def other_split(folder):
    alter(folder, "STSB", lambda v: v["scores"].update(dev=v["scores"].pop("test")))


def other_subset(folder):
    alter(folder, "STSB", lambda v: v["scores"]["test"][0].update(hf_subset="en"))


def other_revision(folder):
    alter(folder, "STSB", lambda v: v.update(dataset_revision="0" * 40))


def other_mteb(folder):
    alter(folder, "STSB", lambda v: v.update(mteb_version="2.1.0"))


def other_task(folder):
    alter(folder, "STSB", lambda v: v.update(task_name="STSBenchmark"))


def other_definition(folder):
    alter(folder, "CLSClusteringP2P", lambda v: row(v).update(v_measures={"Level 0": [0.5]}))


def row(value):
    return value["scores"]["test"][0]


@pytest.mark.parametrize(
    ("change", "task", "verdict", "reason"),
    [
        (drop_file, "STSB", Verdict.MISSING, "no result in the folder"),
        (
            other_split,
            "STSB",
            Verdict.MISSING,
            "its result has dev default, validation default, not test",
        ),
        (
            other_subset,
            "STSB",
            Verdict.MISSING,
            "its result has test en, validation default, not test",
        ),
        (other_revision, "STSB", Verdict.NOT_COMPARABLE, "another dataset revision, 000000000000"),
        (other_mteb, "STSB", Verdict.NOT_COMPARABLE, "another mteb version, 2.1.0"),
        (other_task, "STSB", Verdict.NOT_COMPARABLE, "result of another task, STSBenchmark"),
        (
            other_definition,
            "CLSClusteringP2P",
            Verdict.NOT_COMPARABLE,
            "record of another task definition",
        ),
    ],
)
def test_what_is_no_score_of_the_suite(copy, change, task, verdict, reason):
    change(copy)
    comparison = judged(copy)
    found = row_of(comparison, task)
    assert found.verdict is verdict
    assert reason in found.reason
    assert not suite_of(comparison, "cmn").reproduced
    assert suite_of(comparison, "eng").reproduced
    # What is left is still judged, and a mean over a part is not given as the suite's.
    assert suite_of(comparison, "cmn").count(Verdict.EXACT) == 30
    if verdict is Verdict.MISSING:
        assert suite_of(comparison, "cmn").mean_task.ours is None


def test_another_version_of_a_task_is_named(copy):
    (copy / "STS22.v2.json").rename(copy / "STS22.json")
    (copy / "Touche2020Retrieval.v3.json").rename(copy / "Touche2020.json")
    for task, other in (("STS22.v2", "STS22"), ("Touche2020Retrieval.v3", "Touche2020")):
        found = row_of(judged(copy), task)
        assert (found.verdict, found.held_against_us) == (Verdict.NOT_COMPARABLE, True)
        assert found.reason == f"the folder holds {other}, another version of the task"


def test_a_flaw_of_the_published_record_is_not_held_against_us(copy):
    # MedicalRetrieval of this model was published with another revision of the dataset.
    tasks = ["MedicalRetrieval", "EcomRetrieval"]
    comparison = judged(copy, tasks, "TencentBAC/Conan-embedding-v2")
    medical = row_of(comparison, "MedicalRetrieval")
    assert medical.verdict is Verdict.NOT_COMPARABLE
    assert medical.reason.startswith("the published score is of another dataset revision")
    assert not medical.held_against_us
    assert row_of(comparison, "EcomRetrieval").verdict is Verdict.OFF


def test_figures_of_the_authors_own_are_held_to_their_digits(copy):
    comparison = judged(copy, ["STSB"], "TencentBAC/Conan-embedding-v1")
    remarks = comparison.suites[0].remarks
    assert "ours is another model, Kingsoft-LLM/QZhou-Embedding" in remarks
    assert any("the authors' own" in remark for remark in remarks)


def test_a_published_row_of_mteb_2_is_not_comparable_with_mteb_1(copy):
    comparison = judged(copy, ["MassiveScenarioClassification"], "Qwen/Qwen3-Embedding-8B")
    [found] = comparison.suites[0].rows
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert "mteb 2.3.2" in found.reason
    assert not comparison.reproduced  # nothing was compared


def test_a_part_is_judged_by_itself(copy):
    for path in list(copy.glob("*.json"))[:20]:
        if path.stem not in ("STSB", "BQ", "LCQMC"):
            path.unlink()
    assert not judged(copy).reproduced
    part = judged(copy, ["STSB", "bq", "LCQMC"])
    assert part.reproduced
    [suite] = part.suites
    assert (len(suite.rows), suite.compared, suite.mean_task.ours) == (3, 3, None)
    assert suite.compared_mean_task.ours == pytest.approx(suite.compared_mean_task.published)
    with pytest.raises(UserError, match=r"unknown task 'STSBB'.*STSB"):
        judged(copy, ["STSBB"])


def test_nothing_to_compare(copy, tmp_path):
    with pytest.raises(NothingToCompareError, match="no published scores of 'org/unknown'"):
        judged(copy, model="org/unknown")
    empty = tmp_path / "org__m" / "1"
    empty.mkdir(parents=True)
    with pytest.raises(NothingToCompareError, match="no result of a task"):
        judged(empty, model="QZhou-Embedding")


def manifest(folder, task, **entry):
    from qzhou_eval.files import file_digest
    from qzhou_eval.recipe.library import find_recipe

    digest = file_digest(folder / f"{task}.json")
    value = {
        "suites": [{"name": "MTEB(cmn, v1)", "tasks": []}],
        "recipe": find_recipe("qzhou-embedding").to_dict(),
        "settings": {"mode": "strict", "batch_size": 32, "device": "cuda"},
        "environment": {"packages": {"mteb": "1.38.30", "torch": "2.7.1+cu126"}},
        "tasks": {task: {"status": "done", "sha256": digest, **entry}},
    }
    (folder / "run.json").write_text(json.dumps(value))
    return value


def test_a_result_the_run_did_not_write_is_not_comparable(copy):
    manifest(copy, "STSB")
    assert row_of(judged(copy, ["STSB"]), "STSB").verdict is Verdict.EXACT
    stray = row_of(judged(copy, ["BQ"]), "BQ")
    assert (stray.verdict, stray.held_against_us) == (Verdict.NOT_COMPARABLE, True)
    assert "another run made it" in stray.reason
    alter(copy, "STSB", lambda value: None)  # the same, written otherwise
    assert "its digest differs" in row_of(judged(copy, ["STSB"]), "STSB").reason


def test_each_mean_has_the_noise_of_its_own_weights():
    """A type of one noisy task and a type of five: their draws weigh differently in the means."""
    suite = Suite("s", (TaskSpec("N", type="A"), *(TaskSpec(f"Q{i}", type="B") for i in range(5))))

    def judge(noisy, quiet, errors):
        rows = [
            TaskVerdict(t.name, t.type, "test", "default", 50 + d, 50.0, Verdict.WITHIN, "")
            for t in suite.tasks
            for d in [noisy if t.name == "N" else quiet]
        ]
        return judge_suite(suite, rows, errors)

    # Two standard errors of N are 5 points: 2.5 of them in Mean(TaskType), 0.83 in Mean(Task).
    assert judge(4.9, 0.0, {"N": 0.025}).reproduced
    assert "Mean(TaskType) differs by 2.55" in judge(5.1, 0.0, {"N": 0.025}).reason
    # The noise of one type does not excuse the other mean, nor that of tasks not compared.
    assert not judge(0.3, 0.09, {"Q0": 0.0015, "elsewhere": 0.9}).reproduced


def test_a_result_that_does_not_say_what_it_is_of_is_remarked(copy):
    alter(copy, "STSB", lambda v: (v.pop("dataset_revision"), v.pop("mteb_version")))
    [suite] = judged(copy, ["STSB", "BQ"]).suites
    assert suite.remarks == ("ours does not say which dataset revision and mteb it is of (STSB)",)
    alter(copy, "MassiveScenarioClassification", lambda v: v.pop("mteb_version"))
    comparison = judged(copy, ["MassiveScenarioClassification"], "Qwen3-Embedding-8B")
    assert comparison.suites[0].rows[0].verdict is Verdict.NOT_COMPARABLE


def test_what_was_never_published_is_not_held_against_us(copy):
    alter(copy, "Ocnli", lambda v: v.update(mteb_version="2.1.0"))
    found = row_of(judged(copy, ["Ocnli", "STSB"], "all-MiniLM-L6-v2"), "Ocnli")
    assert (found.verdict, found.held_against_us) == (Verdict.MISSING, False)
    assert "has no published score" in found.reason


def test_a_score_of_something_else_is_not_in_our_mean(copy):
    def change(value):
        value["task_name"] = "STSBenchmark"
        value["scores"]["test"][0]["main_score"] = 0.0

    alter(copy, "STSB", change)
    suite = suite_of(judged(copy), "cmn")
    assert suite.mean_task.ours is None
    assert round(suite.mean_task.published, 2) == 76.99


def test_two_results_of_one_subset_are_refused(copy):
    alter(copy, "STSB", lambda v: v["scores"]["test"].append(dict(v["scores"]["test"][0])))
    with pytest.raises(UserError, match=r"STSB.json: has two results of test, default"):
        judged(copy)


@pytest.mark.parametrize("score", [10**400, 1e307, 91.4, -3, "0.9", None, True])
def test_scores_that_are_none(copy, score):
    alter(copy, "STSB", lambda v: v["scores"]["test"][0].update(main_score=score))
    found = row_of(judged(copy, ["STSB"]), "STSB")
    assert (found.verdict, found.ours) == (Verdict.MISSING, None)
    assert "its main_score" in found.reason


@pytest.mark.parametrize(
    "value",
    [
        {"suites": 5},
        {"suites": True, "tasks": []},
        {"suites": [{"name": {}}, {"name": [1]}, 3]},
        {"tasks": {"STSB": 3}, "recipe": [], "settings": "x", "environment": {"packages": 1}},
        {"model": {"a": 1}, "revision": ["\x1b[31m\n"], "preflight": 1},
    ],
)
def test_odd_manifests_are_lived_with(copy, value):
    (copy / "run.json").write_text(json.dumps(value))
    comparison = judged(copy, ["STSB"], "QZhou-Embedding")
    assert not comparison.reproduced  # no manifest that knows the result
    assert "\x1b" not in comparison.folder.revision


def test_a_failed_task_is_missing_with_its_error(copy):
    manifest(copy, "STSB", status="failed", error="no such file")
    found = row_of(judged(copy, ["STSB"]), "STSB")
    assert (found.verdict, found.reason) == (Verdict.MISSING, "failed in run.json: no such file")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"recipe": {"max_length": 512}}, "ours has max_length 512, published 1024"),
        ({"recipe": {"dtype": "float32"}}, "ours has dtype float32, published bfloat16"),
        ({"recipe": {"attention": "eager"}}, "ours has attention eager, published sdpa"),
        ({"recipe": {"pooling": "last_token"}}, "ours has pooling last_token, published mean"),
        ({"recipe": {"empty_text": ""}}, "ours has empty_text none, published Null"),
        ({"settings": {"batch_size": 128}}, "batches of 128, published 32"),
        ({"settings": {"devices": 8}}, "texts were cut up for 8 devices"),
        ({"settings": {"device": "cpu"}}, "half precision on a CPU"),
        ({"settings": {"mode": "fast"}}, "fast mode"),
        ({"environment": {"packages": {"torch": "2.11.0"}}}, "torch 2.11.0 (published 2.7.1)"),
        ({"made_with": {"instruction": None}}, "prompt missing: published with 'Retrieve sem"),
        (
            {"made_with": {"instruction": {"instruction": "Find", "rule": "query only"}}},
            "another prompt: 'Find' (query only), published with 'Retrieve sem",
        ),
        ({"made_with": {"data": {"folder": "abc"}}}, "a local folder (content abc)"),
        ({"recipe": {"text_prefix": "q: "}}, "ours has text_prefix 'q: ', published none"),
    ],
)
def test_likely_causes_are_named(copy, changes, cause):
    alter(copy, "STSB", add(3, "test"))
    value = manifest(copy, "STSB")
    text = "Retrieve semantically similar text"
    instruction = {"instruction": text, "rule": "query and document"}
    made_with = {"instruction": instruction, "data": {"hub": "x"}}
    value["tasks"]["STSB"]["made_with"] = made_with | changes.pop("made_with", {})
    for part, change in changes.items():
        value[part].update(change)
    (copy / "run.json").write_text(json.dumps(value))
    found = row_of(judged(copy, ["STSB"]), "STSB")
    assert found.verdict is Verdict.OFF
    assert any(cause in told for told in found.causes), found.causes
    assert len(found.causes) == 1


def test_an_instruction_where_there_was_none_is_named(copy):
    value = manifest(copy, "STS12")
    value["tasks"]["STS12"]["made_with"] = {"instruction": {"instruction": "Find", "rule": "x"}}
    value["suites"] = []
    (copy / "run.json").write_text(json.dumps(value))
    found = row_of(judged(copy, ["STS12"], "all-MiniLM-L6-v2"), "STS12")
    assert "ours put an instruction on ('Find'), published without one" in found.causes
    assert "ours is another model, Kingsoft-LLM/QZhou-Embedding" in found.causes


def test_another_commit_is_a_cause(copy):
    value = manifest(copy, "STSB")
    (copy / "run.json").write_text(json.dumps({**value, "revision": "0" * 40}))
    alter(copy, "model_meta", lambda v: v.update(name="kingsoft-llm/qzhou-embedding"))
    comparison = judged(copy, ["STSB"])
    remark = "ours is another revision of the model, 000000000000, not f1e6c03ee388"
    assert comparison.suites[0].remarks == (remark,)


def test_the_wrong_split_is_recognised(copy):
    def swap(value):
        scores = value["scores"]
        scores["dev"] = json.loads(json.dumps(scores["test"]))
        scores["test"][0]["main_score"] -= 0.05

    alter(copy, "STSB", swap)
    found = row_of(judged(copy, ["STSB"]), "STSB")
    assert found.verdict is Verdict.OFF
    assert found.causes[0] == "the published score is that of our dev default"
