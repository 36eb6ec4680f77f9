"""Real data, a real model: the published scores come out again.

A part that takes minutes on two cores; the whole list is in results/minilm-reproduction.md.
"""

import pytest

from qzhou_eval.files import read_json

TOLERANCE = 0.0005

SCORES = {
    "cmteb": {"STSB": 0.378006, "AFQMC": 0.085879, "PAWSX": 0.072125, "Ocnli": 0.532756},
    "mteb": {"STS13": 0.806032, "STSBenchmark": 0.820325, "STS17": 0.875878},
}
BY_SUBSET = {
    "SIB200Classification:eng_Latn": {
        ("train", "eng_Latn"): 0.715549,
        ("validation", "eng_Latn"): 0.677778,
        ("test", "eng_Latn"): 0.721569,
    },
    # Named the other way round: mteb's own order decides the draws.
    "MasakhaNEWSClusteringS2S:eng,amh": {
        ("test", "amh"): 0.4544135,
        ("test", "eng"): 0.4108504,
    },
}


def main_scores(folder, task):
    [path] = folder.rglob(f"{task}.json")
    scores = read_json(path, "result file")["scores"]
    return {
        (split, row["hf_subset"]): row["main_score"]
        for split, rows in scores.items()
        for row in rows
    }


@pytest.mark.parametrize("command", SCORES)
def test_suite_tasks(cli, minilm, real_datasets, tmp_path, command):
    arguments = ["--model", minilm, "--datasets-dir", real_datasets, "--output-dir", tmp_path]
    outcome = cli(command, "--tasks", ",".join(SCORES[command]), *arguments)
    assert outcome.code == 0, outcome.out + outcome.err
    for task, expected in SCORES[command].items():
        [found] = main_scores(tmp_path, task).values()
        assert found == pytest.approx(expected, abs=TOLERANCE), task


def test_tasks_by_name(cli, minilm, real_datasets, tmp_path):
    arguments = ["--model", minilm, "--datasets-dir", real_datasets, "--output-dir", tmp_path]
    outcome = cli("run", *BY_SUBSET, *arguments)
    assert outcome.code == 0, outcome.out + outcome.err
    for argument, expected in BY_SUBSET.items():
        found = main_scores(tmp_path, argument.partition(":")[0])
        assert set(found) == set(expected)
        for pair, score in expected.items():
            assert found[pair] == pytest.approx(score, abs=TOLERANCE), (argument, pair)
