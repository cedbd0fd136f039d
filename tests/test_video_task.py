"""Video with image models: what a clip is read as, that the order of frames is not seen, and both kinds of clips."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_models import toy_config, toy_images, toy_model, toy_tokens

from blip.checkpoint import Card, save
from blip.data.benchmarks.videos import read_video_captions, read_video_questions
from blip.data.video import QUESTION_FRAMES, RETRIEVAL_FRAMES
from blip.errors import InputError
from blip.memory import Memory
from blip.tasks.video import ask_clips, clip_features, clip_scores, clip_states, frame_states, rank_videos
from blip.tasks.vqa import vqa_from
from blip.tasks.vqa_training import question_tokens
from lab.cli import main
from lab.downstream import video
from lab.downstream.clip_rows import clip_batches, file_clips, world_clips
from lab.downstream.video_qa import ClipQuestionSet, answered, file_clip_questions, world_clip_questions
from lab.inference import Machine
from lab.weights import shipped
from lab.world.clips import captioned_clips, clip_questions
from lab.world.sets import World
from lab.world.task_files import write_clips

NANO, PRETRAINED = World.of("nano"), "blip/weights/pretrained.safetensors"
MODEL = toy_model(spread=0.2)
FRAMES = 5
ORDERS = [torch.randperm(FRAMES, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]


def near(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def clips(count, seed=0):
    return toy_images(count * FRAMES, seed).unflatten(0, (count, FRAMES))


def toy_vqa():
    config = toy_config(width=32, memory_width=32, dropout=0.0)
    return vqa_from(toy_model(spread=0.3, config=config)).eval()


@torch.no_grad()
def test_a_clip_is_the_mean_of_its_projected_frames_made_one_long():
    states = frame_states(MODEL.image_encoder, clips(2))
    projected = [[MODEL.image_projection(MODEL.encode_image(f[None])[0, 0]) for f in clip] for clip in clips(2)]
    expected = torch.stack([sum(frames) / FRAMES for frames in projected])
    near(clip_features(MODEL, states), expected / expected.norm(dim=1, keepdim=True))
    units = torch.stack([F.normalize(torch.stack(frames), dim=1).mean(0) for frames in projected])
    assert (clip_features(MODEL, states) - F.normalize(units, dim=1)).abs().max() > 1e-3


@torch.no_grad()
def test_the_memory_of_a_clip_is_that_of_its_frames_one_after_the_other():
    found = MODEL.remember(clip_states(frame_states(MODEL.image_encoder, clips(1))), "encoder")
    each = [MODEL.remember(MODEL.encode_image(frame[None]), "encoder") for frame in clips(1)[0]]
    for side in ("keys", "values"):
        for layer, layers in enumerate(zip(*(getattr(one, side) for one in each), strict=True)):
            near(getattr(found, side)[layer], torch.cat(layers, dim=2))


@torch.no_grad()
@pytest.mark.parametrize("order", ORDERS + [torch.arange(FRAMES).flip(0)])
def test_the_published_method_cannot_see_the_order_of_frames(order):
    """Frames in another order change features, match logits and answers by rounding only; another frame changes them."""
    shown, texts = clips(2), toy_tokens([6, 9, 4])
    other = shown.clone()
    other[:, 0] = toy_images(2, seed=9)

    def read(pictures):
        vqa = toy_vqa()
        memory = ask_clips(vqa, pictures, toy_tokens([7, 5], "ENC"))
        answers = vqa.answer_logits(toy_tokens([4, 5], "DEC"), memory)
        features = clip_features(MODEL, frame_states(MODEL.image_encoder, pictures))
        return [features, clip_scores(MODEL, pictures, texts), answers]

    for before, moved, changed in zip(read(shown), read(shown[:, order]), read(other), strict=True):
        near(moved, before)
        assert (changed - before).abs().max() > 1e-3


@torch.no_grad()
def test_scores_are_match_logit_plus_cosine():
    shown, texts = clips(3), toy_tokens([6, 9, 4, 7])
    found = clip_scores(MODEL, shown, texts)
    for v in range(3):
        states = MODEL.encode_image(shown[v])
        vector = F.normalize(MODEL.image_projection(states[:, 0]).mean(0), dim=0)
        memory = MODEL.remember(states.flatten(0, 1)[None], "encoder")
        for t in range(4):
            text = texts.rows(torch.tensor([t]))
            cosine = MODEL.text_features(MODEL.encode_text(text))[0] @ vector
            near(found[v, t], MODEL.match_logits(text.led_by("ENC"), memory)[0, 1] + cosine)


def test_ranking_is_every_score_where_the_shortlist_holds_all():
    shown, texts = clips(4), toy_tokens([6, 9, 4, 7, 5])
    found = rank_videos(MODEL, lambda: shown.split(3), texts, k=128)
    expected = clip_scores(MODEL, shown, texts).numpy()
    np.testing.assert_allclose(found.of_images.table(), expected, atol=1e-4)
    np.testing.assert_allclose(found.of_texts.table(), expected.T, atol=1e-4)
    short = rank_videos(MODEL, lambda: shown.split(1), texts, k=2)
    assert (np.isfinite(short.of_texts.table()).sum(1) == 2).all()
    inside = np.isfinite(short.of_images.table())
    np.testing.assert_allclose(short.of_images.table()[inside], expected[inside], atol=1e-4)


@torch.no_grad()
def test_questions_read_all_frames_of_their_clip():
    vqa, shown, questions = toy_vqa(), clips(1), toy_tokens([7, 5, 6], "ENC")
    found = ask_clips(vqa, shown, questions)
    each = [vqa.question.remember(vqa.image_encoder(frame[None]), "encoder") for frame in shown[0]]
    sides = [
        tuple(torch.cat(layer, dim=2) for layer in zip(*(getattr(one, side) for one in each), strict=True))
        for side in ("keys", "values")
    ]
    states = vqa.question(questions.ids, questions.keep, "encoder", memory=Memory(*sides))
    expected = vqa.answer.remember(states, "decoder", questions.keep)
    for one, other in zip((*found.keys, *found.values), (*expected.keys, *expected.values), strict=True):
        near(one, other)
    assert torch.equal(found.keep, questions.keep)


@pytest.fixture(scope="module")
def told():
    return captioned_clips(NANO, 24, "held-out")


@pytest.fixture(scope="module")
def asked():
    return clip_questions(NANO, 6, "held-out")


@pytest.fixture(scope="module")
def files(told, asked, tmp_path_factory):
    """The same clips as MSRVTT's lists and folders of frames."""
    folder = tmp_path_factory.mktemp("clips")
    write_clips(told, asked, folder, 32)
    return folder


