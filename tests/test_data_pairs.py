"""Records: references that read back, bytes without scanning, digests, sets in memory."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_files import encoded, picture, write_tar
from PIL import Image

from blip.data.images import open_image
from blip.data.pairs import ImageRef, Pair, Reject, image_bytes, image_ref, image_sha256
from blip.data.pairset import PairSet


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        (ImageRef("a/b.jpg"), "a/b.jpg"),
        (ImageRef("a.tar", 512, 20), "a.tar#512+20"),
        (ImageRef("a.bin", 7), "a.bin#7+"),
        (ImageRef("odd#1+2"), "odd#1+2#0+"),
        (ImageRef("odd#3@x", 1, 4), "odd#3@x#1+4"),
        (ImageRef("t.parquet", 3, None, "image.bytes"), "t.parquet#3@image.bytes"),
    ],
)
def test_reference_as_text_reads_back(ref, text):
    assert str(ref) == text
    assert ImageRef.parse(text) == ref


def test_bytes_of_a_tar_member_come_from_its_range_alone(tmp_path):
    data = encoded(picture(1))
    tar = write_tar(tmp_path / "a.tar", {"x.jpg": b"?" * 700, "y.jpg": data})
    at = tar.read_bytes().index(data)
    whole = bytearray(tar.read_bytes())
    whole[:at] = b"\xff" * at  # nothing before the range may matter
    tar.write_bytes(whole)
    assert image_bytes(Pair("y", "c", ImageRef(str(tar), at, len(data)))) == data


def test_a_range_beyond_the_end_is_an_error(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"12345")
    with pytest.raises(OSError, match="ends inside the image at byte 3"):
        ImageRef(str(tmp_path / "a.tar"), 3, 4).read()


def test_bytes_of_a_parquet_row_across_row_groups(tmp_path):
    images = [encoded(picture(seed)) for seed in range(7)]
    path = str(tmp_path / "t.parquet")
    struct = [{"bytes": data, "path": None} for data in images]
    pq.write_table(pa.table({"jpg": images, "image": struct}), path, row_group_size=3)
    for row in (6, 0, 3, 2):
        assert ImageRef(path, row, None, "jpg").read() == images[row]
        assert ImageRef(path, row, None, "image.bytes").read() == images[row]
    with pytest.raises(OSError, match="has no row 7"):
        ImageRef(path, 7, None, "jpg").read()


def test_a_rewritten_parquet_file_is_read_anew(tmp_path):
    path = tmp_path / "t.parquet"
    for content in (b"first", b"second"):
        pq.write_table(pa.table({"jpg": [content]}), path)
        assert ImageRef(str(path), 0, None, "jpg").read() == content


def test_digest_is_of_bytes_or_of_shape_and_pixels(tmp_path):
    data = encoded()
    (tmp_path / "a.jpg").write_bytes(data)
    truth = hashlib.sha256(data).hexdigest()
    assert image_sha256(Pair("a", "", data)) == truth
    assert image_sha256(Pair("b", "", ImageRef(str(tmp_path / "a.jpg")))) == truth
    flat, tall = np.zeros((2, 8, 3), np.uint8), np.zeros((8, 2, 3), np.uint8)
    assert image_sha256(Pair("a", "", flat)) != image_sha256(Pair("a", "", tall))
    strided = np.zeros((4, 16, 3), np.uint8)[::2, ::2]
    assert image_sha256(Pair("a", "", strided)) == image_sha256(Pair("b", "", flat))


def test_pixels_become_png_that_holds_them():
    pixels = np.asarray(picture(3))
    pair = Pair("a", "c", pixels)
    assert np.array_equal(np.asarray(open_image(Pair("a", "c", image_bytes(pair)))), pixels)
    assert isinstance(open_image(pair), Image.Image)
    assert image_ref(pair) == ""
    assert image_ref(Pair("a", "c", ImageRef("x.tar", 1, 2))) == "x.tar#1+2"


def test_pairs_are_equal_by_key_and_text():
    pixels = np.zeros((2, 2, 3), np.uint8)
    assert Pair("a", "c", pixels) == Pair("a", "c", pixels + 1)
    assert Pair("a", "c", b"") != Pair("b", "c", b"")
    assert len({Pair("a", "c", pixels), Pair("a", "c", pixels)}) == 1


def test_a_set_in_memory_groups_captions_by_key():
    image = np.zeros((2, 2, 3), np.uint8)
    rows = [Pair(key, text, image) for key, text in [("a", ""), ("b", "x"), ("a", "y"), ("c", "")]]
    pairs = PairSet.of(rows, [Reject("c", "", "the caption is empty", "text")])
    assert [(pair.key, pair.caption) for pair in pairs] == [("b", "x"), ("a", "y")]
    assert [(pair.key, pair.caption) for pair in pairs.images] == [
        ("a", "y"),
        ("b", "x"),
        ("c", ""),
    ]
    assert [[pair.caption for pair in pairs.captions(i)] for i in range(3)] == [["y"], ["x"], []]
    assert pairs.shards is None
    assert pairs[-1].key == "a" and [pair.key for pair in pairs[:1]] == ["b"]
    assert [pair.key for pair in pairs.first(2).images] == ["a", "b"]
    assert pairs.first(2).rejects == [] and len(pairs.first(3).rejects) == 1


def test_an_empty_set_is_empty():
    pairs = PairSet.of([])
    assert len(pairs) == len(pairs.images) == 0
    assert list(pairs) == []
