"""The speed benches: the peers are right, both sides compute the same, and what is told of them is what they did."""

import json
import random
import re
from dataclasses import replace

import pytest
import torch
from conftest import shared_dir
from safetensors.torch import load_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from blip.checkpoint.stored import read_stored
from blip.config import named
from blip.errors import InputError
from blip.tokenizer import SpecialIds
from lab import task_pages
from lab.bench import contest, encoder, generate, matching, pretrain, pretrain_flops, reading, report
from lab.bench.capfilt_flops import image_flops
from lab.bench.pretrain_memory import LiveBytes, activation_bytes
from lab.bench.pretrain_peer import Published
from lab.bench.pretrain_sides import both_losses, sides
from lab.bench.transformers_weights import captioners, filters

SMALL = {"size": "nano", "rounds": 1, "device": "cpu"}
CONFIG = named("nano", image_size=32)


@pytest.fixture(scope="module")
def captioner():
    twins = captioners(CONFIG, device="cpu", seed=0)
    twins.ours.model.requires_grad_(False)  # torch's counter follows gradients, which inference mode has not
    twins.peer.requires_grad_(False)
    return twins


@pytest.fixture(scope="module")
def matcher():
    twins = filters(CONFIG, device="cpu", seed=0)
    twins.ours.model.requires_grad_(False)
    twins.peer.requires_grad_(False)
    return twins


@pytest.fixture(scope="module")
def both():
    return sides(CONFIG, batch=4, lengths=(8, 9, 10, 12), queue=16, device="cpu", seed=0)


def counted(call):
    """Floating-point operations as torch counts them, attention as plain products."""
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        call()
    return counter.get_total_flops()


def read(path):
    return json.loads(path.read_text())["result"]


# --- pre-training ---


@torch.no_grad()
def test_the_plain_peer_is_the_published_step():
    folder = shared_dir() / "reference" / "official_tiny"
    ids = json.loads((folder / "config.json").read_text())
    file, io = folder / "pretrain.weights.safetensors", load_file(folder / "pretrain.io.safetensors")
    config = read_stored(file, heads=ids["vit"]["heads"]).model.config
    peer = Published(config, ids["queue_size"], SpecialIds(ids["pad"], 100, ids["cls"], ids["sep"], ids["dec_bos"], ids["enc"]))
    peer.load_published(load_file(file))
    drawn = []

    def draw(weights, stream):
        drawn.append(weights.argmax(dim=1))
        return drawn[-1]

    keep = io["attention_mask"].bool()
    losses = peer.eval()(io["images"], io["input_ids"], keep, 0.4, draw)
    near = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(losses["itc"][None], io["loss_itc_alpha04"], **near)
    torch.testing.assert_close(losses["lm"][None], io["loss_lm"], **near)
    assert len(drawn) == 2
    logits = [io["itm_logits"]]
    enc = torch.cat([torch.full((4, 1), ids["enc"]), io["input_ids"][:, 1:]], dim=1)
    for text, image in [*enumerate(drawn[0].tolist()), *((text, image) for image, text in enumerate(drawn[1].tolist()))]:
        assert text != image
        own = keep[text].sum()
        states = peer.visual_encoder(io["images"][image : image + 1])
        fused = peer.text_encoder(enc[text : text + 1, :own], torch.zeros(1, 1, 1, own), states)
        logits.append(peer.itm_head(fused[:, 0]))
    labels = torch.tensor([1] * 4 + [0] * 8)
    torch.testing.assert_close(losses["itm"], nn.functional.cross_entropy(torch.cat(logits), labels), **near)
    for name in ("image_queue", "text_queue"):
        torch.testing.assert_close(peer.get_buffer(name), io[f"{name}_after"], **near)
    assert torch.equal(peer.queue_ptr, io["queue_ptr_after"])
    for name in ("text_proj_m.weight", "visual_encoder_m.cls_token"):
        torch.testing.assert_close(peer.get_parameter(name), io[f"after_step.{name}"], **near)


