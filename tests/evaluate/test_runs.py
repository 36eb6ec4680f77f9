"""Whole runs through the command line, on small data in hub layout."""

import csv
import json

import mteb
import pytest

from qzhou_eval.evaluate import jobs, runner
from qzhou_eval.files import read_json
from qzhou_eval.suite.library import built_in
from tests.evaluate.hub_layout import CMTEB_TASKS, MTEB_TASKS
from tests.evaluate.results import run_folder


def mteb_own_result(spec, model, folder, data):
    """What mteb's own run of the task writes, for the same model on the same data."""
    task = mteb.get_task(spec.name)
    subsets = list(spec.subsets)
    dataset = {**task.metadata.dataset, "path": str(data / task.metadata.dataset["path"])}
    dataset.pop("trust_remote_code", None)
    task.metadata = task.metadata.model_copy(update={"dataset": dataset})
    task.hf_subsets = subsets
    mteb.MTEB(tasks=[task]).run(
        model,
        verbosity=0,
        output_folder=str(folder),
        eval_splits=list(spec.splits),
        eval_subsets=subsets,
        encode_kwargs={"batch_size": 32},
    )
    [path] = folder.rglob(f"{spec.name}.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("command", "tasks"), [("cmteb", CMTEB_TASKS), ("mteb", MTEB_TASKS)], ids=["cmteb", "mteb"]
)
def test_every_type_and_layout_scores_as_mteb_itself(
    cli, bert, data, tmp_path, monkeypatch, command, tasks
):
    models = []
    original = runner._start

    def keep_model(ready, folder, model, *others, **named):
        models.append(model)
        return original(ready, folder, model, *others, **named)

    monkeypatch.setattr(runner, "_start", keep_model)
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path / "ours"]
    outcome = cli(command, "--tasks", ",".join(tasks), *arguments)
    assert outcome.code == 0, outcome.out + outcome.err
    folder = run_folder(tmp_path / "ours")
    for name in tasks:
        ours = read_json(folder / f"{name}.json", "result file")
        theirs = mteb_own_result(
            built_in(command).task(name), models[0], tmp_path / "theirs" / name, data
        )
        assert ours["scores"] == theirs["scores"], name
        for key in ("task_name", "dataset_revision", "mteb_version"):
            assert ours[key] == theirs[key], (name, key)
        assert set(ours) == set(theirs)


def test_result_folder_is_as_mteb_names_it(cli, bert, data, tmp_path):
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    named = ["--model-name", "org/name", "--revision", "0" * 40]
    assert cli("cmteb", "--tasks", "BQ", *arguments, *named).code == 0
    folder = tmp_path / "org__name" / ("0" * 40)
    names = {path.name for path in folder.iterdir()} - {".run.lock"}
    written = {"model_meta.json", "run.json", "summary.csv", "summary.md"}
    assert names == {"BQ.json", "items", *written}
    assert [path.name for path in (folder / "items").iterdir()] == ["BQ.csv.gz"]
    meta = read_json(folder / "model_meta.json", "model record")
    assert (meta["name"], meta["revision"], meta["embed_dim"]) == ("org/name", "0" * 40, 32)


def test_only_the_suites_subsets_are_run(cli, bert, data, tmp_path):
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    assert cli("mteb", "--tasks", "STS22.v2,MassiveIntentClassification", *arguments).code == 0
    for name in ("STS22.v2", "MassiveIntentClassification"):
        scores = read_json(run_folder(tmp_path) / f"{name}.json", "result file")["scores"]
        assert {k: [row["hf_subset"] for row in rows] for k, rows in scores.items()} == {
            "test": ["en"]
        }


def test_a_score_does_not_depend_on_what_ran_before(cli, bert, data, tmp_path):
    name = "MassiveIntentClassification"
    arguments = ["--model", bert, "--datasets-dir", data]
    alone, after = tmp_path / "alone", tmp_path / "after"
    assert cli("mteb", "--tasks", name, *arguments, "--output-dir", alone).code == 0
    more = f"BiorxivClusteringP2P.v2,SCIDOCS,{name}"
    assert cli("mteb", "--tasks", more, *arguments, "--output-dir", after).code == 0
    results = [
        read_json(run_folder(folder) / f"{name}.json", "result file")["scores"]
        for folder in (alone, after)
    ]
    assert results[0] == results[1]


