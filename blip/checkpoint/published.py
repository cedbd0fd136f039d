"""Writing the published .pth layout, which the published code opens."""

import os
from pathlib import Path

import torch

from blip.checkpoint.layouts import (
    CAPTION,
    NLVR_LAYOUT,
    PRETRAIN,
    QUEUES,
    READINGS,
    RETRIEVAL,
    VQA_LAYOUT,
    copies_of,
    momentum_names,
    names_of,
)
from blip.checkpoint.names import DECODER, ENCODER, PUBLISHED, ImageNames, State, parted
from blip.checkpoint.stored import Model, Training
from blip.config import SHARE_ALL_BUT_SA
from blip.errors import InputError
from blip.model import BLIP
from blip.tasks.nlvr import NLVR
from blip.tasks.vqa import VQA


def write_published(path: str | Path, model: Model, training: Training | None = None) -> Path:
    """Write {"model": tensors} as the published training scripts do, whole or not at all.

    Shapes do not tell attention heads, which published models have width / 64 of; they stand beside the
    tensors, where published code does not look. InputError for pre-trained weights that the published class would
    load as others (`_refuse_untied`).
    """
    _refuse_untied(model)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".writing")
    heads = {"image": model.config.vision.heads, "text": model.config.text.heads}
    torch.save({"model": published_state(model, training), "heads": heads}, temporary)
    os.replace(temporary, path)
    return path


def published_state(model: Model, training: Training | None = None) -> State:
    """A model's tensors by their published names.

    The class follows from the readings: all three are the pre-training class, decode alone the
    captioner, encode and fuse the retrieval class. Published code wants momentum encoders in files
    of the first and the last: without `training` they are the model itself, as training starts them,
    and the queues are left out. The teacher's cross-attention, which nothing reads, is the model's.
    """
    layout = layout_of(model)
    state = model_state(model, layout, PUBLISHED)
    state |= _position_ids(state)
    if isinstance(model, BLIP) and layout in QUEUES:
        state["temp"] = model.temperature.detach().cpu()
        state |= _momentum(model, state, training)
        state |= _queues(layout, training) if training else {}
    return state


def _refuse_untied(model: Model) -> None:
    """InputError for a pre-trained model that does not share all that the published class ties before it loads.

    That is all but self-attention: of two tensors in a tied place the decoder's, read last, would stand in for both.
    Every other class has one text transformer, or (VQA) two that it does not tie.
    """
    if layout_of(model) != PRETRAIN or not (apart := SHARE_ALL_BUT_SA - model.config.text.shared):
        return
    parts = " and ".join(sorted(part.replace("_", "-") for part in apart))
    raise InputError(
        f"The published pre-training class has one {parts} for text encoder and decoder, and these weights have two; "
        "export one reading of them, with --task captioning or --task retrieval."
    )


def layout_of(model: Model) -> str:
    """The published class that holds a model."""
    if isinstance(model, VQA):
        return VQA_LAYOUT
    if isinstance(model, NLVR):
        return NLVR_LAYOUT
    readings = model.config.text.readings
    for layout in (PRETRAIN, CAPTION, RETRIEVAL):
        if readings == frozenset(READINGS[layout]):
            return layout
    raise InputError(
        f"No published class reads only {', '.join(sorted(readings))}; "
        "export a pre-trained model, a captioner or a filter."
    )


def model_state(model: Model, layout: str, image_names: ImageNames) -> State:
    """A model's tensors by stored names, on the CPU, with what the layout holds twice."""
    names = names_of(layout, model.config, image_names)
    weights = _on_cpu(model.state_dict())
    # A part that both roles share lies under the encoder and is the decoder's too.
    owners = {name: name if name in weights else name.replace(".decoder.", ".encoder.") for name in names}
    state = parted({name: weights[owner] for name, owner in owners.items()}, names)
    return state | {copy: state[of] for copy, of in copies_of(layout).items()}


def _on_cpu(weights: State) -> State:
    return {name: tensor.detach().cpu() for name, tensor in weights.items()}


def _momentum(model: Model, state: State, training: Training | None) -> State:
    teacher = training.teacher if training else model.state_dict()
    momentum = parted(_on_cpu(teacher), momentum_names(model.config))
    for name, tensor in state.items():
        if name.startswith(f"{ENCODER}.") and (".crossattention." in name or "position_ids" in name):
            momentum[name.replace(ENCODER, f"{ENCODER}_m", 1)] = tensor
    return momentum


def _queues(layout: str, training: Training) -> State:
    position = torch.tensor([training.position])
    state = {
        "image_queue": training.image_queue.T.contiguous().cpu(),
        "text_queue": training.text_queue.T.contiguous().cpu(),
    }
    if layout == PRETRAIN:
        return state | {"queue_ptr": position}
    return state | {"ptr_queue": position, "idx_queue": training.ids[None].cpu()}


def _position_ids(state: State) -> State:
    ids = {}
    for prefix in (ENCODER, DECODER):
        positions = state.get(f"{prefix}.embeddings.position_embeddings.weight")
        if positions is not None:
            ids[f"{prefix}.embeddings.position_ids"] = torch.arange(len(positions))[None]
    return ids
