"""The service of the room "Try it": any image, the models' own numbers, one sentence where there is nothing to say."""

import io
import math
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_models import FakeCaptioner, FakeFilter
from PIL import Image
from studio_ledgers import ITEMS, WORLD, generated_ledger, unusable_ledger
from task_models import new_model, written

import lab.weights
from apps import trial_cards
from apps.models import Models, open_models
from apps.service import Service
from apps.tabs.try_it import TEXTS as TEXTS_AT_FIRST
from apps.tabs.try_it_answers import LEDGER, Answers, Chosen
from apps.trials import END, Draw, Said, Token
from apps.trying import ANSWERS, MAX_TEXTS, Workbench
from apps.uploads import MAX_BYTES
from blip.capfilt import Job, run
from blip.captioner import Captioner
from blip.checkpoint import Card, save
from blip.data.images import MAX_PIXELS
from blip.data.readers import read_pairs
from blip.errors import InputError
from blip.generate import Decoding
from blip.matching import Matcher
from blip.tasks.vqa import vqa_from
from lab.world.checker import check

TEXTS = ("a red ball", "a blue box and a green fish", "two yellow stars")


@pytest.fixture(scope="module")
def models():
    return open_models()


@pytest.fixture(scope="module")
def workbench(models):
    return Workbench(models)


@pytest.fixture(scope="module")
def scene(workbench):
    return workbench.scene(3)


@pytest.fixture(scope="module")
def answering(tmp_path_factory):
    """A workbench with a VQA model that knows nothing."""
    loaded = new_model(["what colour is the ball", "red", "blue", "a red ball"])
    path = tmp_path_factory.mktemp("vqa") / "model.safetensors"
    save(path, vqa_from(loaded.model), loaded.tokenizer, Card(stage="vqa"))
    return Workbench(open_models(vqa=str(path)))


def encoded(image, kind, **settings):
    data = io.BytesIO()
    image.save(data, format=kind, **settings)
    return data.getvalue()


def gradient(mode="RGB"):
    values = np.linspace(0, 255, 48 * 32 * 3).astype(np.uint8).reshape(32, 48, 3)
    return Image.fromarray(values).convert(mode)


def sixteen_bit():
    return Image.fromarray(np.linspace(0, 65535, 32 * 48).astype(np.uint16).reshape(32, 48))


GOOD = {
    "jpeg": lambda: encoded(gradient(), "JPEG"),
    "cmyk": lambda: encoded(gradient("CMYK"), "JPEG"),
    "rgba": lambda: encoded(gradient("RGBA"), "PNG"),
    "palette": lambda: encoded(gradient("P"), "PNG"),
    "grey": lambda: encoded(gradient("L"), "PNG"),
    "16 bit": lambda: encoded(sixteen_bit(), "PNG"),
    "animated": lambda: encoded(gradient(), "GIF", save_all=True, append_images=[gradient("L")] * 3),
    "webp": lambda: encoded(gradient("RGBA"), "WEBP"),
    "tiff": lambda: encoded(gradient(), "TIFF"),
}


@pytest.mark.parametrize("kind", GOOD)
def test_odd_images_are_shown_and_read(workbench, kind):
    subject = workbench.upload(GOOD[kind]())
    shown = Image.open(io.BytesIO(subject.jpeg))
    assert (shown.size, shown.mode) == ((48, 32), "RGB")
    assert subject.matcher.shape == subject.captioner.shape == (3, 32, 32)
    assert np.asarray(shown).std() > 20  # not a blank
    assert workbench.captions(subject, Draw(draws=1))["greedy"][0].text


def huge():
    """A PNG of a few bytes whose header says 10,000 x 10,000 pixels."""
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


