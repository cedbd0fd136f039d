"""Short clips in which things appear, move, change their colour and leave (video retrieval and QA, paper 5.6).

A clip has two acts, each a scene of its own on one background, or in a few clips a single act. A caption names
things of both acts, so one frame is not enough to know what a clip shows. Captions and questions are true of a
clip whatever the order of its frames; `clip_order` asks for the order.
"""

import random
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lab.world.checker import check, meaning
from lab.world.draw import draw
from lab.world.language import Mention
from lab.world.levels import BACKGROUNDS, Level
from lab.world.questions import Query, answers, ask, forms
from lab.world.scene import Scene, Thing, compose
from lab.world.sets import World
from lab.world.splits import Source, sources

FRAMES = 32
LEAST = 5
"""Frames in which a thing is seen in a colour, at least: some of 8 that are sampled uniformly show it."""
_ONE_ACT = 0.12  # of the clips show all their things together at some time
_MOVES, _CHANGES = 0.5, 0.3  # of the things, where there is room and time
_FROM_EDGE = 0.5  # of the things are there when their act begins, and as many when it ends
_SLIDES = (-0.5, -0.4, -0.3, 0.3, 0.4, 0.5)
_TEXTS = ("{}", "there is {}", "here is {}", "we see {}")
Box = tuple[float, float, float, float]
_TIMELESS = ("colour", "thing", "exists", "size", "background")


@dataclass(frozen=True)
class Track:
    """A thing in frames [first, last): it slides by (dx, dy), and from frame `turn` on it has `colour`."""

    thing: Thing
    first: int
    last: int
    slide: tuple[float, float] = (0.0, 0.0)
    turn: int = FRAMES
    colour: str = ""

    def at(self, frame: int) -> Thing | None:
        """The thing in a frame, if it is there."""
        if not self.first <= frame < self.last:
            return None
        share = (frame - self.first) / max(1, self.last - 1 - self.first)
        x, y = (round(v + share * d, 4) for v, d in zip((self.thing.x, self.thing.y), self.slide, strict=True))
        colour = self.colour if frame >= self.turn else self.thing.colour
        return replace(self.thing, x=x, y=y, colour=colour)


@dataclass(frozen=True)
class Clip:
    """A scene for each frame."""

    scenes: tuple[Scene, ...]

    def frames(self, px: int, style: str = "flat") -> np.ndarray:
        """The frames (T, px, px, 3) uint8."""
        drawn = {scene: draw(scene, px, style) for scene in dict.fromkeys(self.scenes)}
        return np.stack([drawn[scene] for scene in self.scenes])

    def reversed(self) -> "Clip":
        """The same frames, the last one first."""
        return Clip(self.scenes[::-1])

    def shown(self) -> Scene:
        """All looks that are ever seen, each once, where it was first: what captions and questions speak of."""
        looks = {thing.look: thing for scene in reversed(self.scenes) for thing in scene.things}
        return Scene(self.scenes[0].background, tuple(looks.values()))


@dataclass(frozen=True)
class CaptionedClip:
    """A clip and a caption: each thing that it names is seen in some of the frames."""

    key: str
    clip: Clip
    caption: str

    @property
    def meaning(self) -> Hashable:
        """What the caption says, equal for paraphrases."""
        return meaning(self.caption)


@dataclass(frozen=True)
class ClipQuestion:
    """A question about a clip and its one answer."""

    key: str
    clip: Clip
    query: Query
    text: str
    answer: str


def captioned_clips(world: World, count: int, split: str = "train", start: int = 0) -> list[CaptionedClip]:
    """Clips with captions (indices from `start`); the scene of each act is on the split's side."""
    found = []
    for i, source in sources(world, "clips", split, count, start):
        acts = random_acts(source)
        caption = _caption(acts, source)
        found.append(CaptionedClip(f"{split}-{i:06d}", staged(acts), caption))
    return found


def clip_questions(world: World, count: int, split: str = "train", start: int = 0) -> list[ClipQuestion]:
    """One question of each form that suits, for `count` clips; answers as in `questions.answer_list`.

    Of an even number of clips, half the "is there" are answered yes.
    """
    found = []
    for i, source in sources(world, "clip questions", split, count, start):
        clip = staged(random_acts(source))
        shown = clip.shown()
        for form in forms(world.level):
            query = ask(form, shown, world.level, source.rng, yes=i % 2 == 0) if form in _TIMELESS else None
            if query:
                (answer,) = answers(query, shown)
                key = f"{split}-{i:06d}-{form}"
                found.append(ClipQuestion(key, clip, query, query.words(source.rng), answer))
    return found


def all_in_one(pair: CaptionedClip) -> bool:
    """Whether a single frame shows all that the caption names."""
    return any(check(pair.caption, scene).truth == "true" for scene in pair.clip.scenes)


@dataclass(frozen=True)
class Act:
    """A background and the tracks of the things before it."""

    background: str
    tracks: tuple[Track, ...]


