"""The published scores that come with the project: 17 models' rows of both suites, task by task."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qzhou_eval.errors import NothingToCompareError, nearest
from qzhou_eval.files import read_toml

HERE = Path(__file__).parent / "published"

Place = tuple[str, str, str]
"""Task, split and subset: what has one main score."""


@dataclass(frozen=True)
class PublishedScore:
    """One published main score.

    Attributes:
        score: The main score, 0 to 1, as published.
        dataset_revision: Commit of the dataset it was made with; empty where the record names none.
        mteb_version: mteb it was made with; empty where the record names none.
        standard_error: Standard error of the mean over the score's own random draws (few-shot
            training sets, clustering samples), 0 to 1; None for a score without draws.
        remark: What is wrong with the record; empty if nothing is.
    """

    score: float
    dataset_revision: str = ""
    mteb_version: str = ""
    standard_error: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class PublishedModel:
    """A model's published scores.

    Attributes:
        name: ``org/name``.
        revision: The record's revision: a commit of the model, or what stands for one.
        source: Where the record is published.
        date: Day the model was released, ISO.
        suites: Suite name to the scores published on it, by task, split and subset.
    """

    name: str
    revision: str
    source: str
    date: str
    suites: Mapping[str, Mapping[Place, PublishedScore]]

    def is_called(self, name: str) -> bool:
        """Whether `name` means this model: in any case, with or without its org."""
        own = self.name.lower()
        return name.lower() in (own, own.partition("/")[2])


@cache
def published_models() -> Mapping[str, PublishedModel]:
    """Return every model with published scores, by name."""
    suites: dict[str, dict[str, dict[Place, PublishedScore]]] = {}
    with (HERE / "scores.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            error = row["draw_standard_error"]
            score = PublishedScore(
                score=float(row["main_score"]),
                dataset_revision=row["dataset_revision"],
                mteb_version=row["mteb_version"],
                standard_error=float(error) if error else None,
                remark=row["remark"],
            )
            place = (row["task"], row["split"], row["subset"])
            suites.setdefault(row["model"], {}).setdefault(row["suite"], {})[place] = score
    sources = read_toml(HERE / "models.toml", "table of published models")
    return {
        name: PublishedModel(
            name, source["revision"], source["source"], str(source["date"]), suites[name]
        )
        for name, source in sources.items()
    }


def published_model(name: str) -> PublishedModel:
    """Return the published scores of the model `name`, in any case, with or without its org.

    Raises:
        NothingToCompareError: no scores of it are known; names the nearest that are.
    """
    models = published_models()
    for model in models.values():
        if model.is_called(name):
            return model
    raise NothingToCompareError(
        f"no published scores of {name!r}: {nearest(name, models)} (--published MODEL names the "
        "row to hold a run against)"
    )
