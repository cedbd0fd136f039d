"""CLIP and CoCa in ablations: filters by CLIP, BLIP beside its peers, equal operations, and budgets that are noted."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from toy_models import SPECIAL, VOCAB, toy_config

from blip.capfilt import Ledger, Policy, decide
from blip.errors import InputError
from blip.tokenizer import Tokenizer
from lab.ablation import peer_protocol
from lab.ablation.arms import Lab
from lab.ablation.budget import Budget
from lab.ablation.command import Wanted, ablate
from lab.ablation.noted import noted
from lab.ablation.own_scales import possible
from lab.ablation.peer_arms import CLIP_SCORES, PeerArm, clip_filter
from lab.ablation.peer_steps import loaded, needs_open_clip
from lab.ablation.plan import Cell, missing
from lab.ablation.scales import scaled
from lab.ablation.steps import model_of
from lab.ablations import ABLATIONS, ablation
from lab.arms_report import arms_markdown
from lab.claims import CLAIMS
from lab.mixes import Mix, mean_ranks, selected
from lab.peers.files import load, save
from lab.peers.kinds import CLIP, COCA
from lab.peers.reading import CosineFilter, text_features
from lab.rounds import LEDGER, Steps
from lab.runs import Home
from lab.verdicts import decided, undeclared
from lab.world.sets import World

ROOT = Path(__file__).parents[1]
SMOKE = scaled("smoke")
FILTERS = ("CLIP", "ITM + CLIP")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The ablation `peers`, and the filters that read CLIP, with one seed: their home and their records."""
    folder = tmp_path_factory.mktemp("peers")
    home, records = Home(folder / "home"), {}
    for name, only in (("peers", ()), ("filters", FILTERS)):
        out = folder / f"{name}.json"
        ablate(Wanted(name=name, scale="smoke", seeds=1, only=only, out=out), home)
        records[name] = json.loads(out.read_text())
    return home, records


def arms_of(done, name):
    return {arm: own["seeds"]["0"] for arm, own in done[1][name]["result"]["arms"].items() if own["seeds"]}


def test_every_peer_is_measured_before_and_after_fine_tuning(done):
    found = arms_of(done, "peers")
    assert list(found) == ["BLIP", "CLIP", "CoCa", "CLIP, equal operations", "CoCa, equal operations"]
    for name, own in found.items():
        for measure in ("zero_shot", "worth"):
            assert set(own[measure]["retrieval"]) == {"all", "sketch"}, name
            assert ("captions" in own[measure]) is not name.startswith("CLIP")
            shares, hits = own[measure]["retrieval"]["all"], own[measure]["items"]["r1"]
            images = shares["images"]
            assert np.mean([int(hit) for hit in hits[:images]]) == pytest.approx(shares["tr1"])
            assert np.mean([int(hit) for hit in hits[images:]]) == pytest.approx(shares["ir1"])
            if "captions" in own[measure]:
                assert set(own[measure]["captions"]) == {"in", "near", "out", "all", "sketch"}
    for measure in ("zero_shot", "worth"):
        ranked = found["BLIP"][measure]["retrieval"]["all"]
        assert 0 <= ranked["itc_r1"] <= ranked["shortlisted"] <= 1 and ranked["r1"] <= ranked["shortlisted"]
    assert done[1]["peers"]["result"]["claims"] == []  # seed 0 chose the rates, so nothing is decided by it
    other = {arm: {1: own} for arm, own in found.items()}
    assert {row["claim"] for row in decided("peers", other)} == {claim.id for claim in CLAIMS if claim.ablation == "peers"}


def test_blip_beside_its_peers_is_the_arm_of_table_1(done):
    home, _ = done
    assert missing([Cell(ablation("table1").arm("none"), 0)], SMOKE, home) == {}
    # CLIP as filter is the CLIP that stands beside BLIP.
    assert sum(row["kind"] == "clip-filter" for row in home.rows()) == 2


