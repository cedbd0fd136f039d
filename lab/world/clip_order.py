"""What only the order of frames tells: what comes first, where a thing moves, which colour it turns to.

Each clip has a twin, its own frames from last to first, of which the opposite is true. A method that
averages features over frames, or reads the states of all frames without their times (paper 5.6), gives
a clip and its twin equal scores, so it is right about half of these.
"""

from dataclasses import dataclass, replace

from lab.world.clips import FRAMES, LEAST, Act, Clip, Track, random_slide, staged
from lab.world.language import Mention
from lab.world.levels import Level
from lab.world.scene import APART, INVERSE, RELATIONS, Scene, Thing, compose
from lab.world.sets import World
from lab.world.splits import Source, sources

DIRECTIONS = {"left": "to the left", "right": "to the right", "above": "up", "below": "down"}


@dataclass(frozen=True)
class Event:
    """Something that takes time: `first` comes before `then`, turns into it, or moves (`direction`)."""

    form: str
    first: Mention
    then: Mention | None = None
    direction: str = ""

    def words(self) -> str:
        """The sentence that says so."""
        if self.then is None:
            return f"{self.first.words()} moves {DIRECTIONS[self.direction]}"
        if self.form == "turns":
            return f"{Mention(self.first.kind).words()} turns from {self.first.colour} to {self.then.colour}"
        return f"{self.first.words()} appears before {self.then.words()}"

    def opposite(self) -> "Event":
        """What the same frames from last to first show."""
        if self.then is None:
            return replace(self, direction=INVERSE[self.direction])
        return replace(self, first=self.then, then=self.first)


@dataclass(frozen=True)
class OrderQuery:
    """A clip, what happens in it, and its twin, in which the opposite happens."""

    key: str
    clip: Clip
    event: Event

    @property
    def twin(self) -> Clip:
        """The frames from last to first."""
        return self.clip.reversed()

    @property
    def text(self) -> str:
        """True of the clip, false of its twin."""
        return self.event.words()

    @property
    def opposite(self) -> str:
        """True of the twin, false of the clip."""
        return self.event.opposite().words()


def order_queries(world: World, count: int, split: str = "train", start: int = 0) -> list[OrderQuery]:
    """Clips with something that only their order tells (indices from `start`), each form as likely."""
    found = []
    for i, source in sources(world, "clip order", split, count, start):
        clip, event = source.rng.choice((_before, _moves, _turns))(source)
        if source.rng.random() < 0.5:
            clip, event = clip.reversed(), event.opposite()
        found.append(OrderQuery(f"{split}-{i:06d}", clip, event))
    return found


def happens(event: Event, clip: Clip) -> bool:
    """Whether an event takes place in a clip, frame by frame."""
    firsts = _seen(event.first, clip)
    if event.then is None:
        dx, dy = RELATIONS[event.direction]
        a, b = firsts[0][1], firsts[-1][1]
        return dx * (b.x - a.x) + dy * (b.y - a.y) >= APART
    thens = _seen(event.then, clip)
    if event.form == "turns":
        return firsts[-1][0] < thens[0][0]
    return firsts[0][0] < thens[0][0]


def _seen(mention: Mention, clip: Clip) -> list[tuple[int, Thing]]:
    """The frames in which a thing is seen, and the thing in each."""

    def fits(thing: Thing) -> bool:
        return thing.look == (mention.kind, mention.colour, mention.size or thing.size)

    return [(at, t) for at, scene in enumerate(clip.scenes) for t in scene.things if fits(t)]


def _mention(thing: Thing, level: Level) -> Mention:
    return Mention(thing.kind, thing.colour, thing.size if level.sizes else None)


def _before(source: Source) -> tuple[Clip, Event]:
    """One thing, and after it is gone another of another kind."""
    rng = source.rng
    first = source.scene_of(1)

    def build() -> Scene | None:
        scene = compose(source.level, rng)
        same = len(scene.things) > 1 or scene.things[0].kind == first.things[0].kind
        return None if same else replace(scene, background=first.background)

    (one,), (other,) = first.things, source.scene(build).things
    cut = rng.randint(LEAST, FRAMES - 2 * LEAST)
    starts = rng.randint(0, cut - LEAST), rng.randint(cut, FRAMES - LEAST)
    tracks = Track(one, starts[0], cut), Track(other, starts[1], FRAMES)
    event = Event("before", _mention(one, source.level), _mention(other, source.level))
    return staged((Act(first.background, tracks),)), event


def _moves(source: Source) -> tuple[Clip, Event]:
    """One thing slides along a straight way while the others stay."""

    def build() -> Scene | None:
        scene = compose(source.level, source.rng)
        looks = {(thing.kind, thing.colour) for thing in scene.things}
        return scene if len(looks) == len(scene.things) and len(looks) > 1 else None

    while True:
        scene = source.scene(build)
        tracks = [Track(thing, 0, FRAMES) for thing in source.rng.sample(scene.things, len(scene.things))]
        dx, dy = random_slide(tracks[0].thing, tracks[1:], source.rng)
        if dx or dy:
            break
    tracks[0] = replace(tracks[0], slide=(dx, dy))
    direction = ("right" if dx > 0 else "left") if dx else ("below" if dy > 0 else "above")
    event = Event("moves", _mention(tracks[0].thing, source.level), direction=direction)
    return staged((Act(scene.background, tuple(tracks)),)), event


def _turns(source: Source) -> tuple[Clip, Event]:
    """One thing takes another colour."""
    rng = source.rng
    scene = source.scene_of(1)
    (thing,) = scene.things
    colour = rng.choice([name for name in source.level.colour_names if name != thing.colour])
    track = Track(thing, 0, FRAMES, turn=rng.randint(LEAST, FRAMES - LEAST), colour=colour)
    event = Event("turns", Mention(thing.kind, thing.colour), Mention(thing.kind, colour))
    return staged((Act(scene.background, (track,)),)), event
