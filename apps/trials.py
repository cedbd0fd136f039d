"""What passes between the room "Try it" and its service: an image, how it is captioned, and what is said of it."""

from dataclasses import dataclass

from torch import Tensor

from blip.generate import Decoding
from lab.world.scene import Scene

STRATEGIES = {"greedy": "Greedy", "beam": "Beam", "nucleus": "Nucleus"}
"""Ways to decode by name, and how they are called."""
END = "end"
"""How [SEP] reads, with which a caption ends."""


@dataclass(frozen=True)
class Subject:
    """An image that is tried: its name, its hash (it keys the draws), a JPEG for people, and what each model reads.

    captioner, matcher, vqa: pixels (3, H, W) at each model's own size, None without the model. scene: what a picture
    of the generated world shows, so that the truth of a text is known.
    """

    name: str
    digest: str
    jpeg: bytes
    captioner: Tensor | None
    matcher: Tensor | None
    vqa: Tensor | None
    scene: Scene | None = None


@dataclass(frozen=True)
class Token:
    """A word piece as people read it, whether it continues the word before, and its probability."""

    text: str
    joined: bool
    probability: float


@dataclass(frozen=True)
class Said:
    """A text with the captioner's probability of each token, and what filter and checker say of it.

    match and cosine are None without a filter, truth where it is not known.
    """

    text: str
    tokens: tuple[Token, ...]
    match: float | None
    cosine: float | None
    truth: str | None


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How captions are decoded: nucleus mass, temperature, seed and number of draws; beams of the beam search."""

    top_p: float = 0.9
    temperature: float = 1.0
    seed: int = 0
    draws: int = 4
    beams: int = 3

    def decoding(self, strategy: str) -> Decoding:
        """The decoding by one of STRATEGIES; only nucleus draws several captions."""
        return Decoding(
            strategy=strategy,
            top_p=self.top_p,
            temperature=self.temperature,
            num_beams=self.beams,
            candidates=self.draws if strategy == "nucleus" else 1,
        )
