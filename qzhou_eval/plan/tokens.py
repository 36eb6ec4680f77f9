"""How many tokens a task's texts become: counted where they are here, estimated where not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from qzhou_eval.encode.rendering import render
from qzhou_eval.recipe.recipe import Recipe
from qzhou_eval.suite.samples import sample_texts
from qzhou_eval.suite.sizes import Size

SPREAD = 0.7
"""Standard deviation of the logarithm of texts' lengths, where only their mean is known: lengths
are taken as log-normal. Held against the texts of real tasks, cut at twice their mean, this is
within 8 % (0 to 8 % low for short sentences, up to 6 % high for abstracts and summaries)."""
FAR = 3.0
"""Standard deviations from the mean at which the longest of a task's texts is taken to be."""
RATIOS: dict[str, float] = {"eng": 4.5, "cmn": 1.55}
"""Characters a token where the model's tokenizer is not here: a vocabulary of 150,000 (Qwen's), on
real English and Chinese sentence pairs, questions, abstracts and summaries."""
OTHER_RATIO = 3.0
"""Characters a token for a language that is in no table here."""
COUNTED_CHARACTERS = 20_000_000
"""Characters of a task up to which every text is tokenized; of more, a sample."""
SAMPLED_CHARACTERS = 4_000_000
"""Characters of such a sample, about."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of a number of texts, their prompts and special tokens included.

    Attributes:
        texts: How many texts.
        tokens: Their tokens.
        squares: Sum of the squared lengths, for what attention costs.
        longest: Tokens of the longest text.
        sampled: Whether they were counted on a sample only.
    """

    texts: int = 0
    tokens: float = 0.0
    squares: float = 0.0
    longest: int = 0
    sampled: bool = False

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.texts + other.texts,
            self.tokens + other.tokens,
            self.squares + other.squares,
            max(self.longest, other.longest),
            self.sampled or other.sampled,
        )

    @property
    def length(self) -> float:
        """Tokens of the text that a token is part of, on average over tokens."""
        return self.squares / self.tokens if self.tokens else 0.0


@dataclass(frozen=True)
class TokenCounter:
    """Turns texts, or what is known of them, into tokens as a recipe makes them.

    Attributes:
        recipe: How texts are rendered and cut.
        tokenizer: The model's tokenizer; None where it is not here.
        ratios: Characters a token, by language.
    """

    recipe: Recipe
    tokenizer: Any = None
    ratios: Mapping[str, float] = field(default_factory=lambda: RATIOS)

    def lengths(self, strings: Sequence[str]) -> list[int]:
        """Return the tokens of each string, special tokens included, cut as the recipe says.

        Without a tokenizer: estimated by their characters.
        """
        limit = self.recipe.max_length
        if self.tokenizer is None:
            ratio = self.ratios["eng"]
            return [min(limit, math.ceil(len(string) / ratio) + 1) for string in strings]
        ids = self.tokenizer(list(strings), truncation=True, max_length=limit)["input_ids"]
        return [len(own) for own in ids]

    def count(self, texts: Sequence[str], prompt: str, *, distinct: bool = False) -> Tokens:
        """Tokenize `texts`, or a sample of them where they are very many.

        Args:
            texts: The texts, as a task has them.
            prompt: Put before each.
            distinct: Whether equal strings are encoded once, as in fast mode.
        """
        strings = [render(text, prompt, self.recipe) for text in texts]
        if distinct:
            strings = list(dict.fromkeys(strings))
        characters = sum(map(len, strings))
        step = math.ceil(characters / SAMPLED_CHARACTERS)
        step = step if characters > COUNTED_CHARACTERS else 1
        lengths = self.lengths(strings[::step])
        scale = len(strings) / max(1, len(lengths))
        return Tokens(
            len(texts),
            scale * sum(lengths),
            scale * sum(n * n for n in lengths),
            max(lengths, default=0),
            step > 1,
        )

    def estimate(self, size: Size, prompt: str) -> Tokens:
        """Estimate the tokens of texts that are not here."""
        ratio = self.ratios.get(size.language, OTHER_RATIO)
        # What is put around a text, special tokens included: those of one character with it,
        # but for that character's own.
        around = self.lengths([render("a", prompt, self.recipe)])[0] - 1
        limit = self.recipe.max_length - around
        if limit < 1:
            limit, around = 0, self.recipe.max_length
        whole = size.characters / max(1, size.texts) / ratio
        mean, square = cut_moments(whole, limit)
        longest = min(limit, whole * math.exp(FAR * SPREAD))
        return Tokens(
            size.texts,
            size.texts * (mean + around),
            size.texts * (square + 2 * mean * around + around**2),
            math.ceil(longest + around),
        )


def token_counter(recipe: Recipe, tokenizer: Any = None) -> TokenCounter:
    """Return a counter; with a tokenizer, characters a token are measured on the demo's texts."""
    counter = TokenCounter(recipe, tokenizer)
    if tokenizer is None:
        return counter
    ratios = {}
    for language, texts in sample_texts().items():
        # Without what is put around texts, and never cut.
        ids = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        ratios[language] = sum(map(len, texts)) / max(1, sum(map(len, ids)))
    return replace(counter, ratios=ratios)


def cut_moments(mean: float, limit: float) -> tuple[float, float]:
    """Return mean and mean square of log-normal lengths of mean `mean`, each cut at `limit`."""
    if mean <= 0 or limit <= 0:
        return 0.0, 0.0
    middle, end = math.log(mean) - SPREAD**2 / 2, math.log(limit)
    over = 1 - _normal((end - middle) / SPREAD)
    below = mean * _normal((end - middle - SPREAD**2) / SPREAD)
    square = mean**2 * math.exp(SPREAD**2) * _normal((end - middle - 2 * SPREAD**2) / SPREAD)
    return below + limit * over, square + limit**2 * over


def _normal(value: float) -> float:
    """Return the share of a normal distribution below `value` standard deviations."""
    return (1 + math.erf(value / math.sqrt(2))) / 2
