"""Counter-based draws: uniform, independent, broadcast, and the same for ever."""

import numpy as np
import pytest
import torch
from scipy import stats

from blip.draws import uniform

MASK = 2**64 - 1


def slow_mix(x):
    """SplitMix64's output function in Python integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def slow_uniform(*keys):
    state = 0
    for key in keys:
        state = slow_mix(((state ^ (key & MASK)) + 0x9E3779B97F4A7C15) & MASK)
    return (state >> 11) * 2.0**-53


KEYS = [
    (0,),
    (1,),
    (-1,),
    (0, 0),
    (0, 1),
    (1, 0),
    (7, -(2**63), 2**63 - 1, 3),
    (2**40, 123_456_789, 0, 0, 19),
]


@pytest.mark.parametrize("keys", KEYS, ids=str)
def test_it_is_splitmix64_over_the_keys(keys):
    assert uniform(*keys).item() == slow_uniform(*keys)
    tensors = [torch.tensor(key) for key in keys]
    assert uniform(*tensors).item() == slow_uniform(*keys)


def test_values_are_pinned():
    """A change here would change every caption and every hard negative ever drawn."""
    assert uniform(0).item() == 0.8833108082136426
    assert uniform(0, 1, 2, 3).item() == 0.07969972092140454
    images = torch.tensor([1, -5, 2**62])
    pinned = [0.7101149406134678, 0.5210425075715737, 0.2773740247848474]
    assert uniform(2022, images, 0, 1, 2).tolist() == pinned


def test_draws_are_float64_in_the_unit_interval_and_uniform():
    found = uniform(3, torch.arange(100_000))
    assert found.dtype == torch.float64 and found.min() >= 0 and found.max() < 1
    assert stats.kstest(found.numpy(), "uniform").pvalue > 1e-3
    counts = np.histogram(found.numpy(), bins=100, range=(0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-3
    assert len(set(found.tolist())) == 100_000


@pytest.mark.parametrize("position", [0, 1, 2])
def test_neighbouring_keys_draw_independently(position):
    """Whatever key counts on by one: lagged pairs fill the square evenly and are uncorrelated."""
    keys = [5, 6, 7]
    keys[position] = torch.arange(40_001)
    found = uniform(*keys).numpy()
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 4 / 200
    square = np.histogram2d(found[:-1], found[1:], bins=16, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(square.ravel()).pvalue > 1e-3


def test_keys_do_not_commute_and_streams_differ():
    a, b = torch.arange(1, 20_001), 77
    one, other = uniform(a, b).numpy(), uniform(b, a).numpy()
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / 141
    seeds = np.stack([uniform(seed, a).numpy() for seed in range(6)])
    off_diagonal = np.corrcoef(seeds) - np.eye(6)
    assert np.abs(off_diagonal).max() < 4.5 / 141


def test_keys_broadcast():
    rows, columns = torch.tensor([[3], [9]]), torch.tensor([1, 2, 4])
    found = uniform(8, rows, columns)
    assert found.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            assert found[i, j].item() == slow_uniform(8, rows[i].item(), columns[j].item())
    assert uniform(1, 2, 3).shape == ()


def test_a_draw_does_not_depend_on_what_is_drawn_beside_it_or_before():
    torch.manual_seed(0)
    keys = torch.randint(-(2**62), 2**62, (1_000,))
    whole = uniform(1, keys)
    order = torch.randperm(1_000)
    assert torch.equal(uniform(1, keys[order]), whole[order])
    assert torch.equal(torch.cat([uniform(1, part) for part in keys.split(7)]), whole)
    torch.manual_seed(1)
    assert torch.equal(uniform(1, keys), whole)
