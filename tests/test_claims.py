"""The claims: the paper's numbers, arms that exist, values by hand, and what the report writes."""

import csv
import io
import json
import shlex
from dataclasses import replace

import pytest

from blip.errors import InputError
from lab import claim_figures, claims_report, paper
from lab.ablation.plan import Cell, ids
from lab.ablation.scales import scaled
from lab.ablations import ABLATIONS, ablation
from lab.arms_report import published
from lab.claim import R1, Correlated, Difference, over, value_at
from lab.claim_answers import sentence
from lab.claims import CLAIMS
from lab.cli import main
from lab.commands import ablate
from lab.records import RESULTS
from lab.runs import Home
from lab.stats import EQUIVALENT, OPPOSITE, REPRODUCED, UNDECIDED
from lab.verdicts import _hits, at_ceiling, decided, samples_told, seeds_of, to_be_gained

BY_ID = {claim.id: claim for claim in CLAIMS}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_names_arms_that_exist_and_was_stated_before(claim):
    for name in claim.value.arms:
        assert ablation(claim.ablation).arm(name).about
    assert claim.margin >= 0 and claim.seeds >= 3 and claim.says.endswith((".", ")."))
    assert claim.source.startswith("Table") == (claim.source in {f"Table {n}" for n in (1, 2, 3, 4, 8, 12, 13)})


def test_the_help_of_ablate_names_every_ablation():
    named = ablate.Options.__doc__.split("Names:")[1].replace("\n", " ").rstrip(". ").split(",")
    assert [name.strip() for name in named] == list(ABLATIONS)


def test_claims_of_tables_1_to_4_need_five_seeds():
    assert {claim.seeds for claim in CLAIMS if claim.source in {f"Table {n}" for n in range(1, 5)}} == {5}
    assert len(BY_ID) == len(CLAIMS)
    assert set(ABLATIONS) - {claim.ablation for claim in CLAIMS} == {"threshold", "sampling", "rates"}  # they describe


@pytest.mark.parametrize(
    ("claim", "points"),
    [
        ("capfilt", (2.2, 2.4, 0.9, 2.8, 0.6, 1.9, 2.9, 0.5)),
        ("filter", (0.7, 0.8, 0.2, 0.7, 0.1, 0.4, 0.5, 0.1)),
        ("captioner", (1.3, 1.3, 0.5, 1.5, 0.4, 1.1, 1.2, 0.3)),
        ("more-web", (2.3, 2.3, 1.7, 1.4, 0.6, 1.3, 0.9, 0.1)),
        ("larger-image-encoder", (1.8, 1.0, 1.6, 1.2, 0.1, 1.2, 0.7, 0.1)),
        ("nucleus", (1.0, 1.2, 0.7, 1.8, 0.2, 0.8, 1.6, 0.2)),
        ("sharing-over-none", (0.1, 0.2, 0.3, 0.2, 0.2, 0.4, 0.4, 0.0)),
        ("sharing-over-all", (1.1, 1.2, 0.8, 1.1, 0.8, 1.9, 1.3, 0.8)),
        ("decoupled", (0.8, 0.9, 0.5, 1.2, 0.2, 0.7, 1.6, 0.2)),
        ("new-model", (0.0, 0.1, 0.3, 0.3, 0.1, -0.2, 0.6, 0.2)),
    ],
)
def test_the_papers_differences_are_those_worked_out_by_hand(claim, points):
    assert BY_ID[claim].published == points


def test_longer_training_in_the_paper_changes_little():
    gain = paper.gain(paper.TABLE12, "24.7M texts, replicated", "15.3M texts")
    assert gain == (-0.1, -0.2, -0.2, 0.1, -0.1, -0.1, -0.1, 0.1)


def results(**values):
    """What arms found of one seed, as far as R1 goes."""
    return {name: {"worth": {"retrieval": {"all": {"r1": value}}}} for name, value in values.items()}


def named(**values):
    return {name.replace("_", " ").replace("web", "web,").replace("CapFilt", "CapFilt,"): v for name, v in results(**values).items()}


