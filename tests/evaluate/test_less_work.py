"""What is encoded only once, scored meanwhile, or computed in parts, and that no score shows it."""

import numpy as np
import pytest
import torch
from mteb.evaluation.evaluators.RerankingEvaluator import RerankingEvaluator

from qzhou_eval.encode.encoder import Encoder
from qzhou_eval.encode.fast import FastEncoder
from qzhou_eval.evaluate import memo as memo_module
from qzhou_eval.evaluate import runner
from qzhou_eval.evaluate.memo import Memo
from qzhou_eval.evaluate.mteb1.reranking import average_precision, reranking
from qzhou_eval.files import read_json
from tests.evaluate.hub_layout import CMTEB_TASKS, MTEB_TASKS
from tests.evaluate.results import all_scores, run_folder


@pytest.mark.parametrize("mode", ["strict", "fast"])
@pytest.mark.parametrize(("command", "tasks"), [("cmteb", CMTEB_TASKS), ("mteb", MTEB_TASKS)])
def test_scoring_while_the_next_task_is_encoded_changes_no_score(
    cli, bert, data, tmp_path, monkeypatch, command, tasks, mode
):
    arguments = ["--model", bert, "--datasets-dir", data, "--tasks", ",".join(tasks)]
    arguments += ["--mode", mode]
    assert cli(command, *arguments, "--output-dir", tmp_path / "one").code == 0
    original, overlapped = runner._run_jobs, []

    def overlapping(jobs, folder, model, batch_size, overlap, *others):
        overlapped.append(overlap)
        return original(jobs, folder, model, batch_size, True, *others)

    monkeypatch.setattr(runner, "_run_jobs", overlapping)
    outcome = cli(command, *arguments, "--output-dir", tmp_path / "other")
    assert outcome.code == 0
    assert overlapped == [False]  # on a CPU, unless told
    assert all_scores(tmp_path / "one") == all_scores(tmp_path / "other")
    lines = [line for line in outcome.out.splitlines() if line.startswith("[")]
    assert len(lines) == len(tasks)
    manifest = read_json(run_folder(tmp_path / "other") / "run.json", "manifest")
    assert {entry["status"] for entry in manifest["tasks"].values()} == {"done"}
    # Nothing is encoded twice for it, and each task's own is put down to it.
    alone = read_json(run_folder(tmp_path / "one") / "run.json", "manifest")
    for name, entry in manifest["tasks"].items():
        for count in ("texts", "tokens"):
            assert entry[count] == alone["tasks"][name][count], name


def test_a_failure_in_put_off_scoring_is_that_tasks_own(cli, bert, data, tmp_path, monkeypatch):
    from qzhou_eval.evaluate.mteb1 import retrieval

    def broken(*_):
        raise ValueError("planted in scoring")

    original = runner._run_jobs
    monkeypatch.setattr(retrieval, "_scores", broken)
    monkeypatch.setattr(runner, "_run_jobs", lambda *a: original(*a[:4], True, *a[5:]))
    tasks = [next(t for t in CMTEB_TASKS if "Retrieval" in t), "BQ"]
    arguments = ["--model", bert, "--datasets-dir", data, "--tasks", ",".join(tasks)]
    outcome = cli("cmteb", *arguments, "--output-dir", tmp_path)
    assert outcome.code == 1
    assert set(all_scores(tmp_path)) == {"BQ"}
    manifest = read_json(run_folder(tmp_path) / "run.json", "manifest")
    assert manifest["failed"] == tasks[:1]
    assert "planted in scoring" in manifest["tasks"][tasks[0]]["error"]


def test_an_interruption_keeps_what_was_encoded(cli, bert, data, tmp_path, monkeypatch):
    tasks = [next(t for t in CMTEB_TASKS if "Retrieval" in t), "BQ"]
    original, encode = runner._run_jobs, Encoder.encode

    def interrupted(self, texts, **kwargs):
        if kwargs.get("label", "").startswith("BQ"):
            raise KeyboardInterrupt
        return encode(self, texts, **kwargs)

    monkeypatch.setattr(Encoder, "encode", interrupted)
    monkeypatch.setattr(runner, "_run_jobs", lambda *a: original(*a[:4], True, *a[5:]))
    arguments = ["--model", bert, "--datasets-dir", data, "--tasks", ",".join(tasks)]
    cli("cmteb", *arguments, "--output-dir", tmp_path)
    assert set(all_scores(tmp_path)) == {tasks[0]}


def test_an_interruption_while_a_score_is_awaited_keeps_both_tasks(
    cli, bert, data, tmp_path, monkeypatch
):
    tasks = [next(t for t in CMTEB_TASKS if "Retrieval" in t), "BQ"]
    original, finish, asked = runner._run_jobs, runner._finish, []

    def interrupted(started, folder):
        asked.append(started.job.spec.name)
        if len(asked) == 1:
            raise KeyboardInterrupt
        return finish(started, folder)

    monkeypatch.setattr(runner, "_finish", interrupted)
    monkeypatch.setattr(runner, "_run_jobs", lambda *a: original(*a[:4], True, *a[5:]))
    arguments = ["--model", bert, "--datasets-dir", data, "--tasks", ",".join(tasks)]
    cli("cmteb", *arguments, "--output-dir", tmp_path)
    assert asked == [tasks[0], *tasks]
    assert set(all_scores(tmp_path)) == set(tasks)