def staged(acts: tuple[Act, ...]) -> Clip:
    """The clip of some acts, which all have one background."""
    tracks = [track for act in acts for track in act.tracks]
    there = ([track.at(frame) for track in tracks] for frame in range(FRAMES))
    return Clip(tuple(Scene(acts[0].background, tuple(thing for thing in things if thing)) for things in there))


def random_acts(source: Source) -> tuple[Act, ...]:
    """The acts of a random clip: two, whose things have nothing in common, or one of several things."""
    rng = source.rng
    if source.level.most > 1 and rng.random() < _ONE_ACT:
        scene = source.scene(lambda: _scene(source, least=2))
        return (_act(scene, 0, FRAMES, source, _kinds(scene)),)
    first = source.scene(lambda: _scene(source, least=1))
    second = source.scene(lambda: _second(source, first))
    cut = rng.randint(2 * FRAMES // 5, 3 * FRAMES // 5)
    taken = _kinds(first) | _kinds(second)
    return _act(first, 0, cut, source, taken), _act(second, cut, FRAMES, source, taken)


def _second(source: Source, first: Scene) -> Scene | None:
    """A scene of other things on the same background."""
    scene = _scene(source, least=1)
    if scene is None or _kinds(scene) & _kinds(first):
        return None
    return replace(scene, background=first.background)


def _scene(source: Source, least: int) -> Scene | None:
    """A random scene of so many things or more, no two of them of one kind and colour."""
    scene = compose(source.level, source.rng)
    return scene if len(scene.things) >= least and len(_kinds(scene)) == len(scene.things) else None


def _kinds(scene: Scene) -> set[tuple[str, str]]:
    return {(thing.kind, thing.colour) for thing in scene.things}


def _act(scene: Scene, start: int, end: int, source: Source, taken: set[tuple[str, str]]) -> Act:
    """Every thing comes, stays for a time, and goes; halfway through an act all of them are there."""
    rng, tracks, middle = source.rng, [Track(thing, start, end) for thing in scene.things], (start + end) // 2
    for i, track in enumerate(tracks):
        first = start if rng.random() < _FROM_EDGE else rng.randint(start, middle - LEAST // 2 - 1)
        last = end if rng.random() < _FROM_EDGE else rng.randint(max(middle + 1, first + LEAST), end)
        tracks[i] = Track(track.thing, first, last)
        if rng.random() < _MOVES:
            tracks[i] = replace(tracks[i], slide=random_slide(track.thing, tracks[:i] + tracks[i + 1 :], rng))
        if rng.random() < _CHANGES:
            tracks[i] = _changed(tracks[i], source.level, taken, rng)
    return Act(scene.background, tuple(tracks))


def random_slide(thing: Thing, others: Sequence[Track], rng: random.Random) -> tuple[float, float]:
    """A way (dx, dy) within the picture that crosses none of the others' ways; (0, 0) where none is free."""
    ways = [(d, 0.0) for d in _SLIDES] + [(0.0, d) for d in _SLIDES]
    taken = [_swept(track.thing, track.slide) for track in others]
    boxes = {way: _swept(thing, way) for way in ways}
    free = [way for way, box in boxes.items() if _inside(box) and not any(_meet(box, other) for other in taken)]
    return rng.choice(free) if free else (0.0, 0.0)


def _swept(thing: Thing, way: tuple[float, float]) -> Box:
    """The rectangle that a thing touches on its way."""
    (x0, x1), (y0, y1) = (sorted((v, v + d)) for v, d in zip((thing.x, thing.y), way, strict=True))
    return x0 - thing.half, y0 - thing.half, x1 + thing.half, y1 + thing.half


def _inside(box: Box) -> bool:
    return min(box) >= 0 and max(box) <= 1


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _changed(track: Track, level: Level, taken: set[tuple[str, str]], rng: random.Random) -> Track:
    """The thing in another colour from some frame on, where there is time; `taken` grows by the new look."""
    free = [name for name in level.colour_names if (track.thing.kind, name) not in taken]
    if track.last - track.first < 2 * LEAST or not free:
        return track
    colour = rng.choice(free)
    taken.add((track.thing.kind, colour))
    return replace(track, turn=rng.randint(track.first + LEAST, track.last - LEAST), colour=colour)


def _looks(track: Track) -> Iterator[Thing]:
    yield track.thing
    if track.colour:
        yield replace(track.thing, colour=track.colour)


def _caption(acts: tuple[Act, ...], source: Source) -> str:
    """Names one thing of each act (two of a single act) in one of its colours, now and then another one."""
    rng, level = source.rng, source.level
    every = [rng.sample(act.tracks, len(act.tracks)) for act in acts]
    named = [tracks.pop() for tracks in every] + ([every[0].pop()] if len(acts) == 1 else [])
    left = [track for tracks in every for track in tracks]
    named += rng.sample(left, min(len(left), rng.randint(0, 1)))
    rng.shuffle(named)
    things = [rng.choice(list(_looks(track))) for track in named]
    said = (Mention(t.kind, t.colour, t.size if level.sizes else None).words() for t in things)
    text = rng.choice(_TEXTS).format(" and ".join(said))
    where = BACKGROUNDS[acts[0].background]
    return f"{text} {where}" if where and rng.random() < 0.5 else text
