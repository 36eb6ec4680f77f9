import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, BertModel, Qwen2Config, Qwen2Model

from qzhou_eval.encode.cost import Shape, known_shapes, matrix_ceiling, read_shape
from qzhou_eval.errors import UserError
from qzhou_eval.recipe.choices import Dtype
from qzhou_eval.recipe.library import library


def linear_weights(model):
    layers = (m for name, m in model.named_modules() if "pooler" not in name)
    return sum(m.weight.numel() for m in layers if isinstance(m, nn.Linear))


@pytest.fixture
def models(bert, qzhou):
    """A model of two matrices a feed-forward and one of three with shared keys, and configs."""
    qwen = Qwen2Config(**json.loads((qzhou / "config.json").read_text()))
    return {
        "bert": BertModel._from_config(
            AutoConfig.from_pretrained(bert), add_pooling_layer=False, attn_implementation="eager"
        ),
        "qwen": Qwen2Model._from_config(qwen, attn_implementation="eager"),
    }


@pytest.mark.parametrize("name", ["bert", "qwen"])
def test_layer_parameters_are_those_of_the_model(models, name):
    model = models[name]
    shape = read_shape(model.config)
    assert shape.layer_parameters == linear_weights(model)
    embeddings = model.get_input_embeddings().weight.numel()
    assert shape.parameters == linear_weights(model) + embeddings


@pytest.mark.parametrize("name", ["bert", "qwen"])
def test_operations_are_those_that_torch_counts(models, name):
    model = models[name].eval()
    texts, length = 3, 40
    ids = torch.ones(texts, length, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    counted = counter.get_total_flops()
    # Rotations of positions, which are next to nothing, are counted there.
    assert read_shape(model.config).flops(texts * length, length) == pytest.approx(
        counted, rel=2e-3
    )


def test_qzhou_embedding():
    shape = known_shapes()["kingsoft-llm/qzhou-embedding"]
    assert shape.parameters == pytest.approx(7.07e9, rel=1e-3)
    assert shape.flops(1, 0) == pytest.approx(13.05e9, rel=1e-3)
    assert shape.flops(1, 500) == pytest.approx(13.25e9, rel=1e-3)
    assert shape.weights_bytes(Dtype.BFLOAT16) == 2 * shape.parameters


def test_every_model_of_the_library_has_a_shape():
    assert {r.model.lower() for r in library().values() if r.model} == set(known_shapes())


def test_shapes_are_of_the_size_that_mteb_knows():
    pytest.importorskip("mteb", reason="not among what encoding needs")
    from mteb.models.overview import MODEL_REGISTRY

    wrong_there = (
        "gte-qwen2",  # counted with a head that an embedding model does not have
        "bge-small-zh",  # the figure of another of the family
        "bge-base-zh",
    )
    checked = 0
    for name, meta in MODEL_REGISTRY.items():
        shape = known_shapes().get(name.lower())
        if shape and meta.n_parameters and not any(w in name.lower() for w in wrong_there):
            # Positions and a few other small tables are left out here.
            assert shape.parameters == pytest.approx(meta.n_parameters, rel=0.035), name
            checked += 1
    assert checked >= 10


def test_packaged_model_is_as_the_table_says(minilm):
    config = json.loads((minilm / "config.json").read_text())
    assert read_shape(config) == known_shapes()["sentence-transformers/all-minilm-l6-v2"]


def test_nested_and_older_configurations():
    inner = {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 5}
    assert read_shape({"text_config": inner}) == Shape(2, 8, 32, 2, 2, 4, False, 5)
    distil = {"n_layers": 2, "dim": 8, "n_heads": 2, "vocab_size": 5, "hidden_dim": 16}
    assert read_shape(distil) == Shape(2, 8, 16, 2, 2, 4, False, 5)


def test_configuration_without_sizes():
    with pytest.raises(UserError, match=r"m: its config.json does not say num_hidden_layers"):
        read_shape({"hidden_size": 8}, "m")


def test_matrix_products_are_measured():
    rate = matrix_ceiling(torch.device("cpu"), Dtype.FLOAT32, seconds=0.05)
    assert 1e8 < rate < 1e14
