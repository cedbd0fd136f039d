"""The scale of a notebook: the one that BLIP_LAB_SCALE names, else the notebook's own."""

import os

from blip.errors import InputError
from lab.ablation.scales import SCALES
from lab.options import did_you_mean

THE_BEST = "best"
"""The most that there is: the best record, and of what a notebook does itself the largest run."""
VARIABLE = "BLIP_LAB_SCALE"


def chosen_scale(default: str = THE_BEST) -> str:
    """smoke, cpu, gpu or best: what BLIP_LAB_SCALE names, or the default where it is unset or empty.

    InputError, one sentence, for any other value.
    """
    return known_scale(os.environ.get(VARIABLE) or default)


def known_scale(scale: str) -> str:
    """The scale itself; InputError where notebooks have none of this name."""
    names = (*SCALES, THE_BEST)
    if scale not in names:
        raise InputError(
            f"There is no scale {scale!r}{did_you_mean(scale, names)}; {VARIABLE} takes {', '.join(names[:-1])} or {names[-1]}."
        )
    return scale
