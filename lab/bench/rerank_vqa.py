"""VQA ranking for `lab bench rerank`: VQA.rank beside the published way, both from the states of the questions."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blip.config import named
from blip.tasks.vqa import VQA, Ranking, answer_losses
from blip.tokenizer import Tokens
from lab.bench import rerank_flops
from lab.bench.rerank_retrieval import random_texts
from lab.bench.rounds import spread

SMOOTHING = 0.1  # of the published score
_QUESTIONS = (7, 8, 9, 10, 12)
_ANSWERS = (3, 3, 4, 3, 3, 5, 3, 3, 4, 7)
"""Tokens of questions and answers in turn, first token and [SEP] included: most answers are one word."""
_SHARED = 0.9  # of the answers, at least so many must be let through by both; near ties fall either way


@dataclass(frozen=True)
class Questions:
    """What both ways are given: a model, the states (Q, L, D) and padding (Q, L) of Q questions, and A answers."""

    model: VQA
    states: Tensor
    keep: Tensor
    answers: Tokens
    k: int

    @torch.no_grad()
    def ours(self) -> Ranking:
        """The k answers to each question and their published scores by VQA.rank."""
        memory = self.model.answer.remember(self.states, "decoder", self.keep)
        return self.model.rank(memory, self.answers, k=self.k, smoothing=SMOOTHING)

    @torch.no_grad()
    def peer(self) -> Ranking:
        """As `ours`, in one batch as published: the states stand k times, and all answers are padded to the longest.

        The first token is decoded for the shortlist and then once more with each answer.
        """
        decoder, answers = self.model.answer, self.answers
        first = answers.ids[:1, :1].expand(len(self.states), -1)
        memory = decoder.remember(self.states, "decoder", self.keep)
        likely = decoder.logits(decoder(first, None, "decoder", memory=memory))[:, 0].float().softmax(dim=1)
        chosen = likely[:, answers.ids[:, 1]].topk(self.k, dim=1).indices
        states, keep = (given.repeat_interleave(self.k, dim=0) for given in (self.states, self.keep))
        rows = answers.rows(chosen.flatten())
        logits = self.model.answer_logits(rows, decoder.remember(states, "decoder", keep))
        return Ranking(chosen, -answer_losses(logits, rows, SMOOTHING).view(chosen.shape))

    def agreement(self, ours: Ranking, peer: Ranking, tolerance: float) -> dict[str, Any]:
        """How far the scores are apart, of the answers that both let through."""
        own, theirs = (self._table(ranking) for ranking in (ours, peer))
        both = own.isfinite() & theirs.isfinite()
        difference = float((own - theirs)[both].abs().max()) if both.any() else float("inf")
        return {
            "scores": own.isfinite().sum().item(),
            "chosen_by_both": both.sum().item(),
            "questions": len(own),
            "best_answer_the_same": int((ours.best == peer.best).sum()),
            "values": spread(own[both].tolist()),
            "largest_difference": difference,
            "tolerance": tolerance,
            "agree": difference <= tolerance and both.sum().item() >= _SHARED * own.isfinite().sum().item(),
        }

    def limit(self) -> dict[str, Any]:
        """The ratio of operations, with the answers that passed the first token."""
        text, lengths = self.model.config.text, self.answers.keep.sum(dim=1)
        own, (questions, question) = lengths[self.ours().answers].flatten().tolist(), self.keep.shape
        longest = int(lengths.max())
        ours = rerank_flops.vqa_ours(text, questions, question, own)
        peer = rerank_flops.vqa_published(text, questions, question, self.k, longest)
        return {
            "ratio": round(peer / ours, 3),
            "gflop_ours": round(ours / 1e9, 1),
            "gflop_peer": round(peer / 1e9, 1),
            "shapes": {
                "questions": questions,
                "question_tokens_padded": question,
                "answers": len(self.answers),
                "answers_scored_whole": self.k,
                "answer_tokens": spread(own),
                "answer_tokens_mean": sum(own) / len(own),
                "answer_tokens_peer": longest,
                "vocabulary": text.vocab_size,
            },
        }

    def _table(self, ranking: Ranking) -> Tensor:
        """Scores (Q, A), -inf where an answer was not let through."""
        table = torch.full((len(self.states), len(self.answers)), float("-inf"), device=ranking.scores.device)
        return table.scatter(1, ranking.answers, ranking.scores)


@torch.no_grad()
def questions(size: str, *, count: int, answers: int, k: int, device: str, seed: int) -> Questions:
    """Random weights, states of `count` questions, and a list of answers; k is at most as many."""
    torch.manual_seed(seed)
    model = VQA(named(size)).to(device).eval()
    keep = random_texts(count, _QUESTIONS, "ENC").keep
    states = torch.randn(*keep.shape, model.config.text.width)
    found = random_texts(answers, _ANSWERS, "DEC")
    return Questions(model, states.to(device), keep.to(device), found.to(device), min(k, answers))
