"""What a run keeps of those before it: units, what drew what, overwriting, failures."""

import errno
import os
import signal
import threading
import time

import pytest

from qzhou_eval import interruption
from qzhou_eval.encode.encoder import Encoder
from qzhou_eval.evaluate import runner
from qzhou_eval.evaluate.mteb1 import portions
from qzhou_eval.files import read_json, write_json
from tests.evaluate.results import run_folder


@pytest.fixture
def arguments(bert, data, tmp_path):
    output = tmp_path / "out"
    return ["--model", bert, "--datasets-dir", data, "--output-dir", output, "--skip-preflight"]


@pytest.fixture
def folder(tmp_path):
    return lambda: run_folder(tmp_path / "out")


def entry(folder, task):
    return read_json(folder / "run.json", "manifest")["tasks"][task]


def lines(outcome):
    """Return the task lines' words behind the numbers."""
    return [
        line.replace(",", "").split()[2:]
        for line in outcome.out.splitlines()
        if line.startswith("[")
    ]


def stop_at(label, monkeypatch, calls=1):
    """Have a signal's wish to stop arrive when so many calls of that name are encoded."""
    encode, count = Encoder.encode, 0

    def stopping(self, texts, **named):
        nonlocal count
        count += named.get("label") == label
        if count == calls and named.get("label") == label:
            raise interruption.Stopped(signal.SIGTERM)
        return encode(self, texts, **named)

    monkeypatch.setattr(Encoder, "encode", stopping)


def test_a_failure_to_load_keeps_what_was_done_of_the_task(cli, arguments, folder, monkeypatch):
    assert cli("run", "STS22.v2:en", *arguments).code == 0
    before = read_json(folder() / "STS22.v2.json", "result")["scores"]

    def broken(*_):
        raise ValueError("planted: no data")

    with monkeypatch.context() as patch:
        patch.setattr(portions, "prepare_task", broken)
        assert cli("run", "STS22.v2:de,en", *arguments).code == 1
        assert entry(folder(), "STS22.v2")["status"] == "failed"
        again = cli("run", "STS22.v2:en", *arguments)
    assert again.code == 0
    assert "kept" in lines(again)[0]
    assert read_json(folder() / "STS22.v2.json", "result")["scores"] == before
    assert not (folder() / ".work").exists()


def test_a_retry_that_was_stopped_is_tried_again(cli, arguments, folder, monkeypatch):
    def broken(*_):
        raise ValueError("planted: no data")

    nothing = cli("cmteb", "--tasks", "BQ", *arguments, "--retry-failed")
    assert nothing.code == 2
    assert "nothing was run there" in nothing.error
    with monkeypatch.context() as patch:
        patch.setattr(portions, "prepare_task", broken)
        assert cli("cmteb", "--tasks", "BQ,Ocnli", *arguments).code == 1
    other = cli("cmteb", "--tasks", "TNews", *arguments, "--retry-failed")
    assert other.code == 0
    assert "None of the tasks asked for is left to retry in " in other.out
    assert "others are: " in other.out
    assert {"BQ", "Ocnli"} <= set(other.out.replace(",", "").split())
    with monkeypatch.context() as patch:
        stop_at("BQ", patch)
        stopped = cli("cmteb", *arguments, "--tasks", "BQ,Ocnli", "--retry-failed")
    assert stopped.code == 143
    assert entry(folder(), "BQ")["status"] == "interrupted"
    again = cli("cmteb", *arguments, "--tasks", "BQ,Ocnli", "--retry-failed")
    assert again.code == 0
    assert [line[0] for line in lines(again)] == ["BQ"]
    assert "Every task that was begun" in cli("cmteb", *arguments, "--retry-failed").out


@pytest.mark.parametrize("how", ["all", "changed", "BQ,TNews"])
def test_overwriting_that_was_stopped_goes_on(cli, arguments, folder, monkeypatch, how):
    tasks = ["--tasks", "BQ,TNews"]
    with monkeypatch.context() as patch:
        patch.setattr("qzhou_eval.evaluate.jobs.deciding_packages", lambda: {"torch": "1"})
        assert cli("cmteb", *tasks, *arguments).code == 0
    with monkeypatch.context() as patch:
        stop_at("BQ", patch)
        assert cli("cmteb", *tasks, *arguments, "--overwrite", how).code == 143
    assert entry(folder(), "TNews")["status"] == "done"
    # Until it is evaluated anew, the old one does not count.
    assert "1/31" in cli("report", folder()).out.replace(" ", "")
    again = cli("cmteb", *tasks, *arguments, "--overwrite", how)
    assert again.code == 0
    assert ["kept" in line for line in lines(again)] == [True, False]
    # Come to its end, the same words mean it once more.
    once_more = cli("cmteb", *tasks, *arguments, "--overwrite", how)
    assert ["kept" in line for line in lines(once_more)] == [how == "changed"] * 2


