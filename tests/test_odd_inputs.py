"""Odd inputs from end to end through `lab capfilt`: used rightly or rejected with a reason, none lost."""

import io
import json
import os
import shutil
import struct
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from data_files import encoded, picture, write_tar
from fake_models import FakeCaptioner, FakeFilter
from PIL import Image

from blip.capfilt import Job, Ledger, run, verify
from blip.data.readers import read_pairs
from blip.errors import InputError
from lab.cli import main
from lab.weights import WEIGHTS
from lab.world.sets import World

SCENES = [Image.fromarray(item.image(48)) for item in World.of("nano").web(6)]
TEXT = b"a red ball on a table"


@dataclass(frozen=True)
class Sample:
    """One input pair: its key, the image's extension and bytes, the caption's bytes, why it is rejected."""

    key: str
    extension: str = "png"
    image: bytes | None = encoded(SCENES[0], "PNG")
    text: bytes | None = TEXT
    reason: str | None = None


def cut_out(image):
    """The picture with its left half transparent, and what is to be seen of it on white."""
    rgba = np.dstack([np.asarray(image), np.full((48, 48), 255, np.uint8)])
    rgba[:, :24, 3] = 0
    seen = np.asarray(image).copy()
    seen[:, :24] = 255
    return Image.fromarray(rgba), Image.fromarray(seen)


