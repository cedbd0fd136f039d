"""The findings in few words: every sentence stands by the committed records, and falls when one of its grounds does."""

import json
from dataclasses import replace

import pytest

from lab.claim_answers import opening
from lab.claim_records import best
from lab.claims_report import read_records
from lab.findings_summary import LINES, in_words
from lab.stats import EQUIVALENT, OPPOSITE, REPRODUCED, UNDECIDED


@pytest.fixture(scope="module")
def shown():
    return best(read_records())


def test_the_records_bear_out_every_sentence(shown):
    assert in_words(shown).splitlines() == [f"- {line.says}" for line in LINES] and len(LINES) >= 8


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.says.split("**")[1])
def test_a_sentence_falls_with_each_of_its_grounds(line, shown):
    known = {one.claim.id: (one, measured) for measured in shown.values() for one in measured.decided}
    assert line.stands(known)
    for claim in (*line.found, *line.undecided, *line.equivalent):
        one, measured = known[claim]
        turned = replace(one, row=one.row | {"verdict": OPPOSITE})
        assert not line.stands(known | {claim: (turned, measured)})
        assert not line.stands({name: own for name, own in known.items() if name != claim})
    for outcome, side in line.outcomes.items():
        assert not replace(line, outcomes={outcome: -side}).stands(known)
    for claim in line.near_ceiling:
        assert not line.stands(known | {claim: (replace(known[claim][0], doubt=""), known[claim][1])})
    for claim in line.small:
        one, measured = known[claim]
        assert not line.stands(known | {claim: (replace(one, row=one.row | {"effect": 2 * one.row["margin"]}), measured)})


def with_verdicts(measured, **verdicts):
    record = json.loads(json.dumps(measured.record))
    for row in record["result"]["claims"]:
        row["verdict"] = verdicts.get(row["claim"].replace("-", "_"), row["verdict"])
    return replace(measured, record=record)


def test_an_answer_opens_with_its_verdicts_in_one_sentence(shown):
    (said,) = opening([with_verdicts(shown["table1"], filter=EQUIVALENT, both_over_filter=OPPOSITE, capfilt=UNDECIDED, both_over_captioner=UNDECIDED)])
    assert said == (
        "**In short:** of the 5 claims measured here, 1 is reproduced or found to hold (The captioner alone helps [the other way: strictly true captions, "
        "strictly true, out of domain, CIDEr-D]), 1 is found to be the other way (Both help more than the filter alone [the other way: "
        "strictly true captions, strictly true, out of domain, CIDEr-D]), 1 is without a difference that counts (The filter alone helps), and 2 are undecided."
    )
    (one,) = opening([shown["table1"]], ["capfilt"])
    assert one == "**In short:** of the 1 claim measured here, 1 is reproduced or found to hold (Captioner and filter together help)."
    assert shown["table1"].decided[0].row["verdict"] == REPRODUCED
    small = opening([shown["harder"]], ["union-over-synthetic-harder"])
    assert "beat synthetic ones [smaller than what counts])" in small[0]
    assert opening([]) == []
