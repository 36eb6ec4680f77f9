import numpy as np
import pytest
import torch

from tests.encode import reference

LINES = ["怎么更换银行卡", "", "the quick brown fox", " two  spaces ", "a\u2028b", "x"]


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes("\n".join(LINES).encode() + b"\n")
    return path


@pytest.mark.parametrize(
    ("task", "side", "instruction"),
    [
        (
            "T2Retrieval",
            "query",
            "Given a Chinese search query, retrieve web passages that answer the question",
        ),
        ("T2Retrieval", "document", ""),
        ("STSB", "", "Retrieve semantically similar text"),
        ("ArguAna", "document", "Given a claim, find documents that refute the claim"),
    ],
)
def test_vectors_are_those_the_task_sees(cli, qzhou, texts, tmp_path, task, side, instruction):
    output = tmp_path / "out.npy"
    arguments = ["--model", qzhou, "--trust-remote-code", "--task", task]
    arguments += ["--side", side] if side else []
    outcome = cli("encode", texts, output, *arguments)
    assert outcome.code == 0, outcome.err
    prompt = f"Instruct: {instruction}\nQuery: " if instruction else ""
    tokenizer, model = reference.load(qzhou, torch.bfloat16, left=True)
    expected = reference.encode(
        tokenizer, model, LINES, prompt=prompt, pooling="mean", left=True, max_length=1024
    )
    found = np.load(output)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_as_the_demo_task_itself_asked_for_them(cli, minilm, texts, tmp_path):
    output = tmp_path / "out.npy"
    assert cli("encode", texts, output, "--model", minilm, "--task", "DemoSTS-zh").code == 0
    assert np.load(output).shape == (len(LINES), 384)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--task", "T2Retrieval"], "say which these are with --side"),
        (["--task", "T2Retrieval", "--side", "left"], "unknown side 'left'"),
        (["--task", "T2Retrival", "--side", "query"], "did you mean T2Retrieval"),
        ([], "--task"),
    ],
)
def test_refusals(cli, qzhou, texts, tmp_path, arguments, told):
    model = ["--model", qzhou, "--trust-remote-code"]
    outcome = cli("encode", texts, tmp_path / "out.npy", *model, *arguments)
    assert outcome.code == 2
    assert told in outcome.error
    assert not (tmp_path / "out.npy").exists()


def test_refused_files(cli, bert, texts, tmp_path):
    assert "no such text file" in cli("encode", "none", tmp_path / "o.npy", "--model", bert).error
    assert "name it o.npy" in cli("encode", texts, tmp_path / "o.txt", "--model", bert).error
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    outcome = cli("encode", tmp_path / "latin.txt", tmp_path / "o.npy", "--model", bert)
    assert "not a readable text file" in outcome.error


def test_line_ends_and_no_last_newline(tmp_path):
    from qzhou_eval.cli.encode import read_texts

    path = tmp_path / "t.txt"
    path.write_bytes(b"a\r\n\r\nb")
    assert read_texts(path) == ["a", "", "b"]
    path.write_bytes(b"")
    assert read_texts(path) == []


def test_a_fixed_prefix_goes_on_by_side(cli, bert, texts, tmp_path):
    recipe = tmp_path / "prefixed.toml"
    recipe.write_text(
        'pooling = "cls"\nmax_length = 96\ndtype = "float32"\n'
        'query_prefix = "query: "\ndocument_prefix = "passage: "\n'
    )
    arguments = ["--model", bert, "--recipe", recipe]
    output = tmp_path / "out.npy"
    outcome = cli("encode", texts, output, *arguments)
    assert (outcome.code, "say which these are with --side" in outcome.error) == (2, True)
    tokenizer, model = reference.load(bert, torch.float32, left=False)
    found = {}
    for side, prompt in (("query", "query: "), ("document", "passage: "), ("", "")):
        # A task that knows no sides takes neither.
        where = ["--side", side] if side else ["--task", "STSB"]
        assert cli("encode", texts, output, *arguments, *where).code == 0
        found[side] = np.load(output)
        expected = reference.encode(
            tokenizer, model, LINES, prompt=prompt, pooling="bos_token", left=False, max_length=96
        )
        np.testing.assert_array_equal(found[side], expected)
    shown = cli("prompts", "SCIDOCS", "--recipe", recipe).out
    assert '"query: {text}"' in shown
    assert '"passage: {text}"' in shown
    assert 'text:     "{text}"' in shown
