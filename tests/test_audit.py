"""Audits: estimates against loops, known truth and simulation; the draw's chances; sheets and bad answers."""

import csv
import itertools
import json
import math
import random
import re
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from data_files import encoded, picture
from fake_models import FakeCaptioner, FakeFilter, number
from random_ledgers import random_ledger
from studio_ledgers import ITEMS, STRANGE, WORLD, generated_ledger

from blip.capfilt import Job, Ledger, Policy, decide, run
from blip.data.pairs import ImageRef, Pair
from blip.data.pairset import PairSet
from blip.generate import Caption, Decoding
from lab.audit import Sample, Stratum, estimate, joined, shares, suggested
from lab.audit_draw import allocated, draw
from lab.audit_files import key_path
from lab.cli import main
from lab.world.checker import check
from lab.world.language import full_caption
from lab.world.sets import as_pairs

Z = 1.959963984540054


def slow_shares(holds, domain, stratum, captions):
    """One question in plain loops: the ratio estimator, its linearised variance, Wilson's interval."""
    rows = range(len(stratum))
    drawn = Counter(stratum.tolist())
    weight = [captions[stratum[i]] / drawn[stratum[i]] for i in rows]
    total = sum(weight[i] for i in rows if domain[i])
    value = sum(weight[i] for i in rows if domain[i] and holds[i]) / total
    variance, likely = 0.0, value
    for h, size in enumerate(captions):
        own = [(holds[i] - value) * domain[i] / total for i in rows if stratum[i] == h]
        n, mean = len(own), sum(own) / len(own)
        spread = sum((z - mean) ** 2 for z in own) / max(n - 1, 1)
        answers = [bool(holds[i]) for i in rows if stratum[i] == h and domain[i]]
        if len(set(answers)) == 1:
            share = (sum(answers) + 0.5) / (len(answers) + 1)
            spread = max(spread, len(answers) / n * share * (1 - share) / total**2)
            likely += (share - answers[0]) * len(answers) / n * size / total
        variance += size**2 * (1 - n / size) / n * spread
    size = likely * (1 - likely) / variance
    middle, half = value + Z**2 / (2 * size), Z * math.sqrt(value * (1 - value) / size + Z**2 / (4 * size**2))
    return value, (middle - half) / (1 + Z**2 / size), (middle + half) / (1 + Z**2 / size)


@pytest.mark.parametrize("seed", range(6))
def test_shares_agree_with_loops(seed):
    rng = np.random.default_rng(seed)
    captions = rng.integers(20, 500, 4).astype(float)
    stratum = np.concatenate([np.repeat(np.arange(4), 3), rng.integers(0, 4, 30)])
    holds, domain = rng.random((5, 42)) < 0.7, rng.random((5, 42)) < 0.6
    found = shares(holds, domain, stratum, captions)
    for row in range(5):
        wanted = slow_shares(holds[row], domain[row], stratum, captions)
        assert (found.value[row], found.low[row], found.high[row]) == pytest.approx(wanted)


def test_a_share_worked_by_hand():
    """100 captions of which 3 of 4 match, 300 of which 3 of 6 do: (75 + 150) / 400."""
    holds = np.array([[1, 1, 1, 0, 1, 1, 1, 0, 0, 0]], bool)
    stratum = np.array([0] * 4 + [1] * 6)
    found = shares(holds, np.ones((1, 10), bool), stratum, np.array([100.0, 300.0])).at(0)
    assert found["value"] == 0.5625
    # (100/400)^2 x 0.96 x 0.25 / 4 + (300/400)^2 x 0.98 x 0.3 / 6, and so 7.8 answers of a simple sample
    size = 0.5625 * 0.4375 / (0.0625 * 0.96 * 0.25 / 4 + 0.5625 * 0.98 * 0.3 / 6)
    half = Z / (1 + Z**2 / size) * math.sqrt(0.5625 * 0.4375 / size + Z**2 / (4 * size**2))
    assert found["high"] - found["low"] == pytest.approx(2 * half)


