"""Every preflight check, on a sound model and on one broken in just the way it looks for."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaModel

from qzhou_eval.encode import encoder as encoder_module
from qzhou_eval.encode.direction import attention_direction
from qzhou_eval.encode.encoder import load_encoder
from qzhou_eval.encode.preflight import Status, preflight
from qzhou_eval.errors import UserError
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.choices import PaddingSide
from qzhou_eval.recipe.resolution import resolve
from tests.checkpoints import FIVE, make_bert, make_model, without_own_module

CPU = torch.device("cpu")
PROMPTS = {
    "STSB": "Instruct: Retrieve semantically similar text\nQuery: ",
    "TNews": "Instruct: Classify the news title\nQuery: ",
    "T2Retrieval (document)": "",
}


def load(folder, overrides=None, recipe="", **changes):
    checkpoint = open_checkpoint(str(folder))
    resolved = resolve(checkpoint, recipe_name=recipe, overrides=overrides, trust_remote_code=True)
    resolved = replace(resolved, recipe=replace(resolved.recipe, **changes))
    return load_encoder(resolved.checkpoint, resolved.recipe, CPU), resolved


def checked(folder, prompts=PROMPTS, **kwargs):
    encoder, resolved = load(folder, **kwargs)
    return preflight(encoder, resolved, prompts)


def failed(result):
    return {check.name: check.detail for check in result.failures}


def plant(folder, four, five):
    """Break the checkpoint's module: of the form for transformers 4 by `four`, or for 5."""
    path = folder / "modeling_qzhou.py"
    module = path.read_text()
    path.write_text(module + FORWARD.format(five) if FIVE else four(module))


FORWARD = """
    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        {}
        return super().forward(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
"""


@pytest.fixture
def sentence_transformers():
    """The library, for what is held against it; the encoder's newer environment is without it."""
    return pytest.importorskip("sentence_transformers", reason="not among what encoding needs")


def edit(folder, file, **values):
    path = folder / file
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **values}))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("pooling", ["mean", "weighted_mean", "last_token"])
def test_a_sound_model_passes(qzhou, dtype, pooling):
    result = checked(qzhou, overrides={"dtype": dtype, "pooling": pooling})
    assert failed(result) == {}
    passed = {check.name for check in result.checks if check.status is Status.PASSED}
    assert passed == {
        "sound vectors",
        "different vectors",
        "attention direction",
        "padding side",
        "padding invariance",
        "normalization",
        "prompts",
    }
    result.raise_for_failures()


def test_all_checks_are_made_on_a_sentence_transformers_model(sentence_transformers, bert, minilm):
    for folder in (bert, minilm):
        result = checked(folder)
        assert failed(result) == {}
        assert all(check.status is Status.PASSED for check in result.checks)


def test_the_meter_of_the_run_is_left_alone(bert):
    encoder, resolved = load(bert)
    preflight(encoder, resolved, PROMPTS)
    assert (encoder.meter.texts, encoder.meter.tokens, encoder.meter.seconds) == (0, 0, 0.0)


def test_nan_weights(qzhou, tmp_path):
    broken = shutil.copytree(qzhou, tmp_path / "nan")
    weights = load_file(broken / "model.safetensors")
    weights["layers.1.mlp.down_proj.weight"][0, 0] = float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    result = checked(broken)
    [check] = result.checks  # the rest would mean nothing
    assert (check.field, check.status) == ("weights", Status.FAILED)
    assert "not finite" in check.detail
    with pytest.raises(UserError, match="preflight: weights: .*--skip-preflight"):
        result.raise_for_failures()


def test_constant_vectors(qzhou, tmp_path):
    broken = shutil.copytree(qzhou, tmp_path / "constant")
    weights = load_file(broken / "model.safetensors")
    weights["embed_tokens.weight"][:] = 1.0
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    assert "get the same vector with mean pooling" in failed(checked(broken))["different vectors"]


