"""WebDataset tars: what img2dataset writes, what others write, and what is broken."""

import gzip
import io
import json
import tarfile

import pytest
from data_files import encoded, picture, write_tar
from PIL import Image

import blip.data.tars
from blip.data.pairs import ImageRef, Pair, image_bytes
from blip.data.readers import read_pairs
from blip.data.tar_members import CutTar, tar_members
from blip.data.writers import write_tars
from blip.errors import InputError

IMAGES = [encoded(picture(seed)) for seed in range(4)]


def sample(key: str, number: int, caption: bytes) -> dict[str, bytes]:
    """One sample as img2dataset writes it."""
    record = {"key": key, "caption": caption.decode("utf-8", "replace"), "status": "success"}
    return {
        f"{key}.jpg": IMAGES[number],
        f"{key}.json": json.dumps(record).encode(),
        f"{key}.txt": caption,
    }


def test_img2dataset_layout(tmp_path):
    path = write_tar(
        tmp_path / "00000.tar",
        sample("000000", 0, b"A dog.\n") | sample("000001", 1, b"caf\xc3\xa9"),
    )
    pairs = read_pairs(path)
    assert [(pair.key, pair.caption, pair.origin) for pair in pairs] == [
        ("000000", "A dog.\n", "web"),  # byte for byte, with its line end
        ("000001", "café", "web"),
    ]
    assert [image_bytes(pair) for pair in pairs] == IMAGES[:2]
    assert pairs.rejects == [] and pairs.renamed == 0


def test_a_byte_order_mark_stays_in_a_caption_and_hides_no_record(tmp_path):
    record = {"caption": "a cat", "key": "own"}
    members = {"a.jpg": IMAGES[0], "a.txt": b"\xef\xbb\xbfA dog.", "b.jpg": IMAGES[1]}
    path = write_tar(tmp_path / "a.tar", members | {"b.json": b"\xef\xbb\xbf" + json.dumps(record).encode()})
    assert [(pair.key, pair.caption) for pair in read_pairs(path)] == [("a", "\ufeffA dog."), ("own", "a cat")]


def test_several_captions_share_the_key_and_the_image(tmp_path):
    record = {"captions": ["one", "", "three"]}
    path = write_tar(
        tmp_path / "a.tar", {"x.jpg": IMAGES[0], "x.json": json.dumps(record).encode()}
    )
    pairs = read_pairs(path, origin="human")
    assert [(pair.key, pair.caption, pair.origin) for pair in pairs] == [
        ("x", "one", "human"),
        ("x", "three", "human"),
    ]
    assert pairs[0].image == pairs[1].image
    assert len(pairs.images) == 1 and len(pairs.captions(0)) == 2
    assert [(reject.key, reject.kind, reject.reason) for reject in pairs.rejects] == [
        ("x", "text", "the caption is empty")
    ]


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ({"b.txt": b""}, "the caption is empty"),
        ({"b.txt": b" \n"}, "the caption is empty"),
        ({"b.txt": b"!!"}, "the caption has no words"),
        ({"b.txt": b"\xff\xfe"}, "the caption is not UTF-8"),
        ({"b.txt": b"x" * 10_000_000}, "the caption is longer than 20,000 bytes"),
        ({}, "the caption is empty"),
        ({"b.json": b'{"caption": "caf\xe9"}'}, "the caption is not UTF-8"),
        ({"b.json": b'{"caption": 7}'}, "the caption is of type int, not text"),
        ({"b.json": b"{not json"}, "the caption is empty"),
    ],
)
def test_unusable_text_is_rejected_and_its_image_stays(tmp_path, member, reason):
    members = sample("a", 0, b"good") | {"b.jpg": IMAGES[1]} | member | sample("c", 2, b"fine")
    pairs = read_pairs(write_tar(tmp_path / "a.tar", members))
    assert [pair.key for pair in pairs] == ["a", "c"]
    assert [(pair.key, pair.caption) for pair in pairs.images] == [
        ("a", "good"),
        ("b", ""),
        ("c", "fine"),
    ]
    assert image_bytes(pairs.images[1]) == IMAGES[1]
    assert [(reject.key, reject.kind, reject.reason) for reject in pairs.rejects] == [
        ("b", "text", reason)
    ]
    assert ImageRef.parse(pairs.rejects[0].ref).read() == IMAGES[1]


