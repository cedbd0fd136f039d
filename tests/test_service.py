"""The studio's service: it decides as CapFilt decides, pages hold every image once, and no other file is opened."""

import io
import random
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Event

import duckdb
import gradio as gr
import numpy as np
import pyarrow as pa
import pytest
from fake_models import FakeCaptioner, FakeFilter
from PIL import Image
from studio_ledgers import ITEMS, STRANGE, generated_ledger, unusable_ledger

from apps import cards, charts
from apps.command import Options, main
from apps.questions import ALL, BORDERS, DISAGREE, NEAR, ORDERS, VIEWS, WRONG, Question
from apps.reviewing import Desk
from apps.reviews import Reviews
from apps.service import BINS, ORIGINS, STEPS, Service
from apps.tabs import decisions
from blip.capfilt import Job, Ledger, Policy, decide, decide_duckdb, override, run
from blip.capfilt.override import Decision, record
from blip.capfilt.tolerance import Measured, Running, note
from blip.data.readers import read_pairs
from blip.errors import InputError
from lab.audit_draw import identity
from lab.report import summarize


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """A ledger with two candidates an image, some of which failed, one missing score, and words of people."""
    ledger = generated_ledger(tmp_path_factory.mktemp("studio") / "ledger", candidates=2)
    rows = decide(ledger).to_pylist()
    override(ledger, {rows[0]["row_id"]: not rows[0]["kept"], rows[5]["row_id"]: True}, reviewer="ann")
    override(ledger, {rows[5]["row_id"]: False}, reviewer="bob")
    entry = next(ledger.entries("scores/itm"))
    scores = ledger.read("scores/itm", entry.shard)
    missing = pa.array([*scores["itm_prob"].to_pylist()[:-1], None], pa.float32())
    at = scores.schema.get_field_index("itm_prob")
    ledger.write("scores/itm", entry.shard, scores.set_column(at, "itm_prob", missing))
    return ledger


@pytest.fixture(scope="module")
def service(ledger):
    service = Service.open(ledger.folder)
    yield service
    service.close()


@pytest.fixture(scope="module")
def rows(ledger):
    """Every caption with its score, as plain rows, and nothing decided."""
    both = zip(ledger.table("candidates").to_pylist(), decide(ledger).to_pylist(), strict=True)
    return [row | {"score": verdict["score"]} for row, verdict in both]


def policies():
    rng = random.Random(0)
    drawn = [Policy(web=rng.random(), synthetic=round(rng.random(), 2)) for _ in range(12)]
    return [Policy(), Policy(web=0, synthetic=1), Policy(web=1, synthetic=0), *drawn]


def by_image(rows, verdicts):
    """Captions of each image with their verdicts, in ledger order."""
    found = {}
    for row, verdict in zip(rows, verdicts, strict=True):
        found.setdefault(row["image_key"], []).append(row | {"kept": verdict["kept"]})
    return found


def keys(service, **asked):
    """The keys of every page of a question, in order."""
    first = service.page(Question(**asked))
    pages = [first, *(service.page(Question(**asked, page=n)) for n in range(1, first.pages))]
    assert all(len(page.cards) == page.size for page in pages[:-1])
    return [card.key for page in pages for card in page.cards]


@pytest.mark.parametrize("policy", policies(), ids=str)
def test_counts_are_those_of_both_ways_to_decide(ledger, service, policy):
    tallies = service.tallies(policy)
    for verdicts in (decide(ledger, policy), decide_duckdb(ledger, policy)):
        for origin in ORIGINS:
            own = [v["kept"] for v in verdicts.to_pylist() if (v["origin"] == "synthetic") == (origin == "synthetic")]
            assert (tallies[origin].kept, tallies[origin].filtered) == (sum(own), len(own) - sum(own))


def test_a_folder_named_as_a_column_changes_nothing(ledger, service, tmp_path):
    named = Ledger.open(shutil.copytree(ledger.folder, tmp_path / "origin=web" / "itm_prob=1" / "ledger"))
    other = Service.open(named.folder)
    try:
        assert other.tallies(Policy()) == service.tallies(Policy())
        assert all(keys(other, order=order) == keys(service, order=order) for order in ORDERS)
    finally:
        other.close()


def test_a_threshold_at_a_score_keeps_it(ledger, service, rows):
    for score in [row["score"] for row in rows if row["score"] is not None][:20]:
        policy = Policy(web=score, synthetic=score)
        wanted = sum(decide(ledger, policy)["kept"].to_pylist())
        assert sum(tally.kept for tally in service.tallies(policy).values()) == wanted


