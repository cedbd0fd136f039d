"""Commands on ledgers: what is exported reads back, moved data is found, differences agree with a loop."""

import csv
import json
import math
import shutil
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_files import encoded, picture
from fake_models import FakeCaptioner, FakeFilter
from random_ledgers import random_ledger
from studio_ledgers import ITEMS, WORLD, generated_ledger

from blip.capfilt import Job, Ledger, Policy, decide, override, run, verify
from blip.capfilt.diff import diff
from blip.capfilt.merge import relocated
from blip.capfilt.schema import CANDIDATES, scores_schema
from blip.data.images import open_image
from blip.data.pairs import ImageRef, Pair, image_bytes
from blip.data.pairset import PairSet
from blip.data.readers import read_pairs
from blip.data.text import clean_caption, normalized_text_hash
from blip.errors import InputError
from lab.cli import main

TEXTS = ['a "quoted" text,\nin two lines', "רַבִּי 🐶\ttab", " spaces kept ", "a red dog", "a red dog", "x" * 300]


@pytest.fixture(scope="module")
def filed(tmp_path_factory):
    """A ledger over image files, two captions of one image among them; its folder and the images'."""
    folder = tmp_path_factory.mktemp("filed")
    (folder / "photos").mkdir()
    pairs = []
    for n, text in enumerate(TEXTS):
        path = folder / "photos" / f"{n}.png"
        path.write_bytes(encoded(picture(n), "PNG"))
        pairs.append(Pair(f"n{n}", text, ImageRef(str(path)), "human" if n == 3 else "web"))
    pairs.append(replace(pairs[0], caption="another text of the first"))
    job = Job(captioner=FakeCaptioner(candidates=2), filters={"itm": FakeFilter()}, images_per_shard=4)
    return run(job, PairSet.of(pairs), folder / "ledger")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return generated_ledger(tmp_path_factory.mktemp("drawn") / "ledger", candidates=2)


def said(capsys, *words):
    """The printed answer of a command that ends well."""
    status = main([str(word) for word in words])
    out = capsys.readouterr()
    assert (status, out.err) == (0, "")
    return out.out


def refusal(capsys, *words):
    """The sentence of a command that ends badly."""
    status = main([str(word) for word in words])
    out = capsys.readouterr()
    assert (status, out.out, out.err.count("\n")) == (2, "", 1)
    return out.err


def kept_rows(ledger, policy=None):
    return [row for row in decide(ledger, policy).to_pylist() if row["kept"]]


@pytest.mark.parametrize("form", ["tars", "json", "csv", "tsv", "parquet"])
@pytest.mark.parametrize("which", ["filed", "drawn"])
def test_exports_read_back_with_equal_captions_and_pictures(request, tmp_path, capsys, which, form):
    ledger = request.getfixturevalue(which)
    out = tmp_path / "out" if form == "tars" else tmp_path / f"out.{form}"
    words = ("--format", form, "--web", 0.3, "--synthetic", 0.2, "--best-synthetic", 1)
    counts = json.loads(said(capsys, "ledger", "export", ledger.folder, "--out", out, "--json", *words))
    wanted = kept_rows(ledger, Policy(web=0.3, synthetic=0.2, best_synthetic=1))
    assert 0 < len(wanted) == counts["pairs"] and counts["rejects"] == []
    back = list(read_pairs(out))
    facts = [(row["image_key"], row["caption"], row["origin"]) for row in wanted]
    if form != "tars":  # a tar's members have no order but their own
        assert [(pair.key, pair.caption, pair.origin) for pair in back] == facts
    assert sorted((pair.key, pair.caption, pair.origin) for pair in back) == sorted(facts)
    if which == "filed":
        refs = dict(zip(*(ledger.table("candidates")[n].to_pylist() for n in ("image_key", "image_ref")), strict=True))
        assert all(image_bytes(pair) == ImageRef.parse(refs[pair.key]).read() for pair in back)
    else:
        scenes = {item.key: item.image(WORLD.level.px) for item in ITEMS}
        assert all(np.array_equal(np.asarray(open_image(pair)), scenes[pair.key]) for pair in back)
    assert all(finding.holds for finding in verify(ledger))


