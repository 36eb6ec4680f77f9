"""Tables of hostile folders: whole or not there at all, inside their folder, and harmless."""

import csv
import gzip
import hashlib
import html
import io
import json
import re
import shutil
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qzhou_eval.cli import _run
from qzhou_eval.cli.app import app
from qzhou_eval.errors import plain
from qzhou_eval.evaluate.run_folder import run_path
from qzhou_eval.files import file_digest
from qzhou_eval.report.escaping import FORMULA_STARTS, cell, csv_text, html_text
from qzhou_eval.report.files import write_summary
from qzhou_eval.scores.run_folders import read_run_folder
from tests.fuzz.hostile import as_json, damaged, examples, json_bytes, tampered, texts, told
from tests.scores.made_runs import make_run

TASKS = ("STSB", "BQ", "Mine")
MANIFEST = {
    "model": "Kingsoft-LLM/QZhou-Embedding",
    "revision": "f1e6c03ee3882e7b9fa5cec91217715272e433b8",
    "recipe": {"pooling": "mean", "dtype": "bfloat16", "max_length": 512, "instruction_set": ""},
    "settings": {"mode": "strict", "batch_size": 16, "devices": 2, "device": "cpu"},
    "environment": {"packages": {"mteb": "1.38.31", "torch": "2.7.1"}},
    "suites": [
        {
            "name": "mine",
            "tasks": [
                {"name": name, "type": "STS", "splits": ["test"], "subsets": ["default"]}
                for name in TASKS
            ],
        },
        {"name": "MTEB(cmn, v1)", "tasks": []},
    ],
    "tasks": {
        name: {
            "status": "done",
            "sha256": f"sha256 of {name}",
            "preflight": "skipped",
            "split_batches": 1,
            "texts": 10,
            "tokens": 100,
            "seconds": {"encode": 1.5},
            "planned": {"texts": 10, "tokens": 90, "seconds": 2},
            "made_with": {"instruction": {"instruction": "i", "rule": "query only"}, "data": {}},
        }
        for name in TASKS
    },
}


def result(task):
    rows = [{"hf_subset": "default", "main_score": 0.5, "languages": ["eng-Latn"]}]
    return {
        "task_name": task,
        "dataset_revision": "0cde68302b3541bb8b3c340dc0644b0b745b3dc0",
        "mteb_version": "1.38.30",
        "scores": {"test": rows, "dev": rows},
    }


@st.composite
def folders(draw):
    """Draw the files of a run folder, by name."""
    files = {f"{task}.json": json.dumps(result(task)).encode() for task in TASKS}
    task = draw(st.sampled_from(TASKS))
    files[f"{task}.json"] = draw(json_bytes(result(task)))
    manifest = json.dumps(draw(tampered(MANIFEST, most=6)), ensure_ascii=draw(st.booleans()))
    for name in TASKS:
        digest = hashlib.sha256(files[f"{name}.json"]).hexdigest()
        manifest = manifest.replace(f"sha256 of {name}", digest)
    files["run.json"] = draw(damaged(manifest.encode("utf-8", "surrogatepass")))
    if draw(st.booleans()):
        meta = {"name": "org/name", "revision": "main"}
        files["model_meta.json"] = draw(json_bytes(meta))
        del files["run.json"]
    return files


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def laid_out(root, files):
    for path in root.iterdir():
        shutil.rmtree(path)
    folder = root / "in" / "org__name" / "1"
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def run(*arguments):
    """Return exit code and output; an error is one line, and never one we did not foresee."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = _run(app, [str(argument) for argument in arguments], debug=False)
    assert "Traceback" not in err.getvalue()
    if code == 2:
        lines = err.getvalue().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        assert lines[0].isprintable()
    else:
        # An error that is none of ours would have been told under its Python name.
        assert not err.getvalue()
    return code, out.getvalue()


def check_csv(text):
    rows = list(csv.reader(io.StringIO(text)))
    assert {len(row) for row in rows} == {len(rows[0])}
    for row in rows:
        for field in row:
            assert field.isprintable()
            is_number = re.fullmatch(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?", field)
            assert is_number or not field.startswith(FORMULA_STARTS)
    assert pd.read_csv(io.StringIO(text)).shape == (len(rows) - 1, len(rows[0]))


def check_markdown(text):
    tables = [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    assert tables
    for lines in tables:
        columns = {len(re.split(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines}
        assert len(columns) == 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[<\[`]", text)
    check_lines(text)


def check_lines(text):
    assert all(line.isprintable() for line in text.split("\n"))


class Elements(HTMLParser):
    """The elements of a page, and their attributes' names."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = Counter(), set()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}


def check_html(text):
    page = Elements()
    page.feed(text)
    assert page.tags["script"] == 3
    assert page.tags["style"] == 1
    assert not page.tags.keys() & {"img", "b", "i", "iframe", "object", "svg"}
    assert not [name for name in page.attributes if name.startswith("on")]
    assert isinstance(json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1]), dict)


TABLES = {"leaderboard.csv", "tasks.csv", "tasks-wide.csv"}
OUTPUTS = TABLES | {"leaderboard.md", "report.html"}


