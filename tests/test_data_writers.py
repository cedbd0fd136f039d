"""What is written reads back, appears whole or not at all, and is what other readers expect."""

import csv
import errno
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
from data_files import encoded, picture

import blip.data.files
from blip.data.files import drop_unfinished, free_name, image_extension, replacing, replacing_many
from blip.data.images import open_image
from blip.data.pairs import ImageRef, Pair, image_bytes, image_sha256
from blip.data.readers import read_pairs
from blip.data.writers import IMAGE_SHA256, write_list, write_parquet, write_tars
from blip.errors import InputError

PNG = encoded(picture(7), "PNG")
PIXELS = np.asarray(picture(8))


@pytest.fixture
def records(tmp_path):
    """Two texts of one image, texts that are hard to keep, an image of pixels, one that is gone."""
    jpeg = encoded(picture(1))
    (tmp_path / "a.jpg").write_bytes(jpeg)
    here, gone = ImageRef(str(tmp_path / "a.jpg")), ImageRef(str(tmp_path / "gone.jpg"))
    pairs = [
        Pair("n/x.v1", 'A "web" text,\nwith\tmarks \u05e9 \U0001f436', here),
        Pair("n/x.v1", "a synthetic text", here, "synthetic"),
        Pair("n/x.v2", "human", PNG, "human"),
        Pair("gone", "lost", gone),
        Pair("world", "a red ball ", PIXELS, "web", "false", "near-miss"),
    ]
    scores = [0.25, 0.5, None, 0.75, 1.0]
    return [
        (pair, {"itm_prob": score, "captioner": None})
        for pair, score in zip(pairs, scores, strict=True)
    ]


def fields(pairs) -> list[tuple]:
    return [(pair.key, pair.caption, pair.origin, pair.truth, pair.noise_kind) for pair in pairs]


def check(back, records) -> None:
    """Read again: the same pairs in the same order with the same pictures, but for the lost one."""
    kept = [pair for pair, _ in records if pair.key != "gone"]
    assert fields(back) == fields(kept)
    for found, pair in zip(back, kept, strict=True):
        assert np.array_equal(np.asarray(open_image(found)), np.asarray(open_image(pair)))
    assert len(back.images) == 3 and back.rejects == [] and back.renamed == 0


def check_written(written, count: int = 4) -> None:
    assert written.pairs == count
    assert [(reject.key, reject.kind) for reject in written.rejects] == [("gone", "image")]
    assert written.rejects[0].ref.endswith("gone.jpg")
    assert all(path.is_file() for path in written.paths)


@pytest.mark.parametrize(("shard_size", "tars"), [(1, [2, 1, 1]), (2, [2, 2]), (3, [3, 1])])
def test_no_tar_ends_within_the_captions_of_an_image(tmp_path, records, shard_size, tars):
    written = write_tars(records, tmp_path / "out", shard_size=shard_size)
    check_written(written)
    assert [len(read_pairs(path)) for path in written.paths] == tars
    check(read_pairs(tmp_path / "out"), records)


@pytest.mark.parametrize("shard_size", [100, 4])
def test_tars_read_back(tmp_path, records, shard_size):
    written = write_tars(records, tmp_path / "out", shard_size=shard_size)
    check_written(written)
    check(read_pairs(tmp_path / "out"), records)


