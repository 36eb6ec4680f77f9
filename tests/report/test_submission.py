"""Exported folders: what mteb reads of them, what is refused and why, and how they are written."""

import json
import os
import shutil
from pathlib import Path

import pytest
from mteb.load_results.task_results import TaskResult
from mteb.model_meta import ModelMeta

from qzhou_eval.errors import StorageError, UserError
from qzhou_eval.report.submission import placing as placing_module
from qzhou_eval.report.submission import result_file
from qzhou_eval.report.submission.choice import Choice
from qzhou_eval.report.submission.identity import Identity
from qzhou_eval.report.submission.model_record import FIELDS, complete_record, record_faults
from qzhou_eval.report.submission.placing import write
from qzhou_eval.report.submission.refusal import NotExportedError
from qzhou_eval.report.submission.result_file import as_mteb_writes
from qzhou_eval.report.submission.submission import prepare
from qzhou_eval.scores.result_folder import open_result_folder
from tests.report.submitting import (
    COMMIT,
    MINILM,
    NAME,
    PLACE,
    SAMPLE,
    alter,
    contents,
    means,
    read_by_mteb,
    sample,
)

PARTIAL = Choice(partial=True)
OTHER_COMMIT = "1" * 39 + "a"


@pytest.fixture
def plain(tmp_path):
    """A folder as mteb leaves it, without a run.json."""
    return sample(tmp_path / "in")


@pytest.fixture
def run(tmp_path):
    """A folder with its run.json, of a model read from a folder."""
    return sample(tmp_path / "in", manifest=True)


def export(folder, output, choice=PARTIAL, **named):
    submission = prepare(open_result_folder(folder), output, choice, **named)
    write(submission.placing)
    return submission


def refused(folder, output, choice=PARTIAL, **named):
    """Return all that is told of a folder that is refused; nothing may be written."""
    before = contents(folder)
    with pytest.raises(NotExportedError) as error:
        export(folder, output, choice, **named)
    assert not output.exists()
    assert contents(folder) == before
    return error.value.problems


@pytest.fixture(scope="module")
def published(reference):
    [folder] = (reference / "published_runs").glob("*/*")
    return folder


def test_mteb_reads_the_published_means(published, tmp_path, monkeypatch):
    submission = export(published, tmp_path / "out", Choice())
    loaded = read_by_mteb(tmp_path / "out", tmp_path / "cache", monkeypatch)
    [model] = loaded.model_results
    assert (model.model_name, model.model_revision) == (
        "Kingsoft-LLM/QZhou-Embedding",
        published.name,
    )
    assert means(loaded, "MTEB(eng, v2)") == (75.97, 69.52, 41)
    assert means(loaded, "MTEB(cmn, v1)") == (76.99, 78.58, 31)
    target = tmp_path / "out" / "results" / published.parent.name / published.name
    assert contents(target) == contents(published)
    [remark] = [line for line in submission.warnings if "definition" in line]
    assert remark.startswith("MedrxivClusteringP2P.v2, MedrxivClusteringS2S.v2: record of another")


def test_files_are_as_mteb_itself_writes_them(plain, tmp_path):
    export(plain, tmp_path / "out")
    paths = [p for p in (tmp_path / "out" / PLACE).iterdir() if p.name != "model_meta.json"]
    assert len(paths) == 16
    for path in paths:
        TaskResult.from_disk(path, load_historic_data=False).to_disk(tmp_path / "by_mteb")
        assert path.read_bytes() == (tmp_path / "by_mteb").read_bytes()
        assert path.read_bytes() == (SAMPLE / path.name).read_bytes()


def test_a_file_written_otherwise_comes_out_as_mteb_writes_it(plain, tmp_path):
    def unusual(value):
        value["scores"]["test"][0]["main_score"] = 0.12345678
        value["evaluation_time"] = 3
        del value["kg_co2_emissions"]
        value["remark"] = "mteb does not know this"

    alter(plain, "STS17", unusual)
    export(plain, tmp_path / "out")
    written = tmp_path / "out" / PLACE / "STS17.json"
    TaskResult.from_disk(plain / "STS17.json").to_disk(tmp_path / "by_mteb")
    assert written.read_bytes() == (tmp_path / "by_mteb").read_bytes()
    assert json.loads(written.read_text())["scores"]["test"][0]["main_score"] == 0.123457


