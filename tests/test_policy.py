"""Policies: both ways to decide agree with a slow loop over rows, for every field and all together."""

import math
import random
import shutil
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from random_ledgers import random_ledger

from blip.capfilt import Policy, decide, decide_duckdb
from blip.capfilt.decide import verdicts
from blip.capfilt.duplicates import Buckets, Cap
from blip.capfilt.ledger import Ledger
from blip.capfilt.policy import Term
from blip.capfilt.ranking import MISSING, best, cuts, image_numbers, ranks
from blip.capfilt.schema import CANDIDATES, scores_schema
from blip.errors import InputError

FIELDS = {
    "column": ("itc",),
    "web": (0.25, 0.7, -math.inf),
    "synthetic": (0.0, 0.5, 1.0, math.inf),
    "weighted_sum": (("itm.itm_prob:0.7", "itm.itc:0.3"), ("itm.itc:1", "clip.clip_score:-2.5")),
    "union": (("clip.clip_score:0.7",), ("itm.itc:1", "clip.clip_score:1")),
    "intersection": (("clip.clip_score:0.25",), ("itm.itc:0", "clip.clip_score:0")),
    "top_fraction": (0.5, 0.1, 0.01),
    "best_synthetic": (1, 2),
    "per_image": (1, 2),
    "per_caption": (1, 3),
}


def missing(value):
    return value is None or math.isnan(value)


def slow_kept(ledger, policy):
    """row_id -> kept by the sentences of Policy's fields, a row at a time."""
    rows = ledger.table("candidates").to_pylist()
    columns = {
        (name, column): ledger.table(f"scores/{name}")[column].to_pylist()
        for name, own in policy.columns.items()
        for column in own
    }
    at = lambda term, n: columns[term.filter, term.column][n]
    reaches = lambda value, limit: not missing(value) and np.float32(value) >= np.float32(limit)

    def score(n):
        values = [at(term, n) for term in policy.summands]
        if None in values or not policy.weighted_sum:
            return None if None in values else values[0]
        weighed = [value * term.number for value, term in zip(values, policy.summands, strict=True)]
        return float(np.float32(weighed[0] + weighed[1]))

    scores = [score(n) for n in range(len(rows))]
    synthetic = [row["origin"] == "synthetic" for row in rows]
    passing = []
    for n in range(len(rows)):
        ok = reaches(scores[n], policy.synthetic if synthetic[n] else policy.web)
        ok = ok or any(reaches(at(t, n), t.number) for t in map(Term.parse, policy.union))
        if ok and all(reaches(at(t, n), t.number) for t in map(Term.parse, policy.intersection)):
            passing.append(n)
    if policy.top_fraction < 1:
        top = set()
        for origin in (False, True):
            known = sorted((scores[n] for n in range(len(rows)) if synthetic[n] == origin and not missing(scores[n])), reverse=True)
            count = round(policy.top_fraction * len(known))
            top |= {
                n
                for n in range(len(rows))
                if synthetic[n] == origin and count and reaches(scores[n], known[count - 1])
            }
        passing = [n for n in passing if n in top]
    by_score = lambda n: (missing(scores[n]), 0 if missing(scores[n]) else -scores[n], n)

    def capped(numbers, name, cap, order):
        groups = defaultdict(list)
        for n in numbers:
            groups[rows[n][name]].append(n)
        return [n for own in groups.values() for n in sorted(own, key=order)[:cap]]

    if policy.best_synthetic:
        few = capped([n for n in passing if synthetic[n]], "image_key", policy.best_synthetic, by_score)
        passing = [n for n in passing if not synthetic[n]] + few
    if policy.per_image:
        passing = capped(passing, "image_key", policy.per_image, by_score)
    if policy.per_caption:
        passing = capped(passing, "caption_hash", policy.per_caption, lambda n: n)
    kept = {row["row_id"]: n in set(passing) for n, row in enumerate(rows)}
    return kept | {row["row_id"]: row["kept"] for row in ledger.table("overrides").to_pylist()}


def same(one, other):
    """Equal row for row, where NaN is equal to NaN."""
    assert one.column_names == other.column_names
    for a, b in zip(one.to_pylist(), other.to_pylist(), strict=True):
        assert repr(a) == repr(b)


