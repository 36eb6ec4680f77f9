import numpy as np
import pytest
import torch

from qzhou_eval.encode.encoder import check_vectors, load_encoder
from qzhou_eval.encode.rendering import render
from qzhou_eval.errors import UserError, VectorError
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.resolution import resolve

CPU = torch.device("cpu")


def test_only_an_empty_text_is_replaced_and_before_the_prompt():
    assert render("", "Query: ", "Null") == "Query: Null"
    assert render(" ", "Query: ", "Null") == "Query:  "
    assert render("a", "", "Null") == "a"


def test_no_texts_give_no_vectors(bert):
    resolved = resolve(open_checkpoint(str(bert)))
    encoder = load_encoder(resolved.checkpoint, resolved.recipe, CPU)
    assert encoder.encode([]).shape == (0, 32)


def test_meter_counts_texts_and_their_own_tokens(bert):
    resolved = resolve(open_checkpoint(str(bert)))
    encoder = load_encoder(resolved.checkpoint, resolved.recipe, CPU)
    texts = ["the quick brown fox", "dog"]
    encoder.encode(texts)
    lengths = [len(encoder.backbone.tokenizer(text)["input_ids"]) for text in texts]
    assert (encoder.meter.texts, encoder.meter.tokens) == (2, sum(lengths))
    assert encoder.meter.seconds > 0


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinite"), (0.0, "zero")])
def test_unsound_vectors_name_the_first_text(value, word):
    vectors = np.ones((3, 4), dtype=np.float32)
    vectors[1:] = value
    with pytest.raises(VectorError, match=rf"2 of 3 .* text 2 'second'.*{word}"):
        check_vectors(vectors, ["first", "second", "third"])


def test_sound_vectors_pass():
    check_vectors(np.full((2, 3), 1e-20, dtype=np.float32), ["a", "b"])


def test_learnt_positions_bound_the_length(bert):
    resolved = resolve(open_checkpoint(str(bert)), overrides={"max_length": 1024})
    with pytest.raises(UserError, match=r"1024.*128 tokens"):
        load_encoder(resolved.checkpoint, resolved.recipe, CPU)


def test_weights_that_do_not_load_are_told(bert, tmp_path):
    import shutil

    broken = shutil.copytree(bert, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"not weights")
    resolved = resolve(open_checkpoint(str(broken)))
    with pytest.raises(UserError, match=r"local/broken does not load"):
        load_encoder(resolved.checkpoint, resolved.recipe, CPU)