def test_a_census_knows_exactly_and_nothing_knows_nothing():
    holds, everything = np.array([[True, False, True]]), np.ones((1, 3), bool)
    stratum = np.array([0, 0, 1])
    assert shares(holds, everything, stratum, np.array([2.0, 1.0])).at(0) == {"value": 2 / 3, "low": 2 / 3, "high": 2 / 3}
    assert shares(holds, ~everything, stratum, np.array([9.0, 9.0])).at(0) == {"value": None, "low": None, "high": None}


def test_a_few_noes_in_a_small_stratum_do_not_make_a_large_one_sure():
    """60 of 60 yes stand for 10,000 captions: whatever ten others say, the interval is about as wide as 60 answers allow."""
    for small, noes in ((9, 6), (10, 6), (10, 0), (10, 10), (9, 0)):
        stratum = np.array([0] * small + [1] * 60)
        holds = np.array([[row >= noes for row in range(small)] + [True] * 60])
        found = shares(holds, np.ones((1, len(stratum)), bool), stratum, np.array([10.0, 10_000.0])).at(0)
        assert 0.92 < found["low"] < 0.97 and found["high"] > 0.999, (small, noes)


GOOD = {"good": (0.08, 0.99, 0.4), "better": (0.02, 0.995, 0.4), "mild": (0.3, 0.97, 0.7)}
"""Shares of captions below 0.5, and of these above and below it that match."""
RARE = {"few": (0.95, 0.95, 0.01), "fewer": (0.95, 0.95, 0.005), "tenth": (0.9, 0.95, 0.01), "third": (0.7, 0.95, 0.03)}
"""The same where hardly any of the many below match, so that most audits see none of them."""


def population(kind):
    """Scores (N,) and which captions match (N,): a filter that is sure, one that is hardly any use, and GOOD ones."""
    rng = np.random.default_rng(1)
    if kind in GOOD | RARE:
        below, above_match, below_match = (GOOD | RARE)[kind]
        low = rng.random(20_000) < below
        return (rng.random(20_000) + ~low) / 2, rng.random(20_000) < np.where(low, below_match, above_match)
    if kind == "sharp":
        logit = rng.normal(1, 3, 20_000)
        return 1 / (1 + np.exp(-logit)), rng.random(20_000) < 1 / (1 + np.exp(-1.2 * logit - 0.5))
    score = rng.random(20_000)
    return score, rng.random(20_000) < 0.1 + 0.8 * score


EDGES = (0.25, 0.5, 0.75)


def stratified(score):
    """Strata (N,) as an audit of a policy at 0.5 has them, the captions of each, and the rows of each."""
    low, high = score[score < 0.5], score[score >= 0.5]
    stratum = np.searchsorted(np.concatenate([np.quantile(low, EDGES), [0.5], np.quantile(high, EDGES)]), score, "right")
    return stratum, np.bincount(stratum), [np.flatnonzero(stratum == h) for h in range(8)]


def audits(score, answers, times, seed=2):
    """Rows of so many audits of so many answers each."""
    _, captions, members = stratified(score)
    counts = allocated(captions, np.array([1, 1, 1, 2, 2, 1, 1, 1]) / 10, answers)
    rng = np.random.default_rng(seed)
    for _ in range(times):
        yield np.concatenate([rng.choice(own, n, replace=False) for own, n in zip(members, counts, strict=True)])


@pytest.mark.parametrize("answers", [100, 200])
@pytest.mark.parametrize("kind", ["sharp", "vague", *GOOD])
def test_intervals_cover_the_truth_at_their_level(kind, answers):
    """500 audits: 95% intervals of precision, recall and the share before cover it."""
    score, match = population(kind)
    stratum, captions, _ = stratified(score)
    thresholds = np.array([0.1, 0.3, 0.5, 0.7, 0.9])[:, None]
    reached = score >= thresholds
    truth = [*(match[own].mean() for own in reached), *(own[match].mean() for own in reached), match.mean()]
    covered, not_too_high = np.zeros(11), np.zeros(11)
    for rows in audits(score, answers, 500):
        kept, yes = score[rows] >= thresholds, np.broadcast_to(match[rows], (5, answers))
        sizes, everything = captions.astype(float), np.ones((1, answers), bool)
        each = [shares(yes, kept, stratum[rows], sizes), shares(kept, yes, stratum[rows], sizes, answered=True)]
        each.append(shares(yes[:1], everything, stratum[rows], sizes))
        low, high = (np.concatenate([getattr(one, end) for one in each]) for end in ("low", "high"))
        covered += (low <= truth) & (truth <= high)
        not_too_high += low <= truth
    assert np.all(not_too_high / 500 >= 0.925), not_too_high / 500  # what a threshold is chosen by
    # Of 99% an interval from 20 answers lies below where one of them is no: Wilson's covers less there, on the careful side.
    assert np.all(covered[:5] / 500 >= 0.8) and np.all(covered[5:] / 500 >= 0.92), covered / 500
    assert np.mean(covered / 500) <= 0.99