def check(ledger, policy):
    decided = decide(ledger, policy)
    same(decided, decide_duckdb(ledger, policy))
    found = dict(zip(decided["row_id"].to_pylist(), decided["kept"].to_pylist(), strict=True))
    assert found == slow_kept(ledger, policy)


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random")
    return [random_ledger(folder / f"it's {seed}", seed) for seed in range(6)]


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in FIELDS.items() for v in values], ids=str)
def test_each_field_does_what_it_says(ledgers, name, value):
    for ledger in ledgers[:2]:
        # Low thresholds, so that the field has something to refuse.
        check(ledger, Policy(**{"web": -2.0, "synthetic": -2.0} | {name: value}))


@pytest.mark.parametrize("seed", range(36))
def test_all_fields_together(ledgers, seed):
    rng = random.Random(seed)
    chosen = {name: rng.choice(values) for name, values in FIELDS.items() if rng.random() < 0.5}
    check(ledgers[seed % len(ledgers)], Policy(**chosen))


def test_scores_that_are_null_and_nan_rank_alike(tmp_path):
    nan, tied = float("nan"), Policy(union=("itm.itc:0.5",), per_image=1)
    for name, scores in (("a", [None, nan]), ("b", [nan, None]), ("c", [nan, -math.inf]), ("d", [None, 0.0])):
        ledger = Ledger.create(tmp_path / name, {"filters": {}})
        rows = [{"row_id": f"{n}", "image_key": "i", "caption": "x", "caption_hash": n, "origin": "web"} for n in (0, 1)]
        ledger.write("candidates", "00000", pa.Table.from_pylist(rows, CANDIDATES))
        values = [{"row_id": f"{n}", "itm_prob": score, "itc": 0.6} for n, score in enumerate(scores)]
        ledger.write("scores/itm", "00000", pa.Table.from_pylist(values, scores_schema(("itm_prob", "itc"))))
        check(ledger, tied)
        assert decide(ledger, tied)["kept"].to_pylist() == ([True, False] if name in "ab" else [False, True])


@pytest.mark.filterwarnings("error")
def test_a_threshold_beyond_a_floats_range_is_infinite(ledgers):
    for number in (1e39, -1e39):
        for policy in (Policy(web=number), Policy(synthetic=number, intersection=(f"itm.itc:{number}",))):
            same(decide(ledgers[0], policy), decide_duckdb(ledgers[0], policy))
    assert not any(row["by"] == "filter" and row["kept"] for row in decide(ledgers[0], Policy(web=1e39, synthetic=1e39)).to_pylist())


@pytest.mark.parametrize("weight", [1, -1, 2, -3.5, 1e-40, 1e38, -1e300, 1e308])
def test_a_sum_beyond_a_floats_range_is_infinite(tmp_path, weight):
    largest = float(np.finfo(np.float32).max)
    values = [largest, -largest, largest / 2, 1e-45, 0.0, -0.0, 0.5, math.inf, -math.inf, math.nan, None]
    pairs = [(one, other) for one in values for other in values]
    ledger = Ledger.create(tmp_path / "ledger", {"filters": {}})
    rows = [{"row_id": f"{n}", "image_key": "i", "caption": "x", "caption_hash": n, "origin": "web"} for n in range(len(pairs))]
    ledger.write("candidates", "00000", pa.Table.from_pylist(rows, CANDIDATES))
    scores = [{"row_id": f"{n}", "itm_prob": one, "itc": other} for n, (one, other) in enumerate(pairs)]
    ledger.write("scores/itm", "00000", pa.Table.from_pylist(scores, scores_schema(("itm_prob", "itc"))))
    for terms in (("itm.itm_prob:1", f"itm.itc:{weight}"), (f"itm.itc:{weight}", f"itm.itm_prob:{weight}")):
        for policy in (Policy(weighted_sum=terms), Policy(weighted_sum=terms, web=math.inf), Policy(weighted_sum=terms, top_fraction=0.3)):
            same(decide(ledger, policy), decide_duckdb(ledger, policy))


def test_a_folder_named_as_a_column_changes_no_verdict(tmp_path):
    plain = random_ledger(tmp_path / "plain", 1)
    for name in ("origin=web", "caption=x", "itm_prob=1"):
        named = Ledger.open(shutil.copytree(plain.folder, tmp_path / name / "ledger"))
        check(named, Policy(web=0.2, per_image=2))
        same(decide(named), decide(plain))


