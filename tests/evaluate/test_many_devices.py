"""Whole runs over several actors: the results of one process, whatever happens to the actors."""

import os
import subprocess
import sys
import threading
import time

import pytest
import torch

from qzhou_eval.encode import engine as engine_module
from qzhou_eval.encode import placement as placement_module
from qzhou_eval.files import read_json
from tests.evaluate.hub_layout import CMTEB_TASKS, MTEB_TASKS
from tests.evaluate.results import all_scores, arguments, run_folder

ray = pytest.importorskip("ray", reason="ray is not installed in this environment")

BOTH = pytest.mark.parametrize(("command", "tasks"), [("cmteb", CMTEB_TASKS), ("mteb", MTEB_TASKS)])


@pytest.fixture
def in_process(cli, monkeypatch):
    """Run in this process alone, by the chunk rule of two devices, on the cores of one of them."""

    def run(command, *own):
        threads, load = torch.get_num_threads(), engine_module.load_encoder
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
        with monkeypatch.context() as patch:
            patch.setattr(engine_module, "load_encoder", lambda *a: load(*a, devices=2))
            outcome = cli(command, *own)
        torch.set_num_threads(threads)
        assert outcome.code == 0, outcome.out + outcome.err
        return outcome

    return run


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two nodes, both on this machine."""
    from ray.cluster_utils import Cluster

    own = Cluster()
    try:
        for _ in range(2):
            own.add_node(num_cpus=2, object_store_memory=150 * 2**20)
        own.wait_for_nodes()
        yield own
    finally:
        own.shutdown()


@BOTH
def test_two_actors_score_as_one_process(cli, in_process, bert, data, tmp_path, command, tasks):
    in_process(command, *arguments(bert, data, tasks, tmp_path / "one"))
    outcome = cli(command, *arguments(bert, data, tasks, tmp_path / "two"), "--device", "cpu,cpu")
    assert outcome.code == 0, outcome.out + outcome.err
    assert "2 devices give the same bits" in outcome.out
    assert all_scores(tmp_path / "one") == all_scores(tmp_path / "two")
    manifest = read_json(run_folder(tmp_path / "two") / "run.json", "manifest")
    assert manifest["settings"]["devices"] == 2
    assert manifest["environment"]["hardware"]["device"] == "2 x CPU"
    assert not ray.is_initialized()


@BOTH
def test_two_nodes_score_as_one_process(
    cli, in_process, cluster, qzhou, data, tmp_path, command, tasks
):
    in_process(command, *arguments(qzhou, data, tasks, tmp_path / "one"))
    on_cluster = ["--ray-address", cluster.address]
    outcome = cli(command, *arguments(qzhou, data, tasks, tmp_path / "two"), *on_cluster)
    assert outcome.code == 0, outcome.out + outcome.err
    assert f"2 CPU actors of the Ray cluster at {cluster.address}" in outcome.out
    assert all_scores(tmp_path / "one") == all_scores(tmp_path / "two")


def test_a_node_that_is_lost_takes_no_score_with_it(cli, cluster, bert, data, tmp_path):
    tasks = [*MTEB_TASKS[:3], "STS13", "MTOPDomainClassification"]
    own = ["--ray-address", cluster.address]
    assert cli("mteb", *arguments(bert, data, tasks, tmp_path / "whole"), *own).code == 0
    extra = cluster.add_node(num_cpus=2, object_store_memory=150 * 2**20)
    cluster.wait_for_nodes()

    def lose():
        # Once the run is under way.
        while not list(tmp_path.glob("less/*/*/*.json")):
            time.sleep(0.02)
        # All are on this machine, and the driver ends with the one it is connected to.
        own_node = ray.get_runtime_context().get_node_id()
        node = next(node for node in (extra, *cluster.worker_nodes) if node.node_id != own_node)
        cluster.remove_node(node, allow_graceful=False)

    loser = threading.Thread(target=lose)
    loser.start()
    actors = ["--actors", "2"]
    outcome = cli("mteb", *arguments(bert, data, tasks, tmp_path / "less"), *own, *actors)
    loser.join()
    assert outcome.code == 0, outcome.out + outcome.err
    assert all_scores(tmp_path / "less") == all_scores(tmp_path / "whole")


def test_a_run_of_another_device_count_is_not_mixed_in(cli, bert, data, tmp_path):
    own = arguments(bert, data, ["BQ"], tmp_path)
    assert cli("cmteb", *own).code == 0
    outcome = cli("cmteb", *own, "--device", "cpu,cpu")
    assert outcome.code == 2
    assert "devices 1 there, 2 now" in outcome.error
    # A folder of before devices were counted has results of one.
    path = run_folder(tmp_path) / "run.json"
    path.write_text(
        path.read_text().replace('"devices": 1,\n    "instruction_table"', '"instruction_table"')
    )
    assert "devices" not in read_json(path, "manifest")["settings"]
    assert "kept" in cli("cmteb", *own).out


@pytest.mark.parametrize(
    ("gone", "told"), [(False, "has other files there"), (True, "every node loads the model")]
)
def test_a_node_without_the_models_files(
    cli, cluster, bert, data, tmp_path, monkeypatch, gone, told
):
    import shutil

    from qzhou_eval.encode.distributed import fleet

    own = shutil.copytree(bert, tmp_path / "model")
    load = fleet.load_fleet

    def lose_model(*given):
        if gone:
            shutil.rmtree(own)
        else:
            (own / "tokenizer_config.json").write_text("{}")
        return load(*given)

    monkeypatch.setattr(fleet, "load_fleet", lose_model)
    output = tmp_path / "out"
    on_cluster = ["--ray-address", cluster.address]
    outcome = cli("cmteb", *arguments(own, data, ["BQ"], output), *on_cluster)
    assert outcome.code == 2
    assert told in outcome.error
    assert "CPU actor 1 of " in outcome.error
    assert not output.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--device", "cpu,cuda"], "--device cuda: "),
        (["--device", "cpu,auto"], "auto stands alone"),
        (["--device", "cpu,,cpu"], "unknown device ''"),
        (["--actors", "2"], "it goes with --ray-address"),
        (["--ray-address", "auto", "--device", "cuda:0"], "Ray chooses the devices"),
        (["--ray-address", "ray://127.0.0.1:10001"], "give auto, or HOST:PORT"),
        (["--ray-address", "somewhere"], "give auto, or HOST:PORT"),
        (["--ray-address", "127.0.0.1:1"], "nothing answers there"),
        (["--ray-address", "127.0.0.1:99999"], "nothing answers there"),
    ],
)
def test_devices_that_are_not_there(cli, bert, data, tmp_path, options, told):
    outcome = cli("cmteb", *arguments(bert, data, ["BQ"], tmp_path / "out"), *options)
    assert outcome.code == 2
    assert told in outcome.error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--actors", "64"], "64 actors on CPUs are asked for"),
        (["--device", "cuda"], "no actors on GPUs are asked for, and the cluster has 0 of 0"),
    ],
)
def test_more_than_the_cluster_has(cli, cluster, bert, data, tmp_path, monkeypatch, options, told):
    monkeypatch.setattr(placement_module, "JOIN_SECONDS", 0.5)
    own = ["--ray-address", cluster.address, *options]
    outcome = cli("cmteb", *arguments(bert, data, ["BQ"], tmp_path / "out"), *own)
    assert outcome.code == 2
    assert told in outcome.error


def test_no_cluster_to_find(cli, bert, data, tmp_path, monkeypatch):
    # A head that is gone, but still named: Ray itself would wait for it.
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr("qzhou_eval.encode.distributed.cluster.ANSWER_SECONDS", 2.0)
    own = arguments(bert, data, ["BQ"], tmp_path / "out")
    outcome = cli("cmteb", *own, "--ray-address", "auto")
    assert outcome.code == 2
    assert "there is no Ray that runs on this machine" in outcome.error


def test_an_address_of_something_else(cli, bert, data, tmp_path, monkeypatch):
    import socket

    from qzhou_eval.encode.distributed import cluster as cluster_module

    monkeypatch.setattr(cluster_module, "ANSWER_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as server:  # says nothing
        address = f"127.0.0.1:{server.getsockname()[1]}"
        outcome = cli(
            "cmteb", *arguments(bert, data, ["BQ"], tmp_path / "out"), "--ray-address", address
        )
    assert outcome.code == 2
    assert "is no Ray head" in outcome.error


def test_one_device_never_imports_ray(bert, tmp_path):
    (tmp_path / "texts.txt").write_text("one\ntwo\n")
    program = (
        "import sys; sys.modules['ray'] = None\n"
        "from qzhou_eval.cli import main\n"
        f"sys.argv = ['qzhou-eval', 'encode', {str(tmp_path / 'texts.txt')!r}, "
        f"{str(tmp_path / 'out.npy')!r}, '--model', {str(bert)!r}, '--device', 'cpu']\n"
        "main()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert (tmp_path / "out.npy").exists()