def test_the_same_words_for_other_tasks_mean_those(cli, arguments, folder, monkeypatch):
    assert cli("cmteb", "--tasks", "BQ,TNews", *arguments).code == 0
    with monkeypatch.context() as patch:
        stop_at("BQ", patch)
        assert cli("cmteb", "--tasks", "BQ", *arguments, "--overwrite", "all").code == 143
    outcome = cli("cmteb", "--tasks", "TNews", *arguments, "--overwrite", "all")
    assert outcome.code == 0
    assert "kept" not in lines(outcome)[0]


@pytest.mark.parametrize("how", ["all", "changed"])
def test_overwriting_goes_on_with_other_packages(cli, arguments, folder, monkeypatch, how):
    def run(version, *words):
        with monkeypatch.context() as patch:
            packages = {"torch": version}
            patch.setattr("qzhou_eval.evaluate.jobs.deciding_packages", lambda: packages)
            return cli("cmteb", "--tasks", "BQ,TNews", *arguments, *words)

    assert run("1").code == 0
    with monkeypatch.context() as patch:
        stop_at("BQ", patch)
        assert run("2", "--overwrite", how).code == 143
    assert entry(folder(), "TNews")["status"] == "done"
    again = run("3", "--overwrite", how)
    assert again.code == 0, again.err
    assert ["kept" in line for line in lines(again)] == [False, False]


NAME = "MassiveIntentClassification"


def languages(tmp_path, *subsets):
    """Return a suite file of one task in these languages."""
    path = tmp_path / f"{'-'.join(subsets)}.toml"
    path.write_text(
        f'name = "languages"\n[[tasks]]\nname = "{NAME}"\nsplits = ["test"]\n'
        f"subsets = {list(subsets)}\n"
    )
    return path


def test_a_unit_is_saved_as_soon_as_it_is_scored(cli, arguments, folder, tmp_path, monkeypatch):
    both = languages(tmp_path, "de", "en")
    with monkeypatch.context() as patch:
        # Each language has a call a draw, and one of the test set.
        stop_at(NAME, patch, calls=15)
        assert cli("run", both, *arguments).code == 143
    assert entry(folder(), NAME)["status"] == "interrupted"
    assert len(list((folder() / ".work" / NAME / "units").iterdir())) == 1
    outcome = cli("run", both, *arguments)
    assert outcome.code == 0
    assert "1 splits or subsets" in outcome.out
    found = read_json(folder() / f"{NAME}.json", "result")["scores"]
    assert cli("run", both, *arguments, "--overwrite", "all").code == 0
    assert read_json(folder() / f"{NAME}.json", "result")["scores"] == found


def test_random_streams_are_not_continued_half_way(cli, bert, data, tmp_path):
    """What was drawn alone is drawn anew behind others, and is then what a fresh run gives."""
    alone, both = languages(tmp_path, "en"), languages(tmp_path, "de", "en")
    arguments = ["--model", bert, "--datasets-dir", data, "--skip-preflight", "--output-dir"]

    def scores(output, *suites):
        for suite in suites:
            assert cli("run", suite, *arguments, output).code == 0
        return read_json(run_folder(output) / f"{NAME}.json", "result")["scores"]["test"]

    fresh = scores(tmp_path / "fresh", both)
    grown = scores(tmp_path / "grown", alone, both)
    assert grown == fresh
    drawn = entry(run_folder(tmp_path / "grown"), NAME)["drawn"]
    assert {own["subset"]: own["drawn_after"] for own in drawn} == {
        "de": [],
        "en": [["test", "de"]],
    }
    # Manifests of before do not say; then a part of what is wanted is not kept.
    assert scores(tmp_path / "old", alone)
    path = run_folder(tmp_path / "old") / "run.json"
    manifest = read_json(path, "manifest")
    del manifest["tasks"][NAME]["drawn"]
    write_json(path, manifest)
    assert "kept" in cli("run", alone, *arguments, tmp_path / "old").out
    assert "from before" not in cli("run", both, *arguments, tmp_path / "old").out


