"""Which devices an option means."""

import pytest
import torch

from qzhou_eval.encode.device import choose_devices, one_device
from qzhou_eval.encode.placement import place
from qzhou_eval.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def three_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)


def test_auto_is_every_gpu(three_gpus):
    assert [str(device) for device in choose_devices("auto")] == ["cuda:0", "cuda:1", "cuda:2"]
    placement = place("auto")
    assert (placement.kind, placement.count, placement.distributed) == ("cuda", 3, True)
    assert placement.name == "cuda:0, cuda:1, cuda:2"
    # Nothing is started before a model is to be loaded.
    assert placement.cluster is None


def test_named_gpus_are_those(three_gpus):
    assert [str(device) for device in choose_devices("cuda:2, cuda")] == ["cuda:2", "cuda:0"]
    assert not place("cuda:1").distributed
    assert one_device("auto") == "cuda"


def test_without_a_gpu_auto_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_devices("auto") == (CPU,)
    assert one_device("auto") == "auto"
    assert not place("auto").distributed


def test_cpus_may_be_several():
    assert choose_devices("cpu,cpu") == (CPU, CPU)
    assert place("cpu,cpu").distributed


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("cuda:0,cuda:0", "the same GPU twice"),
        ("cuda,cuda:0", "the same GPU twice"),
        ("cuda:0,cpu", "devices of one kind"),
        ("cuda:0,auto", "auto stands alone"),
        ("cuda:0,cuda:3", "this machine has 3 GPUs"),
        ("cuda:0,", "unknown device ''"),
        ("gpu:0", "unknown device 'gpu:0'"),
    ],
)
def test_what_cannot_be_meant(three_gpus, names, told):
    with pytest.raises(UserError, match=told):
        choose_devices(names)
