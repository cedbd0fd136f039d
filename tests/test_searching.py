"""Search in a ledger: what is found is what a slow loop over every image and text finds, with the ledger's verdicts."""

import io
import json
import math
import random
import re
import shlex
import shutil
import sys
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from fake_models import FakeCaptioner, FakeFilter
from PIL import Image
from random_ledgers import random_ledger
from studio_ledgers import ITEMS, WORLD, generated_ledger

from apps.index_command import index_command
from apps.search_cards import found_images, found_texts, picks, said
from apps.searching import _REMEMBERED, RESULTS, Query, Searching
from apps.service import Service
from apps.tabs import search
from apps.tabs.limits import Limits
from apps.uploads import MAX_BYTES
from blip.capfilt import Job, Ledger, Policy, decide, override, run
from blip.data.readers import read_pairs
from blip.data.text import clean_caption
from blip.errors import InputError
from blip.matching import Matcher
from lab.cli import main
from lab.search_index import About, SearchIndex, distinct, nearest, shards_digest, write_index
from lab.weights import WEIGHTS, shipped

FILTER = str(WEIGHTS / "filter.safetensors")
TEXT = "a red ball and a blue tree"
POLICY = Policy(web=0.4, synthetic=0.6)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """60 generated images with the index of the shipped filter."""
    ledger = generated_ledger(tmp_path_factory.mktemp("search") / "ledger", candidates=2)
    assert main(["ledger", "embed", str(ledger.folder), "--weights", FILTER, "--device", "cpu"]) == 0
    return ledger


@pytest.fixture(scope="module")
def searching(ledger):
    service = Service.open(ledger.folder)
    yield Searching(service)
    service.close()


@pytest.fixture(scope="module")
def truth(ledger):
    """Every image against every text, pair by pair: (logit, probability, cosine) by image and by cleaned text."""
    matcher = Matcher(shipped("filter"))
    texts = list(dict.fromkeys(map(clean_caption, [*ledger.table("candidates")["caption"].to_pylist(), TEXT])))
    images = [matcher.prepare(Image.fromarray(item.image(WORLD.level.px))) for item in ITEMS]
    return texts, [dict(zip(texts, own, strict=True)) for own in matcher(images, [texts] * len(images))]


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


def slow_nearest(features, query, k):
    scored = []
    for at, row in enumerate(features.tolist()):
        product = sum(a * b for a, b in zip(row, query, strict=True))
        if not math.isnan(product):
            scored.append((-product, at))
    return [(at, -score) for score, at in sorted(scored)[:k]]


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_nearest_rows_are_those_of_a_double_loop_with_ties_in_order(at_once):
    rng = np.random.default_rng(0)
    for count in (1, 8, 60):
        features = rng.integers(-2, 3, (count, 3)).astype(np.float32)  # exact products, and many ties
        features[rng.random(count) < 0.1] = np.nan
        query = rng.integers(-2, 3, 3).astype(np.float32)
        for k in (1, 5, 100):
            rows, scores = nearest(features, query, k, at_once=at_once)
            assert list(zip(rows.tolist(), scores.tolist(), strict=True)) == slow_nearest(features, query.tolist(), k)


def test_nearest_refuses_what_cannot_be():
    features = np.zeros((3, 2), np.float32)
    for query, k in ((np.zeros(2, np.float32), 0), (np.zeros(3, np.float32), 1)):
        with pytest.raises(InputError, match="cannot be"):
            nearest(features, query, k)


def test_different_texts_are_numbered_as_they_come():
    texts, of_row = distinct(["b", "a", "b", "c", "a"])
    assert (texts, of_row.tolist()) == (["b", "a", "c"], [0, 1, 0, 2, 1])


