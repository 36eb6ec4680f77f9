import numpy as np

from qzhou_eval.encode.order import chunks, longest_first


def sizes(count, devices):
    return [part.stop - part.start for part in chunks(count, devices)]


def test_chunk_rule():
    assert sizes(10, 1) == [10]
    assert sizes(3200, 1) == [3200]
    assert sizes(3201, 1) == [3200, 1]
    assert sizes(10, 4) == [3, 3, 3, 1]
    assert sizes(100_000, 8) == [3200] * 31 + [800]
    assert sizes(0, 4) == []


def test_chunks_cover_everything_once():
    seen = [i for part in chunks(7001, 3) for i in range(7001)[part]]
    assert seen == list(range(7001))


def test_longest_first_counts_characters_not_bytes():
    assert longest_first(["花呗", "abc", ""]).tolist() == [1, 0, 2]


def test_ties_fall_as_numpy_default_sort_lets_them():
    texts = ["x" * (i % 5) for i in range(200)]
    assert np.array_equal(longest_first(texts), np.argsort([-len(t) for t in texts]))
