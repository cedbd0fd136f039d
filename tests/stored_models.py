"""Toy weights in each of the six published layouts."""

from dataclasses import replace

import torch
from toy_models import toy_config, toy_model

from blip.checkpoint.published import published_state
from blip.checkpoint.stored import Model, Training, training_of
from blip.model import narrowed
from blip.tasks.nlvr import NLVR
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.tasks.retrieval import RETRIEVAL
from blip.tasks.vqa import VQA

LAYOUTS = ("pretrain", "caption_decoder", "itm", "retrieval", "vqa", "nlvr")
HEADS = 2
QUEUE = 6
_MERGING_DEPTH = 7  # of NLVR: the last of its layers merges


def model_of(layout: str) -> Model:
    """A toy model of the class that a layout holds."""
    torch.manual_seed(0)
    if layout == "vqa":
        return VQA(toy_config()).eval()
    if layout == "nlvr":
        config = toy_config()
        return NLVR(replace(config, text=replace(config.text, depth=_MERGING_DEPTH))).eval()
    whole = toy_model(spread=0.2)
    readings = {"pretrain": None, "caption_decoder": ("decode",)}.get(layout, ("encode", "fuse"))
    return narrowed(whole, *readings).eval() if readings else whole


def training_for(layout: str, model: Model) -> Training | None:
    """A teacher that is not its student, and queues that are half full."""
    if layout not in ("pretrain", "retrieval"):
        return None
    config = ObjectiveConfig(queue=QUEUE) if layout == "pretrain" else replace(RETRIEVAL, queue=QUEUE)
    task = Pretrain(model, config)
    with torch.no_grad():
        for parameter in task.teacher.parameters():
            parameter.add_(0.01)
    ids = torch.full((3,), -100) if layout == "pretrain" else torch.tensor([4, 2, 4])
    for queue in (task.image_queue, task.text_queue):
        queue.push(torch.nn.functional.normalize(torch.randn(3, 16), dim=1), ids)
    return training_of(task)


def stored_state(layout: str) -> tuple[Model, Training | None, dict[str, torch.Tensor]]:
    """A model, its training state, and both as the layout stores them."""
    model = model_of(layout)
    training = training_for(layout, model)
    state = published_state(model, training)
    if layout == "itm":  # what the published ITM class has of the retrieval class
        state = {name: tensor for name, tensor in state.items() if "_m." not in name and name != "temp"}
    return model, training, state