def frames_of(rows):
    return torch.cat(list(clip_batches(rows, RETRIEVAL_FRAMES, Machine(batch=20))))


def test_folders_of_frames_give_the_pixels_of_the_world(told, files):
    videos = read_video_captions(files / "captions.jsonl", files / "clips")
    found = frames_of(file_clips([one.path for one in videos], 32, RETRIEVAL_FRAMES))
    assert found.shape == (24, RETRIEVAL_FRAMES, 3, 32, 32)
    near(found, frames_of(world_clips([one.clip for one in told], 32, RETRIEVAL_FRAMES)))


def test_questions_about_a_clip_are_asked_together_and_answered_in_order(asked, files):
    paths = read_video_questions(files / "questions.jsonl", files / "clips")
    read, drawn = file_clip_questions(paths, 32, 4), world_clip_questions(asked, 32, 4)
    assert read.texts == drawn.texts and read.answers == drawn.answers and read.clip_of == drawn.clip_of
    loaded = shipped("pretrained")
    model, tokenizer = vqa_from(loaded.model).eval(), loaded.tokenizer

    def number(memory):
        """An answer that tells what was read: every question's first value, to two digits."""
        return [f"{value:.2f}" for value in memory.values[0][:, 0, 0, 0].tolist()]

    order = torch.randperm(len(asked), generator=torch.Generator().manual_seed(0)).tolist()
    columns = ([getattr(drawn, name)[at] for at in order] for name in ("clip_of", "ids", "texts", "answers"))
    mixed = ClipQuestionSet(drawn.clips, *columns)
    found = answered(model, tokenizer, mixed, number, Machine(batch=12), frames=4)
    with torch.inference_mode():
        for at, said in zip(order, found, strict=True):
            clip = drawn.clips.read(drawn.clips.clips[drawn.clip_of[at]])[None]
            alone = ask_clips(model, clip, question_tokens([drawn.texts[at]], tokenizer))
            assert float(said) == pytest.approx(float(alone.values[0][0, 0, 0, 0]), abs=0.011)
    assert len(set(found)) > 1 and len(drawn.clips) == 6 < len(asked)


def test_order_queries_are_at_chance_even_for_trained_weights(monkeypatch):
    monkeypatch.setattr(video, "HELD_OUT", 15)
    found = video.run_order(shipped("filter"), "nano")
    assert found["accuracy"] == found["chance"] == 0.5 and 0 < found["largest_difference"] < video.TIED


