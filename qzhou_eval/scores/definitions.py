"""Telling by a record's shape which definition of its task it was made with.

mteb's clustering tasks come in two kinds under names that differ by ``.v2`` at most. The fast kind
clusters draws from one set and records the measures by level (``{"Level 0": [...]}``); the older
one clusters each given set once and records a plain list. A record of the one kind under the name
of the other is not a score of that task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qzhou_eval.suite.suite import TaskSpec

FAST, SETS = "fast", "sets"


def other_definition(task: TaskSpec, row: Mapping[str, Any]) -> str:
    """Return why `row` was made with another definition than `task`'s; empty if nothing shows it.

    Args:
        task: The task, with its definition where its type has several.
        row: One split's and subset's part of a result file.
    """
    measures = row.get("v_measures")
    if task.definition == FAST and isinstance(measures, list):
        return "record of another task definition: one measure per given set, not draws by level"
    if task.definition == SETS and isinstance(measures, dict):
        return "record of another task definition: draws by level, not one measure per given set"
    return ""