def test_fast_classification_encodes_draws_and_test_set_in_one_call(
    cli, bert, data, tmp_path, monkeypatch
):
    calls = []
    encode = Encoder.encode

    def spy(self, texts, **kwargs):
        if kwargs.get("label"):  # not the preflight's, nor the pace's
            calls.append((type(self), len(texts)))
        return encode(self, texts, **kwargs)

    monkeypatch.setattr(Encoder, "encode", spy)
    [task] = [t for t in CMTEB_TASKS if t in ("TNews", "Waimai", "JDReview", "OnlineShopping")][:1]
    arguments = ["--model", bert, "--datasets-dir", data, "--tasks", task, "--skip-preflight"]
    for mode, count in (("strict", 11), ("fast", 1)):
        calls.clear()
        assert cli("cmteb", *arguments, "--mode", mode, "--output-dir", tmp_path / mode).code == 0
        kind = FastEncoder if mode == "fast" else Encoder
        assert [own for own, _ in calls] == [kind] * count
    manifest = read_json(run_folder(tmp_path / "fast") / "run.json", "manifest")
    strict = read_json(run_folder(tmp_path / "strict") / "run.json", "manifest")
    assert manifest["tasks"][task]["texts"] == strict["tasks"][task]["texts"]
    # Distinct texts alone go through the model.
    assert manifest["tasks"][task]["tokens"] < strict["tasks"][task]["tokens"]


def test_memo_encodes_a_text_of_a_task_once(monkeypatch):
    asked = []

    def encode(texts):
        asked.append(texts)
        return np.array([[len(t), 1] for t in texts], dtype=np.float32).reshape(len(texts), 2)

    memo = Memo()
    first = memo.encode("A", "p", ["aa", "b", "aa"], encode)
    assert first[:, 0].tolist() == [2, 1, 2]
    assert memo.encode("A", "p", ["b", "ccc"], encode)[:, 0].tolist() == [1, 3]
    assert memo.encode("A", "p", ["b"], encode)[:, 0].tolist() == [1]
    memo.encode("A", "other", ["b"], encode)
    memo.encode("B", "p", ["b"], encode)
    assert asked == [["aa", "b"], ["ccc"], [], ["b"], ["b"]]
    monkeypatch.setattr(memo_module, "MEMO_BYTES", 16)  # two vectors
    asked.clear()
    memo.encode("C", "p", ["a", "b", "c"], encode)
    assert memo.encode("C", "p", ["a", "b", "c"], encode).shape == (3, 2)
    assert asked == [["a", "b", "c"], ["c"]]


def test_split_batches_are_told(cli, bert, data, tmp_path, monkeypatch):
    original = Encoder._vectors

    def scarce(self, batch):
        if len(batch["attention_mask"]) > 20:
            raise torch.OutOfMemoryError("planted")
        return original(self, batch)

    monkeypatch.setattr(Encoder, "_vectors", scarce)
    arguments = ["--model", bert, "--datasets-dir", data, "--tasks", "BQ", "--skip-preflight"]
    outcome = cli("cmteb", *arguments, "--output-dir", tmp_path)
    assert outcome.code == 0
    manifest = read_json(run_folder(tmp_path) / "run.json", "manifest")
    count = manifest["tasks"]["BQ"]["split_batches"]
    assert count >= 1
    told = "computed in parts for lack of memory"
    assert told in outcome.out
    assert told in (run_folder(tmp_path) / "summary.md").read_text()


class RerankingTask:
    """As much of a reranking task as is needed to hold it against mteb's evaluator."""

    def __init__(self, rows):
        self.dataset = {"test": rows}


class Vectors:
    """Stands in for a model: a text's vector is drawn from its number."""

    def __init__(self, width):
        self.width = width

    def encode(self, texts, **_):
        vectors = [np.random.default_rng(int(t[1:])).standard_normal(self.width) for t in texts]
        return np.array(vectors, dtype=np.float32)


@pytest.mark.parametrize("listed", [False, True], ids=["one query", "several queries"])
def test_reranking_is_mtebs_to_the_last_digit(listed):
    rng = np.random.default_rng(0)

    def some(count):
        return [f"d{n}" for n in rng.integers(0, 300, count)]  # with many equal ones

    rows = [
        {
            "query": [f"q{n}", f"q{n // 2}"] if listed else f"q{n % 50}",
            "positive": some(rng.integers(0, 4)),
            "negative": some(rng.integers(0, 40)),
        }
        for n in range(120)
    ]
    task = RerankingTask(rows)
    task.metadata = type("Metadata", (), {"name": "T", "main_score": "map"})
    ours = reranking(task, Vectors(16), "test", "default", 32)().scores
    theirs = RerankingEvaluator(rows, task_name="T", encode_kwargs={"batch_size": 32})(Vectors(16))
    assert set(ours) == {*theirs, "main_score"}
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


def test_average_precision_counts_equal_scores_together():
    scores = np.array([0.5, 0.5, 0.9], dtype=np.float32)
    assert average_precision(scores, 1) == pytest.approx(1 / 3)
    assert average_precision(scores, 2) == pytest.approx(2 / 3)
    assert average_precision(np.array([0.9, 0.1], dtype=np.float32), 1) == 1
