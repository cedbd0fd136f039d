"""`lab world`: look at the generated world, and take its pairs along as webdataset tars."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from blip.data.writers import Record, write_tars
from blip.errors import InputError
from lab.figures import save
from lab.progress import images_bar
from lab.world.draw import check_style
from lab.world.figures import sheet, tile
from lab.world.sets import World, WorldPair, as_pairs

MOST_ON_A_SHEET = 400


@dataclass(frozen=True, kw_only=True)
class Options:
    """Draw noisy web pairs of the generated world on one sheet, with noise kind and truth."""

    level: str = "nano"
    """What can be in a scene: nano, tiny, small, medium or rich."""
    out: Path = Path("runs/world.png")
    """The sheet, a PNG."""
    count: int = 24
    """Pairs on the sheet."""
    style: str = "flat"
    """flat, the world's own style, or sketch, which stands for the zero-shot transfer set."""
    noise: float = 0.4
    """Share of the web texts that are noise."""
    seed: int = 0
    """Of the world: another seed has other scenes and texts."""
    pairs: int | None = None
    """Write so many pairs as well, at the size that models of this level see; needs --tars."""
    tars: Path | None = None
    """Folder for the pairs, 1,000 a tar: picture, text, and what is known of it (truth, noise kind)."""


def main(options: Options) -> int:
    """Draw the sheet, and write the tars where they are asked for."""
    _check(options)
    world = World.of(options.level, options.seed)
    items = _items(options, world, max(options.count, options.pairs or 0))
    title = f"The generated world's web, level {options.level}: {options.noise:.0%} of the texts are noise"
    figure = sheet([tile(item) for item in items[: options.count]], title)
    print(f"sheet: {save(figure, options.out)}")
    if options.pairs is not None and options.tars is not None:
        px = world.level.px
        written = write_tars(_records(options, items[: options.pairs], px), options.tars)
        print(f"pairs: {written.pairs:,} of {px} pixels in {len(written.paths)} tars: {options.tars}")
    return 0


def _check(options: Options) -> None:
    check_style(options.style)
    if not 1 <= options.count <= MOST_ON_A_SHEET:
        raise InputError(f"--count {options.count} cannot be; give 1 to {MOST_ON_A_SHEET} pairs a sheet.")
    if options.out.suffix.lower() != ".png":
        raise InputError(f"--out {options.out} must end in .png: the sheet is a PNG.")
    if (options.pairs is None) != (options.tars is None):
        raise InputError("--pairs and --tars go together: how many pairs, and the folder for them.")
    if options.pairs is not None and options.pairs < 1:
        raise InputError(f"--pairs {options.pairs} cannot be; give 1 or more.")


def _items(options: Options, world: World, count: int) -> list[WorldPair]:
    return [replace(item, style=options.style) for item in world.web(count, options.noise)]


def _records(options: Options, items: list[WorldPair], px: int) -> Iterator[Record]:
    known = {"level": options.level, "style": options.style, "world_seed": options.seed}
    with images_bar(len(items), "write") as show:
        for pair in as_pairs(items, px):
            yield pair, known
            show(1)
