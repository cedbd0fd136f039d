"""Our side of `lab bench capfilt`: what `lab capfilt` runs, the ledger included."""

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from blip.capfilt import Job, run
from blip.capfilt.job import CaptionerLike
from blip.capfilt.scoring import FilterLike
from blip.captioner import Captioner
from blip.checkpoint.opening import load_any
from blip.data.images import open_image
from blip.data.pairset import PairSet
from blip.data.text import clean_caption
from blip.matching import MAX_TOKENS, Matcher
from lab.bench.capfilt_setting import (
    DECODING,
    ENCODER,
    GREEDY,
    NUCLEUS,
    SCORING,
    Setting,
    Stopwatch,
    batches,
    chosen,
    peak,
    round_of,
)
from lab.bench.capfilt_weights import CAPTIONER, FILTER
from lab.bench.clock import Clock


class Timed:
    """A captioner or filter whose calls are a part of a clock; it keeps what they were given and returned."""

    def __init__(self, used: Any, clock: Clock, part: str) -> None:
        self._used, self._clock, self._part = used, clock, part
        self.given: list[Any] = []
        self.found: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._used, name)

    def __call__(self, prepared: Sequence[Tensor], beside: Sequence[Any], **named: int) -> list[Any]:
        with self._clock.part(self._part):
            found = self._used(prepared, beside, **named)
        self.given += beside
        self.found += found
        return found


class Ours:
    """blip.capfilt.run with a captioner and a filter."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.pairs = setting, chosen(setting.data, setting.images)
        self._running: dict[str, Any] = {"device": setting.device, "dtype": setting.precision, "tile": setting.batch}
        self._loaded = load_any(setting.folder / CAPTIONER)
        self._captioner = Captioner(self._loaded, NUCLEUS, **self._running)
        self._matcher = Matcher(load_any(setting.folder / FILTER), **self._running)

    def greedy(self) -> list[list[int]]:
        """Token ids of every picture's greedy caption, without prompt and [SEP]."""
        captioner = Captioner(self._loaded, GREEDY, **self._running)
        found = []
        for part in batches(self._prepared, self.setting.batch):
            found += captioner(part, [""] * len(part))
        return [[token for token in own[0].ids if token != self._loaded.tokenizer.special.sep] for own in found]

    def match(self, texts: Sequence[Sequence[str]]) -> list[float]:
        """The match probability of every picture's texts."""
        place = self._matcher.columns.index("itm_prob")
        return [values[place] for own in self._matcher(self._prepared, texts) for values in own]

    def round(self, number: int) -> dict[str, Any]:
        """Caption and score every picture once."""
        clock = Clock(self.setting.device)
        captioner, matcher = Timed(self._captioner, clock, DECODING), Timed(self._matcher, clock, SCORING)
        # Each has, by __getattr__, all that what it times has.
        speaks, judges = cast(CaptionerLike, captioner), cast(FilterLike, matcher)
        job = Job(captioner=speaks, filters={"itm": judges}, seed=self.setting.seed + number)
        encoders = (self._captioner.model.image_encoder, self._matcher.model.image_encoder)
        with tempfile.TemporaryDirectory(prefix="capfilt-") as folder, clock.following(ENCODER, *encoders):
            watch = Stopwatch()
            run(job, PairSet.of(self.pairs), Path(folder) / "ledger")
            seconds = watch.read()
        tokens = [len(caption.ids) for own in captioner.found for caption in own]
        texts = [clean_caption(text) for own in matcher.given for text in own]
        lengths = self._matcher.tokenizer(texts, MAX_TOKENS).keep.sum(dim=1).tolist()
        return round_of(seconds, clock, tokens, lengths)

    def peak(self) -> int:
        """Most memory held so far, MiB."""
        return peak(self.setting.device)

    @cached_property
    def _prepared(self) -> list[Tensor]:
        return [self._captioner.prepare(open_image(pair)) for pair in self.pairs]
