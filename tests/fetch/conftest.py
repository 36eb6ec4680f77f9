"""Fetching into a folder from the stand-in hub."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.stand_in_hub import MODEL_COMMIT, suite_tasks


class Told:
    def __init__(self):
        self.lines: list[str] = []
        self.bytes = 0
        self.size = 0

    def total(self, size):
        self.size = size

    def advance(self, size):
        self.bytes += size

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def fetch(tmp_path):
    """Fetch tasks by name, and models, into a folder: ``fetch("BQ", model="org/tiny")``."""
    from qzhou_eval.fetch.fetching import Fetch
    from qzhou_eval.fetch.needs import dataset_bundles, model_bundle
    from qzhou_eval.fetch.place import Place
    from qzhou_eval.fetch.source import FolderSource, HubSource
    from qzhou_eval.fetch.watching import Stop

    specs = suite_tasks()

    def run(
        *names: str,
        model: str = "",
        revision: str = MODEL_COMMIT,
        root: Path | None = None,
        source: Path | None = None,
        trust: bool = False,
        jobs: int = 4,
    ):
        root = root or tmp_path / "out"
        told, stop, place = Told(), Stop(), Place(root)
        bundles = dataset_bundles(specs[name] for name in names)
        bundles += [model_bundle(model, revision)] if model else []
        origin = FolderSource(source, told, stop) if source else HubSource(told, stop)
        job = Fetch(place, origin, told, stop, jobs=jobs, trust_remote_code=trust)
        with place.alone():
            results = job.run(bundles, lambda result: None)
        return SimpleNamespace(
            root=root,
            told=told,
            errors=[result.error for result in results if result.error],
            kept=[result.kept for result in results],
            records={r.name: r for result in results for r in result.records},
        )

    return run
