"""Agreement across devices and precisions: what is measured, and which verdicts it leaves open."""

import json
import math
import random
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from fake_models import FakeCaptioner, FakeFilter
from random_ledgers import COLUMNS, random_ledger
from studio_ledgers import ITEMS, WORLD
from test_ledger_commands import refusal, said
from test_policy import FIELDS, same

from blip.capfilt import Job, Ledger, Policy, decide, decide_duckdb, override, run, verify
from blip.capfilt.agreement import agree
from blip.capfilt.policy import Term
from blip.capfilt.schema import scores_schema
from blip.capfilt.scoring import score
from blip.capfilt.text_filters import TextFilter
from blip.capfilt.tolerance import FILE, Margins, Measured, Running, measurements, note
from blip.data.pairset import PairSet
from blip.errors import InputError
from blip.matching import Matcher
from lab.report import summarize
from lab.weights import WEIGHTS, shipped
from lab.world.sets import as_pairs

CPU, HALF, GPU = Running("cpu", "float32"), Running("cpu", "bf16"), Running("cuda", "bf16")
TOLERANCES = {"itm.itm_prob": 0.1, "itm.itc": 0.3, "clip.clip_score": 0.05}


def measured(tolerance, there=HALF, captions=10):
    return Measured(captions, tolerance, tolerance / 2, 0, CPU, there)


def missing(value):
    return value is None or math.isnan(value)


def slow_borderline(ledger, policy, tolerances):
    """row_id -> borderline, a row at a time by the words of `Margins`."""
    rows = ledger.table("candidates").to_pylist()
    people = set(ledger.table("overrides")["row_id"].to_pylist())
    column = lambda term: ledger.table(f"scores/{term.filter}")[term.column].to_pylist()
    conditions = [Term.parse(text) for text in (*policy.union, *policy.intersection)]
    columns = {(t.filter, t.column): column(t) for t in policy.terms}
    margin = sum(abs(t.number) * tolerances.get(f"{t.filter}.{t.column}", 0.0) for t in policy.summands)
    found = {}
    for n, row in enumerate(rows):
        values = [columns[t.filter, t.column][n] for t in policy.summands]
        if any(map(missing, values)):
            compared = []
        else:
            total = float(np.float32(sum(v * t.number for v, t in zip(values, policy.summands, strict=True))))
            compared = [(total, policy.synthetic if row["origin"] == "synthetic" else policy.web, margin)]
        for t in conditions:
            if not missing(value := columns[t.filter, t.column][n]):
                compared.append((value, t.number, tolerances.get(f"{t.filter}.{t.column}", 0.0)))
        near = [m > 0 and abs(value - float(np.float32(limit))) <= m for value, limit, m in compared]
        found[row["row_id"]] = any(near) and row["row_id"] not in people
    return found


def by_row(decided, name):
    return dict(zip(decided["row_id"].to_pylist(), decided[name].to_pylist(), strict=True))


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory):
    """Random ledgers whose tolerances are known."""
    folder = tmp_path_factory.mktemp("agreement")
    made = [random_ledger(folder / str(seed), seed) for seed in range(5)]
    for ledger in made:
        note(ledger, {name: measured(value) for name, value in TOLERANCES.items()})
    return made


@pytest.mark.parametrize("seed", range(20))
def test_both_ways_to_decide_mark_what_a_loop_over_rows_marks(ledgers, seed):
    rng, ledger = random.Random(seed), ledgers[seed % len(ledgers)]
    policy = Policy(**{name: rng.choice(values) for name, values in FIELDS.items() if rng.random() < 0.5})
    decided = decide(ledger, policy)
    same(decided, decide_duckdb(ledger, policy))
    assert by_row(decided, "borderline") == slow_borderline(ledger, policy, TOLERANCES)


def test_the_loop_marks_some_and_not_all(ledgers):
    policies = [Policy(), *(Policy(**{name: value}) for name in ("union", "intersection") for value in FIELDS[name])]
    policies += [Policy(weighted_sum=value) for value in FIELDS["weighted_sum"]]
    for policy in policies:
        marks = [mark for ledger in ledgers for mark in slow_borderline(ledger, policy, TOLERANCES).values()]
        assert 0 < sum(marks) < len(marks)


