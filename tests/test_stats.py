"""Statistics of claims: intervals against scipy and by simulation, verdicts by hand, and what is refused."""

import numpy as np
import pytest
import scipy.stats

from blip.errors import InputError
from lab.stats import (
    EQUIVALENT,
    OPPOSITE,
    REPRODUCED,
    UNDECIDED,
    Effect,
    Interval,
    all_true,
    correlation,
    item_interval,
    mostly_true,
    p_value,
    paired_effect,
    seeds_wanted,
    verdict,
)


def test_the_interval_is_scipys_paired_t_interval():
    rng = np.random.default_rng(0)
    treated, control = rng.normal(0.7, 0.02, 5), rng.normal(0.68, 0.02, 5)
    effect = paired_effect(treated - control)
    known = scipy.stats.ttest_rel(treated, control).confidence_interval(0.95)
    assert (effect.interval.low, effect.interval.high) == pytest.approx((known.low, known.high))
    assert effect.interval.mean == pytest.approx((treated - control).mean()) and effect.n == 5
    assert effect.size == pytest.approx((treated - control).mean() / (treated - control).std(ddof=1))


def test_rounding_is_no_spread_and_no_effect():
    """Sums of shares that are equal on paper differ in the last bit; with margin 0 that would decide a claim."""
    equal = paired_effect([0.3 - 0.2, 0.4 - 0.3, 0.5 - 0.4])
    assert equal.size is None and equal.interval.bounds == [None, None] and equal.interval.mean == pytest.approx(0.1)
    assert p_value([0.3 - 0.2, 0.4 - 0.3, 0.5 - 0.4]) == 1.0
    nothing = [(0.3 - 0.2) - 0.1] * 3
    assert any(nothing) and verdict(paired_effect(nothing), margin=0.0, least=3) == "undecided"
    assert p_value(nothing) == 1.0 and seeds_wanted(nothing, margin=0.0, least=3) is None
    assert paired_effect([1e-4, 2e-4, 3e-4]).size == pytest.approx(2)  # a spread, if a small one


@pytest.mark.parametrize("n", [2, 3, 5])
def test_it_covers_the_truth_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    held = [paired_effect(row).interval for row in rng.normal(0.3, 1.0, (6_000, n))]
    covered = np.mean([one.low <= 0.3 <= one.high for one in held])
    # Four standard errors of a share of 6,000.
    assert covered == pytest.approx(0.95, abs=0.0113)


