"""A VQA model as answerer: questions about images to answers, ranked from a list or generated (paper 5.3)."""

from collections.abc import Callable, Sequence

import torch

from blip.data.loading import Loader
from blip.data.pictures import ArrayRows, PhotoRows, require_all
from blip.distributed import from_all
from blip.errors import InputError
from blip.generate import Decoding, generate
from blip.memory import Memory
from blip.precision import precision
from blip.tasks.vqa import CANDIDATES, VQA
from blip.tasks.vqa_training import MAX_ANSWER, question_tokens
from blip.tokenizer import Tokenizer

GENERATION = Decoding(strategy="beam", num_beams=3, max_length=10, min_length=1, prompt="")
"""Published decoding of an answer in place of ranking, with the stop of today's transformers (`blip.generate.beam`)."""

Choose = Callable[[Memory], list[str]]
"""From what the decoder reads of B questions and their images to an answer each."""


class Ranker:
    """Chooses from a list of answers: the k likeliest by their first token are scored whole, the best is given.

    smoothing 0 scores the log-likelihood; 0.1 is the published score.
    """

    def __init__(
        self,
        model: VQA,
        tokenizer: Tokenizer,
        answers: Sequence[str],
        *,
        k: int = CANDIDATES,
        smoothing: float = 0.0,
    ) -> None:
        if not answers:
            raise InputError("There are no answers to rank; give at least one.")
        self.model, self.answers, self.k, self.smoothing = model, list(answers), k, smoothing
        self.tokens = tokenizer(self.answers, MAX_ANSWER).led_by("DEC").to(next(model.parameters()).device)

    def __call__(self, memory: Memory) -> list[str]:
        """The best answer to each of the B questions in a memory."""
        ranking = self.model.rank(memory, self.tokens, k=self.k, smoothing=self.smoothing)
        return [self.answers[best] for best in ranking.best.tolist()]


class Generator:
    """Answers in the decoder's own words; by default as published, beam 3."""

    def __init__(self, model: VQA, tokenizer: Tokenizer, decoding: Decoding = GENERATION) -> None:
        self.model, self.tokenizer, self.decoding = model, tokenizer, decoding

    def __call__(self, memory: Memory) -> list[str]:
        """The most probable answer found for each of the B questions in a memory."""
        begin = self.tokenizer.prompt(self.decoding.begin)
        special = self.tokenizer.special
        found = generate(self.model, memory, self.decoding, prompt_ids=begin, special=special)
        return [self.tokenizer.decode(answers[0].ids) for answers in found]


@torch.inference_mode()
def answer(
    model: VQA,
    tokenizer: Tokenizer,
    pictures: PhotoRows | ArrayRows,
    questions: Sequence[str],
    choose: Choose,
    *,
    batch: int = 32,
    workers: int = 2,
    dtype: str = "float32",
) -> list[str]:
    """An answer to each question, whose picture is the same row of `pictures`.

    InputError where a photo cannot be read: an evaluation that leaves questions out says nothing. Of several processes
    each sees its own batches, and all get all answers.
    """
    model.eval()
    device = next(model.parameters()).device
    found: dict[int, str] = {}
    for loaded in Loader(pictures, batch, train=False, workers=workers):
        tokens = question_tokens([questions[row] for row in loaded.rows], tokenizer)
        images = loaded.pictures[:, 0].to(device, non_blocking=True)
        with precision(device, dtype):
            found |= zip(loaded.rows, choose(model.remember(images, tokens.to(device))), strict=True)
    found = dict(from_all(list(found.items())))
    require_all(pictures, found)
    return [found[row] for row in range(len(questions))]
