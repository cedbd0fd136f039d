"""What CLIP, CoCa and a BLIP before fine-tuning are worth in the generated world, by the protocol of all tables.

The same held-out scenes, texts and unseen web pairs, ranked by the cosine of features; captions are greedy.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from blip.checkpoint import Loaded
from blip.data.transforms import normalize_uint8
from blip.generate import Decoding
from blip.matching import Matcher
from lab.ablation import protocol
from lab.ablation.ground import WORLD
from lab.evaluate import captions_of, noise_auc, with_room
from lab.mixes import mean_ranks
from lab.peers.files import LoadedPeer
from lab.recipes import Recipe
from lab.world.sets import World, WorldPair

BARE = Decoding(strategy="greedy", prompt="", min_length=2)
"""Greedy captions without a prompt: of CoCa, which has none, and of a BLIP that was never fine-tuned with one. As with
the prompt, whose words count, one word is the least."""
_IMAGES_AT_ONCE = 64

Said = tuple[dict[str, float], np.ndarray]
"""Measures of one set of scenes, and which of its items came out right."""


def of_peer(reader: LoadedPeer, speaker: LoadedPeer | None, recipe: Recipe) -> dict[str, Any]:
    """Retrieval and the AUC of the cosine per noise kind of `reader`; captions of `speaker`, if it makes any.

    Keys and items are those of `protocol.worth`.
    """
    from lab.peers.reading import text_features as features_of

    device, px = recipe.device, World.of(recipe.level).level.px
    texts = lambda said: features_of(reader.model, reader.tokenizer, said, device)
    by_cosine = lambda items: cosine_retrieval(reader.model.encode_image, texts, items, px, device)
    said = None if speaker is None else lambda items: protocol.quality_of(_coca_says(speaker, items, recipe), items)
    found = _measured(recipe, by_cosine, said)
    web = unseen(recipe)
    return found | {"filter": {"auc": noise_auc(_cosines(reader, web, px, device), web)}}


def before_tuning(loaded: Loaded, recipe: Recipe) -> dict[str, Any]:
    """A pre-trained BLIP as it is: retrieval re-ranked by ITM, and by ITC alone; captions without a prompt."""
    px, device = World.of(recipe.level).level.px, recipe.device

    def said(items: Sequence[WorldPair]) -> Said:
        captions = [own[0] for own in captions_of(loaded, items, px, with_room(BARE, recipe.level), device)]
        return protocol.quality_of(captions, items)

    return _measured(recipe, lambda items: protocol.retrieval(loaded, items, px, device), said)


def filter_auc(matcher: Loaded, clip: LoadedPeer, recipe: Recipe) -> dict[str, dict[str, float | None]]:
    """AUC per noise kind of each score that the ablation `filters` filters by, on the same unseen web pairs."""
    web, px, device = unseen(recipe), World.of(recipe.level).level.px, recipe.device
    ours = Matcher(matcher, device=device)
    prepared = [ours.prepare(Image.fromarray(item.image(px))) for item in web]
    scores = np.array([values[0] for values in ours(prepared, [[item.caption] for item in web])])
    cosine = _cosines(clip, web, px, device)
    by_name = {"ITM": scores[:, 1], "ITC": scores[:, 2], "ITM + ITC": scores[:, 1] + scores[:, 2], "CLIP": cosine}
    by_name["ITM + CLIP"] = mean_ranks(scores[:, 1], cosine, np.zeros(len(web), dtype=bool))
    return {name: noise_auc(own, web) for name, own in by_name.items()}


def unseen(recipe: Recipe) -> list[WorldPair]:
    """The web pairs that filters are measured on, which no run has seen."""
    drawn = WORLD.measured_by(recipe)
    count = protocol.WEB_PAIRS_A_SCENE * recipe.evaluation
    return World.of(recipe.level).web(count, drawn["noise"], start=drawn["start"])


@torch.inference_mode()
def cosine_retrieval(
    encode_images: Callable[[Tensor], Tensor],
    encode_texts: Callable[[Sequence[str]], Tensor],
    items: Sequence[WorldPair],
    px: int,
    device: str,
) -> Said:
    """As `protocol.retrieval`, by the cosine of features (I, E) of images (b, 3, H, W), and (T, E) of texts."""
    scenes, texts, image_of = protocol.searched(items)
    images = torch.cat([encode_images(batch) for batch in _pictures(scenes, px, device)])
    cosines = F.normalize(images.float(), dim=1) @ F.normalize(encode_texts(texts).float(), dim=1).T
    table = cosines.cpu().numpy()
    return protocol.recalled(table, table, image_of)


def _measured(
    recipe: Recipe,
    retrieval: Callable[[Sequence[WorldPair]], Said],
    said: Callable[[Sequence[WorldPair]], Said] | None = None,
) -> dict[str, Any]:
    """Retrieval in both drawing styles and captions by domain and style, as `protocol.worth` has them."""
    world, count = World.of(recipe.level), recipe.evaluation
    items, sketches = world.evaluation(count, "all"), world.evaluation(count, "all", style="sketch")
    shares, hits = retrieval(items)
    found: dict[str, Any] = {"retrieval": {"all": shares, "sketch": retrieval(sketches)[0]}}
    found["items"] = {"r1": protocol.digits(hits), "texts": protocol.REFERENCES}
    if said is None:
        return found
    told = {name: said(own) for name, own in protocol.captioned_scenes(world, count, items, sketches).items()}
    found["captions"] = {name: quality for name, (quality, _) in told.items()}
    found["items"]["strictly_true"] = protocol.digits(told["all"][1])
    return found


def _coca_says(speaker: LoadedPeer, items: Sequence[WorldPair], recipe: Recipe) -> list[str]:
    from lab.peers.open_clip_models import CoCaDecoder
    from lab.peers.reading import coca_captions

    roomy = with_room(BARE, recipe.level)
    decoding = replace(roomy, max_length=min(roomy.max_length, speaker.model.context_length))
    decoder = CoCaDecoder(speaker.model, speaker.config)
    pictures = _pictures(items, World.of(recipe.level).level.px, recipe.device)
    return list(coca_captions(decoder, speaker.tokenizer, pictures, decoding))


def _cosines(reader: LoadedPeer, items: Sequence[WorldPair], px: int, device: str) -> np.ndarray:
    """The cosine (N,) of each item's caption and picture."""
    from lab.peers.reading import CosineFilter

    judge = CosineFilter(reader.model, reader.tokenizer, px, reader.fingerprint, device)
    prepared = [judge.prepare(Image.fromarray(item.image(px))) for item in items]
    return np.array([values[0][0] for values in judge(prepared, [[item.caption] for item in items])])


def _pictures(items: Sequence[WorldPair], px: int, device: str) -> Iterator[Tensor]:
    """The items' pictures in batches (b, 3, px, px), as models see them."""
    for first in range(0, len(items), _IMAGES_AT_ONCE):
        part = np.stack([item.image(px) for item in items[first : first + _IMAGES_AT_ONCE]])
        yield normalize_uint8(torch.from_numpy(part).to(device))
