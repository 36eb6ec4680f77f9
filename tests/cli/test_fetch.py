"""The command: what it says, its exit codes, and how it is killed and goes on."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tests.commands import ROOT, command
from tests.stand_in_hub import MODEL_COMMIT

TASKS = ["cmteb", "--tasks", "BQ,EcomRetrieval"]


@pytest.fixture
def online(hub, monkeypatch):
    """The stand-in hub, and a process that may ask it."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return hub


def test_what_it_says(cli, online, tmp_path):
    outcome = cli("fetch", *TASKS, "--model", "org/tiny", "--output-dir", tmp_path / "out")
    assert outcome.code == 0, outcome
    lines = outcome.out.splitlines()
    assert lines[0].startswith("To fetch: ")
    assert " free" in lines[0]
    [line] = [line for line in lines if line.startswith("C-MTEB/BQ ")]
    commit = online.repositories["dataset", "C-MTEB/BQ"].commit[:8]
    assert line.split() == ["C-MTEB/BQ", commit, "2", "files", "5.6", "kB", "40", "rows"]
    assert f"--offline --datasets-dir {tmp_path / 'out'}" in outcome.out
    assert f"--model org/tiny --revision {MODEL_COMMIT}" in outcome.out


def test_one_that_fails_does_not_keep_the_others(cli, online, tmp_path):
    online.fail("wrong", "BQ/default/test.jsonl")
    arguments = [*TASKS, "--output-dir", tmp_path / "out"]
    outcome = cli("fetch", *arguments)
    assert outcome.code == 1
    assert "1 of 2 failed:\n  BQ: C-MTEB/BQ: default/test.jsonl" in outcome.out
    assert (tmp_path / "out/C-MTEB/EcomRetrieval").is_dir()
    assert not (tmp_path / "out/C-MTEB/BQ").exists()
    verified = cli("fetch", "--verify", tmp_path / "out")
    assert verified.code == 1
    assert "Incomplete, on their way: C-MTEB/BQ" in verified.out
    online.faults.clear()
    assert cli("fetch", *arguments).code == 0
    assert cli("fetch", "--verify", tmp_path / "out").code == 0


def test_verify_names_what_is_broken_and_what_mends_it(cli, online, tmp_path):
    cli("fetch", *TASKS, "--output-dir", tmp_path)
    (tmp_path / "C-MTEB/BQ/default/test.jsonl").unlink()
    (tmp_path / "C-MTEB/BQ/\x1b[2Jmore").touch()
    outcome = cli("fetch", "--verify", tmp_path)
    assert outcome.code == 1
    assert "\x1b" not in outcome.out
    assert "default/test.jsonl is missing" in outcome.out
    assert f"qzhou-eval fetch cmteb --tasks BQ --output-dir {tmp_path}" in outcome.out


@pytest.mark.parametrize("name", ["model.safetensors", "added_tokens.json"])
def test_a_fetched_model_with_other_bytes_is_refused(cli, online, tmp_path, name):
    fetched = cli("fetch", "--model", "org/tiny", "--output-dir", tmp_path)
    assert fetched.code == 0, fetched
    path = tmp_path / "models/org/tiny" / name
    whole = path.read_bytes() if path.exists() else b"{}"
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    model = ["--model", "org/tiny", "--datasets-dir", tmp_path, "--offline"]
    outcome = cli("cmteb", "--tasks", "BQ", *model)
    assert outcome.code == 2
    assert f"{name} is not as it was fetched; qzhou-eval fetch --verify" in outcome.error