def test_equal_operations_are_met_with_the_fewest_steps(done):
    _, records = done
    result = records["peers"]["result"]
    samples = {name: own["0"]["samples"] for name, own in result["budgets"].items()}
    cost = {name: own["flops"]["flop_a_sample"] for name, own in arms_of(done, "peers").items()}
    assert samples["BLIP"] == samples["CLIP"] == samples["CoCa"] == SMOKE.pretrain.samples
    whole, batch = cost["BLIP"] * samples["BLIP"], SMOKE.pretrain.batch
    for name in ("CLIP", "CoCa"):
        spent, other = cost[name] * samples[f"{name}, equal operations"], cost[f"{name}, equal operations"]
        assert other == cost[name] < cost["BLIP"]
        assert whole <= spent < whole + batch * cost[name]


def test_budgets_are_noted_and_shown(done):
    _, records = done
    for record in records.values():
        for own in record["result"]["budgets"].values():
            for budget in own.values():
                assert budget["epochs"] == pytest.approx(budget["samples"] / budget["texts"])
    clip = records["peers"]["result"]["budgets"]["CLIP"]["0"]
    assert clip == {"samples": 32, "texts": 174, "epochs": 32 / 174, "vocabulary": None}
    shown = {**records["peers"], "result": records["peers"]["result"] | {"scale": "cpu"}}
    text = arms_markdown([shown])
    assert "| arm | seeds | samples | epochs | TR@1 |" in text and "operations a sample" in text
    assert "| CLIP | 1 | 32 | 0.18 |" in text


@pytest.fixture(scope="module")
def ledger(done):
    """The ledger with CLIP's scores, its items, and the CLIP."""
    home, _ = done
    steps = Steps(home, SMOKE)
    (folder,) = home.folder.glob(f"runs/clip-scores-*/{LEDGER}")
    return Ledger.open(folder), steps.web, loaded(clip_filter(steps), CLIP, "cpu")


@torch.no_grad()
def test_the_ledger_has_the_cosine_of_each_caption_by_two_loops(ledger):
    book, items, clip = ledger
    pictures = {item.key: item.image(32) for item in items}
    for row in decide(book, Policy(filter=CLIP_SCORES, column="cosine")).to_pylist()[:6]:
        image = torch.from_numpy(pictures[row["image_key"]]).permute(2, 0, 1)[None] / 255
        mean, std = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
        seen = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        text = text_features(clip.model, clip.tokenizer, [row["caption"]], "cpu")
        expected = F.cosine_similarity(clip.model.encode_image(seen), text).item()
        assert row["score"] == pytest.approx(expected, abs=1e-5)


def test_the_ledger_of_capfilt_is_left_as_it_was(done, ledger):
    home, _ = done
    (path,) = home.folder.glob(f"runs/capfilt-*/{LEDGER}")
    assert list(Ledger.open(path).filters) == ["itm"]
    assert set(ledger[0].filters) == {"itm", CLIP_SCORES}


def test_as_many_are_kept_as_itm_keeps_and_the_best_by_cosine(ledger):
    book, items, _ = ledger
    loose = Policy(web=0.45, synthetic=0.45)  # of an untrained filter the threshold 0.5 keeps nothing
    cosines = decide(book, Policy(filter=CLIP_SCORES, column="cosine"))
    wanted = decide(book, loose).to_pylist()
    mix = Mix(policy=Policy(filter=CLIP_SCORES, column="cosine"), as_many_as=loose)
    kept = {(one.key, one.origin) for one in selected(book, mix, items)}
    for origin in ("web", "synthetic"):
        count = sum(row["kept"] for row in wanted if row["origin"] == origin)
        scores = {row["image_key"]: row["score"] for row in cosines.to_pylist() if row["origin"] == origin}
        best = sorted(scores.values(), reverse=True)[:count]
        assert sorted((scores[key] for key, own in kept if own == origin), reverse=True) == best
    assert [arm.mix.as_many_as for arm in ablation("filters").arms if arm.name in FILTERS] == [Policy(), Policy()]


def test_mean_ranks_by_hand():
    first = np.array([0.1, 0.9, 0.9, 0.5, 0.2])
    second = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    groups = np.array([True, True, True, False, False])
    # Among the first three 0.9 twice shares the places 2 and 3.
    assert mean_ranks(first, second, groups).tolist() == [2.0, 1.75, 2.25, 2.0, 1.0]
    # What only stretches a score changes nothing.
    assert mean_ranks(np.exp(9 * first), second - 7, groups).tolist() == mean_ranks(first, second, groups).tolist()
    # A missing score ranks behind every other, as for a policy.
    assert mean_ranks(np.array([0.1, 0.2, 0.9, 0.5]), np.array([0.1, 0.2, 0.9, np.nan]), np.zeros(4, bool)).tolist() == [1.5, 2.5, 4.0, 2.0]
    with pytest.raises(InputError, match="give as_many_as with ranked_with"):
        Mix(ranked_with=Policy())