@pytest.mark.parametrize("kind", RARE)
def test_recall_is_no_surer_than_the_few_answers_below_the_threshold_allow(kind):
    """300 audits of 200 answers: what the policy keeps at 0.5 is nearly all that matches, or much less, and the interval knows."""
    score, match = population(kind)
    stratum, captions, _ = stratified(score)
    truth, covered = (score >= 0.5)[match].mean(), 0
    for rows in audits(score, 200, 300):
        kept, yes = score[rows][None] >= 0.5, match[rows][None]
        found = shares(kept, yes, stratum[rows], captions.astype(float), answered=True).at(0)
        covered += found["low"] <= truth <= found["high"]
    assert covered / 300 >= 0.92, covered / 300


def test_what_no_answer_shows_widens_the_end_that_it_may_move():
    """20 of 20 kept captions match, none of 20 dropped ones of 1,000: there may be some, and recall is lower then."""
    stratum, kept = np.repeat([0, 1], 20), np.repeat([True, False], 20)[None]
    sure, open_ = (shares(kept, kept, stratum, np.array([20.0, 1000.0]), answered=answered).at(0) for answered in (False, True))
    assert sure == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert open_["low"] < 0.6 and open_["value"] == open_["high"] == 1.0
    whole = shares(kept, kept, stratum, np.array([20.0, 20.0]), answered=True).at(0)
    assert whole == sure  # drawn whole: none is unseen


@pytest.mark.parametrize("kind", GOOD)
def test_a_threshold_that_is_said_to_be_sure_keeps_its_promise(kind):
    score, match = population(kind)
    stratum, captions, _ = stratified(score)
    missed = 0
    for rows in audits(score, 200, 40):
        strata = [Stratum("synthetic", int(all_of_it), int(n)) for all_of_it, n in zip(captions, np.bincount(stratum[rows]), strict=True)]
        origin = np.full(200, "synthetic", object)
        sample = Sample(strata, origin, stratum[rows], score[rows], score[rows] >= 0.5, match[rows], np.zeros(200, bool))
        advice = estimate(sample, sample.match, 0.95)["suggested"]
        missed += "confidence" in advice["rule"] and match[score >= advice["threshold"]].mean() < 0.95
    assert missed <= 2


def test_a_stratum_with_one_answer_is_joined_with_its_neighbour():
    strata = [Stratum("web", 50, 5), Stratum("web", 70, 5), Stratum("web", 1, 1), Stratum("web", 30, 5), Stratum("synthetic", 9, 3)]
    stratum = np.array([0, 1, 1, 2, 3])
    rows = [np.zeros(5)] * 4
    new, captions = joined(Sample(strata, np.full(5, "web", object), stratum, *rows))
    assert new.tolist() == [0, 0, 0, 1, 1] and captions.tolist() == [120.0, 31.0]
    assert joined(Sample(strata, np.full(1, "web", object), stratum[:1], *rows))[1].tolist() == [151.0]


def row(threshold, precision, low, recall):
    return {"threshold": threshold, "precision": {"value": precision, "low": low}, "recall": {"value": recall}}


