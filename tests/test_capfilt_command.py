"""`lab capfilt` and `lab ledger score` with several captioners and filters, on files, offline."""

import json
import shutil
from collections import Counter

import pytest
from data_files import encoded, picture
from fake_models import FakeCaptioner, FakeFilter
from plugin_models import captioning_folder, clip_folder

from blip.capfilt import Job, Ledger, decide, run, verify
from blip.capfilt.decide import Policy
from blip.capfilt.scoring import score
from blip.capfilt.text_filters import TextFilter
from blip.data.pairs import Pair
from blip.data.pairset import PairSet
from blip.errors import InputError
from lab.cli import main
from lab.plugins import Machine, filters

WEIGHTS = "blip/weights"
ITM = f"{WEIGHTS}/filter.safetensors"
IMAGES = 7
SHARD = ["--images-per-shard", "4", "--tile", "3"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures, one of them broken, with a list of pairs, and tiny models."""
    folder = tmp_path_factory.mktemp("place")
    rows = [{"image": f"{n}.png", "caption": f"a red ball number {n}"} for n in range(IMAGES)]
    for n, row in enumerate(rows):
        data = b"<html>" if n == 2 else encoded(picture(n, (40, 30)), "PNG")
        (folder / row["image"]).write_bytes(data)
    rows.append({"image": "1.png", "caption": "IMG_2041 IMG_2041 IMG_2041"})
    (folder / "pairs.json").write_text(json.dumps(rows))
    captioning_folder(folder / "captioner")
    clip_folder(folder / "clip")
    return folder


def capfilt(place, out, *words):
    return main(["capfilt", "--data", str(place / "pairs.json"), "--out", str(out), *SHARD, *words])


def captioners(place):
    return ["--captioner", f"{WEIGHTS}/captioner.safetensors", "--captioner", f"transformers:{place / 'captioner'}"]


def filter_words(place):
    return ["--filter", f"itm={ITM}", "--filter", f"open_clip:{place / 'clip'}", "--filter", "text"]


@pytest.fixture(scope="module")
def done(place):
    """Two captioners and three filters in one run."""
    out = place / "ledger"
    assert capfilt(place, out, *captioners(place), *filter_words(place), "--candidates", "2", "--max-length", "12") == 0
    return Ledger.open(out)


def content(folder, *tables):
    files = [path for table in tables for path in sorted((folder / table).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_every_image_has_the_captions_of_each_captioner(done):
    rows = done.table("candidates").to_pylist()
    by_captioner = Counter(row["captioner_id"] for row in rows if row["origin"] == "synthetic")
    failed = sum(row["kind"] == "caption" for row in done.table("rejects").to_pylist())
    assert len(by_captioner) == 2 and sum(by_captioner.values()) + failed == 4 * (IMAGES - 1)
    for name in by_captioner:
        numbers = Counter((row["image_key"], row["candidate"]) for row in rows if row["captioner_id"] == name)
        assert set(numbers.values()) == {1} and {candidate for _, candidate in numbers} == {0, 1}
    assert len({row["row_id"] for row in rows}) == len(rows)
    assert [finding for finding in verify(done) if not finding.holds] == []
    assert set(done.about["captioner"].split(" + ")) == set(by_captioner)


def test_a_table_with_columns_of_other_names_and_pictures_elsewhere(place, tmp_path, capsys):
    (tmp_path / "own.csv").write_text("shot,said,text\n0.png,a red ball,1\n1.png,a blue star,2\n")
    words = ["capfilt", "--data", str(tmp_path / "own.csv"), "--out", str(tmp_path / "ledger")]
    words += ["--captioner", f"{WEIGHTS}/captioner.safetensors", "--filter", ITM, "--caption-column", "said"]
    assert main(words) == 2
    assert "has the columns shot, said, text and none for the image" in capsys.readouterr().err
    words += ["--image-column", "shot", "--image-root"]
    assert main([*words, str(place)]) == 0
    rows = Ledger.open(tmp_path / "ledger").table("candidates", ["origin", "caption"]).to_pylist()
    assert [row["caption"] for row in rows if row["origin"] == "web"] == ["a red ball", "a blue star"]


def test_every_filter_has_its_own_columns_and_the_first_decides(done):
    assert set(done.filters) == {"itm", "clip", "text"}
    columns = {name: done.table(f"scores/{name}").column_names[1:] for name in done.filters}
    assert columns == {"itm": ["itm_logit", "itm_prob", "itc"], "clip": ["cosine"], "text": list(TextFilter.columns)}
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["policy"].startswith("itm.itm_prob, ")
    decided = decide(done, Policy(filter="text", column="quality")).to_pylist()
    kept = {row["caption"]: row["kept"] for row in decided if row["origin"] == "web"}
    assert kept["IMG_2041 IMG_2041 IMG_2041"] is False and kept["a red ball number 0"] is True


def test_the_first_captioners_rows_are_those_of_a_run_with_it_alone(done, place, tmp_path):
    alone = ["--candidates", "2", "--max-length", "12", "--filter", ITM]
    assert capfilt(place, tmp_path / "out", *captioners(place)[:2], *alone) == 0
    one = Ledger.open(tmp_path / "out").table("candidates").to_pylist()
    several = {row["row_id"]: row for row in done.table("candidates").to_pylist()}
    assert all(several[row["row_id"]] == row for row in one)


def test_a_prompt_is_for_blip_weights_and_the_other_for_transformers_models(place, tmp_path):
    """Each kind of captioner begins with its own; the ledger says with which."""
    prompts = ["--prompt", "two ", "--transformers-prompt", "w5 w6", "--max-length", "12"]
    assert capfilt(place, tmp_path / "asked", *captioners(place), "--filter", "text", *prompts) == 0
    asked = Ledger.open(tmp_path / "asked")
    assert [decoding.partition("prompt=")[2] for _, decoding, _ in asked.about["captioners"]] == ["'two ')", "'w5 w6')"]


def test_filters_added_later_give_the_bytes_of_one_run(done, place, tmp_path, capsys):
    """A broken picture shifts all later ones in their tiles, which must change no bit."""
    out = tmp_path / "out"
    more = ["--candidates", "2", "--max-length", "12"]
    assert capfilt(place, out, *captioners(place), "--filter", "text", *more) == 0
    before = content(out, "candidates", "rejects")
    capsys.readouterr()
    assert main(["ledger", "score", str(out), *filter_words(place)]) == 0
    said = capsys.readouterr().out
    assert f"lab ledger summary {out} --filter itm --column itm_prob" in said
    tables = ("candidates", "rejects", "scores")
    assert content(out, *tables) == content(done.folder, *tables)
    assert before.items() <= content(out, *tables).items()
    assert Ledger.open(out).about["filters"] == done.about["filters"]
    assert [finding for finding in verify(Ledger.open(out)) if not finding.holds] == []
    assert main(["ledger", "summary", str(out), "--filter", "clip", "--column", "cosine"]) == 0


def test_scoring_goes_on_where_it_was(done, tmp_path):
    """With one shard's scores lost, only that shard is scored again."""
    copy = shutil.copytree(done.folder, tmp_path / "copy")
    (copy / "manifest" / "scores.text-00001.json").unlink()
    asked = []

    class Counting(TextFilter):
        def __call__(self, prepared, texts):
            asked.extend(texts)
            return super().__call__(prepared, texts)

    score(Ledger.open(copy), {"text": Counting()})
    assert len(asked) == 3  # images 4, 5 and 6
    assert content(copy, "scores", "manifest") == content(done.folder, "scores", "manifest")


def test_other_weights_under_a_name_in_use_are_refused(done, tmp_path, capsys):
    copy = shutil.copytree(done.folder, tmp_path / "copy")
    pretrained = f"{WEIGHTS}/pretrained.safetensors"
    assert main(["ledger", "score", str(copy), "--filter", pretrained]) == 2
    assert "its filter itm differs" in capsys.readouterr().err
    assert main(["ledger", "score", str(copy), "--filter", f"second={pretrained}"]) == 0
    assert Ledger.open(copy).table("scores/second").column_names[1:] == ["itm_logit", "itm_prob", "itc"]


def in_memory(count=5):
    pairs = [Pair(f"k{n}", f"a caption {n}", encoded(picture(n), "PNG")) for n in range(count)]
    return PairSet.of(pairs), {pair.key: pair for pair in pairs}


def test_pictures_that_no_file_holds_are_given_again(tmp_path):
    data, images = in_memory()
    ledger = run(Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()}), data, tmp_path)
    with pytest.raises(InputError, match="does not say where the image k0 lies"):
        score(ledger, {"second": FakeFilter("other")})
    score(ledger, {"second": FakeFilter("other")}, images=images)
    both = run(
        Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter(), "second": FakeFilter("other")}), data, tmp_path / "both"
    )
    assert content(tmp_path, "scores/second") == content(both.folder, "scores/second")
    swapped = images | {"k1": Pair("k1", "", images["k2"].image)}
    with pytest.raises(InputError, match="The image k1 is not the one that was captioned"):
        score(ledger, {"third": FakeFilter("third")}, images=swapped)
    with pytest.raises(InputError, match="The image k1 was captioned before but cannot be opened now .zero bytes."):
        score(ledger, {"third": FakeFilter("third")}, images=images | {"k1": Pair("k1", "", b"")})


