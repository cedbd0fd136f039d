"""Loaders: order, exact resume, batches that no thread can change, bad pictures, shards."""

import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import encoded, picture

import blip.distributed
from blip.data.images import open_image
from blip.data.loading import Batch, Loader, Request
from blip.data.pairs import ImageRef, Pair
from blip.data.pairset import PairSet
from blip.data.sources import ArraySource, PhotoSource
from blip.data.text import hash64, normalized_text_hash
from blip.data.transforms import eval_transform, keyed_rng, normalize_uint8, train_transform
from blip.errors import InputError


def photo_source(count: int = 23, bad: tuple[int, ...] = (), train: bool = True) -> PhotoSource:
    """Photos in memory, some of them cut."""
    files = [encoded(picture(number, (40, 30))) for number in range(count)]
    pairs = [
        Pair(f"k{number}", f"Photo {number}.", data[:200] if number in bad else data)
        for number, data in enumerate(files)
    ]
    return PhotoSource(pairs, train_transform(16) if train else eval_transform(16))


def jitter(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return images + torch.randint(
        0, 9, (len(images), 1, 1, 1), generator=generator, dtype=torch.uint8
    )


def array_source(count: int = 23, augment=jitter) -> ArraySource:
    pixels = np.random.default_rng(0).integers(0, 200, (count, 8, 8, 3), dtype=np.uint8)
    return ArraySource(
        torch.from_numpy(pixels), [f"Scene {n}." for n in range(count)], augment=augment
    )


SOURCES = {
    "photos": photo_source,
    "photos with bad ones": lambda: photo_source(bad=(2, 3, 11)),
    "arrays": array_source,
}


def assert_equal(one: Batch, other: Batch) -> None:
    assert (one.keys, one.captions) == (other.keys, other.captions)
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.pair_ids, other.pair_ids) and torch.equal(one.image_ids, other.image_ids)


def take(loader: Loader, count: int) -> list[Batch]:
    stream = loader.stream()
    return [next(stream) for _ in range(count)]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("stop", [1, 3, 4, 7])
def test_a_stopped_and_resumed_loader_equals_an_unbroken_one(name, stop):
    """Five batches an epoch: within one, before its last, and (5 is made by 7 - 2) in the next."""
    unbroken = take(Loader(SOURCES[name](), 4, seed=5), 12)
    first = Loader(SOURCES[name](), 4, seed=5, workers=3)
    begun = take(first, stop)
    second = Loader(SOURCES[name](), 4, seed=5, workers=1, prefetch=0)
    second.load_state_dict(first.state_dict())
    for one, other in zip(begun + take(second, 12 - stop), unbroken, strict=True):
        assert_equal(one, other)


