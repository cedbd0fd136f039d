"""`lab bench peers-real`: open_clip's models read our tokens rightly, decode with our steps, and are compared fairly."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from data_files import encoded, picture, write_tar
from open_clip.model import CLIPTextCfg
from toy_models import SPECIAL, VOCAB, toy_config, toy_images, toy_tokens

from blip.errors import InputError
from blip.generate import generate
from blip.model import BLIP
from blip.tasks.batch import PairBatch
from lab.bench import peers_real as bench
from lab.bench.peers_real_arms import ARMS, Cost, teacher_start, trained
from lab.bench.peers_real_evaluation import GREEDY, cosine_recalls
from lab.peers.open_clip_models import (
    CONTEXT,
    CoCaDecoder,
    PeerTask,
    clip,
    clip_losses,
    coca,
    coca_losses,
    padded,
)
from lab.peers.operations import parameters, step_flops
from lab.runs import Home

CAPTIONS = (
    "two dogs run on a beach and one of them holds a big red ball in its open mouth while people look at it",
    "a red car stands in front of a house with a white door and a man in a hat walks by it with his little dog",
    "green trees in the rain",
    "a man rides a bike",
    "a girl with a hat",
)


@pytest.fixture
def peers():
    """CLIP and CoCa of the toy sizes in eval mode."""
    torch.manual_seed(0)
    return clip(toy_config(), SPECIAL).eval(), coca(toy_config(), SPECIAL).eval()


def outputs_of(module, call):
    """What a module gave while something was called, and what was called."""
    seen = []
    hook = module.register_forward_hook(lambda _, given, found: seen.append(found))
    result = call()
    hook.remove()
    return seen[0], result


@torch.no_grad()
def test_clip_pools_its_text_at_sep_and_not_at_the_largest_id(peers):
    model, tokens = peers[0], toy_tokens([5, 9, 7])
    ids = padded(tokens)
    states, features = outputs_of(model.ln_final, lambda: model.encode_text(ids))
    seps = [4, 8, 6]
    assert [ids[row, place].item() for row, place in enumerate(seps)] == [SPECIAL.sep] * 3
    at_sep = torch.stack([states[row, place] for row, place in enumerate(seps)]) @ model.text_projection
    assert torch.equal(features, at_sep)
    # Words have larger ids than [SEP], so open_clip's default would have taken one of them.
    assert all(ids[row].argmax().item() != place for row, place in enumerate(seps))
    assert model.text_pool_type == "eos" and CLIPTextCfg().pool_type == "argmax"
    behind, before = ids.clone(), ids.clone()
    behind[0, 5:], before[0, 3] = 17, 4 + (ids[0, 3] - 3) % 30
    assert torch.equal(model.encode_text(behind)[0], features[0])
    assert not torch.allclose(model.encode_text(before)[0], features[0])


@torch.no_grad()
def test_coca_pools_at_its_class_token_which_sees_every_word_and_no_padding(peers):
    model, ids = peers[1].text, padded(toy_tokens([5, 9, 7]))
    states, (features, tokens) = outputs_of(model.transformer, lambda: model(ids))
    assert states.shape[1] == CONTEXT + 1 and tokens.shape[1] == CONTEXT
    assert torch.equal(features, model.ln_final(states[:, -1]) @ model.text_projection)
    for place in range(5):
        changed = ids.clone()
        changed[0, place] = 4 + (ids[0, place] - 3) % 30
        assert not torch.allclose(model(changed)[0][0], features[0], atol=1e-6)
    model.token_embedding.weight[SPECIAL.pad] = 5.0
    assert torch.equal(model(ids)[0], features)
    model.correct_cls_mask = False  # as open_clip has it
    assert not torch.allclose(model(ids)[0], features, atol=1e-6)


def test_the_peers_have_blip_s_sizes(peers):
    config = toy_config()
    for model in peers:
        assert model.visual.conv1.weight.shape == (24, 3, 8, 8)
        assert len(model.visual.transformer.resblocks) == config.vision.depth
    assert peers[0].token_embedding.weight.shape == peers[1].text.token_embedding.weight.shape == (VOCAB, 32)
    assert len(peers[0].transformer.resblocks) == config.text.depth
    assert len(peers[1].text.transformer.resblocks) + len(peers[1].text_decoder.resblocks) == config.text.depth
    blip, *theirs = (parameters(model) for model in (BLIP(config), *peers))
    assert all(0.5 * blip < size < 1.5 * blip for size in theirs)


def test_coca_s_output_matrix_is_drawn():
    """open_clip leaves it as memory happens to be."""
    torch.manual_seed(1)
    first = coca(toy_config(), SPECIAL).text_decoder.text_projection
    torch.manual_seed(1)
    assert torch.equal(first, coca(toy_config(), SPECIAL).text_decoder.text_projection)
    assert first.std().item() == pytest.approx(32**-0.5, rel=0.1)


@torch.no_grad()
def test_coca_is_decoded_greedily_from_its_logits(peers):
    model, config, images = peers[1], toy_config(), toy_images(3)
    model.text_decoder.text_projection.mul_(3)  # so that no two tokens are as good
    decoding = replace(GREEDY, max_length=9, min_length=4)
    decoder = CoCaDecoder(model, config)
    found = generate(decoder, decoder.remember(images), decoding, prompt_ids=[SPECIAL.cls], special=SPECIAL)
    for row in range(3):
        ids, logprobs = [SPECIAL.cls], []
        while len(ids) < 9 and ids[-1] != SPECIAL.sep:
            scores = model(images[row : row + 1], torch.tensor([ids]), output_labels=False)["logits"][0, -1]
            logprobs.append(scores.log_softmax(dim=0))
            if len(ids) < 4:
                scores[SPECIAL.sep] = -math.inf
            ids.append(int(scores.argmax()))
        assert found[row][0].ids == tuple(ids[1:])
        expected = [own[token].item() for own, token in zip(logprobs, ids[1:], strict=True)]
        assert found[row][0].logprobs == pytest.approx(expected, abs=1e-4)
    assert len({caption[0].ids for caption in found}) > 1  # the photos are looked at


def batch_of(lengths):
    return PairBatch(toy_images(len(lengths)), toy_tokens(lengths), torch.arange(len(lengths)))


def test_the_losses_are_in_batch_contrast_and_next_words(peers):
    batch = batch_of([5, 9, 7])
    task = PeerTask(peers[0], clip_losses)
    found = task(batch, alpha=0.4)
    image = F.normalize(peers[0].encode_image(batch.images), dim=1)
    text = F.normalize(peers[0].encode_text(padded(batch.tokens)), dim=1)
    cosines = (image @ text.T / 0.07).tolist()
    loss = 0.0
    for row in range(3):
        for line in (cosines[row], [other[row] for other in cosines]):
            loss += (math.log(sum(math.exp(value) for value in line)) - cosines[row][row]) / 6
    assert found.total.item() == pytest.approx(loss, abs=1e-4) and set(found.parts) == {"itc"}
    spoken = PeerTask(peers[1], coca_losses(SPECIAL.pad))(batch, alpha=0.4)
    logits = peers[1](batch.images, padded(batch.tokens))["logits"].log_softmax(dim=2)
    words = [
        -logits[row, place, batch.tokens.ids[row, place + 1]].item()
        for row, length in enumerate((5, 9, 7))
        for place in range(length - 1)
    ]
    assert spoken.parts["lm"].item() == pytest.approx(2 * sum(words) / len(words), abs=1e-4)
    assert spoken.total.item() == pytest.approx(sum(part.item() for part in spoken.parts.values()), abs=1e-5)


def test_the_scale_of_the_logits_stays_in_open_clip_s_range(peers):
    task = PeerTask(peers[0], clip_losses)
    for given, kept in ((9.0, math.log(100)), (-1.0, 0.0), (2.0, 2.0)):
        with torch.no_grad():
            task.model.logit_scale.fill_(given)
        task.after_step([])
        assert task.model.logit_scale.item() == pytest.approx(kept)


def test_operations_grow_with_the_batch_and_leave_no_gradient(peers):
    task = PeerTask(peers[0], clip_losses)
    two, four = (step_flops(task, batch_of(lengths)) for lengths in ([5, 7], [5, 7, 6, 4]))
    assert 1.9 < four / two < 2.2  # the contrast is as the square of the batch
    assert all(weight.grad is None for weight in task.parameters())


def test_a_budget_of_operations_is_met_with_the_fewest_steps():
    own = Cost(before=2.0, after=3.0)
    assert [own.total(steps, epoch=2) for steps in (1, 2, 4, 8, 20)] == [3, 5, 10, 20, 56]
    for steps in (1, 2, 3, 7, 50):
        assert own.steps(own.total(steps, 2), 2) == steps
        assert own.steps(own.total(steps, 2) + 0.5, 2) == steps + 1
    assert [teacher_start(steps, 2) for steps in (1, 2, 5, 8, 20)] == [0, 1, 2, 4, 4]


def test_recalls_of_features_by_hand():
    images = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    texts = torch.tensor([[1.0, 0.1], [0.2, 9.0], [5.0, 0.0]])  # the third is nearest to the wrong photo
    found = cosine_recalls(images, texts, np.array([0, 1, 1]))
    assert found == {"tr1": 0.5, "tr5": 1.0, "tr10": 1.0, "ir1": pytest.approx(2 / 3), "ir5": 1.0, "ir10": 1.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve photos with a caption each to train on, three with two captions each to measure on."""
    folder = tmp_path_factory.mktemp("photos")
    members = {}
    for number in range(12):
        members |= {f"{number:02}.jpg": encoded(picture(number, (40, 32))), f"{number:02}.txt": CAPTIONS[number % 5].encode()}
    rows = [{"image": f"{n}.jpg", "caption": f"{CAPTIONS[n + c]} {c}"} for n in range(3) for c in range(2)]
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(encoded(picture(50 + number, (40, 32))))
    (folder / "val.json").write_text(json.dumps(rows))
    return str(write_tar(folder / "train.tar", members)), str(folder / "val.json")


