"""Which model, at which commit: the names of the folders, and of the record beside the results."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from qzhou_eval.errors import one_line_text
from qzhou_eval.files import is_plain_name
from qzhou_eval.recipe.resolution import BY_NAME, BY_WEIGHTS
from qzhou_eval.scores.result_folder import ResultFolder

COMMIT = re.compile(r"[0-9a-f]{40}")
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
NO_ORG = "local"
"""What stands for the org of a folder that nobody named."""
BETWEEN = "__"
"""Between org and name in a folder's name."""


KNOWN_BY = {BY_WEIGHTS: "the run recognised its weights", BY_NAME: "the run knew it by its name"}
"""How a run came to know which published model it ran, and not only what it was called."""


@dataclass(frozen=True)
class Identity:
    """A model at a commit.

    Attributes:
        model: ``org/name``.
        revision: The commit, 40 hex digits.
    """

    model: str
    revision: str

    @property
    def folder(self) -> str:
        """The path of its results in the results repository."""
        return f"results/{self.model.replace('/', BETWEEN)}/{self.revision}"


def identify(
    results: ResultFolder, meta: dict[str, Any], model_name: str, revision: str
) -> tuple[Identity | None, list[str], list[str]]:
    """Return the model and commit the results are of; None if that is not known.

    Args:
        results: The run folder.
        meta: Its ``model_meta.json``; empty without one.
        model_name: The name asked for; empty leaves it to the folder.
        revision: The commit asked for, likewise.

    Returns:
        Model and commit, what is wrong, and what must be told.
    """
    model, problems, notes = _model(results, meta, model_name)
    commit, wrong = _commit(results, meta, revision)
    problems += wrong
    return (None if problems else Identity(model, commit)), problems, notes


@dataclass(frozen=True)
class Known:
    """What a run knows of its model, whatever it was filed under.

    Attributes:
        model: ``org/name``; empty where it knows nothing.
        why: How it knows it.
        revision: The commit that the weights are those of; empty where that is not known.
    """

    model: str = ""
    why: str = ""
    revision: str = ""


def _known(results: ResultFolder) -> Known:
    manifest = results.manifest
    recipe, chosen = manifest.get("recipe"), manifest.get("recipe_chosen")
    if isinstance(recipe, dict) and isinstance(chosen, str) and chosen in KNOWN_BY:
        model, revision = one_line_text(recipe.get("model") or ""), str(recipe.get("revision"))
        ours = chosen == BY_WEIGHTS and COMMIT.fullmatch(revision) is not None
        return Known(model, KNOWN_BY[chosen], revision if ours else "")
    location = manifest.get("location")
    # Of a folder that is its path, and the name another.
    if isinstance(location, str) and location == results.model and NAME.fullmatch(location):
        return Known(location, "the run read it from the hub")
    return Known()


def carries(model: str, meta: dict[str, Any]) -> bool:
    """Whether a ``model_meta.json`` is of `model`, or of what only a run called otherwise.

    A name of the hub means the model of that name; one of a folder may stand for any.
    """
    name = meta.get("name")
    if not isinstance(name, str) or name.lower() == model.lower():
        return True
    return NAME.fullmatch(name) is None or name.startswith(f"{NO_ORG}/")


def _model(
    results: ResultFolder, meta: dict[str, Any], asked: str
) -> tuple[str, list[str], list[str]]:
    said = _said(results.manifest.get("model"), meta.get("name"))
    name = asked or results.model
    if not asked and len(said) > 1:
        return (
            name,
            [
                f"run.json and model_meta.json name two models ({', '.join(said)}); "
                "--model-name ORG/NAME says which it is"
            ],
            [],
        )
    org, _, own = name.partition("/")
    told = name or "no name"
    if org == NO_ORG and not asked:
        problem = (
            f"{told}: the model of a folder; --model-name ORG/NAME says which it is on the hub"
        )
    elif NAME.fullmatch(name) is None or not is_plain_name(f"{org}{BETWEEN}{own}"):
        problem = f"{told}: no model's name; --model-name ORG/NAME says which it is on the hub"
    elif BETWEEN in name:
        problem = f"{told}: mteb reads {BETWEEN} as a slash, and would not find the results again"
    elif (known := _known(results)).model and known.model.lower() != name.lower():
        problem = (
            f"{told}: the results are of {known.model}, {known.why}; results of one model are not "
            f"exported as another's (--model-name {known.model})"
        )
    else:
        others = [other for other in said if other.lower() != name.lower()]
        return name, [], [f"the run says that the model is {other}" for other in others]
    return name, [f"model {problem}"], []


def _commit(results: ResultFolder, meta: dict[str, Any], asked: str) -> tuple[str, list[str]]:
    """Return the commit that folder and command line agree on, and what is wrong."""
    # The folder's name comes last: without a manifest or record, mteb's folders are named so.
    told = _said(
        results.manifest.get("revision"), meta.get("revision"), results.path.resolve().name
    )
    said = [text for text in told if COMMIT.fullmatch(text)]
    remedy = "--revision HEX names the commit on the hub that the model's files are of"
    if asked:
        if not _is_commit(asked, results):
            return asked, [
                f"--revision {asked}: no commit; it has 40 digits 0-9a-f, as the hub's page of "
                "the model's files shows"
            ]
        if said and asked not in said:
            return asked, [
                f"--revision {asked}: the results are of {said[0]}, as the folder says; results "
                "of one commit are not exported as another's"
            ]
        known = _known(results).revision
        if not said and known and asked != known:
            return asked, [
                f"--revision {asked}: the weights are those of {known}, as the run recognised; "
                "results of one commit are not exported as another's (a folder that is a copy of "
                "another commit is run with --revision)"
            ]
        return asked, []
    if len(said) > 1:
        return said[0], [f"the folder names two commits ({', '.join(said)}); {remedy}"]
    if not said or not _is_commit(said[0], results):
        revision = results.revision or "none"
        return revision, [
            f"revision {revision}: no commit of 40 hex digits (a model read from a folder has a "
            f"fingerprint); {remedy}{_hint(results)}"
        ]
    return said[0], []


def _is_commit(text: str, results: ResultFolder) -> bool:
    """Whether `text` can be a commit: not git's name for none, nor a digest of the run's own."""
    recipe = results.manifest.get("recipe")
    weights = recipe.get("weights_sha256") if isinstance(recipe, dict) else None
    digests = [results.manifest.get("fingerprint"), weights]
    return (
        COMMIT.fullmatch(text) is not None
        and set(text) != {"0"}
        and not any(isinstance(d, str) and d.startswith(text) for d in digests)
    )


def _hint(results: ResultFolder) -> str:
    """Return which commit it will be, where the run recognised its weights."""
    revision = _known(results).revision
    return f" (the weights are those of {revision})" if revision else ""


def _said(*values: Any) -> list[str]:
    texts = (one_line_text(value) for value in values if value and isinstance(value, str))
    return list(dict.fromkeys(texts))
