"""`lab data check`: counts of a small data set by hand, what two sets share, rejects as a file, refusals."""

import csv
import json

import pytest
from data_files import encoded, picture, write_tar

from blip.data.pairset import PairSet
from blip.data.readers import read_pairs
from lab.cli import main
from lab.data_contents import contents, shared
from lab.world.sets import World, as_pairs


@pytest.fixture
def folder(tmp_path):
    """Two tars: five images of which two are equal and one is a web page; four captions, one of them empty."""
    one, two = encoded(picture(1, (300, 200))), encoded(picture(2, (400, 500)))
    members = {"a.jpg": one, "a.txt": b"A red ball.", "b.jpg": one, "b.txt": b"a  red BALL", "c.jpg": b"<html>", "c.txt": b"a page"}
    write_tar(tmp_path / "1.tar", members)
    write_tar(tmp_path / "2.tar", {"a.jpg": two, "a.txt": b"", "d.jpg": encoded(picture(3)), "d.txt": b"two blue stars on grass"})
    return tmp_path


def test_counts_are_those_of_the_set(folder):
    found = contents(read_pairs(str(folder)))
    numbers = found.numbers
    assert (numbers["sources"], numbers["images"], numbers["renamed"]) == (2, 5, 1)
    assert numbers["pictures"] == {
        "readable": 4,
        "equal_to_an_earlier": 1,
        "shorter_side": {"least": 16, "median": 200, "most": 400},
        "smaller_than": {"224": 3, "384": 3},
        "unreadable": 1,
    }
    captions = numbers["captions"]
    assert (captions["captions"], captions["different"], captions["images_without"]) == (4, 3, 1)
    assert captions["most_often"] == {"caption": "a  red BALL", "times": 2}
    assert captions["words"] == {"mean": 3.25, "median": 3, "p95": 5, "most": 5}
    assert [(one["kind"], one["count"]) for one in numbers["rejects"]] == [("image", 1), ("text", 1)]
    assert {one.key: one.kind for one in found.rejects} == {"c": "image", "a~2": "text"}


def test_an_empty_set_and_pairs_in_memory_are_counted_too():
    nothing = contents(PairSet.of([])).numbers
    assert nothing["pictures"]["shorter_side"] == {"least": None, "median": None, "most": None}
    assert nothing["captions"]["most_often"] is None and nothing["images"] == 0
    seen = []
    numbers = contents(PairSet.of(as_pairs(World.of("nano").human(20), 32)), seen.append).numbers
    assert numbers["sources"] is None and numbers["pictures"]["readable"] == numbers["images"] == sum(seen) == 20


def test_what_two_sets_share(folder):
    whole = contents(read_pairs(str(folder)))
    first = contents(read_pairs(str(folder / "1.tar")))
    other = contents(PairSet.of(as_pairs(World.of("nano").human(5), 32)))
    assert shared(whole, first) == {"pictures": 2, "captions": 2}  # the page is equal, too
    assert shared(whole, other) == {"pictures": 0, "captions": 0}


def test_the_command_says_it_and_writes_the_rejects(folder, tmp_path, capsys):
    out = tmp_path / "out" / "rejects.csv"
    words = ["data", "check", str(folder / "*.tar"), "--against", str(folder / "1.tar"), "--rejects", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("5 images and 4 usable captions from 2 sources\n")
    for line in (
        "4 open, 1 are an earlier one again",
        "shorter side 16 to 400 pixels, median 200; 3 below 224 and 3 below 384",
        "3 different, 1 images have none",
        '2 times "a  red BALL"',
        "1 bore the key of an earlier image",
        "2 pictures, byte for byte, and 2 captions with",
        "1  pictures: a web page (HTML or XML), not an image",
        "1  captions: the caption is empty",
    ):
        assert line in said, line
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["key"], row["kind"]) for row in rows] == [("a~2", "text"), ("c", "image")]
    assert rows[1]["ref"].startswith(f"{folder}/1.tar#")
    assert main(["data", "check", str(folder / "1.tar"), "--first", "2", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert (numbers["images"], numbers["rejects"]) == (2, [])


def test_refusals_are_one_sentence(folder, capsys):
    assert main(["data", "check", str(folder / "1.tar"), "--first", "0"]) == 2
    assert "The first 0 images cannot be" in capsys.readouterr().err
    assert main(["data", "check", str(folder / "none.tar")]) == 2
    assert "no file matches" in capsys.readouterr().err
    (folder / "bare.csv").write_text("image,caption\n")
    for nothing in (folder / "bare.csv", write_tar(folder / "bare.tar", {})):
        assert main(["data", "check", str(nothing)]) == 2
        assert capsys.readouterr().err == f"lab: {nothing} holds no image; check the path.\n"


def test_pictures_that_moved_are_one_line_and_nothing_usable_is_status_1(tmp_path, capsys):
    rows = [f"/mnt/old/{n}.jpg,caption {n}" for n in range(50)]
    (tmp_path / "moved.csv").write_text("\n".join(["image,caption", *rows]) + "\n")
    out = tmp_path / "rejects.csv"
    assert main(["data", "check", str(tmp_path / "moved.csv"), "--rejects", str(out)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("0 images and 0 usable captions")
    assert said.endswith(
        "Nothing can be used: no picture of it opens.\nNot used:\n"
        "         50  pictures: the file is missing, the first /mnt/old/0.jpg; --image-root says where paths start\n"
    )
    with out.open(newline="", encoding="utf-8") as file:
        assert [row["reason"] for row in csv.DictReader(file)][-1] == "the file /mnt/old/49.jpg is missing"


def test_pictures_that_are_broken_alike_are_one_reason_and_few_reasons_are_printed(folder, tmp_path, capsys):
    for n in range(4):
        (tmp_path / f"{n}.jpg").write_bytes(encoded(picture(n, (90, 90)))[: -200 - n])
    rows = [f"{n}.jpg,caption {n}" for n in range(4)]
    (tmp_path / "cut.csv").write_text("\n".join(["image,caption", *rows]) + "\n")
    assert main(["data", "check", str(tmp_path / "cut.csv")]) == 1
    reasons = capsys.readouterr().out.partition("Not used:\n")[2]
    assert reasons == f"          4  pictures: cannot be decoded: image file is truncated, the first {tmp_path / '0.jpg'}\n"


def test_the_rarest_of_many_reasons_are_counted_together(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lab.commands.data_check._REASONS", 1)
    (tmp_path / "page.jpg").write_bytes(b"<html>")
    (tmp_path / "both.csv").write_text("image,caption\npage.jpg,a page\nnone.jpg,a\nnone2.jpg,b\n")
    assert main(["data", "check", str(tmp_path / "both.csv")]) == 1
    assert capsys.readouterr().out.endswith("where paths start\n          1  for 1 other reason; --rejects lists each\n")