def test_tars_are_one_sample_a_pair_as_training_readers_want(tmp_path, records):
    written = write_tars(records, tmp_path / "out", shard_size=2, name="clean")
    assert [path.name for path in written.paths] == ["clean-00000.tar", "clean-00001.tar"]
    with tarfile.open(written.paths[0]) as tar:
        names = tar.getnames()
        assert names == [
            f"n/x_v1{number}.{end}" for number in ("", "~2") for end in ("jpg", "txt", "json")
        ]
        assert tar.extractfile("n/x_v1.txt").read().decode() == records[0][0].caption
        record = json.loads(tar.extractfile("n/x_v1~2.json").read())
    assert record == {
        "caption": "a synthetic text", "key": "n/x.v1", "origin": "synthetic",
        "itm_prob": 0.5, "captioner": None,
    }  # fmt: skip
    again = write_tars(records, tmp_path / "again", shard_size=2, name="clean")
    for one, other in zip(written.paths, again.paths, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", ["list.json", "list.csv", "list.tsv"])
def test_lists_read_back(tmp_path, records, name):
    written = write_list(records, tmp_path / "out" / name)
    check_written(written)
    check(read_pairs(written.paths[0]), records)
    files = sorted(
        str(path.relative_to(tmp_path / "out"))
        for path in (tmp_path / "out" / "images").rglob("*.*")
    )
    assert files == ["images/n/x_v1.jpg", "images/n/x_v2.png", "images/world.png"]


def test_lists_have_the_published_fields_and_the_provenance(tmp_path, records):
    rows = json.loads(write_list(records, tmp_path / "a.json").paths[0].read_text())
    assert rows[0]["image"] == "images/n/x_v1.jpg" and rows[0]["caption"] == records[0][0].caption
    assert [row["itm_prob"] for row in rows] == [0.25, 0.5, None, 1.0]
    with open(write_list(records, tmp_path / "a.csv").paths[0], newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == [
        "image", "caption", "key", "origin", "itm_prob", "captioner", "truth", "noise_kind",
    ]  # fmt: skip
    assert (table[0]["truth"], table[3]["truth"]) == ("", "false")
    with pytest.raises(InputError, match=r"must end in \.json, \.csv or \.tsv"):
        write_list(records, tmp_path / "a.xml")


@pytest.mark.parametrize("form", ["tars", "json", "csv", "parquet"])
def test_another_picture_than_was_captioned_is_a_reject(tmp_path, records, form):
    write = {"tars": write_tars, "parquet": write_parquet}.get(form, write_list)
    here = [(pair, own | {IMAGE_SHA256: image_sha256(pair)}) for pair, own in records if pair.key != "gone"]
    out = tmp_path / "out" if form == "tars" else tmp_path / "out" / f"pairs.{form}"
    plain = tmp_path / "plain" if form == "tars" else tmp_path / "plain" / f"pairs.{form}"
    written = write(here, out)
    assert (written.pairs, written.rejects) == (4, [])
    as_before = write([record for record in records if record[0].key != "gone"], plain)
    assert [path.read_bytes() for path in written.paths] == [path.read_bytes() for path in as_before.paths]
    (tmp_path / "a.jpg").write_bytes(encoded(picture(2)))
    others = write(here, tmp_path / "others" if form == "tars" else tmp_path / "others" / f"pairs.{form}")
    assert others.pairs == 2 and [reject.key for reject in others.rejects] == ["n/x.v1"] * 2
    assert {reject.reason for reject in others.rejects} == {"it is not the image that was captioned"}


def test_lists_in_one_folder_keep_their_own_pictures(tmp_path):
    """Lists of different sets with the same keys, and one written again: no picture takes another's place."""
    sets = {name: [(Pair(key, f"{name} {key}", encoded(picture(seed + n), "PNG")), {}) for n, key in enumerate("ab")]
            for seed, name in ((0, "one.json"), (10, "two.csv"), (20, "three.json"))}  # fmt: skip
    sets["one.tsv"] = sets["one.json"]
    for name, own in [*sets.items(), ("one.json", sets["one.json"])]:
        write_list(own, tmp_path / name)
    for name, own in sets.items():
        back = read_pairs(tmp_path / name)
        assert fields(back) == fields(pair for pair, _ in own)
        assert [image_bytes(found) for found in back] == [pair.image for pair, _ in own]
    assert len(list((tmp_path / "images").iterdir())) == 6


ODD = [
    "plain", 'with "quotes", comma', "new\nline", "cr\r\nlf", "lone\rcr", "\rfirst", "last\r", "tab\there", "  spaces  ", "'single",
    "=1+1", "emoji \U0001f436", "\ufeffbom", "\u2028line", "back\\slash", '"starts', 'ends"', "a\x1cfs b", "-dash", "null", "NaN",
    "1e5", "true", "e\u0301", "\u202eright to left", "a\x0bb\x85c",
]  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_odd_captions_come_back_from_lists_byte_for_byte(tmp_path, suffix):
    records = [(Pair(f"k{n}", caption, PNG), {"score": 0.5, "by": None}) for n, caption in enumerate(ODD)]
    path = write_list(records, tmp_path / f"a.{suffix}").paths[0]
    delimiter = "\t" if suffix == "tsv" else ","
    assert [pair.caption for pair in read_pairs(path)] == ODD
    with open(path, newline="", encoding="utf-8") as file:
        assert [row["caption"] for row in csv.DictReader(file, delimiter=delimiter)] == ODD
    table = pandas.read_csv(path, sep=delimiter, keep_default_na=False)
    assert table["caption"].tolist() == ODD
    assert path.read_bytes().splitlines()[1] == delimiter.join(["images/k0.png", "plain", "k0", "web", "0.5", ""]).encode()


def test_parquet_reads_back_with_types_and_the_image_feature(tmp_path, records):
    written = write_parquet(records, tmp_path / "out" / "a.parquet")
    check_written(written)
    check(read_pairs(written.paths[0]), records)
    table = pq.read_table(written.paths[0])
    assert table.column("itm_prob").to_pylist() == [0.25, 0.5, None, 1.0]
    assert str(table.schema.field("captioner").type) == "string"
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features == {"image": {"_type": "Image"}}
    assert str(table.schema.field("image").type) == "struct<bytes: binary, path: string>"


def test_parquet_in_several_row_groups(tmp_path):
    pairs = [(Pair(f"k{n}", f"text {n}", PNG), {"n": n}) for n in range(600)]
    written = write_parquet(iter(pairs), tmp_path / "a.parquet")
    assert written.pairs == 600
    assert pq.ParquetFile(written.paths[0]).num_row_groups == 3
    back = read_pairs(written.paths[0])
    assert [pair.key for pair in back] == [pair.key for pair, _ in pairs]
    assert image_bytes(back[599]) == PNG


def test_a_failed_write_leaves_what_was_there(tmp_path, records):
    def broken():
        yield records[0]
        raise RuntimeError("the source broke")

    for write, name in ((write_list, "a.json"), (write_parquet, "a.parquet")):
        (tmp_path / name).write_text("old")
        with pytest.raises(RuntimeError):
            write(broken(), tmp_path / name)
        assert (tmp_path / name).read_text() == "old"
    with pytest.raises(RuntimeError):
        write_tars(broken(), tmp_path / "tars")
    assert [path.name for path in tmp_path.rglob("*unfinished*")] == []
    assert list((tmp_path / "tars").iterdir()) == []


def test_files_written_together_are_synced_before_they_take_their_places(tmp_path, monkeypatch):
    monkeypatch.setattr(blip.data.files, "_TOGETHER", 3)
    synced, early = set(), []
    sync, replace = os.fsync, os.replace

    def note(handle):
        synced.add(os.fstat(handle).st_ino)
        sync(handle)

    def place(one, other):
        early.extend([other] * (os.stat(one).st_ino not in synced))
        replace(one, other)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "replace", place)
    wanted = {f"{'ab'[n % 2]}/{n}.bin": bytes([n]) * n for n in range(8)}
    there = []
    with replacing_many(tmp_path) as put:
        for name, data in wanted.items():
            put(name, data)
            there.append(len(list(tmp_path.rglob("[0-9]*.bin"))))
    assert there == [0, 0, 3, 3, 3, 6, 6, 6] and early == []
    assert {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*.bin")} == wanted
    assert all(folder.stat().st_ino in synced for folder in (tmp_path / "a", tmp_path / "b"))


def test_a_process_that_is_killed_leaves_no_image_and_no_list_half_written(tmp_path):
    """The third picture never comes: the two before it wait under other names, and those are tidied."""
    code = f"""
import os
from blip.data.pairs import Pair
from blip.data.writers import write_list
def records():
    yield Pair("a", "one", b"first"), {{}}
    yield Pair("b", "two", b"second"), {{}}
    os._exit(9)
write_list(records(), {str(tmp_path / "list.json")!r})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert [p for p in tmp_path.rglob("*") if p.is_file() and not p.name.startswith(".")] == []
    assert len(list(tmp_path.rglob("*.unfinished"))) == 2
    drop_unfinished(tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_full_disk_is_one_sentence(tmp_path):
    full = r"the disk of .* is full: free some space and start again"
    with pytest.raises(InputError, match=full), replacing(tmp_path / "a.bin") as file:
        file.write(b"some")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["\u56fe" * 78, "x" * 251, "y" * 400, "z" * 400 + "/" + "z" * 300, "k." * 130])
def test_long_keys_have_files_that_disks_allow(tmp_path, name):
    own = [(Pair(f"{name}{n}", f"text {n}", encoded(picture(n), "PNG")), {}) for n in range(3)]
    back = read_pairs(write_list(own, tmp_path / "a.json").paths[0])
    assert fields(back) == fields(pair for pair, _ in own)
    assert [image_bytes(found) for found in back] == [pair.image for pair, _ in own]
    assert len(read_pairs(write_tars(own, tmp_path / "tars").paths)) == 3


def test_a_file_may_have_the_longest_name_that_the_disk_allows(tmp_path):
    with replacing(tmp_path / ("x" * 255)) as file:
        file.write(b"all")
    assert [(len(path.name), path.read_bytes()) for path in tmp_path.iterdir()] == [(255, b"all")]


@pytest.mark.parametrize(("name", "said"), [
    ("file/a.json", "FOLDER/file/a.json cannot be written (Not a directory: FOLDER/file): give another place"),
    ("file/b/a.json", "FOLDER/file/b/a.json cannot be written (Not a directory: FOLDER/file/b): give another place"),
    ("there.json", "FOLDER/there.json cannot be written (Is a directory): give another place"),
    ("n" * 251 + ".json", ".json cannot be written (File name too long"),
])  # fmt: skip
def test_a_place_where_nothing_can_be_written_is_one_sentence(tmp_path, name, said):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "there.json").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as error, replacing(tmp_path / name) as file:
        file.write(b"some")
    assert said.replace("FOLDER", str(tmp_path)) in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_no_file_of_its_own_is_written_into_and_stays(tmp_path):
    """A device, a pipe and an open file; the disk keeps them, and they get all of it or nothing."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to(os.devnull)
    ends = os.pipe()
    waiting = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with (tmp_path / "kept").open("wb", buffering=0) as kept:
        kept.write(b"before ")
        for place in (tmp_path / "pipe", tmp_path / "null", f"/dev/fd/{ends[1]}", f"/dev/fd/{kept.fileno()}"):
            with pytest.raises(RuntimeError), replacing(place) as file:
                file.write(b"half")
                raise RuntimeError
            with replacing(place) as file:
                file.write(b"9876543210")
                file.seek(0)
                file.write(b"01234")
        kept.write(b" after")
    assert os.read(waiting, 100) == os.read(ends[0], 100) == b"0123443210"
    assert (tmp_path / "kept").read_bytes() == b"before 0123443210 after"
    for handle in (waiting, *ends):
        os.close(handle)
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "null").is_char_device()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "null", "pipe"]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here, a device that takes nothing")
def test_a_device_that_takes_nothing_is_one_sentence(tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")  # by a link: a fault here must not harm the device
    with pytest.raises(InputError, match=r"^the disk of .*/full is full"), replacing(tmp_path / "full") as file:
        file.write(b"some")
    assert (tmp_path / "full").is_char_device()


def test_what_the_block_cannot_open_stays_its_own_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.bin") as file:
        file.write((tmp_path / "none").read_bytes())
    assert list(tmp_path.iterdir()) == []


def test_extensions_are_told_by_the_bytes():
    expected = {
        "JPEG": "jpg",
        "PNG": "png",
        "WEBP": "webp",
        "GIF": "gif",
        "BMP": "bmp",
        "TIFF": "tif",
        "AVIF": "avif",
    }
    for form, extension in (expected | {"JPEG2000": "jp2"}).items():
        assert image_extension(encoded(picture(), form)) == extension


def test_free_names_have_no_dots_and_never_repeat():
    taken: set[str] = set()
    names = [free_name(key, taken) for key in ("a", "a", "a~2", "/abs/../x.y", "", "a")]
    assert names == ["a", "a~2", "a~2~2", "abs/__/x_y", "image", "a~3"]