def test_auc_of_clip_stands_beside_ours_on_the_same_pairs(done, ledger):
    found = arms_of(done, "filters")
    assert set(found) == set(FILTERS) and found["CLIP"]["scores"] == found["ITM + CLIP"]["scores"]
    scores = found["CLIP"]["scores"]
    assert set(scores) == {"ITM", "ITC", "ITM + ITC", "CLIP", "ITM + CLIP"}
    assert scores["ITM"] == arms_of(done, "peers")["BLIP"]["worth"]["filter"]["auc"]  # the same filter
    assert scores["CLIP"] == arms_of(done, "peers")["CLIP"]["worth"]["filter"]["auc"]
    clip, by_kind = ledger[2], {"clean": [], "vague": []}
    judge = CosineFilter(clip.model, clip.tokenizer, 32, "")
    for item in peer_protocol.unseen(SMOKE):
        if item.noise_kind == "clean" or (item.noise_kind == "vague" and item.truth != "true"):
            seen = judge.prepare(Image.fromarray(item.image(32)))
            by_kind[item.noise_kind].append(judge([seen], [[item.caption]])[0][0][0])
    wins = [1.0 * (a > b) + 0.5 * (a == b) for a, b in itertools.product(*by_kind.values())]
    assert scores["CLIP"]["vague"] == pytest.approx(np.mean(wins))


@torch.no_grad()
def test_retrieval_by_cosine_finds_what_is_told_apart():
    """Encoders that read the truth find every text; ones that say the same of all find none."""
    items = World.of("nano").evaluation(12, "all")
    scenes, texts, image_of = peer_protocol.protocol.searched(items)
    told = dict(zip(texts, np.eye(len(scenes))[image_of], strict=True))
    shown = iter(np.eye(len(scenes)))
    images = lambda batch: torch.tensor(np.stack(list(itertools.islice(shown, len(batch)))))
    found, hits = peer_protocol.cosine_retrieval(
        images, lambda own: torch.tensor(np.stack([told[text] for text in own])), items, 32, "cpu"
    )
    assert found["r1"] == 1.0 and hits.all() and len(hits) == len(scenes) + len(texts)
    same = lambda count: torch.ones(count, 4)
    found, _ = peer_protocol.cosine_retrieval(lambda b: same(len(b)), lambda own: same(len(own)), items, 32, "cpu")
    assert found["r1"] == 0.0  # a tie is no hit


@torch.no_grad()
@pytest.mark.parametrize("peer", [CLIP, COCA], ids=lambda peer: peer.name)
def test_a_peer_is_read_back_as_it_was_written(peer, tmp_path):
    config = toy_config()
    written = peer.parts().model(config, SPECIAL, 9)
    tokenizer = Tokenizer.train(["a red ball", "a blue star"], VOCAB)
    prints = [save(tmp_path / name, written, config, tokenizer) for name in ("a", "b")]
    read = load(tmp_path / "a", peer)
    assert read.fingerprint == prints[0] == prints[1] and read.config == config
    assert read.tokenizer.fingerprint == tokenizer.fingerprint and not read.model.training
    assert read.model.context_length == 9
    for name, weight in written.state_dict().items():
        assert torch.equal(read.model.state_dict()[name], weight)


def test_texts_are_padded_to_the_longest_there_is(done, ledger):
    steps, clip = Steps(done[0], SMOKE), ledger[2]
    longest = max(len(clip.tokenizer.pieces(pair.caption)) for pair in [*steps.web, *steps.human])
    assert clip.model.context_length == longest + 2  # [CLS] and [SEP]


