"""The items that a run kept beside its results, checked against them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from qzhou_eval.errors import UserError, one_line
from qzhou_eval.evaluate.items import Items, item_path, read_items
from qzhou_eval.evaluate.units import Unit
from qzhou_eval.files import file_digest, is_data_file
from qzhou_eval.scores.draws import AGREE
from qzhou_eval.scores.item_scores import Figures, score_of
from qzhou_eval.scores.reading import LARGEST, TaskScores
from qzhou_eval.scores.result_folder import ResultFolder
from qzhou_eval.suite.suite import TaskSpec

Named = Mapping[str, Figures]
"""Name of a figure to its values, one an item."""


class ItemsLackingError(Exception):
    """There are no items that can be gone by; says why."""


def run_items(folder: ResultFolder, task: str) -> dict[Unit, Items]:
    """Return the items that the run in `folder` kept of `task`.

    Raises:
        ItemsLackingError: there are none, or none that the run wrote.
    """
    said = folder.entry(task).get("items")
    path = item_path(folder.path, task)
    if not said:
        raise ItemsLackingError("kept no items")
    if not is_data_file(path):
        raise ItemsLackingError("has lost its item file")
    if file_digest(path) != said:
        raise ItemsLackingError("has an item file that is not the one its run wrote")
    try:
        return read_items(path)
    except UserError as error:
        raise ItemsLackingError(f"has no readable item file: {one_line(error)}") from error


def unit_figures(
    found: Mapping[Unit, Items], unit: Unit, spec: TaskSpec, scores: TaskScores
) -> tuple[tuple[str, ...], Named]:
    """Return the names of a unit's items, and their figures, if they make its main score.

    Args:
        found: A task's items.
        unit: Split and subset.
        spec: The task.
        scores: Its result.

    Raises:
        ItemsLackingError: the unit has none, or they do not come to its main score.
    """
    if unit not in found:
        raise ItemsLackingError(f"has no items of {unit[0]}, {unit[1]}")
    own = found[unit]
    names = tuple(row[0] for row in own.rows)
    try:
        values = np.array([[float(text) for text in row[1:]] for row in own.rows])
        if not np.isfinite(values).all() or np.abs(values).max() > LARGEST:
            raise ValueError("not all of its items are numbers")
        figures = {column: values[:, place] for place, column in enumerate(own.columns)}
        weighted = score_of(figures, spec.metric)
        score = float(weighted(np.ones((1, len(names)), dtype=np.int64))[0])
    except ValueError as error:
        raise ItemsLackingError(f"has items that cannot be gone by: {one_line(error)}") from error
    main = scores.main_scores.get(unit, math.nan)
    if not abs(score - main) <= AGREE:
        raise ItemsLackingError(
            f"has items that are not those of its result: they come to {100 * score:.4f}, "
            f"its score is {100 * main:.4f}"
        )
    return names, figures


def in_order(figures: Named, names: tuple[str, ...], wanted: tuple[str, ...]) -> Named:
    """Return figures of items `names` in the order `wanted`, which has the same names."""
    places = {name: place for place, name in enumerate(names)}
    order = [places[name] for name in wanted]
    return {column: values[order] for column, values in figures.items()}
