"""What new models on a user's own pairs begin with: random weights, or a ViT's and a BERT's, as the paper's do."""

from dataclasses import dataclass, field
from pathlib import Path

from blip.checkpoint.own import file_fingerprint
from blip.checkpoint.tensors import weights_file
from blip.errors import InputError
from blip.initialize import start_from
from blip.model import BLIP


@dataclass(frozen=True)
class Start:
    """Weights that image encoder and text transformer begin with (paper 4.1); what is None begins at random."""

    vision: Path | None = None
    text: Path | None = None
    prints: dict[str, str] = field(default_factory=dict)
    """Fingerprints of the files, by "vision" and "text", so that other weights are another run."""

    @classmethod
    def of(cls, vision: Path | None, text: Path | None) -> "Start":
        """From files in the layouts of timm or DeiT, and of BERT; InputError where one is not there."""
        files = {"vision": vision, "text": text}
        return cls(vision, text, {name: file_fingerprint(weights_file(file)) for name, file in files.items() if file})

    @property
    def whole(self) -> bool:
        """Whether both encoders have been trained before."""
        return self.vision is not None and self.text is not None

    @property
    def fingerprint(self) -> str:
        """Of all files together; "" where nothing is given."""
        return " ".join(f"{name} {print_}" for name, print_ in sorted(self.prints.items()))

    def fill(self, model: BLIP) -> None:
        """Put them into a new model; InputError where they were made for another size or other words."""
        start_from(model, vision=self.vision, text=self.text)


def refuse_other_words(init_text: Path | None, vocab: Path | None) -> None:
    """InputError where BERT's weights are given without its vocabulary: each row is a word's."""
    if init_text is not None and vocab is None:
        raise InputError("The weights of --init-text are those of BERT's words; give its vocab.txt as --vocab too.")


RANDOM = Start()
"""Nothing given: new models begin with random weights."""
