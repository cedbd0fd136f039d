"""Stored tensors to a model and what joint training keeps beside it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from blip.checkpoint.layouts import PRETRAIN, Model, Survey, shapes_of, survey
from blip.checkpoint.names import State, joined
from blip.checkpoint.sizes import Untold
from blip.checkpoint.tensors import read_with_heads
from blip.config import PARTS, BlipConfig
from blip.errors import InputError
from blip.model import BLIP, TEMPERATURE_START
from blip.tasks.pretrain import Pretrain
from blip.vision import resize_positions

Kind = TypeVar("Kind", bound=Model)
_POSITIONS = "image_encoder.positions"
NO_ID = -100  # of a queued pair: equal to no pair of a batch


@dataclass(frozen=True)
class Training:
    """What ITC keeps from step to step (paper 3.2), for `continue_from`.

    teacher: the momentum encoders' tensors by the model's names; image_queue, text_queue (K, E) with
    ids (K,) int64; position: the row that is written next.
    """

    teacher: State
    image_queue: Tensor
    text_queue: Tensor
    ids: Tensor
    position: int


@dataclass(frozen=True)
class Stored:
    """A model in eval mode, how it lay in its file, and its training state where the file has one."""

    model: Model
    survey: Survey
    training: Training | None


def read_stored(
    path: Path, *, image_size: int | None = None, heads: int | None = None
) -> Stored:
    """A published .pth of any of the six classes (also as .safetensors), position embeddings interpolated.

    heads counts the attention heads of both towers; None means those noted beside the tensors, which our
    export does, else width / 64, as in every published model.
    """
    state, noted = read_with_heads(path)
    untold = Untold(image_heads=heads or noted.get("image"), text_heads=heads or noted.get("text"))
    return from_state(state, str(path), untold=untold, image_size=image_size)


def from_state(
    state: State, source: str, *, untold: Untold | None = None, image_size: int | None = None
) -> Stored:
    """A model from stored tensors; `source` names them in an error.

    Parts that are stored for encoder and decoder are shared if they are equal. Half-precision weights
    become float32.
    """
    found = survey({name: tuple(tensor.shape) for name, tensor in state.items()}, source, untold)
    _check_copies(state, found, source)
    config, names = found.config, found.names
    if found.layout == PRETRAIN:
        config = replace(config, text=replace(config.text, shared=_shared(state, found)))
        owned = shapes_of(BLIP, config)
        names = {ours: stored for ours, stored in names.items() if ours in owned}
    weights = _floats(joined(state, names))
    if "temperature" in shapes_of(found.architecture, config):
        weights.setdefault("temperature", torch.tensor(TEMPERATURE_START))
    training = _training(state, found)
    model = at_image_size(built(found.architecture, config, weights), image_size)
    return Stored(model, replace(found, config=model.config), _at_tokens(training, model))


def built(architecture: Callable[[BlipConfig], Kind], config: BlipConfig, weights: State) -> Kind:
    """A model in eval mode that owns these tensors, without drawing initial weights first."""
    with torch.device("meta"):
        model = architecture(config)
    model.load_state_dict(weights, assign=True)
    model.eval()
    return model


def at_image_size(model: Model, image_size: int | None) -> Model:
    """The same weights for another image size: position embeddings are interpolated (paper 4.1)."""
    if image_size is None or image_size == model.config.vision.image_size:
        return model
    config = replace(model.config, vision=replace(model.config.vision, image_size=image_size))
    weights = model.state_dict()
    weights[_POSITIONS] = resize_positions(weights[_POSITIONS], config.vision.tokens)
    return built(type(model), config, weights)


def at_drop_path(model: Kind, rate: float) -> Kind:
    """The same weights with another stochastic depth of the image encoder (published 0.1 for VQA and NLVR2)."""
    if not 0 <= rate < 1:
        raise InputError(f"A stochastic depth of {rate} cannot be; give 0 to below 1.")
    config = replace(model.config, vision=replace(model.config.vision, drop_path=rate))
    return built(type(model), config, model.state_dict())


@torch.no_grad()
def continue_from(task: Pretrain, training: Training) -> None:
    """Fill a task's teacher and queues; its queue must be as long as the stored one."""
    have, want = len(task.image_queue.rows), len(training.ids)
    if task.teacher is not None and have != want:
        raise InputError(f"The stored queue holds {want} keys, not {have}; give --queue {want}.")
    continue_teacher(task, training)
    rows = (training.image_queue, training.text_queue)
    for queue, stored in zip((task.image_queue, task.text_queue), rows, strict=True):
        queue.rows.copy_(stored)
        queue.ids.copy_(training.ids)
        queue.position.fill_(training.position)


@torch.no_grad()
def continue_teacher(task: Pretrain, training: Training) -> None:
    """Fill a task's teacher alone, for a queue of another length."""
    if task.teacher is None:
        raise InputError("These objectives have no momentum encoder to continue; give a momentum.")
    if task.config.teacher_start:  # until then the teacher is overwritten and the queue is not written
        raise InputError(
            f"Momentum encoders that wait {task.config.teacher_start} steps continue nothing; give a teacher start of 0."
        )
    teacher = task.teacher.module.state_dict()
    task.teacher.module.load_state_dict(teacher | training.teacher)


def training_of(task: Pretrain) -> Training | None:
    """A task's teacher and queues as they stand, or None where it has no teacher."""
    if task.teacher is None:
        return None
    teacher = task.teacher.module.state_dict()
    teacher.pop("temperature")  # ITC reads the model's
    images, texts = task.image_queue, task.text_queue
    return Training(teacher, images.rows, texts.rows, texts.ids, int(texts.position))


def _check_copies(state: State, found: Survey, source: str) -> None:
    for copy, of in found.copies.items():
        if not torch.equal(state[copy], state[of]):
            raise InputError(
                f"{source}: {copy!r} differs from {of!r}, which BLIP ties; export the weights again."
            )


def _shared(state: State, found: Survey) -> frozenset[str]:
    """The parts whose tensors are stored equal for encoder and decoder."""
    return frozenset(part for part in PARTS if _is_shared(state, found, part))


def _is_shared(state: State, found: Survey, part: str) -> bool:
    encoder, decoder = f"{part}.encoder.", f"{part}.decoder."
    return all(
        torch.equal(state[one], state[other])
        for ours, stored in found.names.items()
        if encoder in ours
        for one, other in zip(stored, found.names[ours.replace(encoder, decoder)], strict=True)
    )


def _floats(weights: State) -> State:
    return {name: tensor.float() for name, tensor in weights.items()}


def _training(state: State, found: Survey) -> Training | None:
    if not found.momentum or not found.queues:
        return None
    image_queue, text_queue = (state[name].float().T.contiguous() for name in found.queues[:2])
    size = len(image_queue)
    ids = state["idx_queue"].flatten() if "idx_queue" in state else torch.full((size,), NO_ID)
    teacher = _floats(joined(state, found.momentum))
    return Training(teacher, image_queue, text_queue, ids, int(state[found.queues[-1]]))


def _at_tokens(training: Training | None, model: Model) -> Training | None:
    if training is None:
        return None
    positions = resize_positions(training.teacher[_POSITIONS], model.config.vision.tokens)
    return replace(training, teacher=training.teacher | {_POSITIONS: positions})
