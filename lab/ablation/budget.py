"""What a student's pre-training saw, and in which words: declared factors of every comparison."""

from dataclasses import dataclass
from typing import Any

MORE_SAMPLES = ("more_web", "times", "teacher_times", "budget", "continued", "pretrain.samples")
OTHER_WEB = ("more_web", "web", "human", "noise", "level")
DECLARES = tuple(dict.fromkeys((*MORE_SAMPLES, *OTHER_WEB)))
"""What of an arm says that it sees more samples, or another web and so other words, on purpose."""


@dataclass(frozen=True)
class Budget:
    """Samples of a pre-training, and the texts that they were drawn from, human-annotated ones among them."""

    samples: int
    texts: int | None
    """None where it is not known."""
    vocabulary: str | None = None
    """Fingerprint of the tokenizer, which decides the initial weights too; None where it is not known."""

    @property
    def epochs(self) -> float | None:
        """Passes over the texts."""
        return self.samples / self.texts if self.texts else None

    def to_json(self) -> dict[str, Any]:
        """As a record has it: samples, texts, epochs, vocabulary."""
        return {"samples": self.samples, "texts": self.texts, "epochs": self.epochs, "vocabulary": self.vocabulary}
