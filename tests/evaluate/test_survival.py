"""Whole runs that are killed, starved of disk, damaged and doubled: nothing lost, nothing wrong."""

import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from qzhou_eval.files import read_json
from tests.evaluate import survival
from tests.evaluate.results import run_folder
from tests.evaluate.survival import (
    check_finished_once,
    command,
    finished,
    kill,
    left_over,
    make_suite,
    score_bytes,
    start,
    under_way,
    wait_for,
    writing,
)

KILLS = 30


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    return make_suite(tmp_path_factory.mktemp("survival"))


@pytest.fixture(scope="module")
def undisturbed(suite, qzhou, tmp_path_factory):
    """Scores of a run that was left alone."""
    output = tmp_path_factory.mktemp("undisturbed")
    log = output / "log"
    assert start(command(suite, qzhou, output / "out"), log).wait() == 0, log.read_text()
    folder = run_folder(output / "out")
    assert not left_over(folder)
    scores = score_bytes(output / "out")
    assert set(scores) == set(survival.TASKS)
    return scores


def results(folder: Path) -> float:
    """Return how many results there are, and a little more: to be waited for, 0 is something."""
    return sum((folder / f"{task}.json").is_file() for task in survival.TASKS) + 0.1


def test_thirty_kills_leave_the_scores_of_an_undisturbed_run(suite, qzhou, tmp_path, undisturbed):
    chance = random.Random(20261123)
    kills, mid_write, killed_tasks, rounds = 0, 0, set(), 0
    while kills < KILLS:
        rounds += 1
        output, log = tmp_path / f"out{rounds}", tmp_path / f"log{rounds}"
        before: dict[str, int] = {}
        while True:
            process = start(command(suite, qzhou, output), log)
            folder = under_way(output, process)
            ended = None
            if folder is not None and kills < KILLS:
                # At a moment of the run, not of the clock: machines differ in speed.
                wanted = int(results(folder)) + chance.randint(0, 2)
                ended = wait_for(lambda f=folder, n=wanted: results(f) >= n, process)
                until = time.monotonic() + chance.uniform(0, 1.5)
                ended = ended and wait_for(lambda u=until: time.monotonic() > u, process)
                if ended and kills % 2:
                    ended = wait_for(lambda folder=folder: writing(folder), process)
                    mid_write += bool(ended)
            if ended:
                kill(process)
                kills += 1
                manifest = folder / "run.json"
                if manifest.is_file():
                    tasks = read_json(manifest, "manifest")["tasks"]
                    killed_tasks |= {n for n, e in tasks.items() if e["status"] == "running"}
            else:
                assert process.wait() == 0, log.read_text()
                folder = run_folder(output)
            after = finished(folder)
            check_finished_once(before, after)
            before = after
            if not ended:
                break
        assert score_bytes(output) == undisturbed
        assert not left_over(folder)
    # Else the test shows less than it says.
    assert mid_write >= 5
    assert len(killed_tasks) >= 2


def test_a_killed_run_encodes_one_chunk_again(suite, qzhou, tmp_path, undisturbed):
    only = ["--tasks", "EcomRetrieval"]
    process = start(command(suite, qzhou, tmp_path / "out", *only), tmp_path / "log")
    folder = under_way(tmp_path / "out", process)
    assert wait_for(lambda: len(list(folder.rglob("*.vectors"))) >= 2, process)
    kill(process)
    kept = len(list(folder.rglob("*.vectors")))
    assert start(command(suite, qzhou, tmp_path / "out", *only), tmp_path / "log").wait() == 0
    entry = read_json(folder / "run.json", "manifest")["tasks"]["EcomRetrieval"]
    assert entry["kept_texts"] >= 3200 * (kept - 1)
    assert entry["texts"] - entry["kept_texts"] <= 3200 * (3 - kept + 1)
    assert f"{entry['kept_texts']:,} texts from before" in (tmp_path / "log").read_text()
    assert score_bytes(tmp_path / "out")["EcomRetrieval"] == undisturbed["EcomRetrieval"]
    assert not left_over(folder)


