"""What wrong input gets: one line, exit code 2."""

import json

import pytest

MODEL = ("--model", "Kingsoft-LLM/QZhou-Embedding")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["cmteb"], "name the model to plan for"),
        (["cmteb", "mteb", *MODEL], "give one suite alone"),
        (["cmteb", *MODEL, "--format", "xml"], "unknown --format"),
        (["cmteb", *MODEL, "--device-name", "h1000"], "did you mean h100"),
        (["cmteb", *MODEL, "--device-name", "h100", "--tflops", "3"], "exclude each other"),
        (["cmteb", *MODEL, "--calibrate"], "are not here"),
        (["cmteb", *MODEL, "--tflops", "0"], "--tflops"),
        (["cmteb", *MODEL, "--tflops", "nan"], "want numbers"),
        (["cmteb", *MODEL, "--tasks", "LCQMD", "--tflops", "3"], "did you mean LCQMC"),
        (["cmteb", *MODEL, "--mode", "quick", "--tflops", "3"], "unknown mode"),
        (["cmteb", *MODEL, "--datasets-dir", "nowhere", "--tflops", "3"], "no such folder"),
        (["cmteb", "--model", "someone/unheard-of", "--tflops", "3"], "a plan downloads nothing"),
        (["cmteb", "--model", "./nowhere", "--tflops", "3"], "no such folder"),
        (["cmteb", "--model", "BAAI/bge-m3", "--dtype", "fp32", "--device-name", "a100"], "half"),
        (["cmteb", *MODEL, "--ray-address", "auto"], "how many with --devices"),
        (["cmteb", *MODEL, "--devices", "0", "--tflops", "3"], "--devices"),
        (["NoSuchTask", *MODEL, "--tflops", "3"], "unknown task"),
    ],
)
def test_wrong_input(cli, arguments, told):
    outcome = cli("plan", *arguments)
    assert outcome.code == 2
    assert told in outcome.error
    assert not outcome.out


def test_own_task_without_its_data(cli, tmp_path):
    suite = tmp_path / "mine.toml"
    suite.write_text(
        '[[tasks]]\nname = "Mine"\ntype = "STS"\nlayout = "pairs"\ndataset = "mine/pairs"\n'
        'languages = ["eng-Latn"]\ninstruction = "Retrieve"\n'
    )
    outcome = cli("plan", suite, *MODEL, "--tflops", "3")
    assert outcome.code == 2
    assert "in none of the folders given" in outcome.error


def test_several_devices_take_a_part_of_the_time(cli):
    found = {}
    for count in ("1", "8"):
        more = ["--device-name", "h100", "--devices", count, "--format", "json"]
        outcome = cli("plan", "cmteb", *MODEL, "--tasks", "STSB,LCQMC", *more)
        assert outcome.code == 0, outcome.err
        found[count] = json.loads(outcome.out)
    assert found["1"]["total"]["seconds"] == pytest.approx(
        8 * found["8"]["total"]["seconds"], rel=1e-3
    )
    assert "times 8 devices" in json.dumps(found["8"])


def test_help(cli):
    outcome = cli("plan", "--help")
    assert outcome.code == 0
    assert "Usage: qzhou-eval plan" in outcome.out
