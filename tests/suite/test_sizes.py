"""The table of sizes against the suites, the reference figures and the data that is here."""

import csv
from dataclasses import replace

import pytest

from qzhou_eval.suite.instructions import Side
from qzhou_eval.suite.library import built_in
from qzhou_eval.suite.samples import sample_texts
from qzhou_eval.suite.sizes import task_sizes


@pytest.mark.parametrize("command", ["cmteb", "mteb", "demo"])
def test_every_task_is_known(command):
    for spec in built_in(command).tasks:
        sizes = task_sizes(spec)
        assert sizes, spec.name
        assert {size.side for size in sizes} == set(spec.sides)
        assert all(size.texts > 0 and size.characters > 0 for size in sizes)


def test_another_dataset_or_split_is_another_task():
    spec = built_in("cmteb").task("LCQMC")
    assert task_sizes(spec)
    assert not task_sizes(replace(spec, dataset="mine/lcqmc"))
    assert not task_sizes(replace(spec, splits=("test", "validation")))


def test_sums_are_the_reference_figures(reference):
    """Where all of a set is encoded, its texts and characters are those of the published table."""
    specs = {task.name: task for name in ("cmteb", "mteb") for task in built_in(name).tasks}
    checked = 0
    with (reference / "suites.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            spec = specs[row["task"]]
            if (row["split"],) != spec.splits:
                continue
            sizes = task_sizes(spec)
            texts = sum(size.texts for size in sizes)
            characters = sum(size.characters for size in sizes)
            rows = int(row["num_samples"])
            if spec.type == "STS":
                assert (texts, characters) == (2 * rows, int(row["characters"]))
            elif spec.type == "Retrieval":
                assert texts == rows
                assert characters == pytest.approx(int(row["characters"]), abs=2)
            elif spec.type == "Classification":
                test, *drawn = sizes
                assert test.texts == rows or "counted" in {s.origin for s in sizes}
                assert all(size.texts < 20_000 for size in drawn)
            elif spec.definition == "fast":
                assert texts <= rows
            elif spec.type == "Clustering":
                assert (texts, characters) == (rows, int(row["characters"]))
            checked += 1
    assert checked == 72


def test_mindsmall_is_its_distinct_texts():
    sizes = {size.side: size for size in task_sizes(built_in("mteb").task("MindSmallReranking"))}
    assert sizes[Side.QUERY].texts == 37_162
    assert sizes[Side.DOCUMENT].texts == 5_277


def test_sample_texts_are_the_demos():
    found = sample_texts()
    assert set(found) == {"eng", "cmn"}
    assert all(len(texts) > 500 for texts in found.values())
    assert all(isinstance(text, str) and text for texts in found.values() for text in texts)
