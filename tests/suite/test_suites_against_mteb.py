"""Our suites against mteb 1.38.30's own benchmark definitions."""

import mteb
import pytest

from qzhou_eval.suite.library import built_in


def mteb_definition(name):
    """Task name to what mteb says of it; a task listed twice counts once, the last one."""
    return {
        task.metadata.name: {
            "type": task.metadata.type,
            "metric": task.metadata.main_score,
            "splits": tuple(task.eval_splits),
            "subsets": tuple(task.hf_subsets),
            "dataset": task.metadata.dataset["path"],
            "revision": task.metadata.dataset["revision"],
        }
        for task in mteb.get_benchmark(name).tasks
    }


@pytest.mark.parametrize(("command", "count"), [("cmteb", 31), ("mteb", 41)])
def test_same_tasks_splits_subsets_and_revisions(command, count):
    suite = built_in(command)
    theirs = mteb_definition(suite.name)
    ours = {
        task.name: {key: getattr(task, key) for key in next(iter(theirs.values()))}
        for task in suite.tasks
    }
    assert len(ours) == len(suite.tasks) == count
    assert ours == theirs


def test_a_task_listed_twice_counts_with_its_last_entry():
    listed = mteb.get_benchmark("MTEB(cmn, v1)").tasks
    twice = [t.eval_splits for t in listed if t.metadata.name == "MultilingualSentiment"]
    assert twice == [["test"], ["validation"]]
    assert built_in("cmteb").task("MultilingualSentiment").splits == ("validation",)
