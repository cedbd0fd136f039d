"""How the arms of `lab bench peers-real` are measured: recalls both ways, and greedy captions, on the same photos."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.coca_model import CoCa
from open_clip.model import CLIP
from torch import Tensor

from blip.checkpoint import Card, Loaded
from blip.data.benchmarks.captions import captions_and_images
from blip.generate import Decoding
from blip.model import BLIP
from blip.tasks.ranking import shortlist
from blip.tasks.retrieval import retrieval_scores
from blip.tokenizer import Tokenizer
from lab.captioned import Gallery
from lab.downstream import captioning, retrieval
from lab.inference import Machine, pixels
from lab.peers.open_clip_models import CoCaDecoder
from lab.peers.reading import coca_captions, text_features

GREEDY = Decoding(strategy="greedy", prompt="", max_length=20, min_length=5)
_SAID = 8  # captions that are kept to be read


@dataclass(frozen=True)
class HeldOut:
    """Photos with all their captions, and how they are looked at.

    captions: the first so many of a photo are searched among; all are references of generated captions.
    """

    photos: Gallery
    captions: int
    k: int
    """Candidates of ITC that BLIP's ITM ranks anew."""
    machine: Machine

    @property
    def searched(self) -> Gallery:
        """The photos with the captions that are searched among."""
        return Gallery([replace(image, captions=image.captions[: self.captions]) for image in self.photos.images])

    @property
    def chance(self) -> dict[str, float]:
        """The expected recalls of a random order."""
        images = self.searched.images
        _, owners = captions_and_images(images)
        return retrieval.chance(np.array(owners, dtype=np.int64), len(images))


def of_blip(model: BLIP, tokenizer: Tokenizer, held_out: HeldOut) -> dict[str, Any]:
    """Recalls of ITC alone and re-ranked by ITM, and captions."""
    images, machine = held_out.searched.images, held_out.machine
    found = retrieval.measured(model, tokenizer, images, machine=machine, k=held_out.k)
    loaded = Loaded(model, tokenizer, Card(stage="pretrained", prompt=GREEDY.begin), fingerprint="")
    said = captioning.captions(loaded, held_out.photos, GREEDY, machine)
    recalls = {"itc": found["itc"], "reranked": found["reranked"]}
    return {"retrieval": recalls, "captions": _captions(said, held_out)}


def of_clip(model: CLIP, tokenizer: Tokenizer, held_out: HeldOut) -> dict[str, Any]:
    """Recalls; CLIP says nothing."""
    return {"retrieval": {"itc": recalls_of(model, tokenizer, held_out)}, "captions": None}


def of_coca(model: CoCa, tokenizer: Tokenizer, held_out: HeldOut, decoder: CoCaDecoder) -> dict[str, Any]:
    """Recalls and captions."""
    pictures = pixels(held_out.photos.images, decoder.config.vision.image_size, held_out.machine)
    said = list(coca_captions(decoder, tokenizer, pictures, GREEDY))
    return {"retrieval": {"itc": recalls_of(model, tokenizer, held_out)}, "captions": _captions(said, held_out)}


@torch.inference_mode()
def recalls_of(model: CLIP | CoCa, tokenizer: Tokenizer, held_out: HeldOut) -> dict[str, float]:
    """R@1, 5, 10 both ways by the cosine of a peer's features."""
    gallery, machine = held_out.searched, held_out.machine
    texts, owners = captions_and_images(gallery.images)
    side, device = model.visual.image_size[0], machine.device
    images = torch.cat([model.encode_image(batch) for batch in pixels(gallery.images, side, machine)])
    found = text_features(model, tokenizer, texts, device)
    return cosine_recalls(images, found, np.array(owners, dtype=np.int64))


def cosine_recalls(images: Tensor, texts: Tensor, image_of: np.ndarray) -> dict[str, float]:
    """R@1, 5, 10 both ways of features (I, E) and (T, E) of any length; image_of (T,): each text's image."""
    images, texts = F.normalize(images, dim=1), F.normalize(texts, dim=1)
    both = shortlist(images, texts, len(texts)), shortlist(texts, images, len(images))
    return retrieval.recalls_by_name(retrieval_scores(*both, image_of))


def _captions(said: list[str], held_out: HeldOut) -> dict[str, Any]:
    distinct = len(set(said))
    return captioning.measured(said, held_out.photos) | {"distinct": distinct, "said": said[:_SAID]}
