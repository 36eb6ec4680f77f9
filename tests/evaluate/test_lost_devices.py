"""Whole runs whose actors die: the scores of a run that was left alone, or an end that says why."""

import os
import random
import signal
import threading
import time

import pytest
import torch

from qzhou_eval.encode import placement as placement_module
from qzhou_eval.files import read_json
from tests.evaluate.results import all_scores, arguments, run_folder

ray = pytest.importorskip("ray", reason="ray is not installed in this environment")


@pytest.fixture
def borrowed(local_fleet, monkeypatch):
    """Have every run of the command line use one fleet, which it must not close."""
    fleet, placement = local_fleet
    monkeypatch.setattr(placement_module, "place", lambda *_: placement)
    monkeypatch.setattr(placement_module, "load_engine", lambda *_: fleet)
    monkeypatch.setattr(type(fleet), "close", lambda _: None)
    monkeypatch.setattr(type(placement), "close", lambda _: None)
    return fleet


@pytest.fixture(scope="module")
def local_fleet(bert):
    """Two actors that take their time over each chunk, in a private Ray."""
    from qzhou_eval.encode.distributed.cluster import start_local
    from qzhou_eval.encode.distributed.fleet import load_fleet
    from qzhou_eval.encode.placement import Placement
    from qzhou_eval.recipe.checkpoint import open_checkpoint
    from qzhou_eval.recipe.resolution import resolve
    from tests.encode.distributed import stand_in

    ray.cloudpickle.register_pickle_by_value(stand_in)
    devices = (torch.device("cpu"),) * 2
    placement = Placement("cpu", devices, 2, start_local(devices))
    resolved = resolve(open_checkpoint(str(bert)))
    fleet = load_fleet(resolved, placement, stand_in.SlowLoader(resolved, delay=0.05))
    yield fleet, placement
    fleet.pool.close()
    if placement.cluster:
        placement.cluster.close()


def test_killed_at_random_moments_ten_runs_end_with_the_same_scores(
    cli, borrowed, bert, data, tmp_path
):
    tasks = ["EcomRetrieval", "T2Reranking", "Ocnli", "CLSClusteringS2S", "TNews"]
    started = time.monotonic()
    assert cli("cmteb", *arguments(bert, data, tasks, tmp_path / "whole")).code == 0
    took = time.monotonic() - started
    expected = all_scores(tmp_path / "whole")
    assert set(expected) == set(tasks)
    chance, hit = random.Random(1), 0
    for number in range(10):
        before = borrowed.pool.restarts
        victim = chance.choice(borrowed.pool.members)
        killed = (victim.where.pid, signal.SIGKILL)
        timer = threading.Timer(chance.uniform(0, took), os.kill, killed)
        timer.start()
        output = tmp_path / str(number)
        outcome = cli("cmteb", *arguments(bert, data, tasks, output))
        timer.join()
        assert outcome.code == 0, outcome.out + outcome.err
        assert all_scores(output) == expected
        manifest = read_json(run_folder(output) / "run.json", "manifest")
        counted = sum(entry.get("restarts", 0) for entry in manifest["tasks"].values())
        assert counted <= borrowed.pool.restarts - before <= 2
        hit += borrowed.pool.restarts - before
    assert hit >= 5  # the others fell between the calls of a run, or behind its last


def test_when_all_devices_are_lost_the_run_ends_and_what_is_done_is_kept(
    cli, borrowed, bert, data, tmp_path, monkeypatch
):
    from qzhou_eval.encode.distributed.encoder import DistributedEncoder
    from qzhou_eval.errors import DevicesLostError

    encode = DistributedEncoder.encode

    def lost(self, texts, *, label="", **named):
        if label.startswith("BQ"):
            raise DevicesLostError("all devices were lost, and none came back: planted")
        return encode(self, texts, label=label, **named)

    monkeypatch.setattr(DistributedEncoder, "encode", lost)
    own = arguments(bert, data, ["BQ", "Ocnli", "TNews"], tmp_path)
    monkeypatch.setattr("qzhou_eval.evaluate.runner.longest_first", lambda jobs, _: jobs[::-1])
    outcome = cli("cmteb", *own)
    assert outcome.code == 1
    assert "all devices were lost" in outcome.err
    assert "BQ" not in all_scores(tmp_path)
    assert set(all_scores(tmp_path)) <= {"Ocnli", "TNews"}
    manifest = read_json(run_folder(tmp_path) / "run.json", "manifest")
    assert manifest["tasks"]["BQ"]["status"] == "failed"
    monkeypatch.undo()
