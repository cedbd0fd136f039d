"""Stored layouts of the published model classes: recognised from their keys, every key accounted for.

A `Survey` needs names and shapes only, no values: what a file is, which sizes, which key goes where.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from blip.checkpoint.names import (
    DECODER,
    ENCODER,
    LM_HEAD,
    PUBLISHED,
    TRANSFORMERS,
    ImageNames,
    Names,
    below,
    head_names,
    image_names,
    pair,
    text_names,
    twin_text_names,
)
from blip.checkpoint.sizes import Shapes, Untold, embed_dim, text_config, vision_config
from blip.config import SHARE_ALL_BUT_SA, SHARE_NONE, BlipConfig
from blip.errors import InputError
from blip.model import BLIP
from blip.tasks.nlvr import FIRST_MERGING_LAYER, NLVR
from blip.tasks.vqa import VQA

PRETRAIN, CAPTION, ITM, RETRIEVAL, VQA_LAYOUT, NLVR_LAYOUT = (
    "pretrain",
    "caption_decoder",
    "itm",
    "retrieval",
    "vqa",
    "nlvr",
)
READINGS = {
    PRETRAIN: ("encode", "fuse", "decode"),
    CAPTION: ("decode",),
    ITM: ("encode", "fuse"),
    RETRIEVAL: ("encode", "fuse"),
    VQA_LAYOUT: ("fuse", "decode"),
    NLVR_LAYOUT: ("fuse",),
}
Model = BLIP | VQA | NLVR
Architecture = Callable[[BlipConfig], Model]
ARCHITECTURES: dict[str, Architecture] = {
    VQA_LAYOUT: VQA,
    NLVR_LAYOUT: NLVR,
}
COPIES = {
    f"{LM_HEAD}.decoder.weight": f"{DECODER}.embeddings.word_embeddings.weight",
    f"{LM_HEAD}.decoder.bias": f"{LM_HEAD}.bias",
}
"""Stored twice: the output matrix is the word embedding. The copy and what it must equal."""
MOMENTUM = {"visual_encoder_m", "text_encoder_m", "vision_proj_m", "text_proj_m"}
QUEUES = {
    PRETRAIN: ("image_queue", "text_queue", "queue_ptr"),
    RETRIEVAL: ("image_queue", "text_queue", "idx_queue", "ptr_queue"),
}
_HARMLESS = (
    re.compile(r".*\.embeddings\.position_ids"),  # 0, 1, 2, ...: a constant of the code
    re.compile(r"text_encoder_m\..*\.crossattention\..*"),  # ITC, all the teacher does, reads no image
)


@dataclass(frozen=True)
class Survey:
    """What stored weights are, from names and shapes.

    `names` lead to the model's tensors, those of a pre-trained model as if its two roles shared
    nothing; `momentum` to the teacher's; `copies` name what must equal what; `queues` are stored
    queues; `ignored` keys carry nothing.
    """

    layout: str
    image_names: ImageNames
    config: BlipConfig
    names: Names
    momentum: Names
    copies: dict[str, str]
    queues: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def architecture(self) -> Architecture:
        """The class of the model."""
        return ARCHITECTURES.get(self.layout, BLIP)


def survey(shapes: Shapes, source: str, untold: Untold | None = None) -> Survey:
    """Recognise weights; a missing, unknown or misshapen key is an InputError that names it."""
    layout, image = recognise(shapes, source)
    config = _config(shapes, layout, image, untold or Untold(), source)
    names = names_of(layout, config, image)
    if layout in QUEUES:
        names["temperature"] = ("temp",)
    momentum = momentum_names(config) if layout in QUEUES and MOMENTUM & _heads(shapes) else {}
    # transformers' files leave out what they hold twice; published ones never do.
    copies = {copy: of for copy, of in copies_of(layout).items() if image is PUBLISHED or copy in shapes}
    queues = QUEUES.get(layout, ())
    queues = queues if any(name in shapes for name in queues) else ()
    ignored = tuple(name for name in shapes if any(known.fullmatch(name) for known in _HARMLESS))
    found = Survey(layout, image, config, names, momentum, copies, queues, ignored)
    _account(shapes, found, source)
    _check_shapes(shapes, found, source)
    return found


def recognise(shapes: Shapes, source: str) -> tuple[str, ImageNames]:
    """The layout of weights and how they name the image encoder, from the keys alone."""
    heads = _heads(shapes)
    images = [names for names in (PUBLISHED, TRANSFORMERS) if names.prefix in heads]
    layout = None
    if "cls_head" in heads:
        layout = NLVR_LAYOUT
    elif {"text_encoder", "text_decoder"} <= heads:
        layout = PRETRAIN if {"itm_head", "vision_proj"} & heads else VQA_LAYOUT
    elif "text_decoder" in heads:
        layout = CAPTION
    elif "text_encoder" in heads and {"itm_head", "vision_proj"} & heads:
        layout = RETRIEVAL if MOMENTUM & heads else ITM
    if layout is None or len(images) != 1:
        raise InputError(
            f"{source} is in none of BLIP's layouts (pretrain, captioning, retrieval, ITM, VQA, NLVR); "
            "give weights of one of them."
        )
    return layout, images[0]


def names_of(layout: str, config: BlipConfig, image: ImageNames = PUBLISHED) -> Names:
    """The model's tensors, the temperature left out; two roles as if they shared nothing."""
    image_depth, depth = config.vision.depth, config.text.depth
    names = below(image_names(image_depth, image), "image_encoder.", f"{image.prefix}.")
    encoder, decoder, head = text_names("encoder", depth), text_names("decoder", depth), head_names()
    if layout == VQA_LAYOUT:
        names |= below(encoder, "question.", f"{ENCODER}.") | below(decoder, "answer.", f"{DECODER}.")
        return names | below(head, "answer.lm_head.", f"{LM_HEAD}.")
    if layout == NLVR_LAYOUT:
        names |= below(twin_text_names(depth, FIRST_MERGING_LAYER), "", f"{ENCODER}.")
        return names | pair("head.0", "cls_head.0") | pair("head.2", "cls_head.2")
    if layout != CAPTION:
        names |= below(encoder, "text.", f"{ENCODER}.") | pair("itm_head", "itm_head")
        names |= pair("image_projection", "vision_proj") | pair("text_projection", "text_proj")
    if layout in (PRETRAIN, CAPTION):
        names |= below(decoder, "text.", f"{DECODER}.") | below(head, "text.lm_head.", f"{LM_HEAD}.")
    return names