def test_a_percentile_bootstrap_over_five_seeds_would_not_and_is_refused():
    rng = np.random.default_rng(1)
    samples = rng.normal(0.0, 1.0, (4_000, 5))
    means = samples[:, rng.integers(5, size=(500, 5))].mean(2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert np.mean((low <= 0) & (high >= 0)) < 0.88
    with pytest.raises(InputError, match="for seeds take the paired t-interval"):
        item_interval(samples[0])


def test_an_interval_over_items_covers_the_mean_of_other_items():
    rng = np.random.default_rng(2)
    held = [item_interval(rng.choice([-1.0, 0.0, 1.0], 200, p=[0.1, 0.6, 0.3]), draws=400, seed=n) for n in range(300)]
    covered = np.mean([one.low <= 0.2 <= one.high for one in held])
    assert covered == pytest.approx(0.95, abs=0.05)
    again = rng.random(40)
    assert item_interval(again, seed=3) == item_interval(again, seed=3) != item_interval(again, seed=4)


def test_one_seed_says_nothing_of_spread():
    effect = paired_effect([0.02])
    assert effect.interval == Interval(0.02, -np.inf, np.inf) and effect.size is None
    assert verdict(effect, margin=1.0, least=2) == UNDECIDED


@pytest.mark.parametrize("each", [0.03, -0.03, 0.001, 0.0])
def test_equal_differences_of_a_few_seeds_decide_nothing(each):
    """Counts over a few hundred items agree by chance: no spread was seen, which is not a spread of none."""
    same = paired_effect([each] * 3)
    assert same == Effect(Interval(each, -np.inf, np.inf), None, 3)
    assert verdict(same, margin=0.01, least=3) == UNDECIDED
    assert p_value([each] * 3) == 1.0 and seeds_wanted([each] * 3, margin=0.01, least=3) is None
    two = [each, each + 1 / 400, each]  # one item of 400 more
    assert paired_effect(two).size is not None and p_value(two) < 1.0


def test_counts_that_agree_by_chance_are_not_found_to_be_effects():
    """Arms of one true share, a hundred items each: of three seeds all differ alike in one case of a hundred or so."""
    rng = np.random.default_rng(7)
    rows = (rng.binomial(100, 0.97, (4_000, 3)) - rng.binomial(100, 0.97, (4_000, 3))) / 100
    equal = [row for row in rows if np.ptp(row) == 0 and row[0]]
    assert len(equal) > 20
    assert {verdict(paired_effect(row), margin=0.0, least=3) for row in equal} == {UNDECIDED}


@pytest.mark.parametrize(
    ("low", "high", "n", "said"),
    [
        (0.002, 0.05, 5, REPRODUCED),
        (-0.05, -0.002, 5, OPPOSITE),
        (-0.005, 0.009, 5, EQUIVALENT),
        (0.001, 0.009, 5, EQUIVALENT),  # above 0 for sure, and for sure too small to count
        (-0.009, -0.001, 5, EQUIVALENT),
        (-0.005, 0.02, 5, UNDECIDED),
        (0.0, 0.02, 5, UNDECIDED),
        (0.002, 0.05, 4, UNDECIDED),  # fewer seeds than the claim asks for
    ],
)
def test_verdicts(low, high, n, said):
    assert verdict(Effect(Interval((low + high) / 2, low, high), None, n), margin=0.01, least=5) == said


def test_without_a_margin_nothing_is_equivalent():
    assert verdict(paired_effect([0.0, 0.0, 0.0]), margin=0.0, least=3) == UNDECIDED


@pytest.mark.parametrize(
    ("differences", "margin", "wanted"),
    [
        # Mean 1 and deviation 1: t of 0.975 over the root of n is 1.05 at 6 seeds and 0.92 at 7.
        ((0.0, 1.0, 2.0), 0.0, 7),
        ((0.0, -1.0, -2.0), 0.0, 7),
        # Mean 0 and deviation 1 inside a margin of 1: the same.
        ((-1.0, 0.0, 1.0), 1.0, 7),
        ((-1.0, 0.0, 1.0), 0.0, None),
        ((0.10, 0.11, 0.12), 0.0, 5),  # sure at once, but not before the claim's fewest seeds
        ((0.3,), 0.1, None),
    ],
)
def test_how_many_seeds_would_decide(differences, margin, wanted):
    assert seeds_wanted(differences, margin=margin, least=5) == wanted


def test_as_many_seeds_as_are_wanted_decide_when_nothing_changes():
    values = np.random.default_rng(5).normal(0.3, 1.0, 4)
    wanted = seeds_wanted(values, margin=0.0, least=4)
    for n, decides in ((wanted, True), (wanted - 1, False)):
        drawn = np.random.default_rng(6).normal(size=n)
        alike = (drawn - drawn.mean()) / drawn.std(ddof=1) * values.std(ddof=1) + values.mean()
        assert (verdict(paired_effect(alike), margin=0.0, least=4) != UNDECIDED) is decides


def test_true_nulls_are_seldom_decided():
    """Reproduced or opposite in one of twenty, as an interval of 95% promises."""
    rng = np.random.default_rng(3)
    said = [verdict(paired_effect(row), margin=0.0, least=5) for row in rng.normal(0.0, 0.02, (4_000, 5))]
    assert np.mean([one != UNDECIDED for one in said]) == pytest.approx(0.05, abs=0.014)


def test_correlation_is_numpys():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 6))
    assert correlation(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)
    assert correlation([1, 1, 1], [2, 4, 6]) == 0.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: paired_effect([]), "at least one seed"),
        (lambda: paired_effect([0.1, float("nan")]), "numbers only"),
        (lambda: verdict(paired_effect([0.1]), margin=-1.0, least=5), "margin -1.0"),
        (lambda: correlation([1, 2], [1, 2]), "3 or more"),
    ],
)
def test_wrong_input_is_one_sentence(call, said):
    with pytest.raises(InputError, match=said):
        call()


def test_p_values_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for n in (2, 3, 5, 12):
        values = rng.normal(0.5, 1, n)
        assert p_value(values) == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue)
    assert (p_value([3.0]), p_value([0.0, 0.0]), p_value([1.0, 1.0]), p_value([1.0, float("nan")])) == (1.0, 1.0, 1.0, 1.0)


def by_hand(each, level=0.05):
    """All up to the last that is within its share of the level, in the order of the p values."""
    ordered = sorted(each)
    last = max((p for rank, p in enumerate(ordered, 1) if p <= level * rank / len(each)), default=-1)
    return [p <= last for p in each]


def test_many_tests_at_once_are_corrected_as_published():
    # The example of Benjamini and Hochberg (1995), section 4: 4 of 15 at the rate 0.05, 3 by Bonferroni's error rate.
    each = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    order = np.random.default_rng(1).permutation(15)
    shuffled = [each[at] for at in order]
    assert [at < 4 for at in order] == mostly_true(shuffled) and [at < 3 for at in order] == all_true(shuffled)
    for seed in range(20):
        drawn = np.random.default_rng(seed).beta(0.2, 2, 30)
        assert mostly_true(drawn) == by_hand(drawn)
        assert sum(all_true(drawn)) <= sum(mostly_true(drawn))
        # Whatever their dependence: at the level over 1 + 1/2 + ... + 1/30.
        assert mostly_true(drawn, whatever=True) == by_hand(drawn, 0.05 / sum(1 / rank for rank in range(1, 31)))
    assert mostly_true([]) == all_true([]) == [] and mostly_true([0.9]) == all_true([0.9]) == [False]


def test_no_false_effect_is_found_more_often_than_said():
    """All of ten claims are false, 2,000 times: any of them is found in 5% of cases by Holm, and by itself in 40%."""
    rng, at_once, alone = np.random.default_rng(2), 0, 0
    for _ in range(2_000):
        each = [p_value(values) for values in rng.normal(0, 1, (10, 5))]
        at_once, alone = at_once + any(all_true(each)), alone + (min(each) < 0.05)
    assert 0.03 < at_once / 2_000 < 0.07 and alone / 2_000 > 0.3
