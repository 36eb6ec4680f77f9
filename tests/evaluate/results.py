"""Finding what a run wrote."""

from pathlib import Path


def run_folder(output: Path) -> Path:
    [folder] = [path.parent for path in output.rglob("run.json")]
    return folder