def test_chance_and_ceiling_of_retrieval(told):
    single = video.chance(np.arange(24), 24)
    assert single["video_r5"] == 5 / 24 and single["text_r5"] == pytest.approx(5 / 24)
    several = video.chance(np.array([0, 0, 1]), 2)
    assert several["video_r1"] == 0.5 and several["text_r1"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    best = video.ceiling(told)
    assert 0.8 < best["video_r1"] <= best["video_r5"] <= 1
    assert video.ceiling([told[0], told[0]])["video_r1"] == 0.5  # two clips that no text can tell apart


def test_commands_find_the_same_in_the_world_and_in_files(files, tmp_path, capsys):
    words = ["evaluate", "video-retrieval", "--weights", PRETRAINED, "--k", "8", "--out"]
    lists = ["--data", str(files / "captions.jsonl"), "--videos", str(files / "clips")]
    assert main([*words, str(tmp_path / "world"), "--world", "nano", "--world-clips", "24"]) == 0
    assert main([*words, str(tmp_path / "files"), *lists]) == 0
    world, read = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("world", "files"))
    assert world["measured"] == pytest.approx(read["measured"]) and world["chance"] == read["chance"]
    assert read["counted"] == {"videos": 24, "texts": 24} and "ceiling" not in read
    # Zero-shot from single images of the world, and far from chance.
    assert world["measured"]["video_r1"] > 3 * world["chance"]["video_r1"]
    assert "video median rank" in capsys.readouterr().out


@pytest.fixture(scope="module")
def vqa_weights(tmp_path_factory):
    loaded = shipped("pretrained")
    path = tmp_path_factory.mktemp("weights") / "vqa.safetensors"
    return save(path, vqa_from(loaded.model), loaded.tokenizer, Card(stage="vqa"))


def test_video_questions_are_answered_and_measured(files, asked, vqa_weights, tmp_path, capsys):
    words = ["evaluate", "video-qa", "--weights", str(vqa_weights), "--out"]
    lists = ["--data", str(files / "questions.jsonl"), "--videos", str(files / "clips")]
    (tmp_path / "list.json").write_text(json.dumps(["yes", "no", "red", "blue", "ball", "star"]))
    ranked = ["--answers", str(tmp_path / "list.json")]
    assert main([*words, str(tmp_path / "files"), *lists, *ranked]) == 0
    assert main([*words, str(tmp_path / "world"), "--world", "nano", "--world-clips", "6", *ranked]) == 0
    world, read = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("world", "files"))
    assert world["measured"] == read["measured"] and world["counted"]["questions"] == len(asked)
    said = {row["question_id"]: row["answer"] for row in json.loads((tmp_path / "world/answers.json").read_text())}
    right = [said[one.key] == one.answer for one in asked]
    assert world["measured"]["accuracy"] == pytest.approx(sum(right) / len(right))
    assert main([*words, str(tmp_path / "generated"), *lists, "--generate"]) == 0
    rows = [json.loads(line) for line in (files / "questions.jsonl").read_text().splitlines()]
    del rows[0]["answer"]
    (tmp_path / "hidden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    hidden = ["--data", str(tmp_path / "hidden.jsonl"), *lists[2:], *ranked]
    assert main([*words, str(tmp_path / "hidden"), *hidden]) == 0
    assert "not all with answers" in capsys.readouterr().out


def test_bad_input_is_one_sentence(files, vqa_weights, tmp_path, capsys):
    lists = ["--data", str(files / "captions.jsonl"), "--videos", str(files / "clips")]
    questions = ["--data", str(files / "questions.jsonl"), "--videos", str(files / "clips")]
    cases = [
        (["video-retrieval", *lists, "--world", "nano"], PRETRAINED, "Where do the videos come from?"),
        (["video-retrieval", *lists[:2]], PRETRAINED, "--data needs the folder of its videos"),
        (["video-retrieval", *lists[:2], "--videos", str(tmp_path)], PRETRAINED, "is missing"),
        (["video-retrieval", *lists, "--frames", "33"], PRETRAINED, "A clip of 32 frames is too short for 33"),
        (["video-retrieval", *lists], "blip/weights/captioner.safetensors", "ITC and ITM heads"),
        (["video-qa", *questions], PRETRAINED, "holds no VQA model"),
        (["video-qa", *questions], str(vqa_weights), "Which answers are ranked?"),
        (["video-retrieval", *lists, "--frames", "0"], PRETRAINED, "0 frames of a video cannot be"),
        (["video-retrieval", "--world", "nano", "--world-clips", "0"], PRETRAINED, "--world-clips 0 cannot be"),
        (["video-qa"], str(vqa_weights), "Where do the videos come from?"),
        (["video-qa", *questions[:2]], str(vqa_weights), "--data needs the folder of its videos"),
    ]
    for words, weights, said in cases:
        assert main(["evaluate", *words, "--weights", weights, "--out", str(tmp_path / "out")]) == 2
        heard = capsys.readouterr().err
        assert said in heard and len(heard.strip().splitlines()) == 1, heard


def test_a_frame_that_is_no_picture_is_named(files):
    broken = Path(files) / "broken"
    broken.mkdir()
    for at in range(QUESTION_FRAMES):
        (broken / f"{at}.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="broken/0.png cannot be used"):
        frames_of(file_clips([str(broken)], 32, QUESTION_FRAMES))
