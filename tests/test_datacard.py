"""The data card: its numbers against loops, the page, its picture, other policies, and no path of a machine."""

import json
import math
import re
import shutil
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from data_files import encoded, picture
from fake_models import FakeCaptioner, FakeFilter
from PIL import Image
from random_ledgers import random_ledger
from studio_ledgers import generated_ledger

from apps.service import Service
from blip.capfilt import Job, Ledger, Policy, decide, override, run
from blip.capfilt.override import Decision, record
from blip.data.pairs import ImageRef, Pair, Reject
from blip.data.pairset import PairSet
from blip.data.text import clean_caption, normalized_text_hash
from lab.cli import main
from lab.datacard import BINS, card_numbers, length_summary, plain_reason
from lab.datacard_page import page, write_card
from lab.report import summarize, table

TEXTS = ["A red dog.", "a  RED dog", "naïve Öl\u00a0and #tags: (two) x*y", "one", "a | pipe", "x" * 50]


@pytest.fixture(scope="module")
def filed(tmp_path_factory):
    """Files: two equal pictures, one broken, one gone, two texts of one image, human ones, rejects, decisions."""
    folder = tmp_path_factory.mktemp("filed")
    pairs = []
    for n, text in enumerate(TEXTS):
        path = folder / f"{n}.png"
        path.write_bytes(b"<html>" if n == 4 else encoded(picture(0 if n == 1 else n), "PNG"))
        pairs.append(Pair(f"n{n}", text, ImageRef(str(path)), "human" if n == 3 else "web"))
    pairs.append(replace(pairs[0], caption="another text of the first"))
    pairs.append(Pair("gone", "a lost cat", ImageRef(str(folder / "gone.png"))))
    rejects = [Reject("n9", str(folder / "9.txt"), "the caption is empty", "text")] * 2
    job = Job(captioner=FakeCaptioner(candidates=2, silent=0.7), filters={"itm": FakeFilter()}, images_per_shard=3)
    ledger = run(replace(job, notes={"source": "photos", "device": "cpu"}), PairSet.of(pairs, rejects), folder / "ledger")
    rows = decide(ledger).to_pylist()
    override(ledger, {rows[0]["row_id"]: True, rows[2]["row_id"]: False}, reviewer="ann")
    return ledger


def rows_of(ledger, policy):
    facts = ledger.table("candidates").to_pylist()
    return [fact | verdict for fact, verdict in zip(facts, decide(ledger, policy).to_pylist(), strict=True)]


def words(text):
    return clean_caption(text, None).split()


def unscored(row):
    return row["score"] is None or math.isnan(row["score"])


@pytest.mark.parametrize("policy", [Policy(), Policy(web=0.7, synthetic=0.2, best_synthetic=1), Policy(web=1e39)])
def test_the_numbers_agree_with_loops(filed, policy):
    found, rows = card_numbers(filed, policy), rows_of(filed, policy)
    check_rows(found, rows, policy)
    assert found["pairs"] == len(TEXTS) + 2 + 2
    digests = {row["image_key"]: row["image_sha256"] for row in rows}
    assert (found["pictures"]["images"], found["pictures"]["distinct_pictures"]) == (len(digests), len(set(digests.values())))
    assert len(set(digests.values())) == len(digests) - 1
    rejects = filed.table("rejects").to_pylist()
    assert found["rejects"]["count"] == len(rejects) and found["rejects"]["pairs"] == sum(row["pairs"] for row in rejects)
    wanted = Counter((row["kind"], plain_reason(row["reason"])) for row in rejects)
    assert {(own["kind"], own["reason"]): own["count"] for own in found["rejects"]["reasons"]} == wanted
    assert found["made"]["filters"] == {"itm": "fake-filter"} and found["made"]["captioners"][0]["id"] == "fake-captioner"


@pytest.mark.parametrize("seed", range(3))
def test_missing_scores_other_rules_and_people(tmp_path, seed):
    ledger = random_ledger(tmp_path / "ledger", seed)
    ledger.counts = lambda: {"given_rows": 0, "rejected_pairs": 0}
    policy = Policy(web=0.2, synthetic=0.2, per_image=2)
    check_rows(card_numbers(ledger, policy), rows_of(ledger, policy), policy)


