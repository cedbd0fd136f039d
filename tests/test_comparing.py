"""Comparing two scores: counterparts, counts, parts, boxes and pages are those of a slow loop over both ledgers."""

import math
import random
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace

import gradio as gr
import pytest
from fake_models import FakeFilter
from random_ledgers import random_ledger
from studio_ledgers import ITEMS, STRANGE, WORLD, generated_ledger, unusable_ledger

from apps.compared import (
    ALL,
    BOTH,
    DIFFER,
    NEITHER,
    ONLY_A,
    ONLY_B,
    ORDERS,
    PARTS,
    QUADRANTS,
    Axis,
    Counts,
    Selection,
    area,
)
from apps.comparing import Comparing
from apps.comparison import BINS
from apps.pair_cards import pair_cards, quadrant_table, rates, sources_line
from apps.pairing import Column
from apps.scatter import scatter
from apps.tabs import compare
from blip.capfilt import Ledger, Policy, decide, decide_duckdb, override
from blip.capfilt.override import Decision, record
from blip.capfilt.scoring import score
from blip.errors import InputError
from lab.world.sets import as_pairs

SEEDS = range(4)
LIMITS = ((0.5, 0.5), (0.0, 0.7), (-2.0, 0.25))


class Both:
    """Two random ledgers of the same images, a comparison of two of their columns, and the same as plain rows."""

    def __init__(self, folder, seed, column=("itm", "itm_prob"), other=("itm", "itm_prob")):
        self.ledgers = [random_ledger(folder / name, seed + at, images=9) for at, name in enumerate("ab")]
        self.comparing = Comparing(self.ledgers)
        self.columns = (Column(0, *column), Column(1, *other))
        self.comparison = self.comparing.compare(*self.columns)
        self.rows = [ledger.table("candidates").to_pylist() for ledger in self.ledgers]
        for rows, ledger, own in zip(self.rows, self.ledgers, self.columns, strict=True):
            decided = decide(ledger, Policy(filter=own.filter, column=own.name)).to_pylist()
            for row, verdict in zip(rows, decided, strict=True):
                known = verdict["score"] is not None and not math.isnan(verdict["score"])
                row["score"] = verdict["score"] if known else None

    def counterparts(self):
        """Rows of A and B that belong together, by two loops."""
        a_rows, b_rows = self.rows
        free, found = list(range(len(b_rows))), {}
        for equal in (True, False):
            for a, row in enumerate(a_rows):
                if a in found:
                    continue
                for b in free:
                    other = b_rows[b]
                    kind = [(one["origin"] == "synthetic") for one in (row, other)]
                    same = row["caption_hash"] == other["caption_hash"]
                    if row["image_key"] == other["image_key"] and kind[0] == kind[1] and (same if equal else kind[0]):
                        found[a] = b
                        free.remove(b)
                        break
        return sorted(found.items())

    def kept(self, side, limit):
        """What decide keeps of a side's rows at a threshold."""
        own = self.columns[side]
        policy = Policy(filter=own.filter, column=own.name, web=limit, synthetic=limit)
        return decide(self.ledgers[side], policy)["kept"].to_pylist()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    found = {seed: Both(folder / str(seed), 2 * seed) for seed in SEEDS}
    found["scales"] = Both(folder / "scales", 90, ("itm", "itc"), ("clip", "clip_score"))
    yield found
    for one in found.values():
        one.comparing.close()


CASES = [*SEEDS, "scales"]


def pages(comparison, chosen):
    selected = comparison.part_counts(chosen)[chosen.part]
    first = comparison.page(chosen, selected)
    rest = [comparison.page(Selection(**vars(chosen) | {"page": n}), selected) for n in range(1, first.pages)]
    found = [pair for page in (first, *rest) for pair in page.pairs]
    assert len(found) == selected
    return found


