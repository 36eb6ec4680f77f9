import json
import shutil

import pytest

from qzhou_eval.errors import UserError
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.library import find_recipe, library
from qzhou_eval.recipe.recipe import override
from qzhou_eval.recipe.resolution import BY_ARCHITECTURE, BY_FILES, BY_WEIGHTS, resolve


def test_library():
    assert set(library()) == {"qzhou-embedding", "all-minilm-l6-v2", "generic"}


def test_qzhou_recipe_is_the_published_procedure():
    recipe = find_recipe("qzhou-embedding").to_dict()
    expected = {
        "pooling": "mean",
        "normalize": True,
        "padding_side": "left",
        "max_length": 1024,
        "dtype": "bfloat16",
        "attention": "sdpa",
        "attention_direction": "bidirectional",
        "prompt_template": "Instruct: {instruction}\nQuery: ",
        "empty_text": "Null",
        "trust_remote_code": True,
    }
    assert {key: recipe[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("pooling", "eos_token", "last_token"),
        ("pooling", "cls", "bos_token"),
        ("dtype", "bf16", "bfloat16"),
        ("dtype", "FP32", "float32"),
        ("padding_side", "left", "left"),
        ("max_length", 512, 512),
    ],
)
def test_override_takes_aliases(name, value, found):
    recipe = override(find_recipe("generic"), {name: value}, "here")
    assert recipe.to_dict()[name] == found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pooling": "men"}, "unknown pooling 'men': did you mean mean"),
        ({"dtype": "int8"}, "unknown dtype 'int8'"),
        ({"poolin": "mean"}, "unknown recipe field 'poolin': did you mean pooling"),
        ({"max_length": "many"}, "max_length takes a int"),
        ({"normalize": 1}, "normalize takes a bool"),
        ({"max_length": 0}, "at least 1"),
        ({"prompt_template": "Query: "}, "has no {instruction}"),
    ],
)
def test_override_refuses(values, message):
    with pytest.raises(UserError, match=message):
        override(find_recipe("qzhou-embedding"), values, "here")


def test_recipe_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('pooling = "cls"\nmax_length = 77\n')
    recipe = find_recipe(str(path))
    assert (recipe.name, recipe.pooling.value, recipe.max_length) == ("mine", "bos_token", 77)


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match="did you mean qzhou-embedding"):
        find_recipe("qzhou-embeding")


def test_minilm_is_recognised_by_its_weights(minilm):
    resolved = resolve(open_checkpoint(str(minilm)))
    assert resolved.chosen_by == BY_WEIGHTS
    assert resolved.model_name == "sentence-transformers/all-MiniLM-L6-v2"
    assert resolved.recipe.max_length == 256


def test_qzhou_shape_is_recognised_by_its_architecture(qzhou):
    resolved = resolve(open_checkpoint(str(qzhou)), trust_remote_code=True)
    assert resolved.chosen_by == BY_ARCHITECTURE
    assert resolved.recipe.padding_side.value == "left"


def test_remote_code_needs_permission(qzhou):
    checkpoint = open_checkpoint(str(qzhou))
    with pytest.raises(UserError, match="--trust-remote-code"):
        resolve(checkpoint)
    with pytest.raises(UserError, match="--trust-remote-code"):
        resolve(checkpoint, recipe_name="generic")
    # A recipe chosen by name says so itself.
    assert resolve(checkpoint, recipe_name="qzhou-embedding").recipe.trust_remote_code


def test_remote_code_of_an_unpinned_hub_model_is_refused(qzhou):
    from dataclasses import replace

    folder = open_checkpoint(str(qzhou))
    hub = replace(folder, content="", name="org/model", revision="0" * 40, pinned=False)
    with pytest.raises(UserError, match="pin it with --revision"):
        resolve(hub, trust_remote_code=True)


def test_files_are_read_for_an_unknown_model(bert):
    resolved = resolve(open_checkpoint(str(bert)))
    assert resolved.chosen_by == BY_FILES
    found = resolved.recipe
    assert found.pooling.value == "bos_token"
    assert (found.max_length, found.normalize, found.instruction_set) == (96, True, "")
    assert found.dtype.value == "float32"
    assert resolved.model_name == "local/tiny-bert"


@pytest.mark.parametrize(
    ("file", "value", "told"),
    [
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], "has Dense"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            "choose a --pooling",
        ),
        ("config_sentence_transformers.json", {"prompts": {"query": "query: "}}, "'query: '"),
    ],
)
def test_what_is_not_done_here_is_refused(bert, tmp_path, file, value, told):
    copy = shutil.copytree(bert, tmp_path / "other")
    (copy / file).write_text(json.dumps(value))
    with pytest.raises(UserError, match=told):
        resolve(open_checkpoint(str(copy)))
    # Decided by the user, it runs.
    if "Pooling" in file:
        assert resolve(open_checkpoint(str(copy)), overrides={"pooling": "mean"})
    if "prompts" in value:
        assert resolve(open_checkpoint(str(copy)), instructions=False)


