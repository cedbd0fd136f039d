"""What it costs to look at a claim and add seeds."""

import pytest

from lab import claims_report
from lab.claims import CLAIMS
from lab.looks import cost_of, found_by_chance, looks
from lab.verdicts import decided

BY_ID = {claim.id: claim for claim in CLAIMS}


def result(now, *before):
    """A record's result: seeds by arm, and those of each earlier run."""
    return {"arms": {arm: {"seeds": {str(s): {} for s in own}} for arm, own in now.items()}, "before": [{"cells": one} for one in before]}


def test_a_claim_is_looked_at_whenever_its_arms_have_the_seeds_for_a_verdict():
    claim = BY_ID["second-round"]
    three, five = ({arm: range(n) for arm in claim.value.arms} for n in (3, 5))
    assert looks(claim, result(three)) == (3,)
    assert looks(claim, result(five, three)) == (3, 5)
    assert looks(claim, result(five, {"1 rounds": range(3)}, {"2 rounds": range(3)})) == (3, 5)  # of both, when the second was run
    assert looks(claim, result(five, {arm: range(2) for arm in claim.value.arms})) == (5,)  # of two seeds there is no verdict
    assert looks(claim, result({"1 rounds": range(5)})) == ()
    late = BY_ID["capfilt-low-rate"]  # its seed 0 chose the arms
    six = {arm: range(6) for arm in late.value.arms}
    assert looks(late, result({arm: range(9) for arm in six}, six)) == (5, 8)


def test_one_look_finds_one_in_twenty_by_chance_and_more_looks_find_more():
    assert found_by_chance((3,)) == pytest.approx(0.05, abs=0.003)
    assert found_by_chance((12,)) == pytest.approx(0.05, abs=0.003)
    assert found_by_chance((3, 5)) == pytest.approx(0.0861, abs=0.003)  # by a million draws of another seed
    assert found_by_chance((3, 4, 5, 6)) > found_by_chance((3, 6)) > found_by_chance((3,))


def test_the_note_of_a_claim_says_what_looks_cost():
    arms = {arm: {seed: {"worth": {"retrieval": {"all": {"r1": 0.5 + 0.01 * seed}}, "items": {"r1": "0" * 90}}} for seed in range(5)} for arm in ("1 rounds", "2 rounds")}
    for own in arms.values():
        for one in own.values():
            one["worth"]["retrieval"]["all"]["images"] = 30
    seeds = {arm: {"seeds": {str(seed): one for seed, one in own.items()}} for arm, own in arms.items()}
    about = {"ablation": "rounds", "scale": "cpu", "arms": seeds, "claims": decided("rounds", arms)}
    (alone,) = claims_report.decided_of([{"result": about}])
    assert alone.note == ""
    (again,) = claims_report.decided_of([{"result": about | {"before": [{"cells": {arm: [0, 1, 2] for arm in arms}}]}}])
    assert again.note == "Decided with 3 and again with 5 seeds: so looked at, of 100 effects that are none 9 would be found, not 5."
    assert cost_of((5,)) == cost_of(()) == ""