def test_clustering_of_several_subsets_draws_as_a_fresh_run_does(cli, bert, tmp_path):
    from tests.evaluate.hub_layout import demo_rows, write

    rows = demo_rows("clustering-en/test.jsonl")
    task, dataset = "WikiClusteringP2P.v2", "ryzzlestrizzle/multi-wiki-clustering-p2p"
    pages = [
        {
            "sentences": [f"{number} {row['sentences']}" for row in rows],
            "labels": [row["labels"] for row in rows],
        }
        for number in range(12)
    ]
    write(tmp_path / dataset, {"bs": {"test": pages}, "ca": {"test": pages}})
    arguments = ["--model", bert, "--datasets-dir", tmp_path, "--skip-preflight"]

    def scores(output, *wanted):
        for subsets in wanted:
            outcome = cli("run", f"{task}:{subsets}", *arguments, "--output-dir", output)
            assert outcome.code == 0, outcome.err
        found = read_json(run_folder(output) / f"{task}.json", "result")["scores"]["test"]
        return {row["hf_subset"]: row["v_measures"] for row in found}

    fresh = scores(tmp_path / "fresh", "bs,ca")
    # One stream: the same pages get other scores behind another subset.
    alone = scores(tmp_path / "alone", "ca")
    assert alone["ca"] != fresh["ca"]
    assert scores(tmp_path / "alone", "bs,ca") == fresh
    assert scores(tmp_path / "first", "bs", "bs,ca") == fresh


def test_what_was_computed_in_parts_is_told_when_a_task_grows(cli, arguments, folder):
    assert cli("run", "STS22.v2:en", *arguments).code == 0
    path = folder() / "run.json"
    manifest = read_json(path, "manifest")
    first = manifest["tasks"]["STS22.v2"]
    texts = first["texts"]
    # As if most had been on disk: of these no time is known.
    kept = {"kept_texts": texts - 1, "kept_tokens": 10**12}
    first |= {"split_batches": 3, "restarts": 1, **kept, "tokens": first["tokens"] + 10**12}
    write_json(path, manifest)
    assert cli("run", "STS22.v2:de,en", *arguments).code == 0
    grown = entry(folder(), "STS22.v2")
    assert (grown["split_batches"], grown["restarts"]) == (3, 1)
    assert grown["texts"] == 2 * texts
    assert {key: grown[key] for key in kept} == kept
    assert grown["tokens_per_second"] < 10**9


def test_a_signal_while_the_last_task_is_scored_lets_it_be_saved(
    cli, arguments, folder, monkeypatch
):
    score = portions.Encoded.score

    def slow(self):
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        time.sleep(1.5)
        return score(self)

    handlers = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    monkeypatch.setattr(Encoder, "elsewhere", True)
    monkeypatch.setattr(portions.Encoded, "score", slow)
    try:
        outcome = cli("cmteb", "--tasks", "BQ", *arguments)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert entry(folder(), "BQ")["status"] == "done"
    assert (folder() / "BQ.json").is_file()
    assert outcome.code in (0, 143)
    assert not (folder() / ".work").exists()


def test_a_signal_while_the_last_task_is_scored_is_heeded_before_failed_ones_are_tried_again(
    cli, arguments, folder, monkeypatch
):
    prepare, score, tries = portions.prepare_task, portions.Encoded.score, []

    def ill(spec, *others):
        if spec.name == "TNews":
            tries.append(spec.name)
            raise ConnectionError("planted: the hub is away")
        return prepare(spec, *others)

    def signalled(self):
        time.sleep(1)  # until nothing but this is left to do
        monkeypatch.setattr(interruption._state, "asked", signal.SIGTERM)
        return score(self)

    monkeypatch.setenv("QZHOU_EVAL_RETRY_SECONDS", "0")
    monkeypatch.setattr(portions, "prepare_task", ill)
    monkeypatch.setattr(Encoder, "elsewhere", True)
    monkeypatch.setattr(runner, "longest_first", lambda jobs, planned: jobs)
    monkeypatch.setattr(portions.Encoded, "score", signalled)
    handlers = {number: signal.getsignal(number) for number in interruption.SIGNALS}
    try:
        outcome = cli("cmteb", "--tasks", "TNews,BQ", *arguments)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert outcome.code == 143
    assert entry(folder(), "BQ")["status"] == "done"
    assert len(tries) == runner.HUB_TRIES


