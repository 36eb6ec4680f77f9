"""Likely causes of a difference, as far as a run's manifest allows one to be named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from qzhou_eval.environment import MISSING, PUBLISHED_PINS, differing_pins
from qzhou_eval.errors import one_line_text
from qzhou_eval.recipe.library import recipe_for_model
from qzhou_eval.recipe.recipe import Recipe
from qzhou_eval.scores.published_scores import PublishedModel, PublishedScore
from qzhou_eval.scores.reading import TaskScores
from qzhou_eval.scores.result_folder import ResultFolder
from qzhou_eval.suite.instructions import instruction_set
from qzhou_eval.suite.suite import TaskSpec

PUBLISHED_BATCH = 32
# In the order in which they move scores: the first that differs is the likeliest cause.
FIELDS = (
    "pooling",
    "attention_direction",
    "instruction_set",
    "prompt_template",
    "query_prefix",
    "document_prefix",
    "text_prefix",
    "text_template",
    "max_length",
    "normalize",
    "dimensions",
    "padding_side",
    "empty_text",
    "dtype",
    "attention",
)
LONGEST = 2000
"""Characters of a cause: a manifest may quote whole books."""
HALF = ("bfloat16", "float16")
COMMIT = re.compile(r"[0-9a-f]{40}")


def other_model(folder: ResultFolder, published: PublishedModel) -> list[str]:
    """Return that the folder's results are of another model or revision, if that shows."""
    ours, theirs = folder.revision, published.revision
    if not published.is_called(folder.model):
        return [f"ours is another model, {folder.model}"]
    if COMMIT.fullmatch(ours) and COMMIT.fullmatch(theirs) and ours != theirs:
        return [f"ours is another revision of the model, {ours[:12]}, not {theirs[:12]}"]
    return []


def differing_settings(folder: ResultFolder, model: str) -> list[tuple[str, str]]:
    """Return in what the folder's run departs from the published procedure: field and words.

    Args:
        folder: The results.
        model: The published model; nothing is known of the procedure of one without a recipe.
    """
    recipe = recipe_for_model(model)
    run = folder.manifest.get("recipe")
    if recipe is None or not isinstance(run, dict):
        return []
    told = []
    entries = _mapping(folder.manifest.get("tasks"))
    unchecked = [n for n in entries if folder.entry(n).get("preflight") == "skipped"]
    if unchecked:
        words = f"run without preflight checks (--skip-preflight): {', '.join(sorted(unchecked))}"
        told.append(("preflight", words))
    published = recipe.to_dict()
    for field in FIELDS:
        if field in run and run[field] != published[field]:
            ours, theirs = _word(run[field]), _word(published[field])
            told.append((field, f"ours has {field} {ours}, published {theirs}"))
    return [(field, one_line_text(words, limit=LONGEST)) for field, words in told]


def likely_causes(
    folder: ResultFolder,
    published: PublishedModel,
    spec: TaskSpec,
    found: TaskScores,
    record: PublishedScore,
) -> tuple[str, ...]:
    """Return what may have made a score differ, the likeliest first.

    Args:
        folder: The results, whose manifest says how they were made.
        published: The model they are held against.
        spec: The task.
        found: Its result.
        record: Its published score.
    """
    causes = [
        one_line_text(f"the published score is that of our {split} {subset}")
        for (split, subset), score in found.main_scores.items()
        if (split, subset) not in {(s, sub) for s in spec.splits for sub in spec.subsets}
        and round(score, 6) == round(record.score, 6)
    ]
    if not folder.manifest:
        return (*causes, "there is no run.json that says how ours was made")
    causes += other_model(folder, published)
    recipe = recipe_for_model(published.name)
    if recipe:
        causes += _prompt(folder, recipe, spec)
        # The prompt above says what another set comes to for this task.
        causes += [
            text
            for field, text in differing_settings(folder, published.name)
            if field != "instruction_set"
        ]
    settings = _mapping(folder.manifest.get("settings"))
    half = _mapping(folder.manifest.get("recipe")).get("dtype") in HALF
    if settings.get("mode", "strict") != "strict":
        causes.append(f"ours was run in {settings['mode']} mode")
    elif half and settings.get("batch_size", PUBLISHED_BATCH) != PUBLISHED_BATCH:
        causes.append(
            f"batches of {settings['batch_size']}, published {PUBLISHED_BATCH}: in half precision "
            "a vector depends on its batch"
        )
    devices = settings.get("devices", 1)
    if half and isinstance(devices, int) and devices > 1:
        causes.append(
            f"texts were cut up for {devices} devices: in half precision a vector depends on the "
            "texts beside it"
        )
    if departure := folder.departure(spec.name):
        causes.append(departure)
    if half and settings.get("device") == "cpu":
        causes.append("half precision on a CPU rounds otherwise than on the published GPU")
    data = _mapping(_mapping(folder.entry(spec.name).get("made_with")).get("data"))
    if data.get("folder"):
        causes.append(
            f"its data came from a local folder (content {str(data['folder'])[:12]}), not checked "
            "against the hub's"
        )
    causes += _packages(folder)
    return tuple(one_line_text(cause, limit=LONGEST) for cause in causes)


def _prompt(folder: ResultFolder, recipe: Recipe, spec: TaskSpec) -> list[str]:
    """Return how the task's instruction differs from the published one's."""
    made_with = _mapping(folder.entry(spec.name).get("made_with"))
    if not made_with:
        return []
    ours = made_with.get("instruction")
    if not recipe.instruction_set:
        text = _mapping(ours).get("instruction")
        return [f"ours put an instruction on ({text!r}), published without one"] if ours else []
    expected = instruction_set(recipe.instruction_set).get(spec.name)
    if expected is None or ours == expected.to_dict():
        return []
    if ours is None:
        return [f"prompt missing: published with {expected.text!r} ({expected.rule.value})"]
    ours = _mapping(ours)
    return [
        f"another prompt: {ours.get('instruction')!r} ({ours.get('rule')}), published with "
        f"{expected.text!r} ({expected.rule.value})"
    ]


def _packages(folder: ResultFolder) -> list[str]:
    packages = _mapping(_mapping(folder.manifest.get("environment")).get("packages"))
    versions = {name: str(version) for name, version in packages.items()}
    differing = [
        f"{name} {version} (published {PUBLISHED_PINS[name]})"
        for name, version in differing_pins(versions).items()
        if version != MISSING
    ]
    return [f"other package versions: {', '.join(differing)}"] if differing else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: Any) -> str:
    if value == "":
        return "none"
    return (
        repr(value)
        if isinstance(value, str) and not value.replace("_", "").isalnum()
        else str(value)
    )