def test_exports_say_where_each_caption_came_from(filed, tmp_path, capsys):
    said(capsys, "ledger", "export", filed.folder, "--out", tmp_path / "a.parquet", "--format", "parquet")
    said(capsys, "ledger", "export", filed.folder, "--out", tmp_path / "a.csv", "--format", "csv")
    table = pq.read_table(tmp_path / "a.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features == {"image": {"_type": "Image"}}  # as Hugging Face datasets writes it
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    for row, line, wanted in zip(table.to_pylist(), listed, kept_rows(filed), strict=True):
        assert (row["row_id"], row["score"]) == (wanted["row_id"], pytest.approx(wanted["score"]))
        assert row["policy"] == str(Policy()) == line["policy"]
        assert (line["row_id"], line["origin"]) == (row["row_id"], row["origin"])
        assert bool(row["captioner_id"]) == (row["origin"] == "synthetic")


def test_moved_images_are_found_again(filed, tmp_path, capsys):
    ledger = Ledger.open(shutil.copytree(filed.folder, tmp_path / "ledger"))
    here, old = tmp_path / "moved", filed.folder.parent / "photos"
    shutil.copytree(old, here)
    old.rename(old.with_name("away"))
    try:
        words = ("ledger", "export", ledger.folder, "--format", "json", "--out", tmp_path / "a.json")
        assert "None of the" in (sentence := refusal(capsys, *words)) and "--image-root OLD=NEW" in sentence
        assert f"pairs kept by {Policy()}" in said(capsys, *words, "--image-root", f"{old}={here}")
        assert [pair.caption for pair in read_pairs(tmp_path / "a.json")] == [r["caption"] for r in kept_rows(ledger)]
        shown = said(capsys, "ledger", "show", ledger.folder, "n2", "--image-root", f"{old}={here}")
        assert shown.startswith(f"n2   {here}/2.png\n")
        (here / "0.png").unlink()
        told = said(capsys, *words, "--web", 0, "--image-root", f"{old}={here}")
        assert "more were kept but their images cannot be used" in told
    finally:
        old.with_name("away").rename(old)


def test_other_pictures_of_the_same_names_are_not_exported(filed, tmp_path, capsys):
    old, other = filed.folder.parent / "photos", tmp_path / "other"
    other.mkdir()
    for n in range(len(TEXTS)):
        (other / f"{n}.png").write_bytes(encoded(picture(n + 50 * (n != 1)), "PNG"))
    words = ("ledger", "export", filed.folder, "--web", 0, "--synthetic", 0, "--image-root", f"{old}={other}")
    told = said(capsys, *words, "--out", tmp_path / "tars")
    pairs = [row for row in decide(filed).to_pylist() if row["image_key"] == "n1"]
    assert told.startswith(f"{len(pairs)} pairs kept")
    assert f"the first of them {other}/0.png (it is not the image that was captioned)" in told
    assert {pair.key for pair in read_pairs(tmp_path / "tars")} == {"n1"}
    (other / "1.png").write_bytes(encoded(picture(51), "PNG"))
    sentence = refusal(capsys, *words, "--out", tmp_path / "a.json", "--format", "json")
    assert "has its image: the first is" in sentence and "is not the image that was captioned" in sentence


@pytest.mark.parametrize("form", ["json", "csv", "tsv", "parquet", "tars"])
def test_an_export_without_any_image_leaves_what_was_there(filed, tmp_path, capsys, form):
    ledger = shutil.copytree(filed.folder, tmp_path / "ledger")
    photos, out = filed.folder.parent / "photos", tmp_path / "out"
    words = ("ledger", "export", ledger, "--format", form)
    place = out / ("tars" if form == "tars" else f"a.{form}")
    said(capsys, *words, "--out", place)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    away = ("--image-root", f"{photos}={tmp_path / 'none'}")
    if form != "tars":  # which are never written over
        assert "kept pairs has its image" in refusal(capsys, *words, *away, "--out", place)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    fresh = tmp_path / "fresh" / place.name
    assert "kept pairs has its image" in refusal(capsys, *words, *away, "--out", fresh)
    assert not fresh.parent.exists()


def test_the_deepest_old_folder_counts_and_half_a_name_does_not():
    roots = {"/data": "/a", "/data/web/": "/b", "/one.tar": "/two.tar"}
    assert relocated(ImageRef("/data/web/x.tar", 512, 9), roots) == ImageRef("/b/x.tar", 512, 9)
    assert relocated(ImageRef("/data/x.tar"), roots) == ImageRef("/a/x.tar")
    assert relocated(ImageRef("/database/x.tar"), roots) == ImageRef("/database/x.tar")
    assert relocated(ImageRef("/one.tar", 5, 5), roots) == ImageRef("/two.tar", 5, 5)


def test_bad_exports_are_one_sentence(filed, tmp_path, capsys):
    export = ("ledger", "export", filed.folder, "--out")
    assert "must end in .csv, as --format says." in refusal(capsys, *export, tmp_path / "a.json", "--format", "csv")
    assert "--shard-size 0 cannot be" in refusal(capsys, *export, tmp_path / "t", "--shard-size", 0)
    assert "'x' must be OLD=NEW" in refusal(capsys, *export, tmp_path / "t", "--image-root", "x")
    assert "'5' is no score column" in refusal(capsys, *export, tmp_path / "t", "--union", "5")
    assert "top_fraction 2 cannot be" in refusal(capsys, *export, tmp_path / "t", "--top-fraction", 2)
    said(capsys, *export, tmp_path / "t")
    assert "holds tars already" in refusal(capsys, *export, tmp_path / "t")
    (tmp_path / "file").write_text("")
    assert "is a file; give a folder" in refusal(capsys, *export, tmp_path / "file")


NOT_WRITTEN = "cannot be written ("


@pytest.mark.parametrize(("words", "why"), [
    (("decide", "--out", "DIR.csv"), NOT_WRITTEN), (("decide", "--out", "DIR.parquet"), NOT_WRITTEN),
    (("decide", "--out", "FILE/a.csv"), NOT_WRITTEN), (("export", "--out", "FILE/tars"), NOT_WRITTEN),
    (("export", "--out", "FILE/a/b.csv", "--format", "csv"), NOT_WRITTEN), (("audit", "--out", "FILE/a.csv"), NOT_WRITTEN),
    (("export", "--out", "DIR.json", "--format", "json"), "is a folder; give a file"),
    (("export", "--out", "DIR.parquet", "--format", "parquet"), "is a folder; give a file"),
])  # fmt: skip
def test_a_place_where_nothing_can_be_written_is_one_sentence(filed, tmp_path, capsys, words, why):
    (tmp_path / "FILE").write_text("kept")
    for end in ("csv", "json", "parquet"):
        (tmp_path / f"DIR.{end}").mkdir()
    before = sorted(tmp_path.rglob("*"))
    told = refusal(capsys, "ledger", words[0], filed.folder, "--out", tmp_path / words[2], *words[3:])
    assert str(tmp_path / words[2].partition("/")[0]) in told and why in told
    assert (tmp_path / "FILE").read_text() == "kept" and sorted(tmp_path.rglob("*")) == before


def test_a_ledger_where_a_file_lies_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("kept")
    job = Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()})
    pairs = PairSet.of([Pair("a", "a red dog", encoded(picture(0), "PNG"))])
    with pytest.raises(InputError, match=r"file/.* cannot be written \(Not a directory: "):
        run(job, pairs, tmp_path / "file")


