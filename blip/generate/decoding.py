"""How captions are decoded, as one frozen value that names itself, and what comes out. Knows no torch."""

from dataclasses import dataclass, replace

from blip.errors import InputError

STRATEGIES = ("greedy", "beam", "nucleus", "top_k")
_READ_BY = {
    "top_p": ("nucleus",),
    "top_k": ("nucleus", "top_k"),
    "temperature": ("nucleus", "top_k"),
    "num_beams": ("beam",),
    "rank_whole_text": ("beam",),
}
_LEAST, _MOST = 1e-15, 1e15
"""Of what logits are divided or multiplied by: temperature and penalty together take at most 30 of float32's 38
decimal powers, so that no logit becomes infinite and no probability NaN. Nothing is lost: float32 has 7 digits, so
that long before either end the likeliest token is certain, or all are equally likely."""
_PROMPT = "a picture of "  # published


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """A decoding strategy and its values; a value that the strategy does not read changes nothing.

    The defaults are the paper's CapFilt choice, nucleus sampling with p = 0.9, at the lengths of
    the published captioning evaluation (paper Table 2 and section 5.2). The published code, which has
    no CapFilt, besides cuts to 50 tokens and has a repetition penalty of 1.1 where it samples.
    """

    strategy: str = "nucleus"
    """greedy, beam, nucleus or top_k."""
    top_p: float = 0.9
    """nucleus: draw among the most probable tokens that together reach this mass; 1 keeps all."""
    top_k: int = 0
    """top_k: draw among this many tokens; nucleus: cut to this many first, 0 does not cut.

    The published nucleus path cuts to 50: it leaves transformers' default, which comes before top-p.
    """
    temperature: float = 1.0
    """nucleus, top_k: logits are divided by it before anything is cut."""
    num_beams: int = 3
    """beam: hypotheses kept for each image (published captioning evaluation: 3)."""
    rank_whole_text: bool = False
    """beam: rank by the score over the tokens of the whole text, [DEC] and prompt included, as transformers
    4.15 did, which the published code asks for; else over the generated ones, as it does today."""
    max_length: int = 20
    """Most tokens of a whole text: [DEC], the prompt and [SEP] count (published meaning)."""
    min_length: int = 5
    """[SEP] is forbidden while [DEC], prompt and caption are fewer tokens (published meaning)."""
    repetition_penalty: float = 1.0
    """Weakens tokens used before, the prompt's too; 1 does not (published nucleus path: 1.1)."""
    prompt: str | None = None
    """Begins every caption and is not part of what is returned; by default that of the weights."""
    candidates: int = 1
    """Captions for each image: independent draws, or the best beams."""

    def __post_init__(self) -> None:
        _require(
            self.strategy in STRATEGIES,
            "strategy",
            self.strategy,
            f"one of {', '.join(STRATEGIES)}",
        )
        _require(0 < self.top_p <= 1, "top_p", self.top_p, "above 0 and at most 1")
        _require(self.top_k >= 0, "top_k", self.top_k, "0 (no cut) or more")
        _require(
            _LEAST <= self.temperature <= _MOST,
            "temperature",
            self.temperature,
            f"{_LEAST:g} to {_MOST:g}, so that logits stay finite in float32 (greedy takes the likeliest token)",
        )
        _require(self.num_beams >= 1, "num_beams", self.num_beams, "1 or more")
        _require(self.min_length >= 0, "min_length", self.min_length, "0 or more")
        _require(self.max_length >= 2, "max_length", self.max_length, "2 or more")
        _require(
            self.min_length <= self.max_length, "min_length", self.min_length, "at most max_length"
        )
        penalty = self.repetition_penalty
        _require(
            _LEAST <= penalty <= _MOST,
            "repetition_penalty",
            penalty,
            f"{_LEAST:g} to {_MOST:g}, so that logits stay finite in float32; 1 is none",
        )
        _require(self.candidates >= 1, "candidates", self.candidates, "1 or more")
        self._check_strategy()

    def __str__(self) -> str:
        """Short canonical form for the ledger: what decides a caption, and nothing else.

        `candidates` is left out: the first captions of an image are the same whatever follows.
        """
        return f"{self.strategy}({','.join(self._own_values() + self._common_values())})"

    @property
    def begin(self) -> str:
        """What every caption begins with: where neither a prompt nor weights are known, the published one."""
        return _PROMPT if self.prompt is None else self.prompt

    def led_by(self, own: str) -> "Decoding":
        """The same with the prompt that was given, else with that of the weights."""
        return replace(self, prompt=own) if self.prompt is None else self

    def refuse_unread(self, usual: "Decoding | None" = None) -> None:
        """InputError for a value that the strategy does not read; for options that a person gave.

        usual: what they have where nobody gives them, by default the defaults.
        """
        usual = usual or Decoding()
        for name, strategies in _READ_BY.items():
            read = self.strategy in strategies or getattr(self, name) == getattr(usual, name)
            wanted = f"strategy {' or '.join(strategies)}, for {self.strategy} does not read it"
            _require(read, name, getattr(self, name), wanted)

    def check_room(self, prompt: int, positions: int) -> None:
        """InputError where a model with so many positions has no room for a text, its first `prompt` tokens given."""
        if self.max_length > positions:
            raise InputError(f"max_length {self.max_length} is more than this model's {positions} positions; lower it.")
        if prompt >= self.max_length:
            raise InputError(
                f"The prompt takes {prompt} of max_length {self.max_length} tokens; raise max_length or give "
                "a shorter prompt."
            )

    @property
    def draws(self) -> bool:
        """Whether captions are drawn at random."""
        return self.strategy in ("nucleus", "top_k")

    def _own_values(self) -> list[str]:
        if self.strategy == "beam":
            return [f"beams={self.num_beams}", *(["rank=whole"] if self.rank_whole_text else [])]
        if not self.draws:
            return []
        p = [f"p={_short(self.top_p)}"] if self.strategy == "nucleus" else []
        k = [f"k={self.top_k}"] if self.top_k else []
        t = [f"t={_short(self.temperature)}"] if self.temperature != 1 else []
        return p + k + t

    def _common_values(self) -> list[str]:
        penalty = self.repetition_penalty
        repetition = [f"penalty={_short(penalty)}"] if penalty != 1 else []
        return [
            f"length={self.min_length}-{self.max_length}",
            *repetition,
            f"prompt={self.begin!r}",
        ]

    def _check_strategy(self) -> None:
        if self.strategy == "top_k":
            _require(self.top_k >= 1, "top_k", self.top_k, "1 or more for the strategy top_k")
        if self.strategy == "greedy":
            _require(
                self.candidates == 1, "candidates", self.candidates, "1: greedy finds one caption"
            )
        if self.strategy == "beam":
            what = f"at most num_beams, {self.num_beams}"
            _require(self.candidates <= self.num_beams, "candidates", self.candidates, what)


@dataclass(frozen=True, slots=True)
class Caption:
    """A generated caption, without its prompt.

    ids end with [SEP] unless max_length cut them. logprobs: of each of them, natural logarithm,
    under the model's own distribution: before temperature, truncation, penalty and minimum length.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str = ""
    """Empty until `captions` decodes it."""

    @property
    def mean_logprob(self) -> float:
        """Mean log-probability of a generated token, [SEP] included."""
        return sum(self.logprobs) / len(self.logprobs)


def _short(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def _require(holds: bool, name: str, value: object, wanted: str) -> None:
    if not holds:
        raise InputError(f"Decoding with {name} {value!r} cannot be; give {wanted}.")
