"""A user's own pairs as the ground of an ablation: web pairs, human-annotated pairs, held-out images; no truth."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from blip.capfilt import Job, Ledger
from blip.captioner import Captioner
from blip.checkpoint import Loaded
from blip.data.benchmarks.captions import CaptionedImage, captions_and_images
from blip.data.images import BadImage, open_image
from blip.data.pairs import Pair, Reject, image_sha256
from blip.data.pairset import PairSet
from blip.data.sources import PhotoSource
from blip.data.text import clean_caption
from blip.data.transforms import train_transform
from blip.errors import InputError
from blip.generate import Decoding
from blip.matching import Matcher
from blip.model import BLIP
from blip.precision import precision
from blip.tasks.retrieval import MAX_TOKENS
from blip.tiles import TILE
from blip.tokenizer import Tokenizer
from lab.ablation.own_scales import LEVEL
from lab.ablation.protocol import SHORTLIST, digits, ranked
from lab.ablation.start import RANDOM, Start
from lab.captioned import Gallery
from lab.downstream import captioning
from lab.downstream.retrieval import chance
from lab.evaluate import GREEDY
from lab.inference import Machine, pixels
from lab.recipes import Recipe
from lab.report import summarize
from lab.stages import READERS

_GPU_TILE = 64  # images that a base-size model on a GPU sees at once


@dataclass(frozen=True)
class Looked:
    """Of some images of a set that were opened before anything was trained: how many cannot be, and the first of them."""

    images: int
    closed: int
    first: str


@dataclass(frozen=True, eq=False)
class OwnPairs:
    """Your own pairs, read and checked (`lab.ablation.own_reading.opened`)."""

    web_pairs: PairSet
    human_pairs: PairSet
    held_out: tuple[CaptionedImage, ...]
    """The images that are measured on, each with its captions."""
    vocabulary: Tokenizer
    side: int
    """Of the pictures that models see, in pixels."""
    prints: dict[str, str]
    """Fingerprints of web, human and val: of captions, keys and image bytes, so that changed data is another run."""
    web_in_val: int
    """Web images that are held-out images too, byte for byte."""
    start: Start = RANDOM
    """What new models begin with."""
    val_rejects: tuple[Reject, ...] = ()
    """Rows of the held-out pairs that could not be used."""
    val_images: int = 0
    """Images of the held-out pairs, of which `held_out` are the first."""
    looked_at: tuple[Looked, ...] = ()
    """What was seen of the images of web and of human."""

    def check(self, recipe: Recipe) -> None:
        """InputError where a recipe asks for other pairs than there are."""
        if (recipe.level, recipe.web, recipe.human) != (LEVEL, len(self.web_pairs), len(self.human_pairs)):
            raise InputError("An arm asks for other pairs than your own; leave it out with --only.")

    def decides(self) -> dict[str, Any]:
        """Fingerprints of the training pairs, the pictures' side, the vocabulary, and the weights of the start."""
        prints = {name: self.prints[name] for name in ("web", "human")}
        pairs = prints | {"px": self.side, "vocabulary": self.vocabulary.fingerprint}
        return {"pairs": pairs} | ({"start": self.start.prints} if self.start.prints else {})

    def begin(self, model: BLIP) -> None:
        """Weights of a ViT and a BERT, where they are given."""
        self.start.fill(model)

    def px(self, recipe: Recipe) -> int:
        """The same for every recipe."""
        return self.side

    def web(self, recipe: Recipe) -> list[Pair]:
        """All of them."""
        return list(self.web_pairs)

    def human(self, recipe: Recipe) -> list[Pair]:
        """All of them."""
        return list(self.human_pairs)

    def few(self, recipe: Recipe, count: int) -> list[Pair]:
        """The first human-annotated pairs."""
        return list(self.human_pairs[:count])

    def images(self, web: Sequence[Pair]) -> list[Pair]:
        """A pair for every web image, those without a usable caption too: they may have a synthetic one."""
        return list(self.web_pairs.images)

    def tokenizer(self, pairs: Sequence[Pair]) -> Tokenizer:
        """One vocabulary for all arms, so that they differ in nothing else."""
        return self.vocabulary

    def source(self, pairs: Sequence[Pair], recipe: Recipe, crop: float) -> PhotoSource:
        """Photos, randomly cropped, flipped and augmented as published; they are opened when they are needed."""
        return PhotoSource(pairs, train_transform(self.side, crop))

    def capfilt(
        self,
        captioner: Loaded,
        matcher: Loaded,
        web: Sequence[Pair],
        recipe: Recipe,
        *,
        decoding: Decoding,
        seed: int,
        round: int,
    ) -> tuple[Job, PairSet]:
        """The job over all web images."""
        tile = TILE if recipe.device == "cpu" else _GPU_TILE
        how: dict[str, Any] = {"device": recipe.device, "dtype": recipe.precision, "tile": tile}
        job = Job(
            captioner=Captioner(captioner, decoding, **how),
            filters={"itm": Matcher(matcher, **how)},
            seed=seed,
            round=round,
            notes={"web": self.prints["web"], "device": recipe.device, "precision": recipe.precision},
            workers=READERS,
        )
        return job, self.web_pairs

    def fitting(self, decoding: Decoding, recipe: Recipe) -> Decoding:
        """As published: it was chosen for photos."""
        return decoding

    def summary(self, ledger: Ledger, web: Sequence[Pair]) -> dict[str, Any]:
        """Counts, and the share of synthetic captions that the filter keeps (paper Table 2: 1 - noise ratio)."""
        counts = summarize(ledger)
        kept, filtered = (counts[name]["synthetic"] for name in ("kept", "filtered"))
        return counts | {"kept_of_synthetic": kept / (kept + filtered) if kept + filtered else None}

    def judge(self, web: Sequence[Pair]) -> None:
        """Nobody knows what is true of a photo."""

    def captions(
        self, captioner: Loaded, web: Sequence[Pair], recipe: Recipe, *, count: int, decoding: Decoding
    ) -> list[list[str]]:
        """`decoding.candidates` captions of each of the first `count` web images that can be opened."""
        speaker = Captioner(captioner, decoding, device=recipe.device, dtype=recipe.precision)
        opened, said = islice(_opened(self.web_pairs.images, speaker), count), []
        while tile := list(islice(opened, speaker.tile)):
            prepared, digests = zip(*tile, strict=True)
            said += [[one.text for one in own] for own in speaker(prepared, digests)]
        return said

    def measured_by(self, recipe: Recipe) -> dict[str, Any]:
        """Fingerprint and number of the held-out images, and how models run over them."""
        how = {"px": self.side, "shortlist": SHORTLIST, "device": recipe.device, "precision": recipe.precision}
        return {"level": LEVEL, "val": self.prints["val"], "count": len(self.held_out)} | how

    def worth(self, captioner: Loaded, matcher: Loaded, recipe: Recipe) -> dict[str, Any]:
        """Recalls both ways, and CIDEr-D of greedy captions, on the held-out images.

        retrieval: `all` as in the generated world, with every caption of an image among the texts, and chance.
        captions: cider in [0, 10], bleu4, CIDEr-D of another image's caption; strictly_true is not known. items: as in
        the generated world.
        """
        batch = TILE if recipe.device == "cpu" else _GPU_TILE
        machine = Machine(batch=batch, workers=READERS, precision=recipe.precision, device=recipe.device)
        texts, owners = captions_and_images(self.held_out)
        tokens = matcher.tokenizer([clean_caption(text) for text in texts], MAX_TOKENS).to(machine.device)
        model, image_of = matcher.model.to(machine.device), np.array(owners, dtype=np.int64)
        with precision(torch.device(machine.device), machine.precision):
            found, hits = ranked(model, lambda: pixels(self.held_out, self.side, machine), tokens, image_of)
        gallery = Gallery(list(self.held_out))
        said = captioning.measured(captioning.captions(captioner, gallery, GREEDY, machine), gallery)
        return {
            "retrieval": {"all": found, "chance": chance(image_of, len(self.held_out))},
            "captions": {"all": {name: said[name] for name in ("cider", "bleu4", "chance_cider")} | {"strictly_true": None}},
            "items": {"r1": digits(hits), "texts": np.bincount(image_of).tolist()},
        }

    def evaluated_by(self, recipe: Recipe) -> dict[str, Any]:
        """The held-out images, and how models run over them."""
        return {"measured": self.measured_by(recipe)}

    def quality(self, captioner: Loaded, matcher: Loaded, recipe: Recipe) -> dict[str, Any]:
        """`worth` without its single items."""
        found = self.worth(captioner, matcher, recipe)
        return {name: found[name] for name in ("retrieval", "captions")}

    def about(self) -> dict[str, Any]:
        """What a record says of the pairs."""
        sets = {"web": self.web_pairs, "human": self.human_pairs}
        found: dict[str, Any] = {
            name: {"pairs": len(own), "images": len(own.images), "rejects": len(own.rejects)} for name, own in sets.items()
        }
        texts = sum(len(image.captions) for image in self.held_out)
        found["val"] = {"images": len(self.held_out), "texts": texts, "rejects": len(self.val_rejects), "of_them_in_web": self.web_in_val}
        found["val"]["of"] = self.val_images
        for name, looked in zip(sets, self.looked_at, strict=True):
            found[name] |= {"opened": looked.images, "of_them_broken": looked.closed}
        for name, own in found.items():
            own["fingerprint"] = self.prints[name]
        return found | {
            "image_size": self.side,
            "vocabulary": len(self.vocabulary),
            "shortlist": SHORTLIST,
            "start": self.start.prints,
        }


def _opened(pairs: Iterable[Pair], captioner: Captioner) -> Iterator[tuple[torch.Tensor, str]]:
    """What the captioner reads of each image that can be opened, and its SHA-256."""
    for pair in pairs:
        try:
            yield captioner.prepare(open_image(pair)), image_sha256(pair)
        except BadImage:
            continue
