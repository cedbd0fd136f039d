"""Visual dialog: candidate answers to a question about an image, ranked (paper 5.5 and Figure 5c).

The dialog encoder is the image-grounded text encoder. Its cross-attention reads the image's states and, behind
them, those of the caption, which the text encoder made; its input is what was said before, the question and one
candidate answer. ITM tells the true answer from the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blip.data.pictures import PictureBatch
from blip.data.text import clean_caption, clean_question
from blip.data.transforms import keyed_rng
from blip.distributed import first_row
from blip.errors import InputError
from blip.memory import Memory
from blip.model import BLIP, narrowed
from blip.tasks.batch import Losses, TeacherFeatures
from blip.tokenizer import Tokenizer, Tokens

# None of these is published; the code of this task was not released.
NEGATIVES = 4
MAX_TOKENS = 128
CAPTION_TOKENS = 40


@dataclass(frozen=True)
class Asked:
    """A question about an image with a caption, and what could be answered.

    said: what was said before, question and answer in turn, the oldest first. true: the place among the
    candidates of the answer that was given, None where it is hidden. wrong: places that may serve as negatives; none
    of them reads as the true one does, since equal rows would be taught as match and as no match.
    """

    caption: str
    said: tuple[str, ...]
    question: str
    candidates: Sequence[str]
    true: int | None = None
    wrong: Sequence[int] = ()


class Rows(Protocol):
    """Questions by their row numbers: a list of them, or something that makes them when asked."""

    def __getitem__(self, row: int, /) -> Asked: ...


@dataclass(frozen=True)
class DialogBatch:
    """B questions, each with k candidate answers: images (B, 3, H, W), captions (B) led by [CLS],
    dialogs (k * B) led by [ENC], grouped by question; matches (k * B) bool marks the true answers; ids (B,).
    """

    images: Tensor
    captions: Tokens
    dialogs: Tokens
    matches: Tensor
    ids: Tensor
    step: int = 0

    def to(self, device: torch.device | str) -> "DialogBatch":
        """The same batch on a device."""
        names = ("images", "captions", "dialogs", "matches", "ids")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


class VisualDialog(nn.Module):
    """ITM over candidate answers: the true one matches, the drawn negatives do not (paper 5.5)."""

    def __init__(self, model: BLIP) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: DialogBatch, alpha: float = 0.0) -> Losses:
        """The loss of B questions; there are no soft targets, so alpha is not read."""
        memory = dialog_memory(self.model, batch.images, batch.captions)
        logits = self.model.match_logits(batch.dialogs, memory)
        loss = F.cross_entropy(logits.float(), batch.matches.long())
        return Losses({"itm": loss}, loss)

    def after_step(self, features: Sequence[TeacherFeatures]) -> None:
        """Nothing follows the weights here: no momentum encoder, no queue."""


def visdial_from(model: BLIP) -> BLIP:
    """A dialog model that starts from a pre-trained BLIP's ITM reading: a copy with only what that needs.

    InputError where the model has no ITM reading, or its image and text states differ in width.
    """
    if "fuse" not in model.config.text.readings:
        raise InputError("Visual dialog starts from a model that was pre-trained with ITM; give one.")
    image, text = model.config.vision.width, model.config.text.width
    if image != text:
        raise InputError(
            f"Visual dialog reads image and caption states as one sequence, and here they are {image} and {text} "
            "wide; give a model in which they are equally wide, such as base."
        )
    return narrowed(model, "fuse")


def dialog_memory(model: BLIP, images: Tensor, captions: Tokens) -> Memory:
    """What the dialog encoder reads of B images (B, 3, H, W) and their captions (B) led by [CLS].

    Keys and values of the image states, then of the caption states; padding is left out. It is the same for
    every question about an image and for every candidate.
    """
    image, caption = model.encode_image(images), model.encode_text(captions)
    keep = torch.cat([captions.keep.new_ones(image.shape[:2]), captions.keep], dim=1)
    return model.remember(torch.cat([image, caption], dim=1), "encoder", keep)


@torch.inference_mode()
def candidate_scores(model: BLIP, memory: Memory, dialogs: Tokens) -> Tensor:
    """Match logit less the other (k * B,) of candidates as `dialog_tokens` gives them, over a memory of B images."""
    logits = model.match_logits(dialogs, memory).float()
    return logits[:, 1] - logits[:, 0]


def caption_tokens(tokenizer: Tokenizer, captions: Sequence[str]) -> Tokens:
    """Captions as the text encoder reads them: cleaned, at most 40 tokens, led by [CLS]."""
    return tokenizer([clean_caption(caption) for caption in captions], CAPTION_TOKENS)


def dialog_tokens(
    tokenizer: Tokenizer,
    asked: Sequence[Asked],
    places: Sequence[Sequence[int]],
    max_length: int = MAX_TOKENS,
) -> Tokens:
    """A row led by [ENC] for each of a question's candidates at `places`: history, question, answer.

    Every utterance ends with [SEP]. Where a row is longer than max_length the history loses its oldest tokens;
    an answer keeps at most the first half of the row.
    """
    rows = [row for one, own in zip(asked, places, strict=True) for row in _rows(tokenizer, one, own, max_length)]
    return tokenizer.padded(rows, "ENC")


def _rows(tokenizer: Tokenizer, asked: Asked, places: Sequence[int], max_length: int) -> Iterator[list[int]]:
    if max_length < 6:
        raise InputError(f"{max_length} tokens have no room for a question and an answer; give 6 or more.")
    enc, sep = tokenizer.special.enc, tokenizer.special.sep
    before = [i for text in (*asked.said, asked.question) for i in (*tokenizer.pieces(clean_question(text)), sep)]
    for place in places:
        answer = tokenizer.pieces(clean_question(asked.candidates[place]))[: max_length // 2 - 1]
        yield [enc, *before[-(max_length - 2 - len(answer)) :], *answer, sep]


class DialogBuilder:
    """What a `BuiltFeed` makes of loaded pictures, one a question: rows are those of `asked`.

    Each question comes with its true answer and so many negatives, drawn by (seed, step, place in the batch).
    """

    def __init__(
        self,
        asked: Rows,
        tokenizer: Tokenizer,
        *,
        negatives: int = NEGATIVES,
        max_length: int = MAX_TOKENS,
        seed: int = 0,
    ) -> None:
        if negatives < 1:
            raise InputError(f"{negatives} negatives a question cannot be; give 1 or more.")
        self.asked, self.tokenizer = asked, tokenizer
        self.negatives, self.max_length, self.seed = negatives, max_length, seed

    def __call__(self, loaded: PictureBatch, step: int) -> DialogBatch:
        """The batch of some pictures (B, 1, 3, H, W)."""
        asked = [self.asked[row] for row in loaded.rows]
        first = first_row(len(asked))
        places = [self._drawn(one, step, at) for at, one in enumerate(asked, first)]
        matches = [place == one.true for one, own in zip(asked, places, strict=True) for place in own]
        return DialogBatch(
            loaded.pictures[:, 0],
            caption_tokens(self.tokenizer, [one.caption for one in asked]),
            dialog_tokens(self.tokenizer, asked, places, self.max_length),
            torch.tensor(matches),
            torch.tensor(loaded.rows),
            step,
        )

    def _drawn(self, asked: Asked, step: int, at: int) -> list[int]:
        """The true place and the drawn ones; a wrong answer comes twice only where there are too few."""
        few = len(asked.wrong) < self.negatives
        drawn = keyed_rng(self.seed, step, at).choice(asked.wrong, self.negatives, replace=few)
        return [asked.true, *drawn.tolist()]