def test_other_subsets_of_a_file_stay(plain, tmp_path):
    other = {"main_score": 0.5, "hf_subset": "ko-ko", "languages": ["kor-Hang"], "more": [0.25]}
    alter(plain, "STS17", lambda value: value["scores"]["test"].insert(0, other))
    alter(plain, "STS17", lambda value: value["scores"].update(train=[other]))
    export(plain, tmp_path / "out")
    scores = json.loads((tmp_path / "out" / PLACE / "STS17.json").read_text())["scores"]
    assert scores == json.loads((plain / "STS17.json").read_text())["scores"]
    assert scores["test"][0] == scores["train"][0] == other


def first(value):
    return next(iter(value["scores"].values()))[0]


def main_score(score):
    return lambda value: first(value).update(main_score=score)


def drop(key):
    return lambda value: value.pop(key)


HEAD = {
    "another task": (lambda v: v.update(task_name="STSB"), "the result of another task, STSB"),
    "no task": (drop("task_name"), "the result of another task, nothing"),
    "mteb": (lambda v: v.update(mteb_version="1.39.7"), "made with mteb 1.39.7, not 1.38.30"),
    "no mteb": (drop("mteb_version"), "made with mteb nothing, not 1.38.30"),
    "dataset": (lambda v: v.update(dataset_revision="0" * 40), f"dataset revision {'0' * 40}, not"),
    "no dataset": (drop("dataset_revision"), "does not say which revision of its dataset"),
    "no time": (drop("evaluation_time"), "lacks evaluation_time"),
    "time": (lambda v: v.update(evaluation_time="long"), "evaluation_time is long, not a number"),
    "no scores": (drop("scores"), "not a result file, it has no table of scores"),
    "scores": (lambda v: v.update(scores=[1]), "not a result file, it has no table of scores"),
}
ROWS = {
    "points": (main_score(75.97), "main_score of test, default is 75.97, not from -1 to 1"),
    "negative": (main_score(-1.01), "main_score of test, default is -1.01, not from -1 to 1"),
    "NaN": (main_score(float("nan")), "main_score of test, default is nan, no number"),
    "infinite": (main_score(float("inf")), "main_score of test, default is inf, no number"),
    "text": (main_score("0.5"), "main_score of test, default is 0.5, no number"),
    "true": (main_score(True), "main_score of test, default is True, no number"),
    "huge": (main_score(10**400), "no number"),
    "none": (lambda v: first(v).pop("main_score"), "main_score of test, default is nothing"),
    "languages": (lambda v: first(v).pop("languages"), "does not name its languages"),
    "no language": (lambda v: first(v).update(languages=[]), "does not name its languages"),
    "language": (lambda v: first(v).update(languages=["Chinese"]), "does not name its languages"),
    "subset": (lambda v: first(v).pop("hf_subset"), "does not name its subset"),
    "other subset": (
        lambda v: first(v).update(hf_subset="other"),
        "lacks subset default of split test",
    ),
    "split": (lambda v: v["scores"].update(dev=v["scores"].pop("test")), "lacks split test"),
    "twice": (lambda v: v["scores"]["test"].append(first(v)), "has two results of test, default"),
    "no list": (lambda v: v["scores"].update(test={}), "split test is not a list"),
    "beyond the suite": (
        lambda v: v["scores"].update(dev=[{**first(v), "main_score": 3}]),
        "main_score of dev, default is 3",
    ),
}


@pytest.mark.parametrize("fault", [*HEAD.values(), *ROWS.values()], ids=[*HEAD, *ROWS])
def test_a_file_that_would_be_bounced(plain, tmp_path, fault):
    change, words = fault
    alter(plain, "LCQMC", change)
    problems = refused(plain, tmp_path / "out")
    assert any(line.startswith("LCQMC: ") and words in line for line in problems), problems
    assert all(line.startswith("LCQMC: ") for line in problems)