def test_a_causal_copy_loaded_silently(qzhou, data, tmp_path):
    """The checkpoint without its own module: a stock decoder, which looks back only.

    In a process of its own: transformers keeps a checkpoint's class for the whole architecture
    once it has run its code.
    """
    pytest.importorskip("mteb", reason="not among what encoding needs")
    stock = without_own_module(qzhou, tmp_path / "stock")
    command = [sys.executable, "-m", "qzhou_eval", "cmteb", "--tasks", "STSB", "--datasets-dir"]
    found = subprocess.run(
        [*command, str(data), "--model", str(stock), "--output-dir", str(tmp_path / "out")],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 2
    assert "preflight: attention_direction: the recipe says bidirectional" in found.stderr
    assert not (tmp_path / "out").exists()


def test_a_mask_that_is_bidirectional_only_where_there_is_padding(qzhou, tmp_path):
    broken = shutil.copytree(qzhou, tmp_path / "half")
    stock_if_full = (
        "        if bool(attention_mask.all()):\n"
        "            both = (attention_mask, input_tensor)\n"
        "            return super()._update_causal_mask(*both, *args, **kwargs)\n"
        "        shut ="
    )
    plant(
        broken,
        lambda module: module.replace("        shut =", stock_if_full),
        "self.config.is_causal = bool(attention_mask.all())",
    )
    encoder, resolved = load(broken)
    assert attention_direction(encoder.backbone).value == "causal"
    assert attention_direction(encoder.backbone, PaddingSide.LEFT).value == "bidirectional"
    assert "as loaded is causal" in failed(preflight(encoder, resolved))["attention direction"]
    # And where the recipe does not say which, the two still have to be one.
    encoder, resolved = load(broken, attention_direction=None)
    told = failed(preflight(encoder, resolved))["attention direction"]
    assert told == "causal without padding, bidirectional with it"


def test_layers_that_alone_say_they_are_not_causal(qzhou, tmp_path):
    """Masks are made without asking them, where there is padding or always."""
    broken = shutil.copytree(qzhou, tmp_path / "flags")
    (broken / "modeling_qzhou.py").write_text(
        "from transformers.models.qwen2.modeling_qwen2 import Qwen2Model\n\n\n"
        "class QZhouModel(Qwen2Model):\n"
        "    def __init__(self, config):\n"
        "        super().__init__(config)\n"
        "        for layer in self.layers:\n"
        "            layer.self_attn.is_causal = False\n"
    )
    assert "as loaded is causal" in failed(checked(broken))["attention direction"]


def test_padding_that_is_seen(qzhou, tmp_path):
    broken = shutil.copytree(qzhou, tmp_path / "seen")
    plant(
        broken,
        lambda module: module.replace("(1.0 - attention_mask[", "(0.0 * attention_mask["),
        "attention_mask = None",
    )
    result = checked(broken)
    assert "a text alone and in a padded batch" in failed(result)["padding invariance"]
    assert result.failures[-1].field == "padding_side"


def test_padding_on_the_wrong_side_of_learnt_positions(bert):
    told = failed(checked(bert, padding_side=PaddingSide.LEFT))
    assert "padding invariance" in told


def test_a_tokenizer_that_pads_where_it_likes(qzhou):
    encoder, resolved = load(qzhou)
    tokenizer = encoder.backbone.tokenizer
    tokenizer.padding_side = "right"
    try:
        told = failed(preflight(encoder, resolved))
    finally:
        tokenizer.padding_side = "left"
    assert told["padding side"] == "the recipe pads left, its tokenizer pads right"


def test_right_padding_with_last_token_pooling(sentence_transformers, qzhou, tmp_path):
    told = failed(checked(qzhou, overrides={"pooling": "last_token", "padding_side": "right"}))
    assert told["padding side"].startswith("right, with last_token pooling")
    # A sentence-transformers checkpoint made so is held against sentence-transformers.
    folder = make_bert(tmp_path / "last", pooling="pooling_mode_lasttoken")
    edit(folder, "tokenizer_config.json", padding_side="right")
    result = checked(folder)
    assert failed(result) == {}
    assert result.checks[-1].status is Status.PASSED
    # One of which there is nothing to hold it against is not.
    (folder / "modules.json").unlink()
    assert "right, with last_token pooling" in failed(checked(folder))["padding side"]
    # A recipe file that states both is a decision, and the vectors are right.
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        'pooling = "last_token"\npadding_side = "right"\ndtype = "float32"\n'
        'empty_text = ""\nmax_length = 96\n'
    )
    assert failed(checked(folder, recipe=str(recipe))) == {}


def test_wrong_pooling(sentence_transformers, minilm):
    told = failed(checked(minilm, overrides={"pooling": "cls"}))
    assert told["pooling"] == "the recipe says bos_token, the checkpoint's 1_Pooling mean"
    assert (
        "from those of SentenceTransformer.encode" in told["agreement with sentence-transformers"]
    )


def test_normalization(minilm):
    told = failed(checked(minilm, overrides={"normalize": False}))
    assert "the checkpoint's modules.json does" in told["normalization"]


def test_normalization_that_does_not_happen(bert, monkeypatch):
    monkeypatch.setattr(encoder_module.torch.nn.functional, "normalize", lambda x, **_: x)
    assert "vectors of length" in failed(checked(bert))["normalization"]


def test_a_lost_prompt(qzhou, monkeypatch):
    render = encoder_module.render
    monkeypatch.setattr(encoder_module, "render", lambda text, prompt, r: render(text, "", r))
    told = failed(checked(qzhou))
    assert told["prompts"] == "the prompt of STSB gives the vector of no prompt: it is lost"


