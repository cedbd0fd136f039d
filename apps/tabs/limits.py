"""The thresholds of a person: those of the room Decisions, which the other rooms follow and may move."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from apps.theme import QUIETLY

# An empty field leaves what is known; a number typed beyond the ends means its end.
_MOVED = "(web, synthetic, ...known) => [web, synthetic].map((at, i) => Math.min(1, Math.max(0, at ?? known[i])))"


def within(threshold: float) -> float:
    """A threshold that was typed: a number beyond the ends of [0, 1] means its end."""
    return min(1.0, max(0.0, threshold))


@dataclass(frozen=True)
class Limits:
    """The two sliders that hold what the thresholds are now."""

    web: gr.Slider
    synthetic: gr.Slider

    @property
    def both(self) -> list[Any]:
        """Both, in the order in which handlers get their values."""
        return [self.web, self.synthetic]

    def follow(self, web: gr.Number | gr.Slider, synthetic: gr.Number | gr.Slider) -> None:
        """Move along when a person moves another room's thresholds, in the browser alone."""
        gr.on([web.input, synthetic.input], None, [web, synthetic, *self.both], self.both, js=_MOVED, **QUIETLY)