def test_text_without_image_is_rejected_once_for_each_caption(tmp_path):
    members = sample("a", 0, b"good") | {"b.txt": b"lost"} | {"c.json": b'{"captions": ["x", "y"]}'}
    pairs = read_pairs(write_tar(tmp_path / "a.tar", members))
    assert len(pairs) == len(pairs.images) == 1
    assert [(reject.key, reject.kind) for reject in pairs.rejects] == [
        ("b", "image"),
        ("c", "image"),
        ("c", "image"),
    ]
    assert {reject.reason for reject in pairs.rejects} == {"no image goes with this text"}


def test_members_may_lie_apart_and_in_folders(tmp_path):
    members = {
        "./n/a.jpg": IMAGES[0],
        "./n/b.png": IMAGES[1],
        "./n/b.txt": b"b",
        "./n/a.txt": b"a",
        "./n/.x.jpg": b"",
    }
    pairs = read_pairs(write_tar(tmp_path / "a.tar", members))
    assert [(pair.key, pair.caption) for pair in pairs] == [("n/a", "a"), ("n/b", "b")]
    assert [image_bytes(pair) for pair in pairs] == IMAGES[:2]


PAIRINGS = {
    ("cat.1.jpg", "cat.2.jpg", "cat.1.txt", "cat.2.txt"): {0: 2, 1: 3},
    ("cat.1.jpg", "cat.2.txt", "cat.2.jpg", "cat.1.txt"): {0: 3, 2: 1},
    ("x.jpg", "x.caption.txt", "y.caption.txt", "y.jpg"): {0: 1, 3: 2},  # WebDataset: up to the first dot
    ("x.rgb.jpg", "x.txt"): {0: 1},
    ("x.rgb.jpg", "x.words.txt"): {0: 1},
    ("k.jpg", "k.seg.jpg", "k.caption.txt"): {0: 2, 1: None},
    ("i.1.jpg", "i.1.words.txt", "i.2.jpg", "i.2.words.txt"): {0: 1, 2: 3},
    ("x.jpg", "x.caption.txt", "x.jpg", "x.caption.txt"): {0: 1, 2: 3},
    ("p.1.jpg", "p.2.jpg", "p.2.txt", "p.3.txt"): {0: None, 1: 2},  # 3 is nobody's, and is not 1's
    ("v.1.jpg", "v.2.jpg", "v.txt"): {0: None, 1: None},  # whose is not known
    ("n/x.jpg", "x.caption.txt"): {0: None},
}


@pytest.mark.parametrize("names", PAIRINGS)
def test_names_with_several_dots_are_paired_by_all_of_them_first(tmp_path, names):
    members = [(name, encoded(picture(n)) if name.endswith("jpg") else f"text {n}".encode()) for n, name in enumerate(names)]
    pairs = read_pairs(write_tar(tmp_path / "a.tar", members))
    wanted = [(members[image][1], "" if text is None else f"text {text}") for image, text in PAIRINGS[names].items()]
    assert [(image_bytes(pair), pair.caption) for pair in pairs.images] == wanted
    left = set(range(len(names))) - set(PAIRINGS[names]) - set(PAIRINGS[names].values())
    assert sum(reject.reason == "no image goes with this text" for reject in pairs.rejects) == len(left)


def test_equal_keys_of_different_images_are_renamed_in_order(tmp_path):
    twice = [
        ("x.jpg", IMAGES[0]),
        ("x.txt", b"one"),
        ("x.jpg", IMAGES[1]),
        ("x.txt", b"two"),
        ("x~2.jpg", IMAGES[2]),
    ]
    write_tar(tmp_path / "0.tar", twice)
    write_tar(tmp_path / "1.tar", {"x.jpg": IMAGES[3], "x.txt": b""})
    pairs = read_pairs(tmp_path)
    assert [(pair.key, pair.caption) for pair in pairs.images] == [
        ("x", "one"),
        ("x~3", "two"),
        ("x~2", ""),
        ("x~4", ""),
    ]
    assert [image_bytes(pair) for pair in pairs.images] == IMAGES
    assert pairs.renamed == 2
    assert [reject.key for reject in pairs.rejects] == ["x~2", "x~4"]
    assert pairs.shards.tolist() == [0, 0]