def test_long_names_of_images_are_exported_and_audited(tmp_path, capsys):
    name = "\u56fe" * 78
    pair = Pair(f"n/{name}", "a red dog", encoded(picture(0), "PNG"))
    (tmp_path / f"{name}.png").write_bytes(pair.image)
    pair = replace(pair, image=ImageRef(str(tmp_path / f"{name}.png")))
    ledger = run(Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()}), PairSet.of([pair]), tmp_path / "ledger")
    said(capsys, "ledger", "export", ledger.folder, "--format", "json", "--out", tmp_path / "a.json", "--web", 0, "--synthetic", 0)
    assert {found.key for found in read_pairs(tmp_path / "a.json")} == {pair.key}
    told = said(capsys, "ledger", "audit", ledger.folder, "--out", tmp_path / "audit.csv", "--size", 2)
    assert "have no picture" not in told and len(list((tmp_path / "audit-images").iterdir())) == 1


def test_no_kept_caption_is_an_empty_export(filed, tmp_path, capsys):
    words = ("--format", "json", "--out", tmp_path / "none.json", "--web", "inf", "--synthetic", "inf")
    assert said(capsys, "ledger", "export", filed.folder, *words).startswith("0 pairs kept")
    assert json.loads((tmp_path / "none.json").read_text()) == []
    words = ("--out", tmp_path / "tars", *words[4:])
    told = said(capsys, "ledger", "export", filed.folder, *words)
    assert told.startswith("0 pairs kept") and "nothing was written; give lower thresholds" in told
    assert not (tmp_path / "tars").exists()


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_decide_takes_every_option_of_a_policy_and_writes_what_decide_gives(drawn, tmp_path, capsys, suffix):
    out = tmp_path / f"verdicts.{suffix}"
    words = (
        "--weighted-sum", "itm.itm_prob:0.7", "itm.itc:0.6", "--union", "itm.itc:0.45", "--intersection", "itm.itm_prob:0.1",
        "--top-fraction", 0.9, "--best-synthetic", 1, "--per-image", 2, "--per-caption", 3,
    )  # fmt: skip
    counts = json.loads(said(capsys, "ledger", "decide", drawn.folder, "--out", out, "--json", *words))
    policy = Policy(
        weighted_sum=("itm.itm_prob:0.7", "itm.itc:0.6"), union=("itm.itc:0.45",), intersection=("itm.itm_prob:0.1",),
        top_fraction=0.9, best_synthetic=1, per_image=2, per_caption=3,
    )  # fmt: skip
    wanted = decide(drawn, policy)
    assert counts["kept"] == sum(wanted["kept"].to_pylist()) and counts["captions"] == wanted.num_rows
    assert counts["policy"] == str(policy)
    if suffix == "parquet":
        assert pq.read_table(out).equals(wanted)
    else:
        with open(out, newline="", encoding="utf-8") as file:
            assert [row["caption"] for row in csv.DictReader(file)] == wanted["caption"].to_pylist()
    summary = json.loads(said(capsys, "ledger", "summary", drawn.folder, "--json", *words))
    assert sum(summary["kept"].values()) == counts["kept"]
    assert sum(summary["filtered"].values()) == counts["captions"] - counts["kept"]


