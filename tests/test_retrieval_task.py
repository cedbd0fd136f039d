"""Image-text retrieval: ranking against a slow truth, recalls, chance and ceiling, training, commands."""

import json
from itertools import permutations

import numpy as np
import pytest
import torch
from caption_files import scenes, write_csv, write_karpathy, write_list
from stored_models import QUEUE, stored_state
from toy_models import VOCAB, toy_images, toy_model, toy_tokens
from transformers_models import toy_tokenizer

import lab.captioned
from blip.checkpoint import load
from blip.checkpoint.published import write_published
from blip.data.loading import Loader
from blip.errors import InputError
from blip.metrics.retrieval import image_to_text_ranks, recalls, text_to_image_ranks
from blip.model import narrowed
from blip.tasks import ranking
from blip.tasks.retrieval import rank, retrieval_model, retrieval_scores, retrieval_task
from lab.captioned import Gallery, Material, captioned, gallery, training
from lab.cli import main
from lab.downstream import retrieval
from lab.finetuning import Tuning
from lab.inference import Machine
from lab.weights import shipped

PRETRAINED = "blip/weights/pretrained.safetensors"
IMAGES, LENGTHS = 5, [4, 9, 6, 3, 12, 7, 5, 9, 4, 8, 10]
TEXTS = len(LENGTHS)


@pytest.fixture(scope="module")
def model():
    return toy_model(3, spread=0.3)


def slow_tables(model, images, tokens, k):
    """Both tables by two loops over single pairs, nothing batched, nothing shared."""
    cosines, scores = torch.empty(IMAGES, TEXTS), torch.empty(IMAGES, TEXTS)
    for i in range(IMAGES):
        states = model.encode_image(images[i : i + 1])
        image = model.image_features(states)[0]
        for t in range(TEXTS):
            one = tokens.rows(torch.tensor([t]))
            cosines[i, t] = image @ model.text_features(model.encode_text(one))[0]
            logits = model.match_logits(one.led_by("ENC"), model.remember(states, "encoder"))
            scores[i, t] = logits[0, 1] + cosines[i, t]
    by_image, by_text = torch.full_like(scores, -torch.inf), torch.full_like(scores, -torch.inf)
    for i in range(IMAGES):
        chosen = cosines[i].topk(min(k, TEXTS)).indices
        by_image[i, chosen] = scores[i, chosen]
    for t in range(TEXTS):
        chosen = cosines[:, t].topk(min(k, IMAGES)).indices
        by_text[chosen, t] = scores[chosen, t]
    return by_image.numpy(), by_text.numpy()


@torch.no_grad()
@pytest.mark.parametrize("k", [1, 3, 5, 128])
def test_ranking_is_what_two_loops_over_pairs_give(model, k):
    images, tokens = toy_images(IMAGES), toy_tokens(LENGTHS)
    by_image, by_text = slow_tables(model, images, tokens, k)
    found = rank(model, lambda: images.split(2), tokens, k=k)
    np.testing.assert_allclose(found.of_images.table(), by_image, rtol=0, atol=2e-5)
    np.testing.assert_allclose(found.of_texts.table().T, by_text, rtol=0, atol=2e-5)
    # The parts matter: neither the logit nor the cosine alone orders like their sum here.
    assert np.ptp(found.of_images.scores - found.cosine_of_images.scores) > 0.1 or k == 1


def test_chunks_and_batches_change_nothing(model):
    images, tokens = toy_images(IMAGES), toy_tokens(LENGTHS)
    whole = rank(model, lambda: images.split(5), tokens, k=4)
    states = [model.encode_image(part) for part in images.split(1)]
    lists = (whole.cosine_of_images, whole.cosine_of_texts)
    for at_once in (1, 2, 7):
        of_images, of_texts = ranking.rerank(model, states, tokens, *lists, at_once=at_once)
        np.testing.assert_allclose(of_images.scores, whole.of_images.scores, rtol=0, atol=2e-5)
        np.testing.assert_allclose(of_texts.scores, whole.of_texts.scores, rtol=0, atol=2e-5)


def test_keys_and_values_of_an_image_are_computed_once_and_one_image_at_a_time(model, monkeypatch):
    sizes, remember = [], model.remember
    monkeypatch.setattr(model, "remember", lambda states, role: sizes.append(len(states)) or remember(states, role))
    rank(model, lambda: toy_images(IMAGES).split(2), toy_tokens(LENGTHS), k=3)
    assert sizes == [1] * IMAGES


