"""Finding what a run wrote."""

from pathlib import Path

from qzhou_eval.files import read_json


def run_folder(output: Path) -> Path:
    [folder] = [path.parent for path in output.rglob("run.json")]
    return folder


def contents(folder):
    """Return the bytes of every file in and below `folder`."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def all_scores(folder):
    """Return the scores of every task of the run below `folder`."""
    return {
        path.stem: read_json(path, "result file")["scores"]
        for path in run_folder(folder).glob("*.json")
        if path.name not in ("run.json", "model_meta.json")
    }


def arguments(model, data, tasks, output):
    """Return a run's arguments behind the command."""
    more = ["--model", model, "--trust-remote-code", "--datasets-dir", data]
    return ["--tasks", ",".join(tasks), *more, "--output-dir", output]
