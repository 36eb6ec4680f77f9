"""From a task's text to the string the tokenizer gets."""

from __future__ import annotations

from qzhou_eval.recipe.recipe import TEXT_FIELD, Recipe


def render(text: str, prompt: str, recipe: Recipe) -> str:
    """Return `prompt` and `text` as one plain string, within the recipe's text template.

    Args:
        text: The text as the task has it; only a wholly empty one is replaced.
        prompt: Put before the text as it is; may be empty.
        recipe: Says what stands in for an empty text, before the prompt is put on, and what is
            put around both.
    """
    whole = prompt + (text or recipe.empty_text)
    # Not str.format: the text may hold braces of its own, and is put in last.
    before, _, after = recipe.text_template.partition(TEXT_FIELD)
    return before + whole + after
