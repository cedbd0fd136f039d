"""Training on a CPU gives the same bits again, however its threads come: no gradient is added up in the order of threads."""

import pytest
import torch
from caption_files import scenes, write_csv
from torch.utils._python_dispatch import TorchDispatchMode

import blip.train
from blip.layers import rows_at
from lab.cli import main
from lab.commands import finetune_nlvr, finetune_visdial, finetune_vqa

PRETRAINED = "blip/weights/pretrained.safetensors"
SMALL = ("--batch=8", "--workers=1", "--device=cpu", "--steps=1")
NEW = ("--held-out=8", "--size=nano", "--image-size=32", "--vocab-size=200", "--queue=8")
COMMANDS = {
    "pretrain": ("pretrain", *NEW),
    "retrieval": ("finetune", "retrieval", f"--weights={PRETRAINED}", "--queue=8"),
    "captioning": ("finetune", "captioning", f"--weights={PRETRAINED}"),
    "vqa": ("finetune", "vqa", f"--weights={PRETRAINED}", "--world=nano", "--world-scenes=30"),
    "nlvr": ("finetune", "nlvr", f"--weights={PRETRAINED}", "--world=nano", "--world-statements=40"),
    "visdial": ("finetune", "visdial", f"--weights={PRETRAINED}", "--world=nano", "--world-dialogs=12"),
}


class AddedUp(TorchDispatchMode):
    """Notes the operations, and those of them that add to places which several threads may write."""

    def __init__(self):
        super().__init__()
        self.all, self.racing = 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.all += 1
        name, given = func.overloadpacket.__name__, dict(zip((one.name for one in func._schema.arguments), args, strict=False))
        if name in ("index_put", "index_put_", "_index_put_impl_") and given.get("accumulate") and given["self"].is_floating_point():
            self.racing.add((name, *given["self"].shape))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_gradient_of_a_training_step_is_added_up_in_the_order_of_threads(name, monkeypatch, tmp_path):
    step, noted = blip.train.forward_backward, AddedUp()

    def watched(*given):
        with torch.autograd.set_multithreading_enabled(False), noted:  # the mode is this thread's
            return step(*given)

    monkeypatch.setattr(blip.train, "forward_backward", watched)
    for module in (finetune_vqa, finetune_nlvr, finetune_visdial):
        monkeypatch.setattr(module, "HELD_OUT", 6)
    world = any(word.startswith("--world=") for word in COMMANDS[name])
    data = () if world else (f"--data={write_csv(tmp_path / 'pairs.csv', scenes(24))}",)
    assert main([*COMMANDS[name], *data, *SMALL, f"--out={tmp_path / 'out'}"]) == 0
    assert noted.all > 100 and noted.racing == set()


def test_rows_have_the_gradient_of_indexing_and_the_same_bits_each_time():
    torch.manual_seed(0)
    values, at = torch.randn(6, 4, 50, 64, requires_grad=True), torch.randint(6, (40,))
    weights = torch.randn(40, 4, 50, 64)
    found = []
    for read in (rows_at, rows_at, lambda values, at: values[at]):
        assert torch.equal(read(values, at), values[at])
        (gradient,) = torch.autograd.grad((read(values, at) * weights).sum(), values)
        found.append(gradient)
    assert torch.equal(found[0], found[1]) and torch.allclose(found[0], found[2], atol=1e-5)
    assert torch.equal(rows_at(values.detach(), at), values[at])