BAD = {
    "empty": (lambda: b"", "zero bytes"),
    "text": (lambda: b"no image at all", "not an image of a known format"),
    "page": (lambda: b"<!doctype html><script>alert(1)</script>", "a web page"),
    "cut off": (lambda: encoded(gradient(), "JPEG")[:300], "cannot be decoded"),
    "huge": (huge, f"more than {MAX_PIXELS:,} pixels); make it smaller."),
    "strip": (lambda: encoded(Image.new("RGB", (900, 3)), "PNG"), "longer than 20 to 1); crop it."),
    "heavy": (lambda: b"\xff" * (MAX_BYTES + 1), "at most 20 MB are opened; make the image smaller"),
    "vector": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage", "not an image of a known format"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_usable_image_gives_one_sentence(workbench, kind):
    data, reason = BAD[kind]
    with pytest.raises(InputError) as raised:
        workbench.upload(data())
    said = str(raised.value)
    assert reason in said and said.startswith("This file") and said.endswith(".")
    assert "\n" not in said and "Traceback" not in said


def test_captions_are_those_of_the_captioner_with_the_probability_of_each_token(models, workbench, scene):
    draw = Draw(top_p=0.8, temperature=1.3, seed=5, draws=2, beams=2)
    found = workbench.captions(scene, draw)
    assert {strategy: len(said) for strategy, said in found.items()} == {"greedy": 1, "beam": 1, "nucleus": 2}
    wanted = {
        "greedy": Decoding(strategy="greedy"),
        "beam": Decoding(strategy="beam", num_beams=2),
        "nucleus": Decoding(top_p=0.8, temperature=1.3, candidates=2),
    }
    for strategy, decoding in wanted.items():
        captions = Captioner(models.captioner, decoding, tile=1)([scene.captioner], [scene.digest], seed=5)[0]
        for said, caption in zip(found[strategy], captions, strict=True):
            assert said.text == caption.text
            product = math.prod(token.probability for token in said.tokens)
            assert product == pytest.approx(math.exp(sum(caption.logprobs)), rel=1e-6)
            assert said.tokens[-1].text == END
            assert said.truth == check(said.text, scene.scene).truth


def test_a_seed_gives_the_same_draws_and_another_one_others(workbench, scene):
    draws = [
        [said.text for said in workbench.captions(scene, Draw(seed=seed, draws=6, temperature=1.5))["nucleus"]]
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]
    hot, cold = (
        {said.text for said in workbench.captions(scene, Draw(draws=6, temperature=t))["nucleus"]} for t in (2.0, 0.1)
    )
    assert len(hot) > len(cold)


def test_texts_are_ranked_by_what_the_filter_says(models, workbench, scene):
    found = workbench.matches(scene, [*TEXTS, "  ", "!!"])
    scores = Matcher(models.filter)([scene.matcher], [TEXTS])[0]
    wanted = sorted(zip(TEXTS, scores, strict=True), key=lambda pair: -pair[1][1])
    assert [said.text for said in found] == [text for text, _ in wanted]
    for said, (_, (_, match, cosine)) in zip(found, wanted, strict=True):
        assert (said.match, said.cosine) == pytest.approx((match, cosine), abs=1e-4)
    with pytest.raises(InputError, match=f"{MAX_TEXTS + 1} texts are too many"):
        workbench.matches(scene, ["a ball"] * (MAX_TEXTS + 1))
    with pytest.raises(InputError, match="There is no text"):
        workbench.matches(scene, ["", " . "])


def test_a_given_text_is_as_probable_as_when_the_captioner_said_it(workbench, scene):
    said = workbench.captions(scene, Draw())["greedy"][0]
    again = workbench.token_probabilities(scene, said.text)
    assert [token.text for token in again] == [token.text for token in said.tokens]
    for one, other in zip(again, said.tokens, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-4)
    unlikely = workbench.token_probabilities(scene, "two purple hats on a beach " + "and a dog " * 40)
    assert math.prod(token.probability for token in unlikely) < 1e-6


def test_what_the_filter_says_of_a_text_is_what_its_heat_maps_are_of(workbench, scene):
    match = workbench.matches(scene, [TEXTS[1]])[0].match
    for layer in range(workbench.layers):
        found = workbench.explain(scene, TEXTS[1], layer)
        assert found.probability == pytest.approx(match, abs=1e-4)
        assert (found.layer, len(found.words)) == (layer, 7)
        assert found.grad_cam.shape == (8, 4, 4) and (found.grad_cam >= 0).all()


def test_an_image_of_the_ledger_is_read_as_capfilt_read_it(workbench, models, tmp_path):
    service = Service.open(generated_ledger(tmp_path / "ledger").folder)
    original = service.original(7)
    subject = workbench.subject(original, ITEMS[7].key)
    read = Matcher(models.filter).prepare(Image.fromarray(ITEMS[7].image(WORLD.level.px)))
    assert torch.equal(subject.matcher, read)
    assert subject.digest == service.ask("SELECT sha256 FROM images WHERE image = 7")[0]["sha256"]
    assert (subject.scene, original.shown.width) == (ITEMS[7].scene, 512)
    with pytest.raises(InputError, match="The ledger has no image 60"):
        service.original(60)
    service.close()


def test_a_photo_of_the_ledger_that_changed_is_not_shown(tmp_path):
    gradient().save(tmp_path / "one.png")
    (tmp_path / "pairs.csv").write_text("image,caption\none.png,a gradient\n")
    pairs = read_pairs(tmp_path / "pairs.csv")
    run(Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()}), pairs, tmp_path / "ledger")
    service = Service.open(tmp_path / "ledger")
    original = service.original(0)
    assert original.read.size == original.shown.size == (48, 32) and original.scene is None
    gradient("L").save(tmp_path / "one.png")
    with pytest.raises(InputError, match="has changed since it was captioned"):
        service.original(0)
    service.close()


