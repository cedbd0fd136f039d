"""Image-text retrieval (paper 5.1): fine-tuned with ITC and ITM, and so the filter of CapFilt; ranked by both."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from blip.errors import InputError
from blip.metrics.retrieval import Recalls, image_to_text_ranks, recalls, text_to_image_ranks
from blip.model import BLIP, narrowed
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.tasks.ranking import SHORTLIST, Rankings, Shortlist, rank_both_ways
from blip.tokenizer import Tokens

# Published retrieval class: negatives from softmax(online x online) without the floor of
# pre-training; equal image ids are no negatives and share the ITC target; no LM.
RETRIEVAL = ObjectiveConfig(negatives="online", negative_floor=0.0, lm_weight=0.0)
MAX_TOKENS = 35  # published length of texts in retrieval


@dataclass(frozen=True)
class RetrievalScores:
    """The two directions of the paper's Tables 5 and 6: TR, a text for an image; IR, an image for a text.

    text_ranks (I,) and image_ranks (T,), from 1, are those of each image's text and of each text's image.
    """

    text: Recalls
    image: Recalls
    text_ranks: np.ndarray
    image_ranks: np.ndarray

    @property
    def mean(self) -> float:
        """Mean of R@1, R@5 and R@10 both ways, by which the published training chooses its model."""
        return sum(side.r1 + side.r5 + side.r10 for side in (self.text, self.image)) / 6


def retrieval_task(
    model: BLIP,
    *,
    pairs: int,
    queue: int | None = None,
    momentum: float = 0.995,
    negatives: str = RETRIEVAL.negatives,
    seed: int = 0,
) -> Pretrain:
    """Fine-tuning with the published retrieval rules on so many pairs; the batches' ids must be image ids.

    The model needs the readings encode and fuse. queue: the published 57,600 keys by default, but at most a
    tenth of the pairs, so that a pair seldom meets its own past. negatives: of ITM, see `ObjectiveConfig`.
    """
    _require(model)
    keys = min(RETRIEVAL.queue, pairs // 10) if queue is None else queue
    return Pretrain(model, replace(RETRIEVAL, queue=keys, momentum=momentum, negatives=negatives, seed=seed))


def retrieval_model(model: BLIP) -> BLIP:
    """A copy with what retrieval reads: the two encoders of ITC and the image-grounded encoder of ITM."""
    _require(model)
    return narrowed(model, "encode", "fuse")


def rank(
    model: BLIP, images: Callable[[], Iterable[Tensor]], tokens: Tokens, *, k: int = SHORTLIST
) -> Rankings:
    """Rank T texts (tokens led by [CLS]) for each of I images and back, as published: ITC, then ITM of the first k.

    images() gives the images (b, 3, H, W) in order and is called twice: an image is encoded once for its
    features and once to be re-ranked, so that the states of a gallery are never held together. Of several processes
    each gives its own images, in rank order.
    """
    _require(model)
    features = (model.image_features(model.encode_image(batch)) for batch in images())
    states = (model.encode_image(batch) for batch in images())
    return rank_both_ways(model, features, states, tokens, k=k)


def retrieval_scores(of_images: Shortlist, of_texts: Shortlist, image_of: np.ndarray) -> RetrievalScores:
    """Recalls of both directions; image_of (T,) is the row of each text's image.

    Holds one table (I, T) of float32 at a time: 500 MB for COCO's 5,000 images.
    """
    text_ranks = image_to_text_ranks(of_images.table(), image_of)
    image_ranks = text_to_image_ranks(of_texts.table().T, image_of)
    return RetrievalScores(recalls(text_ranks), recalls(image_ranks), text_ranks, image_ranks)


def _require(model: BLIP) -> None:
    if not {"encode", "fuse"} <= model.config.text.readings:
        raise InputError("Retrieval needs weights with ITC and ITM heads; give a pre-trained model or a filter.")
