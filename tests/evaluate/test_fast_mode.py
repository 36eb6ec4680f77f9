"""Whole runs in fast mode, beside the same in strict mode."""

import json

import numpy as np
import pytest

from qzhou_eval.files import read_json
from qzhou_eval.scores.reading import read_task_scores
from tests.evaluate.hub_layout import CMTEB_TASKS, MTEB_TASKS
from tests.evaluate.results import run_folder

POINTS = 0.02
"""Most that a score may differ between the modes in float32."""


@pytest.mark.parametrize(("command", "tasks"), [("cmteb", CMTEB_TASKS), ("mteb", MTEB_TASKS)])
def test_scores_are_those_of_strict_mode(cli, qzhou, data, tmp_path, command, tasks):
    arguments = ["--model", qzhou, "--trust-remote-code", "--datasets-dir", data]
    arguments += ["--dtype", "float32", "--tasks", ",".join(tasks)]
    found = {}
    for mode in ("strict", "fast"):
        output = tmp_path / mode
        outcome = cli(command, *arguments, "--mode", mode, "--output-dir", output)
        assert outcome.code == 0, outcome.out
        folder = run_folder(output)
        found[mode] = {t: read_task_scores(folder / f"{t}.json").main_scores for t in tasks}
    for task in tasks:
        for pair, score in found["strict"][task].items():
            assert abs(found["fast"][task][pair] - score) * 100 <= POINTS, (task, pair)
    manifest = read_json(run_folder(tmp_path / "fast") / "run.json", "run manifest")
    assert manifest["settings"]["mode"] == "fast"
    assert manifest["fast"]["layout"] == "unpadded"
    assert all(entry["token_budget"] > 0 for entry in manifest["tasks"].values())
    assert (
        "fast mode, batches by tokens" in (run_folder(tmp_path / "fast") / "summary.md").read_text()
    )
    assert "run in fast mode" in cli("report", tmp_path / "fast").out


def test_the_modes_are_not_mixed_in_one_folder(cli, bert, data, tmp_path):
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path, "--tasks", "BQ"]
    assert cli("cmteb", *arguments).code == 0
    outcome = cli("cmteb", *arguments, "--mode", "fast")
    assert outcome.code == 2
    assert "mode 'strict' there, 'fast' now" in outcome.error
    assert (
        "unknown mode 'fats': did you mean fast" in cli("cmteb", *arguments, "--mode", "fats").error
    )


def test_encode_in_fast_mode(cli, bert, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text(
        "\n".join(["a text", "another, longer text of more words", "", "a text"]) + "\n"
    )
    vectors = {}
    for mode in ("strict", "fast"):
        output = tmp_path / f"{mode}.npy"
        assert cli("encode", texts, output, "--model", bert, "--mode", mode).code == 0
        vectors[mode] = np.load(output)
    assert np.abs(vectors["strict"] - vectors["fast"]).max() <= 1e-5
    assert json.dumps(vectors["fast"].shape) == "[4, 32]"