def test_padding_to_30_changes_no_loss(both):
    ours, plain = both
    assert plain.ids.shape == (4, 30) and ours.batch.tokens.ids.shape == (4, 12)
    losses = both_losses(ours, plain)
    assert set(losses) == {"itc", "itm", "lm"}
    for own, theirs in losses.values():
        assert own == pytest.approx(theirs, abs=1e-5)


def test_both_sides_have_the_same_gradients():
    """With two pairs there is one negative each, so that no draw can differ."""
    ours, plain = sides(CONFIG, batch=2, lengths=(8, 11), queue=4, device="cpu", seed=1)
    ours.task.eval()
    plain.module.eval()
    ours.task.update_teacher()
    ours.forward_backward("float32")
    plain.forward_backward("float32")
    blocks, layers = ours.task.model.text.blocks, list(plain.module.text_encoder.encoder.layer)
    for own, theirs in (
        (ours.task.model.image_encoder.patches, plain.module.visual_encoder.patch_embed["proj"]),
        (ours.task.model.text.embeddings["encoder"].word, plain.module.text_encoder.embeddings.word_embeddings),
        (blocks[0].cross_attention["encoder"].query, layers[0].crossattention.self.query),
    ):
        assert own.weight.grad.abs().max() > 1e-5
        torch.testing.assert_close(own.weight.grad, theirs.weight.grad, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(ours.task.model.temperature.grad, plain.module.temp.grad, atol=1e-6, rtol=1e-4)


def test_operations_of_a_step_are_those_that_torch_counts(both):
    ours, plain = both
    # On a CPU the gradients of the 12 chosen images are added up by a product with ones and zeros, of keys and of values.
    tokens = (CONFIG.vision.image_size // CONFIG.vision.patch_size) ** 2 + 1
    added_up = CONFIG.text.depth * 2 * (2 * 4 * 12 * tokens * CONFIG.text.width)
    assert counted(lambda: ours.step("float32")) == pretrain_flops.ours(CONFIG, 4, 12, 4 + 16) + added_up
    assert counted(lambda: plain.step("float32")) == pretrain_flops.published(CONFIG, 4, 30, 4 + 16)


def test_live_bytes_follow_what_is_kept_and_freed():
    given = torch.ones(1000, requires_grad=True)
    with LiveBytes() as live:
        first = given * 2  # 4,000 bytes, and the product keeps nothing of its result
        second = first.exp()  # 4,000, which exp keeps for its gradient
        assert live.peak == 8000
        del first
        third = second.view(10, 100).exp()  # the view holds nothing new
        assert live.peak == 8000
        del second
        fourth = third.exp()
        assert live.peak == 12_000  # second is alive in the graph
        del third, fourth
        large = torch.empty(2500)
        assert live.peak == 12_000 and len(large) == 2500


def test_activation_memory_leaves_weights_and_gradients_out():
    layer, pixels = nn.Linear(64, 1000, bias=False), torch.ones(2, 64)
    peak = activation_bytes(lambda: layer(pixels).square().sum().backward(), layer, "cpu")
    # Before the weight's gradient is added to the one that stands: results and their gradients (2, 1000), and it.
    assert 4 * 64 * 1000 < peak < 4 * (64 * 1000 + 5 * 2 * 1000)
    assert layer.weight.grad is None


def test_a_record_of_pretraining_tells_both_sides(tmp_path):
    out = tmp_path / "record.json"
    status = pretrain.main(pretrain.Options(**SMALL, image_size=32, batch=2, queue=4, out=out))
    result = read(out)
    cases = result["cases"]
    assert result["shapes"]["text_tokens"] == [8, 9] and result["shapes"]["text_tokens_peer"] == 30
    assert {name: case["target"] for name, case in cases.items()} == {
        "float32": 1.8, "bf16 against float32": 3.5, "bf16": None,
        "activation memory, float32": 0.5, "activation memory, bf16": 0.5,
        "useful operations, float32": None, "useful operations, bf16": None,
    }  # fmt: skip
    for name in ("float32", "bf16 against float32", "bf16"):
        assert cases[name]["agreement"]["agree"] is True and cases[name]["limit"]["ratio"] > 1.5
    memory = cases["activation memory, float32"]
    assert memory["better"] == "lower" and 0 < memory["ours"]["mib"] < memory["peer"]["mib"]
    assert memory["reached"] is (memory["ratio"] <= 0.5)
    assert status == (0 if all(case["reached"] for case in cases.values()) else 1)


# --- captioning, matching, the image encoder ---


@pytest.mark.parametrize("strategy", generate.STRATEGIES)
def test_operations_of_captioning_are_those_that_torch_counts(captioner, strategy):
    options = generate.Options(**SMALL, image_size=32, length=8)
    work = generate.Captions(captioner, generate._decoding(strategy, options), 2, options)
    for what in (generate.WHOLE, generate.AFTER):
        limit = work.limit(what)
        assert counted(work.ours[what]) == pytest.approx(2e9 * limit["gflop_ours"], abs=2e6)
        assert counted(work.peer[what]) == pytest.approx(2e9 * limit["gflop_peer"], abs=2e6)


def test_captions_have_the_full_length_and_beams_are_the_same(captioner):
    options = generate.Options(**SMALL, image_size=32, length=9)
    work = generate.Captions(captioner, generate._decoding("beam", options), 3, options)
    found = work.agreement()
    assert found["captions"] == found["captions_the_same"] == 3 and found["agree"]
    prompt = len(work.prompt)
    for what in (generate.WHOLE, generate.AFTER):
        assert [len(own[0].ids) for own in work.ours[what]()] == [9 - prompt] * 3
        assert work.peer[what]().shape == (3, 9)


def test_a_nucleus_that_differs_is_told(captioner):
    options = generate.Options(**SMALL, image_size=32, length=8)
    work = generate.Captions(captioner, generate._decoding("nucleus", options), 2, options)
    found = work.agreement()
    assert found["agree"] and all(1 < count < 10_000 for count in found["tokens_in_the_nucleus"])
    work.decoding = replace(work.decoding, top_p=0.3)
    narrow = work.agreement()
    assert narrow["agree"] and max(narrow["tokens_in_the_nucleus"]) < max(found["tokens_in_the_nucleus"])
    kept = torch.tensor([[0.5, 0.5, 0.0]])
    assert not contest.agreement(kept, torch.tensor([[0.4, 0.6, 0.0]]), "float32")["agree"]


def test_a_record_of_captioning_has_every_case(tmp_path, monkeypatch, captioner):
    monkeypatch.setattr(generate, "captioners", lambda *given, **named: captioner)
    out = tmp_path / "record.json"
    status = generate.main(generate.Options(**SMALL, image_size=32, batch=1, large_batch=2, length=6, out=out))
    cases = read(out)["cases"]
    assert len(cases) == 2 * 2 * 2
    assert cases["beam, batch 1, whole call"]["target"] == 1.8
    assert cases["nucleus, batch 2, after the image encoder"]["target"] == 2.0
    assert status == (0 if all(case["reached"] for case in cases.values()) else 1)


@torch.inference_mode()
def test_matching_scores_as_one_pair_after_the_other_does(matcher):
    work = matching.matching(matcher, images=2, texts=3, length=8, device="cpu", seed=0)
    model, expected = matcher.ours.model, []
    for row in range(6):
        memory = model.remember(work.states[row // 3 : row // 3 + 1], "encoder")
        expected.append(model.match_logits(work.tokens.rows(torch.tensor([row])), memory))
    assert torch.cat(expected).std(dim=0).min() > 1e-4  # a constant would agree with anything
    for way in (work.ours, work.peer):
        torch.testing.assert_close(way(), torch.cat(expected), atol=1e-5, rtol=1e-4)


def test_operations_of_matching_are_those_that_torch_counts(matcher):
    work, head = matching.matching(matcher, images=2, texts=3, length=8, device="cpu", seed=0), 2 * 64 * 2
    limit = matching.flops_limit(CONFIG, texts=3, length=8)
    own, theirs = counted(work.ours) - 6 * head, counted(work.peer) - 6 * head
    assert limit["ratio"] == pytest.approx(theirs / own, abs=1e-3)
    assert limit["gflop_ours"] == pytest.approx(own / 2e9, abs=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_record_of_matching_names_both_lengths(tmp_path, precision, monkeypatch, matcher):
    monkeypatch.setattr(matching, "filters", lambda *given, **named: matcher)
    out = tmp_path / "record.json"
    matching.main(matching.Options(**SMALL, image_size=32, images=2, texts=3, precision=precision, out=out))
    result = read(out)
    assert {name: case["target"] for name, case in result["cases"].items()} == {
        "3 texts of 8 tokens": 6.0, "3 texts of 14 tokens": 4.0,
    }  # fmt: skip
    assert all(case["agreement"]["agree"] for case in result["cases"].values())
    assert result["precision"] == precision


def test_a_record_of_the_encoder_has_both_peers(tmp_path, monkeypatch, matcher):
    monkeypatch.setattr(encoder, "SIDES", (32,))
    monkeypatch.setattr(encoder, "filters", lambda *given, **named: matcher)
    out = tmp_path / "record.json"
    encoder.main(encoder.Options(**SMALL, batch=2, out=out))
    cases = read(out)["cases"]
    assert set(cases) == {"32 px, transformers", "32 px, open_clip"}
    assert cases["32 px, transformers"]["agreement"]["agree"] is True
    assert cases["32 px, open_clip"]["target"] == 1.1


def test_open_clips_encoder_does_the_same_operations():
    vision = CONFIG.vision
    model, pixels = encoder.open_clip(vision), torch.randn(2, 3, 32, 32)  # torch fuses attention without gradients
    projection = 2 * vision.width * 512
    assert counted(lambda: model(pixels)) == 2 * (image_flops(vision) + projection)


# --- reading ---


def test_reading_gives_both_sides_every_picture_and_resumes_exactly(tmp_path):
    options = reading.Options(pictures=9, batch=2, image_size=32, rounds=1, out=tmp_path / "record.json")
    tars = reading.drawn_tars(tmp_path, 9, seed=0)
    assert len(tars) == 2
    theirs = list(reading.peer(tars, options))
    assert [tuple(images.shape) for images, _ in theirs] == [(2, 3, 32, 32)] * 4
    ours = list(reading.ours(tars, options))
    assert [tuple(batch.images.shape) for batch in ours] == [(2, 3, 32, 32)] * 4
    seen = [text for _, texts in theirs for text in texts]
    drawn = {f"a drawn photo, number {row}" for row in range(9)}
    assert len(set(seen)) == 8 and set(seen) <= drawn
    assert len({key for batch in ours for key in batch.keys}) == 8
    # Normalised alike: pixels of a photo lie in the same range on both sides.
    for images in (theirs[0][0], ours[0].images):
        assert -2 < images.mean() < 2 and 0.1 < images.std() < 2
    assert reading.resume_is_exact(tars, options)


def test_a_resume_that_loses_its_place_is_noticed(tmp_path, monkeypatch):
    options = reading.Options(pictures=8, batch=2, image_size=32)
    tars = reading.drawn_tars(tmp_path, 8, seed=0)
    monkeypatch.setattr(reading.Loader, "load_state_dict", lambda loader, state: None)
    assert not reading.resume_is_exact(tars, options)


def test_a_record_of_reading_counts_by_the_core(tmp_path):
    out = tmp_path / "record.json"
    reading.main(reading.Options(pictures=8, batch=2, image_size=32, rounds=2, out=out))
    result = read(out)
    (case,) = result["cases"].values()
    assert result["batches"] == {"ours": 4, "peer": 4} and result["pairs"] == 8
    own, theirs = (case[side]["processor_seconds"]["median"] for side in ("ours", "peer"))
    assert case["ratio"] == pytest.approx(theirs / own, rel=0.01)
    assert case["resumed_batch_is_equal"] is True and case["target"] == 1.0


# --- what all of them share ---


def test_ways_take_turns_after_each_ran_once(capsys):
    ran = []
    times = contest.timed({"ours": lambda: ran.append("o"), "peer": lambda: ran.append("p")}, 2, "cpu", "toy")
    assert ran == ["o", "p", "o", "p", "o", "p"]
    assert all(len(one.clock) == len(one.processors) == 2 for one in times.values())
    assert "toy, round 2, peer:" in capsys.readouterr().out


def test_the_ratio_is_that_of_the_medians():
    ours, peer = contest.Times([1.0, 9.0, 2.0], [1.0, 1.0, 1.0]), contest.Times([3.0, 4.0, 8.0], [5.0, 5.0, 2.0])
    found = contest.versus(ours, peer, 2.0)
    assert found["ratio"] == 2.0 and found["reached"] and found["ratio_of_processor_seconds"] == 5.0
    assert found["spread"] == {"median": 3.0, "min": 0.444, "max": 4.0}
    assert not contest.versus(ours, peer, 2.1)["reached"]
    assert contest.versus(ours, peer, None)["reached"]


def test_a_target_is_not_reached_by_other_results():
    case = contest.versus(contest.Times([1.0], [1.0]), contest.Times([3.0], [3.0]), 2.0)
    values = torch.tensor([1.0, 10.0])
    assert contest.agreed(case, contest.agreement(values, values + 9e-4, "float32"))["reached"]
    assert not contest.agreed(case, contest.agreement(values, values + 2e-3, "float32"))["reached"]


def test_the_peak_of_a_product_is_plausible():
    assert 1e8 < contest.product_flops("cpu", torch.float32) < 1e14


@pytest.mark.parametrize(
    ("bench", "given", "said"),
    [
        (pretrain, {"batch": 0}, "--batch 0 cannot be; give 1 or more"),
        (pretrain, {"batch": 3, "queue": 10}, "--queue 10 is no multiple of --batch 3"),
        (pretrain, {"device": "tpu"}, "no device 'tpu'; choose cpu or cuda"),
        (generate, {"large_batch": -1}, "--large-batch -1 cannot be"),
        (matching, {"precision": "int8"}, "no precision 'int8'"),
        (encoder, {"size": "huge"}, "no model size 'huge'"),
        (reading, {"data": "nowhere/*.tar"}, r"There is no file nowhere/\*.tar; give tars"),
        (reading, {"pictures": 4, "batch": 3}, "4 pairs are fewer than two batches of 3"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(bench, given, said):
    with pytest.raises(InputError, match=said):
        bench.main(bench.Options(**given))


# --- the report ---


def stored(folder, name, result):
    (folder / f"{name}.json").write_text(json.dumps({"name": f"bench-{name}", "result": result}))


def test_the_report_finds_every_ratio_and_its_verdict(tmp_path, capsys):
    met = {"ratio": 3.0, "target": 2.0, "reached": True, "peer": {}}
    memory = {"ratio": 0.8, "target": 0.5, "reached": False, "better": "lower", "peer": {}, "precision": "bf16"}
    share = {"ratio": 0.4, "target": None, "reached": True, "better": "higher"}
    stored(tmp_path, "one", {"device": "cpu", "precision": "float32", **met})
    stored(tmp_path, "two", {"device": "cuda", "precision": "float32", "cases": {"memory": memory, "share": share}})
    stored(tmp_path, "world", {"levels": {"nano": {"rate": 1}}})
    plot = tmp_path / "plot.png"
    assert report.main(report.Options(records=tmp_path, plot=plot)) == 1
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "| bench | case | on | against | ratio | better | target | verdict |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| one | whole | cpu, float32 | peer: whole | 3.00 | higher | at least 2 | met |",
        "| two | memory | cuda, bf16 | peer: memory | 0.80 | lower | at most 0.5 | not met |",
        "| two | share | cuda, float32 | baseline: of its own | 0.40 | higher | - | - |",
        "Targets that are met: 1 of 1 on a CPU, 0 of 1 on a GPU.",
    ]
    assert plot.read_bytes().startswith(b"\x89PNG")
    one, two, three = report.ratios(tmp_path)
    assert (one.advantage, one.asked) == (3.0, 2.0)
    assert (two.advantage, two.asked) == (1.25, 2.0)
    assert not three.has_peer
    assert [one.label for one in (one, replace(one, case="bf16", precision="bf16"))] == [
        "one: whole (cpu, float32)", "one: whole (cpu, bf16)",
    ]  # fmt: skip


def test_three_decimals_tell_what_two_would_hide():
    one = report.Ratio(
        bench="encoder", case="224 px", device="cpu", precision="float32", ratio=1.099, target=1.1, better="higher", reached=False, has_peer=True
    )  # fmt: skip
    assert one.told == "1.099"
    assert replace(one, ratio=1.094).told == "1.09" and replace(one, ratio=1.103, reached=True).told == "1.10"
    assert replace(one, ratio=0.501, target=0.5, better="lower").told == "0.501"
    assert replace(one, ratio=1.099, target=None, reached=True).told == "1.10"


def test_the_plot_has_a_bar_for_each_peer(tmp_path):
    case = {"target": 2.0, "reached": True, "peer": {}}
    ratios = [random.Random(seed).uniform(0.5, 8) for seed in range(4)]
    cases = {str(at): case | {"ratio": ratio} for at, ratio in enumerate(ratios)} | {"share": {"ratio": 0.3, "target": None, "reached": True}}
    stored(tmp_path, "one", {"cases": cases})
    (axes,) = report.figure(report.ratios(tmp_path)).axes
    assert [2 ** bar.get_width() for bar in axes.patches] == pytest.approx(ratios)


def test_a_folder_without_ratios_is_refused(tmp_path):
    with pytest.raises(InputError, match="no record with a ratio in .*; run a bench"):
        report.main(report.Options(records=tmp_path))


def test_the_page_shows_the_committed_records():
    block = task_pages.bench_report()
    assert "| ranking | retrieval re-ranked by ITM | cpu, float32 | peer: one call per query, as published |" in block
    assert "| CapFilt | whole | cpu, float32 | peer: transformers |" in block
    assert "| pre-training step | whole | cpu, bf16 against float32 | peer: the published algorithm, plainly written, in float32 |" in block
    assert "| pre-training step | useful operations | cpu, bf16 | baseline: a large matrix product |" in block
    assert "| studio | time to the first view | cpu | baseline: a blank Gradio page | 1.45 | lower |" in block
    assert "| image encoder | 224 px, open_clip | cpu, float32 | peer: open_clip | 1.099 | higher | at least 1.1 | not met |" in block
    assert re.search(r"\nTargets that are met: \d+ of \d+ on a CPU, \d+ of \d+ on a GPU\.", block)


def test_the_plot_says_what_it_is_and_what_it_leaves_out():
    found = report.ratios()
    drawn = report.figure(found)
    assert drawn.get_suptitle() == "How many times faster than the peer, or smaller in memory, measured on a CPU and a GPU"
    left = drawn.get_supxlabel()
    assert "Left out, having no peer: " in left and "studio: time to the first view" in left and "useful operations" in left
    told = [text.get_text() for text in drawn.axes[0].texts]
    assert len(told) == sum(one.has_peer for one in found) < len(found)
    assert "2.00 times less (0.50)" in told and "1.099" in told
