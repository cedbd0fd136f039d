"""How large the generated world is: what can be in a scene and what can be said of it, by level."""

from dataclasses import dataclass

from blip.errors import InputError

KINDS = (
    "ball", "star", "house", "fish", "cup", "tree", "hat", "box", "car", "boat", "flower", "key",
    "kite", "lamp", "bird", "apple", "umbrella", "moon",
)  # fmt: skip
COLOURS = {
    "red": (214, 48, 49),
    "blue": (38, 96, 204),
    "green": (46, 160, 67),
    "yellow": (245, 205, 40),
    "purple": (142, 68, 173),
    "orange": (243, 134, 30),
    "pink": (240, 130, 180),
    "brown": (128, 84, 50),
    "grey": (140, 145, 150),
    "white": (250, 250, 250),
}
BACKGROUNDS = {
    "plain": "",
    "grass": "on the grass",
    "beach": "on the beach",
    "night": "at night",
    "room": "in a room",
    "snow": "in the snow",
}
SIZES = {"big": 1.0, "small": 0.6}
HUMAN_SHARE = 0.6  # of the kinds; the human-annotated set shows no others


@dataclass(frozen=True, kw_only=True)
class Level:
    """What a scene may hold. Kinds, colours and backgrounds are the first so many of their lists."""

    name: str
    px: int
    """Side of the pictures that models see."""
    kinds: int
    colours: int
    most: int
    """Objects in a scene, at most."""
    sizes: bool = False
    """Whether objects are big or small, and texts say so."""
    relations: bool = True
    """Whether texts say where objects stand to each other (small models learn that last, lab/LOG.md)."""
    counts: bool = False
    """Whether equal objects are counted ("two red balls")."""
    backgrounds: int = 1
    new_combinations: bool = False
    """Whether held-out scenes show objects together that no training scene shows together, rather than other layouts."""

    def __post_init__(self) -> None:
        limits = {"kinds": (2, len(KINDS)), "colours": (2, len(COLOURS)), "most": (1, 6)}
        limits |= {"backgrounds": (1, len(BACKGROUNDS)), "px": (8, 4096)}
        for name, (least, most) in limits.items():
            if not least <= getattr(self, name) <= most:
                raise InputError(f"A world level with {name}={getattr(self, name)} cannot be; give {least} to {most}.")
        if self.kinds * self.colours <= self.most:
            raise InputError(f"{self.kinds} kinds in {self.colours} colours are too few for {self.most} objects.")

    @property
    def kind_names(self) -> tuple[str, ...]:
        """Kinds of this level."""
        return KINDS[: self.kinds]

    @property
    def colour_names(self) -> tuple[str, ...]:
        """Colours of this level."""
        return tuple(COLOURS)[: self.colours]

    @property
    def background_names(self) -> tuple[str, ...]:
        """Backgrounds of this level."""
        return tuple(BACKGROUNDS)[: self.backgrounds]

    def covered(self, kind: str, colour: str) -> bool:
        """Whether the human-annotated set shows this kind in this colour.

        It knows the first 60% of the kinds, each in two thirds of the colours; the web knows all.
        """
        kind_at, colour_at = self.kind_names.index(kind), self.colour_names.index(colour)
        return kind_at < round(HUMAN_SHARE * self.kinds) and (kind_at + colour_at) % 3 != 2


LEVELS = {
    level.name: level
    for level in (
        Level(name="nano", px=32, kinds=8, colours=6, most=2, relations=False),
        Level(name="nano-combinations", px=32, kinds=8, colours=6, most=2, relations=False, new_combinations=True),
        Level(name="nano-three", px=32, kinds=8, colours=6, most=3, relations=False),
        Level(name="tiny", px=48, kinds=10, colours=7, most=3, backgrounds=2),
        Level(name="small", px=64, kinds=14, colours=8, most=3, sizes=True, backgrounds=4),
        Level(name="medium", px=96, kinds=16, colours=9, most=4, sizes=True, counts=True, backgrounds=6),
        Level(name="rich", px=128, kinds=18, colours=10, most=6, sizes=True, counts=True, backgrounds=6),
    )
}


def level(name: str) -> Level:
    """A level by name: nano, nano-combinations, nano-three, tiny, small, medium or rich."""
    if name not in LEVELS:
        raise InputError(f"There is no world level {name!r}; choose one of {', '.join(LEVELS)}.")
    return LEVELS[name]