def test_the_index_is_that_of_every_image_and_text(ledger, searching, truth):
    index = SearchIndex.open(ledger.folder / "search", ledger)
    _, scores = truth
    assert isinstance(index.images, np.memmap) and index.about.unread == 0
    captions = ledger.table("candidates")["caption"].to_pylist()
    cosines = index.images @ index.texts.T
    for row, caption in enumerate(captions):
        for image in range(0, len(ITEMS), 7):
            wanted = scores[image][clean_caption(caption)][2]
            assert cosines[image, index.text_of_row[row]] == pytest.approx(wanted, abs=1e-5)
    assert len(index.texts) == len(set(map(clean_caption, captions)))


def test_images_for_a_text_come_by_cosine_and_then_by_match(searching, truth):
    _, scores = truth
    own = [one[TEXT] for one in scores]
    by_cosine = sorted(range(len(own)), key=lambda image: -own[image][2])
    ranking = searching.ranking(Query(text=TEXT), 12, False)
    assert list(ranking.rows) == by_cosine[:12] and set(ranking.itm) == {None}
    assert ranking.itc == pytest.approx([own[image][2] for image in by_cosine[:12]], abs=1e-5)
    again = searching.ranking(Query(text=TEXT), 12, True)
    assert list(again.rows) == sorted(by_cosine[:12], key=lambda image: -own[image][0])
    assert again.itm == pytest.approx([own[image][1] for image in again.rows], abs=1e-4)
    everything = searching.ranking(Query(text=TEXT.upper() + "!"), 1000, True)
    assert list(everything.rows) == sorted(range(len(own)), key=lambda image: -own[image][0])


def test_found_images_carry_the_verdicts_of_decide(ledger, searching):
    verdicts = {row["row_id"]: row["kept"] for row in decide(ledger, POLICY).to_pylist()}
    found = searching.images(Query(text=TEXT), POLICY, 48, rerank=False)
    assert len(found) == RESULTS
    shown = [caption for one in found for caption in one.card.captions]
    assert [caption.kept for caption in shown] == [verdicts[caption.row_id] for caption in shown]
    assert all(one.card.key == ITEMS[one.card.number].key for one in found)


def test_texts_for_an_image_come_by_cosine_and_then_by_match(ledger, searching, truth):
    _, scores = truth
    kept = {}
    for row in decide(ledger, POLICY).to_pylist():
        kept.setdefault(clean_caption(row["caption"]), []).append((row["kept"], row["image_key"]))
    own = {text: score for text, score in scores[9].items() if text in kept}
    shortlist = sorted(own, key=lambda text: -own[text][2])[:20]
    found = searching.texts(Query(image=9), POLICY, 20, rerank=True)
    assert [clean_caption(one.text) for one in found] == sorted(shortlist, key=lambda text: -own[text][0])
    for one in found:
        rows = kept[clean_caption(one.text)]
        assert (one.kept, one.filtered) == (sum(k for k, _ in rows), sum(not k for k, _ in rows))
        assert one.itm == pytest.approx(own[clean_caption(one.text)][1], abs=1e-4)
        assert one.own == any(key == ITEMS[9].key for _, key in rows)
        assert ITEMS[one.image].key == next((key for k, key in rows if k), rows[0][1])  # of one that fits, if any does
    alone = searching.texts(Query(image=9), POLICY, 20, rerank=False)
    assert [clean_caption(one.text) for one in alone] == shortlist


