"""Captioning: the loss behind the prompt, captions in order, metrics, result files, commands."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from caption_files import scenes, write_csv, write_karpathy, write_nocaps
from toy_models import toy_images, toy_model, toy_tokens

import lab.captioned
from blip.checkpoint import Card, load, save
from blip.data.benchmarks.captions import read_captions
from blip.errors import InputError
from blip.generate import captions as generated
from blip.metrics.captions import bleu, cider_d, rouge_l
from blip.metrics.words import caption_words
from blip.model import narrowed
from blip.tasks.batch import PairBatch
from blip.tasks.captioning import EVALUATION, PROMPT, Captioning, captioning_model
from lab.captioned import Gallery, Material, captioned, gallery, training
from lab.cli import main
from lab.downstream import captioning
from lab.inference import Machine, pixels
from lab.weights import shipped

CAPTIONER = "blip/weights/captioner.safetensors"
PRETRAINED = "blip/weights/pretrained.safetensors"


def run(*words):
    return main([str(word) for word in words])


@pytest.fixture(autouse=True)
def without_java(monkeypatch):
    """METEOR starts a Java machine; the tests of the metrics do that."""
    monkeypatch.setattr(captioning, "meteor", lambda *words: "skipped: a test without Java")


@pytest.fixture(scope="module")
def captioner():
    return shipped("captioner")


@torch.no_grad()
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_every_token_behind_the_prompt(smoothing):
    model, lengths, prompt = toy_model(1, spread=0.3), [6, 9, 7], 3
    images, tokens = toy_images(3), toy_tokens(lengths)
    task = Captioning(model, prompt_length=prompt, smoothing=smoothing)
    loss = task(PairBatch(images, tokens, torch.arange(3))).parts["lm"]
    terms = []
    for row, length in enumerate(lengths):
        memory = model.remember(model.encode_image(images[row : row + 1]), "decoder")
        ids = tokens.led_by("DEC").rows(torch.tensor([row]))
        logprobs = model.decode(ids, memory)[0].log_softmax(dim=1)
        for at in range(prompt, length):
            said, spread = logprobs[at - 1, tokens.ids[row, at]], logprobs[at - 1].mean()
            terms.append(-(1 - smoothing) * said - smoothing * spread)
    assert float(loss) == pytest.approx(float(torch.stack(terms).mean()), rel=1e-5)


def test_a_model_without_a_decoder_is_refused():
    with pytest.raises(InputError, match="weights with a decoder"):
        captioning_model(narrowed(toy_model(), "encode", "fuse"))


def test_captions_come_in_order_whatever_the_batch(captioner, monkeypatch):
    monkeypatch.setattr(lab.captioned, "WORLD_SCENES", 12)
    found = gallery(Material(world="nano"), 32)
    said = captioning.captions(captioner, found, EVALUATION, Machine(batch=5, device="cpu"))
    assert len(set(said)) > len(said) / 2
    for row, image in enumerate(found.images):
        (states,) = [captioner.model.encode_image(b) for b in pixels([image], 32, Machine(device="cpu"))]
        ((one,),) = generated(captioner.model, states, EVALUATION, captioner.tokenizer)
        assert one.text == said[row]


def test_a_prompt_that_is_given_goes_before_that_of_the_weights(captioner, monkeypatch):
    monkeypatch.setattr(lab.captioned, "WORLD_SCENES", 4)
    found, machine = gallery(Material(world="nano"), 32), Machine(device="cpu")
    (states,) = [captioner.model.encode_image(batch) for batch in pixels(found.images, 32, machine)]
    for prompt in ("", "two red "):
        decoding = replace(EVALUATION, prompt=prompt)
        said = captioning.captions(captioner, found, decoding, machine)
        assert said == [own[0].text for own in generated(captioner.model, states, decoding, captioner.tokenizer)]
        assert said != captioning.captions(captioner, found, EVALUATION, machine)


def test_the_measures_are_those_of_the_metrics_and_chance_is_the_next_images_caption(monkeypatch):
    monkeypatch.setattr(lab.captioned, "WORLD_SCENES", 30)
    found = gallery(Material(world="nano"), 32, domains=("in", "out"))
    references = [image.captions for image in found.images]
    said = [own[-1] for own in references]
    result = captioning.measured(said, found)
    theirs = [map_words(own) for own in references]
    scores = cider_d(map_words(said), theirs)
    assert (result["cider"], result["bleu4"]) == pytest.approx((scores.mean(), bleu(map_words(said), theirs)[3]))
    assert result["rouge_l"] == pytest.approx(rouge_l(map_words(said), theirs).mean())
    others = [own[0] for own in references[1:] + references[:1]]
    assert result["chance_cider"] == pytest.approx(cider_d(map_words(others), theirs).mean())
    assert result["true"] == result["strictly_true"] == 1.0
    ciders = {"in-domain": [], "out-domain": []}
    for image, cider in zip(found.images, scores, strict=True):
        ciders[image.domain].append(cider)
    means = {domain: sum(own) / len(own) for domain, own in ciders.items()}
    assert result["cider_by_domain"] == pytest.approx(means)
    assert "cider_by_domain" not in captioning.measured(said[:9], Gallery(captioned_without_domains(found.images[:9])))


def map_words(texts):
    return [caption_words(text) for text in texts]


def captioned_without_domains(images):
    return [lab.captioned.CaptionedImage(image.image_id, image.image, image.captions) for image in images]


def test_a_false_and_a_partial_caption_are_told_from_a_whole_one():
    items = [item for item in scenes(40) if len(item.scene.things) == 2][:3]
    thing = items[1].scene.things[0]
    said = [items[0].caption, f"a {thing.colour} {thing.kind}", "a rainbow kite and a red lamp"]
    found = captioning.truth(said, [item.scene for item in items])
    assert found == {"true": pytest.approx(2 / 3), "strictly_true": pytest.approx(1 / 3)}


def test_the_world_task_runs_and_leaves_its_start_alone(monkeypatch):
    monkeypatch.setattr(lab.captioned, "WORLD_SCENES", 20)
    monkeypatch.setattr(lab.captioned, "WORLD_PAIRS", 64)
    start = shipped("pretrained")
    before = {name: tensor.clone() for name, tensor in start.model.state_dict().items()}
    found = captioning.run(start, "nano", steps=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.model.state_dict().items())
    assert found["chance"] < 0.2 and found["ceiling"] == 1.0 and 0 <= found["strictly_true"] <= found["true"] <= 1


def test_nocaps_is_scored_by_domain_and_left_in_the_servers_format(tmp_path, capsys):
    items, domains = scenes(6), ["in-domain", "near-domain", "out-domain"] * 2
    path = write_nocaps(tmp_path, items, domains)
    words = ("evaluate", "captioning", "--weights", CAPTIONER, "--images", tmp_path, "--device", "cpu")
    assert run(*words, "--data", path, "--out", tmp_path / "val", "--repetition-penalty", 1.1) == 0
    summary = json.loads((tmp_path / "val" / "summary.json").read_text())
    assert set(summary["cider_by_domain"]) == set(domains)
    printed = capsys.readouterr().out
    assert "CIDEr-D, near-domain" in printed and "skipped: a test without Java" in printed
    said = json.loads((tmp_path / "val" / "captions.json").read_text())
    assert [set(row) for row in said] == [{"image_id", "caption"}] * 6
    assert [row["image_id"] for row in said] == list(range(6))
    test = write_nocaps(tmp_path, items, domains, captions=False)
    assert run(*words, "--data", test, "--out", tmp_path / "test") == 0
    assert "without captions to compare with" in capsys.readouterr().out
    assert [identity for identity, _ in read_captions(tmp_path / "test" / "captions.json")] == list(range(6))


def test_coco_ids_reach_the_result_file(tmp_path):
    path = write_karpathy(tmp_path, scenes(4), ["train", "test", "val", "test"])
    words = ("--weights", CAPTIONER, "--data", path, "--images", tmp_path, "--out", tmp_path / "e", "--device", "cpu")
    assert run("evaluate", "captioning", *words) == 0
    assert [identity for identity, _ in read_captions(tmp_path / "e" / "captions.json")] == [1001, 1003]


def test_captions_of_some_images_only_are_refused(tmp_path, capsys):
    data = write_csv(tmp_path, scenes(3))
    lines = data.read_text().splitlines()
    name = lines[-1].split(",")[0]
    kept = [line for line in lines if not line.startswith(name)]
    data.write_text("\n".join([*kept, f"{name},"]) + "\n")
    words = ("--weights", CAPTIONER, "--data", data, "--out", tmp_path / "e", "--device", "cpu")
    assert run("evaluate", "captioning", *words) == 2
    assert f"The image {name.removesuffix('.png')!r} has no caption, others have" in capsys.readouterr().err


def test_a_csv_is_trained_on_and_its_captioner_remembers_the_prompt(tmp_path, capsys):
    data, out = write_csv(tmp_path, scenes(10)), tmp_path / "run"
    small = ("--steps", 2, "--batch", 10, "--workers", 1, "--device", "cpu", "--prompt", "a drawing of ")
    words = ("--data", data, "--val", data, "--weights", "blip/weights/pretrained.safetensors", "--out", out)
    assert run("finetune", "captioning", *words, *small) == 0
    said = capsys.readouterr().out
    assert "before training, on 10 images" in said and "after training" in said
    loaded = load(out / "model.safetensors")
    assert (loaded.card.stage, loaded.card.prompt) == ("captioning", "a drawing of ")
    assert loaded.model.config.text.readings == {"decode"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["rejects"] == 0
    assert set(summary["last"]) >= {"lm"} and not {"itc", "itm"} & set(summary["last"])
    found = captioned(str(data), Material(), "test")
    again = captioning.measured(captioning.captions(loaded, found, EVALUATION, Machine(device="cpu")), found)
    assert again["cider"] == pytest.approx(summary["after"]["cider"])


def test_before_training_the_weights_speak_behind_their_own_prompt(tmp_path):
    """The shipped pre-trained model has none; behind another's words it says nothing that is right."""
    data, words = write_csv(tmp_path, scenes(10)), ("--weights", "blip/weights/pretrained.safetensors", "--device", "cpu")
    tuned = ("--val", data, "--out", tmp_path / "run", "--steps", 1, "--batch", 10, "--workers", 1)
    assert run("finetune", "captioning", "--data", data, *words, *tuned) == 0
    assert run("evaluate", "captioning", "--data", data, *words, "--out", tmp_path / "alone") == 0
    before, alone = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("run", "alone"))
    assert before["before"]["cider"] == pytest.approx(alone["cider"]) and alone["cider"] > 1


