"""A decoder as captioner: images to synthetic captions (paper 3.3), the same whatever the batch."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blip.checkpoint.own import Loaded
from blip.data.text import hash64
from blip.data.transforms import eval_transform
from blip.errors import InputError
from blip.generate import Caption, Decoding, captions
from blip.precision import precision
from blip.tiles import TILE, filled

_NO_DRAWS = np.random.default_rng(0)  # the evaluation transform draws nothing


class Captioner:
    """Captions of up to `tile` prepared images at a time, decoded as `decoding` says.

    Captions begin with the prompt of `decoding`, else with the one the weights were trained with, which their
    card names. `id` names the weights in a ledger.
    """

    def __init__(
        self,
        loaded: Loaded,
        decoding: Decoding,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        tile: int = TILE,
    ) -> None:
        if "decode" not in loaded.model.config.text.readings:
            raise InputError(
                f"These weights ({loaded.card.stage}) have no decoder and cannot caption; "
                "give a captioner or a pre-trained model."
            )
        self.model, self.tokenizer = loaded.model.to(device), loaded.tokenizer
        self.decoding = decoding.led_by(loaded.card.prompt)
        # Now, so that no ledger is begun with what cannot be.
        prompt = self.tokenizer.prompt(self.decoding.begin)
        self.decoding.check_room(len(prompt), loaded.model.config.text.max_positions)
        self.id, self.device, self.dtype, self.tile = loaded.fingerprint, torch.device(device), dtype, tile
        self._transform = eval_transform(loaded.model.config.vision.image_size)
        self.reads = ("blip", loaded.model.config.vision.image_size)

    def prepare(self, image: Image.Image) -> Tensor:
        """What the model reads of an image: (3, H, W). Safe to call from threads."""
        return self._transform(image, _NO_DRAWS)

    @torch.inference_mode()
    def __call__(
        self, prepared: Sequence[Tensor], digests: Sequence[str], *, seed: int = 0, round: int = 0
    ) -> list[list[Caption]]:
        """`decoding.candidates` captions an image; `digests` (image SHA-256) key the random draws."""
        pixels = filled(prepared, self.tile).to(self.device)
        keys = [hash64(digest) for digest in digests] + [0] * (self.tile - len(digests))
        with precision(self.device, self.dtype):
            found = captions(
                self.model,
                self.model.encode_image(pixels),
                self.decoding,
                self.tokenizer,
                image_hashes=torch.tensor(keys),
                seed=seed,
                round=round,
            )
        return found[: len(prepared)]
