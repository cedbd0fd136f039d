"""An NLVR model as judge: is a statement true of two images? (paper 5.4)"""

from collections.abc import Sequence

import torch
from torch import Tensor

from blip.data.loading import Loader
from blip.data.pictures import ArrayRows, PhotoRows, require_all
from blip.distributed import from_all
from blip.precision import precision
from blip.tasks.nlvr import NLVR
from blip.tasks.nlvr_training import statement_tokens
from blip.tokenizer import Tokenizer


@torch.inference_mode()
def judge(
    model: NLVR,
    tokenizer: Tokenizer,
    pictures: PhotoRows | ArrayRows,
    statements: Sequence[str],
    *,
    batch: int = 32,
    workers: int = 2,
    dtype: str = "float32",
) -> list[float]:
    """The probability that each statement is true of its two pictures, which are the same row of `pictures`.

    InputError where a photo cannot be read: an evaluation that leaves examples out says nothing. Of several processes
    each sees its own batches, and all get all probabilities.
    """
    model.eval()
    device = next(model.parameters()).device
    found: dict[int, float] = {}
    for loaded in Loader(pictures, batch, train=False, workers=workers):
        tokens = statement_tokens([statements[row] for row in loaded.rows], tokenizer).to(device)
        first, second = loaded.pictures.to(device, non_blocking=True).unbind(1)
        with precision(device, dtype):
            logits = model(first, second, tokens)
        found |= zip(loaded.rows, _true(logits), strict=True)
    found = dict(from_all(list(found.items())))
    require_all(pictures, found)
    return [found[row] for row in range(len(statements))]


def _true(logits: Tensor) -> list[float]:
    return logits.float().softmax(dim=1)[:, 1].tolist()