def test_a_field_changes_something(ledgers):
    loose = Policy(web=-2.0, synthetic=-2.0)
    for name, values in FIELDS.items():
        changed = [Policy(**{"web": -2.0, "synthetic": -2.0} | {name: value}) for value in values]
        assert any(slow_kept(ledger, p) != slow_kept(ledger, loose) for ledger in ledgers for p in changed), name


def test_few_columns_give_the_same_verdicts(ledgers):
    policy = Policy(web=0.2, synthetic=0.2, top_fraction=0.6, per_image=2, per_caption=2)
    for ledger in ledgers:
        narrow = pa.concat_tables(verdicts(ledger, policy, ("origin",)))
        assert narrow.column_names == ["origin", "score", "kept", "by", "borderline"]
        assert narrow["kept"].to_pylist() == decide(ledger, policy)["kept"].to_pylist()


def test_the_default_is_the_papers():
    assert str(Policy()) == "itm.itm_prob, web >= 0.5, synthetic >= 0.5"


def test_a_policy_says_all_it_does():
    policy = Policy(
        weighted_sum=("itm.itm_prob:0.7", "itm.itc:0.3"), union=("clip.s:0.3",), intersection=("text.words:3",),
        top_fraction=0.2, best_synthetic=1, per_image=2, per_caption=5,
    )  # fmt: skip
    assert str(policy) == (
        "0.7 itm.itm_prob + 0.3 itm.itc, web >= 0.5, synthetic >= 0.5, or clip.s >= 0.3, and text.words >= 3, "
        "top 0.2 of each origin, best 1 synthetic an image, best 2 captions an image, first 5 of equal captions"
    )
    assert policy.columns == {"itm": ["itm_prob", "itc"], "clip": ["s"], "text": ["words"]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"web": math.nan}, "The threshold web cannot be nan; give a number."),
        ({"top_fraction": 0.0}, "top_fraction 0 cannot be; give a share above 0 and at most 1."),
        ({"top_fraction": 1.5}, "top_fraction 1.5 cannot be; give a share above 0 and at most 1."),
        ({"per_image": 0}, "per_image 0 cannot be; give 1 or more, or leave it out for no cap."),
        ({"union": ("clip",)}, "'clip' is no score column with a number; write FILTER.COLUMN:NUMBER, as in itm.itc:0.3."),
        ({"weighted_sum": ("a.b:inf",)}, "'a.b:inf' is no score column with a number; write FILTER.COLUMN:NUMBER, as in itm.itc:0.3."),
    ],
)
def test_bad_policies_are_one_sentence(changes, said):
    with pytest.raises(InputError) as error:
        Policy(**changes)
    assert str(error.value) == said


def test_what_the_ledger_lacks_is_one_sentence(ledgers):
    for way in (decide, decide_duckdb):
        with pytest.raises(InputError, match="no filter 'blip2'; it has clip, itm"):
            way(ledgers[0], Policy(union=("blip2.p:0.5",)))
        with pytest.raises(InputError, match="filter clip has no column 'itc'; use clip_score"):
            way(ledgers[0], Policy(intersection=("clip.itc:0.5",)))


@pytest.mark.parametrize("way", [decide, decide_duckdb])
def test_a_shard_without_scores_is_one_sentence(tmp_path, way):
    ledger = random_ledger(tmp_path / "ledger", 3)
    (ledger.folder / "manifest" / "scores.clip-00001.json").unlink()
    with pytest.raises(InputError, match="filter clip has not scored shard 00001 of .*; run lab capfilt or lab ledger score again"):
        way(ledger, Policy(filter="clip", column="clip_score"))


def test_ranks_order_as_scores_do():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(size=500), [0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40]]).astype(np.float32)
    found = ranks(pa.chunked_array([pa.array(scores)]))
    known = ~np.isnan(scores)
    assert found[~known].tolist() == [MISSING]
    for a in np.flatnonzero(known):
        assert ((found[a] < found[known]) == (scores[a] > scores[known])).all()
    assert ranks(pa.chunked_array([[None, 1.0]], pa.float32()))[0] == MISSING


def test_cuts_are_the_sorted_scores_at_their_place():
    rng = np.random.default_rng(1)
    shards = [(rng.random(300) < 0.3, ranks(pa.chunked_array([rng.normal(size=300).astype(np.float32)]))) for _ in range(4)]
    for share in (0.001, 0.3, 0.99, 1.0):
        for side, cut in enumerate(cuts(lambda: iter(shards), share)):
            own = np.sort(np.concatenate([found[synthetic == side] for synthetic, found in shards]))
            count = round(share * len(own))
            assert cut == (int(own[count - 1]) if count else -1)