def test_the_same_faults_are_no_worse_to_mteb(plain, tmp_path):
    """What is refused for mteb's sake is what mteb's reader refuses; it takes the others."""
    for kind in ("none", "languages", "subset", "no time", "no scores", "no dataset", "no task"):
        shutil.copy(SAMPLE / "LCQMC.json", plain)
        alter(plain, "LCQMC", {**HEAD, **ROWS}[kind][0])
        with pytest.raises(Exception):  # noqa: B017, PT011 - pydantic's, and others
            TaskResult.from_disk(plain / "LCQMC.json", load_historic_data=False)


def test_a_file_too_large_for_the_repository(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(result_file, "MOST_BYTES", 500)
    problems = refused(plain, tmp_path / "out", Choice(tasks=["STS17", "SummEvalSummarization.v2"]))
    assert any("larger than 500 bytes" in line for line in problems)


def test_correlations_alone_may_be_negative(plain, tmp_path):
    alter(plain, "LCQMC", main_score(-0.25))
    export(plain, tmp_path / "out")
    alter(plain, "Ocnli", main_score(-0.01))
    [problem] = refused(plain, tmp_path / "two")
    assert "Ocnli: main_score of validation, default is -0.01, not from 0 to 1" in problem


@pytest.mark.parametrize("data", [b"{", b"", b"[]", b"\xff", b'{"scores": {"test": []}, "a": NaN'])
def test_a_file_that_is_none(plain, tmp_path, data):
    (plain / "LCQMC.json").write_bytes(data)
    [problem] = refused(plain, tmp_path / "out")
    assert problem.startswith("LCQMC: ")
    assert "not a re" in problem


def test_all_is_told_at_once(plain, tmp_path):
    (plain / "LCQMC.json").unlink()
    alter(plain, "STS17", main_score(3))
    for name in ("ATEC", "STSB"):
        alter(plain, name, drop("evaluation_time"))
    alter(plain, "model_meta", lambda value: value.update(revision="none", name="alone"))
    problems = refused(plain.rename(plain.parent / "main"), tmp_path / "out", Choice())
    words = (
        "model alone: no model's name",
        "revision none: no commit",
        "MTEB(cmn, v1): 24 of 31 tasks have no result (",
        "MTEB(eng, v2): 33 of 41 tasks have no result (",
        "ATEC, STSB: lacks evaluation_time",
        "STS17: main_score",
    )
    assert len(problems) == len(words)
    for word in words:
        assert any(word in line for line in problems), (word, problems)
    assert "LCQMC" in next(line for line in problems if "cmn" in line)


def test_what_all_files_share_is_told_once(plain, tmp_path):
    for path in plain.glob("*.json"):
        if path.stem not in ("model_meta",):
            alter(plain, path.stem, lambda value: value.update(mteb_version="2.1.0"))
    [problem] = refused(plain, tmp_path / "out")
    assert problem.startswith("all 16 tasks: made with mteb 2.1.0, not 1.38.30")


def test_mixed_versions_are_named_by_task(plain, tmp_path):
    alter(plain, "STSB", lambda value: value.update(mteb_version="1.38.33"))
    alter(plain, "ATEC", lambda value: value.update(mteb_version="1.38.33"))
    [problem] = refused(plain, tmp_path / "out")
    assert problem.startswith("ATEC, STSB: made with mteb 1.38.33, not 1.38.30")


# Whole suites, parts of them, and tasks by name


def test_a_part_of_a_suite_must_be_asked_for(plain, tmp_path):
    problems = refused(plain, tmp_path / "out", Choice())
    assert [line.split(" have no result")[0] for line in problems] == [
        "MTEB(cmn, v1): 23 of 31 tasks",
        "MTEB(eng, v2): 33 of 41 tasks",
    ]
    assert all("--partial" in line for line in problems)
    [problem] = refused(plain, tmp_path / "out", Choice(suites=["mteb"]))
    assert "eng" in problem
    names = {path.stem for path in plain.glob("*.json")}
    export(plain, tmp_path / "out", PARTIAL)
    written = {Path(name).stem for name in contents(tmp_path / "out" / PLACE)}
    assert names - written == {
        "SciFact",
        "STSBenchmarkMultilingualSTS",
        "SIB200Classification",
        "MasakhaNEWSClusteringS2S",
    }


def test_tasks_by_name(plain, tmp_path):
    submission = export(plain, tmp_path / "out", Choice(tasks=["sts17", "LCQMC"]))
    files = set(contents(tmp_path / "out" / PLACE))
    assert files == {"STS17.json", "LCQMC.json", "model_meta.json"}
    assert [part.suite.name for part in submission.chosen.parts] == [
        "MTEB(cmn, v1)",
        "MTEB(eng, v2)",
    ]
    [problem] = refused(plain, tmp_path / "two", Choice(tasks=["STS17", "STS14"], partial=True))
    assert "1 of 41 tasks has no result (STS14)" in problem


def test_tasks_of_no_suite_by_name(run, tmp_path):
    choice = Choice(tasks=["SciFact", "MasakhaNEWSClusteringS2S"])
    export(run, tmp_path / "out", choice, revision=COMMIT)
    files = set(contents(tmp_path / "out" / PLACE))
    assert files == {"SciFact.json", "MasakhaNEWSClusteringS2S.json", "model_meta.json"}
    # It adds nothing of the suites that are named beside it.
    choice = Choice(tasks=["SciFact"], suites=["mteb"])
    assert export(run, tmp_path / "two", choice, revision=COMMIT).chosen.parts == ()
    assert len(contents(tmp_path / "two")) == 2


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice(suites=["demo"]), "unknown suite 'demo' in --suites: known: cmteb, mteb"),
        (Choice(tasks=["STS71"]), "unknown task 'STS71' in --tasks: did you mean STS17"),
        (Choice(tasks=["../../etc/passwd"]), "unknown task '../../etc/passwd'"),
        (Choice(tasks=["STS17"], suites=["cmteb"]), "STS17: not of the suites of --suites cmteb"),
        # Without a manifest nothing says what its result must hold.
        (Choice(tasks=["SciFact"]), "unknown task 'SciFact'"),
    ],
)
def test_choices_that_name_nothing(plain, tmp_path, choice, words):
    with pytest.raises(UserError, match=r".") as error:
        export(plain, tmp_path / "out", choice)
    assert words in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_task_of_ones_own_is_not_mtebs(run, tmp_path):
    own = {"name": "Tickets", "layout": "labelled", "splits": ["test"], "subsets": ["default"]}
    alter(run, "run", lambda value: value["suites"].append({"name": "mine", "tasks": [own]}))
    with pytest.raises(UserError, match="a task of a suite file's own"):
        export(run, tmp_path / "out", Choice(tasks=["Tickets"]), revision=COMMIT)