def test_batch_size_does_not_leak_from_task_to_task(cli, bert, data, tmp_path, monkeypatch):
    from qzhou_eval.encode.encoder import Encoder

    sizes = set()
    original = Encoder.encode

    def spy(self, texts, **kwargs):
        if kwargs.get("label"):  # a task's texts, not the preflight's
            sizes.add(kwargs["batch_size"])
        return original(self, texts, **kwargs)

    monkeypatch.setattr(Encoder, "encode", spy)
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    tasks = "SCIDOCS,AskUbuntuDupQuestions,STS13,SummEvalSummarization.v2"
    assert cli("mteb", "--tasks", tasks, *arguments).code == 0
    assert sizes == {32}


def test_prompts_reach_the_texts_they_are_meant_for(cli, qzhou, data, tmp_path, monkeypatch):
    from qzhou_eval.encode.encoder import Encoder

    seen = {}
    original = Encoder.encode

    def spy(self, texts, **kwargs):
        if kwargs.get("label"):  # a task's texts, not the preflight's
            seen.setdefault(kwargs["label"], set()).add(kwargs["prompt"])
        return original(self, texts, **kwargs)

    monkeypatch.setattr(Encoder, "encode", spy)
    arguments = ["--model", qzhou, "--trust-remote-code", "--datasets-dir", data]
    tasks = "EcomRetrieval,T2Reranking,BQ"
    outcome = cli("cmteb", "--tasks", tasks, *arguments, "--output-dir", tmp_path)
    assert outcome.code == 0, outcome.err
    shop = (
        "Instruct: Given a user query from an e-commerce website, retrieve description "
        "sentences of relevant products\nQuery: "
    )
    web = (
        "Instruct: Given a Chinese search query, retrieve web passages that answer the "
        "question\nQuery: "
    )
    assert seen == {
        "EcomRetrieval query": {shop},
        "EcomRetrieval document": {""},
        "T2Reranking query": {web},
        "T2Reranking document": {web},
        "BQ": {"Instruct: Retrieve semantically similar text\nQuery: "},
    }


