"""The Ray that the project starts: for this machine alone, and gone when it is over."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from qzhou_eval.encode.distributed import cluster as cluster_module
from qzhou_eval.encode.distributed import scratch as scratch_module

pytest.importorskip("ray", reason="ray is not installed in this environment")

CPU = torch.device("cpu")


def ray_processes(scratch):
    found = []
    for process in psutil.process_iter(["cmdline", "pid"]):
        if any(str(scratch) in part for part in process.info["cmdline"] or ()):
            found.append(process)
    return found


def family(scratch):
    """All processes of a private Ray: its servers and their children."""
    servers = ray_processes(scratch)
    children = [child for process in servers for child in process.children(recursive=True)]
    return {process.pid: process for process in [*servers, *children]}.values()


def test_it_listens_on_the_loopback_address_alone():
    import ray

    own = cluster_module.start_local([CPU, CPU])
    try:
        ray.get(ray.remote(lambda: 1).remote())  # a worker is up
        listening = []
        for process in [*family(own.scratch), psutil.Process()]:
            for connection in process.net_connections(kind="inet"):
                if connection.status == psutil.CONN_LISTEN:
                    listening.append((process.name(), connection.laddr.ip))
        assert len(listening) >= 4  # gcs, raylet, workers, this process
        assert {ip.removeprefix("::ffff:") for _, ip in listening} == {"127.0.0.1"}
        assert not [p for p in family(own.scratch) if p.nice() > 0]
        assert own.scratch.stat().st_mode & 0o077 == 0
    finally:
        own.close()
    assert not own.scratch.exists()
    assert not ray_processes(own.scratch)
    assert not ray.is_initialized()


@pytest.fixture
def interrupted(tmp_path):
    """Start a program with a private Ray, and end it by a signal; return its scratch folder."""

    def run(number):
        program = (
            "import time, torch\n"
            "from qzhou_eval.encode.distributed.cluster import start_local\n"
            "own = start_local([torch.device('cpu')])\n"
            "print(own.scratch, flush=True)\n"
            "time.sleep(60)\n"
        )
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        scratch = Path(child.stdout.readline().strip())
        assert scratch.is_dir()
        child.send_signal(number)
        child.wait(timeout=30)
        return scratch

    return run


def test_a_killed_run_leaves_no_process_and_the_next_one_clears_up(interrupted, monkeypatch):
    scratch = interrupted(signal.SIGKILL)
    until = time.monotonic() + 30

    def alive():
        # Two helpers of Ray's without any work look around for a minute before they end.
        return [p for p in ray_processes(scratch) if "agent" not in " ".join(p.info["cmdline"])]

    while alive() and time.monotonic() < until:
        time.sleep(0.2)
    assert not alive()
    monkeypatch.setattr(scratch_module, "GRACE_SECONDS", 0)
    scratch_module.remove_left_behind()
    assert not scratch.exists()


def test_the_scratch_folder_of_a_run_under_way_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch_module, "_root", lambda: str(tmp_path))
    monkeypatch.setattr(scratch_module, "GRACE_SECONDS", 0)
    alive, foreign = scratch_module.make_scratch(), tmp_path / "qz-other"
    foreign.mkdir()
    dead = tmp_path / "qz-dead"
    dead.mkdir()
    (dead / "owner.lock").touch()
    # The lock is seen by any other process, whatever numbers it has for this one.
    program = (
        "import qzhou_eval.encode.distributed.scratch as scratch\n"
        f"scratch._root = lambda: {str(tmp_path)!r}\n"
        "scratch.GRACE_SECONDS = 0\n"
        "scratch.remove_left_behind()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert alive.exists()
    assert foreign.exists()
    assert not dead.exists()


def test_nothing_in_the_current_folder_runs_in_an_actor(tmp_path, bert):
    """A folder one happens to be in, such as a downloaded checkpoint's, is not looked for code."""
    mark = tmp_path / "mark"
    for name in ("transformers", "tokenizers", "torch", "files"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write('{name} ')\n")
    (tmp_path / "texts.txt").write_text("one\ntwo\n")
    command = [Path(sys.executable).with_name("qzhou-eval"), "encode", "texts.txt", "out.npy"]
    command += ["--model", bert, "--device", "cpu,cpu"]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not mark.exists()


def test_gpus_are_those_named_and_the_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,GPU-abc")
    assert cluster_module._gpu_names() == ["4", "5", "GPU-abc"]
    with cluster_module._visible(("5", "GPU-abc")):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,GPU-abc"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5,GPU-abc"
    own = cluster_module.Cluster(True, None, ("cuda:1", "cuda:2"), ("5", "GPU-abc"))
    assert own.device_name(0, "here", "GPU-abc") == "cuda:2"
    other = cluster_module.Cluster(False)
    assert other.device_name(3, "node-7", "2") == "GPU 2 of node-7"


def test_no_room_in_shared_memory_is_made_do_with(monkeypatch):
    usage = cluster_module.shutil.disk_usage("/")
    monkeypatch.setattr(
        cluster_module.shutil, "disk_usage", lambda _: usage._replace(free=64 * 2**20)
    )
    assert cluster_module._store_bytes(8) == cluster_module.LEAST_STORE_BYTES
    monkeypatch.setattr(cluster_module.shutil, "disk_usage", lambda _: usage._replace(free=2**40))
    assert cluster_module._store_bytes(8) == 9 * 256 * 2**20