def test_by_hand(tmp_path):
    """Probabilities around 0.5 with a tolerance of 0.1; missing ones are near nothing."""
    ledger = random_ledger(tmp_path / "ledger", 0, shards=1)
    rows = ledger.table("candidates")
    values = [0.39, 0.41, 0.5, 0.59, 0.61, None, float("nan")]
    values += [0.0] * (rows.num_rows - len(values))
    scores = {"row_id": rows["row_id"], "itm_prob": pa.array(values, pa.float32()), "itc": pa.array(values, pa.float32())}
    ledger.write("scores/itm", "00000", pa.table(scores, scores_schema(COLUMNS["itm"])))
    shutil.rmtree(ledger.folder / "overrides", ignore_errors=True)
    for path in ledger.folder.glob("manifest/overrides-*"):
        path.unlink()
    assert not any(decide(ledger)["borderline"].to_pylist())
    note(ledger, {"itm.itm_prob": measured(0.1)})
    assert decide(ledger)["borderline"].to_pylist()[:7] == [False, True, True, True, False, False, False]
    override(ledger, {rows["row_id"][1].as_py(): True}, reviewer="ann")
    assert decide(ledger)["borderline"].to_pylist()[:3] == [False, False, True]
    # A sum of weights 2 and -1 moves by 2 x 0.1 + 1 x 0.05.
    note(ledger, {"itm.itc": measured(0.05)})
    assert Margins.of(ledger, Policy(weighted_sum=("itm.itm_prob:2", "itm.itc:-1"))).score == pytest.approx(0.25)


def rescored_ledger(folder, seed, spread):
    """A random ledger with a second filter that moved each score of the first by at most spread."""
    ledger, rng = random_ledger(folder, seed), np.random.default_rng(seed)
    for entry in list(ledger.entries("scores/itm")):
        table = ledger.read("scores/itm", entry.shard)
        moved = {"row_id": table["row_id"]}
        for name in COLUMNS["itm"]:
            values = np.array(table[name].to_pylist(), float)
            values += rng.uniform(-spread, spread, len(values))
            moved[name] = pa.array([None if v is None else x for v, x in zip(table[name].to_pylist(), values, strict=True)], pa.float32())
        ledger.write("scores/itm-bf16", entry.shard, pa.table(moved, table.schema))
    return ledger


def slow_differences(one, other):
    return sorted(
        abs(float(a) - float(b)) for a, b in zip(one, other, strict=True) if not missing(a) and not missing(b)
    )


@pytest.mark.parametrize("seed", range(4))
def test_what_is_measured_and_every_flip_is_borderline(tmp_path, seed):
    ledger = rescored_ledger(tmp_path / "ledger", seed, 0.2)
    policy = Policy(web=0.45, synthetic=0.55, union=("itm.itc:0.8",), intersection=("clip.clip_score:-2",))
    found = agree(ledger, ledger, policy, rescored={"itm": "itm-bf16"}, versions={"torch": "x"})
    assert (found.captions, found.only_here, found.only_there) == (ledger.table("candidates").num_rows, 0, 0)
    assert sorted(found.columns) == ["itm.itc", "itm.itm_prob"]
    for name in COLUMNS["itm"]:
        own = found.columns[f"itm.{name}"]
        slow = slow_differences(ledger.table("scores/itm")[name].to_pylist(), ledger.table("scores/itm-bf16")[name].to_pylist())
        assert (own.captions, own.tolerance, own.versions) == (len(slow), slow[-1], {"torch": "x"})
        assert own.p999 == slow[math.ceil(0.999 * len(slow)) - 1]
    here, there = decide(ledger, policy), decide(ledger, policy.renamed({"itm": "itm-bf16"}))
    free = [row["row_id"] for row in here.to_pylist() if row["by"] == "filter"]
    flips = [row for row in free if by_row(here, "kept")[row] != by_row(there, "kept")[row]]
    assert (found.decided, found.flips) == (len(free), len(flips))
    note(ledger, found.columns)
    assert flips and all(by_row(decide(ledger, policy), "borderline")[row] for row in flips)


def job(**changes):
    return Job(**{"captioner": FakeCaptioner(), "filters": {"itm": FakeFilter()}, "images_per_shard": 8, **changes})


