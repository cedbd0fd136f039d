"""How cost grows with one thing: a sum of powers with terms of 0 or more, and how far the measured values lie from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

LINEAR, SQUARE = (0, 1), (0, 1, 2)
"""Powers of a fit: a constant and a slope; with attention's square term beside them."""


@dataclass(frozen=True)
class Fit:
    """value(x) = sum of terms[i] * x ** powers[i], in the unit of the values."""

    powers: tuple[int, ...]
    terms: tuple[float, ...]
    residual: float
    """Farthest that a measured value lies from the fit, as a share of the value."""

    def at(self, x: float) -> float:
        """The fitted value at x."""
        return sum(term * x**power for term, power in zip(self.terms, self.powers, strict=True))


def fitted(xs: Sequence[float], values: Sequence[float], powers: tuple[int, ...]) -> Fit:
    """Least squares of the relative differences; no term is below 0, for no cost shrinks what it is added to.

    xs: 0 or more, at least one above 0 and as many as there are powers; values: above 0.
    """
    x, y = np.asarray(xs, dtype=np.float64), np.asarray(values, dtype=np.float64)
    scale = x.max()  # powers of a queue of 57,600 beside a constant would be badly conditioned
    columns = np.stack([(x / scale) ** power for power in powers], axis=1)
    terms, _ = nnls(columns / y[:, None], np.ones(len(y)))
    off = np.abs(columns @ terms / y - 1)
    found = tuple(float(term / scale**power) for term, power in zip(terms, powers, strict=True))
    return Fit(powers, found, float(off.max()))


def told(fit: Mapping[str, Any]) -> str:
    """A recorded fit as a formula with its residual; `of` names what is varied."""
    names = {0: "", 1: f" x {fit['of']}", 2: f" x {fit['of']}^2"}
    terms = [f"{term:.3g}{names[power]}" for term, power in zip(fit["terms"], fit["powers"], strict=True) if term]
    return f"{' + '.join(terms)}, at most {100 * fit['residual']:.1f}% off"
