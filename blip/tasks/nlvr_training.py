"""Fine-tuning for natural language visual reasoning, and verdicts of what was trained (paper 5.4)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blip.data.pictures import PictureBatch
from blip.data.text import clean_caption
from blip.distributed import first_row
from blip.draws import uniform
from blip.errors import InputError
from blip.tasks.batch import Losses, TeacherFeatures
from blip.tasks.nlvr import NLVR
from blip.tokenizer import Tokenizer, Tokens

MAX_WORDS = 40  # published words of a statement
MAX_STATEMENT = 64
SWAPPED = 0.5  # published share of examples whose images change places
_SIDES = {"left": "right", "right": "left"}
_SIDE = re.compile(r"\b(left|right)")


@dataclass(frozen=True)
class Judged:
    """A statement and whether it is true of its two images."""

    statement: str
    truth: bool


@dataclass(frozen=True)
class StatementBatch:
    """B statements led by [ENC], their left and right images (B, 3, H, W) and truths (B,) int64, 1 for true.

    ids (B,) are the statements' row numbers.
    """

    first: Tensor
    second: Tensor
    statements: Tokens
    truths: Tensor
    ids: Tensor
    step: int = 0

    def to(self, device: torch.device | str) -> "StatementBatch":
        """The same batch on a device."""
        names = ("first", "second", "statements", "truths", "ids")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


class StatementBuilder:
    """What a `BuiltFeed` makes of loaded pictures, two a statement: rows are those of `judged`.

    For a share `swapped` of the examples the images change places, and the words left and right with them. The
    draw belongs to (seed, step, place in the batch). The published code does the same when it evaluates, which
    makes its accuracy a matter of chance; here evaluation reads the images as they are.
    """

    def __init__(
        self, judged: Sequence[Judged], tokenizer: Tokenizer, *, swapped: float = SWAPPED, seed: int = 0
    ) -> None:
        if not 0 <= swapped <= 1:
            raise InputError(f"A share of {swapped} swapped images cannot be; give 0 to 1.")
        self.judged, self.tokenizer, self.swapped, self.seed = judged, tokenizer, swapped, seed

    def __call__(self, loaded: PictureBatch, step: int) -> StatementBatch:
        """The batch of some pictures (B, 2, 3, H, W)."""
        judged = [self.judged[row] for row in loaded.rows]
        places = torch.arange(len(judged)) + first_row(len(judged))
        swap = uniform(self.seed, step, places) < self.swapped
        said = [
            swapped_sides(one.statement) if turned else one.statement
            for one, turned in zip(judged, swap.tolist(), strict=True)
        ]
        pictures = torch.where(swap[:, None, None, None, None], loaded.pictures.flip(1), loaded.pictures)
        return StatementBatch(
            pictures[:, 0],
            pictures[:, 1],
            statement_tokens(said, self.tokenizer),
            torch.tensor([one.truth for one in judged]).long(),
            torch.tensor(loaded.rows),
            step,
        )


class NLVRTraining(nn.Module):
    """True or false of statements about two images."""

    def __init__(self, model: NLVR) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: StatementBatch, alpha: float = 0.0) -> Losses:
        """Cross-entropy of B verdicts; there are no soft targets, so alpha is not read."""
        logits = self.model(batch.first, batch.second, batch.statements)
        loss = F.cross_entropy(logits.float(), batch.truths)
        return Losses({"nlvr": loss}, loss)

    def after_step(self, features: Sequence[TeacherFeatures]) -> None:
        """Nothing follows the weights here: no momentum encoder, no queue."""


def statement_tokens(statements: Sequence[str], tokenizer: Tokenizer) -> Tokens:
    """Statements as the two-image text encoder reads them: cleaned, at most 40 words, led by [ENC]."""
    cleaned = [clean_caption(statement, MAX_WORDS) for statement in statements]
    return tokenizer(cleaned, MAX_STATEMENT).led_by("ENC")


def swapped_sides(statement: str) -> str:
    """The statement, in lower case, of the same images in the other order: left and right change places."""
    return _SIDE.sub(lambda side: _SIDES[side[0]], statement.lower())