@pytest.mark.parametrize("case", CASES)
def test_counterparts_are_those_of_two_loops(both, case):
    own = both[case]
    found = own.counterparts()
    shown = pages(own.comparison, Selection(a=0.5, b=0.5, part=ALL))
    a_rows, b_rows = own.rows
    wanted = [(a_rows[a], b_rows[b]) for a, b in found]
    assert len(wanted) == own.comparison.pairs > 10
    assert own.comparison.alone == (len(a_rows) - len(found), len(b_rows) - len(found))
    for pair, (a, b) in zip(shown, wanted, strict=True):
        assert (pair.key, pair.a.caption, pair.b.caption) == (a["image_key"], a["caption"], b["caption"])
        assert (pair.a.origin, pair.a.score, pair.b.score) == (a["origin"], a["score"], b["score"])
        assert pair.same == (a["caption_hash"] == b["caption_hash"])
    assert any(not pair.same for pair in shown) and any(pair.same for pair in shown)


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_counts_parts_and_verdicts_are_those_of_decide(both, case, limits):
    own = both[case]
    kept = [own.kept(side, limit) for side, limit in enumerate(limits)]
    synthetic = [row["origin"] == "synthetic" for row in own.rows[0]]
    for origin in (None, True, False):
        chosen = Selection(a=limits[0], b=limits[1], synthetic=origin, part=DIFFER)
        pairs = [(kept[0][a], kept[1][b]) for a, b in own.counterparts() if origin in (None, synthetic[a])]
        wanted = Counter(QUADRANTS[pair] for pair in pairs)
        counts = own.comparison.counts(chosen)
        assert {part: counts.of(*sides) for sides, part in QUADRANTS.items()} == {part: wanted[part] for part in QUADRANTS.values()}
        assert [counts.tally(side).kept for side in (0, 1)] == [sum(pair[side] for pair in pairs) for side in (0, 1)]
        parts = {DIFFER: wanted[ONLY_A] + wanted[ONLY_B], ALL: len(pairs)}
        parts |= {part: wanted[part] for part in (ONLY_A, ONLY_B, BOTH, NEITHER)}
        assert own.comparison.part_counts(chosen) == parts
        shown = [(pair.a.kept, pair.b.kept) for pair in pages(own.comparison, chosen)]
        assert shown == [pair for pair in pairs if pair[0] != pair[1]]


@pytest.mark.parametrize("case", CASES)
def test_a_box_selects_what_lies_in_it(both, case):
    own, rng = both[case], random.Random(7)
    scores = [(own.rows[0][a]["score"], own.rows[1][b]["score"]) for a, b in own.counterparts()]
    for _ in range(5):
        low, high = sorted(rng.uniform(-1.5, 1.5) for _ in "ab")
        box = (low, -1.5, high, 0.7)
        inside = [s for s in scores if None not in s and low <= s[0] <= high and -1.5 <= s[1] <= 0.7]
        chosen = Selection(a=0.5, b=0.5, part=ALL, box=box)
        assert own.comparison.part_counts(chosen)[ALL] == len(inside)
        assert [(pair.a.score, pair.b.score) for pair in pages(own.comparison, chosen)] == inside


@pytest.mark.parametrize("case", CASES)
def test_the_density_counts_every_pair_with_two_scores_once(both, case):
    own = both[case]
    wanted = Counter()
    for a, b in own.counterparts():
        scores = (own.rows[0][a]["score"], own.rows[1][b]["score"])
        if None not in scores:
            places = [axis.place(value) for axis, value in zip(own.comparison.axes, scores, strict=True)]
            wanted[tuple(min(BINS - 1, int(place * BINS)) for place in places)] += 1
    assert Counter({(x, y): n for x, y, n in own.comparison.density()}) == wanted
    halves = [own.comparison.density(synthetic) for synthetic in (True, False)]
    assert sum(n for half in halves for *_, n in half) == sum(wanted.values())


@pytest.mark.parametrize("order", ORDERS)
def test_orders(both, order):
    own = both["scales"].comparison
    shown = pages(own, Selection(a=0.5, b=0.5, part=ALL, order=order))
    place = lambda facts, axis: (facts.score - axis.low) / (axis.high - axis.low)
    apart = [place(p.a, own.axes[0]) - place(p.b, own.axes[1]) for p in shown if None not in (p.a.score, p.b.score)]
    known = [p.a.score is not None and p.b.score is not None for p in shown]
    key = {"F": lambda d: -abs(d), "A above": lambda d: -d, "B above": lambda d: d}
    wanted = next((k for name, k in key.items() if order.startswith(name)), None)
    if wanted is not None:
        assert known == sorted(known, reverse=True)
        assert [wanted(d) for d in apart] == pytest.approx(sorted(map(wanted, apart)))


