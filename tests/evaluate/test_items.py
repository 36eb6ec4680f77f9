"""What scores are made of, item by item: it comes to the score, and survives what that does."""

import gzip
import signal

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

from qzhou_eval import interruption
from qzhou_eval.encode.encoder import Encoder
from qzhou_eval.errors import UserError
from qzhou_eval.evaluate import items as items_module
from qzhou_eval.evaluate.items import Items, items, read_items, write_items
from qzhou_eval.evaluate.run_folder import open_run_folder
from qzhou_eval.files import file_digest, read_json
from tests.evaluate.hub_layout import CMTEB_TASKS, MTEB_TASKS
from tests.evaluate.results import run_folder

ITEMS_OF = {
    "EcomRetrieval": "ndcg_at_10",
    "T2Reranking": "map",
    "Ocnli": "label",
    "BQ": "gold",
    "SCIDOCS": "ndcg_at_10",
    "AskUbuntuDupQuestions": "map",
    "TwitterSemEval2015": "label",
    "STS13": "gold",
    "STS22.v2": "gold",
    "SummEvalSummarization.v2": "cosine_spearman",
}
"""The tasks of the small data whose score is made of items, and a figure of theirs."""


def columns(own):
    values = np.array([[float(text) for text in row[1:]] for row in own.rows])
    return {name: values[:, place] for place, name in enumerate(own.columns)}


def best_accuracy(similar, labels):
    """mteb's: the pairs down to some threshold are taken to be alike, but never all of them."""
    order = sorted(range(len(labels)), key=lambda pair: similar[pair], reverse=True)
    taken = [set(order[: count + 1]) for count in range(len(labels) - 1)]
    return max(np.mean([(p in own) == (labels[p] == 1) for p in order]) for own in taken)


def score_of(task, own):
    figures = columns(own)
    if "gold" in figures:
        return spearmanr(figures["cosine"], figures["gold"]).statistic
    if "label" in figures:
        labels = figures.pop("label")
        measure = best_accuracy if task == "Ocnli" else lambda s, y: average_precision_score(y, s)
        return max(measure(similar, labels) for similar in figures.values())
    [values] = figures.values()
    return values.mean()


@pytest.mark.parametrize("mode", ["strict", "overlapped", "fast"])
@pytest.mark.parametrize(("command", "tasks"), [("cmteb", CMTEB_TASKS), ("mteb", MTEB_TASKS)])
def test_items_of_every_type_come_to_the_score(
    cli, bert, data, tmp_path, monkeypatch, command, tasks, mode
):
    if mode == "overlapped":
        monkeypatch.setattr(Encoder, "elsewhere", True)
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    arguments += ["--mode", "fast"] if mode == "fast" else ["--skip-preflight"]
    assert cli(command, "--tasks", ",".join(tasks), *arguments).code == 0
    folder = run_folder(tmp_path)
    entries = read_json(folder / "run.json", "manifest")["tasks"]
    written = {path.name: file_digest(path) for path in (folder / "items").iterdir()}
    assert written == {f"{t}.csv.gz": entries[t]["items"] for t in tasks if t in ITEMS_OF}
    for task in tasks:
        if task not in ITEMS_OF:
            assert "items" not in entries[task]
            continue
        found = read_items(folder / "items" / f"{task}.csv.gz")
        scores = read_json(folder / f"{task}.json", "result")["scores"]
        rows = {(split, row["hf_subset"]): row for split, own in scores.items() for row in own}
        assert set(found) == set(rows)
        for unit, own in found.items():
            assert ITEMS_OF[task] in own.columns
            assert len(own.rows) >= 10
            assert score_of(task, own) == pytest.approx(rows[unit]["main_score"], abs=6e-6), task