def test_table_12_holds_only_where_longer_training_changes_less_than_half():
    gain, loss = BY_ID["longer-gains-little"].value, BY_ID["longer-loses-little"].value
    # CapFilt has 0.10 over repeated web texts, of which half is 0.05; longer training gives +0.02.
    cells = named(web_1=0.50, web_r=0.52, CapFilt_r=0.62)
    assert (gain.of(cells), loss.of(cells)) == (pytest.approx(0.03), pytest.approx(0.07))
    cells = named(web_1=0.50, web_r=0.57, CapFilt_r=0.62)  # +0.07 of 0.05: longer training explains it
    assert gain.of(cells) == pytest.approx(-0.045) and loss.of(cells) > 0
    cells = named(web_1=0.57, web_r=0.50, CapFilt_r=0.55)
    assert gain.of(cells) > 0 and loss.of(cells) == pytest.approx(-0.045)


def test_values_by_hand():
    cells = results(a=0.5, b=0.3, c=0.4)
    assert over("a", "b").of(cells) == pytest.approx(0.2) and over("a", "b").arms == ("a", "b")
    assert Correlated(("a", "b", "c"), R1, R1).of(cells) == pytest.approx(1.0)
    assert Difference((("a", R1, 2.0), ("b", R1, 1.0))).of(cells) == pytest.approx(1.3)
    assert Difference((("x", "bias.bias", 1.0),)).of({"x": {"bias": {"bias": None}}}) is None
    with pytest.raises(InputError, match="no worth.cider"):
        value_at(cells["a"], "worth.cider")
    with pytest.raises(InputError, match="no ablation 'tabel1', did you mean 'table1'"):
        ablation("tabel1")
    with pytest.raises(InputError, match="has no arm 'X'; choose one of none, both, F"):
        ablation("table1").arm("X")
    with pytest.raises(InputError, match="shared, twins, 'joint captioner', .*, 'shared, longer', 'twins, longer'"):
        ablation("bias").arm("X")


def test_arms_of_several_words_need_no_quotation_marks():
    def named(of, *words):
        return [arm.name for arm in ablation(of).named(words)]

    assert named("bias", "shared,", "longer", "twins,", "longer") == ["shared, longer", "twins, longer"]
    assert named("bias", "shared", "twins, longer", "joint", "filter") == ["shared", "twins, longer", "joint filter"]
    assert named("strictness", "0.5", "synthetic", "0.8") == ["0.5", "synthetic 0.8"] and named("table1") == []
    with pytest.raises(InputError, match="no arm 'longer'"):
        named("bias", "shared", "longer")


def test_the_commands_of_records_name_their_arms():
    """As they are printed, those too that were written before commands were quoted."""
    for path in sorted((RESULTS / "ablations").glob("*.json")):
        for command in commands_of(json.loads(path.read_text())):
            words = shlex.split(command)
            if "--only" in words:
                assert ablation(words[2]).named(words[words.index("--only") + 1 :]), command


def commands_of(value):
    """Of a record and of the earlier ones that it holds."""
    if isinstance(value, dict):
        yield from (one for name, one in value.items() if name == "command")
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from commands_of(one)


def test_seeds_that_chose_the_arms_do_not_count():
    claim = BY_ID["sharing-over-none-best-rates"]
    found = {arm: {seed: worth(0.5 + 0.1 * at, "0" * 60) for seed in range(3)} for at, arm in enumerate(claim.value.arms)}
    assert claim.chosen_on == (0,) and seeds_of(claim, found) == [1, 2]
    rows = {row["claim"]: row for row in decided("table3-rates", found)}
    assert set(rows[claim.id]["values"]) == {"1", "2"}


def test_arms_near_100_percent_can_show_no_difference_that_counts():
    claim = BY_ID["nucleus-diversity"]
    arms = {arm: {"0": worth(0.99, "0" * 60), "1": worth(1.0, "0" * 60)} for arm in claim.value.arms}
    assert at_ceiling(claim, arms) and claim.margin == 0.01
    arms["beam, truth"]["1"] = worth(0.985, "0" * 60)
    assert not at_ceiling(claim, arms)
    assert not at_ceiling(BY_ID["bias-shared"], {"shared": {"0": {"bias": {"bias": 1.0}}}})
    assert not at_ceiling(claim, {})