def test_every_card_shows_the_verdicts_and_facts_of_its_captions(ledger, service, rows):
    policy = Policy(web=0.3, synthetic=0.7)
    verdicts = {v["row_id"]: v for v in decide(ledger, policy).to_pylist()}
    facts = {row["row_id"]: row for row in rows}
    cards = service.page(Question(policy=policy, size=60)).cards
    seen = [caption for card in cards for caption in card.captions]
    assert sorted(caption.row_id for caption in seen) == sorted(facts)
    for caption in seen:
        row, verdict = facts[caption.row_id], verdicts[caption.row_id]
        assert (caption.kept, caption.by_person) == (verdict["kept"], verdict["by"] == "person")
        assert (caption.text, caption.origin, caption.score) == (row["caption"], row["origin"], verdict["score"])
        assert (caption.mean_logprob, caption.truth, caption.noise_kind) == (
            row["mean_logprob"],
            row["truth"],
            row["noise_kind"],
        )
    assert all(card.captions[0].origin == "web" for card in cards)


def test_rates_against_truth_are_those_of_the_report(ledger, service):
    policy = Policy(web=0.4, synthetic=0.2)
    wanted, tallies = summarize(ledger, policy)["origins"], service.tallies(policy)
    assert {origin: tally.rates for origin, tally in tallies.items()} == wanted
    kept = [r for r in service.page(Question(policy=policy, size=60)).cards for r in r.captions if r.kept]
    web = [caption.truth for caption in kept if caption.origin == "web"]
    assert tallies["web"].false_share == pytest.approx(web.count("false") / len(web))


@pytest.mark.parametrize("origin", ORIGINS)
def test_histograms_and_curves_agree_with_loops(ledger, service, rows, origin):
    own = [row for row in rows if (row["origin"] == "synthetic") == (origin == "synthetic")]
    scores = [row["score"] for row in own if row["score"] is not None]
    assert service.histograms[origin] == np.histogram(scores, BINS, (0, 1))[0].tolist()
    for step in range(0, STEPS + 1, 7):
        policy = Policy(web=step / STEPS, synthetic=step / STEPS)
        tally = service.tallies(policy)[origin]
        assert service.curves[origin][step] == pytest.approx(tally.kept / len(own))
    assert all(a >= b for a, b in zip(service.curves[origin], service.curves[origin][1:], strict=False))


@pytest.mark.parametrize("beside", [0, -1, 1])
def test_a_score_on_or_beside_a_step_of_the_curve_counts_where_it_belongs(tmp_path, beside):
    ledger = generated_ledger(tmp_path / "ledger")
    steps = np.arange(STEPS + 1, dtype=np.float32) / np.float32(STEPS)
    steps = np.nextafter(steps, np.float32(2 * beside)) if beside else steps
    start = 0
    for entry in list(ledger.entries("scores/itm")):
        scores = ledger.read("scores/itm", entry.shard)
        own = pa.array(np.resize(np.roll(steps, -start), scores.num_rows), pa.float32())
        start += scores.num_rows
        at = scores.schema.get_field_index("itm_prob")
        ledger.write("scores/itm", entry.shard, scores.set_column(at, "itm_prob", own))
    service = Service.open(ledger.folder)
    for step in range(STEPS + 1):
        limit = step / STEPS
        for origin, tally in service.tallies(Policy(web=limit, synthetic=limit)).items():
            assert service.curves[origin][step] == pytest.approx(tally.kept / (tally.kept + tally.filtered))
    service.close()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [6, 48])
def test_pages_hold_every_image_once(service, order, size):
    found = keys(service, order=order, size=size)
    assert sorted(found) == sorted(item.key for item in ITEMS)


def test_orders_are_those_of_the_best_scores(service, rows):
    def best(key, synthetic):
        own = [r["score"] for r in rows if r["image_key"] == key and (r["origin"] == "synthetic") == synthetic]
        return max((s for s in own if s is not None), default=None)

    assert keys(service) == [item.key for item in ITEMS]
    for name, synthetic, sign in (
        ("Web score, lowest first", False, 1),
        ("Web score, highest first", False, -1),
        ("Synthetic score, lowest first", True, 1),
        ("Synthetic score, highest first", True, -1),
    ):
        found = [sign * s for key in keys(service, order=name) if (s := best(key, synthetic)) is not None]
        assert found == sorted(found)
    gaps = []
    for key in keys(service, order="Synthetic above web, most first"):
        pair = best(key, True), best(key, False)
        gaps += [pair[0] - pair[1]] if None not in pair else []
    assert gaps == sorted(gaps, reverse=True)


