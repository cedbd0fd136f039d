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
from blip.memory import Cache, Memory
from blip.model import BLIP, narrowed
from blip.text import TextTransformer
from blip.tokenizer import Tokens
from blip.vision import ImageEncoder

CANDIDATES = 128  # published: answers that a first token lets through to the full ranking
ROWS = 1024  # answers that are decoded at once, and tokens whose logits over the vocabulary exist at once


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
        self.answer = TextTransformer(replace(text, readings=frozenset({"decode"}), memory_width=text.width))

    def forward(self, images: Tensor, questions: Tokens, answers: Tokens, question_of: Tensor) -> Tensor:
        """Next-token logits (R, L, V) of R answers; question_of (R,) names each one's question."""
        return self.answer_logits(answers, self.remember(images, questions).seen_at(question_of))

    @property
    def text(self) -> TextTransformer:
        """The answer decoder, where `blip.generate` looks for what decodes."""
        return self.answer

    def remember(self, images: Tensor, questions: Tokens) -> Memory:
        """What the answer decoder reads of B images and their questions led by [ENC]; padding is left out."""
        return self.ask(self.image_encoder(images), questions)

    def ask(self, image_states: Tensor, questions: Tokens) -> Memory:
        """As `remember`, from image states (B, N, D): of images, or of each video's frames one after the other.

        k * B questions are k for each image, grouped by image.
        """
        questions.require("ENC", "The question encoder")
        image = self.question.remember(image_states, "encoder")
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
        if k < 1:
            raise InputError(f"Ranking the first {k} answers cannot be; give 1 or more.")
        answers.require("DEC", "The answer decoder")
        k = min(k, len(answers))
        parts = torch.arange(len(memory), device=answers.ids.device).split(max(1, ROWS // k))
        found = [self._rank(memory.rows(part).packed(), answers, k, smoothing) for part in parts]
        return Ranking(torch.cat([one.answers for one in found]), torch.cat([one.scores for one in found]))

    def _rank(self, memory: Memory, answers: Tokens, k: int, smoothing: float) -> Ranking:
        begun = Cache(self.answer.config, len(memory), 1, like=memory.keys[0])
        begin = answers.ids[:1, :1].expand(len(memory), -1)
        states = self.answer(begin, None, "decoder", memory=memory, cache=begun)
        first = self.answer.logits(states)[:, 0].float()
        chosen = first.softmax(dim=1)[:, answers.ids[:, 1]].topk(k, dim=1).indices
        losses = _smoothed(first.log_softmax(dim=1), answers.ids[chosen, 1], smoothing)
        # Long answers side by side and short ones side by side, so that padding is hardly ever decoded.
        lengths = answers.keep.sum(dim=1)[chosen]
        order = lengths.argsort(dim=1, descending=True, stable=True)
        longest = lengths.gather(1, order).amax(dim=0).tolist()
        for length in sorted(set(longest)):
            columns = order[:, longest.index(length) : k - longest[::-1].index(length)]
            rows = answers.rows(chosen.gather(1, columns).flatten())
            rest = self._rest(begun, memory, rows, length, smoothing).view(columns.shape)
            losses.scatter_add_(1, columns, rest)
        return Ranking(chosen, -losses)

    def _rest(self, begun: Cache, memory: Memory, rows: Tokens, length: int, smoothing: float) -> Tensor:
        """Losses (R,) of what follows the first token of R answers of up to `length` tokens, by question."""
        labels = objectives.lm_labels(rows.ids, rows.keep)[:, 2:length]
        losses = torch.zeros(labels.shape, device=labels.device)
        if labels.numel():
            cache = begun.repeated(len(rows) // len(memory), length - 1)
            states = self.answer(rows.ids[:, 1 : length - 1], None, "decoder", memory=memory, cache=cache)
            counted = labels != objectives.IGNORED
            pieces = zip(states[counted].split(ROWS), labels[counted].split(ROWS), strict=True)
            losses[counted] = torch.cat([self._token_losses(*piece, smoothing) for piece in pieces])
        return losses.sum(dim=1)

    def _token_losses(self, states: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        logprobs = self.answer.logits(states).float().log_softmax(dim=1)
        return _smoothed(logprobs, labels[:, None], smoothing).squeeze(1)


def _smoothed(logprobs: Tensor, tokens: Tensor, smoothing: float) -> Tensor:
    """Label-smoothed losses (R, n) of n tokens under each log-distribution (R, V)."""
    return -(1 - smoothing) * logprobs.gather(1, tokens) - smoothing * logprobs.mean(dim=1, keepdim=True)


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