class Failing(FakeFilter):
    """Fails at a picture that comes so late."""

    def __init__(self, name, good):
        super().__init__(name)
        self.good = good

    def prepare(self, picture):
        self.good -= 1
        if self.good < 0:
            raise InputError("The filter cannot read that.")
        return super().prepare(picture)


def test_a_filter_that_fails_at_once_leaves_the_ledger_whole_and_its_name_free(tmp_path):
    data, images = in_memory()
    ledger = run(Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()}, images_per_shard=2), data, tmp_path)
    before = content(tmp_path, ".")
    with pytest.raises(InputError, match="cannot read that"):
        score(ledger, {"second": Failing("broken", 1)}, images=images)
    assert content(tmp_path, ".") == before and all(finding.holds for finding in verify(Ledger.open(tmp_path)))
    score(ledger, {"second": FakeFilter("other")}, images=images)
    assert all(finding.holds for finding in verify(Ledger.open(tmp_path)))
    # From its first shard on the name is taken.
    with pytest.raises(InputError, match="cannot read that"):
        score(ledger, {"third": Failing("broken", 3)}, images=images)
    with pytest.raises(InputError, match="its filter third differs"):
        score(ledger, {"third": FakeFilter("other")}, images=images)


def test_a_name_that_was_entered_and_never_scored_is_free(tmp_path):
    data, images = in_memory()
    ledger = run(Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()}), data, tmp_path)
    about = json.loads((tmp_path / "ledger.json").read_text())
    about["filters"]["second"] = "of an earlier program"
    (tmp_path / "ledger.json").write_text(json.dumps(about))
    score(ledger, {"second": FakeFilter("other")}, images=images)
    assert Ledger.open(tmp_path).about["filters"]["second"] == FakeFilter("other").id
    assert all(finding.holds for finding in verify(Ledger.open(tmp_path)))