def options(data, **given):
    small = {"size": "nano", "samples": 16, "batch": 4, "vocab_size": 80, "k": 2, "images": 3, "captions": 2}
    return bench.Options(data=data[0], val=data[1], **small | given)


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    """Home, record and printed text of a small run."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIP_LAB_HOME", str(home))
        assert bench.main(options(data, out=home / "record.json")) == 0
    return home, json.loads((home / "record.json").read_text())["result"]


def test_all_arms_are_trained_at_both_budgets(found):
    _, result = found
    rows = {(row["comparison"], row["arm"]): row for row in result["arms"]}
    assert len(rows) == 6 and result["trained_on"] == {"pairs": 12, "photos": 12}
    assert result["measured_on"] == {"photos": 3, "texts": 6}
    assert {rows[bench.SAMPLES, arm.name]["samples"] for arm in ARMS} == {16}
    most = max(rows[bench.SAMPLES, arm.name]["gigaflop_a_sample"] * 16 for arm in ARMS)
    for arm in ARMS:
        row = rows[bench.OPERATIONS, arm.name]
        total, step = row["gigaflop_a_sample"] * row["samples"], row["gigaflop_a_sample"] * 4
        assert most - 0.3 <= total <= most + step + 0.3  # printed with two digits
    assert rows[bench.SAMPLES, "BLIP"]["steps"] == rows[bench.OPERATIONS, "BLIP"]["steps"] == 4
    assert rows[bench.OPERATIONS, "CLIP"]["steps"] > 4 and rows[bench.OPERATIONS, "CoCa"]["steps"] > 4


def test_what_each_arm_can_do_is_measured(found):
    for row in found[1]["arms"]:
        assert set(row["retrieval"]) == ({"itc", "reranked"} if row["arm"] == "BLIP" else {"itc"})
        for recalls in row["retrieval"].values():
            assert set(recalls) == {"tr1", "tr5", "tr10", "ir1", "ir5", "ir10"}
            assert recalls["ir5"] == 1.0 or row["arm"] == "BLIP"  # of three photos, all within five
            assert all(0 <= value <= 1 for value in recalls.values())
        assert (row["captions"] is None) is (row["arm"] == "CLIP")
        if row["captions"]:
            assert row["captions"]["images"] == len(row["captions"]["said"]) == 3
        assert set(row["last_losses"]) == {"BLIP": {"itc", "itm", "lm"}, "CLIP": {"itc"}, "CoCa": {"itc", "lm"}}[row["arm"]]


def test_what_is_done_is_not_done_again(found, data, monkeypatch, tmp_path, capsys):
    home, result = found
    monkeypatch.setenv("BLIP_LAB_HOME", str(home))
    monkeypatch.setattr(bench, "trained", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(bench, "cost", lambda *_: pytest.fail("counted again"))
    bench.main(options(data, out=tmp_path / "again.json"))
    assert json.loads((tmp_path / "again.json").read_text())["result"] == result
    said = capsys.readouterr().out
    assert "3 photos, 6 texts" in said and "BLIP+ITM" in said and "chance" in said
    states = {row["state"] for row in Home(home).rows()}
    assert states == {"done"} and len(Home(home).rows()) == 3 + 5  # three costs; BLIP's two budgets are one run


def test_replaced_photos_or_captions_are_other_runs_and_moved_ones_are_not(data, tmp_path):
    def runs(train, val):
        one = bench.Bench(options((str(train), str(val))), Home(tmp_path))
        steps = []
        one.home = SimpleNamespace(run=lambda step, work: steps.append(step.id))
        for arm in ARMS:
            one.run(arm, 4)
        return steps

    def copied(name):
        folder = tmp_path / name
        shutil.copytree(Path(data[1]).parent, folder)
        return folder

    before = runs(*data)
    moved = copied("moved")
    assert runs(moved / "train.tar", moved / "val.json") == before
    for name, file in (("picture", "1.jpg"), ("caption", "val.json"), ("training", "train.tar")):
        folder = copied(name)
        if name == "picture":
            (folder / file).write_bytes(encoded(picture(77, (40, 32))))
        elif name == "caption":
            (folder / file).write_text((folder / file).read_text().replace("green trees", "tall trees"))
        else:
            members = {f"{n:02}.{kind}": encoded(picture(90 + n, (40, 32))) if kind == "jpg" else CAPTIONS[n % 5].encode() for n in range(12) for kind in ("jpg", "txt")}
            write_tar(folder / file, members)
        assert not set(runs(folder / "train.tar", folder / "val.json")) & set(before)


def test_all_arms_see_the_same_batches(data, tmp_path):
    one = bench.Bench(options(data), Home(tmp_path))
    feeds = [one.photos.feed(one.setting) for _ in range(2)]
    for _ in range(4):
        first, second = (next(feed) for feed in feeds)
        assert torch.equal(first.images, second.images) and torch.equal(first.tokens.ids, second.tokens.ids)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"samples": 7}, "--samples 7 is less than two batches of 4; give more"),
        ({"k": 0}, "--k 0 cannot be; give 1 or more"),
        ({"size": "huge"}, "no size 'huge'"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(data, given, said):
    with pytest.raises(InputError, match=said):
        bench.main(options(data, **given))


def test_an_arm_that_was_cut_off_behind_its_training_is_only_measured(data, tmp_path):
    one = bench.Bench(options(data), Home(tmp_path / "home"))
    own = next(arm for arm in ARMS if arm.name == "CoCa")
    given = (one.photos, one.held_out, one.setting, 4)
    whole = trained(own, *given, tmp_path / "whole")

    def stopped(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(replace(own, evaluate=stopped), *given, tmp_path / "cut")
    rows = (tmp_path / "cut" / "metrics.jsonl").read_text()
    assert trained(own, *given, tmp_path / "cut") == whole
    assert (tmp_path / "cut" / "metrics.jsonl").read_text() == rows