def test_columns_of_one_ledger_are_compared_row_by_row(tmp_path):
    ledger = random_ledger(tmp_path / "l", 3, images=9)
    comparing = Comparing([ledger])
    first, second = comparing.start()
    assert [label.split(" · ")[1] for label in (first, second)] == ["clip.clip_score", "itm.itm_prob"]
    comparison = comparing.compare(Column(0, "itm", "itm_prob"), Column(0, "clip", "clip_score"))
    rows = ledger.table("candidates").num_rows
    assert (comparison.pairs, comparison.alone, comparison.other_bytes) == (rows, (0, 0), 0)
    kept = [decide_duckdb(ledger, Policy(filter=f, column=c))["kept"].to_pylist() for f, c in (("itm", "itm_prob"), ("clip", "clip_score"))]
    counts = comparison.counts(Selection(a=0.5, b=0.5))
    assert counts.of(True, False) == sum(a and not b for a, b in zip(*kept, strict=True))
    comparing.close()


def test_thresholds_begin_at_a_half_and_at_as_many(both):
    own = both["scales"].comparison
    probability = both[0].comparison
    assert probability.thresholds == (0.5, 0.5)
    a, b = own.thresholds
    assert own.kept("a", a) >= own.pairs // 2 > 0
    assert own.kept("b", b) >= own.kept("a", a)
    for keep in range(1, own.pairs + 1):
        limit = own.threshold_of("b", keep)
        assert own.axes[1].low <= limit <= own.axes[1].high
        # Captions without a score are kept by no threshold, so that there may not be so many.
        assert own.kept("b", limit) >= min(keep, own.kept("b", own.axes[1].low))
    assert own.threshold_of("b", 0) == own.axes[1].high


def test_words_of_people_and_truth_show_at_once(tmp_path):
    ledger = generated_ledger(tmp_path / "ledger", candidates=2)
    images = {pair.key: pair for pair in as_pairs(ITEMS, WORLD.level.px)}
    score(ledger, {"other": FakeFilter("other")}, images=images)
    ledger = Ledger.open(ledger.folder)
    comparing = Comparing([ledger])
    columns = (Column(0, "itm", "itm_prob"), Column(0, "other", "itm_prob"))
    chosen = Selection(a=0.5, b=0.5)
    before = comparing.compare(*columns).counts(chosen)
    rows = decide(ledger).to_pylist()
    filtered = next(row["row_id"] for row in rows if not row["kept"])
    override(ledger, {filtered: True}, reviewer="ann")
    after = comparing.compare(*columns).counts(chosen)
    assert after.tally(0).kept == before.tally(0).kept + 1
    assert after.truth_known and after.same_truth
    truths = [row["truth"] for row in ledger.table("candidates").to_pylist()]
    assert sum(after.true(0, *sides) for sides in QUADRANTS) == truths.count("true")
    assert after.tally(1).rates["precision"] == pytest.approx(
        sum(after.true(1, a, True) for a in (True, False)) / sum(after.of(a, True) for a in (True, False))
    )
    shown = quadrant_table(after) + rates(after)
    assert f"{after.of(True, True):,}" in shown and "true in A" not in shown
    false = next(own["row_id"] for own in ledger.table("candidates").to_pylist() if own["truth"] == "false")
    record(ledger, {false: Decision(True, "ann", datetime.now(UTC), "<i>a text</i> of hers")})
    comparison = comparing.compare(*columns)
    assert comparison.counts(chosen).tally(0).kept_by_truth[None] == 1
    page = comparison.page(Selection(a=0.5, b=0.5, part=ALL, size=48), comparison.pairs)
    assert comparing.picture(comparison, page.pairs[0]).jpeg[:2] == b"\xff\xd8"
    html = pair_cards(page, (0.5, 0.5), comparison.axes, lambda pair: comparing.picture(comparison, pair), comparison.pairs)
    assert html.count("&lt;i&gt;a text&lt;/i&gt; of hers</p>") == html.count("<del>") == 1
    assert STRANGE[0] not in html and "&lt;script&gt;" in html
    assert html.count('class="card"') == len({pair.key for pair in page.pairs})
    comparing.close()


