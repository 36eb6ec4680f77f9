"""From a task's text to the string the tokenizer gets."""

from __future__ import annotations


def render(text: str, prompt: str, empty_text: str) -> str:
    """Return `prompt` and `text` as one plain string.

    Args:
        text: The text as the task has it; only a wholly empty one is replaced.
        prompt: Put before the text as it is; may be empty.
        empty_text: Stands in for an empty text, before the prompt is put on.
    """
    return prompt + (text or empty_text)
