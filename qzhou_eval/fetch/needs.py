"""What has to be fetched for tasks: each dataset once, those that are read together together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qzhou_eval.errors import UserError
from qzhou_eval.fetch.listing import Wanted
from qzhou_eval.fetched import Kind
from qzhou_eval.files import is_plain_name
from qzhou_eval.suite.suite import TaskSpec


@dataclass(frozen=True)
class Bundle:
    """Repositories that become visible together, once what reads them is content.

    Attributes:
        repositories: What it holds.
    """

    repositories: tuple[Wanted, ...]


def dataset_bundles(specs: Iterable[TaskSpec]) -> list[Bundle]:
    """Return what `specs`, completed, read of the hub; nothing for tasks of one's own.

    Raises:
        UserError: two of them read one dataset at different commits, or its name is no hub name.
    """
    from qzhou_eval.evaluate.mteb1.tasks import repositories

    readers: dict[tuple[tuple[str, str], ...], list[TaskSpec]] = {}
    commits: dict[str, tuple[str, str]] = {}
    for spec in specs:
        found = repositories(spec)
        for name, revision in found.items():
            check_name(name)
            task, other = commits.setdefault(name, (spec.name, revision))
            if other != revision:
                raise UserError(
                    f"{task} reads {name} at commit {other} and {spec.name} at {revision}: fetch "
                    "them into two folders"
                )
        if found:
            readers.setdefault(tuple(found.items()), []).append(spec)
    return [
        Bundle(tuple(Wanted(Kind.DATASET, name, commit, tuple(specs)) for name, commit in found))
        for found, specs in readers.items()
    ]


def model_bundle(name: str, revision: str) -> Bundle:
    """Return what is to be fetched of a model.

    Raises:
        UserError: `name` is no hub name.
    """
    check_name(name)
    return Bundle((Wanted(Kind.MODEL, name, revision),))


def check_name(name: str) -> None:
    """Make sure that `name` can be a repository's, and a folder's.

    Raises:
        UserError: it cannot.
    """
    parts = name.split("/")
    if len(parts) > 2 or not all(is_plain_name(p) and not p.startswith(".") for p in parts):
        raise UserError(f"{name!r} is not the name of a repository on the hub (org/name)")
