"""What the engine asks of the models: each encodes an image once, whatever the number of captions."""

from collections import Counter

import pytest
from data_files import encoded, picture
from fake_models import FakeCaptioner, FakeFilter

from blip.capfilt import Job, run
from blip.captioner import Captioner
from blip.checkpoint.opening import load_any
from blip.data.pairs import Pair
from blip.data.pairset import PairSet
from blip.errors import InputError
from blip.generate import Decoding
from blip.matching import Matcher
from lab.weights import WEIGHTS
from lab.world.sets import World, as_pairs

TILE, EACH, IMAGES = 4, 8, 18


def several_texts():
    """Every image with three texts of different length."""
    pairs = as_pairs(World.of("nano").web(IMAGES), 32)
    texts = ("a ball", "a small red ball", "a small red ball and two blue cubes on a green ground")
    return PairSet.of(Pair(pair.key, text, pair.image) for pair in pairs for text in texts)


def counted(model, counts, name):
    encode, remember = model.encode_image, model.remember
    model.encode_image = lambda pixels: counts.update([f"{name} images"]) or encode(pixels)
    model.remember = lambda *words: counts.update([f"{name} keys and values"]) or remember(*words)


def test_each_model_encodes_an_image_once(tmp_path):
    counts = Counter()
    captioner = Captioner(
        load_any(str(WEIGHTS / "captioner.safetensors")), Decoding(candidates=3, max_length=8), tile=TILE
    )
    matcher = Matcher(load_any(str(WEIGHTS / "filter.safetensors")), tile=TILE)
    counted(captioner.model, counts, "captioner")
    counted(matcher.model, counts, "filter")
    job = Job(captioner=captioner, filters={"itm": matcher}, images_per_shard=EACH)
    ledger = run(job, several_texts(), tmp_path / "ledger")
    assert ledger.table("candidates").num_rows > 4 * IMAGES
    tiles = 2 + 2 + 1  # 18 images in shards of 8, 8 and 2, in tiles of 4
    assert counts["captioner images"] == counts["filter images"] == tiles
    assert counts["captioner keys and values"] == counts["filter keys and values"] == tiles


def test_another_number_of_threads_is_another_job(tmp_path):
    """On a CPU the last digits of a caption's log-probability depend on it."""
    first = {"captioner": FakeCaptioner(), "filters": {"itm": FakeFilter()}}
    run(Job(**first, notes={"device": "cpu", "threads": 1}), several_texts(), tmp_path / "ledger")
    with pytest.raises(InputError, match="is the ledger of another job .its note 'threads' differs.; give another --out"):
        run(Job(**first, notes={"device": "cpu", "threads": 2}), several_texts(), tmp_path / "ledger")


def test_an_image_is_read_once(tmp_path, monkeypatch):
    reads = Counter()

    def read(pair):
        reads[pair.key] += 1
        return pair.image

    monkeypatch.setattr("blip.capfilt.work.image_bytes", read)
    pairs = PairSet.of(Pair(f"{n}", f"text {n}", encoded(picture(n))) for n in range(5))
    run(Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()}), pairs, tmp_path / "ledger")
    assert reads == {f"{n}": 1 for n in range(5)}
