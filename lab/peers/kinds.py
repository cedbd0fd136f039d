"""CLIP and CoCa as values: how one is built and what it is trained with. open_clip is imported when parts are asked."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

from torch import Tensor, nn

from blip.config import BlipConfig
from blip.errors import InputError
from blip.tokenizer import SpecialIds

if TYPE_CHECKING:
    from open_clip.coca_model import CoCa
    from open_clip.model import CLIP

PeerModel: TypeAlias = "CLIP | CoCa"
"""A model of open_clip's."""
Lost = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""From what a peer's forward gives to its weighted losses by name."""


@dataclass(frozen=True)
class Parts:
    """A peer's model and losses, by what it is trained for; the losses take the id of padding."""

    model: Callable[[BlipConfig, SpecialIds, int], PeerModel]
    """A new model of a BLIP's sizes, for texts of so many tokens."""
    pretraining: Callable[[int], Lost]
    retrieval: Callable[[int], Lost]
    captioning: Callable[[int], Lost] | None = None
    """None where it says nothing."""


@dataclass(frozen=True)
class Peer:
    """A model of others under its name."""

    name: str
    speaks: bool
    """Whether it makes captions."""
    parts: Callable[[], Parts]
    """InputError where open_clip is not installed."""
    rate: float = 1.0
    """Its learning rate of pre-training over the recipe's, which is BLIP's: each has the best of those that
    `lab ablate rates` tried."""

    def peak(self, recipes: float) -> float:
        """Its own peak from the recipe's."""
        return float(f"{recipes * self.rate:.6g}")  # a third of 0.0015 is 0.0005, and names its run as that does

    def task(self, model: PeerModel, lost: Lost) -> nn.Module:
        """The model with losses, as the training loop sees it."""
        return open_clip_models().PeerTask(model, lost)


def open_clip_models() -> ModuleType:
    """`lab.peers.open_clip_models`; InputError where open_clip is not installed."""
    try:
        from lab.peers import open_clip_models as models
    except ImportError as error:
        raise InputError(
            f"CLIP and CoCa are open_clip's, which cannot be imported ({error}); pip install open-clip-torch, or name "
            "the other arms with --only."
        ) from None
    return models


def _clip() -> Parts:
    models = open_clip_models()
    losses = lambda pad: models.clip_losses
    return Parts(models.clip, pretraining=losses, retrieval=losses)


def _coca() -> Parts:
    models = open_clip_models()
    return Parts(
        models.coca,
        pretraining=models.coca_losses,
        retrieval=partial(models.coca_losses, caption=0.0),
        captioning=partial(models.coca_losses, contrastive=0.0),
    )


CLIP = Peer("CLIP", speaks=False, parts=_clip, rate=1 / 6)
COCA = Peer("CoCa", speaks=True, parts=_coca, rate=1 / 3)
