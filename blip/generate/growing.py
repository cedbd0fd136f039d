"""What all searches have in common: texts of one length that grow by a token at a time, in tensors on the model's device."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from blip.generate.decoding import Decoding
from blip.generate.sampling import forbid, forbid_before
from blip.generate.steps import FixedSteps, Steps
from blip.tokenizer import SpecialIds


class Growing(ABC):
    """k texts for each of B images. `choose` takes the next tokens, `advance` feeds them to the decoder.

    Over `FixedSteps` every tensor that lasts is written in place and no number of a step is read but from one, so that
    both can be captured.
    """

    length: int
    """Tokens of every text; not followed while captured steps run, unlike `at`, which is the same as a tensor (1,)."""
    at: Tensor
    logits: Tensor
    """Of the next tokens, (R, V)."""
    draws: Tensor | None = None

    def __init__(self, steps: Steps, decoding: Decoding, prompt: Sequence[int], special: SpecialIds) -> None:
        self.steps, self.decoding, self.prompt, self.special = steps, decoding, tuple(prompt), special
        self.texts = decoding.num_beams if decoding.strategy == "beam" else decoding.candidates
        self.images, self.fixed = len(steps.memory), isinstance(steps, FixedSteps)

    def begin(self, draws: Tensor | None) -> None:
        """Read the prompt. draws (R, L): of each text's tokens, where the strategy draws."""
        first = self.steps.start(self.prompt, self.texts, self.decoding.max_length - 1)
        self.put("logits", first.repeat_interleave(self.texts, dim=0))
        device = first.device
        if draws is not None:
            self.put("draws", draws.to(device))
        self.length = len(self.prompt)
        self.put("at", torch.tensor([self.length], device=device))

    @abstractmethod
    def choose(self, last: bool = False) -> None:
        """Choose a token for every text; last: there is room for no further one."""

    @abstractmethod
    def advance(self) -> None:
        """Feed the chosen tokens; the logits of the next ones."""

    @abstractmethod
    def over(self) -> Tensor:
        """Whether nothing that follows changes what is found, a bool."""

    @abstractmethod
    def found(self) -> tuple[Tensor, Tensor]:
        """Ids and logprobs (B, n, L)."""

    def put(self, name: str, value: Tensor) -> None:
        """Let an attribute be a value; over fixed steps in the tensor that it is already."""
        if self.fixed and name in vars(self):
            getattr(self, name).copy_(value)
        else:
            setattr(self, name, value.contiguous().clone() if self.fixed else value)

    def fed(self, tokens: Tensor) -> None:
        """The decoder has read one more token a text, (R,)."""
        self.put("logits", self.steps.step(tokens))
        self.at += 1
        self.length += 1

    def allowed(self, scores: Tensor) -> Tensor:
        """Scores (R, V) with [SEP] forbidden while the text is too short."""
        least = self.decoding.min_length
        if least <= len(self.prompt):
            return scores
        if self.fixed:
            return forbid_before(scores, self.special.sep, self.at, least)
        return forbid(scores, self.special.sep) if self.length < least else scores


def grown(
    search: Growing, draws: Tensor | None, choose: Callable[[], None], advance: Callable[[], None]
) -> tuple[Tensor, Tensor]:
    """The texts of a search, which is begun anew. choose, advance: its own, or what was captured of them."""
    search.begin(draws)
    for length in range(len(search.prompt), search.decoding.max_length):
        last = length + 1 == search.decoding.max_length
        search.choose(last=True) if last else choose()
        if last or search.over():
            break
        advance()
    return search.found()