def test_without_a_cache_nothing_is_kept_and_nothing_differs(suite, qzhou, tmp_path, undisturbed):
    only = ["--tasks", "EcomRetrieval", "--no-cache"]
    process = start(command(suite, qzhou, tmp_path / "out", *only), tmp_path / "log")
    folder = under_way(tmp_path / "out", process)
    seen = wait_for(lambda: next(folder.rglob("*.vectors"), None), process)
    assert seen is None
    assert process.wait() == 0
    assert score_bytes(tmp_path / "out")["EcomRetrieval"] == undisturbed["EcomRetrieval"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_chunk_and_a_second_stops_at_once(
    suite, qzhou, tmp_path, undisturbed, number
):
    words = command(suite, qzhou, tmp_path / "out", "--tasks", "EcomRetrieval,BQ")
    log = tmp_path / "log"
    process = start(words, log)
    folder = under_way(tmp_path / "out", process)
    assert wait_for(lambda: next(folder.rglob("*.vectors"), None), process)
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    told = log.read_text()
    assert "stopping as soon as what is under way is saved" in told
    assert f"Stopped by {signal.Signals(number).name}: 0 of 2 tasks are done" in told
    assert "the same command goes on from there" in told
    assert "Traceback" not in told
    entry = read_json(folder / "run.json", "manifest")["tasks"]["EcomRetrieval"]
    assert entry["status"] == "interrupted"
    assert not list(folder.rglob("*.tmp"))
    assert not (folder / ".run.owner").exists()
    # The second one does not wait for anything, and what it leaves can be gone on from.
    process = start(words, log)
    under_way(tmp_path / "out", process)
    time.sleep(0.2)
    process.send_signal(number)
    time.sleep(0.05)
    process.send_signal(number)
    # Python on its way out has given the handlers back already.
    assert process.wait(20) in (128 + number, -number)
    assert start(words, log).wait() == 0, log.read_text()
    assert not left_over(folder)
    scores = score_bytes(tmp_path / "out")
    assert scores == {name: undisturbed[name] for name in ("EcomRetrieval", "BQ")}


def test_two_runs_started_together(suite, qzhou, tmp_path, undisturbed):
    words = command(suite, qzhou, tmp_path / "out", "--tasks", "BQ,TNews,T2Reranking")
    logs = [tmp_path / f"log{number}" for number in range(3)]
    together = [
        start(words, logs[0]),
        start(words, logs[1]),
        start([*words, "--wait"], logs[2]),
    ]
    codes = [process.wait() for process in together]
    told = [log.read_text() for log in logs]
    assert codes[2] == 0, told[2]
    # One that came when another had ended found everything done.
    assert set(codes) <= {0, 2}
    for code, text in zip(codes, told, strict=True):
        assert "Traceback" not in text
        if code == 2:
            assert "another run is writing there (process " in text
            assert "--wait" in text
    assert any("another run is writing there" in text for text in told)
    names = ("BQ", "TNews", "T2Reranking")
    assert score_bytes(tmp_path / "out") == {name: undisturbed[name] for name in names}
    assert not left_over(run_folder(tmp_path / "out"))


def test_damaged_files_are_made_again(suite, qzhou, tmp_path, undisturbed):
    """A truncated result, a truncated and a bit-flipped chunk, a truncated and a changed unit."""
    words = command(suite, qzhou, tmp_path / "out", "--tasks", "EcomRetrieval,STS22.v2,BQ")
    log = tmp_path / "log"
    process = start(words, log)
    folder = under_way(tmp_path / "out", process)
    # BQ comes last but one in time: killed when the corpus is half way.
    assert wait_for(lambda: len(list(folder.rglob("*.vectors"))) >= 2, process)
    kill(process)
    chunks = sorted(folder.rglob("*.vectors"))
    whole = chunks[0].read_bytes()
    chunks[0].write_bytes(whole[:-100])
    whole = chunks[1].read_bytes()
    chunks[1].write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    assert start(words, log).wait() == 0
    assert score_bytes(tmp_path / "out") == {
        name: undisturbed[name] for name in ("EcomRetrieval", "STS22.v2", "BQ")
    }
    result = folder / "BQ.json"
    result.write_text(result.read_text()[:200])
    assert start(words, log).wait() == 0
    assert "evaluated again: its result file is not as the run wrote it" in log.read_text()
    assert score_bytes(tmp_path / "out")["BQ"] == undisturbed["BQ"]
    assert not left_over(folder)


def free_to_write() -> bool:
    return os.geteuid() == 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own of 48 MiB, where one may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)], capture_output=True
    )
    if made.returncode:
        pytest.skip("needs leave to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_leaves_what_is_done(suite, qzhou, small_disk, tmp_path, undisturbed):
    words = command(suite, qzhou, small_disk / "out", "--tasks", "BQ,EcomRetrieval,TNews")
    log = tmp_path / "log"
    process = start(words, log)
    folder = under_way(small_disk / "out", process)
    filler = small_disk / "filler"
    file = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(file, b"0" * 4096)
    os.close(file)
    code = process.wait(120)
    told = log.read_text()
    assert code == 1, told
    assert "No space left on device; make room there, and give the same command again" in told
    assert "Traceback" not in told
    assert not list(folder.rglob("*.tmp"))
    # Full from the beginning: said before anything is run.
    assert start(words, log).wait(120) == 2
    assert "MiB are free and about 32 MiB are needed there" in log.read_text()
    assert start([*words, "--no-disk-check"], log).wait(120) in (1, 2)
    assert "Traceback" not in log.read_text()
    filler.unlink()
    assert start(words, log).wait(120) == 0, log.read_text()
    names = ("BQ", "EcomRetrieval", "TNews")
    assert score_bytes(small_disk / "out") == {name: undisturbed[name] for name in names}
    assert not left_over(folder)


def test_a_folder_made_read_only_half_way(suite, qzhou, tmp_path, undisturbed):
    """By a mount for root, who may write to any folder; by its mode for others."""
    words = command(suite, qzhou, tmp_path / "out", "--tasks", "EcomRetrieval,BQ")
    log = tmp_path / "log"
    process = start(words, log)
    folder = under_way(tmp_path / "out", process)
    read_only = [["chmod", "-R", "a-w", str(folder)]]
    writable = [["chmod", "-R", "u+w", str(folder)]]
    if free_to_write():
        read_only = [
            ["mount", "--bind", str(folder), str(folder)],
            ["mount", "-o", "remount,ro,bind", str(folder)],
        ]
        writable = [["umount", "-l", str(folder)]]
    for step in read_only:
        if subprocess.run(step, capture_output=True).returncode:
            kill(process)
            pytest.skip("needs leave to mount a folder read-only")
    code = process.wait(120)
    for step in writable:
        subprocess.run(step, check=True)
    told = log.read_text()
    # Folders that the process had open before a mount stay writable for it.
    assert code in (0, 1), told
    assert "Traceback" not in told
    if code:
        assert "cannot be written" in told
    assert start(words, log).wait(120) == 0, log.read_text()
    assert not left_over(folder)
    names = ("EcomRetrieval", "BQ")
    assert score_bytes(tmp_path / "out") == {name: undisturbed[name] for name in names}


def workers_of(pid: int) -> list[int]:
    """Return the processes that joblib has started for a run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"loky" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_workers_of_a_classifier_end_with_their_run(suite, qzhou, tmp_path):
    process = start(command(suite, qzhou, tmp_path / "out", "--tasks", "TNews"), tmp_path / "log")
    workers = wait_for(lambda: workers_of(process.pid), process)
    assert workers
    # Ctrl-C in a terminal goes to them as well.
    for pid in workers:
        os.kill(pid, signal.SIGINT)
    time.sleep(1)
    kill(process)
    until = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < until
        time.sleep(0.2)


def test_ctrl_c_in_a_terminal_fails_no_task(suite, qzhou, tmp_path):
    """It goes to the workers too, which a classifier's score is waiting for."""
    log = tmp_path / "log"
    words = command(suite, qzhou, tmp_path / "out", "--tasks", "TNews,BQ")
    process = start(words, log, start_new_session=True)
    assert wait_for(lambda: len(workers_of(process.pid)) > 1, process)
    time.sleep(1.5)  # a worker that is only being started has nothing to ignore signals with
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    assert "failed" not in log.read_text()
    assert start(words, log).wait() == 0


def test_a_lock_whose_owner_died_holds_nobody_up(suite, qzhou, tmp_path):
    words = command(suite, qzhou, tmp_path / "out", "--tasks", "BQ")
    process = start(words, tmp_path / "log")
    folder = under_way(tmp_path / "out", process)
    kill(process)
    assert json.loads((folder / ".run.owner").read_text())["pid"] == process.pid
    assert start(words, tmp_path / "log").wait() == 0
    assert not left_over(folder)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_the_file_system_has_no_locks_a_dead_owner_is_seen(tmp_path, monkeypatch, code):
    from qzhou_eval import folder_lock
    from qzhou_eval.errors import UserError
    from qzhou_eval.folder_lock import SOFT_LOCK, check_unlocked, lock_folder

    def none(*_):
        raise OSError(code, "planted: no locks")

    monkeypatch.setattr(folder_lock.fcntl, "flock", none)
    lock = lock_folder(tmp_path)
    soft = tmp_path / SOFT_LOCK
    with pytest.raises(UserError, match="another run is writing there.*if that run is dead"):
        lock_folder(tmp_path)
    with pytest.raises(UserError, match="another run is writing there"):
        check_unlocked(tmp_path)
    said = json.loads(soft.read_text())
    lock.release()
    check_unlocked(tmp_path)
    assert not soft.exists()
    gone = subprocess.Popen(["true"])
    gone.wait()
    soft.write_text(json.dumps({**said, "pid": gone.pid, "host": "elsewhere"}))
    with pytest.raises(UserError, match="another run"):
        lock_folder(tmp_path)
    soft.write_text(json.dumps({**said, "pid": gone.pid}))
    lock = lock_folder(tmp_path)
    # Of two that saw the same dead lock, the second puts back what the first has made.
    monkeypatch.setattr(folder_lock, "_is_dead", lambda owner: True)
    seen = iter([{**said, "pid": gone.pid}])
    read = folder_lock._read
    monkeypatch.setattr(folder_lock, "_read", lambda path: next(seen, None) or read(path))
    folder_lock._take_away_dead(soft)
    assert json.loads(soft.read_text())["pid"] == os.getpid()
    lock.release()
    assert not [path.name for path in tmp_path.iterdir() if path.name != ".run.lock"]
