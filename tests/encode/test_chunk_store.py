"""Vectors kept on disk: to the bit or not at all."""

import errno
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from qzhou_eval import interruption
from qzhou_eval.encode import chunk_store, encoder, fast, order
from qzhou_eval.encode.chunk_store import Chunk, ChunkStore, Space, stored_bytes
from qzhou_eval.encode.encoder import Meter, load_encoder
from qzhou_eval.encode.fast import fast_encoder
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.choices import Dtype
from qzhou_eval.recipe.resolution import resolve

LIMIT = 2**30


def store_in(folder, limit=LIMIT, made_by="recipe"):
    return ChunkStore(folder / "vectors", made_by, Space(folder, limit))


def some_vectors(dtype=torch.float32, count=64, width=24):
    torch.manual_seed(1)
    values = torch.nn.functional.normalize(torch.randn(count, width)).to(dtype)
    return values.to(torch.float32).numpy()


@pytest.mark.parametrize(
    ("dtype", "number_bytes"), [(torch.bfloat16, 2), (torch.float16, 2), (torch.float32, 4)]
)
def test_every_bit_comes_back_in_as_few_bytes_as_hold_it(tmp_path, dtype, number_bytes):
    store, vectors = store_in(tmp_path), some_vectors(dtype)
    store.write("key", Chunk(vectors, tokens=7, split_batches=2))
    # Texts that come again in the same run are encoded again, as the procedure has it.
    assert store.read("key", *vectors.shape) is None
    store = store_in(tmp_path)
    found = store.read("key", *vectors.shape)
    assert found.vectors.dtype == np.float32
    assert found.vectors.tobytes() == vectors.tobytes()
    assert (found.tokens, found.split_batches) == (7, 2)
    [path] = tmp_path.rglob("*.vectors")
    header = len(path.read_bytes().split(b"\n")[0]) + 1
    assert path.stat().st_size - header == vectors.size * number_bytes
    assert stored_bytes(tmp_path) == path.stat().st_size


def test_what_decides_vectors_is_in_the_key(tmp_path):
    texts = ["a", "bc", "d"]
    one = store_in(tmp_path)
    keys = {
        one.key(texts, "", 32),
        one.key(texts, "Query: ", 32),
        one.key(texts, "", 16),
        one.key(texts, "", 32, devices=2),
        one.key(["ab", "c", "d"], "", 32),
        one.key(["bc", "a", "d"], "", 32),
        one.key(["", "a", "bc", "d"], "", 32),
        # The same string for the model, sorted elsewhere: its length is 0 and not 4.
        one.key(["Null", "bc", "d"], "", 32),
        one.key(["", "bc", "d"], "", 32),
        store_in(tmp_path, made_by="another").key(texts, "", 32),
    }
    assert len(keys) == 10
    assert one.key(texts, "", 32) == store_in(tmp_path).key(list(texts), "", 32)


def damaged(path, how):
    whole = path.read_bytes()
    middle = len(whole) // 2
    if how == "truncated":
        return whole[:-10]
    if how == "flipped":
        return whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]
    if how == "flipped header":
        return whole.replace(b'"tokens": 7', b'"tokens": "')
    if how == "long":
        return whole + b"0"
    return how


@pytest.mark.parametrize(
    "how",
    ["truncated", "flipped", "flipped header", "long", b"", b"\n", b"[]\n", b"{}\n", b"\xff" * 99],
)
def test_a_damaged_file_is_none(tmp_path, how):
    store, vectors = store_in(tmp_path), some_vectors()
    store.write("key", Chunk(vectors, tokens=7))
    [path] = tmp_path.rglob("*.vectors")
    path.write_bytes(damaged(path, how))
    store = store_in(tmp_path)
    assert store.read("key", *vectors.shape) is None
    assert not path.exists()


def test_vectors_of_another_shape_or_name_are_none(tmp_path):
    vectors = some_vectors()
    for shape in ((63, 24), (64, 12), (24, 64)):
        store_in(tmp_path).write("key", Chunk(vectors))
        assert store_in(tmp_path).read("key", *shape) is None
    store_in(tmp_path).write("key", Chunk(vectors))
    [path] = tmp_path.rglob("*.vectors")
    path.rename(path.with_stem("other"))
    assert store_in(tmp_path).read("other", *vectors.shape) is None


