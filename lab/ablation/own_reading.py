"""Reads your own pairs for an ablation, and refuses what would make its numbers worthless before anything is trained."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from blip.config import named
from blip.data.benchmarks.captions import CaptionedImage
from blip.data.images import BadImage, open_image
from blip.data.pairs import Origin, Pair, image_ref
from blip.data.pairset import PairSet
from blip.errors import InputError
from blip.model import BLIP
from blip.tokenizer import Tokenizer
from lab.ablation.own_pairs import Looked, OwnPairs
from lab.ablation.own_scales import own_recipe
from lab.ablation.start import Start, refuse_other_words
from lab.captioned import unused_line
from lab.pair_prints import image_digests, pairs_print
from lab.reading import Reading
from lab.recipes import Recipe
from lab.stages import READERS
from lab.vocabulary import learnt

_LOOKED_AT = 256  # images of web and human that are opened before anything is trained


@dataclass(frozen=True, kw_only=True)
class Own(Reading):
    """Your own pairs in place of the generated world, all three read alike; --data, --human and --val go together."""

    data: str | None = None
    """Web pairs, noisy, in any form that lab pretrain reads: CapFilt goes over them. Every image of the three is read
    once at the start, and its bytes decide which runs are done already."""
    human: str | None = None
    """Human-annotated pairs: captioner and filter are fine-tuned on them, and pre-training sees them too."""
    val: str | None = None
    """Pairs of other images to measure on, several captions an image or one."""
    val_images: int | None = None
    """How many of them, the first; by default at most 32 at scale smoke, 1,000 at cpu and 5,000 at gpu."""
    vocab: Path | None = None
    """A BERT vocab.txt; by default a WordPiece vocabulary is trained on the captions of --data and --human."""
    vocab_size: int = 4000
    """Tokens of a vocabulary trained on the captions."""
    init_vision: Path | None = None
    """timm or DeiT ViT weights that every new image encoder starts from (the paper does); by default random ones."""
    init_text: Path | None = None
    """BERT weights that every new text transformer starts from (the paper does), with BERT's vocab.txt as --vocab."""
    size: str | None = None
    """Model size: nano, tiny, small, base (B/16) or large (L/16); by default the scale's."""
    image_size: int | None = None
    """Side of the pictures in pixels, in training and measuring; by default the size's own."""
    samples: int | None = None
    """Pairs that each pre-training sees, repeats included; by default the scale's."""

    @property
    def given(self) -> bool:
        """Whether there are own pairs; InputError where only some of them are given."""
        sets = {f"--{name}": getattr(self, name) for name in ("data", "human", "val")}
        missing = [name for name, value in sets.items() if value is None]
        changed = [f"--{one.name.replace('_', '-')}" for one in fields(self) if getattr(self, one.name) != one.default]
        if missing and changed:
            raise InputError(f"Own pairs are --data, --human and --val; with {changed[0]} give {' and '.join(missing)} too.")
        return not missing

    @property
    def begun(self) -> bool:
        """Whether new models begin with weights that are given."""
        return self.init_vision is not None or self.init_text is not None

    @property
    def places(self) -> tuple[str, str, str]:
        """--data, --human and --val; InputError where one of them is missing."""
        if self.data is None or self.human is None or self.val is None:
            raise InputError("Own pairs are --data, --human and --val; give all three.")
        return self.data, self.human, self.val


def told(own: Own, pairs: OwnPairs) -> None:
    """Say on stderr which rows are not used, and where pre-training sees images that are measured on."""
    sets = ((own.data, pairs.web_pairs.rejects), (own.human, pairs.human_pairs.rejects), (own.val, pairs.val_rejects))
    for place, rejects in sets:
        if rejects:
            print(f"not used of {place}: {unused_line(rejects)}", file=sys.stderr)
    if len(pairs.held_out) < pairs.val_images:
        print(
            f"measured on the first {len(pairs.held_out):,} of the {pairs.val_images:,} images of {own.val}; "
            "--val-images says how many.",
            file=sys.stderr,
        )
    for place, looked in zip((own.data, own.human), pairs.looked_at, strict=True):
        if looked.closed:
            print(
                f"{looked.closed} of {looked.images} images of {place} that were looked at cannot be opened, the first is {looked.first}; "
                "in pre-training other pairs take their places.",
                file=sys.stderr,
            )
    if pairs.web_in_val:
        print(
            f"{pairs.web_in_val} images of {own.data} are images of {own.val} too, so that pre-training "
            "sees what is measured on; take them out of one of the two for clean numbers.",
            file=sys.stderr,
        )


