"""What decides over a ledger where nobody says more, the same for capfilt, every ledger command and the studio."""

import json
from contextlib import closing

import pyarrow.parquet as pq
import pytest
from data_files import encoded, picture
from fake_models import FakeCaptioner, FakeFilter
from plugin_models import clip_folder

from apps.service import Service
from blip.capfilt import Job, Ledger, Policy, decide, decide_duckdb, run, usual
from blip.capfilt.decide import deciding_column
from blip.capfilt.diff import diff
from blip.capfilt.scoring import score
from blip.data.pairs import Pair
from blip.data.pairset import PairSet
from blip.errors import InputError
from lab.cli import main

ITM = "blip/weights/filter.safetensors"


class Cosine(FakeFilter):
    """A filter with one score that is no match probability."""

    columns = ("cosine",)

    def __call__(self, prepared, texts):
        return [[row[:1] for row in own] for own in super().__call__(prepared, texts)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    for n in range(5):
        (folder / f"{n}.png").write_bytes(encoded(picture(n, (40, 30)), "PNG"))
    (folder / "pairs.json").write_text(json.dumps([{"image": f"{n}.png", "caption": f"a red ball {n}"} for n in range(5)]))
    clip_folder(folder / "clip")
    return folder


def ledger(folder, **filters):
    pairs = PairSet.of([Pair(f"k{n}", f"a caption {n}", encoded(picture(n), "PNG")) for n in range(9)])
    return run(Job(captioner=FakeCaptioner(), filters=filters), pairs, folder)


def test_the_filter_itm_decides_whatever_others_there_are(tmp_path):
    found = ledger(tmp_path, clip=Cosine("clip"), mine=FakeFilter("mine"), itm=FakeFilter("itm"))
    assert usual(found) == Policy() and usual(found, Policy(web=0.3)) == Policy(web=0.3)
    other = Policy(filter="clip", column="cosine", web=0.1)
    assert usual(found, other) is other


def test_without_it_the_first_match_probability_decides_and_thresholds_stay(tmp_path):
    found = ledger(tmp_path, clip=Cosine("clip"), mine=FakeFilter("mine"), yours=FakeFilter("yours"))
    assert usual(found) == Policy(filter="mine")
    assert usual(found, Policy(web=0.2, per_image=1)) == Policy(filter="mine", web=0.2, per_image=1)
    assert usual(found, Policy(column="itc")) == Policy(filter="mine", column="itc")
    assert usual(found, Policy(column="cosine")) == Policy(filter="clip", column="cosine")
    mistyped = Policy(column="itm_probb")
    assert usual(found, mistyped) is mistyped
    with pytest.raises(InputError):
        decide(found, mistyped)
    summed = Policy(weighted_sum=("clip.cosine:1.0",))
    assert usual(found, summed) is summed
    by_name = decide(found, Policy(filter="mine"))
    assert decide(found).equals(by_name) and decide_duckdb(found).equals(by_name)


def test_without_any_match_probability_the_first_score_of_the_first_filter_decides(tmp_path):
    found = ledger(tmp_path, late=Cosine("late"), early=Cosine("early"))
    assert usual(found) == Policy(filter="late", column="cosine")
    assert deciding_column(["cosine", "other"]) == "cosine" and deciding_column(["itm_logit", "itm_prob"]) == "itm_prob"


def test_a_filter_that_is_called_itm_and_gives_no_match_probability_decides_by_what_it_gives(tmp_path):
    assert usual(ledger(tmp_path / "a", itm=Cosine("clip"))) == Policy(column="cosine")
    assert usual(ledger(tmp_path / "b", itm=Cosine("clip"), mine=FakeFilter("mine"))) == Policy(filter="mine")


def test_a_filter_that_has_not_scored_all_decides_only_where_no_other_has(tmp_path):
    pairs = PairSet.of([Pair(f"k{n}", f"a caption {n}", encoded(picture(n), "PNG")) for n in range(6)])
    found = run(Job(captioner=FakeCaptioner(), filters={"mine": FakeFilter("mine")}, images_per_shard=2), pairs, tmp_path)
    score(found, {"itm": FakeFilter("other")}, images={pair.key: pair for pair in pairs})
    assert usual(Ledger.open(tmp_path)) == Policy()
    (tmp_path / "manifest" / "scores.itm-00001.json").unlink()
    assert usual(Ledger.open(tmp_path)) == Policy(filter="mine")
    (tmp_path / "manifest" / "scores.mine-00001.json").unlink()
    assert usual(Ledger.open(tmp_path)) == Policy()


@pytest.mark.parametrize("broken", [{"images_per_shard": 0}, {"images_per_shard": None}, {"data": {"images": "six"}}, {"data": {}}])
def test_a_ledger_that_does_not_tell_its_size_is_decided_too(broken, tmp_path):
    found = ledger(tmp_path, mine=FakeFilter("mine"))
    found.about.update(broken)
    assert usual(found) == Policy(filter="mine")


def test_ledgers_whose_filters_have_other_names_are_compared_each_by_its_own(tmp_path, capsys):
    mine, itm, clip = (ledger(tmp_path / name, **{name: filter}) for name, filter in (("mine", FakeFilter("same")), ("itm", FakeFilter("same")), ("clip", Cosine("clip"))))
    assert diff(mine, itm).score_drift == 0.0 and diff(mine, clip).score_drift is None
    assert main(["ledger", "diff", str(mine.folder), str(itm.folder), "--web", "0.4"]) == 0
    said = capsys.readouterr().out
    assert "kept by mine.itm_prob, web >= 0.4, synthetic >= 0.5 and itm.itm_prob, web >= 0.4" in said


def test_what_the_studio_decides_by_stays_where_a_filter_is_added(tmp_path):
    found = ledger(tmp_path, mine=FakeFilter("mine"))
    with closing(Service.open(found.folder)) as service:
        score(found, {"itm": FakeFilter("other")}, images={f"k{n}": Pair(f"k{n}", "", encoded(picture(n), "PNG")) for n in range(9)})
        assert usual(Ledger.open(tmp_path)) == Policy() and service.over(Policy(web=0.2)) == Policy(filter="mine", web=0.2)


def test_the_studio_opens_a_ledger_whose_filter_has_another_name(tmp_path):
    named, plain = (ledger(tmp_path / name, **{name: FakeFilter("same")}) for name in ("mine", "itm"))
    answers = []
    for one in (named, plain):
        with closing(Service.open(one.folder)) as service:
            answers.append((service.tallies(Policy()), service.curves, service.histograms, service.view_counts(Policy(web=0.3))))
    assert answers[0] == answers[1]
    assert decide(named)["kept"].to_pylist() == decide(plain)["kept"].to_pylist()


def test_the_studio_says_how_a_ledger_without_match_probability_comes_to_one(tmp_path):
    found = ledger(tmp_path, clip=Cosine("clip"))
    with pytest.raises(InputError, match=r"no match probability \(its filters: clip\).*add one with lab ledger score .* --filter WEIGHTS"):
        Service.open(found.folder)


@pytest.mark.parametrize("first", ["mine", "clip"])
def test_what_capfilt_prints_is_what_every_command_decides(first, place, tmp_path, capsys):
    filters = {"mine": ["--filter", f"mine={ITM}"], "clip": ["--filter", f"open_clip:{place / 'clip'}", "--filter", ITM]}[first]
    words = ["--data", str(place / "pairs.json"), "--captioner", "blip/weights/captioner.safetensors", *filters]
    out = tmp_path / "ledger"
    low, named = ["--web", "0.06", "--synthetic", "0.06"], ["--web-threshold", "0.06", "--synthetic-threshold", "0.06"]
    assert main(["capfilt", *words, *named, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    decider = "mine" if first == "mine" else "itm"
    assert f"kept by {decider}.itm_prob, web >= 0.06" in said and f"look at it with: lab studio {out}" in said
    summary = json.loads((out / "summary.json").read_text())["kept"]
    assert 0 < sum(summary.values()) < 10
    assert main(["ledger", "summary", str(out), *low, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == summary
    assert main(["ledger", "export", str(out), "--out", str(tmp_path / "list.json"), "--format", "json", *low, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == sum(summary.values())
    assert main(["ledger", "decide", str(out), "--out", str(tmp_path / "v.parquet"), *low]) == 0
    assert sum(pq.read_table(tmp_path / "v.parquet")["kept"].to_pylist()) == sum(summary.values())
    audit = ["audit", str(out), "--out", str(tmp_path / "a.csv"), "--size", "10"]
    for command in (["show", str(out), "0"], ["card", str(out)], ["diff", str(out), str(out)], audit):
        assert main(["ledger", *command]) == 0, command
    assert f"{decider}.itm_prob" in (out / "DATACARD.md").read_text()


def test_the_thresholds_of_a_run_decide_where_a_command_gives_none(place, tmp_path, capsys):
    words = ["--data", str(place / "pairs.json"), "--captioner", "blip/weights/captioner.safetensors", "--filter", ITM]
    out, plain = tmp_path / "ledger", tmp_path / "plain"
    for folder, named in ((out, ["--web-threshold", "0.06", "--synthetic-threshold", "0.04"]), (plain, [])):
        assert main(["capfilt", *words, *named, "--out", str(folder)]) == 0
    said = "kept by itm.itm_prob, web >= 0.06, synthetic >= 0.04"
    assert said in capsys.readouterr().out
    kept = json.loads((out / "summary.json").read_text())["kept"]
    assert sum(kept.values()) and kept != json.loads((plain / "summary.json").read_text())["kept"]
    for command in (["summary"], ["export", "--out", str(tmp_path / "tars")], ["decide", "--out", str(tmp_path / "v.csv")]):
        assert main(["ledger", command[0], str(out), *command[1:]]) == 0
        told = capsys.readouterr().out
        assert said in told and (command == ["summary"] or told.startswith(str(sum(kept.values()))))
    assert main(["ledger", "card", str(out)]) == 0
    numbers = [json.loads((folder / "datacard.json").read_text()) for folder in (out, plain)]
    assert numbers[0]["policy"] in said and numbers[0]["made"]["config_sha256"] != ""
    capsys.readouterr()
    for given, found in (
        (["--web", "0.5"], "web >= 0.5, synthetic >= 0.04"),
        (["--web", "0.5", "--synthetic", "0.5"], "web >= 0.5, synthetic >= 0.5"),
        (["--column", "itc"], "itm.itc, web >= 0.5, synthetic >= 0.5"),
        (["--weighted-sum", "itm.itm_prob:1"], "web >= 0.5, synthetic >= 0.5"),
    ):
        assert main(["ledger", "summary", str(out), *given]) == 0
        assert found in capsys.readouterr().out
    # The tables are those of any thresholds, and the same job goes on with others.
    assert main(["capfilt", *words, "--out", str(out)]) == 0
    about = [(folder / "ledger.json").read_bytes() for folder in (out, plain)]
    assert about[0] == about[1] and b"threshold" not in about[1]
    assert str(usual(Ledger.open(out))) == str(Policy())


def test_thresholds_of_a_run_are_those_of_its_filters(tmp_path):
    run_with = lambda **more: Job(captioner=FakeCaptioner(), filters={"clip": Cosine("clip")}, **more)
    pairs = PairSet.of([Pair(f"k{n}", f"a caption {n}", encoded(picture(n), "PNG")) for n in range(3)])
    found = run(run_with(thresholds={"web": 7.0, "synthetic": -3.0}), pairs, tmp_path)
    assert (usual(found).column, usual(found).web, usual(found).synthetic) == ("cosine", 7.0, -3.0)
    assert usual(found, Policy(web=0.5)).web == 0.5
    images = {pair.key: pair for pair in pairs.images}
    score(found, {"itm": FakeFilter()}, images=images, running={"device": "cpu", "precision": "float32"})
    later = usual(Ledger.open(tmp_path))  # a match probability decides now, of which 7 is none
    assert (later.filter, later.web, later.synthetic) == ("itm", 0.5, 0.5)
    found = run(run_with(thresholds={"web": 0.1, "synthetic": 0.2}), pairs, tmp_path)
    assert found.about["thresholds"] == {"web": 0.1, "synthetic": 0.2, "filters": ["clip"]}


@pytest.mark.parametrize("broken", [3, {"web": "0.7"}, {"web": 0.7, "filters": 3}, {"synthetic": True}])
def test_thresholds_that_nobody_wrote_are_one_sentence(broken, tmp_path):
    folder = ledger(tmp_path, itm=FakeFilter()).folder
    about = json.loads((folder / "ledger.json").read_text())
    (folder / "ledger.json").write_text(json.dumps(about | {"thresholds": broken}))
    with pytest.raises(InputError, match="is not what BLIP Lab wrote; restore it"):
        Ledger.open(folder)


def test_a_ledger_of_clip_alone_is_looked_at_with_the_command_that_can(place, tmp_path, capsys):
    words = ["--data", str(place / "pairs.json"), "--captioner", "blip/weights/captioner.safetensors"]
    out = tmp_path / "ledger"
    assert main(["capfilt", *words, "--filter", f"open_clip:{place / 'clip'}", "--out", str(out)]) == 0
    assert f"look at it with: lab ledger summary {out}" in capsys.readouterr().out
    assert main(["ledger", "summary", str(out)]) == 0
    assert "kept by clip.cosine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"web": 40.0}, "The threshold 40 of itm.itm_prob for web captions cannot be; give a probability from 0 to 1."),
        ({"synthetic": -0.1}, "The threshold -0.1 of itm.itm_prob for synthetic captions cannot be; give a probability from 0 to 1."),
        ({"union": ("itm.itm_prob:60",)}, "The threshold 60 of itm.itm_prob cannot be; give a probability from 0 to 1."),
        ({"intersection": ("itm.itm_prob:1.5",)}, "The threshold 1.5 of itm.itm_prob cannot be; give a probability from 0 to 1."),
    ],
)
def test_a_match_probability_is_compared_with_none_but_probabilities(changes, said, tmp_path):
    with pytest.raises(InputError) as raised:
        usual(ledger(tmp_path, itm=FakeFilter("itm")), Policy(**changes))
    assert str(raised.value) == said


@pytest.mark.parametrize(("named", "said"), [(["--filter", "foo"], "'foo'"), (["--column", "itc"], "'itc'")])
def test_a_sum_and_a_filter_are_not_given_together(named, said, tmp_path, capsys):
    folder = ledger(tmp_path, itm=FakeFilter("itm")).folder
    assert main(["ledger", "summary", str(folder), "--weighted-sum", "itm.itm_prob:1", *named]) == 2
    assert f"stands in place of a filter and its column; leave {said} or the sum out" in capsys.readouterr().err


def test_other_scores_and_all_or_nothing_have_any_threshold(tmp_path):
    found = ledger(tmp_path / "both", clip=Cosine("clip"), itm=FakeFilter("itm"))
    for policy in (
        Policy(filter="clip", column="cosine", web=40.0),
        Policy(web=float("inf"), synthetic=-float("inf")),
        Policy(weighted_sum=("itm.itm_prob:100",), web=40.0),
        Policy(web=0, synthetic=1, union=("itm.itc:7",)),
    ):
        assert usual(found, policy) == policy
    assert usual(ledger(tmp_path / "clip", clip=Cosine("clip")), Policy(web=3.0)).web == 3.0


def test_every_command_with_a_policy_refuses_percentages(place, tmp_path, capsys):
    folder = ledger(tmp_path / "ledger", itm=FakeFilter("itm")).folder
    commands = (["decide", str(folder), "--out", str(tmp_path / "v.csv")], ["summary", str(folder)], ["card", str(folder)])
    commands += (["show", str(folder), "k0"], ["diff", str(folder), str(folder)], ["agree", str(folder), str(folder)])
    commands += (["export", str(folder), "--out", str(tmp_path / "tars")], ["audit", str(folder), "--out", str(tmp_path / "a.csv")])
    for command in commands:
        assert main(["ledger", *command, "--web", "40", "--synthetic", "60"]) == 2, command
        assert "The threshold 40 of itm.itm_prob for web captions cannot be" in capsys.readouterr().err
    assert not list(tmp_path.glob("[vat]*"))
    data = ["--data", str(place / "none.json"), "--captioner", "none", "--filter", ITM, "--out", str(tmp_path / "new")]
    assert main(["capfilt", *data, "--web-threshold", "40"]) == 2  # before data and weights are looked for
    assert "The threshold 40 of itm.itm_prob for web captions cannot be" in capsys.readouterr().err


def test_a_threshold_that_nobody_gave_is_a_plain_number():
    """Gradio's JSON took a type of its own for a text, and no page of the studio opened."""
    assert {type(number) for number in (Policy().web, Policy().synthetic, Policy(web=0.2).synthetic)} == {float}