@given(files=folders())
@examples(250)
def test_report(root, files):
    folder = laid_out(root, files)
    code, out = run("report", root / "in", "--output", root / "out")
    check_lines(out)
    assert code in (0, 2)
    found = {path.name for path in (root / "out").iterdir()} if code == 0 else set()
    assert found == (OUTPUTS if code == 0 else set())
    assert {path.name for path in root.iterdir()} == ({"in", "out"} if code == 0 else {"in"})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    if code == 0:
        read = {name: (root / "out" / name).read_text(encoding="utf-8") for name in OUTPUTS}
        for name in TABLES:
            check_csv(read[name])
        check_html(read["report.html"])
        check_markdown(read["leaderboard.md"])


@given(files=folders())
@examples(80)
def test_summary(root, files):
    folder = laid_out(root, files)
    rows = told(lambda: read_run_folder(folder))
    for path in write_summary(rows, root / "out", ["a|note"]) if rows else ():
        text = path.read_text(encoding="utf-8")
        (check_csv if path.suffix == ".csv" else check_markdown)(text)


@given(files=folders(), form=st.sampled_from(("table", "json", "csv", "md")))
@examples(250)
def test_compare(root, files, form):
    laid_out(root, files)
    published = ["--published", "Kingsoft-LLM/QZhou-Embedding", "--tasks", "STSB,BQ"]
    code, out = run("compare", root / "in", *published, "--format", form)
    check_lines(out)
    assert code in (1, 2)
    if code == 1 and form == "csv":
        check_csv(out)
    if code == 1 and form == "md":
        check_markdown(out)
    if code == 1 and form == "json":
        assert json.loads(out)["tasks"]


frames = st.lists(
    st.tuples(texts | st.text(), st.floats(allow_nan=False), texts), min_size=1, max_size=5
)


@given(rows=frames, column=texts)
@examples(200)
def test_csv_keeps_its_shape_and_its_numbers(rows, column):
    frame = pd.DataFrame(rows, columns=["name", "number", column])
    frame = frame.loc[:, ~frame.columns.duplicated()]
    text = csv_text(frame)
    read = pd.read_csv(io.StringIO(text), float_precision="round_trip")
    assert read.shape == frame.shape
    assert read["number"].tolist() == frame["number"].tolist()
    for field in (field for row in csv.reader(io.StringIO(text)) for field in (row[0], row[-1])):
        assert not field.startswith(FORMULA_STARTS) or column == "number"


@given(text=texts | st.text())
@examples(300)
def test_markdown_and_html_show_the_text_itself(text):
    assert re.sub(r"\\([\W_])", r"\1", cell(text)) == plain(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*[|<>\[\]`]", cell(text))
    assert html.unescape(html_text(text)) == plain(text)
    assert not re.search(r"[<>\"']", html_text(text))


@given(model=texts | st.text(), revision=texts | st.text())
@examples(300)
def test_names_of_folders_stay_inside(root, model, revision):
    path = told(lambda: run_path(root, model, revision))
    if path is not None:
        assert path.resolve().parent.parent == root.resolve()


KINDS = {"STSB": ("STS", 1.0), "Mine": ("Retrieval", 0.2), "TNews": ("Classification", 0.1)}
"""A run that kept items."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    place = tmp_path_factory.mktemp("kept")
    return [make_run(place / name, KINDS, seed=n) for n, name in enumerate("ab")]


@given(data=st.data(), form=st.sampled_from(("table", "json", "csv", "md")))
@examples(150)
def test_compare_runs_with_items(root, kept, data, form):
    """A hostile manifest, result and item file, each of which the others agree with."""
    laid_out(root, {})
    hostile = root / "in" / "hostile"
    shutil.copytree(kept[1], hostile)
    task = data.draw(st.sampled_from(list(KINDS)))
    result = json.loads((hostile / f"{task}.json").read_text())
    (hostile / f"{task}.json").write_bytes(data.draw(json_bytes(result)))
    for path in (hostile / "items").iterdir():
        path.write_bytes(gzip.compress(data.draw(damaged(gzip.decompress(path.read_bytes())))))
    manifest = json.loads((hostile / "run.json").read_text())
    for name, entry in manifest["tasks"].items():
        entry["sha256"] = file_digest(hostile / f"{name}.json")
        if "items" in entry:
            entry["items"] = file_digest(hostile / "items" / f"{name}.csv.gz")
    (hostile / "run.json").write_bytes(as_json(data.draw(tampered(manifest, most=2))))
    code, out = run("compare", kept[0], hostile, "--format", form)
    check_lines(out)
    assert code in (0, 2)
    checks = {"csv": check_csv, "md": check_markdown, "json": json.loads, "table": check_lines}
    if code == 0:
        checks[form](out)


@given(files=folders(), others=folders(), form=st.sampled_from(("table", "json", "csv", "md")))
@examples(250)
def test_compare_two_runs(root, files, others, form):
    first = laid_out(root, files)
    second = root / "in" / "other"
    second.mkdir()
    for name, content in others.items():
        (second / name).write_bytes(content)
    code, out = run("compare", first, second, "--format", form)
    check_lines(out)
    assert code in (0, 2)
    if code == 0 and form == "csv":
        check_csv(out)
    if code == 0 and form == "md":
        check_markdown(out)
    if code == 0 and form == "json":
        assert json.loads(out)["suites"]