def test_from_a_colleagues_folder(cli, online, tmp_path):
    cli("fetch", *TASKS, "--output-dir", tmp_path / "theirs")
    online.close()
    copying = ["--from", tmp_path / "theirs", "--output-dir", tmp_path / "ours"]
    found = command(tmp_path, "fetch", *TASKS, *copying, HF_ENDPOINT=online.url)
    assert found.returncode == 0, found.stdout + found.stderr
    assert cli("fetch", "--verify", tmp_path / "ours").code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name what to fetch"),
        (["BQ"], "--output-dir DIR"),
        (["BQQ", "--output-dir", "o"], "did you mean BQ"),
        (["cmteb", "--tasks", "STSBB", "--output-dir", "o"], "did you mean STSB"),
        (["cmteb", "--types", "Retreival", "--output-dir", "o"], "did you mean Retrieval"),
        (["--tasks", "BQ", "--model", "a/b", "--output-dir", "o"], "none is named"),
        (["BQ", "--revision", "main", "--output-dir", "o"], "no --model is named"),
        (["--model", "../a/b", "--output-dir", "o"], "is not the name of a repository"),
        (["BQ", "--from", "none", "--output-dir", "o"], "nothing was fetched there"),
        (["--verify", "none"], "nothing was fetched there"),
        (["BQ", "--verify", "none"], "stands alone"),
        (["--verify", "none", "--tasks", "BQ"], "stands alone"),
        (["--verify", "none", "--types", "STS"], "stands alone"),
        (["--verify", "none", "--revision", "main"], "stands alone"),
        (["--verify", "none", "--trust-remote-code"], "stands alone"),
        (["BQ", "--output-dir", "o", "--jobs", "0"], "--jobs"),
    ],
)
def test_wrong_input(cli, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    # Set for all tests, and by commands that were run offline in this process.
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    outcome = cli("fetch", *arguments)
    assert outcome.code == 2, outcome
    assert told in outcome.error
    assert list(tmp_path.iterdir()) == [], "nothing may be written"


def test_an_offline_process_does_not_fetch(cli, tmp_path):
    outcome = cli("fetch", "BQ", "--output-dir", tmp_path / "out")
    assert outcome.code == 2
    assert "HF_HUB_OFFLINE is set" in outcome.error


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_killed_fetch_goes_on(stand_in, tmp_path, how, code):
    content = bytes(range(256)) * 8000
    stand_in.repositories["model", "org/tiny"].files["extra.dat"] = content
    slow = stand_in.fail("slow", "org/tiny/extra.dat", times=1)
    arguments = ["fetch", "--model", "org/tiny", "--output-dir", str(tmp_path / "out")]
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_OFFLINE")}
    environment |= {"HF_ENDPOINT": stand_in.url, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "qzhou_eval", *arguments],
        env={**environment, "HF_HUB_DOWNLOAD_TIMEOUT": "20"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    parts, files = (
        tmp_path / "out/.fetching" / name for name in ("parts", "files/models/org/tiny")
    )
    # But .gitattributes, and this one.
    others = len(stand_in.repositories["model", "org/tiny"].files) - 2
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        here = len([path for path in files.rglob("*") if path.is_file()])
        half = 0
        for path in parts.glob("*"):
            with suppress(FileNotFoundError):  # whole meanwhile, and moved
                half += path.stat().st_size
        if here == others and half >= len(content) // 2 - (1 << 16):
            break
        time.sleep(0.05)
    else:
        pytest.fail("it did not come to the slow file")
    process.send_signal(how)
    time.sleep(1)
    slow.release.set()
    _, told = process.communicate(timeout=60)
    assert process.returncode == code
    if how is signal.SIGINT:
        assert "the same command goes on where it stopped" in told
    before = dict(stand_in.served)
    assert not (tmp_path / "out/models").exists()

    again = command(tmp_path, *arguments, HF_ENDPOINT=stand_in.url)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "of it here already" in again.stdout
    assert (tmp_path / "out/models/org/tiny/extra.dat").read_bytes() == content
    after = dict(stand_in.served)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"org/tiny/extra.dat"}, "no whole file is fetched twice"
    assert after["org/tiny/extra.dat"] <= len(content) + (1 << 16), "nor is the first half"