def test_the_suggested_threshold_is_the_lowest_that_is_sure_else_the_best_f1():
    curve = [row(0.1234, 0.8, 0.7, 1.0), row(0.4567, 0.97, 0.94, 0.9), row(0.7891, 0.99, 0.96, 0.5), row(0.9, 1, 0.97, 0.1)]
    sure = suggested(curve, 0.95)
    assert sure["threshold"] == 0.7 and sure["rule"] == "precision at least 0.95 with 95% confidence"
    best = suggested(curve, 0.99)
    assert (best["threshold"], best["rule"], best["recall"]["value"]) == (0.4, "best F1", 0.9)
    assert suggested([], 0.95) is None
    assert suggested([row(0.45678, 1, 0.9, 1), row(0.45679, 1, 0.99, 1)], 0.95)["threshold"] == 0.45679


def test_allocation_gives_two_at_least_and_never_more_than_there_are():
    captions = np.array([1, 2, 500, 500, 3, 0])
    counts = allocated(captions, np.array([1, 1, 1, 2, 1, 1.0]), 100)
    assert counts.sum() == 100 and counts.tolist()[:2] == [1, 2] and counts[4:].tolist() == [3, 0]
    assert counts[3] == pytest.approx(2 * counts[2], abs=2)
    assert allocated(captions, np.ones(6), 10**6).tolist() == captions.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_the_draw_is_a_stratified_sample_of_the_ledger(tmp_path, seed):
    ledger = random_ledger(tmp_path / "ledger", seed, shards=4, images=20)
    policy = Policy(web=0.6, synthetic=0.3)
    rows = decide(ledger, policy).to_pylist()
    where = [(entry.shard, row) for entry in ledger.entries("candidates") for row in range(entry.rows)]
    verdicts = dict(zip(where, rows, strict=True))
    strata, drawn = draw(ledger, policy, 90, seed)
    assert len({(one.shard, one.row) for one in drawn}) == len(drawn) == 90 == sum(own.drawn for own in strata)
    assert sum(own.captions for own in strata) == len(rows)
    ranges = {}
    for one in drawn:
        fact = verdicts[one.shard, one.row]
        known = fact["score"] is not None and not math.isnan(fact["score"])
        assert (one.score, one.kept) == (fact["score"] if known else None, fact["kept"])
        assert (fact["origin"] == "synthetic") == (strata[one.stratum].origin == "synthetic")
        ranges.setdefault((strata[one.stratum].origin, one.stratum), []).append(one.score)
    for origin, limit in (("web", 0.6), ("synthetic", 0.3)):
        own = [ranges[name] for name in sorted(ranges) if name[0] == origin]
        missing = [scores for scores in own if None in scores]
        assert all(set(scores) == {None} for scores in missing) and len(missing) <= 1
        scored = [scores for scores in own if None not in scores]
        assert all(min(high) > max(low) for high, low in itertools.pairwise(scored))
        limit = float(np.float32(limit))
        assert all(min(scores) >= limit or max(scores) < limit for scores in scored)
    assert draw(ledger, policy, 90, seed) == (strata, drawn)


def test_every_caption_of_a_stratum_is_drawn_equally_often(tmp_path):
    ledger = random_ledger(tmp_path / "ledger", 5, shards=3, images=8)
    times, rounds = Counter(), 40
    for seed in range(rounds):
        strata, drawn = draw(ledger, Policy(), 40, seed)
        times.update((one.stratum, one.shard, one.row) for one in drawn)
    squares, free = 0.0, 0
    for at, own in enumerate(strata):
        wanted = rounds * own.drawn / own.captions
        found = [count for (stratum, *_), count in times.items() if stratum == at]
        assert sum(found) == rounds * own.drawn
        if own.drawn < own.captions:
            spread = wanted * (1 - own.drawn / own.captions)
            squares += sum((count - wanted) ** 2 for count in found + [0] * (own.captions - len(found))) / spread
            free += own.captions - 1
    assert abs(squares - free) < 4 * math.sqrt(2 * free)


class Teller:
    """Captions the generated web: in two of three pictures what is there, else what is in another."""

    id, tile = "teller", 16

    def __init__(self):
        self.decoding = Decoding()

    def prepare(self, image):
        return seen(image)

    def __call__(self, prepared, digests, *, seed, round):
        told = [ITEMS[at if number(at) < 0.67 else at - 1] for at in prepared]
        return [[Caption((1,), (-1.0,), full_caption(item.scene, WORLD.level, random.Random(0)))] for item in told]