def test_what_the_arm_to_beat_leaves_to_be_gained():
    claim = BY_ID["truth-over-itm"]
    arms = {"truth": {"0": worth(0.99, "0" * 60)}, "ITM": {"0": worth(0.98, "0" * 60), "1": worth(0.5, "0" * 60)}}
    assert to_be_gained(claim, arms) == ("ITM", pytest.approx(0.02))  # of the seeds that both have
    assert to_be_gained(claim, {"ITM": arms["ITM"]}) is None
    assert to_be_gained(BY_ID["noise-raises-gain"], {}) is None
    rows = decided("filters", {name: {int(seed): one for seed, one in own.items()} for name, own in arms.items()})
    record = {"result": {"ablation": "filters", "scale": "cpu", "arms": {name: {"seeds": own} for name, own in arms.items()}, "claims": rows}}
    (row,) = [one for one in claims_report.decided_of([record]) if one.claim is claim]
    assert row.note == "Ceiling: the control is already at 98.0%, so at most +2.0 is possible."
    arms["ITM"]["0"] = worth(0.97, "0" * 60)
    record["result"]["arms"]["ITM"]["seeds"] = arms["ITM"]
    assert [one.note for one in claims_report.decided_of([record]) if one.claim is claim] == [""]


def test_of_two_gains_the_smaller_room_is_told():
    shares = {"both, noise 80%": 0.9, "none, noise 80%": 0.4, "both, noise 20%": 0.98, "none, noise 20%": 0.95}
    arms = {arm: {"0": worth(share, "0" * 60)} for arm, share in shares.items()}
    assert to_be_gained(BY_ID["noise-raises-gain"], arms) == ("none, noise 20%", pytest.approx(0.05))
    rows = decided("noise", {name: {int(seed): one for seed, one in own.items()} for name, own in arms.items()})
    record = {"result": {"ablation": "noise", "scale": "cpu", "arms": {name: {"seeds": own} for name, own in arms.items()}, "claims": rows}}
    told = {one.claim.id: one for one in claims_report.decided_of([record])}
    assert told["noise-raises-gain"].note == "Ceiling: 'none, noise 20%' is already at 95.0%, so at most +5.0 is possible there."
    assert told["noise-raises-share"].row["effect"] == pytest.approx(0.5 / 0.6 - 0.03 / 0.05)
    assert to_be_gained(BY_ID["longer-gains-little"], {}) is None  # compares no arms two by two


def test_a_control_that_leaves_nothing_has_no_rest_to_take():
    share = BY_ID["noise-raises-share"].value
    cells = results(**dict.fromkeys(share.arms, 0.5))
    assert share.of(cells) == 0
    assert share.of(cells | results(**{"none, noise 20%": 1.0})) is None


def test_no_two_claims_are_decided_by_the_same_runs(tmp_path):
    """Else one experiment would count twice."""
    recipe, home, known = scaled("cpu"), Home(tmp_path), {}
    for claim in CLAIMS:
        if isinstance(claim.value, Difference):
            table = ablation(claim.ablation)
            runs = {arm: ids(Cell(table.arm(arm), 1), recipe, home) for arm in claim.value.arms}
            terms = frozenset((runs[arm][metric.split(".")[0]], metric, weight) for arm, metric, weight in claim.value.terms)
            assert known.setdefault(terms, claim.id) == claim.id


@pytest.mark.parametrize("path", sorted((RESULTS / "ablations").glob("*-cpu.json")), ids=lambda path: path.stem)
def test_the_committed_records_decide_the_claims_as_they_are_stated_now(path):
    """A claim that is stated anew must not show what an older record says of its name."""
    result = json.loads(path.read_text())["result"]
    arms = {name: {int(seed): one for seed, one in arm["seeds"].items()} for name, arm in result["arms"].items()}
    now, then = ({row["claim"]: (row["says"], row["values"], row["margin"], row["verdict"]) for row in rows} for rows in (decided(result["ablation"], arms), result["claims"]))
    assert then == now


def test_no_margin_is_as_large_as_what_it_judges():
    for claim in CLAIMS:
        path = RESULTS / "ablations" / f"{claim.ablation}-cpu.json"
        if not path.exists() or not isinstance(claim.value, Difference) or claim.value.metrics == ("bias.bias",):
            continue
        arms = json.loads(path.read_text())["result"]["arms"]
        found = [[value_at(one, metric) for one in arms[arm]["seeds"].values()] for arm, metric, _ in claim.value.terms if arm in arms]
        means = [sum(own) / len(own) for own in found if own]
        assert not means or claim.margin <= 0.1 * max(means), claim.id


