"""What models read of a picture, made by threads while other pictures are scored, once for models that read the same."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image


class Reader(Protocol):
    """A captioner or a filter.

    One with an attribute `reads` says that its `prepare` is safe to call from threads, and gives equal values for equal
    `reads`; one without is asked by the thread that uses it.
    """

    def prepare(self, image: Image.Image) -> Any: ...


@dataclass(frozen=True)
class Ready:
    """An opened picture, and what models read of it by their `reads`."""

    picture: Image.Image
    prepared: Mapping[Hashable, Any]

    def of(self, model: Reader) -> Any:
        """What a model reads of the picture."""
        reads = getattr(model, "reads", None)
        return self.prepared[reads] if reads in self.prepared else model.prepare(self.picture)


def ready(picture: Image.Image, models: Iterable[Reader]) -> Ready:
    """A picture with what each of the models reads of it that says so."""
    by_reads = {model.reads: model for model in models if hasattr(model, "reads")}
    return Ready(picture, {reads: model.prepare(picture) for reads, model in by_reads.items()})
