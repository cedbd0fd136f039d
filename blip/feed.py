"""From loaded pairs to what a task reads: texts as tokens, and ids that say what is no negative."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from torch import Tensor

from blip.distributed import first_row
from blip.tasks.batch import PairBatch, TaskBatch
from blip.tokenizer import Tokenizer

_KNOWN = 2**16
"""Texts whose ids are kept: tens of megabytes, by their length."""


class LoadedBatch(Protocol):
    """Images (B, 3, H, W) float, captions, keys, and two ids a pair (B,) int64: of its text and of its image."""

    @property
    def images(self) -> Tensor: ...
    @property
    def captions(self) -> list[str]: ...
    @property
    def pair_ids(self) -> Tensor: ...
    @property
    def image_ids(self) -> Tensor: ...
    @property
    def keys(self) -> list[str]: ...


_Loaded_co = TypeVar("_Loaded_co", covariant=True)


class Loader(Protocol[_Loaded_co]):
    """An endless source of loaded batches whose position can be saved and set."""

    def stream(self) -> Iterator[_Loaded_co]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class PairFeed:
    """Batches for the training loop: endless, exactly resumable.

    prompt: words that begin every caption (captioning fine-tuning). by_image: pairs of one image
    are no negatives of each other (retrieval fine-tuning); else pairs of one text are not.
    """

    def __init__(
        self,
        loader: Loader[LoadedBatch],
        tokenizer: Tokenizer,
        *,
        prompt: str = "",
        by_image: bool = False,
        max_length: int = 30,
    ) -> None:
        self.loader, self.tokenizer, self.by_image = loader, tokenizer, by_image
        # Texts come again every epoch, and to take them apart is most of what a GPU would wait for.
        self._ids = lru_cache(_KNOWN)(lambda text: tokenizer.ids(prompt + text, max_length))
        self.step = 0
        self._batches: Iterator[LoadedBatch] | None = None

    def __next__(self) -> PairBatch:
        if self._batches is None:
            self._batches = self.loader.stream()
        batch = next(self._batches)
        tokens = self.tokenizer.padded([self._ids(text) for text in batch.captions], "CLS")
        ids = batch.image_ids if self.by_image else batch.pair_ids
        self.step += 1
        first = first_row(len(ids))
        return PairBatch(batch.images, tokens, ids, step=self.step - 1, first_row=first, keys=tuple(batch.keys))

    def state_dict(self) -> dict[str, Any]:
        """The position: the number of batches served and the loader's own state."""
        return {"step": self.step, "loader": self.loader.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batch that `state_dict` was taken behind."""
        self.step = state["step"]
        self.loader.load_state_dict(state["loader"])
        self._batches = None


class BuiltFeed:
    """Batches that a task builds from what was loaded: endless, exactly resumable as `PairFeed`.

    build: a function of a loaded batch and the number of batches served before it, and of nothing else, so that
    a run that goes on sees what it would have seen.
    """

    def __init__(self, loader: Loader[Any], build: Callable[[Any, int], TaskBatch]) -> None:
        self.loader, self.build = loader, build
        self.step = 0
        self._batches: Iterator[Any] | None = None

    def __next__(self) -> TaskBatch:
        if self._batches is None:
            self._batches = self.loader.stream()
        batch = self.build(next(self._batches), self.step)
        self.step += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The position: the number of batches served and the loader's own state."""
        return {"step": self.step, "loader": self.loader.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batch that `state_dict` was taken behind."""
        self.step = state["step"]
        self.loader.load_state_dict(state["loader"])
        self._batches = None