def test_autocast_does_not_round_cosines():
    features = torch.nn.functional.normalize(torch.randn(40, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    plain = ranking.shortlist(features, features, 40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = ranking.shortlist(features, features, 40)
    np.testing.assert_array_equal(cast.table(), plain.table())


@pytest.mark.parametrize("count", [IMAGES - 1, IMAGES + 1])
def test_states_of_another_number_of_images_are_refused(model, count):
    tokens, images = toy_tokens(LENGTHS), toy_images(IMAGES)
    found = rank(model, lambda: [images], tokens, k=2)
    states = [model.encode_image(toy_images(count))]
    with pytest.raises(InputError, match="give as many"):
        ranking.rerank(model, states, tokens, found.cosine_of_images, found.cosine_of_texts)


def test_a_shortlist_of_nothing_is_refused(model):
    with pytest.raises(InputError, match="A shortlist of 0"):
        rank(model, lambda: [toy_images(2)], toy_tokens(LENGTHS), k=0)


def test_weights_without_heads_are_refused(model):
    with pytest.raises(InputError, match="ITC and ITM heads"):
        retrieval_model(narrowed(model, "decode"))


def test_the_true_match_outside_the_shortlist_ranks_last():
    rows = np.array([[1], [0]])
    missed = ranking.Shortlist(rows, np.zeros((2, 1), np.float32), 2)
    scores = retrieval_scores(missed, missed, np.array([0, 1]))
    assert scores.text.r1 == scores.image.r1 == 0
    assert scores.text.mean_rank == scores.image.mean_rank == 2
    assert scores.mean == pytest.approx(4 / 6)  # both are among the first five


def test_chance_is_the_mean_over_all_orders():
    image_of = np.array([0, 0, 1, 2, 2])
    of_texts = [np.tile(np.array(order, float), (3, 1)) for order in permutations(range(5))]
    of_images = [np.tile(np.array(order, float)[:, None], (1, 5)) for order in permutations(range(3))]
    found = retrieval.chance(image_of, 3)
    assert found["tr1"] == pytest.approx(np.mean([recalls(image_to_text_ranks(s, image_of)).r1 for s in of_texts]))
    assert found["ir1"] == pytest.approx(np.mean([recalls(text_to_image_ranks(s, image_of)).r1 for s in of_images]))
    assert found["tr5"] == found["tr10"] == found["ir5"] == 1.0


def test_the_ceiling_counts_what_is_true_of_several_scenes(monkeypatch):
    items = scenes(30)
    same = [items[0], items[0]]  # two images that no text can tell apart
    images = [lab.captioned.CaptionedImage(row, item.image(32), item.references) for row, item in enumerate(same)]
    twins = retrieval.ceiling(Gallery(images, tuple(item.scene for item in same)))
    assert twins["ir1"] == pytest.approx(0.5) and twins["ir5"] == 1.0
    # 3 own texts of 6 that are true: the first of a random order is an own one every other time.
    assert twins["tr1"] == pytest.approx(len(items[0].references) / (2 * len(items[0].references)))
    monkeypatch.setattr(lab.captioned, "WORLD_SCENES", 60)
    assert set(retrieval.ceiling(gallery(Material(world="nano"), 32)).values()) == {1.0}


def test_training_follows_the_published_rules(tmp_path, monkeypatch):
    seen = {}

    def look(name, task, feed, config, out, *, evaluate, made_of, measured_on):
        seen.update(task=task, batch=next(feed), schedule=config.schedule, evaluate=evaluate)
        return {}

    monkeypatch.setattr(retrieval, "fit", look)
    pairs = training(Material(data=str(write_csv(tmp_path, scenes(6)))))
    tuning = Tuning(batch=6, epochs=4, device="cpu")
    retrieval.tuned(shipped("pretrained"), pairs.source(32), tuning, out=None)
    # Of several captions of one image none is a negative of the others: batches carry image ids.
    assert len(pairs.texts) == 18
    loaded = next(iter(Loader(pairs.source(32), 6, seed=0)))
    assert torch.equal(seen["batch"].ids, loaded.image_ids) and not torch.equal(loaded.image_ids, loaded.pair_ids)
    rules = seen["task"].config
    assert (rules.queue, rules.momentum, rules.lm_weight, rules.negatives) == (1, 0.995, 0, "online")
    assert (seen["schedule"].steps, seen["schedule"].alpha, seen["schedule"].alpha_ramp) == (12, 0.4, 3)
    assert seen["evaluate"] is None
    assert retrieval_task(toy_model(), pairs=10**6).config.queue == 57_600


def test_negatives_may_be_drawn_at_random_and_a_training_goes_on_with_its_own_alone(tmp_path, capsys):
    data, out = write_csv(tmp_path, scenes(12)), tmp_path / "run"
    words = ("finetune", "retrieval", "--data", data, "--weights", PRETRAINED, "--steps", 2, "--batch", 6, "--device", "cpu", "--workers", 1)
    assert run(*words, "--out", out, "--negatives", "random") == 0 and run(*words, "--out", tmp_path / "hard") == 0
    soft, hard = (load(folder / "model.safetensors").model.state_dict() for folder in (out, tmp_path / "hard"))
    assert any(not torch.equal(soft[name], hard[name]) for name in soft)
    capsys.readouterr()
    assert run(*words, "--out", out) == 2
    assert "differs in the negatives" in capsys.readouterr().err


class Reached(Exception):
    """Training is about to begin."""


@pytest.mark.parametrize("queue", [QUEUE, QUEUE + 2])
@pytest.mark.parametrize("layout", ["pretrain", "retrieval"])
def test_momentum_encoders_and_queues_of_a_published_file_go_on(layout, queue, tmp_path, monkeypatch, capsys):
    seen = {}

    def look(name, task, feed, config, out, *, evaluate, made_of, measured_on):
        seen["task"] = task
        raise Reached

    monkeypatch.setattr(retrieval, "fit", look)
    monkeypatch.setattr("lab.unknown_words.REFUSED", 1)  # the toy vocabulary has none of these words
    model, stored, _ = stored_state(layout)
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(toy_tokenizer().vocab[: VOCAB - 2]) + "\n")
    path = write_published(tmp_path / "published.pth", model, stored)
    words = ("--weights", path, "--vocab", vocab, "--queue", queue, "--out", tmp_path / "out", "--batch", 4, "--device", "cpu")
    with pytest.raises(Reached):
        run("finetune", "retrieval", "--data", write_csv(tmp_path, scenes(4)), *words)
    task = seen["task"]
    teacher = task.teacher.module.state_dict()
    assert all(torch.equal(teacher[name], value) for name, value in stored.teacher.items())
    assert not torch.equal(teacher["image_projection.weight"], task.model.image_projection.weight)
    assert task.image_queue.ids.eq(-100).all(), "ids of the old images are not those of the new ones"
    left_out = f"The stored queue of {QUEUE} keys is left out, for this one holds {queue}; --queue {QUEUE} goes on with it."
    if queue == QUEUE:
        assert torch.equal(task.image_queue.rows, stored.image_queue) and torch.equal(task.text_queue.rows, stored.text_queue)
        assert int(task.image_queue.position) == stored.position and left_out not in capsys.readouterr().out
    else:
        assert left_out in capsys.readouterr().out


def test_the_world_task_runs_and_leaves_its_start_alone(monkeypatch):
    monkeypatch.setattr(lab.captioned, "WORLD_SCENES", 30)
    monkeypatch.setattr(lab.captioned, "WORLD_PAIRS", 64)
    start = shipped("pretrained")
    before = {name: tensor.clone() for name, tensor in start.model.state_dict().items()}
    found = retrieval.run(start, "nano", steps=2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.model.state_dict().items())
    assert found["r1"] == pytest.approx((found["tr1"] + found["ir1"]) / 2)
    assert found["chance"] < 0.1 and found["ceiling"] == 1.0
    assert 0.8 < found["r1"] <= 1.0


def test_benchmark_files_are_known_by_what_they_hold(tmp_path):
    items = scenes(6)
    splits = ["train", "restval", "val", "test", "test", "train"]
    karpathy = write_karpathy(tmp_path / "k", items, splits)
    found = gallery(Material(data=str(karpathy), images=str(karpathy.parent)), 32)
    assert [image.image_id for image in found.images] == [1003, 1004]
    assert found.images[0].captions == items[3].references
    assert len(training(Material(data=str(karpathy), images=str(karpathy.parent))).texts) == 9
    listed = write_list(tmp_path / "l", items)
    assert [i.image_id for i in captioned(str(listed), Material(images=str(listed.parent)), "test").images] == list(range(1000, 1006))
    own = captioned(str(write_csv(tmp_path / "c", items)), Material(), "test").images
    assert [image.captions for image in own] == [item.references for item in items]


def run(*words):
    return main([str(word) for word in words])


def test_a_csv_is_trained_on_and_evaluated_with_one_command_each(tmp_path, capsys):
    data = write_csv(tmp_path, scenes(12))
    small = ("--steps", 2, "--batch", 6, "--workers", 1, "--device", "cpu")
    out = tmp_path / "run"
    assert run("finetune", "retrieval", "--data", data, "--val", data, "--weights", PRETRAINED, "--out", out, *small) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["steps"] == 2 and set(summary["last"]) >= {"itc", "itm"} and "lm" not in summary["last"]
    assert summary["before"]["images"] == 12 and summary["before"]["texts"] == 36
    words = ("evaluate", "retrieval", "--weights", out / "model.safetensors", "--data", data, "--out", tmp_path / "eval")
    assert run(*words, "--k", 8) == 0
    found = json.loads((tmp_path / "eval" / "summary.json").read_text())
    assert found["chance"]["ir1"] == pytest.approx(1 / 12)
    assert "re-ranked" in capsys.readouterr().out
    # The same measurement, whoever makes it.
    assert run(*words) == 0
    again = json.loads((tmp_path / "eval" / "summary.json").read_text())
    assert again["reranked"] == pytest.approx(summary["after"]["reranked"])


def test_a_model_from_nothing_trains_on_the_world(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lab.captioned, "WORLD_SCENES", 12)
    monkeypatch.setattr(lab.captioned, "WORLD_PAIRS", 40)
    words = ("--size", "nano", "--vocab-size", 120, "--steps", 1, "--batch", 8, "--device", "cpu")
    assert run("finetune", "retrieval", "--world", "nano", "--out", tmp_path, *words) == 0
    assert "held-out images" in capsys.readouterr().out
    words = ("--weights", tmp_path / "model.safetensors", "--world", "nano", "--precision", "bf16", "--device", "cpu")
    assert run("evaluate", "retrieval", "--out", tmp_path / "e", *words) == 0
    assert "ceiling" in capsys.readouterr().out
    found = json.loads((tmp_path / "e" / "summary.json").read_text())
    assert all(found["reranked"][name] <= best for name, best in found["ceiling"].items())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "come from --data or from --world"),
        (("--world", "nano", "--data", "x.csv"), "come from --data or from --world"),
        (("--world", "huge"), "There is no world level 'huge'"),
        (("--data", "nowhere.csv"), "no file matches 'nowhere.csv'"),
        (("--world", "nano", "--batch", "0"), "--batch 0 cannot be"),
        (("--world", "nano", "--precision", "int8"), "There is no precision 'int8'"),
        (("--world", "nano", "--k", "0"), "A shortlist of 0"),
        (("--data", "x.json", "--images", "."), "x.json cannot be read"),
    ],
)
def test_impossible_evaluations_are_one_sentence(tmp_path, capsys, monkeypatch, words, said):
    monkeypatch.setattr(lab.captioned, "WORLD_SCENES", 4)
    assert run("evaluate", "retrieval", "--weights", PRETRAINED, "--out", tmp_path, *words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("lab: ") == 1 and "Traceback" not in error


def test_a_picture_of_a_benchmark_that_cannot_be_read_is_named_and_not_left_out(tmp_path, capsys):
    data = write_karpathy(tmp_path, scenes(5), ["test"] * 5)
    broken = sorted(tmp_path.glob("val2014/*.png"))[3]
    broken.write_bytes(b"<html>not found</html>")
    assert run("evaluate", "retrieval", "--weights", PRETRAINED, "--data", data, "--out", tmp_path / "e") == 2
    said = capsys.readouterr().err
    assert broken.name in said and "a web page" in said


def test_an_image_without_a_caption_is_named(tmp_path):
    (image,) = captioned(str(write_csv(tmp_path, scenes(1))), Material(), "test").images
    bare = lab.captioned.CaptionedImage(7, image.image, ())
    loaded = shipped("pretrained")
    with pytest.raises(InputError, match="The image 7 has no caption to retrieve"):
        retrieval.measured(loaded.model, loaded.tokenizer, [image, bare], machine=Machine())