def test_the_picture_of_a_found_text_is_one_that_keeps_it(ledger, tmp_path):
    own = Ledger.open(shutil.copytree(ledger.folder, tmp_path / "ledger"))
    service = Service.open(own.folder)
    rows = {}
    for row in decide(own).to_pylist():
        rows.setdefault(clean_caption(row["caption"]), []).append(row)
    keys, searching = [item.key for item in ITEMS], Searching(service)

    def found(number):
        return {clean_caption(one.text): one for one in searching.texts(Query(image=number), Policy(), 100, rerank=False)}

    shared = [text for text, same in rows.items() if len({row["image_key"] for row in same}) > 1]
    number, text = next((number, text) for number in range(len(ITEMS)) for text in shared if text in found(number))
    first, last = rows[text][0], rows[text][-1]
    override(own, {row["row_id"]: row is last for row in rows[text]}, reviewer="ann")
    service.refresh()
    one = found(number)[text]
    assert (keys[one.image], one.kept) == (last["image_key"], 1)
    assert "Captions for the first image that keeps this text" in found_texts([one], service.picture)
    override(own, {last["row_id"]: False}, reviewer="ann")
    service.refresh()
    one = found(number)[text]
    assert (keys[one.image], one.kept) == (first["image_key"], 0)  # where none does, the first that has it
    assert "Captions for the first image with this text" in found_texts([one], service.picture)
    service.close()


def test_an_uploaded_image_finds_what_the_same_image_of_the_ledger_finds(searching):
    data = png(ITEMS[9].image(WORLD.level.px))
    uploaded, chosen = (searching.texts(query, POLICY, 12, rerank=True) for query in (Query(data=data), Query(image=9)))
    assert [replace(one, own=False) for one in chosen] == uploaded
    assert searching.portrait(Query(data=data)).jpeg[:2] == b"\xff\xd8"
    assert searching.portrait(Query(image=9)).jpeg == searching.service.picture(9).jpeg


def test_a_ranking_is_kept_without_the_file_that_was_uploaded(ledger, searching, monkeypatch):
    data = png(ITEMS[9].image(WORLD.level.px))
    holders = sys.getrefcount(data)
    first = searching.ranking(Query(data=data), 12, False)
    assert sys.getrefcount(data) == holders
    assert searching.ranking(Query(data=bytes(bytearray(data))), 12, False) is first
    asked = []
    monkeypatch.setattr(searching, "_rank", lambda query, *_: asked.append(query) or first)
    for number in range(_REMEMBERED + 1):
        searching.ranking(Query(image=number), 7, False)
    searching.ranking(Query(image=_REMEMBERED), 7, False)
    assert len(asked) == _REMEMBERED + 1  # the last ones are known
    searching.ranking(Query(image=0), 7, False)
    assert asked[-1] == Query(image=0)  # the first one no longer
    searching._known.clear()


def test_every_click_shows_the_next_images_to_choose_from_and_a_threshold_leaves_them(searching):
    with gr.Blocks() as demo, gr.Tab("Search") as tab:
        search.build(searching, [tab.select], POLICY, Limits(gr.Slider(value=0.5), gr.Slider(value=0.5)))

    def event(name):
        (part,) = (one for one in demo.blocks.values() if getattr(one, "elem_id", None) == name)
        return next(own for own in demo.fns.values() if any(target == part._id for target, _ in own.targets))

    def shown(html):
        return [int(number) for number in re.findall(r'data-words="(\d+)"', html)]

    choose, move = event("search-others"), event("search-web")
    (coming,) = (own for own in demo.fns.values() if (tab._id, "select") in own.targets)
    usual = dict(zip(move.inputs, (None, 0.5, 0.5, 24, "ITM re-ranks", 0), strict=True))
    moved = coming.fn(0.7, 0.6, *usual.values())
    assert moved[:2] == [0.7, 0.6] and shown(moved[-1]) == list(range(24))
    query, page, _, html = choose.fn(None, 0)
    assert (query, page, shown(html)) == (None, 1, list(range(24, 48)))
    assert shown(move.fn(None, 0.7, 0.5, 24, "ITM re-ranks", page)[1]) == list(range(24, 48))
    query, page, _, html = choose.fn(None, page)
    assert (page, shown(html)) == (2, [*range(48, 60), *range(12)])
    query, page, _, html = choose.fn(Query(text=TEXT), page)  # from what was found back to where one was
    assert (query, page, shown(html)) == (None, 2, [*range(48, 60), *range(12)])


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (Query(text=" .!"), "There is no word in this text"),
        (Query(data=b"<html>"), "cannot be used"),
        (Query(data=b""), "zero bytes"),
        (Query(data=b"x" * (MAX_BYTES + 1)), "at most 20 MB"),
        (Query(image=60), "The ledger has no image 60"),
    ],
    ids=["no words", "a page", "nothing", "too large", "no such image"],
)
def test_what_cannot_be_looked_for_is_said(searching, query, why):
    with pytest.raises(InputError, match=why):
        searching.ranking(query, 12, True)