def test_a_caption_of_two_lines_is_shown_on_one(filed, capsys):
    lines = said(capsys, "ledger", "show", filed.folder, "n0").splitlines()
    assert any('a "quoted" text, in two lines' in line for line in lines)
    assert all(line.startswith(("n0 ", "  kept ", "  filtered ")) for line in lines)


def test_show_as_json_has_every_caption_and_score(drawn, capsys):
    key = drawn.table("candidates")["image_key"][0].as_py()
    shown = json.loads(said(capsys, "ledger", "show", drawn.folder, key, "--json"))
    rows = [row for row in decide(drawn).to_pylist() if row["image_key"] == key]
    assert [(r["caption"], r["kept"], r["score"]) for r in shown["captions"]] == [
        (r["caption"], r["kept"], r["score"]) for r in rows
    ]
    assert all(r["scores"]["itm"]["itm_prob"] == r["score"] for r in shown["captions"])
    assert f"{key} " in said(capsys, "ledger", "show", drawn.folder, key)


def slow_diff(before, after, policy):
    """Change of each text of an image, in a loop."""
    sides = []
    for ledger in (before, after):
        kept, scores = defaultdict(bool), defaultdict(list)
        for row in decide(ledger, policy).to_pylist():
            text = (row["image_key"], row["caption"])
            kept[text] |= row["kept"]
            scores[text] += [row["score"]] if row["score"] is not None and not math.isnan(row["score"]) else []
        sides.append((kept, scores))
    (old, was), (new, now) = sides
    both = old.keys() & new.keys()
    drifts = [max(now[t]) - max(was[t]) for t in both if now[t] and was[t]]
    return {
        "added": sorted(new.keys() - old.keys()),
        "dropped": sorted(old.keys() - new.keys()),
        "now_kept": sorted(t for t in both if new[t] and not old[t]),
        "now_filtered": sorted(t for t in both if old[t] and not new[t]),
        "unchanged": sum(new[t] == old[t] for t in both),
    }, (float(np.mean(drifts)) if drifts else None)


