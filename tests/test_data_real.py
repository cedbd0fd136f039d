"""The real tars: our index against tarfile, photos through the loader, and back out again."""

import io
import json
import tarfile
import time
from pathlib import Path

import pytest
import torch
from conftest import shared_dir
from PIL import Image

from blip.data.images import open_image
from blip.data.loading import Loader
from blip.data.pairs import image_bytes
from blip.data.readers import read_pairs
from blip.data.sources import PhotoSource
from blip.data.transforms import train_transform
from blip.data.writers import write_tars


@pytest.fixture(scope="module")
def data() -> Path:
    return Path(shared_dir()) / "data"


def slow_truth(tars: list[Path]) -> list[tuple[str, str, bytes]]:
    """Key, caption and image bytes of every pair, by Python's tarfile."""
    found = []
    for path in tars:
        with tarfile.open(path) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
        for name, image in files.items():
            if name.endswith(".jpg"):
                key = name.removesuffix(".jpg")
                text = files.get(f"{key}.txt")
                captions = (
                    json.loads(files[f"{key}.json"])["captions"]
                    if text is None
                    else [text.decode()]
                )
                found += [(key, caption, image) for caption in captions]
    return found


@pytest.mark.parametrize(
    ("pattern", "pairs", "images"),
    [
        ("cc3m-128/*.tar", 881, 881),
        ("flickr8k-128/train-*.tar", 15_000, 3000),
        ("flickr8k-128/val-*.tar", 1500, 300),
    ],
)
def test_the_index_agrees_with_tarfile(data, pattern, pairs, images):
    read_pairs(str(data / "cc3m-128" / "*.tar"))  # the first read imports pandas, if it is there
    begun = time.perf_counter()
    found = read_pairs(str(data / pattern), origin="human")
    assert time.perf_counter() - begun < 5
    assert (len(found), len(found.images), found.rejects, found.renamed) == (pairs, images, [], 0)
    truth = slow_truth(sorted(data.glob(pattern)))
    assert [(pair.key, pair.caption, image_bytes(pair)) for pair in found] == truth
    assert len(set(found.shards.tolist())) == len(list(data.glob(pattern)))


def test_every_real_photo_opens_as_pillow_opens_it(data):
    for pair in read_pairs(str(data / "cc3m-128" / "*.tar")).first(200):
        plain = Image.open(io.BytesIO(image_bytes(pair))).convert("RGB")
        assert open_image(pair).tobytes() == plain.tobytes()


def test_real_photos_make_batches_and_resume(data):
    pairs = read_pairs(str(data / "cc3m-128" / "*.tar")).first(64)

    def loader() -> Loader:
        return Loader(PhotoSource(pairs, train_transform(64)), 16, seed=3)

    unbroken = list(loader())
    first = loader()
    stream = first.stream()
    next(stream), next(stream)
    second = loader()
    second.load_state_dict(first.state_dict())
    rest = list(second)
    assert len(unbroken) == 4 and len(rest) == 2
    for one, other in zip(rest, unbroken[2:], strict=True):
        assert one.keys == other.keys and torch.equal(one.images, other.images)
    images = torch.cat([batch.images for batch in unbroken])
    assert images.mean().abs() < 0.5 and 0.7 < images.std() < 1.4  # the constants fit photos


def test_real_pairs_come_back_from_our_tars(data, tmp_path):
    pairs = read_pairs(str(data / "flickr8k-128" / "val-*.tar"), origin="human").first(40)
    write_tars(((pair, {}) for pair in pairs), tmp_path)
    back = read_pairs(tmp_path)
    assert list(back) == list(pairs) and len(back.images) == 40
    assert [image_bytes(pair) for pair in back] == [image_bytes(pair) for pair in pairs]