def disagreeing_rows(ledger, rows, policy):
    """Captions that the filter keeps and ITC does not, or the other way, if both keep the same share of an origin."""
    itc = dict(zip((r["row_id"] for r in rows), ledger.table("scores/itm")["itc"].to_pylist(), strict=True))
    found = set()
    for synthetic, limit in ((False, policy.web), (True, policy.synthetic)):
        own = [r for r in rows if (r["origin"] == "synthetic") == synthetic]
        scored = [r for r in own if r["score"] is not None]
        kept = {r["row_id"] for r in scored if np.float32(r["score"]) >= np.float32(limit)}
        for row in scored:
            better = sum(itc[other["row_id"]] > itc[row["row_id"]] for other in own)
            if (row["row_id"] in kept) != (better / len(own) < len(kept) / len(scored)):
                found.add(row["row_id"])
    return found


@pytest.mark.parametrize("policy", policies()[:8], ids=str)
def test_views_hold_what_their_names_say(ledger, service, rows, policy):
    images = by_image(rows, decide(ledger, policy).to_pylist())

    def kept(own, synthetic):
        return any(row["kept"] for row in own if (row["origin"] == "synthetic") == synthetic)

    def near(row):
        limit = policy.synthetic if row["origin"] == "synthetic" else policy.web
        return row["score"] is not None and abs(np.float32(row["score"]) - np.float32(limit)) <= NEAR

    def let_in(row):
        """What the filter itself says: people decided otherwise of some."""
        limit = policy.synthetic if row["origin"] == "synthetic" else policy.web
        return row["score"] is not None and np.float32(row["score"]) >= np.float32(limit)

    disagreeing = disagreeing_rows(ledger, rows, policy)
    wanted = {
        ALL: lambda own: True,
        "Both kept": lambda own: kept(own, False) and kept(own, True),
        "Only web kept": lambda own: kept(own, False) and not kept(own, True),
        "Only synthetic kept": lambda own: kept(own, True) and not kept(own, False),
        "None kept": lambda own: not kept(own, False) and not kept(own, True),
        "Near a threshold": lambda own: any(near(row) for row in own),
        BORDERS: lambda own: False,  # nothing was measured
        DISAGREE: lambda own: any(row["row_id"] in disagreeing for row in own),
        WRONG: lambda own: any(row["truth"] and let_in(row) != (row["truth"] == "true") for row in own),
    }
    counts = service.view_counts(policy)
    assert set(counts) == set(VIEWS) == set(wanted)
    for view, holds in wanted.items():
        assert keys(service, policy=policy, view=view) == [key for key, own in images.items() if holds(own)]
        assert counts[view] == sum(map(holds, images.values()))


@pytest.mark.parametrize("search", ["%", "_", "under_s", "'", '"quoted"', "\\", "äpfel", "RED", "<script>", "${", "no such text"])
def test_search_finds_letters_as_they_are(service, rows, search):
    wanted = {row["image_key"] for row in rows if search.lower() in row["caption"].lower()}
    assert set(keys(service, search=search)) == wanted
    assert service.view_counts(Policy(), search)[ALL] == len(wanted)


def test_a_page_beyond_the_last_is_the_last(service):
    last = service.page(Question(size=24, page=2))
    assert (last.number, last.pages, len(last.cards), last.images) == (2, 3, 12, 60)
    assert service.page(Question(size=24, page=99)) == last
    nothing = service.page(Question(search="no such text", page=4))
    assert (nothing.number, nothing.pages, nothing.cards) == (0, 1, ())


def test_a_page_that_cannot_be_is_one_sentence(service):
    for wrong in (Question(view="true; DROP TABLE images"), Question(order="1"), Question(size=0)):
        with pytest.raises(InputError, match="no such page"):
            service.page(wrong)


def test_many_people_may_ask_at_once(service):
    asked = policies()
    alone = [service.tallies(policy) for policy in asked]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(service.tallies, asked * 4)) == alone * 4


def test_the_service_closes_while_people_ask(ledger):
    leaving, begun = Service(ledger), Event()

    def ask_on() -> None:
        with pytest.raises(duckdb.ConnectionException):
            while True:
                begun.set()
                leaving.view_counts(Policy(), str(random.random()))

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask_on) for _ in range(3)]
        begun.wait()
        leaving.close()
        for one in asking:
            one.result()