@pytest.mark.parametrize("seed", range(4))
def test_a_difference_agrees_with_a_loop(tmp_path, seed):
    before, after = random_ledger(tmp_path / "a", seed), random_ledger(tmp_path / "b", seed + 50)
    policy = Policy(web=0.4, synthetic=0.2, per_image=2)
    found, (wanted, drift) = diff(before, after, policy), slow_diff(before, after, policy)
    for name in ("added", "dropped", "now_kept", "now_filtered"):
        change = getattr(found, name)
        assert change.count == len(wanted[name])
        assert [(e["image_key"], e["caption"]) for e in change.examples] == wanted[name][:5]
    assert found.unchanged == wanted["unchanged"]
    assert found.score_drift == pytest.approx(drift)
    for ledger, side in ((before, found.before), (after, found.after)):
        kept = [row["caption"] for row in kept_rows(ledger, policy)]
        assert (side.captions, side.kept) == (ledger.table("candidates").num_rows, len(kept))
        assert side.vocabulary == len({word for text in kept for word in clean_caption(text, None).split()})
        assert side.distinct == pytest.approx(len(set(map(normalized_text_hash, kept))) / len(kept))
        rows = decide(ledger, policy).to_pylist()
        scores = [r["score"] for r in rows if r["origin"] == "synthetic" and r["score"] is not None]
        assert side.mean_score["synthetic"] == pytest.approx(np.nanmean(scores))


def test_words_are_those_the_model_reads(tmp_path):
    texts = ["a\u00a0red dog", "A\u2003blue\u3000cat", "one\x1ftwo*three", "x\x0by", "\u05e9 \u05e9", "naïve\x85Öl"]
    ledger = Ledger.create(tmp_path / "ledger", {"filters": {}})
    rows = [{"row_id": f"{n}", "image_key": "i", "caption": t, "caption_hash": n, "origin": "web"} for n, t in enumerate(texts)]
    ledger.write("candidates", "00000", pa.Table.from_pylist(rows, CANDIDATES))
    scores = [{"row_id": f"{n}", "itm_prob": 1.0} for n in range(len(texts))]
    ledger.write("scores/itm", "00000", pa.Table.from_pylist(scores, scores_schema(("itm_prob",))))
    wanted = len({word for text in texts for word in clean_caption(text, None).split()})
    assert diff(ledger, ledger).after.vocabulary == wanted == 13


def test_diff_says_what_flipped(filed, tmp_path, capsys):
    changed = Ledger.open(shutil.copytree(filed.folder, tmp_path / "ledger"))
    before = decide(filed).to_pylist()[0]
    override(changed, {before["row_id"]: not before["kept"]}, reviewer="ann")
    found = json.loads(said(capsys, "ledger", "diff", filed.folder, changed.folder, "--json"))
    flipped = found["now_filtered" if before["kept"] else "now_kept"]
    assert flipped == {"count": 1, "examples": [{"image_key": before["image_key"], "caption": before["caption"]}]}
    assert (found["added"]["count"], found["dropped"]["count"], found["score_drift"]) == (0, 0, 0.0)
    text = said(capsys, "ledger", "diff", filed.folder, filed.folder)
    assert "0" in text.split("added")[1].split()[0] and f"kept by {Policy()}" in text
    assert "There is no ledger in" in refusal(capsys, "ledger", "diff", filed.folder, tmp_path)


def test_diff_of_an_unscored_ledger_is_one_sentence(filed):
    with pytest.raises(InputError, match="no filter 'clip'; it has itm"):
        diff(filed, filed, Policy(filter="clip"))
