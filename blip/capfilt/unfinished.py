"""How far a job has come whose ledger is not finished: it was killed, or goes on."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from blip.data.places import Place

REMEDY = "run the same lab capfilt command to finish it"


@dataclass(frozen=True)
class Unfinished:
    """What is there of a job: a shard is done that is captioned and scored by every filter of the job."""

    folder: str
    images: int
    """Of the shards that are done, also those that could not be opened."""
    of_images: int
    done: frozenset[str]
    """Names of the shards that are done."""
    of_shards: int

    def __str__(self) -> str:
        """One sentence with the remedy."""
        return f"{self.said}; {REMEDY}."

    @property
    def said(self) -> str:
        """How far it has come, in words without a full stop."""
        shards = f"{len(self.done):,} of {self.of_shards:,} shards"
        return f"{self.folder} is unfinished: {self.images:,} of {self.of_images:,} images ({shards})"

    @property
    def numbers(self) -> dict[str, int]:
        """As plain JSON values: images and shards that are done, and all of them."""
        return {
            "images": self.images,
            "of_images": self.of_images,
            "shards": len(self.done),
            "of_shards": self.of_shards,
        }


def shards_of(about: Mapping[str, Any]) -> int | None:
    """How many shards the job of a ledger.json has; None where that does not tell its size."""
    images, each = about.get("data", {}).get("images"), about.get("images_per_shard")
    if type(images) is not int or type(each) is not int or images < 0 or each < 1:
        return None
    return -(-images // each)


def unfinished(
    folder: Place, about: Mapping[str, Any], captioned: AbstractSet[str], scored: Mapping[str, AbstractSet[str]]
) -> Unfinished | None:
    """How far a job has come, by the shards that are captioned and those that each filter scored; None where it is done.

    It is done where every shard is captioned and a filter has scored all of them: another one that comes later, or that a
    killed run has not brought to the end, decides only where somebody names it.
    """
    wanted, own = shards_of(about), set(about.get("filters", {})) - set(about.get("scored", {}))
    if wanted is None:
        return None
    whole = not own or any(captioned <= shards for shards in scored.values())
    if len(captioned) >= wanted and whole:
        return None
    done = frozenset(captioned).intersection(*(scored.get(name, set()) for name in own))
    images, each = about["data"]["images"], about["images_per_shard"]
    last = f"{wanted - 1:05d}" in done  # which may hold fewer images than the others
    count = images - (wanted - len(done)) * each if last else len(done) * each
    return Unfinished(str(folder), count, images, done, wanted)
