"""Ray on this machine, started once for all tests of a module."""

import pytest
import torch

from qzhou_eval.encode.placement import Placement
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.resolution import resolve

CPU = torch.device("cpu")


def resolved(folder, **overrides):
    return resolve(open_checkpoint(str(folder)), overrides=overrides, trust_remote_code=True)


@pytest.fixture(scope="module")
def local():
    """A placement of two CPU actors in a private Ray."""
    from qzhou_eval.encode.distributed.cluster import start_local

    devices = (CPU, CPU)
    placement = Placement("cpu", devices, 2, start_local(devices))
    yield placement
    placement.close()


@pytest.fixture
def fleet(local, bert):
    """Make fleets of two actors: ``fleet(loader)`` or ``fleet(model=folder, dtype=...)``."""
    import ray

    from qzhou_eval.encode.distributed.fleet import load_fleet
    from tests.encode.distributed import stand_in

    # Their process need not find the tests.
    ray.cloudpickle.register_pickle_by_value(stand_in)
    made = []

    def make(loader=None, model=bert, **overrides):
        own = resolved(model, **overrides)
        made.append(load_fleet(own, local, loader(own) if callable(loader) else loader))
        return made[-1]

    yield make
    for one in made:
        one.close()
