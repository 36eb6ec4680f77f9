"""``qzhou-eval export``, from the command line."""

import shutil

import pytest

from tests.evaluate.results import run_folder
from tests.report.submitting import COMMIT, MINILM, PLACE, SAMPLE, contents, read_by_mteb, sample


@pytest.fixture(scope="session")
def published_run(reference):
    return reference / "published_runs"


def test_the_published_folder(cli, published_run, tmp_path):
    outcome = cli("export", published_run, tmp_path / "out")
    assert outcome.code == 0, outcome.err
    assert "MTEB(cmn, v1): 31 of 31 tasks, Mean(Task) 76.99, Mean(TaskType) 78.58" in outcome.out
    assert "MTEB(eng, v2): 41 of 41 tasks, Mean(Task) 75.97, Mean(TaskType) 69.52" in outcome.out
    assert "Written: 72 task files and model_meta.json into " in outcome.out
    assert "Warning: MedrxivClusteringP2P.v2, MedrxivClusteringS2S.v2: record of" in outcome.out
    [folder] = (tmp_path / "out").glob("results/*/*")
    place = folder.relative_to(tmp_path / "out").as_posix()
    assert f"github.com/embeddings-benchmark/results that adds {place};" in outcome.out
    again = cli("export", published_run, tmp_path / "out", "--suites", "cmteb")
    assert again.code == 0
    assert "Written: 0 task files into " in again.out
    assert "there already: 31 task files and model_meta.json" in again.out
    assert "eng" not in again.out.partition("Written")[0]


def test_problems_are_listed(cli, tmp_path):
    outcome = cli("export", SAMPLE, tmp_path / "out")
    assert outcome.code == 2
    first, *problems = outcome.err.splitlines()
    assert first == f"error: {SAMPLE}: not exported, nothing was written; 3 problems"
    assert len(problems) == 3
    assert all(problem.startswith("  ") for problem in problems)
    assert outcome.out == ""
    assert list(tmp_path.iterdir()) == []


def test_one_run_folder_at_a_time(cli, tmp_path):
    runs = [sample(tmp_path / "runs" / name) for name in ("a", "b")]
    outcome = cli("export", tmp_path / "runs", tmp_path / "out")
    assert outcome.code == 2
    assert [line.split(":")[0].strip() for line in outcome.err.splitlines()[1:]] == [
        str(run) for run in runs
    ]
    assert not (tmp_path / "out").exists()
    shutil.rmtree(runs[0])
    assert cli("export", tmp_path / "runs", tmp_path / "out", "--partial").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{empty}", "out"], "no results in it"),
        (["no-dir", "out"], "no such folder"),
        (["{sample}", "out", "--tasks", " ,"], "--tasks ' ,': expected names"),
        (["{sample}", "out", "--suites", ","], "--suites ',': expected names"),
        (["{sample}", "out", "--suites", "cmtb"], "unknown suite 'cmtb' in --suites"),
        (["{sample}", "out", "--tasks", "STS71"], "did you mean STS17"),
        (["{sample}"], "Missing argument 'OUT'"),
        (["{demo}", "out"], "no result of a task of MTEB(cmn, v1) or MTEB(eng, v2)"),
    ],
)
def test_told_in_one_line(cli, tmp_path, monkeypatch, arguments, words):
    (tmp_path / "empty").mkdir()
    demo = tmp_path / "demo"
    demo.mkdir()
    (demo / "DemoSTS-en.json").write_text("{}")
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    outcome = cli("export", *(a.format(sample=SAMPLE, empty="empty", demo=demo) for a in arguments))
    assert outcome.code == 2
    assert words in outcome.error
    assert contents(tmp_path) == before


def test_a_run_of_ones_own(cli, bert, data, tmp_path, monkeypatch):
    """From an evaluation to what mteb reads of its export."""
    common = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path / "runs"]
    assert cli("cmteb", "--tasks", "BQ,TNews", *common).code == 0
    refused = cli("export", tmp_path / "runs", tmp_path / "out", "--partial")
    assert refused.code == 2
    assert "model local/" in refused.err
    assert "revision " in refused.err
    outcome = cli(
        "export", tmp_path / "runs", tmp_path / "out", "--partial",
        "--model-name", "my-org/tiny", "--revision", COMMIT,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "MTEB(cmn, v1): 2 of 31 tasks\n" in outcome.out
    [model] = read_by_mteb(tmp_path / "out", tmp_path / "cache", monkeypatch).model_results
    assert (model.model_name, model.model_revision) == ("my-org/tiny", COMMIT)
    assert sorted(model.task_names) == ["BQ", "TNews"]
    source = run_folder(tmp_path / "runs")
    for task in ("BQ", "TNews"):
        exported = tmp_path / "out" / "results" / "my-org__tiny" / COMMIT / f"{task}.json"
        assert exported.read_bytes() == (source / f"{task}.json").read_bytes()


def test_fast_results_are_refused_unless_asked_for(cli, tmp_path):
    import json

    folder = sample(tmp_path / "runs", manifest=True)
    manifest = json.loads((folder / "run.json").read_text())
    manifest["settings"]["mode"] = "fast"
    (folder / "run.json").write_text(json.dumps(manifest))
    common = ["export", folder, tmp_path / "out", "--partial", "--revision", COMMIT]
    outcome = cli(*common)
    assert outcome.code == 2
    assert "run in fast mode" in outcome.err
    outcome = cli(*common, "--allow-fast")
    assert outcome.code == 0
    assert "Warning: run in fast mode" in outcome.out
    assert (tmp_path / "out" / PLACE).parent.name == MINILM
