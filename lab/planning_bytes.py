"""Bytes that a pre-training holds from step to step, counted from its tensors."""

import torch

from blip.config import named
from blip.model import BLIP
from blip.tasks.pretrain import ObjectiveConfig, Pretrain

MOMENTS = 2
"""Tensors that AdamW keeps for each trained one."""


def held_bytes(task: Pretrain) -> dict[str, int]:
    """Bytes of weights, gradients, optimizer, teacher and queues.

    A gradient and the optimizer's two moments are as large as the weight that they belong to.
    """
    weights = sum(parameter.nbytes for parameter in task.model.parameters())
    trained = sum(parameter.nbytes for parameter in task.parameters() if parameter.requires_grad)
    teacher = 0 if task.teacher is None else sum(parameter.nbytes for parameter in task.teacher.parameters())
    queues = sum(tensor.nbytes for queue in (task.image_queue, task.text_queue) for tensor in queue.buffers())
    return {
        "weights": weights,
        "gradients": trained,
        "optimizer": MOMENTS * trained,
        "teacher": teacher,
        "queues": queues,
    }


def pretraining_bytes(size: str, image_size: int, queue: int) -> dict[str, int]:
    """The same of a model by name with `queue` keys in each queue, without making any of it."""
    with torch.device("meta"):
        return held_bytes(Pretrain(BLIP(named(size, image_size=image_size)), ObjectiveConfig(queue=queue)))


def checkpoint_bytes(held: dict[str, int]) -> int:
    """Bytes of a checkpoint that training resumes from: all that is held but gradients."""
    return sum(count for name, count in held.items() if name != "gradients")