def test_cards_show_text_as_text(searching):
    found = searching.texts(Query(image=0), POLICY, 200, rerank=False)
    html = found_texts(found, searching.service.picture)
    assert html.count("<li>") == len(found) == RESULTS
    images = searching.images(Query(text=TEXT), POLICY, 60, rerank=False)
    html += found_images(images, POLICY, searching.service.picture, TEXT)
    assert "<script>" not in html and "<img src=x" not in html
    assert picks([(7, searching.service.picture(7))]).count('data-words="7"') == 1
    assert "&lt;b&gt;" in said("<b>", "lab <i>") and "&lt;i&gt;" in said("<b>", "lab <i>")


def test_without_an_index_the_command_is_said_and_once_it_ran_it_is_found(ledger, tmp_path):
    folder = shutil.copytree(ledger.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("search"))
    service = Service.open(folder)
    searching = Searching(service)
    assert searching.command == f"lab ledger embed {folder} --weights {WEIGHTS / 'pretrained.safetensors'}"
    with pytest.raises(InputError, match="There is no search index"):
        searching.open()
    shutil.copytree(ledger.folder / "search", folder / "search")
    searching.open()
    elsewhere = Searching(service, tmp_path / "elsewhere", weights=FILTER)
    assert elsewhere.command.endswith(f"--weights {FILTER} --out {tmp_path / 'elsewhere'}")
    with pytest.raises(InputError, match="There is no search index"):
        elsewhere.open()
    service.close()


def test_the_command_of_an_index_is_whole_where_the_ledger_says_which_weights_fit(tmp_path):
    folder = tmp_path / "a ledger"
    ledger = random_ledger(folder, 1)
    assert index_command(ledger) == f"lab ledger embed '{folder}' --weights WEIGHTS"
    assert "For WEIGHTS give" in said("x", index_command(ledger)) and "For WEIGHTS give" not in said("x", "lab x --weights a")
    weights = tmp_path / "itm.pth"
    weights.touch()
    for given, found in (
        (["text", f"itm={weights}"], f"--weights {weights} --vocab vocab.txt"),
        (["hf:a/b"], "--weights hf:a/b --vocab vocab.txt"),
        (["text", "open_clip:a:b"], "--weights WEIGHTS --vocab vocab.txt"),
    ):
        options = {"filter": given, "vocab": "vocab.txt"}
        (folder / "summary.json").write_text(json.dumps({"config": {"options": options}}))
        assert index_command(ledger) == f"lab ledger embed '{folder}' {found}"
    for broken in ("[]", "{", '{"config": {}}', '{"config": {"options": {"filter": [1], "vocab": null}}}'):
        (folder / "summary.json").write_text(broken)
        assert index_command(ledger).endswith("--weights WEIGHTS")


def test_the_shipped_pre_trained_weights_make_an_index_of_the_generated_world(ledger, tmp_path):
    """The command that the room shows, as it is."""
    folder = shutil.copytree(ledger.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("search"))
    service = Service.open(folder)
    searching = Searching(service)
    assert main([*shlex.split(searching.command)[1:], "--device", "cpu"]) == 0
    assert searching.images(Query(text="a red ball"), POLICY, 12, rerank=True)
    service.close()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"weights": "gone.safetensors"}, "which is not a file here; start the studio with --search-weights"),
        ({"weights": "hf:some/model"}, "which is not a file here"),
        ({"model": "0" * 16}, "holds other weights"),
        ({"shards": ""}, "not of this ledger as it is now"),
        ({"version": 9}, "of another version"),
        ({"strange": 1}, "cannot be read"),
    ],
    ids=str,
)
def test_an_index_that_does_not_fit_is_said(ledger, searching, tmp_path, change, why):
    folder = shutil.copytree(ledger.folder / "search", tmp_path / "search")
    about = folder / "index.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | change))
    with pytest.raises(InputError, match=why):
        Searching(searching.service, folder).open()
    if "weights" in change:
        Searching(searching.service, folder, weights=FILTER).open()