def test_where_no_image_of_the_ledger_could_be_used_a_scene_is_tried(workbench, tmp_path):
    service = Service.open(unusable_ledger(tmp_path).folder)
    chosen, portrait, picks, _ = Answers(service, workbench).begin(None, LEDGER, 0)
    assert (chosen.subject.name, chosen.number) == ("scene 1", None) and "scene 1" in portrait
    assert "No image of this ledger could be used; choose a new scene." in picks
    _, page, back, on = Answers(service, workbench).turn(LEDGER, 1)
    assert (page, back["interactive"], on["interactive"]) == (0, False, False)
    service.close()


def test_questions_get_answers_with_their_probability(answering):
    subject = answering.scene(0)
    found = answering.answers(subject, "What colour is the ball?")
    assert 1 <= len(found) <= ANSWERS
    chances = [chance for _, chance in found]
    assert chances == sorted(chances, reverse=True) and all(0 < chance <= 1 for chance in chances)
    with pytest.raises(InputError, match="There is no question"):
        answering.answers(subject, " . ")


def test_without_models_each_answer_is_the_command_that_gives_one(monkeypatch, tmp_path, scene):
    monkeypatch.setattr(lab.weights, "WEIGHTS", tmp_path)
    bare = Workbench(open_models())
    subject = bare.upload(GOOD["jpeg"]())
    assert (bare.layers, subject.captioner, subject.matcher) == (0, None, None)
    for ask in (lambda: bare.captions(subject, Draw()), lambda: bare.matches(subject, TEXTS), lambda: bare.explain(subject, "a")):
        with pytest.raises(InputError, match="run lab train-shipped --install"):
            ask()
    with pytest.raises(InputError, match="train one with lab finetune vqa"):
        bare.answers(subject, "what is it")
    assert bare.token_probabilities(subject, "a ball") == ()


def test_a_captioner_without_a_filter_still_captions(models, scene):
    alone = Workbench(Models(models.captioner, None, None, {"filter": "none"}))
    said = alone.captions(scene, Draw(draws=1))["greedy"][0]
    assert said.text and (said.match, said.cosine) == (None, None)
    assert "kept" not in trial_cards.captions({"greedy": [said]}, 0.5)


def test_a_captioner_with_a_prompt_longer_than_captions_still_captions(models, scene):
    prompt = "a picture of " * 7
    talkative = replace(models.captioner, card=replace(models.captioner.card, prompt=prompt))
    length = len(talkative.tokenizer.prompt(prompt))
    assert length > Decoding().max_length
    said = Workbench(Models(talkative, None, None, {"filter": "none"})).captions(scene, Draw(draws=1))
    positions = talkative.model.config.text.max_positions
    assert all(0 < len(said[way][0].tokens) <= min(positions, length + 12) - length for way in said)


