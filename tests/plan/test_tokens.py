import numpy as np
import pytest
from transformers import AutoTokenizer

from qzhou_eval.encode.rendering import render
from qzhou_eval.plan import tokens as module
from qzhou_eval.plan.tokens import RATIOS, SPREAD, cut_moments, token_counter
from qzhou_eval.recipe.recipe import Recipe
from qzhou_eval.suite.sizes import Size

PROMPT = "Instruct: Given a web search query\nQuery: "


@pytest.fixture
def tokenizer(qzhou):
    return AutoTokenizer.from_pretrained(qzhou)


def size(texts, characters, language="eng"):
    return Size("test", "default", None, language, texts, characters, characters, "published")


def test_cut_lengths_are_those_of_a_log_normal_draw():
    draw = np.random.default_rng(0).lognormal(np.log(300) - SPREAD**2 / 2, SPREAD, 400_000)
    for limit in (100, 300, 1000, 20_000):
        cut = np.minimum(draw, limit)
        mean, square = cut_moments(300, limit)
        assert mean == pytest.approx(cut.mean(), rel=0.01)
        assert square == pytest.approx((cut**2).mean(), rel=0.03)
    assert cut_moments(0, 10) == cut_moments(10, 0) == (0.0, 0.0)


def test_counted_as_the_model_sees_them(tokenizer):
    recipe = Recipe("r", max_length=20)
    texts = ["the quick brown fox", "", "今天天气怎么样" * 20, "the quick brown fox"]
    counter = token_counter(recipe, tokenizer)
    strings = [render(text, PROMPT, recipe) for text in texts]
    expected = [min(20, len(tokenizer(string)["input_ids"])) for string in strings]
    found = counter.count(texts, PROMPT)
    assert (found.texts, found.tokens) == (4, sum(expected))
    assert found.squares == sum(n * n for n in expected)
    assert found.longest == 20
    assert not found.sampled
    once = counter.count(texts, PROMPT, distinct=True)
    assert (once.texts, once.tokens) == (4, sum(expected[:3]))


def test_many_texts_are_sampled(tokenizer, monkeypatch):
    monkeypatch.setattr(module, "COUNTED_CHARACTERS", 1000)
    monkeypatch.setattr(module, "SAMPLED_CHARACTERS", 500)
    found = token_counter(Recipe("r"), tokenizer).count(["the lazy dog"] * 1000, "")
    assert found.sampled
    assert found.texts == 1000
    one = len(tokenizer("the lazy dog")["input_ids"])
    assert found.tokens == pytest.approx(1000 * one)


def test_estimate_has_prompt_and_special_tokens(bert):
    tokenizer = AutoTokenizer.from_pretrained(bert)
    counter = token_counter(Recipe("r", max_length=1024), tokenizer)
    short = size(100, 1000)
    plain, prompted = counter.estimate(short, ""), counter.estimate(short, PROMPT)
    assert plain.tokens / 100 == pytest.approx(10 / counter.ratios["eng"] + 2, rel=0.01)
    prompt = len(tokenizer(PROMPT, add_special_tokens=False)["input_ids"])
    assert (prompted.tokens - plain.tokens) / 100 == pytest.approx(prompt, abs=1)


def test_estimate_never_passes_the_limit(tokenizer):
    counter = token_counter(Recipe("r", max_length=64), tokenizer)
    found = counter.estimate(size(10, 10**6), PROMPT)
    assert found.tokens == pytest.approx(640, rel=0.01)
    assert found.longest == 64
    tiny = token_counter(Recipe("r", max_length=4), tokenizer).estimate(size(10, 10**6), PROMPT)
    assert tiny.tokens == 40


def test_without_a_tokenizer_by_stated_ratios():
    counter = token_counter(Recipe("r"), None)
    assert dict(counter.ratios) == RATIOS
    english, chinese = (counter.estimate(size(10, 900, name), "") for name in ("eng", "cmn"))
    assert english.tokens == pytest.approx(10 * (90 / 4.5 + 1), rel=0.01)
    assert chinese.tokens == pytest.approx(10 * (90 / 1.55 + 1), rel=0.01)