def test_instructions_on_and_off(bert, minilm):
    checkpoint = open_checkpoint(str(bert))
    assert resolve(checkpoint, instructions=True).recipe.instruction_set == "qzhou"
    assert resolve(checkpoint, instructions=False).recipe.instruction_set == ""
    on = resolve(open_checkpoint(str(minilm)), instructions=True)
    assert (on.recipe.instruction_set, on.overridden) == ("qzhou", ("instruction_set",))


def test_the_name_to_file_under_does_not_choose_the_recipe(bert):
    resolved = resolve(open_checkpoint(str(bert)), model_name="Kingsoft-LLM/QZhou-Embedding")
    assert resolved.chosen_by == BY_FILES
    assert resolved.model_name == "Kingsoft-LLM/QZhou-Embedding"


def test_code_of_a_folder_is_not_trusted_for_its_name(qzhou, tmp_path):
    from qzhou_eval.recipe.library import find_recipe as find

    commit = find("qzhou-embedding").revision
    folder = tmp_path / "models--Kingsoft-LLM--QZhou-Embedding" / "snapshots" / commit
    shutil.copytree(qzhou, folder)
    with pytest.raises(UserError, match="--trust-remote-code"):
        resolve(open_checkpoint(str(folder)))


def test_code_of_another_repository_is_refused(qzhou, tmp_path):
    copy = shutil.copytree(qzhou, tmp_path / "pointing")
    config = json.loads((copy / "config.json").read_text())
    config["auto_map"]["AutoModel"] = "evil/repo--modeling.Model"
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="another repository, evil/repo"):
        resolve(open_checkpoint(str(copy)), trust_remote_code=True)


def test_a_plain_bert_is_cut_to_its_positions(bert, tmp_path):
    copy = shutil.copytree(bert, tmp_path / "plain")
    for file in ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json"):
        (copy / file).unlink()
    tokenizer = json.loads((copy / "tokenizer_config.json").read_text())
    tokenizer["model_max_length"] = 10**30
    (copy / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    resolved = resolve(open_checkpoint(str(copy)))
    assert (resolved.recipe.max_length, resolved.recipe.instruction_set) == (128, "qzhou")


def test_sentence_transformers_prompts_keep_instructions_on(bert, tmp_path):
    copy = shutil.copytree(bert, tmp_path / "prompted")
    config = {"prompts": {"query": "Instruct: find\nQuery: "}}
    (copy / "config_sentence_transformers.json").write_text(json.dumps(config))
    assert resolve(open_checkpoint(str(copy))).recipe.instruction_set == "qzhou"


def test_fingerprint_follows_fields_and_weights_alone(bert, tmp_path):
    base = resolve(open_checkpoint(str(bert)))
    copy = shutil.copytree(bert, tmp_path / "elsewhere")
    assert resolve(open_checkpoint(str(copy))).fingerprint() == base.fingerprint()
    for overrides in ({"pooling": "mean"}, {"max_length": 95}, {"dtype": "bf16"}):
        changed = resolve(open_checkpoint(str(bert)), overrides=overrides)
        assert changed.fingerprint() != base.fingerprint(), overrides
    (copy / "tokenizer.json").write_text((copy / "tokenizer.json").read_text() + " ")
    assert resolve(open_checkpoint(str(copy))).fingerprint() != base.fingerprint()


def test_hub_cache_folder_tells_name_and_commit(bert, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "models--org--some-model" / "snapshots" / commit
    shutil.copytree(bert, folder)
    checkpoint = open_checkpoint(str(folder))
    assert (checkpoint.name, checkpoint.revision) == ("org/some-model", commit)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f / "nope", "no such folder"),
        (lambda f: f, "no config.json"),
        (lambda f: _touch(f / "config.json", "{}").parent, "no weights"),
        (lambda f: _touch(f / "model.bin", "x"), "a folder with a config.json, not a file"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, make, message):
    with pytest.raises(UserError, match=message):
        open_checkpoint(str(make(tmp_path)))


def test_unreachable_hub_model_is_told():
    with pytest.raises(UserError, match="no such folder here, and it is not cached"):
        open_checkpoint("no-such-org/no-such-model")


def _touch(path, text):
    path.write_text(text)
    return path