def test_named_weights_that_cannot_be_used_are_refused_at_once(tmp_path):
    with pytest.raises(InputError, match="There are no weights at"):
        open_models(captioner=str(tmp_path / "none.safetensors"))
    blip = written(new_model(["a ball"]), tmp_path / "blip.safetensors")
    with pytest.raises(InputError, match="holds no VQA model .*train it with lab finetune vqa"):
        open_models(vqa=blip)
    assert open_models(captioner=blip).captioner.card.stage == "pretrained"


def test_people_who_ask_at_the_same_time_get_their_own_answers(workbench):
    subjects = [workbench.scene(number) for number in range(4)]

    def answer(subject):
        caption = workbench.captions(subject, Draw(draws=1))["greedy"][0].text
        return caption, workbench.explain(subject, caption).grad_cam

    alone = [answer(subject) for subject in subjects]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(answer, subjects * 3))
    for one, other in zip(alone * 3, together, strict=True):
        assert one[0] == other[0] and torch.equal(one[1], other[1])


def test_what_is_kept_is_decided_by_the_thresholds(workbench, scene):
    chosen, lines, answers = Chosen(scene), {}, Answers(None, workbench)
    for limit in (0.0, 1.0):
        said = answers.introduce(chosen, 0.5, limit, 0.9, 1.0, 1, 1, 0)[0]
        ranked = answers.match(chosen, limit, "a red ball")
        lines[limit] = [*re.findall("<article class=.(.*?)[\"']", said), *re.findall("<li class=.(.*?)[\"']", ranked)]
    assert len(lines[0.0]) == len(lines[1.0]) > 1
    assert set(lines[0.0]) == {"kept"} and set(lines[1.0]) == {"filtered"}


def test_everything_shown_is_text_and_every_word_has_its_heat_map(workbench, scene):
    wicked = "<script>hacked()</script>"
    subject = replace(scene, name=wicked)
    tokens = (Token(wicked, False, 0.5), Token("s", True, 0.25), Token(END, False, 1.0))
    said = Said(wicked, tokens, 0.7, -0.2, "uninformative")
    found = workbench.explain(subject, "a red <ball>")
    pages = [
        trial_cards.portrait(subject),
        trial_cards.captions({"greedy": [said], "nucleus": [said, said]}, 0.5),
        trial_cards.ranking([said], 0.5),
        trial_cards.answers([(wicked, 0.5)]),
        trial_cards.notice(wicked),
        trial_cards.heat(subject, found, found.grad_cam, tokens),
    ]
    assert all("<script" not in page for page in pages)
    assert pages[1].count("<article") == 3 and "Nucleus 2" in pages[1] and "−0.20" in pages[1]
    assert 'class="token joined"' in pages[1] and "width:25.0%" in pages[1]
    assert pages[5].count('class="tile"') == 1 + len(found.words)
    nothing = trial_cards.heat(subject, found, torch.zeros_like(found.grad_cam), ())
    assert nothing.count(": nowhere") == 1 + len(found.words)
    corner = torch.zeros_like(found.grad_cam)
    corner[:, 0, 3] = 1
    assert "whole text: strongest at the top right" in trial_cards.heat(subject, found, corner, ())


def test_the_first_texts_are_of_the_world_and_a_text_that_it_does_not_know_says_so(workbench, scene):
    first = workbench.matches(scene, TEXTS_AT_FIRST.splitlines())
    assert len(first) == 3 and {one.truth for one in first} <= {"true", "false"}
    known = workbench.models.filter.tokenizer
    assert all(known.special.unk not in known.pieces(one.text) for one in first)
    html = trial_cards.ranking(workbench.matches(scene, ["a photo of a dog"]), 0.5)
    assert "names nothing of this world" in html and "says little" not in html
