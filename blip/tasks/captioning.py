"""Captioning: the image-grounded text decoder fine-tuned with LM, and so the captioner of CapFilt."""

from collections.abc import Sequence

from torch import nn

from blip import objectives
from blip.model import BLIP
from blip.tasks.batch import Losses, PairBatch, TeacherFeatures

PROMPT = "a picture of "  # published prompt of captioning fine-tuning and decoding


class Captioning(nn.Module):
    """LM of captions that begin with a prompt; the prompt itself carries no loss.

    prompt_length counts [DEC] and the prompt's tokens. The batch's texts already hold the prompt.
    """

    def __init__(self, model: BLIP, *, prompt_length: int, smoothing: float = 0.1) -> None:
        super().__init__()
        self.model, self.prompt_length, self.smoothing = model, prompt_length, smoothing

    def forward(self, batch: PairBatch, alpha: float = 0.0) -> Losses:
        """LM of B pairs; there are no soft targets, so alpha is not read."""
        memory = self.model.remember(self.model.encode_image(batch.images), "decoder")
        tokens = batch.tokens.led_by("DEC")
        labels = objectives.lm_labels(tokens.ids, tokens.keep, self.prompt_length)
        loss = objectives.lm(self.model.decode(tokens, memory), labels, self.smoothing)
        return Losses({"lm": loss}, loss)

    def after_step(self, features: Sequence[TeacherFeatures]) -> None:
        """Nothing follows the weights here: no momentum encoder, no queue."""
