"""How a command lets a VQA model answer: it ranks a list of answers, or generates (paper 5.3)."""

from dataclasses import dataclass
from pathlib import Path

from blip.answering import Choose, Generator, Ranker
from blip.data.benchmarks.answers import read_answer_list
from blip.errors import InputError
from blip.tasks.vqa import CANDIDATES, VQA
from blip.tokenizer import Tokenizer
from lab.downstream.vqa import ANSWERS
from lab.world.levels import level
from lab.world.questions import answer_list


@dataclass(frozen=True, kw_only=True)
class Answering:
    """Where answers come from."""

    generate: bool = False
    """Generate answers (beam 3, up to 10 tokens) in place of ranking."""
    answers: Path | None = None
    """JSON list of the answers that are ranked; by default answers.json beside the weights."""
    k: int = CANDIDATES
    """Answers that the first token lets through to the full ranking."""
    smoothing: float = 0.0
    """0 ranks by log-likelihood, 0.1 by the published score."""

    def choose(self, model: VQA, tokenizer: Tokenizer, weights: str, world: str | None) -> Choose:
        """The way to answer; `weights` says where answers.json may lie, a level of the world has a list of its own.

        InputError where there is no list to rank.
        """
        if self.generate:
            return Generator(model, tokenizer)
        known = self._list(Path(weights).parent / ANSWERS, world)
        return Ranker(model, tokenizer, known, k=self.k, smoothing=self.smoothing)

    def _list(self, beside: Path, world: str | None) -> list[str]:
        if self.answers is not None or beside.is_file():
            return read_answer_list(self.answers or beside)
        if world is not None:
            return list(answer_list(level(world)))
        raise InputError("Which answers are ranked? Give --answers with a JSON list, or --generate.")