@pytest.mark.parametrize("scale", ["smoke", "cpu", "gpu"])
def test_only_arms_with_peers_need_open_clip(scale, tmp_path):
    home, needing = Home(tmp_path), {}
    for table in ABLATIONS.values():
        for arm in table.arms:
            steps = missing([Cell(arm, 0)], scaled(scale), home).values()
            needing[table.name, arm.name] = any(needs_open_clip(step) for step in steps)
    named = {("filters", name) for name in FILTERS} | {("harder", "CLIP")}
    named |= {(table, arm.name) for table in ("peers", "rates") for arm in ablation(table).arms if not arm.name.startswith("BLIP")}
    assert {key for key, needs in needing.items() if needs} == named


def test_a_peer_has_its_own_learning_rate_and_the_search_finds_its_run(tmp_path):
    """A rate of the search and the peer's own, where they are equal, are one run; another rate is another."""
    recipe, home = scaled("cpu"), Home(tmp_path)

    def pre_training(arm):
        return [key for key, step in missing([Cell(arm, 0)], recipe, home).items() if step.kind.endswith("-pretrain")]

    tried = {arm.name: pre_training(arm) for arm in ablation("rates").arms}
    for arm, peer in zip(ablation("peers").arms[1:3], (CLIP, COCA), strict=True):
        assert pre_training(arm) == tried[f"{peer.name}, {peer.peak(recipe.pretrain.peak):g}"]
    assert len({key for keys in tried.values() for key in keys}) == 9
    assert replace(CLIP, rate=1 / 3).peak(1.5e-3) == 5e-4