def test_the_manifest_says_which_suites(run, tmp_path):
    alter(run, "run", lambda v: v.update(suites=[s for s in v["suites"] if "eng" in s["name"]]))
    submission = export(run, tmp_path / "out", revision=COMMIT)
    assert [part.suite.name for part in submission.chosen.parts] == ["MTEB(eng, v2)"]
    assert any("left out, not asked for: AFQMC" in line for line in submission.warnings)


def test_a_folder_of_no_suite(plain, tmp_path):
    for path in plain.glob("*.json"):
        path.unlink()
    shutil.copy(SAMPLE / "SciFact.json", plain)
    with pytest.raises(UserError, match=r"no result of a task of MTEB\(cmn, v1\) or MTEB\(eng"):
        export(plain, tmp_path / "out")


# What the run itself says


def test_a_run_of_a_folder_model_wants_its_commit(run, tmp_path):
    [problem] = refused(run, tmp_path / "out")
    assert problem.startswith("revision b09de1334c11fdab: no commit of 40 hex digits")
    assert f"(the weights are those of {COMMIT})" in problem
    export(run, tmp_path / "out", revision=COMMIT)
    meta = json.loads((tmp_path / "out" / PLACE / "model_meta.json").read_text())
    assert (meta["name"], meta["revision"]) == (NAME, COMMIT)


