"""The examples, run as they stand: with CPU actors for GPUs, and a stand-in for Slurm."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from qzhou_eval.files import read_json
from tests.evaluate.results import run_folder

pytest.importorskip("ray", reason="ray is not installed in this environment")

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def ray_dir():
    """A short path for Ray's sockets; whatever of Ray has it in its command line ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="qx", dir="/tmp"))
    yield folder
    for _ in range(3):
        for process in psutil.process_iter(["cmdline"]):
            if any(str(folder) in part for part in process.info["cmdline"] or ()):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        time.sleep(0.3)
    shutil.rmtree(folder, ignore_errors=True)


def run(arguments, **variables):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    extra = variables.pop("first_path", "")
    environment = {**os.environ, "PATH": f"{extra}{os.pathsep}{path}" if extra else path}
    environment |= {name: str(value) for name, value in variables.items()}
    done = subprocess.run(
        ["bash", *map(str, arguments)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def own(bert, data, output):
    return ["--model", bert, "--datasets-dir", data, "--tasks", "BQ", "--output-dir", output]


def check(output):
    manifest = read_json(run_folder(output) / "run.json", "manifest")
    assert manifest["settings"]["devices"] == 2
    assert manifest["tasks"]["BQ"]["status"] == "done"


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_every_example_is_mentioned_and_runnable(path):
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert f"examples/{path.name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_one_box(bert, data, tmp_path):
    told = run(
        [EXAMPLES / "one_box.sh", "--datasets-dir", data, "--tasks", "BQ"],
        MODEL=bert,
        DEVICES="cpu,cpu",
        SUITES="cmteb",
        COMPARE="no",
        OUTPUT=tmp_path / "out",
    )
    assert "2 devices give the same bits" in told
    check(tmp_path / "out")
    assert (tmp_path / "out" / "tables" / "leaderboard.csv").is_file()


def test_a_cluster_of_two_nodes(bert, data, tmp_path, ray_dir):
    script, there = EXAMPLES / "ray_cluster.sh", {"CPUS": 1, "GPUS": 0, "RAY_DIR": ray_dir}
    run([script, "head", "127.0.0.1"], PORT=26379, **there)
    run([script, "worker", "127.0.0.1:26379", "127.0.0.1"], CPUS=1, GPUS=0)
    run([script, "run", "127.0.0.1:26379", "cmteb", *own(bert, data, tmp_path / "out")])
    check(tmp_path / "out")


def test_under_slurm(bert, data, tmp_path, ray_dir):
    slurm = tmp_path / "slurm"
    slurm.mkdir()
    # Runs a step here, whichever node it is meant for.
    stand_ins = {
        "srun": 'while [ "${1#-}" != "$1" ]; do shift; done\n'
        'if [ "$1" = hostname ]; then echo "fe80::1 127.0.0.1 "; else exec "$@"; fi\n',
        "scontrol": "printf 'one\\ntwo\\n'\n",
    }
    for name, body in stand_ins.items():
        (slurm / name).write_text(f"#!/usr/bin/env bash\n{body}")
        (slurm / name).chmod(0o755)
    run(
        [EXAMPLES / "slurm.sbatch", "cmteb", *own(bert, data, tmp_path / "out")],
        first_path=slurm,
        SLURM_JOB_ID=4711,
        SLURM_JOB_NODELIST="[one,two]",
        SLURM_CPUS_PER_TASK=1,
        GPUS_PER_NODE=0,
        RAY_DIR=ray_dir,
    )
    check(tmp_path / "out")