class Knower:
    """A filter that knows the truth, with noise."""

    id, columns = "knower", ("itm_prob",)

    def prepare(self, image):
        return seen(image)

    def __call__(self, prepared, texts):
        return [[(self._score(at, text),) for text in own] for at, own in zip(prepared, texts, strict=True)]

    def _score(self, at, text):
        return 0.3 * (check(text, ITEMS[at].scene).truth == "true") + 0.7 * number(at, text)


PICTURES = {item.image(WORLD.level.px).tobytes(): at for at, item in enumerate(ITEMS)}


def seen(image):
    return PICTURES[np.asarray(image).tobytes()]


def judged_ledger(folder):
    """60 scenes of the generated web, captioned, scored and judged."""
    scenes = {item.key: item.scene for item in ITEMS}
    texts = [*STRANGE, *(item.caption for item in ITEMS[len(STRANGE) :])]
    pairs = [replace(p, caption=t) for p, t in zip(as_pairs(ITEMS, WORLD.level.px), texts, strict=True)]
    job = Job(
        captioner=Teller(),
        filters={"itm": Knower()},
        images_per_shard=16,
        judge=lambda key, text: check(text, scenes[key]).truth,
        notes={"world": {"level": "nano", "noise": 0.4, "start": 0}},
    )
    return run(job, PairSet.of(pairs), folder)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A ledger of the generated web and an audit of 80 of its captions, answered with the truth."""
    folder = tmp_path_factory.mktemp("audit")
    ledger = judged_ledger(folder / "ledger")
    assert main(["ledger", "audit", str(ledger.folder), "--size", "80", "--out", str(folder / "audit.csv")]) == 0
    answer(folder / "audit.csv", truths(ledger))
    return folder


def truths(ledger):
    rows = ledger.table("candidates", ["row_id", "truth"]).to_pylist()
    return {f"r{row['row_id']}": "yes" if row["truth"] == "true" else "no" for row in rows}


def sheet(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def answer(path, words):
    write(path, [row | {"matches": words[row["row_id"]]} for row in sheet(path)])


def write(path, rows, delimiter=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def result(ledger):
    return json.loads((ledger / "audit.json").read_text())["result"]


def real_rates(ledger, policy=None):
    """Share of true captions, precision and recall of the whole ledger, by group."""
    words = truths(ledger)
    rows = decide(ledger, policy).to_pylist()
    found = {}
    for group in ("web", "synthetic", "all"):
        own = [row for row in rows if group == "all" or (row["origin"] == "synthetic") == (group == "synthetic")]
        true = {row["row_id"] for row in own if words[f"r{row['row_id']}"] == "yes"}
        kept = {row["row_id"] for row in own if row["kept"]}
        found[group] = len(true) / len(own), len(true & kept) / len(kept), len(true & kept) / len(true)
    return found


def test_answers_that_are_the_truth_find_the_ledgers_own_precision_and_recall(drawn, capsys):
    ledger = drawn / "ledger"
    assert main(["ledger", "audit", str(ledger), "--answers", str(drawn / "audit.csv")]) == 0
    assert "suggested threshold, web: " in capsys.readouterr().out
    found = result(ledger)
    assert found["asked"] == 80 and found["unanswered"] == 0 and sum(found["answers"].values()) == 80
    for group, (before, precision, recall) in real_rates(Ledger.open(ledger)).items():
        own = found["groups"][group]["unsure_as_no"]
        estimates = (own["matching"], own["policy"]["precision"], own["policy"]["recall"])
        for estimated, real in zip(estimates, (before, precision, recall), strict=True):
            assert estimated["low"] <= real <= estimated["high"] and abs(estimated["value"] - real) < 0.2
        curve = own["curve"]
        assert all(a["recall"]["value"] >= b["recall"]["value"] for a, b in itertools.pairwise(curve))
        assert curve[0]["recall"]["value"] == 1
    card = (ledger / "DATACARD.md").read_text()
    assert "## Audited by people" in card and "Suggested thresholds:" in card and (ledger / "audit.png").is_file()
    assert json.loads((ledger / "datacard.json").read_text())["audit"] == found


def test_a_sample_of_everything_is_exact_at_every_threshold(drawn, tmp_path, capsys):
    ledger = Ledger.open(shutil.copytree(drawn / "ledger", tmp_path / "ledger"))
    path = tmp_path / "audit.csv"
    assert main(["ledger", "audit", str(ledger.folder), "--size", "9999", "--out", str(path), "--web", "0.3"]) == 0
    answer(path, truths(ledger))
    assert main(["ledger", "audit", str(ledger.folder), "--answers", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.split("\n", 3)[3])
    policy = Policy(web=0.3)
    assert found["policy"] == str(policy) and found == result(ledger.folder)
    words, rows = truths(ledger), [row for row in decide(ledger, policy).to_pylist() if row["origin"] != "synthetic"]
    for point in found["groups"]["web"]["unsure_as_no"]["curve"]:
        kept = [words[f"r{row['row_id']}"] == "yes" for row in rows if row["score"] >= point["threshold"]]
        true = sum(word == "yes" for word in (words[f"r{row['row_id']}"] for row in rows))
        assert point["precision"] == pytest.approx(dict.fromkeys(("value", "low", "high"), sum(kept) / len(kept)))
        assert point["recall"]["value"] == pytest.approx(sum(kept) / true)
    for group, real in real_rates(ledger, policy).items():
        own = found["groups"][group]["unsure_as_no"]
        estimates = (own["matching"], own["policy"]["precision"], own["policy"]["recall"])
        assert [estimated["value"] for estimated in estimates] == pytest.approx(real)


def test_the_sheet_hides_scores_verdicts_and_origins(drawn):
    rows = sheet(drawn / "audit.csv")
    assert list(rows[0]) == ["row_id", "image_key", "image", "caption", "matches"]
    key = json.loads(key_path(drawn / "audit.csv").read_text())
    assert [f"r{row['row_id']}" for row in key["rows"]] == [row["row_id"] for row in rows]
    origins = [key["strata"][row["stratum"]]["origin"] for row in key["rows"]]
    changes = sum(a != b for a, b in itertools.pairwise(origins))
    assert changes > 20  # shuffled: about half of 79, one if they stood in order
    assert all((drawn / row["image"]).is_file() for row in rows)
    page = (drawn / "audit.html").read_text()
    assert all(row["image"] in page for row in rows) and "<script" not in page
    captions = Ledger.open(drawn / "ledger").table("candidates", ["row_id", "caption"]).to_pylist()
    whole = {f"r{row['row_id']}": row["caption"] for row in captions}
    assert all(row["caption"] == whole[row["row_id"]] for row in rows)
    assert any(text in {row["caption"] for row in rows} for text in STRANGE)


@pytest.fixture
def photos(tmp_path):
    """A ledger over eight files, whose filter finds no number for two captions: minus infinity."""
    for n in range(8):
        (tmp_path / f"{n}.png").write_bytes(encoded(picture(n), "PNG"))
    texts = ["a dog", "a red dog", "two dogs run", "a cat on a mat", "sea", "a", "a boat on the sea", "many cats sleep"]
    pairs = [Pair(f"i{n}", text, ImageRef(str(tmp_path / f"{n}.png"))) for n, text in enumerate(texts)]
    job = Job(captioner=FakeCaptioner(), filters={"itm": Letters()}, images_per_shard=4)
    return run(job, PairSet.of(pairs), tmp_path / "ledger")


class Letters:
    """A filter by the letters of a caption; minus infinity where they are few."""

    id, columns = "letters", ("itm_prob",)

    def prepare(self, image):
        return None

    def __call__(self, prepared, texts):
        return [[(-math.inf if len(text) < 4 else len(text) / 40,) for text in own] for own in texts]


def test_a_picture_that_was_replaced_is_not_shown(photos, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    for n in range(8):
        (other / f"{n}.png").write_bytes(encoded(picture(n + 50 * (n > 2)), "PNG"))
    words = ["ledger", "audit", str(photos.folder), "--size", "16", "--out", str(tmp_path / "audit.csv")]
    assert main([*words, "--image-root", f"{tmp_path}={other}"]) == 0
    assert "10 have no picture, since it cannot be opened or is not the one that was captioned" in capsys.readouterr().out
    shown = {row["image_key"] for row in sheet(tmp_path / "audit.csv") if row["image"]}
    assert shown == {"i0", "i1", "i2"}


def test_infinite_scores_are_estimated_as_the_lowest(photos, tmp_path, capsys):
    path = tmp_path / "audit.csv"
    assert main(["ledger", "audit", str(photos.folder), "--size", "16", "--out", str(path)]) == 0
    write(path, [row | {"matches": "yes"} for row in sheet(path)])
    assert main(["ledger", "audit", str(photos.folder), "--answers", str(path)]) == 0
    assert "suggested threshold, web: -inf (precision at least 0.95" in capsys.readouterr().out
    assert result(photos.folder)["groups"]["web"]["unsure_as_no"]["suggested"]["threshold"] == -math.inf


def test_no_cell_of_a_sheet_is_a_number_or_a_formula_to_a_spreadsheet(tmp_path, monkeypatch, capsys):
    """Row ids that are hex digits, and texts and names from the web, as they are and with what they begin with."""
    texts = ["=HYPERLINK(1)", "+1 dog", "-dash", "@name", "\ttab", "\rreturn", "＝wide", "a = b", "'quoted", " = spaced"]
    pairs = [Pair(f"=k{n}" if n == 0 else f"k{n}", text, encoded(picture(n), "PNG")) for n, text in enumerate(texts)]
    for n, pair in enumerate(pairs):
        (tmp_path / f"{n}.png").write_bytes(pair.image)
    pairs = [replace(pair, image=ImageRef(str(tmp_path / f"{n}.png"))) for n, pair in enumerate(pairs)]
    digits = iter(range(10**19, 10**20))
    monkeypatch.setattr("blip.capfilt.rows.row_id", lambda *words, **named: str(next(digits)))
    job = Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()})
    ledger, path = run(job, PairSet.of(pairs), tmp_path / "ledger"), tmp_path / "audit.csv"
    monkeypatch.undo()
    assert main(["ledger", "audit", str(ledger.folder), "--out", str(path), "--size", "99"]) == 0
    rows = sheet(path)
    assert all(re.fullmatch(r"r\d{20}", row["row_id"]) for row in rows)
    assert not any(cell.startswith(tuple("=+-@\t\r＝")) for row in rows for cell in row.values())
    written = {row["caption"] for row in rows}
    assert {f"'{text}" for text in texts[:7]} | set(texts[7:]) <= written
    page = (tmp_path / "audit.html").read_text()
    assert "<p>=HYPERLINK(1)</p>" in page  # people read there what was written
    # As a spreadsheet saves it, and a sheet of an earlier version, without the letter.
    for saved in (rows, [row | {"row_id": row["row_id"][1:]} for row in rows]):
        write(path, [row | {"matches": "yes"} for row in saved])
        assert main(["ledger", "audit", str(ledger.folder), "--answers", str(path)]) == 0
        assert result(ledger.folder)["answers"]["yes"] == len(rows)


def test_unsure_and_unanswered(drawn, tmp_path, capsys):
    ledger = shutil.copytree(drawn / "ledger", tmp_path / "ledger")
    rows = sheet(drawn / "audit.csv")
    for at, own in enumerate(rows):
        own["matches"] = " Unsure" if at % 5 == 0 else "" if at % 5 == 1 else own["matches"].upper()
    path = tmp_path / "audit.csv"
    write(path, rows, ";")
    shutil.copy(key_path(drawn / "audit.csv"), key_path(path))
    assert main(["ledger", "audit", str(ledger), "--answers", str(path)]) == 0
    said = capsys.readouterr().out
    assert "16 have no answer and are left out: those answered in their stratum stand for them too" in said
    found = result(ledger)
    assert (found["unanswered"], found["answers"]["unsure"]) == (16, 16)
    for own in found["groups"].values():
        no, yes = own["unsure_as_no"], own["unsure_as_yes"]
        assert no["answers"] == yes["answers"] and no["captions"] == yes["captions"]
        assert no["matching"]["value"] < yes["matching"]["value"]
        assert no["policy"]["precision"]["value"] <= yes["policy"]["precision"]["value"]
    assert found["groups"]["all"]["unsure_as_no"]["captions"] == Ledger.open(ledger).table("candidates").num_rows
    assert "with every unsure answer counted as yes" in (ledger / "DATACARD.md").read_text()


def without(name):
    return lambda rows: [{key: value for key, value in row.items() if key != name} for row in rows]


def changed(name, value):
    return lambda rows: [rows[0] | {name: value}, *rows[1:]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed("row_id", "abc"), "Row 2 of SHEET has the row_id 'abc', which was not drawn"),
        (changed("matches", "maybe"), "Row 2 of SHEET says 'maybe'; write yes, no, unsure, or nothing."),
        (lambda rows: rows[2:], "SHEET lacks 2 of the 80 rows drawn"),
        (lambda rows: [rows[0], *rows], "a second time; delete one of the two."),
        (without("matches"), "SHEET has no columns row_id and matches"),
        (lambda rows: [row | {"matches": ""} for row in rows], "SHEET holds no answer yet"),
    ],
)
def test_bad_answers_are_one_sentence(drawn, tmp_path, capsys, change, said):
    path = tmp_path / "audit.csv"
    write(path, change(sheet(drawn / "audit.csv")))
    shutil.copy(key_path(drawn / "audit.csv"), key_path(path))
    refused(capsys, said.replace("SHEET", str(path)), str(drawn / "ledger"), "--answers", str(path))


def refused(capsys, said, *words):
    capsys.readouterr()
    assert main(["ledger", "audit", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_bad_keys_and_options_are_one_sentence(drawn, tmp_path, capsys):
    ledger, path = str(drawn / "ledger"), tmp_path / "audit.csv"
    refused(capsys, "There is no", ledger, "--answers", str(path))
    shutil.copy(drawn / "audit.csv", path)
    refused(capsys, "the key of audit.csv; put it back", ledger, "--answers", str(path))
    key_path(path).write_text("{}")
    refused(capsys, "is no key of an audit", ledger, "--answers", str(path))
    shutil.copy(key_path(drawn / "audit.csv"), key_path(path))
    other = generated_ledger(tmp_path / "other", candidates=2)
    refused(capsys, "belongs to another ledger", str(other.folder), "--answers", str(path))
    path.write_bytes(b"\xff\xfe\x00")
    refused(capsys, "is not UTF-8", ledger, "--answers", str(path))
    refused(capsys, "leave the policy's options out", ledger, "--answers", str(drawn / "audit.csv"), "--web", "0.1")
    refused(capsys, "needs either --out", ledger)
    refused(capsys, "is there already", ledger, "--out", str(path))
    refused(capsys, "must end in .csv", ledger, "--out", str(tmp_path / "audit.txt"))
    refused(capsys, "--size 3 is too few for", ledger, "--out", str(tmp_path / "b.csv"), "--size", "3")
    refused(capsys, "--precision 1 cannot be", ledger, "--out", str(tmp_path / "b.csv"), "--precision", "1")
    assert not (tmp_path / "b.csv").exists()


def test_an_estimate_of_one_perfect_stratum_is_not_certain():
    rows = (np.full(20, "web", object), np.zeros(20, np.int64), np.linspace(0.5, 0.9, 20), np.ones(20, bool))
    sample = Sample([Stratum("web", 1000, 20)], *rows, np.ones(20, bool), np.zeros(20, bool))
    found = estimate(sample, sample.match, 0.95)
    precision, size = found["policy"]["precision"], 20 / (1 - 20 / 1000)  # of 1000 without replacement
    assert precision["value"] == 1 and precision["low"] == pytest.approx(size / (size + Z**2)) and precision["high"] == pytest.approx(1)