def test_pair_classification_does_not_follow_the_hash_seed(data, bert, tmp_path):
    """mteb hands the texts over in the order of a set; two processes give the same bits."""
    import os
    import subprocess
    import sys

    found = []
    for seed in ("1", "2"):
        output = tmp_path / seed
        command = [sys.executable, "-m", "qzhou_eval", "cmteb", "--tasks", "Ocnli", "--offline"]
        command += ["--model", str(bert), "--dtype", "bf16", "--datasets-dir", str(data)]
        subprocess.run(
            [*command, "--output-dir", str(output)],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        found.append(read_json(run_folder(output) / "Ocnli.json", "result file")["scores"])
    assert found[0] == found[1]


def test_a_failed_task_leaves_the_others_alone(cli, bert, data, tmp_path):
    # A column is missing: only the task itself can notice.
    from tests.evaluate.hub_layout import demo_rows, renamed, write

    rows = renamed(demo_rows("sts-zh/test.jsonl"), score="points")
    write(tmp_path / "C-MTEB" / "LCQMC", {"default": {"test": rows}})
    write(tmp_path / "C-MTEB" / "BQ", {"default": {"test": demo_rows("sts-zh/test.jsonl")}})
    arguments = ["--model", bert, "--datasets-dir", tmp_path, "--output-dir", tmp_path / "out"]
    outcome = cli("cmteb", "--tasks", "LCQMC,BQ", *arguments)
    assert outcome.code == 1
    assert "1 of 2 tasks failed: LCQMC" in outcome.out
    assert "--retry-failed" in outcome.out
    folder = run_folder(tmp_path / "out")
    manifest = read_json(folder / "run.json", "run manifest")
    assert manifest["tasks"]["LCQMC"]["status"] == "failed"
    assert "Traceback" in manifest["tasks"]["LCQMC"]["traceback"]
    assert manifest["tasks"]["BQ"]["status"] == "done"
    assert not (folder / "LCQMC.json").exists()
    # Mended, the same command runs what failed and keeps what did not.
    write(tmp_path / "C-MTEB" / "LCQMC", {"default": {"test": demo_rows("sts-zh/test.jsonl")}})
    retried = cli("cmteb", *arguments, "--retry-failed")
    assert retried.code == 0
    lines = [line for line in retried.out.splitlines() if line.startswith("[")]
    assert [line.split()[1:3] for line in lines] == [["1/1]", "LCQMC"]]
    outcome = cli("cmteb", "--tasks", "LCQMC,BQ", *arguments)
    assert outcome.code == 0
    lines = [line for line in outcome.out.splitlines() if line.startswith("[")]
    assert ["kept" in line for line in lines] == [True, True]
    nothing = cli("cmteb", *arguments, "--retry-failed")
    assert nothing.code == 0
    assert "Every task that was begun" in nothing.out


def test_results_of_other_data_are_refused_by_name(cli, bert, tmp_path):
    from tests.evaluate.hub_layout import demo_rows, write

    rows = demo_rows("sts-zh/test.jsonl")
    arguments = ["--model", bert, "--datasets-dir", tmp_path, "--output-dir", tmp_path / "out"]
    arguments += ["--tasks", "BQ"]

    def score():
        path = run_folder(tmp_path / "out") / "BQ.json"
        return read_json(path, "result file")["scores"]["test"][0]["main_score"]

    write(tmp_path / "C-MTEB" / "BQ", {"default": {"test": rows}})
    assert cli("cmteb", *arguments).code == 0
    before = score()
    write(tmp_path / "C-MTEB" / "BQ", {"default": {"test": rows[:20]}})
    refused = cli("cmteb", *arguments)
    assert refused.code == 2
    assert "BQ was made otherwise there (data folder " in refused.error
    assert "--overwrite BQ" in refused.error
    assert score() == before
    assert cli("cmteb", *arguments, "--overwrite", "bq").code == 0
    assert score() != before
    assert "kept" in cli("cmteb", *arguments).out
    assert "kept" in cli("cmteb", *arguments, "--overwrite", "changed").out
    write(tmp_path / "C-MTEB" / "BQ", {"default": {"test": rows}})
    assert cli("cmteb", *arguments, "--overwrite", "changed").code == 0
    assert score() == before
    assert "kept" not in cli("cmteb", *arguments, "--overwrite", "all").out
    unknown = cli("cmteb", *arguments, "--overwrite", "LCQMC")
    assert unknown.code == 2
    assert "--overwrite LCQMC: not among the tasks of this run" in unknown.error


def test_a_touched_result_is_not_kept(cli, bert, data, tmp_path):
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    assert cli("cmteb", "--tasks", "BQ", *arguments).code == 0
    path = run_folder(tmp_path) / "BQ.json"
    before = path.read_text()
    path.write_text(before.replace('"main_score": ', '"main_score": 1'))
    outcome = cli("cmteb", "--tasks", "BQ", *arguments)
    assert "evaluated again: its result file is not as the run wrote it" in outcome.out
    ours, theirs = json.loads(before), json.loads(path.read_text())
    assert ours["scores"] == theirs["scores"]


def test_two_runs_in_one_folder(cli, bert, data, tmp_path):
    import fcntl

    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    arguments += ["--tasks", "BQ"]
    assert cli("cmteb", *arguments).code == 0
    with (run_folder(tmp_path) / ".run.lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        outcome = cli("cmteb", *arguments)
    assert outcome.code == 2
    assert "another run is writing there" in outcome.error


def test_both_suites_in_one_folder(cli, bert, data, tmp_path):
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    assert cli("cmteb", "--tasks", "BQ", *arguments).code == 0
    assert cli("mteb", "--tasks", "STS13", *arguments).code == 0
    manifest = read_json(run_folder(tmp_path) / "run.json", "run manifest")
    assert [suite["name"] for suite in manifest["suites"]] == ["MTEB(cmn, v1)", "MTEB(eng, v2)"]
    summary = (run_folder(tmp_path) / "summary.md").read_text()
    assert "1 of 31 tasks done" in summary
    assert "1 of 41 tasks done" in summary


def test_unsound_vectors_fail_the_task_and_name_the_text(cli, bert, data, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(bert, tmp_path / "nan-bert")
    weights = load_file(broken / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][:] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    arguments = ["--model", broken, "--datasets-dir", data, "--output-dir", tmp_path / "out"]
    outcome = cli("cmteb", "--tasks", "BQ", *arguments)
    assert outcome.code == 2
    assert "preflight: weights:" in outcome.error
    assert not (tmp_path / "out").exists()
    outcome = cli("cmteb", "--tasks", "BQ", *arguments, "--skip-preflight")
    assert outcome.code == 1
    assert "VectorError" in outcome.out
    assert "the first, of text 1" in outcome.out
    manifest = read_json(run_folder(tmp_path / "out") / "run.json", "run manifest")
    assert manifest["preflight"] == {"skipped": True}
    assert manifest["failed"] == ["BQ"]


def test_own_suite_file_and_tasks_by_name(cli, bert, data, tmp_path):
    from tests.evaluate.hub_layout import demo_rows, write

    write(tmp_path / "mine" / "pairs", {"default": {"test": demo_rows("sts-en/test.jsonl")}})
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'name = "mine"\ndatasets_dir = "."\n'
        '[[tasks]]\nname = "STS22.v2"\nsubsets = ["en"]\n'
        '[[tasks]]\nname = "Own"\ntype = "STS"\nlayout = "pairs"\ndataset = "mine/pairs"\n'
        'languages = ["eng-Latn"]\n'
    )
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path / "out"]
    outcome = cli("run", suite, *arguments)
    assert outcome.code == 0, outcome.err
    assert "Mean(Task)" in outcome.out
    by_name = cli("run", "STS13", "STS22.v2:en", *arguments)
    assert by_name.code == 0, by_name.err
    report = cli("report", tmp_path / "out", "--output", tmp_path / "tables")
    assert report.code == 0
    table = (tmp_path / "tables" / "leaderboard.csv").read_text()
    assert table.splitlines()[0].startswith("suite,model,mean_task,mean_task_type,Classification,")
    assert '"run: STS13 STS22.v2:en"' in table or "run: STS13 STS22.v2:en" in table
    assert "mine,local/tiny-bert," in table


def test_other_subsets_of_a_result_are_not_lost(cli, bert, data, tmp_path):
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    name = "MassiveIntentClassification"
    assert cli("mteb", "--tasks", name, *arguments).code == 0
    path = run_folder(tmp_path) / f"{name}.json"
    before = read_json(path, "result file")["scores"]["test"]
    suite = tmp_path / "german.toml"
    suite.write_text(f'[[tasks]]\nname = "{name}"\nsplits = ["test"]\nsubsets = ["de"]\n')
    assert cli("run", suite, *arguments).code == 0
    after = read_json(path, "result file")["scores"]["test"]
    assert {row["hf_subset"] for row in after} == {"de", "en"}
    assert [row for row in after if row["hf_subset"] == "en"] == before
    assert "kept" in cli("mteb", "--tasks", name, *arguments).out
    report = cli("report", tmp_path)
    assert "german" in report.out
    assert "MTEB(eng, v2)" in report.out


def test_an_old_score_does_not_outlive_a_failed_run(cli, bert, tmp_path):
    from tests.evaluate.hub_layout import demo_rows, renamed, write

    rows = demo_rows("sts-zh/test.jsonl")
    arguments = ["--model", bert, "--datasets-dir", tmp_path, "--output-dir", tmp_path / "out"]
    write(tmp_path / "C-MTEB" / "BQ", {"default": {"test": rows}})
    assert cli("cmteb", "--tasks", "BQ", *arguments).code == 0
    write(tmp_path / "C-MTEB" / "BQ", {"default": {"test": renamed(rows, score="points")}})
    assert cli("cmteb", "--tasks", "BQ", *arguments, "--overwrite", "all").code == 1
    summary = (run_folder(tmp_path / "out") / "summary.md").read_text()
    assert "0 of 31 tasks done" in summary
    assert "BQ: failed in run.json" in summary
    with (run_folder(tmp_path / "out") / "summary.csv").open(encoding="utf-8") as file:
        assert {row["score"] for row in csv.DictReader(file)} == {""}
    report = cli("report", tmp_path / "out").out
    assert "0/31" in report
    assert "BQ: failed in run.json" in report


def test_results_of_other_package_versions_are_refused_by_name(
    cli, bert, data, tmp_path, monkeypatch
):
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    monkeypatch.setattr(jobs, "deciding_packages", lambda: {"torch": "1.13.0", "mteb": "1.38.29"})
    assert cli("cmteb", "--tasks", "BQ", *arguments).code == 0
    monkeypatch.undo()
    refused = cli("cmteb", "--tasks", "BQ", *arguments)
    assert refused.code == 2
    assert "packages torch '1.13.0' there, '2." in refused.error
    assert "packages mteb '1.38.29' there, '1." in refused.error
    # Other tasks are none of its business.
    assert cli("cmteb", "--tasks", "Ocnli", *arguments).code == 0


def test_another_instruction_table_is_another_folder(cli, qzhou, data, tmp_path):
    table = tmp_path / "mine.toml"
    table.write_text('BQ = "Mine"\n')
    arguments = ["--model", qzhou, "--trust-remote-code", "--datasets-dir", data]
    arguments += ["--output-dir", tmp_path / "out"]
    assert cli("cmteb", "--tasks", "BQ", *arguments).code == 0
    outcome = cli("cmteb", "--tasks", "T2Reranking", *arguments, "--instruction-table", table)
    assert outcome.code == 2
    assert "instruction_table '' there" in outcome.error


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('name = "STS12"\nLAYOUT', "STS12 is a task of mteb's"),
        ('name = "../../evil"\nLAYOUT', "not a name a result file can have"),
        ('name = "run"\nLAYOUT', "not a name a result file can have"),
        ('name = "STS13"\nmetric = "cosine_pearson"', "its metric is 'cosine_spearman' in mteb"),
        ('name = "STS13"\nrevision = "000"', "its revision is"),
        ('name = "STS13"\ndataset = "mine/sts"', "its dataset is 'mteb/sts13-sts' in mteb"),
    ],
)
def test_suite_files_that_would_mislead(cli, bert, data, tmp_path, text, told):
    layout = 'type = "STS"\nlayout = "pairs"\ndataset = "mteb/sts13-sts"\n'
    layout += 'languages = ["eng-Latn"]\n'
    suite = tmp_path / "mine.toml"
    suite.write_text("[[tasks]]\n" + text.replace("LAYOUT", layout) + "\n")
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path / "out"]
    outcome = cli("run", suite, *arguments)
    assert outcome.code == 2
    assert told in outcome.error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("revision", ["../../escaped", "/tmp/escaped", "..", "a/b"])
def test_a_revision_leads_nowhere_else(cli, bert, data, tmp_path, revision):
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path / "out"]
    outcome = cli("cmteb", "--tasks", "BQ", *arguments, "--revision", revision)
    assert outcome.code == 2
    assert "cannot name a folder" in outcome.error


def test_interrupted_it_says_so_and_goes_on(cli, bert, data, tmp_path, monkeypatch):
    from qzhou_eval.encode.encoder import Encoder

    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    original = Encoder.encode

    def interrupt(self, texts, **kwargs):
        if kwargs.get("label") == "BQ":
            raise KeyboardInterrupt
        return original(self, texts, **kwargs)

    monkeypatch.setattr(Encoder, "encode", interrupt)
    outcome = cli("cmteb", "--tasks", "Ocnli,BQ", *arguments)
    assert outcome.code == 130
    assert "the same command goes on" in outcome.err
    monkeypatch.undo()
    outcome = cli("cmteb", "--tasks", "Ocnli,BQ", *arguments)
    assert outcome.code == 0
    lines = [line for line in outcome.out.splitlines() if line.startswith("[")]
    assert ["kept" in line for line in lines] == [True, False]