def test_the_same_run_gives_the_same_bytes_and_no_items_none(cli, bert, data, tmp_path):
    arguments = ["--model", bert, "--datasets-dir", data, "--skip-preflight", "--output-dir"]
    tasks = ["--tasks", "BQ,EcomRetrieval,TNews"]
    for name, more in (("one", []), ("two", []), ("none", ["--no-items"])):
        assert cli("cmteb", *tasks, *arguments, tmp_path / name, *more).code == 0
    one, two, none = (run_folder(tmp_path / name) for name in ("one", "two", "none"))
    for task in ("BQ", "EcomRetrieval"):
        name = f"items/{task}.csv.gz"
        assert (one / name).read_bytes() == (two / name).read_bytes()
        scores = [read_json(f / f"{task}.json", "result")["scores"] for f in (one, none)]
        assert scores[0] == scores[1]
    assert not (none / "items").exists()
    assert not any("items" in e for e in read_json(none / "run.json", "m")["tasks"].values())
    # Made again without items, those of before are gone, and nothing else is.
    again = [*arguments, tmp_path / "one", "--no-items", "--overwrite", "BQ"]
    assert cli("cmteb", *tasks, *again).code == 0
    assert [path.name for path in (one / "items").iterdir()] == ["EcomRetrieval.csv.gz"]
    assert "items" not in read_json(one / "run.json", "m")["tasks"]["BQ"]


def stop_before(label, monkeypatch, calls):
    """Have a signal's wish to stop arrive with the call number `calls` of that label."""
    encode, seen = Encoder.encode, []

    def stopping(self, texts, **named):
        if named.get("label") == label:
            seen.append(label)
            if len(seen) == calls:
                raise interruption.Stopped(signal.SIGTERM)
        return encode(self, texts, **named)

    monkeypatch.setattr(Encoder, "encode", stopping)


@pytest.fixture
def halves(cli, bert, data, tmp_path, monkeypatch):
    """A run of two subsets, stopped between them, and the one that goes on from there."""
    # Both sentences of the first subset are a call each.
    words = ["run", "STS22.v2:de,en", "--model", bert, "--datasets-dir", data, "--skip-preflight"]

    def first(*more, output="out"):
        with monkeypatch.context() as patch:
            stop_before("STS22.v2", patch, calls=3)
            assert cli(*words, "--output-dir", tmp_path / output, *more).code == 143
        return run_folder(tmp_path / output)

    def second(*more, output="out"):
        outcome = cli(*words, "--output-dir", tmp_path / output, *more)
        assert outcome.code == 0, outcome.err
        return outcome

    return first, second


def kept_units(folder):
    return sorted(path.name[16:] for path in (folder / ".work" / "STS22.v2" / "units").iterdir())


@pytest.fixture
def whole(halves):
    """The items of a run that was left alone."""
    _, second = halves
    second(output="alone")

    def check(folder):
        alone = run_folder(folder.parents[2] / "alone")
        name = "items/STS22.v2.csv.gz"
        assert (folder / name).read_bytes() == (alone / name).read_bytes()
        entry = read_json(folder / "run.json", "manifest")["tasks"]["STS22.v2"]
        assert entry["items"] == file_digest(folder / name)
        assert not (folder / ".work").exists()

    return check


def test_items_of_finished_units_survive_an_interruption(halves, whole):
    first, second = halves
    folder = first()
    assert kept_units(folder) == [".csv.gz", ".json"]
    assert not (folder / "items").exists()
    (folder / "items").mkdir()
    (folder / "items" / ".STS22.v2.csv.gz.killed.tmp").write_text("half")
    assert "1 splits or subsets" in second().out
    whole(folder)
    assert [path.name for path in (folder / "items").iterdir()] == ["STS22.v2.csv.gz"]


@pytest.mark.parametrize("damage", ["gone", "changed", "never kept"])
def test_a_unit_without_its_items_is_made_again(halves, whole, damage):
    first, second = halves
    folder = first(*(["--no-items"] if damage == "never kept" else []))
    if damage == "never kept":
        assert kept_units(folder) == [".json"]
    else:
        [path] = (folder / ".work").rglob("*.csv.gz")
        path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:-3])
    assert "splits or subsets" not in second().out
    whole(folder)


def test_without_items_wanted_a_unit_is_kept_whatever_became_of_them(halves):
    first, second = halves
    folder = first()
    [path] = (folder / ".work").rglob("*.csv.gz")
    path.unlink()
    assert "1 splits or subsets" in second("--no-items").out
    assert not (folder / "items").exists()


def test_items_of_a_subset_are_kept_when_a_task_grows(cli, bert, data, tmp_path):
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]

    def run(subsets):
        assert cli("run", f"STS22.v2:{subsets}", *arguments, "--skip-preflight").code == 0
        return read_items(run_folder(tmp_path) / "items" / "STS22.v2.csv.gz")

    alone = run("en")
    assert set(alone) == {("test", "en")}
    grown = run("de,en")
    assert set(grown) == {("test", "de"), ("test", "en")}
    assert grown["test", "en"] == alone["test", "en"]


