"""Image blocks compiled by torch.compile: the steps between two matrix products become one kernel each."""

import os
import shutil

from torch import nn

from blip.errors import InputError
from blip.vision import ImageEncoder


def compile_image_blocks(module: nn.Module, backend: str = "inductor") -> int:
    """Compile the blocks of every image encoder in a module, in place; how many encoders there are.

    All blocks of a kind share one compilation, for which the first step waits. Numbers move by rounding. The text side is
    left alone: its shapes change from batch to batch. backend: torch.compile's. InputError without a C compiler.
    """
    if backend == "inductor" and not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        raise InputError("To compile image blocks torch needs a C compiler, and none is found; install gcc, or leave them as they are.")
    encoders = [one for one in module.modules() if isinstance(one, ImageEncoder)]
    for encoder in encoders:
        for block in encoder.blocks:
            block.compile(backend=backend)
    return len(encoders)
