"""CapFilt and its ledger: nothing is lost, every byte is repeatable, both ways to decide agree."""

import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_models import FakeCaptioner, FakeFilter

from blip.capfilt import Job, Ledger, Policy, decide, decide_duckdb, kept, override, run, verify
from blip.capfilt.identity import data_sha256
from blip.capfilt.quality import against_truth, auc
from blip.capfilt.scoring import score
from blip.data.collect import PairCollector
from blip.data.pairs import ImageRef, Pair, Reject
from blip.data.pairset import PairSet, PairTable
from blip.errors import InputError
from lab.world.checker import check
from lab.world.sets import World, as_pairs

WORLD = World.of("nano")
ITEMS = WORLD.web(50)
SCENES = {item.key: item.scene for item in ITEMS}


def judge(key, caption):
    return check(caption, SCENES[key]).truth


def job(**changes):
    settings = {
        "captioner": FakeCaptioner(),
        "filters": {"itm": FakeFilter()},
        "images_per_shard": 16,
        "judge": judge,
    }
    return Job(**settings | changes)


def pairs():
    return PairSet.of(as_pairs(ITEMS, 32))


def content(folder):
    """Every file of a ledger with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("done") / "ledger"
    return run(job(), pairs(), folder)


@pytest.fixture
def copy(done, tmp_path):
    """A ledger that a test may break."""
    return Ledger.open(shutil.copytree(done.folder, tmp_path / "copy"))


def broken(ledger):
    return [finding.invariant for finding in verify(ledger) if not finding.holds]


def test_every_pair_and_caption_is_in_the_ledger(done):
    rows = done.table("candidates").to_pylist()
    assert [r["caption"] for r in rows if r["origin"] == "web"] == [i.caption for i in ITEMS]
    assert sum(r["origin"] == "synthetic" for r in rows) == len(ITEMS)
    assert {(r["truth"], r["noise_kind"]) for r in rows if r["origin"] == "web"} == {
        (i.truth, i.noise_kind) for i in ITEMS
    }
    assert all(r["mean_logprob"] == -0.75 for r in rows if r["origin"] == "synthetic")
    assert broken(done) == []


def test_a_second_run_and_other_workers_give_the_same_bytes(done, tmp_path):
    other = run(job(workers=5), pairs(), tmp_path / "other")
    assert content(other.folder) == content(done.folder)


def test_a_finished_ledger_is_left_alone(done):
    captioner = FakeCaptioner()
    before = content(done.folder)
    run(job(captioner=captioner), pairs(), done.folder)
    assert captioner.calls == 0
    assert content(done.folder) == before


@pytest.mark.parametrize(
    "lost",
    [
        "candidates/00001.parquet",
        "manifest/candidates-00002.json",
        "manifest/rejects-00000.json",
        "scores/itm/00000.parquet",
        "manifest/scores.itm-00003.json",
        "manifest/rejects-reading.json",
    ],
)
@pytest.mark.parametrize("cut", [True, False])
def test_what_is_lost_or_cut_is_made_again_with_the_same_bytes(done, copy, lost, cut):
    path = copy.folder / lost
    if cut:
        path.write_bytes(path.read_bytes()[:20])
    else:
        path.unlink()
    run(job(), pairs(), copy.folder)
    assert content(copy.folder) == content(done.folder)


def test_a_filter_added_later_captions_nothing_again(done, copy):
    captioner = FakeCaptioner()
    both = {"itm": FakeFilter(), "second": FakeFilter("other")}
    run(job(captioner=captioner, filters=both), pairs(), copy.folder)
    assert captioner.calls == 0
    assert copy.filters == ["itm", "second"]
    assert broken(Ledger.open(copy.folder)) == []
    unchanged = {name: data for name, data in content(done.folder).items() if name != "ledger.json"}
    assert unchanged.items() <= content(copy.folder).items()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"captioner": FakeCaptioner(name="another")}, "captioner"),
        ({"filters": {"itm": FakeFilter("another")}}, "filter itm"),
        ({"seed": 5}, "seed"),
        ({"images_per_shard": 8}, "images_per_shard"),
    ],
)
def test_a_ledger_of_another_job_is_refused(done, changes, named):
    with pytest.raises(InputError, match=f"another job .its {named} differs"):
        run(job(**changes), pairs(), done.folder)


def test_other_data_in_the_same_folder_is_refused(done):
    with pytest.raises(InputError, match="its data differs"):
        run(job(), PairSet.of(as_pairs(ITEMS[:20], 32)), done.folder)


def changed(number, **changes):
    """The data with one row changed."""
    rows = list(pairs())
    rows[number] = replace(rows[number], **changes)
    return PairSet.of(rows)


@pytest.mark.parametrize(
    "others",
    [
        lambda: changed(3, caption="another text"),
        lambda: changed(3, origin="human"),
        lambda: changed(3, truth="uninformative"),
        lambda: changed(49, image=ImageRef("elsewhere.png")),
        lambda: PairSet.of(list(pairs())[::-1]),
    ],
)
def test_as_many_other_pairs_are_refused(done, copy, others):
    before = content(copy.folder)
    for filters in ({"itm": FakeFilter()}, {"itm": FakeFilter(), "second": FakeFilter("other")}):
        with pytest.raises(InputError, match="its data differs"):
            run(job(filters=filters), others(), copy.folder)
    assert content(copy.folder) == before


@pytest.mark.parametrize(("wrong", "sentence"), [({"round": 40_000}, "round 40000 cannot be; give 0 to 32767"), ({"seed": 2**63}, "of seed"),
    ({"captioner": FakeCaptioner(candidates=32_769)}, "candidates 32769 cannot be; give 1 to 32768")])  # fmt: skip
def test_a_job_that_no_column_can_hold_is_refused_before_it_runs(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        job(**wrong)


def test_data_has_one_identity_however_it_is_held():
    into = PairCollector()
    for key, texts in (("a", ["ab", "c"]), ("b", []), ("c", ["\u05e9 \U0001f436"])):
        into.add(key, ImageRef(f"{key}.tar", 512, 9), texts, record={"truth": "true"} if key == "a" else {})
    read = into.done()
    digest = data_sha256(read)
    whole = read.rows.table
    parts = PairTable(pa.concat_tables([whole.slice(0, 1), whole.slice(1, 2), whole.slice(3)]))
    listed = [read.rows[n] for n in range(4)]
    assert digest == data_sha256(PairSet(parts, read.image_of_row)) == data_sha256(PairSet.of(listed))
    for n, own in enumerate(listed):
        for name, value in (("caption", own.caption + "x"), ("truth", "false"), ("image", replace(own.image, offset=1))):
            other = [*listed[:n], replace(own, **{name: value}), *listed[n + 1 :]]
            assert data_sha256(PairSet.of(other)) != digest
    moved = [replace(listed[0], caption="a"), replace(listed[1], caption="bc"), *listed[2:]]
    assert data_sha256(PairSet.of(moved)) != digest
    elsewhere = [replace(own, image=replace(own.image, path=f"/elsewhere/{own.image.path}")) for own in listed]
    renamed = [replace(own, image=replace(own.image, path=f"new-{own.image.path}")) for own in listed]
    assert data_sha256(PairSet.of(elsewhere)) == digest != data_sha256(PairSet.of(renamed))
    unknown, empty = (data_sha256(PairSet.of([Pair("a", "b", b"", truth=truth)])) for truth in (None, ""))
    assert unknown != empty


@pytest.fixture
def earlier(copy):
    """A ledger as programs wrote it before ledgers kept the identity of their data."""
    about = json.loads((copy.folder / "ledger.json").read_text())
    about["data"].pop("sha256", None)
    (copy.folder / "ledger.json").write_text(json.dumps(about, indent=1) + "\n")
    return Ledger.open(copy.folder)


TWO = {"itm": FakeFilter(), "second": FakeFilter("other")}


def test_an_earlier_ledger_opens_decides_verifies_and_resumes(done, earlier, tmp_path):
    assert done.about["data"]["sha256"] == data_sha256(pairs())
    assert broken(earlier) == []
    assert decide(earlier).to_pylist() == decide(done).to_pylist()
    before = content(earlier.folder)
    (earlier.folder / "manifest" / "candidates-00002.json").unlink()
    assert content(run(job(), pairs(), earlier.folder).folder) == before
    run(job(filters=TWO), pairs(), earlier.folder)
    whole = run(job(filters=TWO), pairs(), tmp_path / "whole")
    (one, other) = content(earlier.folder), content(whole.folder)
    assert "sha256" not in json.loads(one.pop("ledger.json"))["data"] and other.pop("ledger.json")
    assert one == other
    with pytest.raises(InputError, match="its data differs"):
        run(job(), PairSet.of(as_pairs(ITEMS[:20], 32)), earlier.folder)


def test_scores_stand_in_the_order_of_their_candidates(earlier, tmp_path):
    rows = list(pairs())
    turned = PairSet.of([row for start in range(0, len(rows), 16) for row in rows[start : start + 16][::-1]])
    run(job(filters=TWO), turned, earlier.folder)
    whole = run(job(filters=TWO), pairs(), tmp_path / "whole")
    assert broken(earlier) == []
    policy = Policy(filter="second")
    assert decide_duckdb(earlier, policy).to_pylist() == decide(whole, policy).to_pylist()


def test_a_later_filter_refuses_data_in_which_images_stand_elsewhere(earlier):
    with pytest.raises(InputError, match="image web-.* was captioned in shard 00000, where the data does not have it"):
        run(job(filters=TWO), PairSet.of(list(pairs())[::-1]), earlier.folder)


def test_a_later_filter_refuses_another_picture(copy):
    own = list(pairs())
    other = PairSet.of([replace(own[0], image=own[1].image), *own[1:]])
    with pytest.raises(InputError, match=f"The image {own[0].key} is not the one that was captioned"):
        run(job(filters=TWO), other, copy.folder)
    assert broken(run(job(filters=TWO), pairs(), copy.folder)) == []


def test_bad_inputs_become_rejects_and_the_rest_goes_on(tmp_path):
    good = list(as_pairs(ITEMS[:6], 32))
    bad = Pair("bad", "a picture that is none", b"no image at all")
    silent = Pair("untold", "", good[0].image)
    reading = [Reject("untold", "list.json", "the caption is empty", "text")]
    data = PairSet.of([*good[:3], bad, silent, *good[3:]], reading)
    ledger = run(job(judge=lambda key, text: None), data, tmp_path / "ledger")
    rejects = {(r["image_key"], r["kind"]): r for r in ledger.table("rejects").to_pylist()}
    assert set(rejects) == {("bad", "image"), ("untold", "text")}
    assert rejects["bad", "image"]["caption"] == "a picture that is none"
    rows = ledger.table("candidates").to_pylist()
    assert [r["origin"] for r in rows if r["image_key"] == "untold"] == ["synthetic"]
    assert len(rows) == 6 * 2 + 1
    assert broken(ledger) == []


class Reading:
    """Makes `prepare` of a fake model one that says what it reads, and remembers where it was asked."""

    def __init__(self, model, reads, asked):
        self.model, self.reads, self.asked = model, reads, asked

    def prepare(self, image):
        self.asked.append(threading.current_thread())
        return self.model.prepare(image)

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, *given, **named):
        return self.model(*given, **named)


def test_pictures_are_prepared_by_threads_and_once_for_models_that_read_the_same(done, tmp_path):
    asked, other = [], []
    filters = {"itm": Reading(FakeFilter(), "brightness", asked), "more": Reading(FakeFilter("more"), "else", other)}
    own = job(captioner=Reading(FakeCaptioner(), "brightness", asked), filters={"itm": filters["itm"]})
    ledger = run(own, pairs(), tmp_path / "ledger")
    assert len(asked) == 50 and threading.main_thread() not in asked
    for name in ("candidates", "scores/itm"):
        assert ledger.table(name).equals(done.table(name))
    score(ledger, filters, images={pair.key: pair for pair in as_pairs(ITEMS, 32)})
    assert len(asked) == 50 and len(other) == 50 and threading.main_thread() not in other


def test_captions_beyond_those_that_can_be_numbered_are_rejects(tmp_path):
    images = {key: next(iter(as_pairs([item], 32))).image for key, item in zip(("many", "few"), ITEMS, strict=False)}
    given = [Pair("many", f"caption {n}", images["many"]) for n in range(2**15 + 2)]
    ledger = run(job(judge=lambda key, text: None), PairSet.of([*given, Pair("few", "one", images["few"])]), tmp_path / "ledger")
    rejects = ledger.table("rejects").to_pylist()
    assert [(r["image_key"], r["kind"], r["caption"], r["pairs"]) for r in rejects] == [
        ("many", "text", f"caption {n}", 1) for n in (2**15, 2**15 + 1)
    ]
    assert {r["reason"] for r in rejects} == {"the image has more than the 32,768 captions that a ledger can number"}
    assert ledger.counts()["given_rows"] == 2**15 + 1 and ledger.counts()["rejected_pairs"] == 2
    assert broken(ledger) == []


def test_empty_synthetic_captions_are_counted_and_kept_as_rejects(tmp_path):
    ledger = run(job(captioner=FakeCaptioner(silent=0.7, candidates=2)), pairs(), tmp_path / "ledger")
    failed = [r for r in ledger.table("rejects").to_pylist() if r["kind"] == "caption"]
    counts = ledger.counts()
    assert 0 < len(failed) == counts["failed_captions"]
    assert counts["synthetic_rows"] + len(failed) == 2 * len(ITEMS)
    assert broken(ledger) == []


def test_data_without_a_usable_image_is_one_sentence(tmp_path):
    nothing = PairSet.of([], [Reject("x", "pairs.tar", "the tar is cut in the middle", "file")])
    with pytest.raises(InputError, match=r"first of 1 rejects is pairs.tar \(the tar is cut"):
        run(job(), nothing, tmp_path / "ledger")


POLICIES = [
    Policy(),
    Policy(web=0.9, synthetic=0.1),
    Policy(column="itc", web=0.2, synthetic=0.4),
    Policy(web=0.0, synthetic=1.0),
]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_arrow_and_duckdb_decide_alike(done, policy):
    assert decide(done, policy).to_pylist() == decide_duckdb(done, policy).to_pylist()


def test_decisions_agree_with_a_loop_over_rows(done):
    policy = Policy(web=0.7, synthetic=0.3)
    rows = done.table("candidates").to_pylist()
    scores = {r["row_id"]: r["itm_prob"] for r in done.table("scores/itm").to_pylist()}
    wanted = [scores[r["row_id"]] >= (0.3 if r["origin"] == "synthetic" else 0.7) for r in rows]
    assert decide(done, policy)["kept"].to_pylist() == wanted
    assert True in wanted
    assert False in wanted


def test_a_score_at_its_threshold_is_kept(copy):
    score = decide(copy)["score"][0].as_py()
    for verdicts in (decide, decide_duckdb):
        assert verdicts(copy, Policy(web=score)).to_pylist()[0]["kept"]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_score_that_is_missing_filters(copy, missing):
    entry = next(copy.entries("scores/itm"))
    rows = copy.read("scores/itm", entry.shard)
    at = rows.schema.get_field_index("itm_prob")
    empty = pa.array([missing, *rows["itm_prob"].to_pylist()[1:]], pa.float32())
    copy.write("scores/itm", entry.shard, rows.set_column(at, "itm_prob", empty))
    for verdicts in (decide, decide_duckdb):
        assert verdicts(copy, Policy(web=0.0)).to_pylist()[0]["kept"] is False


def test_people_go_before_the_filter_and_the_last_word_counts(copy):
    before = decide(copy).to_pylist()
    first, second = before[0], before[1]
    override(copy, {first["row_id"]: not first["kept"], second["row_id"]: True}, reviewer="ann")
    override(copy, {second["row_id"]: False}, reviewer="bob")
    after = decide(copy).to_pylist()
    assert (after[0]["kept"], after[0]["by"]) == (not first["kept"], "person")
    assert (after[1]["kept"], after[1]["by"]) == (False, "person")
    assert after[2:] == before[2:]
    assert after == decide_duckdb(copy).to_pylist()
    history = copy.table("overrides").to_pylist()
    assert [(r["reviewer"], r["was"]) for r in history] == [
        ("ann", first["kept"]),
        ("ann", second["kept"]),
        ("bob", True),
    ]
    assert broken(copy) == []


def test_an_override_of_an_unknown_caption_is_refused(copy):
    with pytest.raises(InputError, match="no caption 'nobody'"):
        override(copy, {"nobody": True}, reviewer="ann")


@pytest.mark.parametrize("left", ["file", "entry"])
def test_a_decision_never_takes_the_place_of_another(copy, left):
    rows = decide(copy)["row_id"].to_pylist()
    for row in rows[:3]:
        override(copy, {row: True}, reviewer="ann")
    if left == "file":  # an entry of no use: its shard does not exist
        (copy.folder / "manifest" / "overrides-00000.json").unlink()
    else:
        (copy.folder / "manifest" / "overrides-00002.json").write_text("{")
        (copy.folder / "overrides" / "00002.parquet").unlink()
    override(copy, {rows[3]: False}, reviewer="bob")
    lost = rows[0] if left == "file" else rows[2]
    found = copy.table("overrides")
    assert found["row_id"].to_pylist() == [row for row in rows[:4] if row != lost]
    assert copy.entry("overrides", "00003").rows == 1


def test_an_unreadable_decision_has_its_own_remedy(copy):
    override(copy, {decide(copy)["row_id"][0].as_py(): True}, reviewer="ann")
    (copy.folder / "overrides" / "00000.parquet").write_bytes(b"bad")
    with pytest.raises(InputError, match="restore it from a copy, or delete its entry in manifest to go on without its"):
        decide(copy)


def test_kept_pairs_are_the_kept_captions_byte_for_byte(done):
    images = {pair.key: pair for pair in pairs()}
    found = list(kept(done, images=images))
    wanted = [(r["image_key"], r["caption"]) for r in decide(done).to_pylist() if r["kept"]]
    assert [(pair.key, pair.caption) for pair, _ in found] == wanted
    assert all(np.array_equal(pair.image, images[pair.key].image) for pair, _ in found)
    assert all(own["score"] >= 0.5 for _, own in found)


def test_kept_pairs_without_images_say_what_is_missing(done):
    with pytest.raises(InputError, match="does not say where the image web-"):
        list(kept(done))


def _flip(ledger):
    path = ledger.path("candidates", "00001")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _lose_scores(ledger):
    (ledger.folder / "manifest" / "scores.itm-00002.json").unlink()


def _misalign(ledger):
    rows = ledger.read("scores/itm", "00000")
    ledger.write("scores/itm", "00000", rows.take(list(range(rows.num_rows))[::-1]))


def _change_text(ledger):
    rows = ledger.read("candidates", "00000")
    texts = ["changed", *rows["caption"].to_pylist()[1:]]
    at = rows.schema.get_field_index("caption")
    changed = rows.set_column(at, "caption", pa.array(texts))
    ledger.write("candidates", "00000", changed, ledger.entry("candidates", "00000").counts)


def _drop_row(ledger):
    counts = ledger.entry("candidates", "00000").counts
    rows = ledger.read("candidates", "00000").slice(1)
    ledger.write("candidates", "00000", rows, counts | {"given_rows": counts["given_rows"] - 1})


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (_flip, "every shard is as it was entered"),
        (_lose_scores, "every table has every shard"),
        (_misalign, "scores are row-aligned"),
        (_change_text, "every row_id is that of its content"),
        (_drop_row, "input pairs = web rows"),
    ],
)
def test_verify_finds_every_harm(copy, harm, found):
    harm(copy)
    assert any(invariant.startswith(found) for invariant in broken(copy))


def test_unreadable_ledgers_are_one_sentence(copy, tmp_path):
    with pytest.raises(InputError, match="There is no ledger in"):
        Ledger.open(tmp_path)
    about = json.loads((copy.folder / "ledger.json").read_text())
    (copy.folder / "ledger.json").write_text(json.dumps(about | {"version": 99}))
    with pytest.raises(InputError, match="has version 99"):
        Ledger.open(copy.folder)


def test_an_unknown_filter_or_column_is_one_sentence(done):
    with pytest.raises(InputError, match="no filter 'clip'; it has itm"):
        decide(done, Policy(filter="clip"))
    with pytest.raises(InputError, match="no column 'x'; use itm_logit, itm_prob, itc"):
        decide(done, Policy(column="x"))


def test_shards_are_parquet_that_anyone_can_read(done):
    entry = next(done.entries("candidates"))
    assert pq.read_table(done.path("candidates", entry.shard)).num_rows == entry.rows


def test_auc_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 8, 40), rng.integers(0, 6, 30)
    slow = np.mean([(p > n) + 0.5 * (p == n) for p in positive for n in negative])
    assert auc(positive, negative) == pytest.approx(slow)
    assert auc(positive, np.array([])) is None


def test_a_missing_score_ranks_behind_every_other():
    nan = float("nan")
    assert auc(np.array([nan, nan]), np.array([0.1, 0.9])) == 0.0
    assert auc(np.array([0.1, 0.9]), np.array([nan, None])) == 1.0
    assert auc(np.array([None, 0.5]), np.array([nan, 0.7])) == (0.5 + 0 + 1 + 0) / 4


def test_truth_table_agrees_with_a_loop(done):
    decided = decide(done).to_pylist()
    rows = done.table("candidates")
    both = list(zip(rows.to_pylist(), decided, strict=True))
    found = against_truth(
        rows, np.array([v["score"] for v in decided]), np.array([v["kept"] for v in decided])
    )
    web = [(r, v) for r, v in both if r["origin"] == "web"]
    true_web = [v["kept"] for r, v in web if r["truth"] == "true"]
    assert found["kept_of_true_web"] == pytest.approx(np.mean(true_web))
    assert found["false_share_before"] == pytest.approx(np.mean([r["truth"] == "false" for r, _ in web]))
    kept_truths = [r["truth"] == "false" for r, v in both if v["kept"]]
    assert found["false_share_after"] == pytest.approx(np.mean(kept_truths))
    clean = [v["score"] for r, v in web if r["noise_kind"] == "clean"]
    near = [v["score"] for r, v in web if r["noise_kind"] == "near_miss"]
    slow = np.mean([(p > n) + 0.5 * (p == n) for p in clean for n in near])
    assert found["auc"]["near_miss"] == pytest.approx(slow)