def test_two_ledgers_without_a_common_caption_are_said_to_have_none(tmp_path):
    comparing = Comparing([generated_ledger(tmp_path / "ledger"), unusable_ledger(tmp_path)])
    comparison = comparing.compare(Column(0, "itm", "itm_prob"), Column(1, "itm", "itm_prob"))
    page = comparison.page(Selection(a=0.5, b=0.5, part=ALL), 0)
    assert comparison.pairs == 0
    for common, said in ((0, "A and B have no caption in common."), (9, "No caption is in this part.")):
        assert said in pair_cards(page, (0.5, 0.5), comparison.axes, lambda pair: None, common)
    comparing.close()


def test_another_ledger_opens_below_a_root_alone(tmp_path):
    ledger, other = (random_ledger(tmp_path / place, seed) for seed, place in enumerate(("a", "allowed/b")))
    outside = random_ledger(tmp_path / "outside", 5)
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "outside")
    closed, open_ = Comparing([ledger]), Comparing([ledger], [tmp_path / "allowed"])
    with pytest.raises(InputError, match="outside the folders"):
        closed.add(str(other.folder))
    for place in (outside.folder, tmp_path / "allowed" / "link", tmp_path / "allowed" / ".." / "outside", "nowhere"):
        with pytest.raises(InputError, match="outside the folders"):
            open_.add(str(place))
    with pytest.raises(InputError, match="There is no ledger in"):
        open_.add(str(tmp_path / "allowed" / "none"))
    assert open_.add(f" {other.folder} ") == open_.add(str(other.folder)) == "allowed/b"
    added = [label for label in open_.columns if label.startswith("allowed/b")]
    assert len(added) == 3 and open_.columns[added[0]].ledger == 1
    assert open_.compare(Column(0, "itm", "itc"), Column(1, "itm", "itc")).pairs > 0
    for comparing in (closed, open_):
        comparing.close()


def test_a_ledger_that_is_opened_before_its_first_scores_opens_when_it_has_them(tmp_path):
    ledger, other = (random_ledger(tmp_path / place, seed) for seed, place in enumerate(("a", "b")))
    comparing = Comparing([ledger], [tmp_path])
    known = dict(comparing.columns)
    early = Ledger.create(tmp_path / "early", other.about)
    with pytest.raises(InputError, match="early has no scores yet; open it again when lab capfilt has written its first shard"):
        comparing.add(str(tmp_path / "early"))
    assert comparing.columns == known
    for table in ("candidates", *(f"scores/{name}" for name in other.filters)):
        for entry in other.entries(table):
            early.write(table, entry.shard, other.read(table, entry.shard), entry.counts)
    name = comparing.add(str(tmp_path / "early"))
    new = [label for label in comparing.columns if label.startswith(f"{name} · ")]
    assert new and set(comparing.columns) == {*known, *new}
    comparing.close()


def test_columns_are_called_by_what_they_are_and_only_as_long_as_needed(tmp_path):
    ledger = generated_ledger(tmp_path / "x" / "ledger")
    alone = Comparing([ledger])
    names = dict(alone.choices())
    assert names["match probability (ITM)"] == "x/ledger · itm.itm_prob" and names["cosine (ITC)"] == "x/ledger · itm.itc"
    assert [alone.words_of(own) for own in alone.columns.values()] == list(alone.columns)
    beside = Comparing([ledger, random_ledger(tmp_path / "y" / "other", 2)])
    assert [words for _, words in beside.choices()] == list(beside.columns)
    assert "match probability (ITM), itm · x/ledger" in dict(beside.choices())
    assert "clip_score, clip · y/other" in dict(beside.choices())
    assert len(dict(beside.choices())) == len(beside.columns)
    assert "&lt;a&gt;" in sources_line("<a>", "b")
    for comparing in (alone, beside):
        comparing.close()


def test_a_missing_score_is_said(tmp_path):
    comparing = Comparing([random_ledger(tmp_path / "l", 1)])
    with pytest.raises(InputError, match="The ledger has no filter 'nobody'"):
        comparing.compare(Column(0, "itm", "itc"), Column(0, "nobody", "itc"))
    comparing.close()


