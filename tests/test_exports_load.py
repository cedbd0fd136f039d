"""Exports load elsewhere: open_clip's training reader, webdataset and Hugging Face `datasets` read them whole."""

import argparse
from collections import Counter

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import webdataset
from data_files import encoded, picture
from fake_models import FakeCaptioner, FakeFilter
from open_clip_train.data import get_wds_dataset
from PIL import Image
from test_ledger_commands import kept_rows, said

from blip.capfilt import Job, Policy, run
from blip.data.images import open_image
from blip.data.pairs import ImageRef, Pair
from blip.data.pairset import PairSet

datasets.disable_progress_bars()

# Two keys that become one name in a tar, and formats that training readers do not open.
FILES = {"a.b": "PNG", "a_b": "JPEG", "c": "WEBP", "d": "GIF", "e": "BMP", "f/g": "TIFF", "é ה": "PNG", "h": "JPEG"}
KEEP_ALL = ("--web", 0, "--synthetic", 0)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """A ledger over image files of many formats: two given captions and two synthetic ones of each."""
    folder = tmp_path_factory.mktemp("exports")
    pairs = []
    for n, (key, form) in enumerate(FILES.items()):
        path = folder / f"{n}.{form.lower()}"
        path.write_bytes(encoded(picture(n, (20, 20)), form))
        image = ImageRef(str(path))
        pairs += [Pair(key, f"web text {n}, שלום\n", image), Pair(key, f"human text {n}", image, "human")]
    job = Job(captioner=FakeCaptioner(candidates=2), filters={"itm": FakeFilter()}, images_per_shard=3)
    return run(job, PairSet.of(pairs), folder / "ledger")


def wanted(ledger, policy):
    """What must come out: how often each caption stands with each picture, as bytes of its pixels."""
    rows = ledger.table("candidates").to_pylist()
    refs = {row["image_key"]: ImageRef.parse(row["image_ref"]) for row in rows}
    pixels = {key: np.asarray(open_image(Pair(key, "", ref))).tobytes() for key, ref in refs.items()}
    return Counter((row["caption"], pixels[row["image_key"]]) for row in kept_rows(ledger, policy))


def exported_tars(ledger, capsys, out, shard_size, words=KEEP_ALL):
    """Their paths. The 4 captions of an image stay in one, also where a shard is of 3 pairs."""
    said(capsys, "ledger", "export", ledger.folder, "--out", out, "--shard-size", shard_size, *words)
    return sorted(str(path) for path in out.glob("*.tar"))


def read_by_open_clip(tars, count, epoch, size=4):
    """(caption, pixels) of every sample in one epoch of training."""
    args = argparse.Namespace(
        train_data="::".join(tars), train_num_samples=count, train_data_upsampling_factors=None,
        dataset_resampled=False, seed=0, batch_size=size, world_size=1, workers=0,
    )  # fmt: skip
    pixels = lambda image: torch.from_numpy(np.array(image))
    data = get_wds_dataset(args, pixels, is_train=True, epoch=epoch, tokenizer=lambda text: [text])
    assert data.dataloader.num_samples == count
    for images, texts in data.dataloader:
        assert images.dtype == torch.uint8 and images.shape == (size, 20, 20, 3)
        yield from ((text, image.numpy().tobytes()) for text, image in zip(texts, images, strict=True))


@pytest.mark.parametrize("shard_size", [3, 4, 1000])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_open_clip_trains_on_the_tars(ledger, tmp_path, capsys, shard_size, epoch):
    """Every kept pair once an epoch, in whatever order the shards come."""
    everything = wanted(ledger, Policy(web=0, synthetic=0))
    assert everything.total() == 4 * len(FILES)
    tars = exported_tars(ledger, capsys, tmp_path / "out", shard_size)
    assert len(tars) == {3: 8, 4: 8, 1000: 1}[shard_size]
    assert Counter(read_by_open_clip(tars, 32, epoch)) == everything