def test_training_brings_a_captioner_back_that_was_disturbed(tmp_path, captioner, monkeypatch):
    monkeypatch.setattr(lab.captioned, "WORLD_SCENES", 30)
    monkeypatch.setattr(lab.captioned, "WORLD_PAIRS", 320)
    torch.manual_seed(0)
    model = narrowed(captioner.model, "decode")
    with torch.no_grad():
        model.text.lm_head.bias.add_(2.0 * torch.randn_like(model.text.lm_head.bias))
    disturbed = save(tmp_path / "disturbed.safetensors", model, captioner.tokenizer, Card(stage="captioner", prompt=PROMPT))
    words = ("--world", "nano", "--weights", disturbed, "--steps", 40, "--peak", 1e-3, "--device", "cpu")
    assert run("finetune", "captioning", "--out", tmp_path / "run", *words) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["after"]["strictly_true"] > summary["before"]["strictly_true"] + 0.2


def test_rows_that_cannot_be_used_are_counted_and_the_first_is_named(tmp_path, capsys):
    data = write_csv(tmp_path, scenes(6))
    rows = len(data.read_text().splitlines()) - 1
    data.write_text(data.read_text() + "gone.png,a red ball\n")
    words = ("--data", data, "--weights", CAPTIONER, "--out", tmp_path / "run", "--steps", 1, "--batch", 4, "--device", "cpu")
    assert run("finetune", "captioning", *words) == 0
    assert f"{rows} pairs, 1 rejects, the first: {data}:" in capsys.readouterr().out
    data.write_text("image,text\ngone.png,a red ball\n")
    assert run("finetune", "captioning", *words) == 2
    said = capsys.readouterr().err
    assert "has no pair that can be used: 1 rejects, the first: " in said and "gone.png is missing" in said


