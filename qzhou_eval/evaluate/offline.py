"""With --offline: what is not here is told before the run, all of it at once."""

from __future__ import annotations

from collections.abc import Iterable

from qzhou_eval.errors import UserError
from qzhou_eval.evaluate.hub_cache import cached_configs, is_cached
from qzhou_eval.suite.library import arguments_for
from qzhou_eval.suite.suite import TaskSpec


def check_cached(specs: Iterable[TaskSpec]) -> None:
    """Make sure that the hub's cache has the data of `specs`, at the commits they pin.

    Raises:
        UserError: it lacks some; names every such task, its datasets, and the command that gets
            them.
    """
    lacking = {spec.name: names for spec in specs if (names := _lacking(spec))}
    if not lacking:
        return
    told = ", ".join(f"{task} ({', '.join(names)})" for task, names in lacking.items())
    count = f"{len(lacking)} task{'s' if len(lacking) > 1 else ''}"
    raise UserError(
        f"--offline: the data of {count} is neither in a folder nor cached at its commit: {told}. "
        f"Where there is a hub: qzhou-eval fetch {arguments_for(lacking)} --output-dir DIR; then "
        "run with --datasets-dir DIR"
    )


def _lacking(spec: TaskSpec) -> list[str]:
    """Return the datasets of which the cache lacks what `spec` reads."""
    from qzhou_eval.evaluate.mteb1.tasks import repositories, requirements

    revisions = repositories(spec)
    wanted = requirements(spec)
    if not wanted:  # it loads in a way of its own
        return [name for name, commit in revisions.items() if not cached_configs(name, commit)]
    lacking = {
        spec.dataset + requirement.suffix
        for requirement in wanted
        if not is_cached(
            spec.dataset + requirement.suffix,
            revisions[spec.dataset + requirement.suffix],
            requirement,
        )
    }
    return sorted(lacking)