def test_open_clip_reads_what_the_policy_kept(ledger, tmp_path, capsys):
    chosen = wanted(ledger, Policy(web=0.3, synthetic=0.6))
    tars = exported_tars(ledger, capsys, tmp_path / "out", 3, ("--web", 0.3, "--synthetic", 0.6))
    assert 0 < chosen.total() < 32
    assert Counter(read_by_open_clip(tars, chosen.total(), 0, size=1)) == chosen


def test_webdataset_reads_pictures_captions_and_provenance(ledger, tmp_path, capsys):
    tars = exported_tars(ledger, capsys, tmp_path / "out", 3)
    policy = Policy(web=0, synthetic=0)
    scores = {row["row_id"]: row["score"] for row in kept_rows(ledger, policy)}
    found = Counter()
    for order in (tars, tars[::-1]):
        samples = list(webdataset.WebDataset(order, shardshuffle=False).decode("pilrgb"))
        assert sorted(own["json"]["row_id"] for own in samples) == sorted(scores)
        for own in samples:
            (image,) = (own[name] for name in ("jpg", "png", "webp") if name in own)
            about = own["json"]
            assert (about["caption"], about["score"], about["policy"]) == (own["txt"], scores[about["row_id"]], str(policy))
            assert about["borderline"] is False and bool(about["captioner_id"]) == (about["origin"] == "synthetic")
            found[own["txt"], np.asarray(image).tobytes()] += 1
    assert found == wanted(ledger, policy) + wanted(ledger, policy)


TYPES = {
    "caption": "string", "key": "string", "origin": "string", "row_id": "string", "candidate": "int16",
    "round": "int16", "captioner_id": "string", "decoding": "string", "mean_logprob": "float32",
    "score": "float32", "borderline": "bool", "policy": "string", "edited_from": "string",
}  # fmt: skip


def loaded(ledger, capsys, folder, *words):
    """The export as `datasets` opens a Parquet file."""
    path = folder / "a.parquet"
    said(capsys, "ledger", "export", ledger.folder, "--out", path, "--format", "parquet", *words)
    return datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(folder / "cache"))


def test_datasets_reads_the_parquet(ledger, tmp_path, capsys):
    table = loaded(ledger, capsys, tmp_path, *KEEP_ALL)
    features = dict(table.features)
    assert isinstance(features.pop("image"), datasets.Image)
    assert {name: feature.dtype for name, feature in features.items()} == TYPES
    rows = list(table)
    assert all(isinstance(row["image"], Image.Image) for row in rows)
    found = Counter((row["caption"], np.asarray(row["image"].convert("RGB")).tobytes()) for row in rows)
    policy = Policy(web=0, synthetic=0)
    assert found == wanted(ledger, policy)
    facts = ("row_id", "origin", "score", "borderline")
    decided = kept_rows(ledger, policy)
    assert [[row[name] for name in facts] for row in rows] == [[row[name] for name in facts] for row in decided]
    assert {row["mean_logprob"] is None for row in rows if row["origin"] != "synthetic"} == {True}


def test_types_do_not_hang_on_the_first_rows(tmp_path, capsys):
    """300 web captions, which have no log-probability, before the only synthetic one; and no caption at all."""
    image = encoded(picture(1), "PNG")
    (tmp_path / "a.png").write_bytes(image)
    pairs = [Pair("a", f"text {n}", ImageRef(str(tmp_path / "a.png"))) for n in range(300)]
    job = Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()})
    long = run(job, PairSet.of(pairs), tmp_path / "ledger")
    table = loaded(long, capsys, tmp_path, *KEEP_ALL)
    assert table.num_rows == 301 and table[300]["mean_logprob"] == -0.75 and table[0]["mean_logprob"] is None
    assert {name: own.dtype for name, own in table.features.items() if name != "image"} == TYPES
    # `datasets` opens no table without rows, but its columns are there.
    words = ("--format", "parquet", "--web", "inf", "--synthetic", "inf")
    said(capsys, "ledger", "export", long.folder, "--out", tmp_path / "none.parquet", *words)
    nothing = pq.read_table(tmp_path / "none.parquet")
    assert nothing.num_rows == 0 and set(nothing.column_names) == {"image", *TYPES}
