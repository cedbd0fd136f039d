"""The sets of the generated world: web pairs, human-annotated pairs, held-out pairs by domain.

An item depends on (world seed, set, index) alone, never on how many are asked for. Held-out scenes
differ from all training scenes by construction: a hash of the layout sends each scene to one side.
They are new pictures, not new combinations: where texts say nothing of places (nano) the same things
occur together in training too, in other places, and what is true of them has been read. At a level of
new combinations (nano-combinations) the hash is of what is shown together, wherever it stands: no
training scene shows those things together, though a false text may name them. A single object is no
combination and is held out in places, as elsewhere.
"""

import hashlib
import math
import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from blip.data.pairs import Origin, Pair
from blip.errors import InputError
from lab.world import noise as noises
from lab.world.checker import check, meaning
from lab.world.draw import check_style, draw
from lab.world.language import captions
from lab.world.levels import Level
from lab.world.levels import level as named_level
from lab.world.scene import Scene, compose

DOMAINS = ("in", "near", "out", "all")
HELD_OUT_SHARE = 0.1  # of all layouts
HELD_OUT_COMBINATIONS = 0.3  # of all combinations: enough that each kind stands beside itself in some of them
_TRIES = 10_000


@dataclass(frozen=True)
class WorldPair:
    """A scene with a text, and what is known of it."""

    key: str
    scene: Scene
    caption: str
    origin: Origin
    truth: str
    noise_kind: str
    references: tuple[str, ...] = field(default=(), compare=False)
    """Other true captions of the scene, where they were asked for."""
    style: str = "flat"

    def image(self, px: int) -> np.ndarray:
        """The picture (px, px, 3) uint8."""
        return draw(self.scene, px, self.style)

    @property
    def meaning(self) -> Hashable:
        """What the caption says, equal for paraphrases; knows nothing of the scene."""
        return meaning(self.caption)


@dataclass(frozen=True)
class World:
    """A generated world of a level, wholly decided by its seed."""

    level: Level
    seed: int = 0

    @classmethod
    def of(cls, level: str, seed: int = 0) -> "World":
        """A world by its level's name: nano, nano-combinations, nano-three, tiny, small, medium or rich."""
        return cls(named_level(level), seed)

    def web(
        self, count: int, noise: float = 0.4, mix: Mapping[str, float] = noises.MIX, start: int = 0
    ) -> list[WorldPair]:
        """Noisy web pairs: a share `noise` of the texts is noise, of kinds in proportion to `mix`."""
        _check_number("pairs", count, least=0)
        _check_number("start", start, least=0)
        if not 0 <= noise <= 1:
            raise InputError(f"A noise rate of {noise} cannot be; give 0 to 1.")
        weights = _weights(mix)
        return [self._web_pair(i, noise, weights) for i in range(start, start + count)]

    def human(self, count: int, captions_each: int = 1, start: int = 0) -> list[WorldPair]:
        """Human-annotated pairs: full true captions of scenes that show only what people covered.

        `start` counts scenes; a scene that can be said in fewer ways gives fewer captions.
        """
        _check_number("pairs", count, least=0)
        _check_number("captions_each", captions_each, least=1)
        _check_number("start", start, least=0)
        pairs: list[WorldPair] = []
        i = start
        while len(pairs) < count:
            rng = self._rng("human", i)
            scene = self._scene(rng, lambda s: self.domain(s) == "in" and not held_out(s, self.level))
            for text in captions(scene, self.level, rng, captions_each):
                pairs.append(WorldPair(f"human-{i:07d}", scene, text, "human", "true", noises.CLEAN))
            i += 1
        return pairs[:count]

    def evaluation(
        self, count: int, domain: str = "all", style: str = "flat", references: int = 5
    ) -> list[WorldPair]:
        """Held-out scenes with true captions; in, near or out of the human-annotated domain, or all."""
        if domain not in DOMAINS:
            raise InputError(f"There is no domain {domain!r}; choose one of {', '.join(DOMAINS)}.")
        check_style(style)
        _check_number("pairs", count, least=0)
        _check_number("references", references, least=1)
        return [self._held_out_pair(i, domain, style, references) for i in range(count)]

    def domain(self, scene: Scene) -> str:
        """in: people covered everything shown; out: nothing of it; near: some."""
        known = [self.level.covered(t.kind, t.colour) for t in scene.things]
        return "in" if all(known) else "near" if any(known) else "out"

    def _web_pair(self, i: int, noise: float, weights: Sequence[float]) -> WorldPair:
        rng = self._rng("web", i)
        scene = self._scene(rng, lambda s: not held_out(s, self.level))
        noisy = rng.random() < noise
        kind = rng.choices(list(noises.KINDS), weights)[0] if noisy else noises.CLEAN
        write = noises.KINDS[kind] if noisy else noises.clean
        text = write(scene, self.level, rng)
        return WorldPair(f"web-{i:07d}", scene, text, "web", check(text, scene).truth, kind)

    def _held_out_pair(self, i: int, domain: str, style: str, references: int) -> WorldPair:
        rng = self._rng(f"evaluation/{domain}", i)
        scene = self._scene(rng, lambda s: domain in ("all", self.domain(s)) and held_out(s, self.level))
        said = captions(scene, self.level, rng, references)
        pair = WorldPair(f"{domain}-{i:06d}", scene, said[0], "human", "true", noises.CLEAN, said, style)
        return replace(pair, key=f"{style}-{pair.key}")

    def _scene(self, rng: random.Random, wanted: Callable[[Scene], bool]) -> Scene:
        for _ in range(_TRIES):
            scene = compose(self.level, rng)
            if wanted(scene):
                return scene
        raise InputError(f"The level {self.level.name} has no such scenes; choose a larger one.")

    def _rng(self, name: str, index: int) -> random.Random:
        return random.Random(f"{self.level.name}/{self.seed}/{name}/{index}")


def _weights(mix: Mapping[str, float]) -> list[float]:
    """The weight of each noise kind, in their own order, so that the order of the mix does not matter."""
    if unknown := sorted(set(mix) - set(noises.KINDS)):
        raise InputError(f"There is no noise {unknown[0]!r}; choose from {', '.join(noises.KINDS)}.")
    weights = [mix.get(kind, 0.0) for kind in noises.KINDS]
    if not all(0 <= weight < math.inf for weight in weights) or not sum(weights):
        raise InputError("The mix of noise needs weights of 0 or more, at least one of them above 0.")
    return weights


def _check_number(name: str, value: int, *, least: int) -> None:
    if value < least:
        raise InputError(f"{name} = {value} cannot be; give {least} or more.")


def held_out(scene: Scene, level: Level) -> bool:
    """Whether a scene belongs to evaluation: decided by its layout, so jitter does not matter.

    At a level of new combinations scenes of several objects are sent by what they show, wherever it stands.
    """
    looks = tuple(sorted(thing.look for thing in scene.things))
    if level.new_combinations and len(looks) > 1:
        return _falls(looks, HELD_OUT_COMBINATIONS)
    return _falls(scene.layout(), HELD_OUT_SHARE)


def _falls(what: tuple, share: float) -> bool:
    digest = hashlib.blake2b(repr(what).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") < share * 2**32


def as_pairs(items: Iterable[WorldPair], px: int) -> Iterator[Pair]:
    """World pairs as the pairs every tool reads, drawn at px."""
    for item in items:
        yield Pair(item.key, item.caption, item.image(px), item.origin, item.truth, item.noise_kind)