def pairs(count=20):
    return PairSet.of(as_pairs(ITEMS[:count], WORLD.level.px))


class Nudged(FakeFilter):
    """The same weights on another device: every probability a little higher."""

    def _score(self, mean, text):
        logit, probability, itc = super()._score(mean, text)
        return logit, probability + 0.0625, itc


def test_two_ledgers_of_one_job_with_captions_that_differ(tmp_path):
    notes = {"device": "cpu", "precision": "float32"}
    here = run(job(notes=notes, captioner=FakeCaptioner(candidates=2)), pairs(), tmp_path / "here")
    other = job(notes=notes | {"precision": "bf16"}, filters={"itm": Nudged(), "text": TextFilter()})
    there = run(other, pairs(), tmp_path / "there")
    ids = [set(ledger.table("candidates")["row_id"].to_pylist()) for ledger in (here, there)]
    found = agree(here, there)
    assert (found.captions, found.only_here) == (len(ids[0] & ids[1]), len(ids[0] - ids[1]))
    assert found.only_there == len(ids[1] - ids[0]) and found.only_here and found.captions
    own = found.columns["itm.itm_prob"]
    assert own.tolerance == pytest.approx(0.0625, abs=1e-6) and (own.here, own.there) == (CPU, HALF)
    assert found.columns["itm.itc"].tolerance == 0 and "text.words" not in found.columns


def test_the_same_bytes_leave_nothing_open(tmp_path, capsys):
    one, other = (run(job(workers=n), pairs(), tmp_path / str(n)) for n in (1, 4))
    text = said(capsys, "ledger", "agree", one.folder, other.folder)
    assert "40 captions on both sides; 0 only here, 0 only there" in text and "flip: 0 of 40 (0.00%)" in text
    assert "borderline from now on: 0 verdicts" in text
    assert not any(decide(one)["borderline"].to_pylist()) and "borderline" not in summarize(one)


def test_people_see_how_many_captions_could_not_be_compared(tmp_path, capsys):
    ledger = run(job(), pairs(), tmp_path / "ledger")
    for shard in [entry.shard for entry in ledger.entries("scores/itm")]:
        scores = pq.read_table(ledger.path("scores/itm", shard))
        missing = pa.array([None, *scores["itm_prob"].to_pylist()[1:]], pa.float32())
        again = scores.set_column(scores.schema.get_field_index("itm_prob"), scores.schema.field("itm_prob"), missing)
        ledger.write("scores/again", shard, again)
    about = ledger.about | {"filters": ledger.about["filters"] | {"again": ledger.about["filters"]["itm"]}}
    (tmp_path / "ledger" / "ledger.json").write_text(json.dumps(about))
    rows = said(capsys, "ledger", "agree", ledger.folder, "--rescored", "itm=again").splitlines()
    head, row = (next(row for row in rows if row.startswith(start)) for start in ("score ", "itm.itm_prob "))
    assert head.endswith("  not compared") and row.split()[-1] == str(len(list(ledger.entries("scores/itm")))) != "0"


def test_a_folder_named_as_a_column_changes_no_measurement(tmp_path):
    ledger = rescored_ledger(tmp_path / "ledger", 1, 0.2)
    wanted = agree(ledger, ledger, rescored={"itm": "itm-bf16"})
    named = Ledger.open(shutil.copytree(ledger.folder, tmp_path / "itm_prob=0.5" / "row_id=x" / "ledger"))
    assert agree(named, named, rescored={"itm": "itm-bf16"}) == wanted


def test_measurements_of_other_machines_stay_and_the_largest_counts(tmp_path):
    ledger = random_ledger(tmp_path / "ledger", 1)
    note(ledger, {"itm.itm_prob": measured(0.25)})
    note(ledger, {"itm.itm_prob": measured(0.0625, GPU), "itm.itc": measured(0.5)})
    note(ledger, {"itm.itm_prob": measured(0.125)})
    assert measurements(ledger) == {
        "itm.itc": [measured(0.5)],
        "itm.itm_prob": [measured(0.0625, GPU), measured(0.125)],
    }
    assert Margins.of(ledger, Policy()) == Margins(0.125, ())
    (ledger.folder / FILE).write_text('{"itm.itm_prob": 3}')
    with pytest.raises(InputError, match=r"agreement.json cannot be read .*; delete it and run lab ledger agree again"):
        decide(ledger)


