import pytest
import torch

from qzhou_eval.encode.pooling import POOLINGS
from qzhou_eval.recipe.choices import Pooling

HIDDEN = torch.arange(1.0, 13.0).reshape(2, 3, 2)  # rows 1-6 and 7-12, three tokens of two
FULL = torch.tensor([[1, 1, 1], [1, 1, 1]])
LEFT = torch.tensor([[1, 1, 1], [0, 1, 1]])
RIGHT = torch.tensor([[1, 1, 1], [1, 1, 0]])


@pytest.mark.parametrize(
    ("pooling", "mask", "left", "second"),
    [
        (Pooling.MEAN, LEFT, True, [10.0, 11.0]),
        (Pooling.MEAN, RIGHT, False, [8.0, 9.0]),
        (Pooling.WEIGHTED_MEAN, LEFT, True, [(9 + 2 * 11) / 3, (10 + 2 * 12) / 3]),
        (Pooling.WEIGHTED_MEAN, RIGHT, False, [(7 + 2 * 9) / 3, (8 + 2 * 10) / 3]),
        (Pooling.LAST_TOKEN, LEFT, True, [11.0, 12.0]),
        (Pooling.LAST_TOKEN, RIGHT, False, [9.0, 10.0]),
        (Pooling.BOS_TOKEN, LEFT, True, [9.0, 10.0]),
        (Pooling.BOS_TOKEN, RIGHT, False, [7.0, 8.0]),
    ],
)
def test_padding_is_left_out(pooling, mask, left, second):
    pooled = POOLINGS[pooling](HIDDEN, mask, left)
    torch.testing.assert_close(pooled[1], torch.tensor(second))


@pytest.mark.parametrize("pooling", Pooling)
def test_without_padding_the_side_does_not_matter(pooling):
    left = POOLINGS[pooling](HIDDEN, FULL, True)
    right = POOLINGS[pooling](HIDDEN, FULL, False)
    torch.testing.assert_close(left, right)


def test_mean_divides_by_the_length_as_bfloat16_holds_it():
    # 257 is no bfloat16: the published procedure divides by a tensor, which rounds it to 256.
    hidden = torch.ones(1, 257, 1, dtype=torch.bfloat16)
    pooled = POOLINGS[Pooling.MEAN](hidden, torch.ones(1, 257, dtype=torch.int64), True)
    total = hidden[0].sum(dim=0)
    assert pooled.dtype == torch.bfloat16
    assert pooled.item() == (total / torch.tensor(257)).item()