def test_a_result_whose_items_are_not_as_written_stays(cli, bert, data, tmp_path):
    arguments = ["--model", bert, "--datasets-dir", data, "--output-dir", tmp_path]
    arguments.append("--skip-preflight")
    assert cli("run", "STS22.v2:en", *arguments).code == 0
    file = run_folder(tmp_path) / "items" / "STS22.v2.csv.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b"0.", b"1.")))
    assert "kept" in cli("run", "STS22.v2:en", *arguments).out
    outcome = cli("run", "STS22.v2:de,en", *arguments)
    assert "1 splits or subsets" in outcome.out
    # Its score was not made again for their sake, and the file has what is known.
    assert set(read_items(file)) == {("test", "de")}


def test_names_of_items_may_be_anything(tmp_path):
    names = ["a,b", 'c"d', "e\nf", "\r", "=1+1", "查询", "", "g\udc80h"]
    made = items(names, {"map": np.linspace(0, 1, len(names), dtype=np.float32)})
    unit = ("te,st", 'de"fault')
    write_items(tmp_path / "T.csv.gz", {unit: made})
    [own] = read_items(tmp_path / "T.csv.gz").values()
    assert [row[0] for row in own.rows] == [*names[:-1], "g?h"]
    assert [row[1] for row in own.rows] == [row[1] for row in made.rows]


def test_figures_keep_their_order_and_their_ties():
    rng = np.random.default_rng(5)
    exact = rng.standard_normal(20_000).astype(np.float32)
    exact[::10] = np.nextafter(exact[1::10], np.float32(9))
    exact[2::10] = exact[3::10]
    made = items(range(len(exact)), {"cosine": exact})
    back = np.array([float(row[1]) for row in made.rows])
    assert (back.astype(np.float32) == exact).all()
    assert (np.argsort(back, kind="stable") == np.argsort(exact, kind="stable")).all()


BAD = {
    "": "its first line is not split,subset,item",
    "split,subset,item\n": "its first line is not",
    "split,subset,item,map,map\n": "its first line is not",
    "split,subset,item,map\ntest,default,1\n": "item 1 has 3 fields, not 4",
    "split,subset,item,map\ntest,default,1,0.5\ntest,default,1,0.5\n": "is in it twice",
    'split,subset,item,map\ntest,default,"1,0.5\n': "unexpected end of data",
}


@pytest.mark.parametrize("text", BAD)
def test_files_that_are_no_item_files(tmp_path, text):
    path = tmp_path / "T.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(UserError, match="not a readable item file: ") as raised:
        read_items(path)
    assert BAD[text] in str(raised.value)


def test_item_files_have_limits(tmp_path, monkeypatch):
    path = tmp_path / "T.csv.gz"
    write_items(
        path, {("test", "default"): Items(("map",), tuple((str(n), "1") for n in range(9)))}
    )
    monkeypatch.setattr(items_module, "MAX_ITEMS", 8)
    with pytest.raises(UserError, match="more than 8 items"):
        read_items(path)
    assert items(range(9), {"map": [1] * 9}) is None
    monkeypatch.setattr(items_module, "MAX_BYTES", 50)
    with pytest.raises(UserError, match="more than 50 bytes unpacked"):
        read_items(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="not a readable item file"):
        read_items(path)
    with pytest.raises(UserError, match="no such item file"):
        read_items(tmp_path / "U.csv.gz")


def test_a_place_for_items_that_leads_elsewhere_is_refused(tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    folder.mkdir()
    (elsewhere / ".a.tmp").write_text("precious")
    (folder / "items").symlink_to(elsewhere)
    with pytest.raises(UserError, match="items: is a link"):
        open_run_folder(folder, {"fingerprint": "f"}, {"name": "s"})
    (folder / "items").unlink()
    (folder / "items").write_text("a file")
    with pytest.raises(UserError, match="items: is no folder"):
        open_run_folder(folder, {"fingerprint": "f"}, {"name": "s"})
    assert (elsewhere / ".a.tmp").read_text() == "precious"