def test_infinities_that_differ_cannot_be_compared(tmp_path):
    """What is counted of them is no tolerance, and the file of it can be read again."""
    inf, nan = math.inf, math.nan
    here = [inf, inf, -inf, 0.5, inf, inf, 0.25, 0.5, None, nan]
    there = [inf, -inf, 0.5, inf, None, nan, 0.5, 0.5, None, None]
    ledger = random_ledger(tmp_path / "ledger", 0, shards=1)
    ids = ledger.table("candidates")["row_id"]
    for name, values in (("itm", here), ("itm-bf16", there)):
        padded = pa.array([*values, *[0.0] * (len(ids) - len(values))], pa.float32())
        far = pa.array([inf if name == "itm" else 0.0] * len(ids), pa.float32())
        ledger.write(f"scores/{name}", "00000", pa.table({"row_id": ids, "itm_prob": padded, "itc": far}, scores_schema(COLUMNS["itm"])))
    found = agree(ledger, ledger, rescored={"itm": "itm-bf16"})
    own = found.columns["itm.itm_prob"]
    assert (own.captions, own.tolerance, own.p999, own.unscored) == (len(ids) - 7, 0.25, 0.25, 5)
    assert list(found.columns) == ["itm.itm_prob"]  # of the other no caption can be compared
    note(ledger, found.columns)
    assert measurements(ledger) == {"itm.itm_prob": [own]}
    same(decide(ledger), decide_duckdb(ledger))


def test_people_see_borderline_verdicts(tmp_path, capsys):
    ledger = run(job(captioner=FakeCaptioner(candidates=2)), pairs(), tmp_path / "ledger")
    note(ledger, {"itm.itm_prob": measured(0.15)})
    rows = decide(ledger).to_pylist()
    near = [row for row in rows if row["borderline"]]
    counts = {o: sum((row["origin"] == "synthetic") == (o == "synthetic") for row in near) for o in ("web", "synthetic")}
    assert all(counts.values()) and len(near) < len(rows)
    assert json.loads(said(capsys, "ledger", "summary", ledger.folder, "--json"))["borderline"] == counts
    summary = said(capsys, "ledger", "summary", ledger.folder)
    assert f"borderline: {counts['web']} web and {counts['synthetic']} synthetic verdicts" in summary
    key = near[0]["image_key"]
    lines = said(capsys, "ledger", "show", ledger.folder, key).splitlines()
    assert sum(line.endswith("by filter, borderline") for line in lines) == sum(r["image_key"] == key for r in near)
    shown = json.loads(said(capsys, "ledger", "show", ledger.folder, key, "--json"))["captions"]
    assert {c["row_id"] for c in shown if c["borderline"]} == {r["row_id"] for r in near if r["image_key"] == key}
    for name, read in (("v.parquet", pq.read_table), ("v.csv", pyarrow.csv.read_csv)):
        said(capsys, "ledger", "decide", ledger.folder, "--out", tmp_path / name)
        assert read(tmp_path / name)["borderline"].to_pylist() == [row["borderline"] for row in rows]


def test_exports_carry_it(tmp_path, capsys):
    notes = {"world": {"level": "nano", "noise": 0.4, "start": 0}}
    ledger = run(job(notes=notes), PairSet.of(as_pairs(WORLD.web(20), WORLD.level.px)), tmp_path / "ledger")
    note(ledger, {"itm.itm_prob": measured(0.2)})
    said(capsys, "ledger", "export", ledger.folder, "--out", tmp_path / "a.parquet", "--format", "parquet")
    kept = [row for row in decide(ledger).to_pylist() if row["kept"]]
    exported = pq.read_table(tmp_path / "a.parquet")["borderline"]
    assert exported.type == pa.bool_() and exported.to_pylist() == [row["borderline"] for row in kept]
    assert 0 < sum(exported.to_pylist()) < len(kept)