def test_several_captioners_of_the_engine_are_told_apart(tmp_path):
    data, _ = in_memory()
    two = {"captioner": FakeCaptioner(candidates=2), "more_captioners": [FakeCaptioner(name="second", candidates=1)]}
    ledger = run(Job(**two, filters={"itm": FakeFilter()}), data, tmp_path / "two")
    assert ledger.about["candidates"] == 3
    assert [finding for finding in verify(ledger) if not finding.holds] == []
    with pytest.raises(InputError, match="another job .its captioner differs"):
        run(Job(captioner=FakeCaptioner(candidates=3), filters={"itm": FakeFilter()}), data, tmp_path / "two")
    with pytest.raises(InputError, match="Two captioners have the same weights and decoding"):
        Job(captioner=FakeCaptioner(), more_captioners=[FakeCaptioner()], filters={})


def test_a_smaller_tile_of_a_further_captioner_is_kept(tmp_path):
    data, _ = in_memory()
    small = FakeCaptioner(name="small")
    small.tile = 2
    ledger = run(Job(captioner=FakeCaptioner(), more_captioners=[small], filters={}), data, tmp_path)
    assert ledger.about["tile"] == 4
    assert small.calls == 3  # tiles of 4 and 1 images: 2 + 2, 1


MACHINE = {"device": "cpu", "precision": "float32", "tile": 2, "image_size": None, "vocab": None}