def turned(image):
    """The picture as a camera held on its side stores it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)


def twins():
    """Odd form and plain PNG of the same picture: key -> (extension, odd bytes, plain bytes)."""
    grey = SCENES[1].convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    transparent, seen = cut_out(SCENES[2])
    few = SCENES[4].quantize(16)
    animated = encoded(few, "GIF", save_all=True, append_images=[SCENES[5].quantize(16)] * 2, duration=9)
    point = Image.new("RGB", (1, 1), (0, 0, 255))
    return {
        "cmyk": ("tif", encoded(SCENES[0].convert("CMYK"), "TIFF"), encoded(SCENES[0], "PNG")),
        "sixteen": ("png", encoded(deep, "PNG"), encoded(grey, "PNG")),
        "alpha": ("png", encoded(transparent, "PNG"), encoded(seen, "PNG")),
        "exif": ("png", turned(SCENES[3]), encoded(SCENES[3], "PNG")),
        "gif": ("gif", animated, encoded(few.convert("RGB"), "PNG")),
        "pixel": ("gif", encoded(point, "GIF"), encoded(point.resize((30, 30)), "PNG")),
    }


TWINS = twins()
USED = [
    *(Sample(key, extension, odd) for key, (extension, odd, _) in TWINS.items()),
    *(Sample(f"{key}-plain", "png", plain) for key, (_, _, plain) in TWINS.items()),
    Sample("emoji", text="a 🎉 red ball 👩‍👧 🇫🇷".encode()),
    Sample("only-emoji", text="🎉🎉".encode()),
    Sample("right-to-left", text="כדור אדום \u202bعلى الطاولة\u202c".encode()),
    Sample("line-ends", text=b"  a red ball\r\n\ton a table \n"),
    Sample("twice", "png", encoded(SCENES[1], "PNG"), b"the first of two"),
    Sample("twice", "gif", encoded(SCENES[2], "GIF"), b"the first of two"),
]
REJECTED = [
    Sample("cut", "jpg", encoded(picture(size=(300, 200)))[:4000], reason="cannot be decoded"),
    Sample("bomb", "png", encoded(Image.new("1", (60_000, 9_000)), "PNG"), reason="more than 50,000,000 pixels"),
    Sample("zero", "jpg", b"", reason="zero bytes"),
    Sample("strip", "png", encoded(Image.new("L", (20_000, 20)), "PNG"), reason="longer than 20 to 1"),
    Sample("page", "jpg", b"<!DOCTYPE html><html>404</html>", reason="a web page (HTML or XML)"),
    Sample("silent", text=b" \n", reason="the caption is empty"),
    Sample("endless", text=b"a ball " * 1_500_000, reason="longer than 20,000 bytes"),
    Sample("latin", text=b"caf\xe9 au lait", reason="the caption is not UTF-8"),
    Sample("untold", text=None, reason="the caption is empty"),
    Sample("unseen", image=None, reason="no image goes with this text"),
]
STILL_CAPTIONED = {"silent", "endless", "latin", "untold"}


def as_tar(folder):
    members = []
    for sample in USED + REJECTED:
        parts = [(sample.extension, sample.image), ("txt", sample.text)]
        members += [(f"{sample.key}.{ending}", data) for ending, data in parts if data is not None]
    write_tar(folder / "all.tar", members)
    return folder / "all.tar"


def as_folder(folder):
    for sample in USED + REJECTED:
        for ending, data in ((sample.extension, sample.image), ("txt", sample.text)):
            if data is not None:
                (folder / f"{sample.key}.{ending}").write_bytes(data)
    return folder


@pytest.fixture(scope="module", params=[as_tar, as_folder])
def ledger(request, tmp_path_factory):
    """One run of the nano weights over all of them, by greedy decoding: equal pictures, equal captions."""
    folder = tmp_path_factory.mktemp(request.param.__name__)
    (folder / "in").mkdir()
    weights = [f"--{name}={WEIGHTS / name}.safetensors" for name in ("captioner", "filter")]
    words = [f"--data={request.param(folder / 'in')}", f"--out={folder / 'out'}", *weights, "--strategy=greedy"]
    assert main(["capfilt", *words, "--images-per-shard=10", "--device=cpu"]) == 0
    return Ledger.open(folder / "out")


@pytest.fixture(scope="module")
def rows(ledger):
    """(image key, origin) -> the row of the candidates with its scores."""
    both = zip(ledger.table("candidates").to_pylist(), ledger.table("scores/itm").to_pylist(), strict=True)
    return {(row["image_key"], row["origin"]): row | score for row, score in both}


@pytest.mark.parametrize("key", TWINS)
def test_an_odd_form_is_seen_as_the_plain_picture(rows, key):
    for origin in ("web", "synthetic"):
        odd, plain = rows[key, origin], rows[f"{key}-plain", origin]
        assert odd["caption"] == plain["caption"]
        assert odd["itm_logit"] == pytest.approx(plain["itm_logit"], abs=1e-4)
        assert odd["itc"] == pytest.approx(plain["itc"], abs=1e-5)


def test_the_plain_pictures_differ_so_that_a_wrong_reading_would_show(rows):
    logits = sorted(rows[f"{key}-plain", "web"]["itm_logit"] for key in TWINS)
    assert min(high - low for low, high in pairwise(logits)) > 1e-3


def test_captions_are_kept_byte_for_byte_and_scored(rows):
    for sample in USED:
        row = rows[sample.key, "web"]
        assert row["caption"].encode() == sample.text
        assert 0 <= row["itm_prob"] <= 1


def test_equal_keys_are_two_images(rows):
    first, second = rows["twice", "web"], rows["twice~2", "web"]
    assert first["image_sha256"] != second["image_sha256"]
    assert first["caption"] == second["caption"] == "the first of two"
    assert first["row_id"] != second["row_id"]


def test_every_reject_has_its_reason_and_its_image_where_there_is_one(ledger, rows):
    rejects = {row["image_key"]: row for row in ledger.table("rejects").to_pylist()}
    assert set(rejects) == {sample.key for sample in REJECTED}
    for sample in REJECTED:
        reject = rejects[sample.key]
        assert sample.reason in reject["reason"]
        assert reject["pairs"] == 1
        assert "\n" not in reject["reason"]
        assert (sample.key, "web") not in rows
        assert ((sample.key, "synthetic") in rows) == (sample.key in STILL_CAPTIONED)


def test_the_counts_add_up_and_verify_holds(ledger):
    assert [finding.invariant for finding in verify(ledger) if not finding.holds] == []
    counts = ledger.counts()
    assert counts["given_rows"] == len(USED)
    assert counts["rejected_pairs"] == len(REJECTED)
    assert counts["images"] == counts["synthetic_rows"] == len(USED) + len(STILL_CAPTIONED)
    summary = json.loads((ledger.folder / "summary.json").read_text())
    assert (summary["pairs"], summary["rejects"]) == (len(USED) + len(REJECTED), len(REJECTED))


def finished(data, folder):
    """A ledger over the data by models that need no weights."""
    job = Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()})
    return run(job, read_pairs(data), folder / "out")


def test_names_that_are_not_utf8_are_rejects(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.png").write_bytes(encoded(SCENES[0], "PNG"))
    for ending, data in ((b".png", encoded(SCENES[1], "PNG")), (b".txt", TEXT)):
        with open(os.fsencode(folder) + b"/caf\xe9" + ending, "wb") as file:
            file.write(data)
    ledger = finished(folder, tmp_path)
    reasons = {row["image_key"]: row["reason"] for row in ledger.table("rejects").to_pylist()}
    assert reasons == {"caf\\udce9": "its name is not UTF-8: rename it", "good": "the caption is empty"}
    assert all(finding.holds for finding in verify(ledger))


def test_a_ledger_at_a_name_that_is_not_utf8_is_refused_before_any_work(tmp_path, capsys):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    said = f"The name of {tmp_path}/caf\\udce9 is not UTF-8, and no ledger can be read there; rename it, or give another."
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.png").write_bytes(encoded(SCENES[0], "PNG"))
    whole = finished(tmp_path / "in", tmp_path).folder
    job = Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()})
    with pytest.raises(InputError) as error:
        run(job, read_pairs(tmp_path / "in"), place)
    assert str(error.value) == said and not place.exists()
    capfilt = ["capfilt", "--data", "none", "--captioner", "none", "--filter", "none", "--out", str(place)]
    shutil.copytree(whole, moved := tmp_path / os.fsdecode(b"moved\xe9"))
    commands = [["ledger", name, str(moved)] for name in ("summary", "verify", "card")]
    for words in (capfilt, ["demo", f"--out={place}"], *commands, ["studio", str(moved)]):
        assert main(words) == 2
        told = capsys.readouterr()
        assert told.err.count("\n") == 1 and "is not UTF-8, and no ledger can be read there" in told.err
    assert not place.exists()


def test_a_key_that_is_no_text_is_in_no_ledger(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.png").write_bytes(encoded(SCENES[0], "PNG"))
    (tmp_path / "in" / "good.txt").write_bytes(TEXT)
    ledger = finished(tmp_path / "in", tmp_path).folder
    assert main(["ledger", "show", str(ledger), "good"]) == 0
    capsys.readouterr()
    assert main(["ledger", "show", str(ledger), os.fsdecode(b"caf\xe9")]) == 2
    assert capsys.readouterr().err == "lab: The ledger has no image 'caf\\udce9'; lab ledger decide lists those it has.\n"


def test_half_characters_in_json_are_rejects(tmp_path):
    """JSON can escape one half of a surrogate pair, which no file and no table can hold."""
    (tmp_path / "good.png").write_bytes(encoded(SCENES[0], "PNG"))
    odd = [
        '{"image": "good.png", "caption": "a ball \\ud83d"}',
        '{"image": "gone\\ud83d.png", "caption": "a ball"}',
        '{"image": "good.png", "caption": "a ball", "key": "\\ud83d"}',
        '{"image": "good.png", "caption": "a fine ball", "truth": "\\ud83d"}',
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(odd))
    ledger = finished(tmp_path / "rows.jsonl", tmp_path)
    reasons = Counter(row["reason"].rpartition("/")[2] for row in ledger.table("rejects").to_pylist())
    assert reasons == {
        "the caption is not UTF-8": 1,
        "gone\\ud83d.png is missing": 1,
        "its name is not UTF-8: rename it": 1,
    }
    (row,) = (row for row in ledger.table("candidates").to_pylist() if row["origin"] == "web")
    assert (row["caption"], row["truth"]) == ("a fine ball", None)
    assert all(finding.holds for finding in verify(ledger))


def test_the_animated_gif_moves():
    _, odd, _ = TWINS["gif"]
    assert Image.open(io.BytesIO(odd)).n_frames > 1


def test_broken_pictures_write_nothing_on_the_terminal():
    """Pillow logs an error for a TIFF that claims 30 values a pixel; a run of millions must stay readable."""
    tag = struct.pack("<HHI", 277, 3, 1)  # samples per pixel, one short number
    data = encoded(picture(), "TIFF")
    assert tag in data
    at = data.index(tag) + len(tag)
    broken = data[:at] + struct.pack("<H", 30) + data[at + 2 :]
    code = (
        "import sys; from blip.data.images import BadImage, decode_image\n"
        "try: decode_image(sys.stdin.buffer.read())\n"
        "except BadImage as error: print(error.reason)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=broken, capture_output=True, check=True)
    assert done.stdout.startswith(b"cannot be decoded") or done.stdout.startswith(b"not an image")
    assert done.stderr == b""
