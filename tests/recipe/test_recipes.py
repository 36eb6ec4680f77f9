import json
import shutil
from dataclasses import replace

import pytest

from qzhou_eval.errors import UserError
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.library import find_recipe, library
from qzhou_eval.recipe.recipe import override
from qzhou_eval.recipe.resolution import BY_ARCHITECTURE, BY_FILES, BY_WEIGHTS, resolve


def test_library():
    assert set(library()) == {
        "all-minilm-l6-v2",
        "bge-base-en-v1.5",
        "bge-base-zh-v1.5",
        "bge-large-en-v1.5",
        "bge-large-zh-v1.5",
        "bge-m3",
        "bge-small-en-v1.5",
        "bge-small-zh-v1.5",
        "e5-mistral-7b-instruct",
        "generic",
        "gte-qwen2-1.5b-instruct",
        "gte-qwen2-7b-instruct",
        "multilingual-e5-base",
        "multilingual-e5-large",
        "multilingual-e5-large-instruct",
        "multilingual-e5-small",
        "qwen3-embedding-0.6b",
        "qwen3-embedding-4b",
        "qwen3-embedding-8b",
        "qzhou-embedding",
        "qzhou-embedding-zh",
    }
    for recipe in library().values():
        assert recipe.source, recipe.name
        assert recipe.name == "generic" or (recipe.model and len(recipe.revision) == 40)


def test_the_library_agrees_with_mtebs_registry():
    """Commits, prefixes, templates, pooling and dtypes are those mteb runs the models with."""
    from mteb.models.overview import MODEL_REGISTRY

    checked = 0
    for recipe in library().values():
        meta = MODEL_REGISTRY.get(recipe.model)
        if meta is None:
            continue
        assert meta.revision == recipe.revision, recipe.name
        loader = getattr(meta.loader, "keywords", {})
        if prompts := loader.get("model_prompts"):
            assert recipe.query_prefix == prompts["query"]
            assert recipe.document_prefix == prompts.get("passage", "")
        if template := loader.get("instruction_template"):
            filled = (
                template.format(instruction="x") if isinstance(template, str) else template("x")
            )
            assert recipe.prompt("x") == filled
            pooling = {"lasttoken": "last_token", "mean": "mean"}[loader["pooling_method"]]
            assert recipe.pooling.value == pooling
            assert str(loader["torch_dtype"]) == f"torch.{recipe.dtype.value}"
        if "Qwen3" in recipe.model:
            from mteb.models.qwen3_models import instruction_template

            assert recipe.prompt("x") == instruction_template("x")
        checked += 1
    assert checked == 18


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
    folder = open_checkpoint(str(qzhou))
    hub = replace(folder, content="", name="org/model", revision="0" * 40, pinned=False)
    with pytest.raises(UserError, match="pin it with --revision"):
        resolve(hub, trust_remote_code=True)


def test_what_a_fingerprint_is_of(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "model")

    def fingerprint(**kwargs):
        return resolve(open_checkpoint(str(folder)), **kwargs).fingerprint()

    before = fingerprint()
    for name in ("README.md", "trainer_state.json", "requirements.txt", "optimizer.pt"):
        (folder / name).write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"not read beside safetensors")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    assert fingerprint() == before == fingerprint(model_name="org/other")
    (folder / "bpe.codes").write_text("a b")
    assert fingerprint() != before


@pytest.mark.parametrize(
    ("name", "pooling", "padding", "length", "dtype", "direction", "set_name"),
    [
        ("qwen3-embedding-0.6b", "last_token", "left", 8192, "bfloat16", "causal", "mteb"),
        ("qwen3-embedding-8b", "last_token", "left", 8192, "bfloat16", "causal", "mteb"),
        ("gte-qwen2-7b-instruct", "last_token", "left", 8192, "float16", "bidirectional", "mteb"),
        ("e5-mistral-7b-instruct", "last_token", "left", 4096, "float16", "causal", "mteb"),
        (
            "multilingual-e5-large-instruct",
            "mean",
            "right",
            512,
            "float16",
            "bidirectional",
            "mteb",
        ),
        ("multilingual-e5-small", "mean", "right", 512, "float32", "bidirectional", ""),
        ("bge-large-zh-v1.5", "bos_token", "right", 512, "float32", "bidirectional", ""),
        ("bge-small-en-v1.5", "bos_token", "right", 512, "float32", "bidirectional", ""),
        ("bge-m3", "bos_token", "right", 8192, "float32", "bidirectional", ""),
        ("all-minilm-l6-v2", "mean", "right", 256, "float32", "bidirectional", ""),
        ("qzhou-embedding-zh", "last_token", "left", 1024, "bfloat16", None, "qzhou"),
    ],
)
def test_the_librarys_facts(name, pooling, padding, length, dtype, direction, set_name):
    recipe = find_recipe(name).to_dict()
    assert recipe["normalize"] is True
    names = ("pooling", "padding_side", "max_length", "dtype", "attention_direction")
    found = [recipe[name] for name in (*names, "instruction_set")]
    assert found == [pooling, padding, length, dtype, direction, set_name]


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