def worth(r1, digits):
    images = len(digits) // 3
    found = {"r1": r1, "tr1": digits[:images].count("1") / images, "images": images}
    return {"worth": {"retrieval": {"all": found}, "items": {"r1": digits}}}


def found(seeds, gain, arms=("both", "none")):
    """Two arms over seeds: 40 images and 80 texts, of which twice `gain` more images find their text.

    What they differ by varies by next to nothing: differences that are all equal decide nothing.
    """
    own = {arms[0]: {}, arms[1]: {}}
    for seed in range(seeds):
        hits = 2 * (5 + seed % 2)
        own[arms[1]][seed] = worth(hits / 80 + 0.25, "1" * hits + "0" * (40 - hits) + "10" * 40)
        more = hits + 2 * gain
        own[arms[0]][seed] = worth(more / 80 + 0.25 + 1e-9 * seed, "1" * more + "0" * (40 - more) + "10" * 40)
    return own


def test_an_image_and_its_texts_are_one_item():
    each = [3, 1, 2]
    found = {"worth": {"retrieval": {"all": {"images": 3}}, "items": {"r1": "101" + "110" + "0" + "01", "texts": each}}}
    tr, ir = [1, 0, 1], [2, 0, 1]  # hits of images, and of their texts
    assert list(_hits(found, "r1")) == pytest.approx([(a + b * 3 / 6) / 2 for a, b in zip(tr, ir, strict=True)])
    assert _hits(found, "r1").mean() == pytest.approx((2 / 3 + 3 / 6) / 2)
    del found["worth"]["items"]["texts"]  # two texts each
    assert list(_hits(found, "r1")) == pytest.approx([(a + b * 3 / 6) / 2 for a, b in zip(tr, [2, 0, 1], strict=True)])


def test_claims_are_decided_from_what_cells_found():
    (row,) = decided("table1", found(5, 3))
    assert (row["claim"], row["seeds"], row["verdict"]) == ("capfilt", 5, REPRODUCED)
    assert row["effect"] == pytest.approx(3 / 40) and row["interval"] == pytest.approx([3 / 40, 3 / 40])
    low, high = row["items_interval"]
    assert low < 3 / 40 < high
    (row,) = decided("table1", found(4, 3))
    assert row["verdict"] == UNDECIDED
    (row,) = decided("table1", found(1, 3))
    assert row["interval"] == [None, None] and json.dumps(row)
    (row,) = decided("table1", found(5, 0))
    assert row["verdict"] == EQUIVALENT
    assert decided("table1", {"both": {}, "none": {}}) == []
    uneven = found(5, 3)
    del uneven["both"][2]
    assert seeds_of(BY_ID["capfilt"], uneven) == [0, 1, 3, 4]


def a_record(scale, seeds=5, gain=3):
    cells = found(seeds, gain)
    arms = {name: {"about": name, "seeds": {str(s): one for s, one in own.items()}} for name, own in cells.items()}
    claims = decided("table1", cells)
    about = {"question": ABLATIONS["table1"].question, "source": "Table 1"}
    return {"commit": "abc", "result": {"ablation": "table1", "scale": scale, "arms": arms, "claims": claims} | about}


@pytest.fixture
def records(tmp_path):
    folder = tmp_path / "records"
    folder.mkdir()
    for scale in ("cpu", "smoke", "gpu"):
        (folder / f"table1-{scale}.json").write_text(json.dumps(a_record(scale, gain=0 if scale == "gpu" else 3)))
    return folder