def test_a_unit_is_saved_while_another_task_is_cleared(tmp_path, monkeypatch):
    """The folder of all units is not taken from under the thread that makes its own in it."""
    from pathlib import Path

    from qzhou_eval.evaluate.ledger import Ledger
    from qzhou_eval.evaluate.units import UnitResult

    ledger = Ledger(tmp_path)
    make = Path.mkdir

    def slow(self, *arguments, **named):
        make(self, *arguments, **named)
        if self == ledger.root:
            ledger.clear("another")

    monkeypatch.setattr(Path, "mkdir", slow)
    ledger.save("task", "x", UnitResult(("test", "default"), {"hf_subset": "default"}))
    assert set(ledger.finished("task", "x")) == {("test", "default")}
    ledger.clear("task")
    ledger.close()
    assert not ledger.root.exists()


def test_an_outage_is_outlived(cli, arguments, folder, monkeypatch):
    """A task whose data the hub did not give is tried again when the others are done."""
    prepare, failures = portions.prepare_task, []

    def ill(spec, *others):
        if spec.name == "TNews" and len(failures) < runner.HUB_TRIES:
            failures.append(spec.name)
            raise ConnectionError("planted: the hub is away")
        return prepare(spec, *others)

    monkeypatch.setenv("QZHOU_EVAL_RETRY_SECONDS", "0")
    monkeypatch.setattr(portions, "prepare_task", ill)
    outcome = cli("cmteb", "--tasks", "TNews,BQ", *arguments)
    assert outcome.code == 0
    assert (
        "TNews failed: ConnectionError: planted: the hub is away; it is tried again" in outcome.out
    )
    assert [line[0] for line in lines(outcome)] == ["BQ", "TNews"]
    manifest = read_json(folder() / "run.json", "manifest")
    assert manifest["failed"] == []


def test_an_error_of_any_letters_is_put_down(cli, arguments, folder, monkeypatch):
    def broken(*_):
        raise ValueError("planted: \udc80 \x1b[31m")

    monkeypatch.setattr(portions, "prepare_task", broken)
    outcome = cli("cmteb", "--tasks", "BQ,Ocnli", *arguments)
    assert outcome.code == 1
    assert "2 of 2 tasks failed" in outcome.out
    assert "planted" in entry(folder(), "BQ")["traceback"]


def test_data_whose_cache_has_no_room_fails_its_own_task(cli, arguments, folder, monkeypatch):
    prepare = portions.prepare_task

    def full(spec, *others):
        if spec.name == "BQ":
            raise OSError(errno.ENOSPC, "No space left on device")
        return prepare(spec, *others)

    monkeypatch.setattr(portions, "prepare_task", full)
    outcome = cli("cmteb", "--tasks", "BQ,Ocnli", *arguments)
    assert outcome.code == 1
    assert "1 of 2 tasks failed: BQ" in outcome.out
    assert entry(folder(), "Ocnli")["status"] == "done"


def test_vectors_of_a_failed_task_go_first(tmp_path):
    import numpy as np

    from qzhou_eval.encode.chunk_store import Chunk
    from qzhou_eval.evaluate.ledger import Ledger

    vectors = np.random.default_rng(1).standard_normal((64, 32)).astype(np.float32)
    ledger = Ledger(tmp_path, cache_limit=2 * (vectors.nbytes + 400))
    first, second = ledger.store("first", "x"), ledger.store("second", "x")
    for key in ("a", "a", "b"):
        first.write(key, Chunk(vectors))
    assert ledger.space.used <= ledger.space.limit
    second.write("c", Chunk(vectors))
    assert ledger.space.refused
    ledger.space.refused = ""
    ledger.leave("first")
    second.write("c", Chunk(vectors))
    assert not ledger.space.refused
    assert not list((tmp_path / ".work" / "first").rglob("*.vectors"))
    ledger.clear("second")
    ledger.clear("first")
    assert ledger.space.used == 0


def test_other_hardware_gets_vectors_of_its_own(cli, arguments, folder, tmp_path, monkeypatch):
    from qzhou_eval.evaluate.run_folder import RunFolder

    both = languages(tmp_path, "de", "en")
    with monkeypatch.context() as patch:
        stop_at(NAME, patch, calls=15)
        cli("run", both, *arguments)
    kept = len(list(folder().rglob("*.vectors")))
    assert kept
    monkeypatch.setattr(RunFolder, "computing", {"on": ["another"], "cuda": None})
    outcome = cli("run", both, *arguments)
    assert outcome.code == 0
    assert " texts from before" not in outcome.out
    told = entry(folder(), NAME)["also_computed"]
    assert len(told) == 1
    assert "threads" in told[0]["on"][0]
