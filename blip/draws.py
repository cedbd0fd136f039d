"""Random draws that belong to what they are for, not to the order in which they are asked.

A draw is a pure function of integer keys (a seed, a step, a row; or an image's hash and a candidate
number), the same on every device, batch size and process count. Counter-based: SplitMix64's mixing.
"""

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def uniform(*keys: int | Tensor) -> Tensor:
    """Uniform float64 draws in [0, 1), one for each broadcast combination of int64 keys.

    Keys are Python integers (below 2**63 in size) or int64 tensors; the result has their broadcast
    shape and the device of the tensors.
    """
    device = next((k.device for k in keys if isinstance(k, Tensor)), torch.device("cpu"))
    state = torch.zeros((), dtype=torch.int64, device=device)
    for key in keys:
        state = _mix((state ^ key) + _GOLDEN)
    return _shift(state, 11).double() * 2.0**-53


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def _shift(x: Tensor, by: int) -> Tensor:
    """Logical right shift: int64's own shift copies the sign bit."""
    return (x >> by) & ((1 << (64 - by)) - 1)
