"""Visual question answering: a question encoder grounded in the image, an answer decoder reading its states.

Paper 5.3 and Figure 5a. The answer decoder generates; for the published benchmark it ranks a list of answers.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blip import objectives
from blip.config import BlipConfig
from blip.errors import InputError
from blip.model import BLIP, narrowed
from blip.text import Memory, TextTransformer
from blip.tokenizer import Tokens
from blip.vision import ImageEncoder

CANDIDATES = 128  # published: answers that a first token lets through to the full ranking


@dataclass(frozen=True)
class Ranking:
    """The k answers that passed the first token, likeliest first token first.

    answers (B, k) int64 indices into the list of answers; scores (B, k), higher is better.
    """

    answers: Tensor
    scores: Tensor

    @property
    def best(self) -> Tensor:
        """Index (B,) of each question's best answer."""
        return self.answers.gather(1, self.scores.argmax(dim=1, keepdim=True)).squeeze(1)


class VQA(nn.Module):
    """Image encoder, question encoder and answer decoder; the two texts share nothing (paper 5.3)."""

    def __init__(self, config: BlipConfig) -> None:
        super().__init__()
        self.config = config.reading("fuse", "decode")
        text = config.text
        self.image_encoder = ImageEncoder(config.vision)
        self.question = TextTransformer(replace(text, readings=frozenset({"fuse"})))
        # The decoder reads question states, so its memory is as wide as the text.
        self.answer = TextTransformer(
            replace(text, readings=frozenset({"decode"}), memory_width=text.width)
        )

    def forward(self, images: Tensor, questions: Tokens, answers: Tokens, question_of: Tensor) -> Tensor:
        """Next-token logits (R, L, V) of R answers; question_of (R,) names each one's question."""
        return self.answer_logits(answers, self.remember(images, questions).rows(question_of))

    def remember(self, images: Tensor, questions: Tokens) -> Memory:
        """What the answer decoder reads of B images and their questions led by [ENC]; padding is left out."""
        questions.require("ENC", "The question encoder")
        image = self.question.remember(self.image_encoder(images), "encoder")
        states = self.question(questions.ids, questions.keep, "encoder", memory=image)
        return self.answer.remember(states, "decoder", questions.keep)

    def answer_logits(self, answers: Tokens, memory: Memory) -> Tensor:
        """Next-token logits (R, L, V) of R = k * B answers led by [DEC], grouped by question."""
        answers.require("DEC", "The answer decoder")
        return self.answer.logits(self.answer(answers.ids, None, "decoder", memory=memory))

    @torch.no_grad()
    def rank(
        self, memory: Memory, answers: Tokens, *, k: int = CANDIDATES, smoothing: float = 0.0
    ) -> Ranking:
        """Rank A answers led by [DEC] for each of B questions, as published (paper 5.3).

        The k likeliest by their first token are scored whole. smoothing 0 scores the log-likelihood;
        the published score is the label-smoothed loss, 0.1, which can order answers otherwise.
        """
        if not len(answers):
            raise InputError("There are no answers to rank; give at least one.")
        every = answers.rows(answers.ids.new_zeros(len(memory)))
        begin = replace(every, ids=every.ids[:, :1], keep=every.keep[:, :1])
        first = self.answer_logits(begin, memory)[:, 0]
        likely = first.float().softmax(dim=1)[:, answers.ids[:, 1]]
        chosen = likely.topk(min(k, len(answers)), dim=1).indices
        # Question by question: the logits of B * k answers at once would fill a GPU.
        scores = [
            -answer_losses(self.answer_logits(rows, memory.rows(chosen.new_tensor([i]))), rows, smoothing)
            for i, rows in enumerate(map(answers.rows, chosen))
        ]
        return Ranking(chosen, torch.stack(scores))


def answer_losses(logits: Tensor, answers: Tokens, smoothing: float) -> Tensor:
    """Loss (R,) of each answer, summed over its tokens, from next-token logits (R, L, V)."""
    labels = objectives.lm_labels(answers.ids, answers.keep)[:, 1:]
    losses = F.cross_entropy(
        logits[:, :-1].transpose(1, 2).float(),
        labels,
        ignore_index=objectives.IGNORED,
        label_smoothing=smoothing,
        reduction="none",
    )
    return losses.sum(dim=1)


def vqa_from(model: BLIP) -> VQA:
    """A VQA model that starts from a pre-trained BLIP with decoder and ITM reading, as published.

    Question encoder and answer decoder start from the encoder and the decoder. Where image and text
    have different widths the decoder's cross-attention keys and values start anew: it no longer reads
    the image.
    """
    if not {"fuse", "decode"} <= model.config.text.readings:
        raise InputError("VQA starts from a model that was pre-trained with ITM and LM; give one.")
    task = VQA(model.config).to(next(model.parameters()).device)
    task.image_encoder.load_state_dict(model.image_encoder.state_dict())
    task.question.load_state_dict(narrowed(model, "fuse").text.state_dict())
    fresh = task.answer.state_dict()
    pretrained = narrowed(model, "decode").text.state_dict()
    fitting = {name: tensor for name, tensor in pretrained.items() if tensor.shape == fresh[name].shape}
    task.answer.load_state_dict(fresh | fitting)
    return task