WITHOUT = """
import sys
sys.modules["open_clip"] = None
from lab.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_where_open_clip_is_not_installed_one_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    words = ["ablate", "filters", "--scale", "smoke", "--seeds", "1", "--out", str(tmp_path / "record.json")]
    command = [sys.executable, "-c", WITHOUT, *words]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 2 and made.stderr.count("\n") == 1
    assert "pip install open-clip-torch" in made.stderr and "--only" in made.stderr
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_own_pairs_take_the_filters_but_not_the_peers():
    rest, left_out = possible(ablation("filters"))
    assert {arm.name for arm in rest.arms} >= set(FILTERS) and list(left_out) == ["truth"]
    with pytest.raises(InputError, match="The ablation peers cannot be done on your own pairs"):
        possible(ablation("peers"))
    _, left_out = possible(ablation("rates"))
    assert set(left_out) == {arm.name for arm in ablation("rates").arms if isinstance(arm, PeerArm)}
    for why in left_out.values():
        assert why == "it is a model of open_clip, and those are trained and measured in the generated world only"


class TestBudgets:
    """Samples of arms, and what happens where they differ and nobody said so."""

    claim = next(claim for claim in CLAIMS if claim.id == "capfilt")

    def budgets(self, **samples):
        return {name: {"0": Budget(own, 100).to_json()} for name, own in samples.items()}

    def test_an_undeclared_difference_is_refused_with_both_arms_and_their_samples(self):
        assert undeclared(self.claim, self.budgets(both=96_000, none=96_000), ["0"]) is None
        said = undeclared(self.claim, self.budgets(both=96_000, none=48_000), ["0"])
        assert "'both' saw 96,000 samples and 'none' 48,000" in said and said.count(". ") == 0
        assert undeclared(self.claim, self.budgets(both=96_000), ["0"]) is None  # not noted
        assert undeclared(self.claim, self.budgets(both=96_000, none=48_000), ["1"]) is None

    def test_other_words_are_other_initial_weights_and_are_refused_where_the_web_is_the_same(self):
        words = {name: {"0": Budget(96_000, 100, own).to_json()} for name, own in (("both", "a1"), ("none", "b2"))}
        assert "'both' and 'none' have other vocabularies" in undeclared(self.claim, words, ["0"])
        assert undeclared(self.claim, words | {"none": words["both"]}, ["0"]) is None
        noisier = next(claim for claim in CLAIMS if claim.id == "noise-raises-gain")
        each = {name: {"0": Budget(96_000, 100, name[-3:]).to_json()} for name in noisier.value.arms}
        assert undeclared(noisier, each, ["0"]) is None  # another web has other words

    def test_a_claim_may_declare_it(self):
        assert undeclared(replace(self.claim, unequal="on purpose"), self.budgets(both=2, none=1), ["0"]) is None
        own = next(claim for claim in CLAIMS if claim.id == "blip-over-clip-equal-operations")
        assert own.unequal and undeclared(own, {"BLIP": {"0": {"samples": 1}}, "CLIP, equal operations": {"0": {"samples": 3}}}, ["0"]) is None

    def test_an_arm_may_declare_it(self):
        declared = {arm.name: arm.declared for table in ABLATIONS.values() for arm in table.arms if arm.declared}
        assert declared["both, equal epochs"] == ("budget",) and declared["new, N0 + N"] == ("times",)
        assert declared["continued"] == ("continued",) and declared["both, longer CapFilt"] == ("teacher_times",)
        assert declared["none, more web"] == ("more_web",)
        arm = replace(ablation("table1").arm("none"), student=("pretrain.samples=64", "sharing=all"))
        assert arm.declared == ("pretrain.samples",)
        twice = next(claim for claim in CLAIMS if claim.id == "new-model-equal-total")
        assert undeclared(twice, {"new, N0 + N": {"0": {"samples": 2}}, "continued": {"0": {"samples": 1}}}, ["0"]) is None

    @pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
    def test_no_claim_of_ours_is_refused(self, claim):
        """Of every arm the most unequal samples its fields can make."""
        recipe, arms = scaled("cpu"), [ablation(claim.ablation).arm(name) for name in claim.value.arms]
        samples = [arm.recipe_of(recipe).pretrain.samples if hasattr(arm, "recipe_of") else recipe.pretrain.samples for arm in arms]
        known = {arm.name: {"0": {"samples": own}} for arm, own in zip(arms, samples, strict=True)}
        assert undeclared(claim, known, ["0"]) is None


def old_record(table, scale="cpu", **seeds):
    """A record as it was written before budgets were noted."""
    recipe = {"web": 16_000, "human": 1_440, "pretrain": {"samples": 96_000}}
    arms = {name: {"about": name, "seeds": {"0": own}} for name, own in seeds.items()}
    return {"config": {"recipe": recipe}, "result": {"ablation": table, "scale": scale, "arms": arms, "claims": []}}


def test_records_from_before_are_recomputed_where_recipe_and_arm_tell():
    counts = {"capfilt": {"kept": {"web": 6_000, "synthetic": 9_000}, "filtered": {"web": 10_000, "synthetic": 7_000}}}
    found = noted(old_record("table1", none={}, both=counts, F=counts, C=counts))
    texts = {name: own["0"]["texts"] for name, own in found.items()}
    assert texts == {"none": 17_440, "both": 16_440, "F": 7_440, "C": 33_440}
    assert {own["0"]["samples"] for own in found.values()} == {96_000}
    epochs = noted(old_record("table1-epochs", **{"F, equal epochs": counts}))["F, equal epochs"]["0"]
    assert epochs["samples"] == round(96_000 * 7_440 / 17_440)
    assert epochs["epochs"] == pytest.approx(96_000 / 17_440, rel=1e-4)  # equal to the web arm's
    assert noted(old_record("table1-epochs", **{"F, equal epochs": {}})) == {"F, equal epochs": {}}
    assert noted(old_record("table13", **{"new, N0 + N": counts}))["new, N0 + N"]["0"]["samples"] == 192_000
    truth = noted(old_record("filters", truth=counts))["truth"]["0"]
    assert truth == {"samples": 96_000, "texts": None, "epochs": None, "vocabulary": None}
    assert noted(old_record("bias", shared={})) == {"shared": {}}
    assert noted({"result": old_record("table1", none={})["result"]}) == {}  # without a recipe
    assert "| both | 1 | 96,000 | 5.84 |" in arms_markdown([_named(old_record("table1", both=counts))])


def _named(record):
    return record | {"result": record["result"] | {"question": "?", "source": "Table 1"}}


def test_lab_is_what_says_what_was_seen(done):
    home, _ = done
    blip, coca = (ablation("peers").arm(name).seen(Lab(home, SMOKE, 0)) for name in ("BLIP", "CoCa"))
    assert replace(blip, vocabulary=None) == coca == Budget(32, 174) and len(blip.vocabulary) == 8
    assert model_of(Steps(home, SMOKE).pretrain()).card.stage == "pretrained"