def check_rows(found, rows, policy):
    """Counts by origin, reasons, texts, words, lengths, histograms and images, in loops over all rows."""
    assert set(found["origins"]) == {row["origin"] for row in rows}
    for origin, own in found["origins"].items():
        mine = [row for row in rows if row["origin"] == origin]
        with np.errstate(over="ignore"):
            limit = np.float32(policy.synthetic if origin == "synthetic" else policy.web)
        out = [row for row in mine if not row["kept"]]
        by_filter = [row for row in out if row["by"] == "filter"]
        scored = [row for row in by_filter if not unscored(row)]
        assert (own["captions"], own["kept"]) == (len(mine), len(mine) - len(out))
        assert own["kept_by_people"] == sum(row["kept"] and row["by"] == "person" for row in mine)
        assert own["filtered_by_people"] == len(out) - len(by_filter)
        assert own["no_score"] == len(by_filter) - len(scored)
        assert own["below_threshold"] == sum(row["score"] < limit for row in scored)
        assert own["other_rules"] == sum(row["score"] >= limit for row in scored)
        histogram = found["scores"][origin]
        assert sum(histogram["kept"]) == sum(row["kept"] and not unscored(row) for row in mine)
        assert sum(histogram["filtered"]) == sum(not row["kept"] and not unscored(row) for row in mine)
        for when, some in (("before", mine), ("kept", [row for row in mine if row["kept"]])):
            lengths = [len(words(row["caption"])) for row in some]
            assert found["lengths"][origin][when]["mean"] == (round(sum(lengths) / len(lengths), 3) if lengths else None)
            assert found["lengths"][origin][when]["most"] == max(lengths, default=None)
        most = found["lengths"][origin]["before"]["median"]
        for half, own_rows in (
            ("short", [row for row in mine if len(words(row["caption"])) <= most]),
            ("long", [row for row in mine if len(words(row["caption"])) > most]),
        ):
            share = sum(row["kept"] for row in own_rows) / len(own_rows) if own_rows else None
            assert found["lengths"][origin]["halves"][half] == share
    kept = [row for row in rows if row["kept"]]
    assert found["vocabulary"] == {
        "before": len({word for row in rows for word in words(row["caption"])}),
        "kept": len({word for row in kept for word in words(row["caption"])}),
    }
    texts = Counter(normalized_text_hash(row["caption"]) for row in rows)
    assert found["texts"] == {
        "distinct_before": len(texts),
        "distinct_kept": len({normalized_text_hash(row["caption"]) for row in kept}),
        "captions": len(rows),
        "kept": len(kept),
        "most_often": max(texts.values()),
    }
    images = Counter()
    for key in {row["image_key"] for row in rows}:
        own = {row["origin"] == "synthetic" for row in kept if row["image_key"] == key}
        images["kept_both" if len(own) == 2 else "kept_none" if not own else "kept_synthetic_only" if True in own else "kept_web_only"] += 1
    assert {name: found["pictures"][name] for name in ("kept_both", "kept_none", "kept_synthetic_only", "kept_web_only")} == {
        name: images[name] for name in ("kept_both", "kept_none", "kept_synthetic_only", "kept_web_only")
    }


def test_a_histogram_worked_by_hand(filed):
    histogram = card_numbers(filed, Policy(web=0.9))["scores"]["web"]
    scores = [row["score"] for row in rows_of(filed, Policy(web=0.9)) if row["origin"] == "web"]
    both = np.array(histogram["kept"]) + np.array(histogram["filtered"])
    assert both.tolist() == np.histogram(scores, BINS, (0, 1))[0].tolist()
    assert (histogram["low"], histogram["high"], histogram["threshold"]) == (0, 1, 0.9)
    logit = card_numbers(filed, Policy(column="itm_logit"))["scores"]["web"]
    assert logit["low"] < 0 < logit["high"] and sum(logit["kept"]) + sum(logit["filtered"]) == len(scores)


def test_lengths_worked_by_hand():
    found = length_summary(Counter({1: 10, 3: 80, 9: 9, 40: 1, 50: 0}))
    assert found == {"mean": 3.71, "median": 3, "p95": 9, "most": 40}
    assert length_summary(Counter({4: 0})) == {"mean": None, "median": None, "p95": None, "most": None}