def test_an_axis_holds_its_scores_and_has_round_ends():
    rng = random.Random(1)
    assert Axis.around(0.2, 0.9) == Axis.around(None, None) == Axis(0, 1, 0.01)
    for _ in range(200):
        low, high = sorted(rng.uniform(-1, 1) * 10 ** rng.randrange(-3, 4) for _ in "ab")
        axis = Axis.around(low, high)
        assert axis.low <= low <= high <= axis.high
        assert 50 <= round((axis.high - axis.low) / axis.step) <= 2001
        assert axis.high == 1 or axis.high - axis.low < 3 * (high - low)
        assert 2 <= len(axis.ticks) <= 9 and all(axis.low <= tick <= axis.high for tick in axis.ticks)
        score = rng.uniform(low, high)
        assert axis.at(axis.place(score)) == pytest.approx(score)
        assert score - axis.step <= axis.step_below(score) <= score
    one = Axis.around(3.0, 3.0)
    assert (one.low, one.high, one.place(3.0)) == (3.0, 4.0, 0.0)


@pytest.mark.parametrize(
    ("pointed", "wanted"),
    [
        ("0.2 0.9", (ONLY_B, None)),
        ("0.5 0.1", (ONLY_A, None)),
        ("0.9 0.9 ", (BOTH, None)),
        ("0 0", (NEITHER, None)),
        ("0.75 1 0.25 0.5", (ALL, (0.25, -1.0, 0.75, 1.0))),
        ("-3 0.5 7 0.75", (ALL, (0.0, -1.0, 1.0, 0.0))),
    ],
)
def test_an_area_is_a_quadrant_or_a_box(pointed, wanted):
    assert area(pointed, (Axis(0, 1, 0.01), Axis(-3, 1, 0.1)), (0.5, 0.0)) == wanted


@pytest.mark.parametrize("pointed", ["", "0.1", "a b", "0.1 nan", "1 2 3", "inf 0 1 1"])
def test_an_area_that_is_none_is_said(pointed):
    with pytest.raises(InputError, match="is no area"):
        area(pointed, (Axis(0, 1, 0.01),) * 2, (0.5, 0.5))


def test_the_picture_shows_every_bin_both_thresholds_and_the_box(both):
    own = both["scales"].comparison
    limits, chosen = own.thresholds, Selection(a=own.thresholds[0], b=own.thresholds[1])
    bins, counts = own.density(), own.counts(chosen)
    svg = scatter(bins, BINS, own.axes, limits, counts, None)
    cells = "".join(part.split('"')[0] for part in svg.split('class="cells')[1:] for part in [part.split('d="')[1]])
    assert cells.count("M") == len(bins)
    assert svg.count('class="limit"') == 2 and 'class="box"' not in svg
    for sides, part in QUADRANTS.items():
        assert f"{part.lower()} {counts.of(*sides)}" in svg
    box = scatter(bins, BINS, own.axes, limits, counts, (own.axes[0].low, own.axes[1].low, own.axes[0].high, own.axes[1].high))
    assert 'class="box" x="56' in box
    assert set(PARTS) >= set(QUADRANTS.values())


@pytest.mark.parametrize("ready", [True, False])
def test_what_gradio_sends_again_at_the_end_moves_nothing(ready):
    """The last answer is sent once more, and may come after a person has moved a threshold."""
    shown = compare._Shown(*range(11))
    room = SimpleNamespace(columns={"a": 0, "b": 1}, ready=lambda a, b: ready)
    answers = list(compare._after_a_sign(room, shown, lambda *values: ["answer"] * 14)("a", "b"))
    assert len(answers) == (2 if ready else 3) and answers[-2] == ["answer"] * 14
    assert answers[-1] == [gr.skip()] * 14
    if not ready:
        assert answers[0].count(compare._JOINING) == 1


def test_true_captions_are_a_share_of_those_whose_truth_is_known():
    counts = Counts({(True, True, "true", "true"): 150, (True, True, "false", "false"): 1, (True, True, None, None): 201})
    shown = quadrant_table(counts)
    assert "352" in shown and "150 of 151 <small>99.3%</small>" in shown and "42.6%" not in shown
    assert "0 <small>" in shown  # of an empty part no share
