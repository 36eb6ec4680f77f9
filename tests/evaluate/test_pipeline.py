"""One task loaded and one scored while a third is encoded, each with its own random numbers."""

import random
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from qzhou_eval.encode.ahead import Aside, prefetched
from qzhou_eval.encode.encoder import Encoder
from qzhou_eval.evaluate import runner
from qzhou_eval.evaluate.generators import Generators
from qzhou_eval.evaluate.mteb1.replay import Recorder
from qzhou_eval.evaluate.runner import longest_first
from tests.evaluate.results import all_scores, arguments

SECONDS = 30


def test_the_next_thing_is_made_meanwhile_and_no_more_than_that():
    begun = [threading.Event() for _ in range(4)]

    def make(number):
        begun[number].set()
        return number * 10

    made = prefetched(make, range(4))
    assert next(made) == 0
    assert begun[1].wait(SECONDS)
    assert not begun[2].is_set()
    assert list(made) == [10, 20, 30]
    assert list(prefetched(make, [])) == []


def test_what_goes_wrong_ahead_is_raised_in_its_turn():
    made = prefetched(lambda number: 1 // number, [1, 0])
    assert next(made) == 1
    with pytest.raises(ZeroDivisionError):
        next(made)


@pytest.mark.parametrize("in_thread", [True, False])
def test_things_done_aside_keep_their_order_and_their_errors(in_thread):
    done = []
    with Aside(in_thread) as aside:
        for number in range(5):
            aside.do(lambda number=number: done.append(number))
    assert done == list(range(5))

    def fail():
        with Aside(in_thread) as aside:
            aside.do(lambda: 1 // 0)
            aside.do(lambda: done.append(5))

    with pytest.raises(ZeroDivisionError):
        fail()
    assert 5 not in done


def draws():
    return random.random(), float(np.random.rand()), float(torch.rand(1))


def seed(number):
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def test_each_task_finds_the_generators_as_it_left_them():
    expected = {}
    for number in (1, 2):
        seed(number)
        expected[number] = [draws() for _ in range(3)]
    found = {1: [], 2: []}
    generators = {1: Generators(), 2: Generators()}
    for number in (1, 2):
        with generators[number].lent():
            seed(number)
    for number in (1, 2, 2, 1, 1, 2):
        with generators[number].lent():
            found[number].append(draws())
    assert found == expected


def test_a_call_that_was_not_foreseen_is_encoded():
    calls = []

    def encode(texts, *, prompt="", **_):
        calls.append((prompt, list(texts)))
        return np.full((len(texts), 2), len(calls), dtype=np.float32)

    recorder = Recorder(SimpleNamespace(encode=encode, width=2))
    recorder.encode(["a", "b"], prompt="p")
    replay = recorder.replay()
    assert replay.encode(["a", "b"], prompt="p")[0, 0] == 1
    assert replay.encode(["a", "b"], prompt="q")[0, 0] == 2
    assert replay.encode(["b", "a"], prompt="p")[0, 0] == 3
    assert len(calls) == 3
    assert replay.width == 2


def test_longest_first_and_those_of_no_plan_last():
    jobs = [SimpleNamespace(spec=SimpleNamespace(name=name)) for name in "abcd"]
    planned = {"a": {"seconds": 1}, "b": {"texts": 3}, "c": {"seconds": 5}}
    assert [job.spec.name for job in longest_first(jobs, planned)] == ["c", "a", "b", "d"]


@pytest.mark.parametrize("first", ["EcomRetrieval", "Ocnli"])
def test_devices_encode_while_a_task_is_scored(cli, bert, data, tmp_path, monkeypatch, first):
    """A score that is not given before the next task's texts are asked for."""
    from mteb.evaluation.evaluators import PairClassificationEvaluator

    from qzhou_eval.evaluate.mteb1 import retrieval

    tasks = [first, "BQ"]
    assert cli("cmteb", *arguments(bert, data, tasks, tmp_path / "plain")).code == 0
    asked, in_time = threading.Event(), []
    encode, scores = Encoder.encode, retrieval._scores
    compute = PairClassificationEvaluator.compute_metrics

    def encoding(self, texts, **named):
        if named.get("label", "").startswith("BQ"):
            asked.set()
        return encode(self, texts, **named)

    def waiting(original):
        def wait(*given, **named):
            in_time.append(asked.wait(SECONDS))
            return original(*given, **named)

        return wait

    monkeypatch.setattr(Encoder, "encode", encoding)
    monkeypatch.setattr(retrieval, "_scores", waiting(scores))
    monkeypatch.setattr(PairClassificationEvaluator, "compute_metrics", waiting(compute))
    monkeypatch.setattr(Encoder, "elsewhere", True)
    monkeypatch.setattr(runner, "longest_first", lambda jobs, _: jobs)
    order = ["--tasks", ",".join(tasks)]
    own = arguments(bert, data, tasks, tmp_path / "overlapped")
    assert cli("cmteb", *own, *order).code == 0
    assert in_time
    assert all(in_time)
    assert all_scores(tmp_path / "plain") == all_scores(tmp_path / "overlapped")


def test_data_that_cannot_be_loaded_ahead_fails_its_own_task(
    cli, bert, data, tmp_path, monkeypatch
):
    from qzhou_eval.evaluate.mteb1 import results as results_module

    load = results_module.load_data

    def broken(task, spec, local):
        if spec.name == "BQ":
            raise OSError("planted: no data")
        return load(task, spec, local)

    monkeypatch.setattr(results_module, "load_data", broken)
    monkeypatch.setattr(Encoder, "elsewhere", True)
    outcome = cli("cmteb", *arguments(bert, data, ["Ocnli", "BQ", "TNews"], tmp_path))
    assert outcome.code == 1
    assert "OSError: planted: no data" in outcome.out
    assert set(all_scores(tmp_path)) == {"Ocnli", "TNews"}