def test_the_page_tells_everything_and_names_no_path(filed, tmp_path):
    ledger = Ledger.open(shutil.copytree(filed.folder, tmp_path / "ledger"))
    write_card(ledger, Policy(), "lab capfilt --data photos")
    card, numbers = (tmp_path / "ledger" / name for name in ("DATACARD.md", "datacard.json"))
    text, found = card.read_text(), json.loads(numbers.read_text())
    for title in ("What was kept", "Why captions were not kept", "Inputs that could not be used", "Scores", "Duplicates",
                  "Lengths and vocabulary", "How it was made", "Licence", "How to make it again"):  # fmt: skip
        assert f"\n## {title}\n" in text
    assert "Audited by people" not in text and "Against known truth" not in text
    assert "licences of the source stay with the source" in text and "lab capfilt --data photos" in text
    assert "| image | a web page (HTML or XML), not an image | 1 |" in text and "the caption is empty | 2 |" in text
    assert "fake-filter" in text and found["made"]["config_sha256"] in text and "decided by people" in text
    for content in (text, numbers.read_text()):
        assert str(filed.folder.parent) not in content and str(tmp_path) not in content and "gone.png" not in content
    linked = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert linked == ["datacard-scores.png"]
    pixels = np.asarray(Image.open(tmp_path / "ledger" / linked[0]).convert("RGB"))
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):  # kept and filtered
        assert (np.abs(pixels.astype(int) - colour).max(-1) < 12).sum() > 50
    assert page(found) == text
    found["lengths"]["web"] |= {"before": found["lengths"]["web"]["before"] | {"median": 6}, "halves": {"short": 0.25, "long": 0.5}}
    assert "Of the web captions of at most 6 words 25.0% are kept, of the longer ones 50.0%." in page(found)
    found["lengths"]["web"]["halves"] = {"short": 0.25, "long": None}
    assert "Of the web captions of at most" not in page(found)


def test_equal_ledgers_have_equal_cards_and_another_policy_another(filed, tmp_path, capsys):
    first, second = (Ledger.open(shutil.copytree(filed.folder, tmp_path / name)) for name in ("a", "b"))
    names = ("DATACARD.md", "datacard.json", "datacard-scores.png")
    for ledger in (first, second):
        write_card(ledger, Policy(), "lab capfilt")
    read = lambda ledger: {name: (ledger.folder / name).read_bytes() for name in names}
    assert read(first) == read(second)
    assert main(["ledger", "card", str(second.folder), "--web", "0.9", "--best-synthetic", "1"]) == 0
    assert capsys.readouterr().out == f"data card: {second.folder / 'DATACARD.md'}\n"
    other = json.loads((second.folder / "datacard.json").read_text())
    assert other["policy"] == str(Policy(web=0.9, best_synthetic=1)) and other["command"] == "lab capfilt"
    assert all(read(first)[name] != read(second)[name] for name in names)
    assert main(["ledger", "card", str(second.folder), "--filter", "clip"]) == 2
    assert "no filter 'clip'; it has itm" in capsys.readouterr().err


def test_known_truth_and_a_stale_audit(tmp_path):
    ledger = generated_ledger(tmp_path / "ledger")
    (tmp_path / "ledger" / "audit.json").write_text(json.dumps({"result": {"ledger": "of other captions"}}))
    write_card(ledger, Policy())
    text, found = ((tmp_path / "ledger" / name).read_text() for name in ("DATACARD.md", "datacard.json"))
    assert "## Against known truth" in text and "Audited by people" not in text
    assert "the generated world, level `nano`, with 40.0% noise" in text and "is not known to this card" in text
    rows = [row for row in rows_of(ledger, Policy()) if row["origin"] == "web"]
    own = json.loads(found)["origins"]["web"]
    true = [row for row in rows if row["truth"] == "true"]
    assert (own["truth_known"], own["true"], own["kept_true"]) == (
        sum(row["truth"] is not None for row in rows), len(true), sum(row["kept"] for row in true),
    )  # fmt: skip