def test_rows_that_an_evaluation_cannot_use_are_told_and_recorded(tmp_path, capsys):
    data = write_csv(tmp_path, scenes(6))
    data.write_text(data.read_text() + "gone.png,a red ball\n")
    model = ("--weights", CAPTIONER, "--device", "cpu")
    assert run("evaluate", "captioning", "--data", data, "--out", tmp_path / "seen", *model) == 0
    line = f"not among them: 1 rejects, the first: {data}:"
    assert line in capsys.readouterr().out
    assert json.loads((tmp_path / "seen" / "summary.json").read_text())["rejects"] == 1
    small = ("--steps", 1, "--batch", 4, "--out", tmp_path / "tuned")
    assert run("finetune", "captioning", "--data", data, "--val", data, *model, *small) == 0
    said = capsys.readouterr().out
    assert line in said and "19 pairs" not in said
    assert json.loads((tmp_path / "tuned" / "summary.json").read_text())["val_rejects"] == 1


def test_an_evaluation_never_takes_the_place_of_a_training_nor_a_training_of_an_evaluation(tmp_path, capsys):
    data, model = write_csv(tmp_path, scenes(6)), ("--weights", CAPTIONER, "--device", "cpu")
    train = ("finetune", "captioning", "--data", data, *model, "--steps", 1, "--batch", 4)
    assert run(*train, "--out", tmp_path / "tuned") == 0
    assert run("evaluate", "captioning", "--data", data, "--out", tmp_path / "seen", *model) == 0
    assert run("evaluate", "captioning", "--data", data, "--out", tmp_path / "seen", *model) == 0
    before = [(tmp_path / name / "summary.json").read_bytes() for name in ("tuned", "seen")]
    capsys.readouterr()
    assert run("evaluate", "captioning", "--data", data, "--out", tmp_path / "tuned", *model) == 2
    assert "holds the summary.json of lab finetune captioning, which would be lost" in capsys.readouterr().err
    assert run(*train, "--out", tmp_path / "seen") == 2
    assert "holds the summary.json of lab evaluate captioning, which would be lost" in capsys.readouterr().err
    assert [(tmp_path / name / "summary.json").read_bytes() for name in ("tuned", "seen")] == before