def test_the_state_after_a_whole_epoch_begins_the_next():
    loader = Loader(array_source(), 4)
    assert len(list(loader)) == len(loader) == 5
    assert loader.state_dict() == {
        "epoch": 1,
        "position": 0,
        "samples": 23,
        "seed": 0,
        "batch_size": 4,
        "shards_per_epoch": 0,
    }
    again = Loader(array_source(), 4)
    again.load_state_dict(loader.state_dict())
    assert_equal(next(iter(again)), next(iter(loader)))


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(("workers", "prefetch"), [(1, 0), (4, 1), (8, 5)])
def test_batches_do_not_depend_on_threads(name, workers, prefetch):
    truth = take(Loader(SOURCES[name](), 5, seed=1), 9)
    found = take(Loader(SOURCES[name](), 5, seed=1, workers=workers, prefetch=prefetch), 9)
    for one, other in zip(found, truth, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("name", ["photos", "arrays"])
def test_each_epoch_is_another_order_of_the_same_samples(name):
    loader = Loader(SOURCES[name](), 23, seed=2)
    (first,), (second,) = list(loader), list(loader)
    assert sorted(first.keys) == sorted(second.keys) and len(set(first.keys)) == 23
    assert first.keys != second.keys
    assert next(iter(Loader(SOURCES[name](), 23, seed=3))).keys != first.keys


def test_a_batch_holds_what_its_pairs_say():
    source = photo_source()
    batch = next(iter(Loader(source, 6, seed=4)))
    assert len(batch) == 6 and batch.images.shape == (6, 3, 16, 16)
    for row, key in enumerate(batch.keys):
        number = int(key[1:])
        assert batch.captions[row] == f"photo {number}"
        assert int(batch.pair_ids[row]) == normalized_text_hash(f"Photo {number}.")
        assert int(batch.image_ids[row]) == hash64(key)
        image = train_transform(16)(picture_of(source, number), keyed_rng(4, 0, number))
        assert torch.equal(batch.images[row], image)
    assert_equal(batch.to("cpu"), batch)


def picture_of(source: PhotoSource, number: int):
    return open_image(source.pairs[number])


def test_arrays_are_indexed_augmented_and_normalised():
    source = array_source(augment=None)
    batch = next(iter(Loader(source, 6, seed=4)))
    rows = [int(key) for key in batch.keys]
    assert torch.equal(batch.images, normalize_uint8(source.images[rows]))
    assert batch.captions == [f"scene {row}" for row in rows]
    augmented = next(iter(Loader(array_source(), 6, seed=4)))
    assert augmented.keys == batch.keys and not torch.equal(augmented.images, batch.images)
    pair_ids, image_ids = torch.arange(23) % 5, torch.arange(23) % 7
    given = ArraySource(
        source.images, source.captions, pair_ids=pair_ids, image_ids=image_ids, keys=source.keys
    )
    batch = next(iter(Loader(given, 6, seed=4)))
    assert batch.pair_ids.tolist() == [row % 5 for row in rows]
    assert batch.image_ids.tolist() == [row % 7 for row in rows]


def test_bad_images_give_their_place_to_others_and_are_rejected_once():
    bad = (0, 5, 6, 22)
    source = photo_source(bad=bad)
    loader = Loader(source, 4, workers=4)
    for _ in range(3):
        batches = list(loader)
        assert len(batches) == len(loader) == 5
        for batch in batches:
            assert len(batch) == 4 and not {f"k{row}" for row in bad} & set(batch.keys)
    assert [reject.key for reject in source.rejects] == ["k0", "k5", "k6", "k22"]
    assert all(
        reject.reason.startswith("cannot be decoded") and reject.kind == "image"
        for reject in source.rejects
    )


def test_the_substitute_comes_from_the_next_batch_and_leaves_the_rest_as_it_was():
    clean = list(Loader(photo_source(), 4, seed=1))
    victim = int(clean[1].keys[2][1:])
    damaged = list(Loader(photo_source(bad=(victim,)), 4, seed=1))
    for number, (before, after) in enumerate(zip(clean, damaged, strict=True)):
        differ = [row for row in range(4) if before.keys[row] != after.keys[row]]
        assert differ == ([2] if number == 1 else [])
    assert damaged[1].keys[2] == clean[2].keys[2]


@pytest.mark.parametrize(("count", "size"), [(23, 4), (24, 4), (24, 6), (7, 7), (1, 1), (12, 8)])
def test_substitutes_are_all_samples_once(count, size):
    order = np.random.default_rng(0).permutation(count)
    request = Request(order=order, start=0, count=size, seed=0, epoch=0, replace_bad=True)
    for at in range(size):
        rows = list(request.substitutes(at))
        assert sorted(rows) == list(range(count)) and rows[0] == order[at]


def test_nothing_but_bad_images_is_an_input_error(tmp_path):
    pairs = [Pair(f"k{n}", "text", ImageRef(str(tmp_path / "none.jpg"))) for n in range(6)]
    with pytest.raises(
        InputError, match=r"6 images in a row cannot be used.*none\.jpg.*cannot be read"
    ):
        next(iter(Loader(PhotoSource(pairs, eval_transform(8)), 2, workers=1, prefetch=0)))


def test_evaluation_reads_all_in_order_and_leaves_out_the_bad():
    source = photo_source(bad=(1, 4, 5, 6, 7, 22), train=False)
    loader = Loader(source, 4, train=False)
    batches = list(loader)
    assert len(loader) == 6 and [len(batch) for batch in batches] == [3, 4, 4, 4, 2]  # 4 to 7: none
    assert [key for batch in batches for key in batch.keys] == [
        f"k{n}" for n in range(22) if n not in (1, 4, 5, 6, 7)
    ]
    assert len(source.rejects) == 6


@pytest.mark.parametrize("name", SOURCES)
def test_processes_share_every_batch_of_one_process(name, monkeypatch):
    truth, parts = take(Loader(SOURCES[name](), 6, seed=5), 5), []
    monkeypatch.setattr(blip.distributed, "world_size", lambda: 3)
    for rank in range(3):
        monkeypatch.setattr(blip.distributed, "rank", lambda rank=rank: rank)
        loader = Loader(SOURCES[name](), 6, seed=5)
        assert len(loader) == 3
        parts.append(take(loader, 5))
        whole_batches = [len(batch) for batch in Loader(SOURCES[name](), 6, train=False)]
        assert whole_batches == ([[6], [6], [6, 5]] if "bad" not in name else [[4], [5], [6, 5]])[rank]
    for whole, *own in zip(truth, *parts, strict=True):
        assert [key for part in own for key in part.keys] == whole.keys
        assert torch.equal(torch.cat([part.images for part in own]), whole.images)
        assert torch.equal(torch.cat([part.pair_ids for part in own]), whole.pair_ids)
    monkeypatch.setattr(blip.distributed, "world_size", lambda: 4)
    with pytest.raises(InputError, match="A batch of 6 cannot be shared evenly by 4 processes; give a multiple of 4"):
        next(iter(Loader(SOURCES[name](), 6)))


def sharded(rows_of_shards: list[int]) -> PhotoSource:
    pairs = list(photo_source(sum(rows_of_shards)).pairs)
    shards = np.repeat(np.arange(len(rows_of_shards)), rows_of_shards)
    return PhotoSource(PairSet(pairs, np.arange(len(pairs)), [], shards), eval_transform(8))


def test_shards_rotate_over_the_epochs():
    sizes = [4, 5, 6, 4, 5]
    loader = Loader(sharded(sizes), 4, seed=1, shards_per_epoch=2)
    shard_of = np.repeat(np.arange(5), sizes)
    epochs = []
    for _ in range(6):
        expected = len(loader)
        batches = list(loader)
        assert len(batches) == expected
        epochs.append({int(shard_of[int(key[1:])]) for batch in batches for key in batch.keys})
    assert [len(shards) for shards in epochs] == [2, 2, 1, 2, 2, 1]
    assert epochs[0] | epochs[1] | epochs[2] == set(range(5))
    assert epochs[3:] == epochs[:3]
    firsts = [Loader(sharded([4] * 6), 4, seed=seed, shards_per_epoch=1) for seed in range(9)]
    assert len({frozenset(next(iter(loader)).keys) for loader in firsts}) > 2  # the seed's own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 24}, "a batch of 24 is more than the 23 pairs"),
        ({"batch_size": 0}, "the batch size is 0"),
        ({"batch_size": 4, "shards_per_epoch": 1}, "needs data in several files"),
    ],
)
def test_sizes_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        Loader(array_source(), **options)


