"""One task loaded and one scored while a third is encoded, each with its own random numbers."""

import random
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mteb.encoder_interface import PromptType

from qzhou_eval.encode.ahead import Aside, prefetched
from qzhou_eval.encode.encoder import Encoder
from qzhou_eval.evaluate import runner
from qzhou_eval.evaluate.generators import Generators
from qzhou_eval.evaluate.mteb1.replay import Replay
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

    def encode(texts, *, prompt_type, **_):
        calls.append((prompt_type, list(texts)))
        return np.array([[len(calls), ord(text)] for text in texts], dtype=np.float32)

    replay = Replay(SimpleNamespace(encode=encode, mteb_model_meta=None))
    own = {"task_name": "A task", "batch_size": 32}
    replay.record(["a", "b"], prompt_type=PromptType.query, **own)
    replay.record(["a", "b", "a"], prompt_type=None, **own)
    assert replay.encode(["a", "b"], prompt_type=PromptType.query, **own)[0, 0] == 1
    assert replay.encode(["a", "b", "a"], **own)[0, 0] == 2
    # A set of texts comes in any order.
    in_another = replay.encode(["b", "a"], prompt_type=PromptType.query, **own)
    assert in_another.tolist() == [[1, ord("b")], [1, ord("a")]]
    assert len(calls) == 2
    for texts, kind in ((["a", "b"], PromptType.passage), (["b", "a", "a"], None), (["a"], None)):
        before = len(calls)
        assert replay.encode(texts, prompt_type=kind, **own)[0, 0] == before + 1


def what_is_drawn(prepared):
    """Return what classification has drawn, by unit."""
    return {portion.units: portion.encode.args[2] for portion in prepared.portions}


def test_loading_keeps_nobody_from_drawing(monkeypatch, data):
    """A task's draws, and another's scoring, do not wait for a download."""
    from qzhou_eval.evaluate.jobs import prepare
    from qzhou_eval.evaluate.mteb1 import portions as portions_module
    from qzhou_eval.suite.library import built_in

    loading, go_on = threading.Event(), threading.Event()
    load = portions_module.load_data

    def slow(task, spec, local):
        loading.set()
        assert go_on.wait(SECONDS)
        load(task, spec, local)

    suite = built_in("cmteb")
    spec = suite.task("TNews")
    [job] = prepare((spec,), [data], SimpleNamespace(instructions={}))
    expected = what_is_drawn(portions_module.prepare_task(spec, job.local))
    monkeypatch.setattr(portions_module, "load_data", slow)
    found = []
    thread = threading.Thread(
        target=lambda: found.append(what_is_drawn(portions_module.prepare_task(spec, job.local)))
    )
    thread.start()
    assert loading.wait(SECONDS)
    drawn = threading.Event()

    def other():
        with Generators().lent():
            seed(5)
            draws()
            drawn.set()

    threading.Thread(target=other, daemon=True).start()
    assert drawn.wait(SECONDS)
    go_on.set()
    thread.join()
    [ours] = found
    for place, evaluators in expected.items():
        assert [e.sentences_train for e in evaluators] == [e.sentences_train for e in ours[place]]


def test_longest_first_and_those_of_no_plan_last():
    jobs = [SimpleNamespace(spec=SimpleNamespace(name=name)) for name in "abcd"]
    planned = {"a": {"seconds": 1}, "b": {"texts": 3}, "c": {"seconds": 5}}
    assert [job.spec.name for job in longest_first(jobs, planned)] == ["c", "a", "b", "d"]


@pytest.mark.parametrize("first", ["EcomRetrieval", "Ocnli"])
def test_devices_encode_while_a_task_is_scored(cli, bert, data, tmp_path, monkeypatch, first):
    """A score that is not given before the next task's texts are asked for.

    The next task is made, with the random generators, only once the score is under way: neither
    waits for the other.
    """
    from mteb.evaluation.evaluators import PairClassificationEvaluator

    from qzhou_eval.evaluate.mteb1 import portions as portions_module
    from qzhou_eval.evaluate.mteb1 import retrieval

    tasks = [first, "BQ"]
    assert cli("cmteb", *arguments(bert, data, tasks, tmp_path / "plain")).code == 0
    scoring, asked, in_time = threading.Event(), threading.Event(), []
    encode, scores, build = Encoder.encode, retrieval._scores, portions_module.build
    compute = PairClassificationEvaluator.compute_metrics

    def encoding(self, texts, **named):
        if named.get("label", "").startswith("BQ"):
            asked.set()
        return encode(self, texts, **named)

    def waiting(original):
        def wait(*given, **named):
            scoring.set()
            in_time.append(asked.wait(SECONDS))
            return original(*given, **named)

        return wait

    def building(spec, local):
        if spec.name == "BQ":
            in_time.append(scoring.wait(SECONDS))
        return build(spec, local)

    monkeypatch.setattr(Encoder, "encode", encoding)
    monkeypatch.setattr(portions_module, "build", building)
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
    from qzhou_eval.evaluate.mteb1 import portions as portions_module

    load = portions_module.load_data

    def broken(task, spec, local):
        if spec.name == "BQ":
            raise OSError("planted: no data")
        return load(task, spec, local)

    monkeypatch.setattr(portions_module, "load_data", broken)
    monkeypatch.setattr(Encoder, "elsewhere", True)
    outcome = cli("cmteb", *arguments(bert, data, ["Ocnli", "BQ", "TNews"], tmp_path))
    assert outcome.code == 1
    assert "OSError: planted: no data" in outcome.out
    assert set(all_scores(tmp_path)) == {"Ocnli", "TNews"}