def copies_of(layout: str) -> dict[str, str]:
    """What a layout stores twice: the copy and what it must equal."""
    return COPIES if layout in (PRETRAIN, CAPTION, VQA_LAYOUT) else {}


def momentum_names(config: BlipConfig) -> Names:
    """The teacher's tensors: image encoder, ungrounded text encoder, both projections."""
    names = below(image_names(config.vision.depth, PUBLISHED), "image_encoder.", "visual_encoder_m.")
    names |= below(text_names("encoder", config.text.depth, grounded=False), "text.", "text_encoder_m.")
    return names | pair("image_projection", "vision_proj_m") | pair("text_projection", "text_proj_m")


@lru_cache(maxsize=8)
def shapes_of(architecture: Architecture, config: BlipConfig) -> Shapes:
    """The tensors that a model of this configuration has."""
    with torch.device("meta"):
        model = architecture(config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _config(shapes: Shapes, layout: str, image: ImageNames, untold: Untold, source: str) -> BlipConfig:
    prefix = DECODER if layout == CAPTION else ENCODER
    cross = "self0" if layout == NLVR_LAYOUT else "self"
    text = text_config(shapes, prefix, cross, untold, source)
    # Which parts a pre-trained model shares is a matter of values: see `published`.
    shared = SHARE_NONE if layout == PRETRAIN else SHARE_ALL_BUT_SA
    text = replace(text, readings=frozenset(READINGS[layout]), shared=shared)
    vision = vision_config(shapes, image, untold, source)
    if "vision_proj.weight" in shapes:
        return BlipConfig(vision=vision, text=text, embed_dim=embed_dim(shapes, source))
    return BlipConfig(vision=vision, text=text)


def _heads(shapes: Shapes) -> set[str]:
    return {name.split(".")[0] for name in shapes}


def _account(shapes: Shapes, found: Survey, source: str) -> None:
    """Every key that the layout has is there, and no other."""
    tables = (found.names, found.momentum)
    wanted = {name for table in tables for stored in table.values() for name in stored}
    wanted |= set(found.copies) | set(found.queues)
    if missing := sorted(wanted - set(shapes)):
        raise InputError(
            f"{source} lacks {missing[0]!r}{_more(missing)} of the {found.layout} layout; "
            "download or export it again."
        )
    if unknown := sorted(set(shapes) - wanted - set(found.ignored)):
        raise InputError(
            f"{source} holds {unknown[0]!r}{_more(unknown)}, which is not in the {found.layout} layout; "
            "give weights of an unchanged BLIP."
        )


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _check_shapes(shapes: Shapes, found: Survey, source: str) -> None:
    expected = shapes_of(found.architecture, found.config)
    for table in (found.names, found.momentum):
        for ours, stored in table.items():
            whole = expected[ours]
            want = (whole[0] // len(stored), *whole[1:]) if whole else ()
            for name in stored:
                _check_shape(name, shapes[name], want, source)
    for copy, of in found.copies.items():
        _check_shape(copy, shapes[copy], shapes[of], source)
    for queue in found.queues[:2]:
        _check_shape(queue, shapes[queue], (found.config.embed_dim, shapes[queue][-1]), source)


def _check_shape(name: str, shape: tuple[int, ...], want: tuple[int, ...], source: str) -> None:
    if shape != want:
        raise InputError(
            f"{source}: {name!r} has shape {shape} where the other tensors ask for {want}; "
            "download or export it again."
        )