def test_several_thumbnails_are_those_of_one_at_a_time(service):
    numbers = [7, 3, 59, 10_000]
    assert service.pictures(numbers) == {number: service.picture(number) for number in (3, 7, 59)}


def test_scenes_are_drawn_again_at_256_pixels(service):
    shown = np.asarray(Image.open(io.BytesIO(service.picture(7).jpeg)), dtype=int)
    assert shown.shape == (256, 256, 3)
    assert np.abs(shown - ITEMS[7].image(256)).mean() < 3


def test_a_scene_that_is_another_today_is_not_shown(ledger, tmp_path):
    copy = Ledger.open(shutil.copytree(ledger.folder, tmp_path / "copy"))
    entry = next(copy.entries("candidates"))
    table = copy.read("candidates", entry.shard)
    other = pa.array(["0" * 64] * table.num_rows)
    at = table.schema.get_field_index("image_sha256")
    copy.write("candidates", entry.shard, table.set_column(at, "image_sha256", other))
    service = Service.open(copy.folder)
    assert "draws another picture" in service.picture(0).reason
    service.close()


@pytest.fixture
def photos(tmp_path):
    """A ledger over files: of four, one is gone, one has changed and one is wide."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(4):
        Image.new("RGB", (300 + 300 * n, 300), (60 * n, 90, 20)).save(folder / f"{n}.png")
        (folder / f"{n}.txt").write_text(f"picture {n}")
    job = Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()})
    ledger = run(job, read_pairs(str(folder)), tmp_path / "ledger")
    (folder / "1.png").unlink()
    Image.new("RGB", (20, 20)).save(folder / "2.png")
    service = Service.open(ledger.folder)
    yield service, folder
    service.close()


def test_thumbnails_of_files_and_what_is_missing(photos):
    service, _ = photos
    sizes = [Image.open(io.BytesIO(service.picture(n).jpeg)).size for n in (0, 3)]
    assert sizes == [(256, 256), (256, 64)]
    gone, changed = service.picture(1), service.picture(2)
    assert (gone.jpeg, changed.jpeg) == (None, None)
    assert gone.reason.endswith("1.png is not there")
    assert changed.reason.endswith("2.png has changed since it was captioned")
    html = cards.cards(service.page(Question()), Policy(), service.picture, "")
    assert html.count('class="missing"') == 2
    assert html.count("data:image/jpeg;base64,") == 2


def test_only_files_that_the_ledger_names_are_opened(photos):
    service, folder = photos
    (folder / "secret.png").write_bytes((folder / "0.png").read_bytes())
    opened, watching = [], [True]

    def watch(event, arguments):
        if watching and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)  # stays for good, but watches this test alone
    for card in service.page(Question()).cards:
        service.picture(card.number)
    for number in (-1, 4, 10**9):
        with pytest.raises(InputError, match=f"no image {number}; it has 4"):
            service.picture(number)
    watching.clear()
    named = {str(folder / f"{n}.png") for n in range(4)}
    assert named <= set(opened)
    assert {path for path in opened if str(folder) in path} == named


def test_a_picture_that_nobody_can_find_says_so(tmp_path):
    ledger = generated_ledger(tmp_path / "ledger")
    ledger.about["notes"] = {}
    service = Service(ledger)
    assert service.picture(0).jpeg is None
    assert "does not say where" in service.picture(0).reason
    service.close()


def test_what_a_ledger_says_is_text_in_the_browser(service):
    page = service.page(Question(size=6))
    html = cards.cards(page, Policy(), service.picture, "SCRIPT>")
    assert "<script" not in html.lower()
    assert "onerror='" not in html
    assert "&lt;<mark>script&gt;</mark>window.hacked = 1" in html
    assert "&lt;script&gt;window.hacked = 1" in cards.cards(page, Policy(), service.picture, "")
    assert "show all" in html
    assert STRANGE[3].startswith("ÄPFEL")
    empty = cards.cards(service.page(Question(search="no such text")), Policy(), service.picture, "")
    assert "No image matches" in empty


def test_where_no_image_could_be_used_the_room_says_why_and_draws_no_bar(tmp_path):
    none = Service.open(unusable_ledger(tmp_path).folder)
    html = "".join(value for value in decisions._answer(none, Question()) if isinstance(value, str))
    assert "No image of this ledger could be used." in html and "No image matches" not in html
    assert "a web page (HTML or XML), not an image (2); zero bytes (1)." in html
    assert html.count('<div class="bar none"></div>') == 2
    none.close()


def test_a_histogram_is_filtered_left_of_the_threshold_and_kept_right_of_it():
    counts = [0] * 10
    counts[1] = counts[7] = 5
    counts[4] = 3
    svg = charts.histogram(counts, 0.45, "web")
    assert (svg.count('class="filtered"'), svg.count('class="kept"')) == (2, 2)  # one bar is cut in two
    assert 'x1="135.0"' in svg


def test_closing_removes_the_index(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    service = Service.open(ledger.folder)
    assert list(tmp_path.rglob("index.duckdb"))
    service.close()
    assert not any(tmp_path.iterdir())


def test_ledgers_that_cannot_be_shown_are_one_sentence(ledger, tmp_path):
    with pytest.raises(InputError, match=r"no ledger in .*; make one with lab demo .* or lab capfilt"):
        Service.open(tmp_path)
    copy = Ledger.open(shutil.copytree(ledger.folder, tmp_path / "copy"))
    scores = copy.read("scores/itm", "00001")
    copy.write("scores/itm", "00001", scores.take(list(range(scores.num_rows))[::-1]))
    with pytest.raises(InputError, match="not aligned"):
        Service.open(copy.folder)
    (copy.folder / "manifest" / "scores.itm-00001.json").unlink()
    with pytest.raises(InputError, match="Shard 00001 .* is not finished"):
        Service.open(copy.folder)
    for path in (copy.folder / "manifest").glob("scores.*"):
        path.unlink()
    with pytest.raises(InputError, match="no match probability .its filters: none"):
        Service.open(copy.folder)
    for path in (copy.folder / "manifest").glob("candidates*"):
        path.unlink()
    with pytest.raises(InputError, match="holds no captions yet"):
        Service.open(copy.folder)


def test_serving_others_needs_a_password(ledger):
    with pytest.raises(InputError, match="lets other machines in; give --password too, or set BLIP_LAB_PASSWORD"):
        main(Options(ledger=ledger.folder, host="0.0.0.0", open=False))
    with pytest.raises(InputError, match="--port 0 cannot be"):
        main(Options(ledger=ledger.folder, port=0))


def test_verdicts_within_the_measured_tolerance_are_a_view_of_their_own(tmp_path):
    ledger = generated_ledger(tmp_path / "ledger")
    here, there = Running("cpu", "fp32"), Running("cuda", "bf16")
    note(ledger, {"itm.itm_prob": Measured(100, 0.1, 0.05, 0, here, there)})
    override(ledger, {next(r["row_id"] for r in decide(ledger).to_pylist() if r["borderline"]): True}, reviewer="ann")
    service = Service.open(ledger.folder)
    for policy in (Policy(), Policy(web=0.2, synthetic=0.8)):
        wanted = {row["row_id"] for row in decide(ledger, policy).to_pylist() if row["borderline"]}
        page = service.page(Question(policy=policy, view=BORDERS, size=60))
        shown = {own.row_id for card in page.cards for own in card.captions if own.borderline}
        assert wanted == shown
        assert cards.cards(page, policy, service.picture, "").count(">borderline</span>") == len(wanted)
    service.close()


def test_a_second_filter_gives_an_opinion_before_itc(tmp_path):
    ledger = generated_ledger(tmp_path / "ledger")
    wanted = set()
    for entry in list(ledger.entries("candidates")):
        rows = ledger.read("scores/itm", entry.shard)
        turned = [-score for score in rows["itm_prob"].to_pylist()]
        other = pa.table({"row_id": rows["row_id"], "against": pa.array(turned, pa.float32())})
        ledger.write("scores/other", entry.shard, other)
        wanted |= set(ledger.read("candidates", entry.shard)["image_key"].to_pylist())
    service = Service.open(ledger.folder)
    assert service.opinions == ["other.against", "itm.itc"]
    assert service.disagreeing() == service.disagreeing("nobody") == "itm and other disagree"
    assert service.disagreeing("itm.itc") == "ITM and ITC disagree"
    desk = Desk(service, Reviews(tmp_path / "reviews.jsonl", identity(service.ledger)))
    assert desk.queues("itm.itc")["disagree"] == "ITM and ITC disagree" and desk.queues()["near"] == "Near the threshold"
    policy = Policy(web=0.5, synthetic=0.5)
    # One that turns every order round disagrees on nearly all; itc, which orders as itm_prob does, on none.
    assert service.view_counts(policy)[DISAGREE] > 0.8 * len(wanted)
    assert service.view_counts(policy, opinion="itm.itc")[DISAGREE] == 0
    assert service.view_counts(policy, opinion="nobody")[DISAGREE] == service.view_counts(policy)[DISAGREE]
    service.close()


def test_words_of_people_are_taken_in_while_the_studio_is_open(tmp_path):
    ledger = generated_ledger(tmp_path / "ledger")
    service = Service.open(ledger.folder)
    rows = decide(ledger).to_pylist()
    override(ledger, {row["row_id"]: not row["kept"] for row in rows[:9]}, reviewer="ann")
    before, curves = service.tallies(Policy()), service.curves
    service.refresh()
    assert service.tallies(Policy()) != before and service.curves is not curves
    curves = service.curves
    service.refresh()
    assert service.curves is curves  # nothing was decided since, and nothing is counted again
    fresh = Service.open(ledger.folder)
    for policy in policies():
        assert service.tallies(policy) == fresh.tallies(policy)
        assert service.view_counts(policy) == fresh.view_counts(policy)
        assert service.page(Question(policy=policy)) == fresh.page(Question(policy=policy))
    assert service.curves == fresh.curves
    service.close(), fresh.close()


def test_a_better_text_stands_for_the_old_one_whose_truth_is_no_longer_its(tmp_path):
    ledger = generated_ledger(tmp_path / "ledger")
    service = Service.open(ledger.folder)
    rows = zip(ledger.table("candidates").to_pylist(), decide(ledger).to_pylist(), strict=True)
    row = next(own for own, verdict in rows if own["truth"] == "false" and not verdict["kept"] and own["origin"] == "web")
    wrong, before = service.view_counts(Policy())[WRONG], service.tallies(Policy())["web"]

    def decided(kept, text):
        record(ledger, {row["row_id"]: Decision(kept, "ann", datetime.now(UTC), text)})
        service.refresh()
        (card,) = (c for c in service.page(Question(size=60)).cards if c.key == row["image_key"])
        return next(own for own in card.captions if own.row_id == row["row_id"]), card

    shown, card = decided(True, "a <b>better</b> text")
    assert (shown.text, shown.better, shown.truth, shown.noise_kind) == (row["caption"], "a <b>better</b> text", None, None)
    html = cards.article(card, Policy(), service.picture(card.number), "better")
    assert "a &lt;b&gt;<mark>better</mark>&lt;/b&gt; text</p>" in html and f"<del>{cards.escape(row['caption'])}</del>" in html
    after = service.tallies(Policy())["web"]
    assert after.kept == before.kept + 1 and after.kept_by_truth[None] == 1
    assert (after.rates["precision"], after.false_share) == (before.rates["precision"], before.false_share)
    assert service.view_counts(Policy())[WRONG] == wrong  # the filter was right, whatever a person made of it
    for text in ("a <B>better</B>", row["caption"]):
        assert row["image_key"] in keys(service, search=text)
    for taken_back in ((None, None), (True, None)):
        shown, _ = decided(*taken_back)
        assert (shown.better, shown.truth, shown.noise_kind) == (None, "false", row["noise_kind"])
    assert keys(service, search="a <b>better</b>") == []
    service.close()


def test_who_comes_back_to_the_decisions_sees_what_was_decided_elsewhere(tmp_path):
    ledger = generated_ledger(tmp_path / "ledger")
    service = Service.open(ledger.folder)
    with gr.Blocks() as demo, gr.Tab("Decisions") as tab:
        decisions.build(service, demo, Policy(), [tab.select])
    (coming,) = (own for own in demo.fns.values() if (tab._id, "select") in own.targets)
    kept = [row["row_id"] for row in decide(ledger).to_pylist() if row["kept"] and row["origin"] != "synthetic"]
    override(Ledger.open(ledger.folder), dict.fromkeys(kept, False), reviewer="ann")
    asked = dict(zip(coming.inputs, (0.5, 0.5, ALL, "", next(iter(ORDERS)), "itm.itc", 12, 1), strict=True))
    assert [type(part).__name__ for part in asked] == ["Slider", "Slider", "Radio", "Textbox", *["Dropdown"] * 3, "State"]
    web, *_, page = coming.fn(*asked.values())
    assert "<b>0</b> kept" in web and page == 1
    service.close()
