"""The peer of `lab bench capfilt`: a straightforward loop over transformers' BLIP classes.

As its documentation shows them: the processor, `generate` with several sequences an image, then one
batched ITM call over the pairs, for which every image stands once for each of its texts.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor

from blip.data.images import open_image
from blip.data.text import clean_caption
from blip.data.transforms import eval_transform, keyed_rng
from blip.matching import MAX_TOKENS
from blip.precision import precision
from lab.bench.capfilt_setting import (
    CANDIDATES,
    DECODING,
    ENCODER,
    NUCLEUS,
    SCORING,
    Setting,
    Stopwatch,
    batches,
    chosen,
    peak,
    round_of,
)
from lab.bench.capfilt_weights import CAPTIONER, FILTER, PROMPT
from lab.bench.clock import Clock


class Peer:
    """A captioner and a filter as transformers loads them."""

    def __init__(self, setting: Setting) -> None:
        transformers.utils.logging.disable_progress_bar()
        self.setting, self.pairs = setting, chosen(setting.data, setting.images)
        # Any: of these classes transformers declares neither the parts nor a `to` that takes a device.
        captioner: Any = transformers.BlipForConditionalGeneration.from_pretrained(setting.folder / CAPTIONER)
        matcher: Any = transformers.BlipForImageTextRetrieval.from_pretrained(setting.folder / FILTER)
        self._captioner, self._filter = (model.to(setting.device).eval() for model in (captioner, matcher))
        self._processor = transformers.AutoProcessor.from_pretrained(setting.folder / CAPTIONER)
        self._pieces = self._processor.tokenizer

    def greedy(self) -> list[list[int]]:
        """Token ids of every picture's greedy caption, without prompt and [SEP]."""
        with self._inference():
            found = [row for pixels in self._same_pixels() for row in self._generate(pixels, do_sample=False).tolist()]
        silent = (self._pieces.pad_token_id, self._pieces.sep_token_id)
        return [[token for token in row if token not in silent] for row in found]

    def match(self, texts: Sequence[Sequence[str]]) -> list[float]:
        """The match probability of every picture's texts."""
        found = []
        with self._inference():
            for pixels, own in zip(self._same_pixels(), batches(texts, self.setting.batch), strict=True):
                found += self._match(pixels, own)[0]
        return found

    def round(self, number: int) -> dict[str, Any]:
        """Caption and score every picture once."""
        clock, tokens, lengths = Clock(self.setting.device), [], []
        encoders = (self._captioner.vision_model, self._filter.vision_model)
        torch.manual_seed(self.setting.seed + number)
        with self._inference(), clock.following(ENCODER, *encoders):
            watch = Stopwatch()
            for part in batches(self.pairs, self.setting.batch):
                pictures = [open_image(pair) for pair in part]
                pixels = self._processor(images=pictures, return_tensors="pt")["pixel_values"].to(self.setting.device)
                with clock.part(DECODING):
                    ids = self._generate(
                        pixels, do_sample=True, top_p=NUCLEUS.top_p, top_k=0, num_return_sequences=CANDIDATES
                    )
                    captions = self._processor.batch_decode(ids, skip_special_tokens=True)
                drawn = batches(captions, CANDIDATES)
                with clock.part(SCORING):
                    _, scored = self._match(pixels, [[pair.caption, *own] for pair, own in zip(part, drawn, strict=True)])
                tokens += (ids != self._pieces.pad_token_id).sum(dim=1).tolist()
                lengths += scored
            seconds = watch.read()
        return round_of(seconds, clock, tokens, lengths)

    def peak(self) -> int:
        """Most memory held so far, MiB."""
        return peak(self.setting.device)

    def _generate(self, pixels: Tensor, **how: Any) -> Tensor:
        """Ids of captions after the prompt."""
        text = self._processor(text=[PROMPT] * len(pixels), return_tensors="pt").to(pixels.device)
        length = text["input_ids"].shape[1] - 1  # without [SEP]
        lengths = {"max_length": NUCLEUS.max_length, "min_length": NUCLEUS.min_length}
        return self._captioner.generate(pixel_values=pixels, **text, **lengths, **how)[:, length:]

    def _match(self, pixels: Tensor, texts: Sequence[Sequence[str]]) -> tuple[list[float], list[int]]:
        """Match probabilities of all texts in one call, and their lengths in tokens."""
        flat = [clean_caption(text) for own in texts for text in own]
        rows = self._pieces(flat, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        # Where transformers begins with [CLS], BLIP was trained with [ENC].
        rows["input_ids"][:, 0] = self._pieces.convert_tokens_to_ids("[ENC]")
        each = torch.tensor([len(own) for own in texts], device=pixels.device)
        logits = self._filter(
            pixel_values=pixels.repeat_interleave(each, dim=0),
            input_ids=rows["input_ids"].to(pixels.device),
            attention_mask=rows["attention_mask"].to(pixels.device),
        ).itm_score
        return logits.float().softmax(dim=1)[:, 1].tolist(), rows["attention_mask"].sum(dim=1).tolist()

    def _same_pixels(self) -> Iterator[Tensor]:
        """Pictures as our side prepares them: transformers' own resizing differs by up to a grey level."""
        transform = eval_transform(self._captioner.config.vision_config.image_size)
        for part in batches(self.pairs, self.setting.batch):
            prepared = [transform(open_image(pair), keyed_rng(0, 0, 0)) for pair in part]
            yield torch.stack(prepared).to(self.setting.device)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        with torch.inference_mode(), precision(torch.device(self.setting.device), self.setting.precision):
            yield
