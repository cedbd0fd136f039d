"""Where the pairs of bootstrapping come from, and what models trained on them are worth.

The generated world is one ground; a user's own pairs are another (`lab.ablation.own_pairs`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from blip.capfilt import Job, Ledger
from blip.checkpoint import Loaded
from blip.data.loading import Source
from blip.data.pairset import PairSet
from blip.generate import Decoding
from blip.model import BLIP
from blip.tokenizer import Tokenizer
from lab.ablation import protocol
from lab.bootstrap import strictly_true, world_job
from lab.evaluate import bootstrap_quality, captions_of, with_room
from lab.recipes import Recipe
from lab.report import summarize
from lab.sources import array_source, tokenizer_of
from lab.world.checker import check
from lab.world.levels import level
from lab.world.sets import World, WorldPair, as_pairs

Judge = Callable[[str, str], str | None]
"""Truth of a caption by image key and text; None where it is not known."""
# The web pairs that filters are measured on: the same in every arm, and far behind those of any training.
_UNSEEN: dict[str, Any] = {"start": 10_000_000, "noise": 0.5}


class Ground(Protocol):
    """What bootstrapping asks of its pairs; a pair has a key, a caption and an origin.

    check: InputError where a recipe asks for what cannot be. decides: what of the pairs decides a run, beside the
    recipe. begin: puts into a new model the weights that it begins with. px: side of the training pictures. web and human: the pairs, one a caption. few: so many human pairs,
    to time a step on. images: a pair for each web image, by whose key captions find it again. source: pairs as
    training reads them; crop is the smallest share of a photo that is seen. capfilt: the job over the web, and
    its input. summary: of CapFilt's ledger. judge: of web images, None where truth is not known. captions: of
    the first `count` web images. measured_by: what decides a measurement, beside the models. worth: of captioner
    and filter, by the ground's protocol. evaluated_by and quality: the same of a round of bootstrapping.
    """

    def check(self, recipe: Recipe) -> None: ...
    def decides(self) -> dict[str, Any]: ...
    def begin(self, model: BLIP) -> None: ...
    def px(self, recipe: Recipe) -> int: ...
    def web(self, recipe: Recipe) -> list[Any]: ...
    def human(self, recipe: Recipe) -> list[Any]: ...
    def few(self, recipe: Recipe, count: int) -> list[Any]: ...
    def images(self, web: Sequence[Any]) -> Sequence[Any]: ...
    def tokenizer(self, pairs: Sequence[Any]) -> Tokenizer: ...
    def source(self, pairs: Sequence[Any], recipe: Recipe, crop: float) -> Source: ...
    def capfilt(
        self,
        captioner: Loaded,
        matcher: Loaded,
        web: Sequence[Any],
        recipe: Recipe,
        *,
        decoding: Decoding,
        seed: int,
        round: int,
    ) -> tuple[Job, PairSet]: ...
    def fitting(self, decoding: Decoding, recipe: Recipe) -> Decoding: ...
    def summary(self, ledger: Ledger, web: Sequence[Any]) -> dict[str, Any]: ...
    def judge(self, web: Sequence[Any]) -> Judge | None: ...
    def captions(
        self, captioner: Loaded, web: Sequence[Any], recipe: Recipe, *, count: int, decoding: Decoding
    ) -> list[list[str]]: ...
    def measured_by(self, recipe: Recipe) -> dict[str, Any]: ...
    def worth(self, captioner: Loaded, matcher: Loaded, recipe: Recipe) -> dict[str, Any]: ...
    def evaluated_by(self, recipe: Recipe) -> dict[str, Any]: ...
    def quality(self, captioner: Loaded, matcher: Loaded, recipe: Recipe) -> dict[str, Any]: ...


@dataclass(frozen=True)
class GeneratedWorld:
    """The generated world of a recipe's level, always that of seed 0: its truth is known, its pictures are not cropped."""

    def check(self, recipe: Recipe) -> None:
        """InputError for an unknown level or an impossible noise rate."""
        World.of(recipe.level).web(0, recipe.noise)

    def decides(self) -> dict[str, Any]:
        """Nothing: the recipe says it all."""
        return {}

    def begin(self, model: BLIP) -> None:
        """Random weights, as they are."""

    def px(self, recipe: Recipe) -> int:
        """The level's."""
        return level(recipe.level).px

    def web(self, recipe: Recipe) -> list[WorldPair]:
        """Noisy web pairs, one an image."""
        return World.of(recipe.level).web(recipe.web, recipe.noise)

    def human(self, recipe: Recipe) -> list[WorldPair]:
        """Human-annotated pairs, two a scene."""
        return World.of(recipe.level).human(recipe.human, captions_each=2)

    def few(self, recipe: Recipe, count: int) -> list[WorldPair]:
        """Human-annotated pairs, one a scene."""
        return World.of(recipe.level).human(count)

    def images(self, web: Sequence[WorldPair]) -> Sequence[WorldPair]:
        """The web pairs themselves: each is an image of its own."""
        return web

    def tokenizer(self, pairs: Sequence[WorldPair]) -> Tokenizer:
        """A vocabulary of these pairs: of the web's and the human ones, the same for every arm."""
        return tokenizer_of(pairs)

    def source(self, pairs: Sequence[WorldPair], recipe: Recipe, crop: float) -> Source:
        """The pictures in memory, whole whatever the crop: a cut object would make its caption false."""
        return array_source(pairs, self.px(recipe), recipe.device)

    def capfilt(
        self,
        captioner: Loaded,
        matcher: Loaded,
        web: Sequence[WorldPair],
        recipe: Recipe,
        *,
        decoding: Decoding,
        seed: int,
        round: int,
    ) -> tuple[Job, PairSet]:
        """The job, which judges its captions by the truth, and the web's pictures."""
        drawn = {"level": recipe.level, "noise": recipe.noise, "start": 0}
        job = world_job(
            captioner, matcher, web, drawn, decoding=decoding, seed=seed, round=round, device=recipe.device
        )
        return job, PairSet.of(as_pairs(web, self.px(recipe)))

    def fitting(self, decoding: Decoding, recipe: Recipe) -> Decoding:
        """The decoding with room for the level's texts."""
        return with_room(decoding, recipe.level)

    def summary(self, ledger: Ledger, web: Sequence[WorldPair]) -> dict[str, Any]:
        """Counts, the filter against truth, and the share of synthetic captions that are strictly true."""
        return summarize(ledger) | {"strictly_true_synthetic": strictly_true(ledger, web)}

    def judge(self, web: Sequence[WorldPair]) -> Judge:
        """Truth by the scenes."""
        scenes = {item.key: item.scene for item in web}
        return lambda key, text: check(text, scenes[key]).truth

    def captions(
        self, captioner: Loaded, web: Sequence[WorldPair], recipe: Recipe, *, count: int, decoding: Decoding
    ) -> list[list[str]]:
        """`decoding.candidates` captions of each."""
        return captions_of(captioner, web[:count], self.px(recipe), self.fitting(decoding, recipe))

    def measured_by(self, recipe: Recipe) -> dict[str, Any]:
        """Level and number of the held-out scenes, and the unseen web pairs of the filter."""
        about = {"level": recipe.level, "count": recipe.evaluation, "device": recipe.device}
        return about | {"protocol": protocol.VERSION} | _UNSEEN

    def worth(self, captioner: Loaded, matcher: Loaded, recipe: Recipe) -> dict[str, Any]:
        """Retrieval, captions and filter on held-out scenes and on web pairs that no run has seen."""
        world, device = World.of(recipe.level), recipe.device
        return protocol.worth(captioner, matcher, world, count=recipe.evaluation, device=device, **_UNSEEN)

    def evaluated_by(self, recipe: Recipe) -> dict[str, Any]:
        """Nothing: the recipe says it all."""
        return {}

    def quality(self, captioner: Loaded, matcher: Loaded, recipe: Recipe) -> dict[str, Any]:
        """Captions of held-out scenes, and the filter on web pairs behind those of the recipe."""
        return bootstrap_quality(captioner, matcher, World.of(recipe.level), count=recipe.evaluation, start=recipe.web)


WORLD = GeneratedWorld()
