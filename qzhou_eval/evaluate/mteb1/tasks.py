"""Task specs and mteb's task objects."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from mteb.abstasks.AbsTask import AbsTask
from mteb.abstasks.AbsTaskClassification import AbsTaskClassification
from mteb.abstasks.AbsTaskRetrieval import AbsTaskRetrieval
from mteb.abstasks.MultiSubsetLoader import MultiSubsetLoader
from mteb.overview import TASKS_REGISTRY

from qzhou_eval.errors import UserError, nearest
from qzhou_eval.evaluate.hub_cache import pinned_cache
from qzhou_eval.evaluate.local_data import QRELS, LocalDataset, Requirement, cached_by_content
from qzhou_eval.evaluate.mteb1.own_tasks import build_own
from qzhou_eval.suite.suite import TaskSpec

# The module by its name: as an attribute of the package it is hidden by its class.
retrieval_module: Any = importlib.import_module("mteb.abstasks.AbsTaskRetrieval")


def complete(spec: TaskSpec) -> TaskSpec:
    """Fill in what `spec` leaves to mteb, and check what it does not.

    Raises:
        UserError: mteb knows no such task, split or subset; names the nearest.
    """
    if spec.layout:
        if spec.name in TASKS_REGISTRY:
            raise UserError(
                f"{spec.name} is a task of mteb's: give the task of your own another name"
            )
        return spec
    by_lower = {name.lower(): name for name in TASKS_REGISTRY}
    name = by_lower.get(spec.name.lower())
    if name is None:
        raise UserError(f"unknown task {spec.name!r}: {nearest(spec.name, TASKS_REGISTRY)}")
    metadata = TASKS_REGISTRY[name].metadata
    if getattr(metadata, "tasks", None):
        raise UserError(
            f"{name} is a collection of tasks: name them instead ("
            + ", ".join(task.metadata.name for task in metadata.tasks)
            + ")"
        )
    subsets = list(metadata.hf_subsets_to_langscripts)
    for subset in spec.subsets:
        if subset not in subsets:
            raise UserError(f"unknown subset {subset!r} of {name}: {nearest(subset, subsets)}")
    for split in spec.splits:
        if split not in metadata.eval_splits:
            hint = nearest(split, metadata.eval_splits)
            raise UserError(f"unknown split {split!r} of {name}: {hint}")
    facts = {
        "type": metadata.type,
        "metric": metadata.main_score,
        "dataset": metadata.dataset["path"],
        "revision": str(metadata.dataset.get("revision") or ""),
    }
    for field, fact in facts.items():
        given = getattr(spec, field)
        if given and given != fact:
            raise UserError(f"{name}: its {field} is {fact!r} in mteb, not {given!r}")
    return replace(
        spec,
        name=name,
        **facts,
        splits=spec.splits or tuple(metadata.eval_splits),
        # mteb runs subsets in its own order, whatever order they are asked for in.
        subsets=tuple(s for s in subsets if s in spec.subsets or not spec.subsets),
    )


def build(spec: TaskSpec, local: LocalDataset | None) -> AbsTask:
    """Return a fresh task object: its own subsets only, its data where `local` says.

    mteb seeds the global random generators when a task object is made, and scores depend on
    them; so build a task right before it is run, and never run it twice.
    """
    if spec.layout:
        task = build_own(spec, spec.revision or (local.digest[:40] if local else "own"))
    else:
        task = TASKS_REGISTRY[spec.name]()
        task.hf_subsets = [s for s in task.hf_subsets if s in spec.subsets]
    if local is not None:
        # On the object, not on the class: metadata is shared by all objects of a task.
        dataset = {**task.metadata.dataset, "path": str(local.folder), "trust_remote_code": False}
        task.metadata = task.metadata.model_copy(update={"dataset": dataset})
    return task


def requirements(spec: TaskSpec) -> tuple[Requirement, ...]:
    """Return what the task reads of its dataset; nothing for a task that loads in its own way."""
    if spec.layout:
        kind: Any = type(build_own(spec, ""))
    else:
        kind = TASKS_REGISTRY[spec.name]
    loader = next(cls for cls in kind.__mro__ if "load_data" in vars(cls))
    if issubclass(kind, AbsTaskRetrieval):
        if loader is AbsTaskRetrieval:
            # mteb keeps the judgements of one organisation's datasets in siblings.
            suffix = QRELS if "clarin-knext" in spec.dataset else ""
            return (
                Requirement("corpus"),
                Requirement("queries"),
                Requirement(splits=spec.splits, suffix=suffix),
            )
        if spec.layout == "qrels" or "qrel_revision" in kind.metadata.dataset:
            return (
                Requirement(splits=("corpus", "queries")),
                Requirement(splits=spec.splits[:1], suffix=QRELS),
            )
        return ()
    splits = spec.splits + (("train",) if issubclass(kind, AbsTaskClassification) else ())
    if loader is MultiSubsetLoader:
        if getattr(kind, "fast_loading", False):
            return (Requirement(splits=splits),)
        return tuple(Requirement(subset, splits) for subset in spec.subsets)
    config = str(kind.metadata.dataset.get("name") or "") if not spec.layout else ""
    return (Requirement(config, splits),) if loader is AbsTask else ()


def repositories(spec: TaskSpec) -> dict[str, str]:
    """Return the hub's datasets that the task reads, each with its commit.

    The commit is empty where mteb names none; a task of one's own reads none of the hub's.
    """
    if spec.layout:
        return {}
    found = {spec.dataset: spec.revision}
    dataset = TASKS_REGISTRY[spec.name].metadata.dataset
    for requirement in requirements(spec):
        if requirement.suffix:
            found[spec.dataset + requirement.suffix] = str(dataset.get("qrel_revision") or "")
    return found


def loads_as_usual(task: AbsTask) -> bool:
    """Whether nothing is drawn while the task's data is loaded, but by its `dataset_transform`."""
    loader = next(cls for cls in type(task).__mro__ if "load_data" in vars(cls))
    usual = (AbsTask, AbsTaskRetrieval, MultiSubsetLoader)
    return loader in usual or "qrel_revision" in task.metadata.dataset


def load_data(task: AbsTask, spec: TaskSpec, local: LocalDataset | None) -> None:
    """Load the task's data, from its local folder or from the hub at the pinned revision."""
    with ExitStack() as stack:
        if local is not None:
            stack.enter_context(cached_by_content(local))
        else:
            stack.enter_context(pinned_cache(repositories(spec)))
            if spec.revision:
                stack.enter_context(_pinned_retrieval(spec))
        # Retrieval tasks load every split of theirs unless told which count.
        task.load_data(eval_splits=list(spec.splits))


@contextmanager
def _pinned_retrieval(spec: TaskSpec) -> Iterator[None]:
    """Make mteb's retrieval loader ask the hub for the revision the task pins.

    1.38.30 names the revision in its results but loads whatever the hub holds that day.
    """
    load = retrieval_module.load_dataset

    def load_pinned(path: str, *args: Any, **kwargs: Any) -> Any:
        if path == spec.dataset:
            kwargs.setdefault("revision", spec.revision)
        return load(path, *args, **kwargs)

    retrieval_module.load_dataset = load_pinned
    try:
        yield
    finally:
        retrieval_module.load_dataset = load