def test_small_and_unsound_chunks_are_not_kept(tmp_path):
    store, vectors = store_in(tmp_path), some_vectors()
    store.write("small", Chunk(vectors[:8]))
    for value in (np.nan, np.inf, 0):
        wrong = vectors.copy()
        wrong[5] = value
        store.write("wrong", Chunk(wrong))
    assert not list(tmp_path.rglob("*.vectors"))


def test_the_limit_holds_for_all_stores_together(tmp_path):
    vectors = some_vectors(torch.bfloat16)
    space = Space(tmp_path, limit=3 * (vectors.size * 2 + 400))
    stores = [ChunkStore(tmp_path / name, "recipe", space) for name in ("one", "two")]
    for number in range(5):
        stores[number % 2].write(str(number), Chunk(vectors))
    assert 3 * vectors.size * 2 < stored_bytes(tmp_path) <= space.limit
    assert len(list(tmp_path.rglob("*.vectors"))) == 3
    assert "--cache-limit" in space.refused


def test_room_is_made_before_anything_is_refused(tmp_path):
    vectors = some_vectors(torch.bfloat16)
    space = Space(tmp_path, limit=vectors.size * 2 + 400)
    old, new = (ChunkStore(tmp_path / name, "recipe", space) for name in ("old", "new"))
    old.write("key", Chunk(vectors))

    def evict():
        for path in (tmp_path / "old").iterdir():
            space.give_back(path.stat().st_size)
            path.unlink()

    space.evict = evict
    new.write("key", Chunk(vectors))
    assert list(tmp_path.rglob("*.vectors")) == [tmp_path / "new" / "key.vectors"]
    assert not space.refused