def entry(change, task="STS17"):
    return lambda manifest: change(manifest["tasks"][task])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (entry(lambda e: e.update(sha256="0" * 64)), "STS17: the file is not the one the run"),
        (entry(lambda e: e.pop("sha256")), "STS17: run.json does not know this result"),
        (lambda m: m["tasks"].pop("STS17"), "STS17: run.json does not know this result"),
        (entry(lambda e: e.update(status="failed", error="no\x1b[31m")), "STS17: not done: failed"),
        (entry(lambda e: e.update(status="running")), "STS17: not done: running in run.json"),
        (entry(lambda e: e.update(status="to be evaluated again")), "STS17: not done: to be eval"),
        (lambda m: m["settings"].update(mode="fast"), "run in fast mode, not by the published"),
        (lambda m: m.update(model="local/tiny"), "run.json and model_meta.json name two models"),
    ],
)
def test_what_the_manifest_says_of_a_result(run, tmp_path, change, words):
    alter(run, "run", change)
    choice = Choice(tasks=["STS17", "LCQMC"])
    [problem] = refused(run, tmp_path / "out", choice, revision=COMMIT)
    assert words in problem
    assert problem.isprintable()


def test_a_part_leaves_out_what_is_not_done(run, tmp_path):
    alter(run, "run", entry(lambda e: e.update(status="failed", error="disk full")))
    (run / "LCQMC.json").unlink()
    submission = export(run, tmp_path / "out", revision=COMMIT)
    files = contents(tmp_path / "out" / PLACE)
    assert "STS17.json" not in files
    assert "STS15.json" in files
    assert "left out: STS17: failed in run.json: disk full" in submission.warnings
    assert "left out: LCQMC: its result file is gone" in submission.warnings


def test_a_result_changed_by_hand_is_not_exported(run, tmp_path):
    alter(run, "STS17", main_score(0.99))
    [problem] = refused(run, tmp_path / "out", revision=COMMIT)
    assert problem.startswith("STS17: the file is not the one the run wrote")


def test_fast_results_when_asked_for(run, tmp_path):
    alter(run, "run", lambda value: value["settings"].update(mode="fast"))
    submission = export(run, tmp_path / "out", revision=COMMIT, allow_fast=True)
    assert "run in fast mode" in submission.warnings


def test_departures_are_told(run, tmp_path):
    def depart(manifest):
        manifest["recipe"]["max_length"] = 128
        manifest["tasks"]["STS17"] |= {"split_batches": 2, "preflight": "skipped"}

    alter(run, "run", depart)
    told = "\n".join(export(run, tmp_path / "out", revision=COMMIT).warnings)
    assert "ours has max_length 128, published 256" in told
    assert "STS17: 2 batches were computed in parts" in told
    assert "run without preflight checks (--skip-preflight): STS17" in told
    assert "the data of 16 of 16 tasks was read from folders" in told
    assert "there is no run.json" not in told


# Model and commit


@pytest.mark.parametrize(
    ("revision", "words"),
    [
        ("main", "--revision main: no commit"),
        (COMMIT[:39], "no commit"),
        (COMMIT.upper(), "no commit"),
        ("0" * 40, "no commit"),
        (f"{COMMIT}\n", "no commit"),
        ("../" + COMMIT[3:], "no commit"),
        ("b09de1334c11fdabc01b190064c2f1e6046aa805", "no commit"),  # of the run's fingerprint
        ("53aa51172d142c89d9012cce15ae4d6cc0ca6895", "no commit"),  # of the weights' digest
    ],
)
def test_what_is_no_commit(run, tmp_path, revision, words):
    [problem] = refused(run, tmp_path / "out", revision=revision)
    assert words in problem


def test_results_of_one_commit_are_not_exported_as_anothers(plain, tmp_path):
    [problem] = refused(plain, tmp_path / "out", revision=OTHER_COMMIT)
    assert f"the results are of {COMMIT}" in problem
    other = plain.rename(plain.parent / OTHER_COMMIT)
    [problem] = refused(other, tmp_path / "out")
    assert f"the folder names two commits ({COMMIT}, {OTHER_COMMIT})" in problem
    export(other, tmp_path / "out", revision=COMMIT)