def test_other_impossible_requests():
    with pytest.raises(InputError, match="the data has 2 shards: choose from 1 to 2"):
        Loader(sharded([5, 5]), 2, shards_per_epoch=3)
    with pytest.raises(InputError, match="no usable pairs"):
        Loader(PhotoSource([], eval_transform(8)), 1)
    with pytest.raises(InputError, match=r"differ in number \[2, 3\]"):
        ArraySource(torch.zeros(3, 4, 4, 3, dtype=torch.uint8), ["a", "b"])
    state = Loader(array_source(), 4, seed=1).state_dict()
    with pytest.raises(InputError, match="the saved run had seed 1, this one has 2"):
        Loader(array_source(), 4, seed=2).load_state_dict(state)
    with pytest.raises(InputError, match="the saved run had samples 23, this one has 22"):
        Loader(array_source(22), 4, seed=1).load_state_dict(state)
    with pytest.raises(InputError, match="the saved run had batch_size 4, this one has 6"):
        Loader(array_source(), 6, seed=1).load_state_dict(state)
    older = {name: value for name, value in state.items() if name in ("epoch", "position", "samples", "seed")}
    Loader(array_source(), 4, seed=1).load_state_dict(older)


def test_leaving_in_the_middle_stops_the_threads():
    before = threading.active_count()
    batches = iter(Loader(photo_source(), 4, workers=6, prefetch=3))
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_keyed_draws_are_independent():
    values = np.array(
        [keyed_rng(0, epoch, index).random(4) for epoch in range(40) for index in range(40)]
    )
    error = 1 / math.sqrt(12 * len(values))
    assert np.abs(values.mean(0) - 0.5).max() < 5 * error
    assert np.abs(np.corrcoef(values.T) - np.eye(4)).max() < 5 / math.sqrt(len(values))


def test_a_stream_that_is_left_open_ends_quietly_with_python(tmp_path):
    script = tmp_path / "left_open.py"
    script.write_text(
        "import torch\nfrom blip.data.loading import Loader\nfrom blip.data.sources import ArraySource\n"
        "images = torch.zeros(8, 4, 4, 3, dtype=torch.uint8)\n"
        "source = ArraySource(images, ['a'] * 8, keys=list('abcdefgh'))\n"
        "stream = Loader(source, 2, workers=2).stream()\nnext(stream)\nprint('done')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
