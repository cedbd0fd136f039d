"""A captioner and a filter without a network, for tests of CapFilt: pure functions of pixels and text."""

import hashlib

import numpy as np

from blip.generate import Caption, Decoding


def number(*parts) -> float:
    """A number in [0, 1) that belongs to its parts."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


class FakeCaptioner:
    """Says how bright an image is; every image brighter than `silent` gets an empty caption."""

    tile = 4

    def __init__(self, *, candidates=1, silent=2.0, name="fake-captioner"):
        self.id, self.silent, self.calls = name, silent, 0
        self.decoding = Decoding(candidates=candidates)

    def prepare(self, image):
        return float(np.asarray(image).mean())

    def __call__(self, prepared, digests, *, seed, round):
        self.calls += 1
        assert len(prepared) <= self.tile
        return [
            [self._caption(mean, digest, seed, n) for n in range(self.decoding.candidates)]
            for mean, digest in zip(prepared, digests, strict=True)
        ]

    def _caption(self, mean, digest, seed, n):
        text = "" if number(digest, "silent") > self.silent else f"brightness {mean:.1f} take {seed}{n}"
        return Caption((1, 2), (-0.5, -1.0 - n), text)


class FakeFilter:
    """Scores a text by its letters and the image's brightness."""

    columns = ("itm_logit", "itm_prob", "itc")

    def __init__(self, name="fake-filter"):
        self.id = name

    def prepare(self, image):
        return float(np.asarray(image).mean())

    def __call__(self, prepared, texts):
        return [[self._score(mean, text) for text in own] for mean, own in zip(prepared, texts, strict=True)]

    def _score(self, mean, text):
        probability = number(self.id, round(mean, 3), text)
        return (probability * 2 - 1, probability, probability / 2)