def test_one_evaluation_never_takes_the_place_of_another(tmp_path, capsys):
    data, device = write_csv(tmp_path, scenes(6)), ("--device", "cpu")
    out = tmp_path / "seen"
    first = ("evaluate", "captioning", "--data", data, "--weights", CAPTIONER, *device, "--out", out)
    assert run(*first) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    more = tmp_path / "more.csv"
    more.write_bytes(data.read_bytes())
    others = {
        "of lab evaluate captioning, which would": ("evaluate", "retrieval", "--data", data, "--weights", PRETRAINED),
        "of lab evaluate captioning with other weights, which would": ("evaluate", "captioning", "--data", data, "--weights", PRETRAINED),
        "of lab evaluate captioning with other data, which would": ("evaluate", "captioning", "--data", more, "--weights", CAPTIONER),
    }
    for said, words in others.items():
        capsys.readouterr()
        assert run(*words, *device, "--out", out) == 2
        assert f"{out} holds the summary.json {said} be lost; give another --out." in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(Path(CAPTIONER).read_bytes())
    again = ("evaluate", "captioning", "--data", data, "--weights", copy, *device, "--out", out)
    assert run(*again, "--strategy", "greedy", "--batch", 2) == 0  # the same data and weights


@pytest.mark.parametrize("command", ["evaluate", "finetune"])
def test_a_folder_where_nothing_can_be_written_is_refused_before_the_model_runs(command, tmp_path, capsys, monkeypatch):
    data, words = write_csv(tmp_path, scenes(6)), ("--weights", CAPTIONER, "--device", "cpu")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(captioning, "captions", None)  # a call would fail
    more = ("--val", data, "--steps", 1, "--batch", 4) if command == "finetune" else ()
    for out, reason in ((tmp_path / "file", "it is a file"), (tmp_path / "file" / "below", "Not a directory")):
        assert run(command, "captioning", "--data", data, "--out", out, *words, *more) == 2
        assert f"Nothing can be written in {out} ({reason})" in capsys.readouterr().err