def test_a_commit_of_other_weights_is_refused(run, tmp_path):
    """Of weights that the run recognised, it knows the commit."""
    [problem] = refused(run, tmp_path / "out", revision=OTHER_COMMIT)
    assert problem.startswith(f"--revision {OTHER_COMMIT}: the weights are those of {COMMIT}")
    # Unless it was told that the folder is a copy of another.
    alter(run, "run", lambda value: value.update(revision=OTHER_COMMIT))
    alter(run, "model_meta", lambda value: value.update(revision=OTHER_COMMIT))
    assert export(run, tmp_path / "out").identity.revision == OTHER_COMMIT
    # What a user named proves nothing.
    alter(run, "run", lambda v: v.update(revision="b09d", recipe_chosen="named by --recipe"))
    alter(run, "model_meta", lambda value: value.update(revision="b09d"))
    submission = export(run, tmp_path / "two", revision=OTHER_COMMIT)
    assert submission.identity.revision == OTHER_COMMIT


OTHER_MODEL = "Qwen/other"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "the run recognised its weights"),
        ({"recipe_chosen": "the library's recipe for this model"}, "the run knew it by its name"),
        (
            {"recipe_chosen": "detected from the checkpoint's files", "location": NAME},
            "the run read it from the hub",
        ),
    ],
)
def test_another_model_than_the_run_knows_is_refused(run, tmp_path, change, words):
    alter(run, "run", lambda value: value.update(change))
    [problem] = refused(run, tmp_path / "out", revision=COMMIT, model_name=OTHER_MODEL)
    assert problem == (
        f"model {OTHER_MODEL}: the results are of {NAME}, {words}; results of one model are not "
        f"exported as another's (--model-name {NAME})"
    )
    export(run, tmp_path / "out", revision=COMMIT, model_name=NAME)


def test_a_run_filed_under_another_name_is_of_the_model_it_recognised(run, tmp_path):
    for name, key in (("run", "model"), ("model_meta", "name")):
        alter(run, name, lambda value, key=key: value.update({key: "mine/minilm"}))
    [problem] = refused(run, tmp_path / "out", revision=COMMIT)
    assert f"model mine/minilm: the results are of {NAME}" in problem
    assert export(run, tmp_path / "out", revision=COMMIT, model_name=NAME).identity.model == NAME


def test_the_record_of_another_model_is_not_carried_over(plain, tmp_path):
    submission = export(plain, tmp_path / "out", model_name=OTHER_MODEL)
    assert f"the run says that the model is {NAME}" in submission.warnings
    told = f"the run's model_meta.json is of {NAME}: nothing of it is exported"
    assert told in submission.warnings
    [path] = (tmp_path / "out").rglob("model_meta.json")
    record = json.loads(path.read_text())
    assert record == complete_record({}, Identity(OTHER_MODEL, COMMIT))
    assert (record["n_parameters"], record["embed_dim"], record["max_tokens"]) == (None,) * 3
    # Of a folder's model it is the one at hand.
    alter(plain, "model_meta", lambda value: value.update(name="local/tiny"))
    export(plain, tmp_path / "two", model_name=OTHER_MODEL)
    [path] = (tmp_path / "two").rglob("model_meta.json")
    assert json.loads(path.read_text())["embed_dim"] == 384


@pytest.mark.parametrize(
    "name",
    ["alone", "a/b/c", "/b", "a/", "../b", "a/..", ".git/b", "-a/b", "a b/c", "a/b\n", "a/é",
     "a/" + "b" * 300, "a\\b/c", "a__b/c", "a/b__c", "a/\x1b[2Jb"],
)  # fmt: skip
def test_what_is_no_models_name(plain, tmp_path, name):
    [problem] = refused(plain, tmp_path / "out", model_name=name)
    assert problem.startswith("model ")
    assert problem.isprintable()


def test_a_folders_model_has_no_name(plain, tmp_path):
    alter(plain, "model_meta", lambda value: value.update(name="local/tiny"))
    [problem] = refused(plain, tmp_path / "out")
    assert "model local/tiny: the model of a folder; --model-name ORG/NAME" in problem
    submission = export(plain, tmp_path / "out", model_name="my-org/tiny.v1")
    assert "the run says that the model is local/tiny" in submission.warnings
    assert (tmp_path / "out" / "results" / "my-org__tiny.v1" / COMMIT / "STS17.json").is_file()


# The model's record


def mteb_record(record):
    return ModelMeta(**{name: value for name, value in record.items() if name != "loader"})


