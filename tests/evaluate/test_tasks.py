import pytest

from qzhou_eval.errors import UserError
from qzhou_eval.evaluate.local_data import Requirement
from qzhou_eval.evaluate.mteb1 import tasks
from qzhou_eval.suite.library import built_in
from qzhou_eval.suite.suite import TaskSpec


@pytest.mark.parametrize("command", ["cmteb", "mteb"])
def test_the_suites_are_complete_as_they_are(command):
    for spec in built_in(command).tasks:
        assert tasks.complete(spec) == spec


def test_a_name_is_completed_from_mteb():
    spec = tasks.complete(TaskSpec("scifact"))
    assert (spec.name, spec.type, spec.metric) == ("SciFact", "Retrieval", "ndcg_at_10")
    assert (spec.splits, spec.subsets) == (("test",), ("default",))
    assert (spec.dataset, spec.revision) == (
        "mteb/scifact",
        "0228b52cf27578f30900b9e5271d331663a030d7",
    )


def test_subsets_stand_in_mtebs_order():
    spec = tasks.complete(TaskSpec("MasakhaNEWSClusteringS2S", subsets=("eng", "amh")))
    assert spec.subsets == ("amh", "eng")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (TaskSpec("SciFakt"), "did you mean SciFact"),
        (TaskSpec("STS17", subsets=("en",)), "unknown subset 'en' of STS17"),
        (TaskSpec("STS13", splits=("train",)), "unknown split 'train' of STS13"),
    ],
)
def test_what_mteb_does_not_know(spec, message):
    with pytest.raises(UserError, match=message):
        tasks.complete(spec)


def test_requirements_follow_how_each_kind_loads():
    found = {spec.name: tasks.requirements(spec) for spec in built_in("mteb").tasks}
    beir = (Requirement("corpus"), Requirement("queries"), Requirement(splits=("test",)))
    assert found["SCIDOCS"] == beir
    assert found["STS13"] == (Requirement(splits=("test",)),)
    assert found["Banking77Classification"] == (Requirement(splits=("test", "train")),)
    assert found["MTOPDomainClassification"] == (Requirement("en", ("test", "train")),)
    assert found["MassiveIntentClassification"] == (Requirement(splits=("test", "train")),)
    chinese = {spec.name: tasks.requirements(spec) for spec in built_in("cmteb").tasks}
    assert chinese["T2Retrieval"] == (
        Requirement(splits=("corpus", "queries")),
        Requirement(splits=("dev",), suffix="-qrels"),
    )
    assert all(found.values())
    assert all(chinese.values())


def test_building_a_task_leaves_mtebs_own_class_alone(tmp_path):
    from qzhou_eval.evaluate.local_data import LocalDataset

    spec = built_in("mteb").task("STS13")
    task = tasks.build(spec, LocalDataset("mteb/sts13-sts", tmp_path, "0" * 64))
    assert task.metadata.dataset["path"] == str(tmp_path)
    assert tasks.build(spec, None).metadata.dataset["path"] == "mteb/sts13-sts"


@pytest.mark.parametrize("name", ["SCIDOCS", "T2Retrieval", "STS13", "T2Reranking"])
def test_the_hub_is_asked_for_the_pinned_revision(monkeypatch, name):
    """mteb 1.38.30 by itself loads retrieval data at whatever commit the hub holds that day."""
    import importlib

    import datasets

    asked = []

    def load_dataset(path, *args, **kwargs):
        asked.append((path, kwargs.get("revision")))
        raise ConnectionError("no hub here")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for module in ("abstasks.AbsTaskRetrieval", "tasks.Retrieval.zho.CMTEBRetrieval"):
        monkeypatch.setattr(importlib.import_module(f"mteb.{module}"), "load_dataset", load_dataset)
    [suite] = [s for s in map(built_in, ("cmteb", "mteb")) if name in {t.name for t in s.tasks}]
    spec = suite.task(name)
    with pytest.raises(ConnectionError):
        tasks.load_data(tasks.build(spec, None), spec, None)
    assert asked == [(spec.dataset, spec.revision)]


def test_a_fresh_task_object_seeds_the_generators():
    import numpy as np

    spec = built_in("mteb").task("STS13")
    tasks.build(spec, None)
    first = np.random.random()
    np.random.random()
    tasks.build(spec, None)
    assert np.random.random() == first
