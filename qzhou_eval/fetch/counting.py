"""A dataset held against what is known of it: its tasks' rows, and their published sizes."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from qzhou_eval.errors import UserError
from qzhou_eval.evaluate.local_data import LocalDataset, check_local, find_local
from qzhou_eval.suite.instructions import Side
from qzhou_eval.suite.sizes import task_sizes
from qzhou_eval.suite.suite import TaskSpec

Rows = dict[str, dict[str, dict[str, int]]]
"""Dataset to config to split to rows."""

EXACT_TYPES = ("STS", "Retrieval", "Classification")
"""Types whose published sizes count the very texts that a task hands over: both texts of every row,
every query and document, every test text. Of others duplicates or draws may be counted otherwise,
so that a difference would prove nothing."""
DEFAULT = "default"
"""How a record calls the config that is loaded by no name."""


def check_task(root: Path, spec: TaskSpec) -> Rows:
    """Check that `root` holds what `spec` reads, as many texts of it as were published.

    Raises:
        UserError: something is missing or broken, or there are more or fewer.
    """
    from qzhou_eval.evaluate.mteb1.tasks import requirements

    local = find_local(root, spec.dataset)
    if local is None:
        raise UserError(f"{spec.dataset}: {root} does not hold it")
    rows: Rows = defaultdict(dict)
    wanted = requirements(spec)
    for requirement, counted in zip(wanted, check_local(local, wanted), strict=True):
        config = requirement.config or DEFAULT
        rows[spec.dataset + requirement.suffix].setdefault(config, {}).update(counted)
    _check_sizes(spec, local)
    return dict(rows)


def _check_sizes(spec: TaskSpec, local: LocalDataset) -> None:
    """Hold the texts that the task hands over against the published figures.

    Only where these count the same: what was counted on the data by this very count, and the
    published sizes of `EXACT_TYPES`.
    """
    from qzhou_eval.evaluate.mteb1.texts import calls
    from qzhou_eval.evaluate.quiet import quiet_libraries

    published = spec.type in EXACT_TYPES
    known = [
        size
        for size in task_sizes(spec)
        if size.origin == "counted" or (published and size.origin == "published")
    ]
    if not known:
        return
    found: dict[tuple[str, str, Side | None], list[int]] = defaultdict(list)
    with quiet_libraries():
        for call in calls(spec, local):
            found[call.split, call.subset, call.side].append(len(call.texts))
    for size in known:
        counts = found[size.split, size.subset, size.side]
        # Beside its test texts a classification task hands over what it draws for training, of
        # which the published figure knows nothing.
        drawn = spec.type == "Classification" and size.origin == "published"
        if size.texts not in counts if drawn else size.texts != sum(counts):
            side = f", {size.side.value} side" if size.side else ""
            here = " or ".join(f"{n:,}" for n in sorted(set(counts))) if drawn else sum(counts)
            raise UserError(
                f"{spec.dataset}: {spec.name} has {size.texts:,} texts to encode (split "
                f"{size.split}, subset {size.subset}{side}) as {size.origin}, and here are "
                f"{here if drawn else f'{here:,}'}"
            )
