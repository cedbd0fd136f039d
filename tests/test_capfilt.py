"""CapFilt and its ledger: nothing is lost, every byte is repeatable, both ways to decide agree."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_models import FakeCaptioner, FakeFilter

from blip.capfilt import Job, Ledger, Policy, decide, decide_duckdb, kept, override, run, verify
from blip.capfilt.quality import against_truth, auc
from blip.data.pairs import Pair, Reject
from blip.data.pairset import PairSet
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