@pytest.mark.parametrize("pictures", ["two", "one"])
def test_a_key_in_the_json_joins_samples_only_where_their_pictures_are_equal(tmp_path, pictures):
    """A product's number in the field `key`; the pictures have equally many bytes."""
    red, blue = (encoded(Image.new("RGB", (16, 16), colour), "BMP") for colour in ("red", "blue"))
    assert len(red) == len(blue)
    members = {}
    for number, (image, caption) in enumerate([(red, "red"), (blue if pictures == "two" else red, "blue")]):
        record = {"key": "product-7", "caption": caption}
        members |= {f"{number:05}.bmp": image, f"{number:05}.json": json.dumps(record).encode()}
    pairs = read_pairs(write_tar(tmp_path / "a.tar", members))
    second = "product-7~2" if pictures == "two" else "product-7"
    assert [(pair.key, pair.caption) for pair in pairs] == [("product-7", "red"), (second, "blue")]
    assert [image_bytes(pair) for pair in pairs.images] == ([red, blue] if pictures == "two" else [red])
    assert pairs.renamed == (pictures == "two")


def test_samples_of_our_own_tars_are_joined_without_a_look_at_the_pictures(tmp_path, monkeypatch):
    own = [(Pair("a", "one", IMAGES[0]), {}), (Pair("a", "two", IMAGES[0]), {}), (Pair("b", "three", IMAGES[1]), {})]
    (path,) = write_tars(own, tmp_path / "own").paths
    with monkeypatch.context() as patch:
        patch.setattr(ImageRef, "read", lambda ref: pytest.fail(f"{ref} was read"))
        pairs = read_pairs(path)
    assert [(pair.key, pair.caption) for pair in pairs] == [("a", "one"), ("a", "two"), ("b", "three")]
    assert [image_bytes(pair) for pair in pairs.images] == IMAGES[:2]