def test_the_report_has_the_papers_numbers_beside_ours(records, tmp_path, capsys):
    assert main(["report", "--records", str(records), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "| Captioner and filter together help. (cpu) | +2.2 / +2.4 / +2.9 | +7.5 | +7.5 to +7.5 | +" in said
    assert said.count(" | 1.0 | 5 | reproduced |") == 1 and "| smallest effect of interest |" in said
    assert "2 have a number in the paper: 1 reproduced, 0 opposite, 1 equivalent, 0 undecided." in said
    assert "(gpu)" in said and "equivalent" in said and "smoke" not in said
    out = tmp_path / "out"
    assert (out / "claims.md").read_text() in said
    rows = list(csv.DictReader(io.StringIO((out / "claims.csv").read_text())))
    assert [(row["claim"], row["scale"], row["COCO TR@1"]) for row in rows] == [("capfilt", "cpu", "2.2"), ("capfilt", "gpu", "2.2")]
    assert float(rows[0]["effect"]) == pytest.approx(3 / 40)
    tex = (out / "claims.tex").read_text()
    assert tex.count(r"\\") == 3 and r"95\% interval" in tex and "reproduced" in tex
    assert {path.name for path in out.glob("*.png")} == {"claims.png", "table1-cpu.png", "table1-gpu.png"}
    arms = (out / "arms.md").read_text()
    # Rows of the paper's Table 1; five seeds of 5 or 6 hits of 20 images, and 3 more.
    assert "| both | 5 | not noted | not noted | 42.0 ± 2.7 | 80.6 / 63.1 / 129.7 |" in arms
    assert arms.count("## Do captioner and filter help") == 2 and "smoke" not in arms
    lines = list(csv.DictReader(io.StringIO((out / "arms.csv").read_text())))
    assert {row["metric"] for row in lines} == {"TR@1"} and len(lines) == 2 * 2 * 5
    assert [float(row["value"]) for row in lines[:3]] == pytest.approx([8 / 20, 9 / 20, 8 / 20])


def test_records_from_when_arms_had_words_of_their_own_say_so():
    record = a_record("cpu")
    (one,) = claims_report.decided_of([record])
    assert one.note == one.claim.note == ""  # nothing is noted at all
    budget = {"samples": 96_000, "texts": 9, "epochs": 1.0}
    record["result"]["budgets"] = {name: {str(seed): budget for seed in range(5)} for name in ("both", "none")}
    (one,) = claims_report.decided_of([record])
    assert "a vocabulary of its own texts" in one.note and "a vocabulary of its own texts" in sentence(one)
    for own in record["result"]["budgets"].values():
        own.update({seed: budget | {"vocabulary": "a1b2c3d4"} for seed in own})
    (one,) = claims_report.decided_of([record])
    assert one.note == ""
    assert not BY_ID["bias-shared"].of_students and BY_ID["decoupled"].of_students


def test_a_claim_says_how_many_samples_its_arms_saw_where_they_differ():
    claim = BY_ID["longer-gains-little"]
    each = {"web, 1": (100, 100), "web, r": (98, 120), "CapFilt, r": (98, 120)}
    budgets = {arm: {str(seed): {"samples": own} for seed, own in enumerate(samples)} for arm, samples in each.items()}
    assert samples_told(claim, budgets, ["0", "1"]) == (
        "'CapFilt, r' sees 0.98 to 1.20 times the samples of 'web, 1'; 'web, r' sees 0.98 to 1.20 times the samples of 'web, 1'."
    )
    assert samples_told(claim, budgets, ["1"]).startswith("'CapFilt, r' sees 1.20 times the samples of 'web, 1';")
    assert samples_told(BY_ID["not-longer-training"], budgets, ["0", "1"]) == ""  # both saw as many
    assert samples_told(claim, {"web, 1": budgets["web, 1"]}, ["0"]) == samples_told(claim, budgets, []) == ""


def with_budgets(**samples):
    """A record that notes each arm's samples, drawn from 8,000 texts."""
    record = a_record("cpu")
    one = lambda own: {"samples": own, "texts": 8_000, "epochs": own / 8_000}
    record["result"]["budgets"] = {name: {str(s): one(own) for s in range(5)} for name, own in samples.items()}
    return record


def test_a_claim_whose_arms_differ_in_samples_is_refused_unless_it_is_declared(tmp_path, capsys):
    folder = tmp_path / "records"
    folder.mkdir()
    (folder / "table1-cpu.json").write_text(json.dumps(with_budgets(both=96_000, none=48_000)))
    assert main(["report", "--records", str(folder), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "'both' saw 96,000 samples and 'none' 48,000" in error and error.count("\n") == 1
    (folder / "table1-gpu.json").write_text(json.dumps(a_record("gpu")))
    assert main(["report", "--records", str(folder), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "(gpu)" in said.out and "together help. (cpu)" not in said.out
    assert said.err.strip() in (tmp_path / "out" / "claims.md").read_text()
    assert "| both | 5 | 96,000 | 12.00 | 42.0" in (tmp_path / "out" / "arms.md").read_text()
    (folder / "table1-cpu.json").write_text(json.dumps(with_budgets(both=96_000, none=96_000)))
    assert main(["report", "--records", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == ""


def test_the_papers_rows_stand_beside_the_arms():
    assert published("table4", "shared") == "79.8 / 62.2 / 129.0, filtered 8%"
    assert published("table3", "none") == "78.3 / 60.5 / 127.4, 361M parameters"
    assert published("nlvr", "both") == "NLVR2 dev 82.67, test-P 82.30"
    assert published("nlvr", "none") == published("nlvr", "more web") == "-"  # Table 8 is with CapFilt throughout
    assert published("table2", "beam, truth") == published("mixes", "union") == "-"


def test_nothing_to_report_is_one_sentence(tmp_path, capsys):
    assert main(["report", "--records", str(tmp_path)]) == 2
    assert "run lab ablate NAME first" in capsys.readouterr().err
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match=r"x.json is no record of lab ablate"):
        claims_report.read_records(tmp_path)


def test_the_page_block_reads_the_committed_records(records, monkeypatch, tmp_path):
    monkeypatch.setattr(claims_report.read_records, "__defaults__", (tmp_path / "none", None))
    assert claims_report.block().startswith("No ablation has been run")
    monkeypatch.setattr(claims_report.read_records, "__defaults__", (records, None))
    assert "| reproduced |" in claims_report.block() and "`abc`" in claims_report.block()


def test_the_sweep_is_drawn():
    shares = [1.0, 0.5, None]
    swept = {
        "thresholds": [0.0, 0.5, 1.0],
        "kept": {"web": [1.0, 0.5, 0.0], "near_miss": [1.0, 0.2, 0.0]},
        "precision": {"web": shares, "synthetic": shares},
        "recall": {"web": [1.0, 0.9, 0.0], "synthetic": [1.0, 0.8, 0.0]},
    }
    left, right = claim_figures.sweep(swept).axes
    assert [line.get_label() for line in left.lines] == ["web", "near miss"]
    assert list(right.lines[0].get_xdata()) == [1.0, 0.9]  # what keeps nothing has no precision


def test_effects_are_drawn_in_points():
    (one,) = claims_report.decided_of([a_record("cpu")])
    figure = claim_figures.effects([one, replace(one, scale="gpu")])
    (axes,) = figure.axes
    at = {mark: [line.get_xdata()[0] for line in axes.lines if line.get_marker() == mark] for mark in "ov"}
    assert at["o"] == pytest.approx([7.5, 7.5])
    assert at["v"] == pytest.approx([2.3, 2.3])  # the paper's +2.2 and +2.4


def decided_of_two(claim, effect, interval, **outcomes):
    """A decided claim of two arms, with differences in other outcomes (path's last name -> one a seed)."""
    arms = {arm: {str(seed): {"worth": {"captions": {"all": {}}, "retrieval": {"all": {"r1": 0.5}}}} for seed in range(5)} for arm in claim.value.arms}
    for name, differences in outcomes.items():
        for at, arm in enumerate(claim.value.arms):
            for seed, difference in enumerate(differences):
                arms[arm][str(seed)]["worth"]["captions"]["all"][name] = 0.5 if at else 0.5 + difference
    row = {"claim": claim.id, "says": claim.says, "values": dict.fromkeys(map(str, range(5)), effect), "effect": effect, "interval": interval, "items_interval": None}
    row |= {"margin": claim.margin, "size": None, "seeds": 5, "fewest_seeds": claim.seeds, "verdict": REPRODUCED if interval[0] > 0 else UNDECIDED}
    record = {"result": {"ablation": claim.ablation, "scale": "cpu", "arms": {arm: {"seeds": own} for arm, own in arms.items()}, "claims": [row]}}
    (one,) = claims_report.decided_of([record])
    return one


def test_what_the_paper_has_no_number_for_holds_and_is_not_reproduced():
    papers = decided_of_two(BY_ID["capfilt"], 0.2, [0.1, 0.3])
    own = decided_of_two(BY_ID["capfilt-combinations"], 0.2, [0.1, 0.3])
    assert (papers.word, own.word) == ("reproduced", "holds") and own.row["verdict"] == REPRODUCED
    assert claims_report.cells(own)[-1] == "holds" and sentence(own).startswith("**Holds: Among combinations")
    assert claims_report.tally([papers, own, replace(own, row=own.row | {"verdict": UNDECIDED})]) == (
        "1 has a number in the paper: 1 reproduced, 0 opposite, 0 equivalent, 0 undecided. The other 2 are the field's questions, our own, "
        "or the paper's where it has no such number: 1 found to hold, 0 opposite, 0 equivalent, 1 undecided."
    )
    assert claims_report.tally([own]).startswith("All 1 are the field's questions") and "other" not in claims_report.tally([papers])
    assert ",reproduced" in claims_report.table_csv([own])  # files for machines keep the records' word


def test_a_mean_that_is_smaller_than_what_counts_says_so_on_every_page():
    claim = BY_ID["capfilt"]
    one = decided_of_two(claim, 0.009, [0.003, 0.015])
    said = "reproduced (above 0, and smaller than what counts)"
    assert claims_report.cells(one)[-1] == said and sentence(one).startswith(f"**{said.capitalize()}: ")
    assert decided_of_two(claim, 0.011, [0.003, 0.019]).judged == "reproduced"
    assert not decided_of_two(claim, 0.005, [-0.003, 0.013]).is_small  # undecided
    below = replace(one, row=one.row | {"effect": -0.009, "verdict": OPPOSITE})
    assert below.judged == "opposite (below 0, and smaller than what counts)"
    (axes,) = claim_figures.effects([one]).axes
    assert [text.get_text() for text in axes.texts] == ["+0.9  reproduced, too small to count\n5 seeds, cpu"]


def test_a_claim_says_which_other_outcomes_go_the_other_way():
    falls, rises = [-0.05, -0.06, -0.07, -0.06, -0.06], [0.05, 0.06, 0.07, 0.06, 0.06]
    one = decided_of_two(BY_ID["captioner"], 0.2, [0.1, 0.3], strictly_true=falls, cider=falls)
    half = 2.7764451051977987 * 0.00707106781186548 / 5**0.5  # Student's t with four degrees of freedom
    bounds = f"{100 * (-0.06 - half):+.1f} to {100 * (-0.06 + half):+.1f}"
    assert one.note == (
        f"Decided by R@1 alone, while other outcomes go the other way: strictly true captions -6.0 ({bounds}); CIDEr-D -6.0 hundredths ({bounds}), "
        "where the paper's CIDEr rises (NoCaps +1.2)."
    )
    assert one.note in sentence(one) and claims_report.cells(one)[-1] == "reproduced; the other way: strictly true captions; CIDEr-D"
    assert decided_of_two(BY_ID["captioner"], 0.2, [0.1, 0.3], strictly_true=rises, cider=[-0.1, 0.1, -0.1, 0.1, 0.0]).note == ""
    undecided = decided_of_two(BY_ID["captioner"], -0.02, [-0.1, 0.06], strictly_true=rises)
    assert undecided.note.startswith("Judged by R@1 alone, while another outcome goes the other way: strictly true captions +6.0 (")
    truer = decided_of_two(BY_ID["stricter-synthetic"], 0.2, [0.1, 0.3], strictly_true=rises, cider=falls)
    assert not truer.contrary  # not decided by R@1


def test_what_table_3_says_of_the_learning_rate_is_what_the_records_say():
    found = {one.claim.id: one for one in claims_report.decided_of(claims_report.read_records())}
    arms = {name: read_arms(name) for name in ("table3", "table3-rates")}
    r1 = lambda table, arm: sum(own := [value_at(one, R1) for seed, one in arms[table][arm]["seeds"].items() if seed != "0"]) / len(own)
    for row, best in (("all-but-ca", "all-but-ca, 0.0005"), ("none", "none, 0.001")):
        other = found[f"sharing-over-{row}-best-rates"]
        assert f"the difference is undecided: '{other.claim.says}'" in found[f"sharing-over-{row}"].note and other.word == UNDECIDED
        assert r1("table3", row) < r1("table3-rates", best) - 0.05
    assert "best" not in found["sharing-over-all"].note


def read_arms(name):
    return json.loads((RESULTS / "ablations" / f"{name}-cpu.json").read_text())["result"]["arms"]