def test_a_ledger_is_scored_again_in_another_precision(tmp_path, capsys):
    """The shipped filter in float32, then in bf16 under another name, by the commands."""
    ledger = tmp_path / "ledger"
    notes = {"world": {"level": "nano", "noise": 0.4, "start": 0}, "device": "cpu", "precision": "float32"}
    filters = {"itm": Matcher(shipped("filter"))}
    run(job(filters=filters, notes=notes), PairSet.of(as_pairs(WORLD.web(16), WORLD.level.px)), ledger)
    weights = WEIGHTS / "filter.safetensors"
    words = ("ledger", "score", ledger, "--precision", "bf16", "--device", "cpu", "--filter")
    sentence = refusal(capsys, *words, weights)
    assert "was scored in float32 on cpu, not in bf16 on cpu; give the new scores a name of their own" in sentence
    assert main_ends_well(capsys, *words, f"itm-bf16={weights}")
    assert Ledger.open(ledger).about["scored"] == {"itm-bf16": {"device": "cpu", "precision": "bf16"}}
    found = json.loads(said(capsys, "ledger", "agree", ledger, "--rescored", "itm=itm-bf16", "--json"))
    own = found["columns"]["itm.itm_prob"]
    # bf16 has 8 bits of mantissa: scores move, and by little.
    assert 0 < own["tolerance"] < 0.05 and own["captions"] == found["captions"] == 32
    assert (own["here"]["precision"], own["there"]["precision"]) == ("float32", "bf16") and "torch" in own["versions"]
    assert measurements(Ledger.open(ledger))["itm.itm_prob"][0].tolerance == own["tolerance"]
    assert all(finding.holds for finding in verify(Ledger.open(ledger)))


def main_ends_well(capsys, *words):
    """A command that may draw a bar on stderr."""
    from lab.cli import main

    status = main([str(word) for word in words])
    capsys.readouterr()
    return status == 0


def test_one_filter_has_one_precision(tmp_path):
    ledger = run(job(), pairs(8), tmp_path / "ledger")
    images = {pair.key: pair for pair in pairs(8).images}
    running = {"device": "cpu", "precision": "float32"}
    ledger = score(ledger, {"again": FakeFilter()}, images=images, running=running)
    before = (ledger.folder / "ledger.json").read_bytes()
    score(ledger, {"again": FakeFilter()}, images=images, running=running)
    with pytest.raises(InputError, match="its filter again differs"):
        score(Ledger.open(ledger.folder), {"again": FakeFilter()}, images=images, running=running | {"precision": "bf16"})
    assert (ledger.folder / "ledger.json").read_bytes() == before
    assert agree(ledger, ledger, rescored={"itm": "again"}).columns["itm.itm_prob"].tolerance == 0


def test_what_cannot_be_compared_is_one_sentence(tmp_path, capsys):
    one, other = (run(job(), pairs(n), tmp_path / str(n)) for n in (4, 5))
    agrees = ("ledger", "agree", one.folder)
    assert "There is nothing to compare" in refusal(capsys, *agrees)
    assert "There is nothing to compare" in refusal(capsys, *agrees, one.folder)
    assert "has no filter 'bf16'; it has itm." in refusal(capsys, *agrees, "--rescored", "itm=bf16")
    assert "--rescored 'itm' must be NAME=AGAIN" in refusal(capsys, *agrees, "--rescored", "itm")
    foreign = run(job(filters={"itm": FakeFilter("other")}), pairs(4), tmp_path / "foreign")
    assert "are of different weights" in refusal(capsys, *agrees, foreign.folder)
    apart = [replace(pair, key=f"x{pair.key}") for pair in as_pairs(ITEMS[:4], WORLD.level.px)]
    strange = run(job(), PairSet.of(apart), tmp_path / "strange")
    assert "have no caption in common" in refusal(capsys, *agrees, strange.folder)
    assert not (one.folder / FILE).exists() and agree(one, other).captions == 8


def test_a_policy_over_other_filters():
    policy = Policy(filter="itm", weighted_sum=("itm.itm_prob:0.1", "clip.s:2"), union=("itm.itc:0.3",), per_image=2)
    assert policy.renamed({"itm": "itm-bf16"}) == Policy(
        filter="itm-bf16", weighted_sum=("itm-bf16.itm_prob:0.1", "clip.s:2.0"), union=("itm-bf16.itc:0.3",), per_image=2
    )