def opened(own: Own, scale: str) -> tuple[OwnPairs, Recipe]:
    """The pairs, read and checked, and the recipe of a scale for them.

    InputError where a set is missing or empty, a held-out image has no caption or cannot be opened, or an image of
    the human-annotated pairs is held out too.
    """
    places = own.places
    refuse_other_words(own.init_text, own.vocab)
    web, human, val = _read(own, places[0], "web"), _read(own, places[1], "human"), _read(own, places[2], "human")
    start = Start.of(own.init_vision, own.init_text)
    recipe = own_recipe(scale, web=len(web), human=len(human), size=own.size, samples=own.samples, start=start)
    if own.val_images is not None:
        if own.val_images < 2:
            raise InputError(f"--val-images {own.val_images} cannot be; give 2 or more, since retrieval needs as many.")
        recipe = replace(recipe, evaluation=own.val_images)
    side = own.image_size or named(recipe.size).vision.image_size
    vocabulary = _vocabulary(own, web, human)
    config = recipe.model(len(vocabulary), side)  # refuses an image size that cannot be
    if own.begun:
        start.fill(BLIP(config))  # refuses weights of another size or vocabulary before anything is trained
    held_out = _held_out(places[2], val, recipe.evaluation)
    measured = val.first(len(held_out))
    seen, shown, kept = (image_digests(pairs.images, place) for pairs, place in zip((web, human, measured), places, strict=True))
    known = set(kept) - {""}
    _refuse_leak(own, human, shown, known)
    closed = tuple(_closed(pairs, place) for pairs, place in zip((web, human), places[:2], strict=True))
    prints = {"web": pairs_print(web, seen), "human": pairs_print(human, shown), "val": pairs_print(measured, kept)}
    found = OwnPairs(
        web, human, held_out, vocabulary, side, prints, sum(digest in known for digest in seen), start, tuple(val.rejects),
        val_images=len(val.images), looked_at=closed,
    )
    return found, recipe


def _read(own: Reading, place: str, origin: Origin) -> PairSet:
    pairs = own.read(place, origin)
    if not len(pairs):
        raise InputError(f"{place} has no image with a caption that can be used: {unused_line(pairs.rejects)}; mend it, or say with --image-root where its paths start.")
    return pairs


def _vocabulary(own: Own, web: PairSet, human: PairSet) -> Tokenizer:
    if own.vocab is not None:
        return Tokenizer.from_vocab(own.vocab)
    return learnt((web, human), own.vocab_size)


def _held_out(place: str, val: PairSet, count: int) -> tuple[CaptionedImage, ...]:
    """The first `count` images with their captions, each of which can be opened."""
    images = val.with_captions(range(min(count, len(val.images))))
    if len(images) < 2:
        raise InputError(f"{place} has one image, and retrieval needs two or more; give more images.")
    for first, own in images:
        if not own:
            raise InputError(f"The image {first.key} of {place} has no caption to measure on; leave it out or caption it.")
        try:
            open_image(first)
        except BadImage as error:
            raise InputError(f"The image {first.key} of {place} cannot be used ({error.reason}); mend it or leave it out.") from None
    return tuple(CaptionedImage(first.key, first.image, tuple(pair.caption for pair in own)) for first, own in images)


def _closed(pairs: PairSet, place: str) -> Looked:
    """Of some images, evenly spread, those that cannot be opened; InputError where none of them can.

    All are opened when they are trained on; hundreds say whether a set is broken before hours are spent.
    """
    rows = np.unique(np.linspace(0, len(pairs.images) - 1, min(len(pairs.images), _LOOKED_AT)).astype(int)).tolist()
    with ThreadPoolExecutor(READERS) as pool:
        reasons = [one for one in pool.map(_why_closed, (pairs.images[row] for row in rows)) if one]
    if len(reasons) == len(rows):
        raise InputError(f"None of {len(rows)} images of {place} can be opened, the first is {reasons[0]}; mend them.")
    return Looked(len(rows), len(reasons), reasons[0] if reasons else "")


def _why_closed(pair: Pair) -> str:
    try:
        open_image(pair)
    except BadImage as error:
        return f"{image_ref(pair) or pair.key} ({error.reason})"
    return ""


def _refuse_leak(own: Own, human: PairSet, shown: Sequence[str], known: set[str]) -> None:
    """InputError where models would be measured on images that captioner and filter were tuned on."""
    both = [row for row, digest in enumerate(shown) if digest in known]
    if both:
        first = human.images[both[0]].key
        raise InputError(
            f"{len(both)} of the {len(shown)} images of {own.human} are images of {own.val} too, the first is {first}: "
            "take them out of one of the two."
        )