def test_a_record_is_made_of_what_is_known(plain, tmp_path):
    (plain / "model_meta.json").unlink()
    submission = export(plain, tmp_path / "out")
    record = json.loads((tmp_path / "out" / PLACE / "model_meta.json").read_text())
    assert list(record) == list(mteb_record(record).to_dict())
    assert record == mteb_record(record).to_dict()
    assert record["reference"] == f"https://huggingface.co/{NAME}"
    assert (record["max_tokens"], record["use_instructions"]) == (256, False)
    assert record["release_date"] == "2021-08-30"
    [told] = [line for line in submission.warnings if line.startswith("model_meta.json has null")]
    nulls = told.partition("for ")[2].partition(":")[0].split(", ")
    assert {name for name, value in record.items() if value is None} - {
        "adapted_from", "superseded_by", "is_cross_encoder", "loader"
    } == set(nulls)  # fmt: skip
    assert {"languages", "n_parameters", "license"} <= set(nulls)


def test_every_field_is_mtebs():
    record = complete_record({}, Identity("org/unknown", COMMIT))
    assert list(record) == list(FIELDS) == list(mteb_record(record).to_dict())
    assert record["release_date"] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("release_date", "soon"),
        ("languages", ["English"]),
        ("n_parameters", "7B"),
        ("max_tokens", True),
        ("embed_dim", 1.5),
        ("open_weights", "perhaps"),
        ("framework", ["Keras"]),
        ("reference", "my page"),
        ("similarity_fn_name", "l2"),
        ("training_datasets", ["all"]),
        ("modalities", ["smell"]),
        ("n_parametres", 5),
    ],
)
def test_a_record_that_mteb_would_not_take(plain, tmp_path, field, value):
    alter(plain, "model_meta", lambda meta: meta.update({field: value}))
    [problem] = refused(plain, tmp_path / "out")
    assert problem.startswith("model_meta.json: ")
    assert field in problem
    if field != "max_tokens":  # mteb takes true for the number 1
        with pytest.raises(ValueError, match=field):
            mteb_record(json.loads((plain / "model_meta.json").read_text()))


def test_mtebs_own_records_are_sound():
    import mteb

    for meta in mteb.get_model_metas():
        assert record_faults(meta.to_dict()) == [], meta.name


# Where it goes


def test_the_same_again_changes_nothing(plain, tmp_path):
    export(plain, tmp_path / "out")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    again = export(plain, tmp_path / "out")
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == times
    assert (dict(again.placing.texts), len(again.placing.there)) == ({}, 17)


