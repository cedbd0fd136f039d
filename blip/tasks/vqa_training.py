"""Fine-tuning for visual question answering: every answer counts by the people who gave it (paper 5.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from blip.data.pictures import PictureBatch
from blip.data.text import clean_question
from blip.errors import InputError
from blip.tasks.batch import Losses, TeacherFeatures
from blip.tasks.vqa import VQA, answer_losses
from blip.tokenizer import Tokenizer, Tokens

MAX_QUESTION = 35  # published tokens of a question
MAX_ANSWER = 30


@dataclass(frozen=True)
class Asked:
    """A question and what each of its different answers weighs: its share of the annotators (as published)."""

    question: str
    answers: Mapping[str, float]


@dataclass(frozen=True)
class QuestionBatch:
    """B questions led by [ENC] with images (B, 3, H, W), and their R answers led by [DEC].

    question_of (R,) int64 names each answer's question, weights (R,) says what its loss counts; ids (B,) are the
    questions' row numbers.
    """

    images: Tensor
    questions: Tokens
    answers: Tokens
    question_of: Tensor
    weights: Tensor
    ids: Tensor
    step: int = 0

    def to(self, device: torch.device | str) -> "QuestionBatch":
        """The same batch on a device."""
        names = ("images", "questions", "answers", "question_of", "weights", "ids")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


class QuestionBuilder:
    """What a `BuiltFeed` makes of loaded pictures, one a question: rows are those of `asked`.

    InputError names the first question without an answer.
    """

    def __init__(self, asked: Sequence[Asked], tokenizer: Tokenizer) -> None:
        self.asked, self.tokenizer = asked, tokenizer
        for one in asked:
            if not one.answers:
                raise InputError(f"The question {one.question!r} has no answer to learn; leave it out.")

    def __call__(self, loaded: PictureBatch, step: int) -> QuestionBatch:
        """The batch of some pictures (B, 1, 3, H, W)."""
        asked = [self.asked[row] for row in loaded.rows]
        said = [answer for one in asked for answer in one.answers]
        counts = torch.tensor([len(one.answers) for one in asked])
        return QuestionBatch(
            loaded.pictures[:, 0],
            question_tokens([one.question for one in asked], self.tokenizer),
            self.tokenizer(said, MAX_ANSWER).led_by("DEC"),
            torch.arange(len(asked)).repeat_interleave(counts),
            torch.tensor([weight for one in asked for weight in one.answers.values()]),
            torch.tensor(loaded.rows),
            step,
        )


class VQATraining(nn.Module):
    """LM of a question's answers, grounded in question and image."""

    def __init__(self, model: VQA, *, smoothing: float = 0.1) -> None:
        super().__init__()
        self.model, self.smoothing = model, smoothing

    def forward(self, batch: QuestionBatch, alpha: float = 0.0) -> Losses:
        """The answers' losses times their weights, over the number of questions (as published).

        An answer's loss is the sum over its tokens. There are no soft targets, so alpha is not read.
        """
        logits = self.model(batch.images, batch.questions, batch.answers, batch.question_of)
        losses = answer_losses(logits, batch.answers, self.smoothing)
        loss = (batch.weights * losses).sum() / len(batch.ids)
        return Losses({"lm": loss}, loss)

    def after_step(self, features: Sequence[TeacherFeatures]) -> None:
        """Nothing follows the weights here: no momentum encoder, no queue."""


def question_tokens(questions: Sequence[str], tokenizer: Tokenizer) -> Tokens:
    """Questions as the question encoder reads them: cleaned, at most 35 tokens, led by [ENC]."""
    return tokenizer([clean_question(question) for question in questions], MAX_QUESTION).led_by("ENC")
