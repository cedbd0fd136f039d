"""Captioning (paper 5.2): the image-grounded text decoder fine-tuned with LM, and so the captioner of CapFilt."""

from collections.abc import Sequence

from torch import Tensor

from blip import objectives
from blip.distributed import over_all
from blip.errors import InputError
from blip.generate.decoding import Decoding
from blip.model import BLIP, narrowed
from blip.tasks.batch import Losses, PairBatch, TeacherFeatures
from blip.tasks.staged import Staged

PROMPT = Decoding().begin  # published prompt of captioning fine-tuning and decoding
MAX_TOKENS = 40  # published length of captions in fine-tuning, prompt included
EVALUATION = Decoding(strategy="beam", num_beams=3, rank_whole_text=True, max_length=20, min_length=5)
"""The published evaluation on COCO, ranked as by transformers 4.15; on NoCaps with a repetition penalty of 1.1."""


class Captioning(Staged):
    """LM of captions that begin with a prompt; the prompt itself carries no loss.

    prompt_length counts [DEC] and the prompt's tokens. The batch's texts already hold the prompt.
    """

    def __init__(self, model: BLIP, *, prompt_length: int, smoothing: float = 0.1) -> None:
        super().__init__()
        self.model, self.prompt_length, self.smoothing = model, prompt_length, smoothing

    def forward(self, batch: PairBatch, alpha: float | Tensor = 0.0) -> Losses:
        """LM of B pairs; there are no soft targets, so alpha is not read."""
        memory = self.model.remember(self.model.encode_image(batch.images), "decoder")
        tokens, labels = batch.tokens.led_by("DEC"), self._labels(batch)
        loss = objectives.lm(self.model.decode(tokens, memory), labels, self.smoothing)
        loss = over_all(loss, objectives.count(labels)) * batch.share
        return Losses({"lm": loss}, loss)

    def stage_now(self) -> str:
        """The stage in which steps do the same work one after another: there is one."""
        return "all"

    def words(self, batch: PairBatch) -> Tensor:
        """How many words of these texts LM says, ()."""
        return objectives.count(self._labels(batch))

    def _labels(self, batch: PairBatch) -> Tensor:
        tokens = batch.tokens.led_by("DEC")
        return objectives.lm_labels(tokens.ids, tokens.keep, self.prompt_length)

    def after_step(self, features: Sequence[TeacherFeatures]) -> None:
        """Nothing follows the weights here: no momentum encoder, no queue."""


def captioning_model(model: BLIP) -> BLIP:
    """A copy with what captioning reads: the image encoder and the image-grounded decoder."""
    if "decode" not in model.config.text.readings:
        raise InputError("Captioning needs weights with a decoder; give a pre-trained model or a captioner.")
    return narrowed(model, "decode")