def test_the_words_of_a_filter_say_its_name(tmp_path, monkeypatch):
    odd = tmp_path / "a=b.safetensors"
    shutil.copy(ITM, odd)
    (tmp_path / "words_of_mine.py").write_text("def count(images, captions):\n    return [len(c) for c in captions]\n")
    monkeypatch.syspath_prepend(tmp_path)
    words = [str(odd), f"second={ITM}", "text", "shape=text", "words_of_mine:count", "mine=words_of_mine:count"]
    found = filters(words, Machine(**MACHINE))
    assert list(found) == ["itm", "second", "text", "shape", "count", "mine"]
    assert found["itm"].id == found["second"].id


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--captioner", "transformers:nowhere"], "nowhere holds no config.json"),
        (["--filter", "open_clip:nowhere:w.pt"], "open_clip knows no model 'nowhere'"),
        (["--filter", "no_such_module_of_mine:score"], "The module no_such_module_of_mine"),
        (["--filter", "x=no.safetensors"], "no.safetensors"),
        (["--filter", ITM], "Two filters are named itm; tell them apart as in --filter itm2="),
        (["--captioner", f"{WEIGHTS}/captioner.safetensors"], "Two captioners have the same weights"),
        (["--transformers-prompt", "w5"], "--transformers-prompt is for transformers: captioners, and none is given"),
        (["--workers", "0"], "--workers 0 cannot be"),
        (["--max-length", "3000"], "max_length 3000 is more than this model's 64 positions"),
        (["--prompt", "two red " * 10], "The prompt takes 41 of max_length 20 tokens"),
        (["--web-threshold", "nan"], "The threshold web cannot be nan"),
        (["--synthetic-threshold", "nan"], "The threshold synthetic cannot be nan"),
        (
            ["--strategy", "beam", "--temperature", "0.3", "--top-k", "3"],
            "Decoding with top_k 3 cannot be; give strategy nucleus or top_k, for beam does not read it.",
        ),
        (["--strategy", "greedy", "--top-p", "0.3"], "Decoding with top_p 0.3 cannot be; give strategy nucleus, for greedy does not"),
        (["--strategy", "greedy", "--num-beams", "9"], "Decoding with num_beams 9 cannot be; give strategy beam, for greedy does not"),
        (["--strategy", "top_k", "--top-k", "5", "--rank-whole-text"], "Decoding with rank_whole_text True cannot be"),
        (["--devices", "cpu,cpu,"], "--devices 'cpu,cpu,' holds an empty name"),
    ],
)
def test_impossible_plugins_are_one_sentence(place, tmp_path, capsys, words, said):
    first = ["--captioner", f"{WEIGHTS}/captioner.safetensors", "--filter", ITM]
    assert capfilt(place, tmp_path / "out", *first, *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("lab: ") and error.count("\n") == 1
    # A ledger that was begun would refuse the command put right.
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["capfilt", "--data", "x", "--out", "y", "--filter", "text"], "capfilt needs --captioner SOURCE"),
        (["capfilt", "--data", "x", "--out", "y", "--captioner", "c"], "capfilt needs --filter SOURCE"),
        (
            ["capfilt", "--data", "x", "--out", "y", "--captioner", "transformers:x", "--filter", "text", "--prompt", "a"],
            "--prompt is for BLIP weights, and no --captioner is such; give --transformers-prompt",
        ),
        (["ledger", "score", "LEDGER"], "ledger score needs --filter SOURCE"),
        (["ledger", "score", "LEDGER", "--filter", "text", "--workers", "0"], "--workers 0 cannot be"),
        (["ledger", "score", "LEDGER", "--filter", "text", "--precision", "int8"], "There is no precision 'int8'"),
        (["ledger", "score", "nowhere", "--filter", "text"], "There is no ledger in nowhere"),
    ],
)
def test_what_is_missing_is_one_sentence(done, capsys, words, said):
    assert main([str(done.folder) if word == "LEDGER" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_picture_that_is_gone_is_named(place, tmp_path, capsys):
    moved = shutil.copytree(place, tmp_path / "moved", ignore=shutil.ignore_patterns("ledger"))
    out = tmp_path / "out"
    one = ["--captioner", f"{WEIGHTS}/captioner.safetensors", "--filter", "text"]
    assert capfilt(moved, out, *one) == 0
    (moved / "5.png").unlink()
    capsys.readouterr()
    assert main(["ledger", "score", str(out), "--filter", ITM]) == 2
    assert "The image 5 was captioned before but cannot be opened now" in capsys.readouterr().err
    (place / "other.json").write_text((place / "pairs.json").read_text().replace('"image"', '"photo"').replace('"caption"', '"alt"'))
    again = ["ledger", "score", str(out), "--filter", ITM, "--data", str(place / "other.json")]
    assert main(again) == 2
    assert "or name it as the caption column" in capsys.readouterr().err
    assert main([*again, "--image-column", "photo", "--caption-column", "alt"]) == 0


def test_the_pictures_of_the_demo_are_drawn_again(tmp_path):
    assert main(["demo", "--out", str(tmp_path), "--no-open", "--pairs", "9"]) == 0
    again = f"again={WEIGHTS}/filter.safetensors"
    assert main(["ledger", "score", str(tmp_path / "ledger"), "--filter", again]) == 0
    ledger = Ledger.open(tmp_path / "ledger")
    assert ledger.table("scores/again") == ledger.table("scores/itm")


def test_rejects_are_told_with_their_commonest_reason(place, tmp_path, capsys):
    (tmp_path / "web.csv").write_text(f"image,text\n{place}/2.png,a\nnone.png,b\n{place}/2.png,c\n{place}/0.png,d\n")
    words = ["--captioner", f"{WEIGHTS}/captioner.safetensors", "--filter", "text", "--max-length", "12"]
    assert main(["capfilt", "--data", str(tmp_path / "web.csv"), "--out", str(tmp_path / "out"), *words]) == 0
    reason = "a web page (HTML or XML), not an image"
    assert f"commonest reason of the rejects: {reason} (2 times, the first: {place}/2.png)\n" in capsys.readouterr().out
    (tmp_path / "good.csv").write_text(f"image,text\n{place}/0.png,d\n")
    assert main(["capfilt", "--data", str(tmp_path / "good.csv"), "--out", str(tmp_path / "good"), *words]) == 0
    assert "commonest reason" not in capsys.readouterr().out


def test_data_of_which_nothing_can_be_captioned_is_one_sentence(place, tmp_path, capsys):
    (tmp_path / "web.csv").write_text(f"image,text\n{place}/2.png,a\n{place}/2.png,b\n")
    words = ["--captioner", f"{WEIGHTS}/captioner.safetensors", "--filter", ITM, "--out", str(tmp_path / "out")]
    assert main(["capfilt", "--data", str(tmp_path / "web.csv"), *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.endswith(
        f"lab: No image of {tmp_path / 'web.csv'} could be captioned: a web page (HTML or XML), not an image "
        f"(2 times, the first: {place}/2.png); the ledger in {tmp_path / 'out'} keeps every reject with its reason: "
        "mend the data and give another --out.\n"
    )
    assert Ledger.open(tmp_path / "out").counts()["rejected_pairs"] == 2