def test_a_cut_array_is_said_and_an_index_begun_anew_is_none(ledger, tmp_path):
    folder = shutil.copytree(ledger.folder / "search", tmp_path / "search")
    (folder / "texts.npy").write_bytes((folder / "texts.npy").read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read"):
        SearchIndex.open(folder, ledger)
    about = About(model="m", weights="w", vocab=None, image_size=None, shards=shards_digest(ledger), unread=0)
    with pytest.raises(KeyError):
        write_index(folder, about, {"images": np.zeros((1, 2), np.float32)})
    with pytest.raises(InputError, match="There is no search index"):
        SearchIndex.open(folder, ledger)


def photo_ledger(folder):
    """A ledger over ten files, one of which is gone afterwards and one of which has changed."""
    (folder / "photos").mkdir()
    for number, item in enumerate(ITEMS[10:20]):
        (folder / "photos" / f"{number}.png").write_bytes(png(item.image(WORLD.level.px)))
        (folder / "photos" / f"{number}.txt").write_text(item.caption)
    job = Job(captioner=FakeCaptioner(silent=0.9), filters={"itm": FakeFilter()}, images_per_shard=4)
    run(job, read_pairs(str(folder / "photos")), folder / "ledger")
    (folder / "photos" / "3.png").unlink()
    (folder / "photos" / "5.png").write_bytes(png(ITEMS[0].image(WORLD.level.px)))
    return Ledger.open(folder / "ledger")


def test_pictures_that_are_gone_are_counted_and_never_found(tmp_path, capsys):
    ledger = photo_ledger(tmp_path)
    out = tmp_path / "index"
    assert main(["ledger", "embed", str(ledger.folder), "--weights", FILTER, "--out", str(out), "--device", "cpu"]) == 0
    said_ = capsys.readouterr().out
    assert "10 images" in said_ and "2 images unread" in said_ and f"--search-index {out}" in said_
    service = Service.open(ledger.folder)
    searching = Searching(service, out)
    for rerank in (False, True):
        rows = searching.ranking(Query(text=TEXT), 100, rerank).rows
        assert sorted(rows) == [0, 1, 2, 4, 6, 7, 8, 9]
    # A picture that went after it was indexed has a cosine and no match probability, and stands last.
    (tmp_path / "photos" / "0.png").unlink()
    ranking = Searching(service, out).ranking(Query(text=TEXT), 100, True)
    assert (ranking.rows[-1], ranking.itm[-1]) == (0, None) and None not in ranking.itm[:-1]
    service.close()


def test_bad_words_of_the_command_are_said(ledger, tmp_path, capsys):
    captioner = str(WEIGHTS / "captioner.safetensors")
    assert main(["ledger", "embed", str(tmp_path / "none"), "--weights", FILTER]) == 2
    assert "There is no ledger" in capsys.readouterr().err
    assert main(["ledger", "embed", str(ledger.folder), "--weights", captioner, "--out", str(tmp_path / "o")]) == 2
    assert "have no ITM and ITC heads" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_any_words_find_something(searching):
    rng = random.Random(0)
    for _ in range(5):
        text = " ".join(rng.choice(("red", "tree", "ÄPFEL", "🙂", "<script>")) for _ in range(rng.randrange(1, 40)))
        assert len(searching.images(Query(text=text), POLICY, 12, rerank=False)) == 12
