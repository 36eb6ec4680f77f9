"""Actors that die: nothing is lost, nothing comes twice, and an end that names the culprit."""

import os
import random
import signal
import threading
import time

import numpy as np
import pytest

from qzhou_eval.encode.distributed import pool as pool_module
from qzhou_eval.errors import DeviceLostError, DevicesLostError
from tests.encode.distributed.stand_in import StandInLoader, vectors_of

pytest.importorskip("ray", reason="ray is not installed in this environment")


def texts_of(count):
    return [f"text {number}" for number in range(count)]


def test_a_killed_actors_chunk_is_done_by_another(fleet, tmp_path):
    actors = fleet(StandInLoader(mark=str(tmp_path / "mark")))
    texts = [*texts_of(7000), "once", *texts_of(7000)]
    assert np.array_equal(actors.encoder.encode(texts), vectors_of(texts))
    assert actors.encoder.meter.restarts == 1
    assert actors.encoder.meter.texts == len(texts)
    # Counted once, whoever did them.
    assert actors.encoder.meter.tokens == len(texts)


def test_a_gpu_that_went_wrong_gets_a_new_process_and_then_an_error(fleet):
    actors = fleet(StandInLoader())
    expected = (
        r"the chunk of texts 6401 to 7001 of A task took down its actor 3 times, the last time on "
        r"cpu, actor [12]: CUDA error: an illegal memory access"
    )
    with pytest.raises(DeviceLostError, match=expected):
        actors.encoder.encode([*texts_of(7000), "fault"], label="A task")
    texts = texts_of(300)
    assert np.array_equal(actors.encoder.encode(texts), vectors_of(texts))


def test_a_text_that_kills_every_actor_is_named_with_its_chunk(fleet):
    actors = fleet(StandInLoader())
    with pytest.raises(DeviceLostError, match=r"texts 1 to 50 of A task took down its actor 3"):
        actors.encoder.encode(["kill", *texts_of(99)], label="A task")
    assert actors.pool.restarts == 3


def test_an_actor_that_died_between_calls_is_replaced(fleet):
    actors = fleet(StandInLoader())
    for member in actors.pool.members:
        os.kill(member.where.pid, signal.SIGKILL)
    texts = texts_of(200)
    assert np.array_equal(actors.encoder.encode(texts), vectors_of(texts))
    assert actors.pool.restarts == 2


def test_no_device_comes_back(fleet, tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "POLL_SECONDS", 0.1)
    actors = fleet(StandInLoader(mark=str(tmp_path / "mark"), broken=True))
    (tmp_path / "mark").touch()
    for member in actors.pool.members:
        os.kill(member.where.pid, signal.SIGKILL)
    with pytest.raises(DevicesLostError, match="none came back: .*it does not load any more"):
        actors.encoder.encode(texts_of(200))


def test_no_device_comes_back_in_time(fleet, monkeypatch):
    monkeypatch.setattr(pool_module, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(pool_module, "REPLACEMENT_SECONDS", 0.5)
    actors = fleet(StandInLoader())
    create = actors.pool._create

    def nowhere():
        # Wants a resource that no node has: Ray waits for one.
        import ray

        from qzhou_eval.encode.distributed.actor import EncoderActor

        remote = ray.remote(resources={"elsewhere": 1})(EncoderActor)
        return remote.remote(actors.pool.loader, "cpu", {}, "")

    actors.pool._create = nowhere
    for member in actors.pool.members:
        os.kill(member.where.pid, signal.SIGKILL)
    with pytest.raises(DevicesLostError, match="all devices were lost"):
        actors.encoder.encode(texts_of(200))
    actors.pool._create = create


def test_killed_at_random_moments_all_vectors_are_right(fleet):
    actors = fleet(StandInLoader(delay=0.2))
    texts = texts_of(40_000)
    expected = vectors_of(texts)
    chance, done = random.Random(0), threading.Event()
    killed = []

    def kill_now_and_then():
        while not done.wait(chance.uniform(0.05, 2.5)):
            where = chance.choice(actors.pool.members).where
            try:
                os.kill(where.pid, signal.SIGKILL)
                killed.append(where.pid)
            except ProcessLookupError:  # killed before, its successor still on its way
                pass

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    try:
        for _ in range(4):
            assert np.array_equal(actors.encoder.encode(texts), expected)
    finally:
        done.set()
        killer.join()
    assert killed


def test_the_drivers_memory_is_bounded_however_slow_the_actors_are(fleet):
    import psutil

    actors = fleet(StandInLoader(delay=0.05, width=64))
    count, length = 200_000, 2000
    texts = [f"{number:07}" * (length // 7) for number in range(count)]
    process, most, done = psutil.Process(), [0], threading.Event()

    def private():
        memory = process.memory_info()  # the object store, of fixed size, is shared
        return memory.rss - memory.shared

    before = private()
    peak = [before]

    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], private())
            most[0] = max(most[0], sum(len(m.running) for m in actors.pool.members))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    vectors = actors.encoder.encode(texts)
    done.set()
    watcher.join()
    assert vectors.shape == (count, 64)
    assert np.array_equal(vectors[[0, -1]], vectors_of([texts[0], texts[-1]], 64))
    grown = (peak[0] - before) / 2**20
    own = vectors.nbytes / 2**20
    # All texts at once would be 380 MiB; two chunks an actor are 24 MiB of texts.
    print(f"{grown:.0f} MiB, {own:.0f} of them vectors, {time.monotonic() - started:.1f} s")
    assert grown - own < 100
    assert most[0] <= 4


def test_a_replacement_on_a_node_without_the_model_is_never_used(fleet, tmp_path, monkeypatch):
    monkeypatch.setattr(pool_module, "POLL_SECONDS", 0.1)
    actors = fleet(StandInLoader(delay=0.5, mark=str(tmp_path / "mark"), unchecked=True))
    # As on a cluster, where a replacement may come to a node that nobody has looked at.
    monkeypatch.setattr(actors.pool.cluster, "local", False)
    (tmp_path / "mark").touch()
    victim = actors.pool.members[0].where.pid
    os.kill(victim, signal.SIGKILL)
    texts = texts_of(500)
    for _ in range(30):
        assert np.array_equal(actors.encoder.encode(texts), vectors_of(texts))
        if len(actors.pool.members) == 1:
            break
    assert [member.slot for member in actors.pool.members] == [1]
    assert "other files" in actors.pool._gone[0].reason


def test_a_replacement_that_gives_other_vectors_is_never_used(fleet, monkeypatch):
    monkeypatch.setattr(pool_module, "POLL_SECONDS", 0.1)
    actors = fleet()
    actors.preflight({}).raise_for_failures()
    assert actors.pool.vectors is not None
    actors.pool.vectors = -actors.pool.vectors  # as of other weights
    for member in actors.pool.members:
        os.kill(member.where.pid, signal.SIGKILL)
    with pytest.raises(DevicesLostError, match="other vectors than the devices of the run's"):
        actors.encoder.encode(texts_of(200))