def test_a_full_disk_is_no_error(tmp_path, monkeypatch):
    vectors = some_vectors()
    store = store_in(tmp_path)
    usage = os.statvfs(tmp_path)
    monkeypatch.setattr(chunk_store, "RESERVE_BYTES", usage.f_bavail * usage.f_frsize * 2)
    store.write("key", Chunk(vectors))
    assert "are free in" in store._space.refused
    monkeypatch.undo()

    def full(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    store.write("key", Chunk(vectors))
    monkeypatch.undo()
    assert store._space.used == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert store.read("key", *vectors.shape) is None


def load(folder, dtype):
    resolved = resolve(open_checkpoint(str(folder)), trust_remote_code=True)
    recipe = replace(resolved.recipe, dtype=dtype)
    return load_encoder(resolved.checkpoint, recipe, torch.device("cpu"))


TEXTS = [f"text {i} " + "word " * (i % 23) for i in range(400)]
CHUNK = 100


def stopped_after(chunks, monkeypatch):
    """Have the run asked to stop once so many chunks are made."""
    count = 0

    def asked():
        nonlocal count
        count += 1
        return count >= chunks

    monkeypatch.setattr(interruption, "asked", asked)
    monkeypatch.setattr(interruption._state, "asked", 15)


@pytest.mark.parametrize("mode", ["strict", "fast"])
@pytest.mark.parametrize("dtype", [Dtype.BFLOAT16, Dtype.FLOAT32])
def test_a_call_that_was_stopped_goes_on_with_the_next_chunk(
    qzhou, tmp_path, monkeypatch, mode, dtype
):
    monkeypatch.setattr(order, "MAX_CHUNK", CHUNK)
    monkeypatch.setattr(fast, "WINDOW", CHUNK)
    ours = load(qzhou, dtype)
    if mode == "fast":
        ours = fast_encoder(ours).encoder
    expected = ours.encode(TEXTS, prompt="Query: ")
    total = ours.meter.tokens
    ours.meter = Meter()
    store = store_in(tmp_path)
    with monkeypatch.context() as patch:
        stopped_after(3, patch)
        with pytest.raises(interruption.Stopped):
            ours.encode(TEXTS, prompt="Query: ", store=store)
    first = ours.meter.tokens
    assert 0 < first < total
    ours.meter = Meter()
    store = store_in(tmp_path)
    found = ours.encode(TEXTS, prompt="Query: ", store=store)
    assert found.tobytes() == expected.tobytes()
    # Nothing twice: one chunk was left.
    assert first + ours.meter.tokens == total
    assert (ours.meter.texts, ours.meter.kept_texts) == (CHUNK, 3 * CHUNK)
    assert ours.meter.kept_tokens == first
    assert ours.meter.told()["texts"] == len(TEXTS)
    assert ours.meter.told()["tokens"] == total
    # Another prompt has vectors of its own.
    ours.meter = Meter()
    ours.encode(TEXTS, prompt="", store=store)
    assert ours.meter.kept_texts == 0


class Bar:
    """What a progress bar is told, and of how many texts."""

    made: list["Bar"] = []  # noqa: RUF012

    def __init__(self, label, total, told=None):
        self.total, self.skipped, self.done = total, 0, 0
        self.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def advance(self, texts, tokens):
        self.done += texts

    def skip(self, texts):
        self.skipped += texts

    show = advance


def test_equal_texts_are_all_counted_where_they_are_encoded_once(qzhou, tmp_path, monkeypatch):
    monkeypatch.setattr(fast, "WINDOW", CHUNK)
    monkeypatch.setattr(encoder, "Progress", Bar)
    ours = fast_encoder(load(qzhou, Dtype.FLOAT32)).encoder
    texts = TEXTS + TEXTS[:250]
    with monkeypatch.context() as patch:
        stopped_after(2, patch)
        with pytest.raises(interruption.Stopped):
            ours.encode(texts, store=store_in(tmp_path))
    ours.meter = Meter()
    ours.encode(texts, store=store_in(tmp_path))
    # Of the first two windows, all are there twice; of the last two, fifty are.
    assert (ours.meter.kept_texts, ours.meter.texts) == (4 * CHUNK, 2 * CHUNK + 50)
    assert (Bar.made[-1].skipped, Bar.made[-1].done) == (4 * CHUNK, 2 * CHUNK + 50)
    assert Bar.made[-1].total == len(texts)


def test_equal_texts_are_all_counted_over_several_actors(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="ray is not in this environment (encoder-next)")
    from types import SimpleNamespace

    from qzhou_eval.encode.distributed import encoder as distributed

    monkeypatch.setattr(distributed, "Progress", Bar)
    pool = SimpleNamespace(count=1, restarts=0, members=[])
    loaded = SimpleNamespace(width=24)
    ours = distributed.DistributedEncoder(pool, loaded, torch.device("cpu"), exact=False)
    texts = TEXTS[:64]
    expected, store = some_vectors(), store_in(tmp_path)
    store.write(store.key(texts, "", 32), Chunk(expected, tokens=7))
    found = ours.encode(texts + texts, store=store_in(tmp_path))
    assert found.tobytes() == expected.tobytes() * 2
    assert (ours.meter.kept_texts, ours.meter.texts) == (2 * 64, 0)
    assert (Bar.made[-1].skipped, Bar.made[-1].total) == (2 * 64, 2 * 64)


def test_a_damaged_chunk_is_encoded_again(qzhou, tmp_path, monkeypatch):
    monkeypatch.setattr(order, "MAX_CHUNK", CHUNK)
    ours, store = load(qzhou, Dtype.BFLOAT16), store_in(tmp_path)
    expected = ours.encode(TEXTS, store=store)
    paths = sorted(tmp_path.rglob("*.vectors"))
    assert len(paths) == 4
    paths[0].write_bytes(damaged(paths[0], "flipped"))
    paths[1].write_bytes(damaged(paths[1], "truncated"))
    ours.meter, store = Meter(), store_in(tmp_path)
    assert ours.encode(TEXTS, store=store).tobytes() == expected.tobytes()
    assert (ours.meter.texts, ours.meter.kept_texts) == (2 * CHUNK, 2 * CHUNK)
    assert sorted(tmp_path.rglob("*.vectors")) == paths


def test_batches_computed_in_parts_are_still_told_of(qzhou, tmp_path, monkeypatch):
    ours, store = load(qzhou, Dtype.FLOAT32), store_in(tmp_path)
    forward, failed = encoder.Encoder._vectors, []

    def short_of_memory(self, batch):
        if len(batch["attention_mask"]) == 32 and len(failed) < 2:
            failed.append(1)
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(self, batch)

    monkeypatch.setattr(encoder.Encoder, "_vectors", short_of_memory)
    ours.encode(TEXTS, store=store)
    assert ours.meter.told()["split_batches"] == 1
    ours.meter = Meter()
    ours.encode(TEXTS, store=store_in(tmp_path))
    assert ours.meter.texts == 0
    assert ours.meter.told()["split_batches"] == 1
