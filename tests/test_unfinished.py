"""Ledgers whose job was stopped, or goes on: every command says so, none takes a part for the whole."""

import json
import os

import pytest
from data_files import encoded, picture
from fake_models import FakeCaptioner, FakeFilter

from blip.capfilt import Job, Ledger, Snapshot, run, verify
from blip.capfilt.scoring import score
from blip.data.pairs import ImageRef, Pair
from blip.data.pairset import PairSet
from lab.cli import main
from lab.report import summarize
from lab.weights import WEIGHTS

SAID = "is unfinished: 8 of 10 images (2 of 3 shards); run the same lab capfilt command to finish it"
NUMBERS = {"images": 8, "of_images": 10, "shards": 2, "of_shards": 3}


class Killed(Exception):
    """What ends a run in the middle."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for n in range(10):
        (folder / f"{n}.png").write_bytes(encoded(picture(n, (40, 30)), "PNG"))
    return PairSet.of([Pair(f"n{n}", f"a caption {n}", ImageRef(str(folder / f"{n}.png"))) for n in range(10)])


def job(**filters):
    return Job(captioner=FakeCaptioner(), filters=filters or {"itm": FakeFilter()}, images_per_shard=4)


def stopped(folder, pairs, *, images=8, **filters):
    """The ledger of a run that was killed when it had done so many images."""
    done = 0

    def progress(more):
        nonlocal done
        if done >= images:
            raise Killed
        done += more

    with pytest.raises(Killed):
        run(job(**filters), pairs, folder, progress)
    return Ledger.open(folder)


def lose(ledger, table, shard):
    """As if a kill had come before this shard of a table was entered."""
    for path in (ledger.path(table, shard), ledger.store.path(f"manifest/{table.replace('/', '.')}-{shard}.json")):
        os.remove(path)


def test_a_ledger_knows_how_far_its_job_has_come(pairs, tmp_path):
    ledger = stopped(tmp_path / "a", pairs)
    assert ledger.unfinished.numbers == NUMBERS and str(ledger.unfinished) == f"{tmp_path / 'a'} {SAID}."
    assert any("8 of 10 images are done" in finding.detail for finding in verify(ledger) if not finding.holds)
    assert stopped(tmp_path / "b", pairs, images=0).unfinished.images == 0
    whole = run(job(), pairs, tmp_path / "a")
    assert whole.unfinished is None and Snapshot.open(whole.folder).unfinished is None
    lose(whole, "candidates", "00000")  # the last shard, which holds two images, is done
    assert whole.unfinished.numbers == NUMBERS | {"images": 6}


def test_only_the_filters_of_the_job_must_be_whole(pairs, tmp_path):
    ledger = run(job(), pairs, tmp_path / "added")
    score(ledger, {"clip": FakeFilter("clip")}, running={"device": "cpu", "precision": "float32"})
    lose(ledger, "scores/clip", "00002")
    assert Ledger.open(ledger.folder).unfinished is None
    several = stopped(tmp_path / "two", pairs, itm=FakeFilter(), clip=FakeFilter("clip"))
    lose(several, "scores/clip", "00001")
    assert several.unfinished.numbers == NUMBERS | {"images": 4, "shards": 1}


@pytest.fixture
def ledger(pairs, tmp_path):
    return stopped(tmp_path / "ledger", pairs)


def answer(capsys, *words):
    """What a command that ends well prints, after its line on stderr."""
    assert main([str(word) for word in words]) == 0
    out = capsys.readouterr()
    assert out.err.splitlines()[0].endswith(f"{SAID}.")  # before any bar
    return out.out


def test_commands_that_read_it_say_so_and_go_on(ledger, pairs, tmp_path, capsys):
    summary = json.loads(answer(capsys, "ledger", "summary", ledger.folder, "--json"))
    assert summary["unfinished"] == NUMBERS and (summary["pairs"], summary["images"]) == (8, 8)
    assert "of 16 captions kept" in answer(capsys, "ledger", "decide", ledger.folder, "--out", tmp_path / "a.csv")
    assert "a caption 3" in answer(capsys, "ledger", "show", ledger.folder, "n3")
    assert "texts of images: 16 unchanged" in answer(capsys, "ledger", "diff", ledger.folder, ledger.folder)
    answer(capsys, "ledger", "score", ledger.folder, "--filter", "text", "--device", "cpu")
    weights = WEIGHTS / "filter.safetensors"
    assert "8 images" in answer(capsys, "ledger", "embed", ledger.folder, "--weights", weights, "--device", "cpu")
    whole = run(job(), pairs, tmp_path / "whole")
    assert "16 captions on both sides" in answer(capsys, "ledger", "agree", ledger.folder, whole.folder)
    answer(capsys, "ledger", "card", ledger.folder)
    card = (tmp_path / "ledger" / "DATACARD.md").read_text()
    assert card.startswith("# Data card\n\n**UNFINISHED: 8 of 10 images (2 of 3 shards).**")
    assert json.loads((tmp_path / "ledger" / "datacard.json").read_text())["unfinished"] == NUMBERS


def test_one_that_is_finished_is_whole_to_every_command(pairs, tmp_path, capsys):
    whole = str(run(job(), pairs, tmp_path / "whole").folder)
    for words in (("summary", "--json"), ("card",), ("export", "--out", str(tmp_path / "tars"))):
        assert main(["ledger", words[0], whole, *words[1:]]) == 0
        out = capsys.readouterr()
        assert out.err == "" and "unfinished" not in out.out
    assert "UNFINISHED" not in (tmp_path / "whole" / "DATACARD.md").read_text()
    assert "unfinished" not in json.loads((tmp_path / "whole" / "datacard.json").read_text())


def test_what_is_made_of_it_is_refused_unless_a_part_is_wanted(ledger, tmp_path, capsys):
    out, sheet = tmp_path / "kept.csv", tmp_path / "sheet.csv"
    export = ("ledger", "export", str(ledger.folder), "--format", "csv", "--out", str(out))
    sheet.write_text("")
    for words in (
        export,
        ("ledger", "audit", str(ledger.folder), "--out", str(tmp_path / "new.csv")),
        ("ledger", "audit", str(ledger.folder), "--answers", str(sheet)),
    ):
        assert main(list(words)) == 2
        said = capsys.readouterr().err
        assert SAID in said and said.count("\n") == 1
        assert ("--unfinished" in said) == (words is export)
    assert not out.exists() and not (tmp_path / "new.csv").exists()
    assert "pairs kept by" in answer(capsys, *export, "--unfinished")
    assert out.exists()


def test_a_shard_that_is_half_done_is_left_out(ledger, capsys):
    lose(ledger, "scores/itm", "00001")  # captioned, and killed before it was scored
    assert main(["ledger", "summary", str(ledger.folder), "--json"]) == 0
    out = capsys.readouterr()
    assert "4 of 10 images (1 of 3 shards)" in out.err
    assert (found := json.loads(out.out))["pairs"] == 4 == sum(found["kept"].values()) - found["kept"]["synthetic"] + found["filtered"]["web"]


def test_what_is_counted_while_a_run_writes_agrees_with_itself(pairs, tmp_path):
    stopped(tmp_path / "ledger", pairs, images=4)
    opened = Snapshot.open(tmp_path / "ledger")
    run(job(), pairs, tmp_path / "ledger")
    summary = summarize(opened)
    assert summary["unfinished"] == {"images": 4, "of_images": 10, "shards": 1, "of_shards": 3}
    assert summary["pairs"] == summary["images"] == summary["kept"]["web"] + summary["filtered"]["web"] == 4
    assert opened.entry("scores/itm", "00002") is None and not opened.has("scores/itm", "00002")
    assert Snapshot.open(tmp_path / "ledger").has("scores/itm", "00002")
