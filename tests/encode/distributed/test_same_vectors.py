"""Vectors of two actors against those of this process, bit for bit."""

import numpy as np
import pytest
import torch

from qzhou_eval.encode.encoder import load_encoder
from qzhou_eval.encode.fast import fast_encoder
from qzhou_eval.encode.preflight import Status
from qzhou_eval.encode.progress import Progress
from qzhou_eval.errors import UserError, VectorError
from tests.encode.distributed.conftest import CPU, resolved
from tests.encode.distributed.stand_in import StandInLoader, vectors_of
from tests.encode.reference import encode as plainly
from tests.encode.reference import load as load_plainly

pytest.importorskip("ray", reason="ray is not installed in this environment")

WORDS = ["the", "quick", "brown", "fox", "天气", "jumps", "银行", "over", "查询"]


def drawn(count, longest=40):
    random = np.random.default_rng(count)
    return [" ".join(random.choice(WORDS, random.integers(1, longest))) for _ in range(count)]


@pytest.fixture
def one_thread():
    """As many threads as an actor has of this machine's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, (before + 1) // 2))
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("count", [1, 31, 33, 500])
def test_strict_vectors_are_those_of_the_same_device_count(fleet, qzhou, one_thread, dtype, count):
    actors = fleet(model=qzhou, dtype=dtype)
    own = resolved(qzhou, dtype=dtype)
    texts = ["", *drawn(count - 1)]
    expected = load_encoder(own.checkpoint, own.recipe, CPU, devices=2).encode(texts, prompt="Q: ")
    found = actors.encoder.encode(texts, prompt="Q: ")
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    left = own.recipe.padding_side.value == "left"
    tokenizer, model = load_plainly(qzhou, getattr(torch, dtype), left)
    plain = plainly(
        tokenizer,
        model,
        texts,
        prompt="Q: ",
        pooling="mean",
        left=left,
        max_length=own.recipe.max_length,
        devices=2,
    )
    assert np.array_equal(found, plain)
    assert actors.encoder.meter.texts == count


def test_where_the_chunk_rule_agrees_the_device_count_does_not_show(fleet, bert, one_thread):
    # 6,500 texts: chunks of 3,200 on one device as on two.
    texts = drawn(6500, longest=6)
    own = resolved(bert)
    expected = load_encoder(own.checkpoint, own.recipe, CPU).encode(texts)
    assert np.array_equal(fleet().encoder.encode(texts), expected)


def test_no_texts_give_no_vectors(fleet):
    assert fleet().encoder.encode([]).shape == (0, 32)


def test_fast_vectors_are_the_same_up_to_rounding(fleet, qzhou):
    actors = fleet(model=qzhou, dtype="float32")
    assert actors.make_fast().layout == "unpadded"
    own = resolved(qzhou, dtype="float32")
    one = fast_encoder(load_encoder(own.checkpoint, own.recipe, CPU)).encoder
    texts = drawn(700) * 2
    found = actors.encoder.encode(texts, prompt="Q: ")
    assert np.abs(found - one.encode(texts, prompt="Q: ")).max() <= 1e-5
    assert not actors.encoder.exact
    # Each distinct text once, whichever actor has it.
    assert actors.encoder.meter.texts == len(texts)
    assert actors.encoder.meter.tokens == one.meter.tokens
    assert actors.encoder.learned == one.learned


def test_a_bad_vector_is_named_by_its_place_in_the_call(fleet):
    texts = [f"text {number}" for number in range(200)]
    texts[150] = "nan"
    with pytest.raises(VectorError, match=r"of text 151 'nan'"):
        fleet(StandInLoader()).encoder.encode(texts)


def test_what_a_model_says_is_wrong_is_told_at_once(fleet):
    actors = fleet(StandInLoader())
    with pytest.raises(UserError, match="this text is wrong"):
        actors.encoder.encode([f"text {number}" for number in range(100)] + ["wrong"])
    assert actors.pool.restarts == 0
    # And what was under way then does not get into what comes after.
    texts = [f"other {number}" for number in range(100)]
    assert np.array_equal(actors.encoder.encode(texts), vectors_of(texts))


def test_preflight_checks_every_device_and_that_they_agree(fleet, qzhou):
    actors = fleet(model=qzhou)
    result = actors.preflight({"a task": "Instruct: x\nQuery: "})
    assert not result.failures
    agreement = result.checks[-1]
    assert (agreement.name, agreement.status) == ("devices agree", Status.PASSED)
    assert agreement.detail == "2 devices give the same bits"


def test_preflight_names_the_device_that_is_wrong(fleet, qzhou):
    actors = fleet(model=qzhou, padding_side="right", pooling="last_token")
    with pytest.raises(UserError, match=r"cpu, actor 1: "):
        actors.preflight({}).raise_for_failures()


def test_pace_and_ceiling_are_of_all_devices(fleet, bert):
    actors = fleet()
    pace = actors.pace(0.3, 32)
    assert all(rate > 0 for rate in pace.rates)
    assert actors.ceiling(0.05) > 0
    assert actors.name == "2 x CPU"
    assert actors.shape.hidden == 32
    assert actors.tokenizer("the fox")["input_ids"]
    hardware = actors.hardware
    assert [one["device"] for one in hardware["devices"]] == ["cpu, actor 1", "cpu, actor 2"]


def test_how_far_a_long_chunk_is_can_be_seen(fleet, bert, monkeypatch):
    from qzhou_eval.encode.distributed import pool as pool_module

    monkeypatch.setattr(pool_module, "POLL_SECONDS", 0.02)
    actors = fleet()
    seen = []
    texts = drawn(6400, longest=60)
    show = Progress.show

    def spy(self, done, tokens):
        seen.append((self.texts, done, tokens))
        show(self, done, tokens)

    monkeypatch.setattr(Progress, "show", spy)
    actors.encoder.encode(texts, label="A task")
    # Before any of the two chunks was done, a part of them.
    assert any(whole == 0 and 0 < done < 6400 and tokens > done for whole, done, tokens in seen)
    assert all(whole + done <= 6400 for whole, done, _ in seen)
    assert seen[-1][:2] == (6400, 0)
