"""The recipe: everything about running a model that decides its vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any

from qzhou_eval.errors import UserError, nearest
from qzhou_eval.recipe.choices import (
    Attention,
    AttentionDirection,
    Dtype,
    PaddingSide,
    Pooling,
    parse_choice,
)

MOST = 10**6
"""Tokens of a text, or dimensions of a vector, that no model has."""
PROMPT_FIELD = "{instruction}"
TEXT_FIELD = "{text}"
# Fields that decide nothing at these values, and so leave a fingerprint as it was without them.
NEUTRAL: dict[str, Any] = {
    "query_prefix": "",
    "document_prefix": "",
    "text_prefix": "",
    "text_template": TEXT_FIELD,
    "dimensions": 0,
}


@dataclass(frozen=True)
class Recipe:
    """How one model is run.

    Attributes:
        name: The recipe's name in the library, or the file it came from.
        model: Hub name (``org/name``) the recipe is for; empty for a generic one.
        revision: Commit of the model on the hub the recipe was published with; empty if none.
        pooling: How token vectors become one vector.
        normalize: Whether vectors are divided by their L2 norm.
        padding_side: Where shorter texts of a batch are filled up.
        max_length: Most tokens of a text, its prompt and special tokens included.
        dtype: The type the model computes, pools and normalizes in.
        attention: The attention implementation.
        attention_direction: Which tokens a token may look at; None if the recipe does not say.
        prompt_template: Text put before a prompted text; ``{instruction}`` stands for the task's
            instruction. Nothing is put between it and the text.
        query_prefix: Fixed text put before a query that gets no instruction.
        document_prefix: Fixed text put before a document that gets no instruction.
        text_prefix: Fixed text put before a text of a task that knows no sides, likewise.
        text_template: What is put around a text with its prompt; ``{text}`` stands for them.
        empty_text: What an empty text is replaced by, before any prompt is put on; empty to
            leave it as it is.
        dimensions: Leading dimensions of a vector that are kept, before it is normalized; 0 for
            all of them.
        instruction_set: Folder in ``task_instructions/`` the instructions come from; empty for
            a model that takes none.
        trust_remote_code: Whether the checkpoint's own Python code is run.
        weights_sha256: Digest of the published ``model.safetensors``, by which a local copy is
            recognised; empty if not known. Not part of the fingerprint.
        architecture: Model class by which a checkpoint of the family is recognised; empty if
            the class is a common one. Not part of the fingerprint.
        source: Where the values come from. Not part of the fingerprint.
    """

    name: str
    model: str = ""
    revision: str = ""
    pooling: Pooling = Pooling.MEAN
    normalize: bool = True
    padding_side: PaddingSide = PaddingSide.RIGHT
    max_length: int = 1024
    dtype: Dtype = Dtype.BFLOAT16
    attention: Attention = Attention.SDPA
    attention_direction: AttentionDirection | None = None
    prompt_template: str = f"Instruct: {PROMPT_FIELD}\nQuery: "
    query_prefix: str = ""
    document_prefix: str = ""
    text_prefix: str = ""
    text_template: str = TEXT_FIELD
    empty_text: str = "Null"
    dimensions: int = 0
    instruction_set: str = ""
    trust_remote_code: bool = False
    weights_sha256: str = ""
    architecture: str = ""
    source: str = ""

    def prompt(self, instruction: str) -> str:
        """Return the string put before a text: the template with `instruction` filled in."""
        # Not str.format: an instruction or a template may hold braces of its own.
        return self.prompt_template.replace(PROMPT_FIELD, instruction)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: v.value if isinstance(v, Enum) else v for k, v in values.items()}

    def vector_fields(self) -> dict[str, Any]:
        """Return the fields that decide the vectors, apart from the weights themselves."""
        values = self.to_dict()
        for name in ("name", "model", "revision", "weights_sha256", "architecture", "source"):
            del values[name]
        return {k: v for k, v in values.items() if k not in NEUTRAL or v != NEUTRAL[k]}


_CHOICES: dict[str, type[Enum]] = {
    "pooling": Pooling,
    "padding_side": PaddingSide,
    "dtype": Dtype,
    "attention": Attention,
    "attention_direction": AttentionDirection,
}
_TYPES: dict[str, type] = {
    field.name: {"bool": bool, "int": int}.get(str(field.type), str) for field in fields(Recipe)
}


def override(recipe: Recipe, values: Mapping[str, Any], where: str) -> Recipe:
    """Return `recipe` with `values` (field name to plain value) put in place of its own.

    Args:
        recipe: The recipe to start from.
        values: New values; strings for the choices ("bf16", "cls").
        where: Names the values' origin in errors (a file, "command line").

    Raises:
        UserError: an unknown field, or a value its field does not take.
    """
    known = [field.name for field in fields(Recipe) if field.name != "name"]
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name == "name":
            continue
        if name not in known:
            raise UserError(f"{where}: unknown recipe field {name!r}: {nearest(name, known)}")
        if not isinstance(value, Enum) and type(value) is not _TYPES[name]:
            raise UserError(
                f"{where}: {name} takes a {_TYPES[name].__name__}, not {type(value).__name__}"
            )
        if name in _CHOICES and isinstance(value, str):
            value = parse_choice(_CHOICES[name], value, name.replace("_", " "))
        checked[name] = value
    result = replace(recipe, **checked)
    if not 1 <= result.max_length <= MOST:
        raise UserError(
            f"{where}: max_length must be at least 1 and at most {MOST:,}, not {result.max_length}"
        )
    if not 0 <= result.dimensions <= MOST:
        raise UserError(
            f"{where}: dimensions must be 0 (all) or more, at most {MOST:,}, not "
            f"{result.dimensions}"
        )
    if TEXT_FIELD not in result.text_template:
        raise UserError(
            f"{where}: text_template {result.text_template!r} has no {TEXT_FIELD}, so texts could "
            "not reach the model"
        )
    if result.instruction_set and PROMPT_FIELD not in result.prompt_template:
        raise UserError(
            f"{where}: prompt_template {result.prompt_template!r} has no {PROMPT_FIELD}, "
            "so instructions could not reach the model: add it, or use --no-instructions"
        )
    return result