def test_a_prompt_cut_off_before_a_long_text(qzhou, tmp_path):
    broken = shutil.copytree(qzhou, tmp_path / "cut")
    edit(broken, "tokenizer_config.json", truncation_side="left")
    assert "is cut off before a long text" in failed(checked(broken))["prompts"]


def test_a_prompt_that_leaves_no_room(qzhou):
    assert "max_length 8 leaves no room" in failed(checked(qzhou, max_length=8))["prompts"]


def test_prompts_that_cannot_be_told_apart(qzhou, monkeypatch):
    render = encoder_module.render
    same = lambda text, prompt, r: render(text, "Query: " if prompt else "", r)  # noqa: E731
    monkeypatch.setattr(encoder_module, "render", same)
    told = failed(checked(qzhou))
    assert told["prompts"] == "the prompt of TNews gives the vector of STSB: it is lost"


def test_another_maximum_length_shows_in_the_agreement(sentence_transformers, minilm):
    assert "SentenceTransformer" in str(failed(checked(minilm, max_length=8)))


def test_a_projection_is_run_as_sentence_transformers_does(sentence_transformers, bert, tmp_path):
    Dense = sentence_transformers.models.Dense  # noqa: N806
    folder = shutil.copytree(bert, tmp_path / "dense")
    modules = json.loads((folder / "modules.json").read_text())
    dense = {
        "idx": 2,
        "name": "dense",
        "path": "2_Dense",
        "type": "sentence_transformers.models.Dense",
    }
    modules.insert(2, dense)
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "2_Dense").mkdir()
    torch.manual_seed(0)
    Dense(32, 12, activation_function=torch.nn.Tanh()).save(str(folder / "2_Dense"))
    before = open_checkpoint(str(folder)).content
    encoder, resolved = load(folder)
    assert encoder.width == 12
    result = preflight(encoder, resolved, PROMPTS)
    assert failed(result) == {}
    assert result.checks[-1].status is Status.PASSED
    cut, resolved = load(folder, dimensions=5)
    assert preflight(cut, resolved).failures == []
    full, part = encoder.encode(["a text"]), cut.encode(["a text"])
    np.testing.assert_allclose(
        part, full[:, :5] / np.linalg.norm(full[:, :5]), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(UserError, match=r"keeps 99 dimensions.*has 12"):
        load(folder, dimensions=99)
    # Its weights decide the vectors, so they are part of what names the run.
    Dense(32, 12, activation_function=torch.nn.Tanh()).save(str(folder / "2_Dense"))
    assert open_checkpoint(str(folder)).content != before
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="its module 2_Dense has no weights"):
        load(folder)


@pytest.fixture
def llama(qzhou, tmp_path):
    """A Llama-shaped causal checkpoint, with the tokenizer of the QZhou-shaped one."""
    return make_model(tmp_path / "llama", qzhou, LlamaModel, LlamaConfig, {})


def test_the_first_token_of_a_causal_model_sees_nothing(llama):
    told = failed(checked(llama, overrides={"pooling": "bos_token"}, prompts={}))
    assert "with bos_token pooling" in told["different vectors"]
    result = checked(llama, overrides={"pooling": "last_token"})
    assert failed(result) == {}
    [direction] = [c for c in result.checks if c.name == "attention direction"]
    assert direction.detail.startswith("causal, with and without padding")


def test_a_check_that_breaks_is_a_failure(bert, monkeypatch):
    def broken(*_, **__):
        raise IndexError("index out of range in self")

    encoder, resolved = load(bert)
    monkeypatch.setattr(type(encoder.backbone), "forward", broken)
    [check] = preflight(encoder, resolved).failures
    assert (check.field, check.detail) == ("weights", "IndexError: index out of range in self")


def test_prompts_a_tokenizer_takes_for_the_same(minilm):
    prompts = {"A": "Instruct: Find\nQuery: ", "B": "instruct: find\nquery: "}
    assert failed(checked(minilm, prompts=prompts)) == {}


def test_a_pooling_that_leaves_the_prompt_out(sentence_transformers, minilm, tmp_path):
    folder = shutil.copytree(minilm, tmp_path / "excluding")
    edit(folder, "1_Pooling/config.json", include_prompt=False)
    assert failed(checked(folder, prompts={})) == {}
    told = failed(checked(folder))["agreement with sentence-transformers"]
    assert "vectors with a prompt are" in told


def test_layers_the_configuration_leaves_out(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "short")
    edit(folder, "config.json", num_hidden_layers=1)
    with pytest.raises(UserError, match=r"weights the model drops \(encoder.layer.1"):
        load(folder)


def test_a_padding_token_the_model_does_not_know(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "pad")
    encoder, _ = load(bert)
    tokenizer = encoder.backbone.tokenizer
    tokenizer.add_special_tokens({"pad_token": "[BEYOND]"})
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match=r"its tokenizer pads with \d+, and the model knows \d+"):
        load(folder)