def test_the_truth_of_a_text_that_a_person_wrote_is_not_known_anywhere(tmp_path):
    ledger = generated_ledger(tmp_path / "ledger")
    rows = pd.concat([ledger.table("candidates").to_pandas(), decide(ledger).to_pandas()["kept"]], axis=1)
    true = rows[(rows.truth == "true") & (rows.origin == "web")].iloc[:3]
    words = [Decision(True, "Ann", datetime.now(UTC), text) for text in ("better", None)]
    words.append(Decision(False, "Ann", datetime.now(UTC), "unused"))
    record(ledger, dict(zip(true.row_id, words, strict=True)))
    rows.loc[true.index, "kept"] = [True, True, False]
    known = rows.drop(index=true.index[0])
    web = known[known.origin == "web"]
    summary = summarize(ledger)
    assert summary["rewritten"] == 1 and "kept in better words of a person: 1, whose truth is not known" in table(summary)
    rates = summary["origins"]["web"]
    assert rates["precision"] == pytest.approx((web[web.kept].truth == "true").mean())
    assert rates["recall"] == pytest.approx(web[web.truth == "true"].kept.mean())
    assert summary["false_share_after"] == pytest.approx((known[known.kept].truth == "false").mean())
    with closing(Service.open(ledger.folder)) as service:
        assert service.tallies(Policy())["web"].rates == rates
    card = card_numbers(ledger, Policy())
    counts = card["origins"]["web"]
    assert (counts["rewritten"], counts["rewritten_true"]) == (1, 1)
    assert counts["kept_true"] / counts["kept_truth_known"] == pytest.approx(rates["precision"])
    write_card(ledger, Policy())
    text = (ledger.folder / "DATACARD.md").read_text()
    assert "1 kept captions are exported in better words" in text and "nobody knows their truth" in text
    assert f"| {100 * rates['precision']:.1f}% | {100 * rates['recall']:.1f}% |" in text


def test_every_run_of_capfilt_leaves_a_card(tmp_path):
    (tmp_path / "photos").mkdir()
    for n in range(3):
        (tmp_path / "photos" / f"{n}.png").write_bytes(encoded(picture(n), "PNG"))
        (tmp_path / "photos" / f"{n}.txt").write_text(f"a ball number {n}")
    weights = [f"--{name}=blip/weights/{name}.safetensors" for name in ("captioner", "filter")]
    out = tmp_path / "out"
    words = [f"--data={tmp_path / 'photos'}", f"--out={out}", *weights, "--device=cpu", "--web-threshold=0.2"]
    assert main(["capfilt", *words]) == 0
    found = json.loads((out / "datacard.json").read_text())
    assert found["policy"] == "itm.itm_prob, web >= 0.2, synthetic >= 0.5" and found["origins"]["web"]["captions"] == 3
    assert {"DATACARD.md", "datacard-scores.png", "summary.json"} <= {path.name for path in out.iterdir()}


def test_no_usable_picture_is_a_card_without_captions(tmp_path, capsys):
    pairs = PairSet.of([Pair("a", "a dog", b"<html>"), Pair("b", "a cat", b"")])
    ledger = run(Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()}), pairs, tmp_path / "ledger")
    write_card(ledger, Policy())
    text = (tmp_path / "ledger" / "DATACARD.md").read_text()
    assert "There is no caption" in text and "2 rejects; with them 2 input pairs were lost" in text and "![" not in text
    assert main(["ledger", "audit", str(ledger.folder), "--out", str(tmp_path / "audit.csv")]) == 2
    assert "holds no caption to judge" in capsys.readouterr().err


def test_scores_that_are_all_missing_are_a_card_too(tmp_path):
    class Silent(FakeFilter):
        def _score(self, mean, text):
            return (math.nan,) * 3

    pairs = PairSet.of([Pair("a", "a dog", encoded(picture(1), "PNG"))])
    ledger = run(Job(captioner=FakeCaptioner(), filters={"itm": Silent()}), pairs, tmp_path / "ledger")
    write_card(ledger, Policy())
    assert "| no score | 1 | 1 |" in (tmp_path / "ledger" / "DATACARD.md").read_text()


def test_reasons_lose_what_belongs_to_one_file():
    lost = "cannot be read: [Errno 2] No such file or directory: '/a/b c.png'"
    assert plain_reason(lost) == "cannot be read: [Errno 2] No such file or directory: the file"
    assert plain_reason("900 x 20 is longer than 20 to 1") == "the picture's size is longer than 20 to 1"