def test_images_are_numbered_wherever_their_captions_stand():
    keys = list("aabcaabbdd")
    assert image_numbers(pa.chunked_array([keys[:3], keys[3:]])).tolist() == [0, 0, 1, 2, 0, 0, 1, 1, 3, 3]
    assert image_numbers(pa.chunked_array([], pa.string())).tolist() == []


def test_ties_go_to_earlier_rows():
    chosen = np.array([True, True, False, True, True])
    same_score = np.zeros(5, np.uint32)
    assert best(chosen, np.zeros(5, np.int64), same_score, 2).tolist() == [True, True, False, False, False]


def first_of_equal(shards, most):
    """What two passes let through, shard by shard; shards are (chosen, hashes)."""
    buckets = Buckets(sum(len(hashes) for _, hashes in shards), most)
    for chosen, hashes in shards:
        buckets.add(hashes[chosen])
    cap = Cap(buckets.crowded(), most)
    return [cap.first(chosen, hashes).tolist() for chosen, hashes in shards]


def test_the_cap_counts_over_shards():
    hashes, all_four = np.array([7, -3, 7, 9], np.int64), np.ones(4, bool)
    second = np.array([True, True, False, True])
    assert first_of_equal([(all_four, hashes), (second, hashes)], 2) == [[True] * 4, [False, True, False, True]]
    assert first_of_equal([(all_four, hashes), (second, hashes)], 1) == [[True, True, False, True], [False] * 4]
    assert first_of_equal([(all_four, hashes), (second, hashes)], 3) == [[True] * 4, second.tolist()]
    assert first_of_equal([(all_four[:0], hashes[:0])], 1) == [[]]


@pytest.mark.parametrize("seed", range(24))
def test_the_cap_is_that_of_a_loop_where_texts_share_buckets(seed):
    rng = np.random.default_rng(seed)
    rows, texts = int(rng.integers(1, 3000)), int(rng.integers(1, 400))
    # Hashes of any bits; of few upper bits, so that hundreds of texts fall into a bucket; one text alone.
    pools = [rng.integers(-(2**63), 2**63 - 1, texts), rng.integers(0, 8, texts) << 61 | rng.integers(0, 64, texts)]
    pool = [*pools, np.zeros(texts, np.int64)][seed % 3]
    hashes, chosen = pool[(texts * rng.random(rows) ** 3).astype(np.int64)], rng.random(rows) < 0.6
    ends = np.sort(rng.integers(0, rows + 1, 4))
    shards = list(zip(np.split(chosen, ends), np.split(hashes, ends), strict=True))
    for most in (1, 2, 10):
        seen, wanted = Counter(), []
        for own, passes in zip(hashes.tolist(), chosen.tolist(), strict=True):
            seen[own] += passes
            wanted.append(passes and seen[own] <= most)
        assert [kept for shard in first_of_equal(shards, most) for kept in shard] == wanted


@pytest.mark.parametrize("most", [2**15 - 1, 2**15, 70_000])
def test_counts_do_not_run_over(most):
    rows = 150_000
    (found,) = first_of_equal([(np.ones(rows, bool), np.full(rows, -5, np.int64))], most)
    assert found == [True] * most + [False] * (rows - most)


def test_policies_that_differ_say_so():
    """Runs and exports are told apart by these words, and match probabilities crowd at 1."""
    assert str(Policy()) == "itm.itm_prob, web >= 0.5, synthetic >= 0.5"
    assert str(Policy(web=-math.inf, synthetic=2.0)) == "itm.itm_prob, web >= -inf, synthetic >= 2"
    assert "web >= 0.9999996," in str(Policy(web=0.9999996)) and "top 0.1234567 of" in str(Policy(top_fraction=0.1234567))
    close = (0.1234561, 0.1234564, 0.9999996, 0.99999951, 0.99999999, math.nextafter(1, 0), 1.0)
    each = [{name: value} for value in close for name in ("web", "synthetic", "top_fraction")]
    each += [{name: (f"itm.itc:{value!r}",)} for value in close for name in ("weighted_sum", "union", "intersection")]
    assert len({str(Policy(**one)) for one in each}) == len(each)
