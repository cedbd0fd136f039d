"""What a student's pre-training saw: a declared factor of every comparison."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Budget:
    """Samples of a pre-training, and the texts that they were drawn from, human-annotated ones among them."""

    samples: int
    texts: int | None
    """None where it is not known."""

    @property
    def epochs(self) -> float | None:
        """Passes over the texts."""
        return self.samples / self.texts if self.texts else None

    def to_json(self) -> dict[str, Any]:
        """As a record has it: samples, texts, epochs."""
        return {"samples": self.samples, "texts": self.texts, "epochs": self.epochs}