def test_a_table_with_columns_of_other_names_is_trained_and_measured_on(tmp_path, capsys):
    data = write_csv(tmp_path, scenes(6))
    data.write_text(data.read_text().replace("image,caption", "photo,alt").replace("image,text", "photo,alt"))
    assert data.read_text().startswith("photo,alt")
    model, named = ("--weights", CAPTIONER, "--device", "cpu"), ("--image-column", "photo", "--caption-column", "alt")
    small = ("--val", data, "--steps", 1, "--batch", 4, "--out", tmp_path / "tuned")
    assert run("finetune", "captioning", "--data", data, *model, *named, *small) == 0
    assert run("evaluate", "captioning", "--data", data, *model, *named, "--out", tmp_path / "seen") == 0
    assert run("embed", "--data", data, "--weights", "blip/weights/pretrained.safetensors", *named, "--out", tmp_path / "e") == 0
    capsys.readouterr()
    assert run("evaluate", "captioning", "--data", data, *model, "--out", tmp_path / "other") == 2
    assert "or name it as the" in capsys.readouterr().err


def test_karpathys_file_is_known_without_the_folder_of_its_images(tmp_path, capsys):
    path = write_karpathy(tmp_path, scenes(8), ["train", "test", "val", "test", "train", "restval", "train", "train"])
    model = ("--weights", CAPTIONER, "--data", path, "--device", "cpu")
    assert run("evaluate", "captioning", *model, "--out", tmp_path / "e") == 0
    assert [identity for identity, _ in read_captions(tmp_path / "e" / "captions.json")] == [1001, 1003]
    train = training(Material(data=str(path)))
    assert sorted(set(train.keys)) == ["1000", "1004", "1005", "1006", "1007"]
    assert run("evaluate", "captioning", *model, "--candidates", 3, "--out", tmp_path / "three") == 2
    assert "One caption an image is measured; leave --candidates at 1." in capsys.readouterr().err
    assert run("evaluate", "captioning", *model, "--temperature", 0.3, "--out", tmp_path / "cold") == 2
    assert "Decoding with temperature 0.3 cannot be; give strategy nucleus or top_k, for beam" in capsys.readouterr().err


def test_only_karpathys_file_is_taken_for_one_and_may_lie_at_a_url(tmp_path):
    path = write_karpathy(tmp_path, scenes(4), ["train", "test", "val", "test"])
    assert [image.image_id for image in captioned(f"file://{path}", Material(), "test").images] == [1001, 1003]
    content = json.loads(path.read_text())
    images = [{"id": at, "file_name": f"{one['filepath']}/{one['filename']}", "split": one["split"]} for at, one in enumerate(content["images"])]
    annotations = [{"image_id": at, "caption": f"a red ball {at}"} for at in range(5)]
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"images": [*images, {"id": 4, "file_name": "gone.png", "split": "train"}], "annotations": annotations}))
    assert len(training(Material(data=str(own))).keys) == 4
    found = captioned(str(own), Material(), "test")
    assert (len(found.images), len(found.rejects)) == (4, 1)
    assert [image.image_id for image in found.images] == [0, 1, 2, 3]  # COCO's own, which its servers want
    assert len(captioned(str(tmp_path / "ow?.json"), Material(), "test").images) == 4
