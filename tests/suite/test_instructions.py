import csv
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from qzhou_eval.errors import UserError
from qzhou_eval.recipe.library import find_recipe
from qzhou_eval.suite import instructions
from qzhou_eval.suite.instructions import Rule, Side, instruction_set, read_table
from qzhou_eval.suite.library import built_in
from qzhou_eval.suite.prompts import prompt_book
from qzhou_eval.suite.suite import TaskSpec

ROOT = Path(__file__).parents[2]
QZHOU = find_recipe("qzhou-embedding")


@pytest.mark.parametrize("command", ["cmteb", "mteb"])
def test_every_task_of_a_suite_has_an_instruction(command):
    tasks = built_in(command).tasks
    assert set(prompt_book(QZHOU, tasks).instructions) == {task.name for task in tasks}


def test_texts_and_rules_are_the_published_ones(reference):
    with (reference / "suites.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = instruction_set("qzhou")
    assert {row["task"] for row in rows} == set(table)
    for row in rows:
        entry = table[row["task"]]
        assert (entry.text, entry.rule.value) == (row["instruction"], row["instruct"])


def test_the_set_of_mteb_is_mtebs_own():
    from mteb.overview import TASKS_REGISTRY

    table = instruction_set("mteb")
    tasks = [task for command in ("cmteb", "mteb") for task in built_in(command).tasks]
    assert set(table) == {task.name for task in tasks}
    for task in tasks:
        kind = TASKS_REGISTRY[task.name]
        prompt = kind.metadata.prompt
        text = prompt["query"] if isinstance(prompt, dict) else prompt or kind.abstask_prompt
        sided = task.type in ("Retrieval", "Reranking")
        rule = Rule.QUERY_ONLY if sided else Rule.QUERY_AND_DOCUMENT
        assert (table[task.name].text, table[task.name].rule) == (text, rule)


def test_an_instruction_that_would_reach_no_text_is_refused(tmp_path):
    table = tmp_path / "t.toml"
    table.write_text('[BQ]\ninstruction = "Find"\nrule = "query only"\n')
    [task] = built_in("cmteb").select(["BQ"])
    with pytest.raises(UserError, match="BQ would reach none of its texts"):
        prompt_book(QZHOU, [task], table)


def test_an_altered_table_is_refused(tmp_path, monkeypatch):
    shutil.copytree(instructions.tables_root(), tmp_path / "tables")
    path = tmp_path / "tables" / "qzhou" / "cmn-v1.toml"
    path.write_text(path.read_text().replace("Classify the fine-grained", "Classify the coarse"))
    monkeypatch.setattr(instructions, "tables_root", lambda: tmp_path / "tables")
    instruction_set.cache_clear()
    try:
        with pytest.raises(UserError, match="'qzhou'.*not as published.*--instruction-table"):
            instruction_set("qzhou")
        assert instruction_set("mteb")
    finally:
        instruction_set.cache_clear()


def test_query_only_prompts_queries_alone():
    book = prompt_book(QZHOU, built_in("cmteb").tasks)
    asked = "Given a Chinese search query, retrieve web passages that answer the question"
    assert book.prompt("T2Retrieval", Side.QUERY) == f"Instruct: {asked}\nQuery: "
    assert book.prompt("T2Retrieval", Side.DOCUMENT) == ""
    assert book.prompt("T2Retrieval", None) == ""


def test_query_and_document_prompts_every_text():
    book = prompt_book(QZHOU, built_in("mteb").tasks)
    expected = "Instruct: Given a claim, find documents that refute the claim\nQuery: "
    for side in (*Side, None):
        assert book.prompt("ArguAna", side) == expected


def test_a_recipe_without_instructions_prompts_nothing():
    book = prompt_book(find_recipe("all-minilm-l6-v2"), built_in("mteb").tasks)
    assert book.prompt("ArguAna", Side.QUERY) == ""


def test_a_task_without_instruction_is_refused_by_name():
    with pytest.raises(UserError, match=r"SciFact.*--instruction-table.*--no-instructions"):
        prompt_book(QZHOU, [TaskSpec("SciFact"), *built_in("mteb").tasks])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.toml", 'ATEC = "Mine"\n[SciFact]\ninstruction = "Verify {it}"\nrule = "query only"'),
        (
            "own.json",
            '{"ATEC": "Mine", "SciFact": {"instruction": "Verify {it}", "rule": "query only"}}',
        ),
    ],
)
def test_a_table_of_ones_own_goes_first(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    book = prompt_book(QZHOU, [TaskSpec("SciFact"), TaskSpec("ATEC")], path)
    assert book.prompt("SciFact", Side.QUERY) == "Instruct: Verify {it}\nQuery: "
    assert book.instructions["ATEC"].rule is Rule.QUERY_AND_DOCUMENT
    assert book.prompt("ATEC", None) == "Instruct: Mine\nQuery: "


def test_an_instruction_alone_keeps_the_tasks_rule(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('T2Retrieval = "Mine"\n')
    book = prompt_book(QZHOU, [built_in("cmteb").task("T2Retrieval")], path)
    assert book.prompt("T2Retrieval", Side.QUERY) == "Instruct: Mine\nQuery: "
    assert book.prompt("T2Retrieval", Side.DOCUMENT) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ATEC = 3", "ATEC: expected an instruction"),
        ('[ATEC]\nrule = "query only"', "ATEC: expected an instruction"),
        ('[ATEC]\ninstruction = "a"\nrule = "all"', "unknown rule 'all'"),
        ("ATEC = ", "not a readable instruction table"),
    ],
)
def test_a_broken_table_is_told(tmp_path, text, message):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_table(path)


def test_tables_are_found_from_a_wheel(tmp_path):
    """Build the wheel, unpack it far from the checkout, and read the tables from there."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    build = [*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    [wheel] = tmp_path.glob("*.whl")
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    program = (
        "import qzhou_eval, sys\n"
        "assert qzhou_eval.__file__.startswith(sys.argv[1]), qzhou_eval.__file__\n"
        "from qzhou_eval.suite.instructions import instruction_set\n"
        "from qzhou_eval.suite.library import built_in_suites\n"
        "from qzhou_eval.recipe.library import library\n"
        "from qzhou_eval.scores.published_scores import published_models\n"
        "print(len(instruction_set('qzhou')), len(built_in_suites()), len(library()), end=' ')\n"
        "print(len(published_models()), end=' ')\n"
        "from qzhou_eval.lock import lock_path, read_lock\n"
        "print(sys.argv[1] in str(lock_path()), len(read_lock(lock_path())) > 70)\n"
    )
    # -S: no site-packages of its own, so the editable install cannot win over the wheel.
    head = "import sys; sys.path[:0] = sys.argv[1:3]\n"
    packages = str(Path(pytest.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-S", "-c", head + program, str(unpacked), packages],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert found.stdout.split() == ["72", "3", "21", "17", "True", "True"]
    assert (unpacked / "qzhou_eval" / "suite" / "demo" / "datasets" / "demo").is_dir()
