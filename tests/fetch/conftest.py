"""A stand-in hub with the tests' small datasets and models at the commits the suites pin."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.evaluate.hub_layout import CMTEB_TASKS, MTEB_TASKS
from tests.stand_in_hub import StandInHub

MODEL_COMMIT = "0123456789abcdef0123456789abcdef01234567"


def suite_tasks():
    """The tasks whose data the stand-in hub has, as their suites have them."""
    from qzhou_eval.evaluate.mteb1.tasks import complete
    from qzhou_eval.suite.library import built_in

    tasks = {t.name: t for suite in ("cmteb", "mteb") for t in built_in(suite).tasks}
    return {name: complete(tasks[name]) for name in (*CMTEB_TASKS, *MTEB_TASKS)}


@pytest.fixture
def stand_in(data, bert):
    """The hub; its datasets are those of `suite_tasks`, its model org/tiny."""
    from qzhou_eval.evaluate.mteb1.tasks import repositories

    hub = StandInHub()
    for spec in suite_tasks().values():
        for name, commit in repositories(spec).items():
            hub.add("dataset", name, data / name, commit)
    hub.add("model", "org/tiny", bert, MODEL_COMMIT)
    yield hub
    hub.close()


@pytest.fixture
def hub(stand_in, monkeypatch):
    """The stand-in hub, asked by this process."""
    import huggingface_hub.file_download
    from huggingface_hub import constants
    from huggingface_hub.utils import reset_sessions

    monkeypatch.setattr(constants, "ENDPOINT", stand_in.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        huggingface_hub.file_download,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        stand_in.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setenv("QZHOU_EVAL_RETRY_SECONDS", "0.001")
    # The tests' data is a part of the real: published sizes are tested by themselves.
    monkeypatch.setattr("qzhou_eval.fetch.counting.task_sizes", lambda spec: ())
    reset_sessions()
    yield stand_in
    reset_sessions()


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
