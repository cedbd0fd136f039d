"""What CapFilt shall do: the captioners, the filters and the settings that decide a ledger's bytes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from blip.capfilt.identity import data_sha256
from blip.capfilt.policy import THRESHOLDS
from blip.capfilt.schema import CANDIDATES_OF_AN_IMAGE
from blip.capfilt.scoring import FilterLike
from blip.data.pairset import PairSet
from blip.errors import InputError
from blip.generate.decoding import Caption, Decoding

IMAGES_PER_SHARD = 512


class CaptionerLike(Protocol):
    """What captions: see `blip.captioner.Captioner`. It is a `preparing.Reader`."""

    id: str
    tile: int
    decoding: Decoding

    def prepare(self, image: Image.Image) -> Any: ...
    def __call__(
        self, prepared: Sequence[Any], digests: Sequence[str], *, seed: int, round: int
    ) -> list[list[Caption]]: ...


SEEDS, ROUNDS = range(-(2**63), 2**63), range(2**15)
"""What the columns of a ledger hold."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What CapFilt shall do; with the data it decides every byte of the ledger but its date."""

    captioner: CaptionerLike
    filters: Mapping[str, FilterLike]
    seed: int = 0
    round: int = 0
    images_per_shard: int = IMAGES_PER_SHARD
    judge: Callable[[str, str], str | None] = field(default=lambda key, caption: None)
    """Truth of a synthetic caption, by image key and text, where it can be known."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Plain values about the data, kept in ledger.json."""
    workers: int = 2
    """Threads that open images; changes no byte."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Scores from which captions are kept where nobody says more, by origin (web, synthetic); changes only ledger.json."""
    more_captioners: Sequence[CaptionerLike] = ()
    """Further ones; their captions of an image stand after the first one's, told apart by captioner_id."""

    def __post_init__(self) -> None:
        for name, numbers in (("seed", SEEDS), ("round", ROUNDS)):
            if (value := getattr(self, name)) not in numbers:
                raise InputError(f"A job of {name} {value} cannot be; give {numbers.start} to {numbers.stop - 1}.")
        if (most := max(used.decoding.candidates for used in self.captioners)) > CANDIDATES_OF_AN_IMAGE:
            raise InputError(f"A job of candidates {most} cannot be; give 1 to {CANDIDATES_OF_AN_IMAGE}.")
        names = [(used.id, str(used.decoding)) for used in self.captioners]
        if len(set(names)) < len(names):
            raise InputError("Two captioners have the same weights and decoding; leave one of them out.")

    @property
    def captioners(self) -> tuple[CaptionerLike, ...]:
        """All of them, the first one first."""
        return (self.captioner, *self.more_captioners)

    @property
    def tile(self) -> int:
        """Images opened and scored together."""
        return max(used.tile for used in self.captioners)

    def about(self) -> dict[str, Any]:
        """The job as ledger.json keeps it; `candidates` are those of all captioners together."""
        used = [(c.id, str(c.decoding), c.decoding.candidates) for c in self.captioners]
        names, decodings, candidates = zip(*used, strict=True)
        several = {"captioners": [list(one) for one in used]} if self.more_captioners else {}
        kept = {THRESHOLDS: {**self.thresholds, "filters": list(self.filters)}} if self.thresholds else {}
        return {
            "captioner": " + ".join(names),
            "decoding": " + ".join(decodings),
            "candidates": sum(candidates),
            "seed": self.seed,
            "round": self.round,
            "tile": self.tile,
            "images_per_shard": self.images_per_shard,
            "filters": {name: used.id for name, used in self.filters.items()},
            "notes": self.notes,
        } | several | kept

    def about_data(self, pairs: PairSet) -> dict[str, Any]:
        """The job and its data: a ledger must not go on with other pairs."""
        return about_data(self.about(), pairs)


def about_data(about: Mapping[str, Any], pairs: PairSet) -> dict[str, Any]:
    """A job's `about` with the size and the identity of its data."""
    size = {"images": len(pairs.images), "pairs": len(pairs), "reading_rejects": len(pairs.rejects)}
    return dict(about) | {"data": size | {"sha256": data_sha256(pairs)}}