def test_another_result_is_never_overwritten(plain, tmp_path):
    export(plain, tmp_path / "out", Choice(tasks=["STS17"]))
    alter(plain, "STS17", main_score(0.5))
    before = contents(tmp_path / "out")
    with pytest.raises(NotExportedError, match=r"STS17\.json: there already, and different"):
        export(plain, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_record_that_was_filled_in_stays(plain, tmp_path):
    export(plain, tmp_path / "out", Choice(tasks=["STS17"]))
    target = tmp_path / "out" / PLACE
    alter(target, "model_meta", lambda value: value.update(license="apache-2.0"))
    submission = export(plain, tmp_path / "out")
    assert json.loads((target / "model_meta.json").read_text())["license"] == "apache-2.0"
    assert any("is left as it is" in line for line in submission.warnings)
    for change in (lambda v: v.update(revision=OTHER_COMMIT), lambda v: v.update(name="a/b")):
        alter(target, "model_meta", change)
        with pytest.raises(NotExportedError, match="there already, and of another model"):
            export(plain, tmp_path / "out")


def test_a_task_at_two_revisions_is_told(plain, tmp_path):
    other = tmp_path / "out" / "results" / MINILM / OTHER_COMMIT
    shutil.copytree(plain, other)
    submission = export(plain, tmp_path / "out")
    assert any(f"{other} has results of 16 of these tasks" in w for w in submission.warnings)


def test_not_into_the_run_folder(plain, tmp_path):
    placed = tmp_path / PLACE
    placed.parent.mkdir(parents=True)
    shutil.copytree(plain, placed)
    before = contents(tmp_path)
    for output in (tmp_path, placed, placed / "below"):
        with pytest.raises(NotExportedError, match="the run folder itself"):
            export(placed, output)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("where", ["out", "out/results", f"out/results/{MINILM}"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_no_folder_where_one_is_needed(plain, tmp_path, where, kind):
    path = tmp_path / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(tmp_path / "nowhere") if kind == "link" else path.write_text("precious")
    with pytest.raises(NotExportedError, match="export into another"):
        export(plain, tmp_path / "out")
    assert not (tmp_path / "nowhere").exists()
    assert kind == "link" or path.read_text() == "precious"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_things_in_the_place_of_a_file(plain, tmp_path, make):
    place = tmp_path / "out" / PLACE
    place.mkdir(parents=True)
    make(place / "STS17.json")
    with pytest.raises(NotExportedError, match=r"STS17\.json: there already, and different"):
        export(plain, tmp_path / "out")


# Together or not at all


@pytest.mark.parametrize("nth", [1, 9, 17])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_nothing(plain, tmp_path, monkeypatch, nth, error):
    export(plain, tmp_path / "out", Choice(tasks=["STS17"]))
    before = contents(tmp_path)
    original, calls = Path.replace, []

    def fail(self, target):
        calls.append(target)
        if len(calls) == nth:
            raise error
        return original(self, target)

    for output in (tmp_path / "new", tmp_path / "out"):
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", fail)
            # 15 new files beside STS17 and the record: the last of 17 is never come to.
            if output.name == "new" or nth < 17:
                with pytest.raises((StorageError, KeyboardInterrupt)):
                    export(plain, output)
        assert not (tmp_path / "new").exists()
        if nth < 17:
            assert contents(tmp_path) == before
    export(plain, tmp_path / "out")
    assert len(contents(tmp_path / "out" / PLACE)) == 17


def test_what_a_killed_export_left_is_cleared(plain, tmp_path):
    place = tmp_path / "out" / PLACE
    place.mkdir(parents=True)
    (place / ".STS17.json.abc.tmp").write_text("half")
    export(plain, tmp_path / "out")
    assert len(list(place.iterdir())) == 17


def test_a_folder_that_cannot_be_written(plain, tmp_path, monkeypatch):
    def refuse(contents):
        raise StorageError(f"{next(iter(contents))}: cannot be written: Permission denied")

    monkeypatch.setattr(placing_module, "write_together", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        export(plain, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_hostile_names_among_the_files(run, tmp_path):
    for name in ("\x1b[2J.json", "a\nb.json", "con.json", "-rf.json", "..json", "=1+1.json"):
        (run / name).write_text("{}")
    (run / "folder.json").mkdir()
    submission = export(run, tmp_path / "out", revision=COMMIT)
    assert len(contents(tmp_path / "out" / PLACE)) == 17
    left_out = next(line for line in submission.warnings if line.startswith("left out"))
    assert left_out.isprintable()


def test_hostile_names_in_the_manifest(run, tmp_path):
    names = ("../../etc/passwd", "/etc/passwd", "a\nb", "x" * 300, "run")

    def change(manifest):
        manifest["suites"].append({"name": "x", "tasks": [{"name": n} for n in names]})
        manifest["suites"] += [None, {"name": ["x"]}, {"name": "y", "tasks": 5}]
        manifest["tasks"] |= {name: {"status": "done"} for name in names}

    alter(run, "run", change)
    export(run, tmp_path / "out", revision=COMMIT)
    assert len(contents(tmp_path / "out")) == 17
    for name in names:
        with pytest.raises(UserError, match=r"not a name a result file can have|unknown task"):
            export(run, tmp_path / "two", Choice(tasks=[name]), revision=COMMIT)
    assert not (tmp_path / "two").exists()


def test_numbers_are_rounded_as_mteb_rounds_them():
    row = {"a": 0.1234567, "deep": {"b": [0.7654321, 1, None, float("nan")]}, "n": 3}
    value = {
        "dataset_revision": "r",
        "task_name": "t",
        "mteb_version": "1.38.30",
        "scores": {"test": [{**row, "main_score": 1, "hf_subset": "é", "languages": ["eng-Latn"]}]},
        "evaluation_time": None,
    }
    text = as_mteb_writes(value)
    assert '"b": [\n            0.765432,' in text
    assert "NaN" in text
    assert text.isascii()
