"""``model_meta.json``: the fields of mteb 1.38.30's ``ModelMeta``, filled with what is known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from qzhou_eval.errors import nearest
from qzhou_eval.recipe.library import recipe_for_model
from qzhou_eval.report.submission.identity import Identity
from qzhou_eval.report.submission.result_file import LANGUAGE
from qzhou_eval.scores.published_scores import published_models

FILE = "model_meta.json"
FRAMEWORKS = (
    "Sentence Transformers",
    "PyTorch",
    "GritLM",
    "LLM2Vec",
    "TensorFlow",
    "API",
    "Tevatron",
    "NumPy",
    "PyLate",
    "ColBERT",
    "ColPali",
)
SIMILARITIES = ("cosine", "max_sim", "dot")
MODALITIES = ("text", "image")
HUB = "https://huggingface.co/"


@dataclass(frozen=True)
class Field:
    """A field of the record.

    Attributes:
        takes: Whether a value other than null is one of its.
        words: What it takes, in words.
        telling: Whether a null should be filled in by who knows the model.
        nullable: Whether it may be null at all.
    """

    takes: Callable[[Any], bool]
    words: str
    telling: bool = True
    nullable: bool = True


def _text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15


def _number(value: Any) -> bool:
    # mteb takes an endless max_tokens, for models without a limit.
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _switch(value: Any) -> bool:
    return isinstance(value, bool)


def _day(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _page(value: Any) -> bool:
    return _text(value) and re.match(r"[a-z]+://\S+$", value) is not None


def _languages(value: Any) -> bool:
    return isinstance(value, list) and all(_text(v) and LANGUAGE.fullmatch(v) for v in value)


def _some_of(known: tuple[str, ...]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(v in known for v in value)


def _datasets(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(splits, list) and all(map(_text, splits)) for splits in value.values()
    )


FIELDS: Mapping[str, Field] = {
    "name": Field(_text, "org/name", nullable=False),
    "revision": Field(_text, "a commit", nullable=False),
    "release_date": Field(_day, "a day as 2025-08-24"),
    "languages": Field(_languages, "a list of languages as eng-Latn"),
    "n_parameters": Field(_whole, "a whole number"),
    "memory_usage_mb": Field(_number, "a number"),
    "max_tokens": Field(_number, "a number"),
    "embed_dim": Field(_whole, "a whole number"),
    "license": Field(_text, "a text as apache-2.0"),
    "open_weights": Field(_switch, "true or false"),
    "public_training_code": Field(_text, "a text"),
    "public_training_data": Field(lambda v: _text(v) or _switch(v), "a text, true or false"),
    "framework": Field(
        _some_of(FRAMEWORKS), f"a list out of {', '.join(FRAMEWORKS)}", nullable=False
    ),
    "reference": Field(_page, "the address of a page"),
    "similarity_fn_name": Field(
        lambda v: v in SIMILARITIES, f"one of {', '.join(SIMILARITIES)}", nullable=False
    ),
    "use_instructions": Field(_switch, "true or false"),
    "training_datasets": Field(_datasets, "a table of lists"),
    "adapted_from": Field(_text, "a model's name", telling=False),
    "superseded_by": Field(_text, "a model's name", telling=False),
    "is_cross_encoder": Field(_switch, "true or false", telling=False),
    "modalities": Field(_some_of(MODALITIES), "a list out of text, image", nullable=False),
    "loader": Field(_text, "a text", telling=False),
}
"""In the order in which mteb writes them."""


def record_faults(meta: Mapping[str, Any]) -> list[str]:
    """Return which fields of a ``model_meta.json`` mteb's ``ModelMeta`` does not have or take."""
    found = []
    for name, value in meta.items():
        field = FIELDS.get(name)
        if field is None:
            found.append(f"{FILE}: unknown field {name}: {nearest(name, FIELDS)}; take it out")
        elif value is not None and not field.takes(value):
            found.append(f"{FILE}: {name} takes {field.words}; mend it, or write null")
    return found


def complete_record(meta: Mapping[str, Any], identity: Identity) -> dict[str, Any]:
    """Return the record to be exported.

    Args:
        meta: The folder's own, sound; empty without one.
        identity: The model and commit.
    """
    own = {name: value for name, value in meta.items() if value is not None}
    known = {**_known(identity), **own, "name": identity.model, "revision": identity.revision}
    return {name: known.get(name) for name in FIELDS}


def left_null(record: Mapping[str, Any]) -> list[str]:
    """Return the fields of a record that someone who knows the model should fill in."""
    return [name for name, field in FIELDS.items() if field.telling and record[name] is None]


def record_text(record: Mapping[str, Any]) -> str:
    """Return a record as the file's text."""
    return json.dumps(record, indent=2) + "\n"


def _known(identity: Identity) -> dict[str, Any]:
    """Return what the project knows of a model: every one of it, and the library's."""
    known: dict[str, Any] = {
        "framework": ["PyTorch"],
        "similarity_fn_name": "cosine",
        "modalities": ["text"],
    }
    recipe = recipe_for_model(identity.model)
    if recipe is not None:
        prefixes = (recipe.query_prefix, recipe.document_prefix, recipe.text_prefix)
        known["max_tokens"] = float(recipe.max_length)
        # mteb counts fixed texts before queries and documents as instructions.
        known["use_instructions"] = bool(recipe.instruction_set or any(prefixes))
        known["reference"] = HUB + recipe.model
    published = published_models().get(identity.model)
    if published is not None and published.revision == identity.revision:
        known["release_date"] = published.date
    return known