def test_provenance_comes_from_the_json_unless_the_origin_is_given(tmp_path):
    record = {"caption": "a", "origin": "synthetic", "truth": "false", "noise_kind": "near-miss"}
    members = {"x.jpg": IMAGES[0], "x.json": json.dumps(record).encode()}
    path = write_tar(
        tmp_path / "a.tar",
        members | {"y.jpg": IMAGES[1], "y.json": b'{"caption": "b", "origin": "moon"}'},
    )
    first, second = read_pairs(path)
    assert (first.origin, first.truth, first.noise_kind) == ("synthetic", "false", "near-miss")
    assert (second.origin, second.truth) == ("web", None)
    assert {pair.origin for pair in read_pairs(path, origin="human")} == {"human"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_agree_with_tarfile_in_every_format(tmp_path, form):
    long = "folder/" * 12 + "name" * 20
    names = (
        ["a.txt", f"{long}.txt", "é.txt"]
        if form != tarfile.USTAR_FORMAT
        else ["a.txt", "d/" * 60 + "b.txt"]
    )
    path = write_tar(tmp_path / "a.tar", {name: name.encode() * 99 for name in names}, form)
    with tarfile.open(path, "a", format=form) as tar:
        folder, link = tarfile.TarInfo("folder"), tarfile.TarInfo("link.jpg")
        folder.type, link.type, link.linkname = tarfile.DIRTYPE, tarfile.SYMTYPE, "a.txt"
        tar.addfile(folder)
        tar.addfile(link)
        last = tarfile.TarInfo("last.txt")
        last.size = 1024  # ends on a block
        tar.addfile(last, io.BytesIO(b"z" * 1024))
    with tarfile.open(path) as tar:
        truth = [(m.name, m.offset_data, m.size) for m in tar.getmembers() if m.isreg()]
    with open(path, "rb") as file:
        assert [(m.name, m.offset, m.size) for m in tar_members(file)] == truth


def test_a_tar_is_read_once_from_front_to_back(tmp_path, monkeypatch):
    """Over a network whatever is read a second time is fetched a second time."""
    path = write_tar(tmp_path / "00000.tar", sample("000000", 0, b"A dog.") | sample("000001", 1, b"A cat."))
    places: list[int] = []

    class Watched(io.FileIO):
        def read(self, size=-1):
            places.append(self.tell())
            return super().read(size)

    monkeypatch.setattr(blip.data.tars, "open_file", lambda path: Watched(path))
    pairs = read_pairs(path)
    assert [pair.caption for pair in pairs] == ["A dog.", "A cat."]
    assert places[1:] == sorted(places[1:]) and len(places) > 6  # behind the look at how it begins


def test_size_beyond_eight_gigabytes_is_read(tmp_path):
    """GNU tar writes it in base 256; the file itself is sparse here, and cut after the header."""
    member = tarfile.TarInfo("big.jpg")
    member.size = 9_000_000_000
    path = tmp_path / "a.tar"
    with open(path, "wb") as file:
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        file.truncate(512 + 9_000_000_000 // 512 * 512 + 512 + 1024)
    with open(path, "rb") as file:
        assert [(m.offset, m.size) for m in tar_members(file)] == [(512, 9_000_000_000)]


def cut_points(data: bytes) -> list[int]:
    """Inside the second image, inside a header, at the end of a member, before the end mark."""
    at = data.index(IMAGES[1])
    return [at + 100, at - 300, at - 512, len(data.rstrip(b"\0")) // 512 * 512 + 512]


@pytest.mark.parametrize("which", range(4))
def test_a_cut_tar_gives_its_complete_members(tmp_path, which):
    path = write_tar(tmp_path / "a.tar", sample("a", 0, b"one") | sample("b", 1, b"two"))
    data = path.read_bytes()
    path.write_bytes(data[: cut_points(data)[which]])
    pairs = read_pairs(path)
    assert [pair.key for pair in pairs] == (["a", "b"] if which == 3 else ["a"])
    assert image_bytes(pairs[0]) == IMAGES[0]
    (lost,) = pairs.rejects
    assert (lost.kind, lost.ref) == ("file", str(path))
    assert lost.reason.startswith(
        "the tar ends at byte" if which else "the tar is cut inside the member 'b.jpg'"
    )


def test_damage_in_the_middle_ends_the_tar_there(tmp_path):
    path = write_tar(tmp_path / "a.tar", sample("a", 0, b"one") | sample("b", 1, b"two"))
    data = bytearray(path.read_bytes())
    at = data.index(IMAGES[1]) - 512
    data[at : at + 512] = b"\x07" * 512
    path.write_bytes(data)
    pairs = read_pairs(path)
    assert [pair.key for pair in pairs] == ["a"]
    assert (
        pairs.rejects[0].reason
        == f"the tar has no valid header at byte {at:,}; its complete members are used"
    )


@pytest.mark.parametrize("broken", [b" path!", b" size="])
def test_a_broken_pax_header_is_not_a_crash(tmp_path, broken):
    path = write_tar(tmp_path / "a.tar", {"é" * 120 + ".txt": b"x"}, tarfile.PAX_FORMAT)
    data = path.read_bytes()
    path.write_bytes(data.replace(b" path=", broken))
    with open(path, "rb") as file, pytest.raises(CutTar, match="broken pax header"):
        list(tar_members(file))


def test_tars_in_a_row_are_read_as_each_alone(tmp_path):
    """As `cat` joins them: a text belongs to no image of another tar, and every image is where its bytes are."""
    one = write_tar(tmp_path / "1.tar", sample("a", 0, b"one") | {"b.jpg": IMAGES[1]})
    two = write_tar(tmp_path / "2.tar", {"b.txt": b"of no image"} | sample("a", 2, b"two") | sample("c", 3, b"three"))
    joined = tmp_path / "joined.tar"
    joined.write_bytes(one.read_bytes() + bytes(3 * 2**20) + two.read_bytes())
    pairs, apart = read_pairs(joined), read_pairs([one, two])
    assert [(pair.key, pair.caption) for pair in pairs] == [(pair.key, pair.caption) for pair in apart]
    assert [image_bytes(pair) for pair in pairs.images] == IMAGES == [image_bytes(pair) for pair in apart.images]
    assert [(one.key, one.reason) for one in pairs.rejects] == [(one.key, one.reason) for one in apart.rejects]


@pytest.mark.parametrize(("rest", "reason"), [(b"x" * 700, "has no valid header at byte 10,240"), (b"x", "ends at byte 10,241")])
def test_other_bytes_behind_the_end_mark_are_told(tmp_path, rest, reason):
    path = write_tar(tmp_path / "a.tar", sample("a", 0, b"one"))
    path.write_bytes(path.read_bytes() + rest)
    pairs = read_pairs(path)
    assert [pair.key for pair in pairs] == ["a"]
    (lost,) = pairs.rejects
    assert lost.kind == "file" and reason in lost.reason


def test_a_file_that_cannot_be_opened_is_a_reject(tmp_path):
    write_tar(tmp_path / "0.tar", sample("a", 0, b"one"))
    (tmp_path / "1.tar").symlink_to(tmp_path / "gone.tar")
    pairs = read_pairs(tmp_path)
    assert [pair.key for pair in pairs] == ["a"]
    (lost,) = pairs.rejects
    assert lost.kind == "file" and lost.reason.startswith("cannot be read: ")


def test_a_file_given_twice_is_read_twice(tmp_path):
    path = write_tar(tmp_path / "0.tar", sample("a", 0, b"one"))
    assert [pair.key for pair in read_pairs([path, path]).images] == ["a", "a~2"]


def test_a_pattern_that_meets_tars_and_their_folder_reads_them_once(tmp_path):
    (tmp_path / "deep").mkdir()
    write_tar(tmp_path / "deep" / "0.tar", sample("a", 0, b"one"))
    write_tar(tmp_path / "deep" / "1.tar", sample("b", 1, b"two"))
    pairs = read_pairs(f"{tmp_path}/**/*")
    assert [pair.key for pair in pairs.images] == ["a", "b"] and pairs.shards.tolist() == [0, 1]


def test_other_tars_go_on_beside_a_broken_one(tmp_path):
    write_tar(tmp_path / "0.tar", sample("a", 0, b"one"))
    (tmp_path / "1.tar").write_bytes(gzip.compress(b"whatever"))
    (tmp_path / "2.tar").write_bytes(b"not a tar" * 100)
    write_tar(tmp_path / "3.tar", sample("b", 1, b"two"))
    pairs = read_pairs(str(tmp_path / "*.tar"))
    assert [pair.key for pair in pairs] == ["a", "b"]
    assert [reject.kind for reject in pairs.rejects] == ["file", "file"]
    assert (
        "gzip" in pairs.rejects[0].reason and "no valid header at byte 0" in pairs.rejects[1].reason
    )
    assert pairs.shards.tolist() == [0, 3]


def test_nothing_readable_is_an_input_error(tmp_path):
    (tmp_path / "1.tar").write_bytes(b"")
    with pytest.raises(InputError, match=r"1\.tar cannot be used: the tar ends at byte 0"):
        read_pairs(tmp_path / "1.tar")


def test_patterns_lists_and_braces(tmp_path):
    for number in (9, 10, 11):
        write_tar(tmp_path / f"w-{number:03d}.tar", sample(f"k{number}", 0, b"text"))
    keys = ["k9", "k10", "k11"]
    assert [pair.key for pair in read_pairs(str(tmp_path / "w-*.tar"))] == keys
    assert [pair.key for pair in read_pairs(str(tmp_path / "w-{009..011}.tar"))] == keys
    assert [pair.key for pair in read_pairs([tmp_path / "w-011.tar", tmp_path / "w-009.tar"])] == [
        "k11",
        "k9",
    ]
    with pytest.raises(InputError, match=r"no file matches .*w-012\.tar.*check the path"):
        read_pairs(str(tmp_path / "w-{009..012}.tar"))
    with pytest.raises(InputError, match=r"w-\{011\.\.009\}\.tar' counts down: write \{009\.\.011\}"):
        read_pairs(str(tmp_path / "w-{011..009}.tar"))
    with pytest.raises(InputError, match="the list of data files is empty"):
        read_pairs([])
