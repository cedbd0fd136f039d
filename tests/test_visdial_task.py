"""Visual dialog: what the dialog encoder reads, how a row is cut, what is drawn, ranks, and both kinds of data."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_models import toy_config, toy_images, toy_model, toy_tokens

from blip.data.benchmarks.visdial import read_ranks, read_relevance, read_visdial
from blip.data.pictures import PictureBatch
from blip.errors import InputError
from blip.memory import Memory
from blip.metrics.dialog import dialog_scores, true_ranks
from blip.model import narrowed
from blip.schedules import Schedule
from blip.tasks.visdial import (
    Asked,
    DialogBatch,
    DialogBuilder,
    VisualDialog,
    candidate_scores,
    dialog_memory,
    dialog_tokens,
    visdial_from,
)
from blip.tokenizer import Tokenizer
from blip.train import TrainConfig, train
from lab.cli import main
from lab.downstream.dialog_rows import visdial_dialogs, world_dialogs
from lab.downstream.visdial import ceiling, chance, measures, scored
from lab.inference import Machine
from lab.weights import shipped
from lab.world.dialogs import dialogs
from lab.world.sets import World
from lab.world.task_files import write_visdial

EVEN = toy_config(width=32, memory_width=32)
TEXTS = ["what colour is it", "is it red", "yes", "no", "blue", "a ball"]
TOKENIZER = Tokenizer.train(TEXTS, 60)
SAID = ("is it red?", "no", "what colour is it?", "blue")
ASKED = Asked("a ball", SAID, "is it a ball?", ("yes", "no", "a red ball", "blue"), 0, (1, 3))


def near(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def words(row, tokenizer=TOKENIZER):
    """A row's tokens without padding."""
    return [tokenizer.vocab[i] for i in row.tolist() if i != tokenizer.special.pad]


@torch.no_grad()
def by_hand(model, image, caption, dialog):
    """Match logits of one candidate: keys and values of image and caption states set side by side, no padding."""
    length = int(caption.keep.sum())
    caption = replace(caption, ids=caption.ids[:, :length], keep=caption.keep[:, :length])
    parts = [model.remember(states, "encoder") for states in (model.encode_image(image), model.encode_text(caption))]
    keys, values = (
        tuple(torch.cat(layer, dim=2) for layer in zip(*(getattr(m, side) for m in parts), strict=True))
        for side in ("keys", "values")
    )
    return model.match_logits(dialog, Memory(keys, values))


@torch.no_grad()
def test_every_candidate_reads_the_image_and_then_the_caption_and_no_padding():
    model, images = toy_model(spread=0.2, config=EVEN), toy_images(2)
    captions, rows = toy_tokens([4, 7]), toy_tokens([9, 6, 8, 9, 7, 5], "ENC", seed=1)
    memory = dialog_memory(model, images, captions)
    found = candidate_scores(model, memory, rows)  # three candidates an image
    for at in range(6):
        one = torch.tensor([at // 3])
        logits = by_hand(model, images[one], captions.rows(one), rows.rows(torch.tensor([at])))
        near(found[at], logits[0, 1] - logits[0, 0])
    own = candidate_scores(model, memory.rows(torch.tensor([1])), rows.rows(torch.arange(3, 6)))
    near(own, found[3:])
    swapped = candidate_scores(model, dialog_memory(model, images, captions.rows(torch.tensor([1, 0]))), rows)
    assert (swapped - found).abs().min() > 1e-4


def test_the_loss_tells_true_answers_from_all_others():
    model = toy_model(spread=0.2, config=EVEN)
    images, captions, rows = toy_images(2), toy_tokens([4, 5]), toy_tokens([6, 7, 8, 5, 6, 7], "ENC")
    matches = torch.tensor([True, False, False, True, False, False])
    batch = DialogBatch(images, captions, rows, matches, torch.arange(2))
    losses = VisualDialog(model)(batch)
    logits = [
        by_hand(model, images[[at // 3]], captions.rows(torch.tensor([at // 3])), rows.rows(torch.tensor([at])))
        for at in range(6)
    ]
    expected = sum(F.cross_entropy(one, matches[[at]].long()) for at, one in enumerate(logits)) / 6
    near(losses.total, expected)
    assert set(losses.parts) == {"itm"}


def test_a_row_is_history_question_and_answer_each_with_its_end():
    found = dialog_tokens(TOKENIZER, [ASKED], [[2, 0]], 40)
    text = "[ENC] is it red [UNK] [SEP] no [SEP] what colour is it [UNK] [SEP] blue [SEP] is it a ball [UNK] [SEP] "
    marks = [text.split() + ["a", "red", "ball", "[SEP]"], text.split() + ["yes", "[SEP]"]]
    assert [words(row) for row in found.ids] == marks
    assert found.lead == "ENC" and found.keep.sum(1).tolist() == [len(row) for row in marks]


@pytest.mark.parametrize("length", range(6, 26))
def test_the_history_loses_its_oldest_tokens_and_the_answer_stays(length):
    whole = words(dialog_tokens(TOKENIZER, [ASKED], [[2]], 40).ids[0])
    cut = words(dialog_tokens(TOKENIZER, [ASKED], [[2]], length).ids[0])
    answer = ["a", "red", "ball"][: length // 2 - 1]
    body = whole[1:-4]
    assert cut[0] == "[ENC]" and cut[-1] == "[SEP]" and cut[-1 - len(answer) : -1] == answer
    assert len(cut) == min(length, len(whole)) and body[-len(cut[1 : -1 - len(answer)]) :] == cut[1 : -1 - len(answer)]


def test_rows_too_short_for_a_question_and_an_answer_are_refused():
    with pytest.raises(InputError, match="5 tokens have no room for a question and an answer; give 6 or more"):
        dialog_tokens(TOKENIZER, [ASKED], [[0]], 5)


def test_negatives_are_wrong_answers_drawn_by_seed_and_step():
    many = replace(ASKED, candidates=tuple(f"answer {n}" for n in range(50)), true=7, wrong=tuple(range(10, 50)))
    pictures = PictureBatch(torch.zeros(2, 1, 3, 16, 16), [1, 0])
    build = DialogBuilder([ASKED, many], TOKENIZER, negatives=5, seed=3)
    batch = build(pictures, 4)
    assert batch.ids.tolist() == [1, 0] and batch.step == 4 and batch.matches.tolist() == [True, *[False] * 5] * 2
    drawn = [build._drawn(many, step, 0) for step in range(200)]
    assert all(places[0] == 7 and len(set(places)) == 6 and set(places[1:]) <= set(many.wrong) for places in drawn)
    assert {place for places in drawn for place in places[1:]} == set(many.wrong)
    assert drawn[4] == DialogBuilder([many], TOKENIZER, negatives=5, seed=3)._drawn(many, 4, 0)
    assert drawn != [DialogBuilder([many], TOKENIZER, negatives=5, seed=4)._drawn(many, step, 0) for step in range(200)]
    few = build._drawn(ASKED, 0, 0)  # two wrong answers for five places
    assert few[0] == 0 and len(few) == 6 and set(few[1:]) <= {1, 3}
    with pytest.raises(InputError, match="0 negatives a question cannot be"):
        DialogBuilder([ASKED], TOKENIZER, negatives=0)


def test_models_that_cannot_hold_a_dialog_are_refused():
    with pytest.raises(InputError, match="24 and 32 wide; give a model in which they are equally wide"):
        visdial_from(toy_model())
    with pytest.raises(InputError, match="pre-trained with ITM"):
        visdial_from(narrowed(toy_model(config=EVEN), "decode"))


def test_a_dialog_model_is_a_copy_that_starts_as_the_pretrained_one():
    model = toy_model(spread=0.2, config=EVEN)
    copy = visdial_from(model).eval()
    images, captions, rows = toy_images(1), toy_tokens([5]), toy_tokens([8, 6], "ENC")
    before = candidate_scores(model, dialog_memory(model, images, captions), rows)
    near(candidate_scores(copy, dialog_memory(copy, images, captions), rows), before)
    with torch.no_grad():
        copy.itm_head.weight.zero_()
    near(candidate_scores(model, dialog_memory(model, images, captions), rows), before)


class Same:
    """A feed of one batch over and over."""

    def __init__(self, batch):
        self.batch = batch

    def __next__(self):
        return self.batch


def test_training_learns_what_only_the_image_tells():
    config = replace(EVEN, text=replace(EVEN.text, vocab_size=len(TOKENIZER), dropout=0.0))
    asked = [Asked("a ball", (), "is it red?", ("yes", "no"), true, (1 - true,)) for true in (0, 1, 0, 1)]
    build = DialogBuilder(asked, TOKENIZER, negatives=1)
    batch = build(PictureBatch(toy_images(4)[:, None], [0, 1, 2, 3]), 0)
    task = VisualDialog(toy_model(config=config))
    rows = train(task, Same(batch), TrainConfig(schedule=Schedule(steps=90, peak=3e-3), log_every=90))
    assert rows[-1]["itm"] < 0.1


@pytest.fixture(scope="module")
def world():
    return world_dialogs("nano", 12, "held-out")


def test_no_true_wording_is_a_negative_in_the_world(world):
    for name, asked in zip(world.names, world.asked, strict=True):
        relevance = world.relevance[name]
        assert relevance[asked.true] == 1 and not relevance[list(asked.wrong)].any()
        assert len(asked.wrong) + np.count_nonzero(relevance) == len(asked.candidates)
        assert len(asked.said) == 2 * (name[1] - 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same dialogs in VisDial's own files."""
    folder = tmp_path_factory.mktemp("visdial")
    for split, name in (("held-out", "val"), ("train", "train")):
        write_visdial(dialogs(World.of("nano"), 12, split), folder, split, 32)
        assert (folder / f"visdial_1.0_{name}.json").is_file()
    return folder


def test_the_files_of_visdial_give_the_same_questions(world, files):
    relevance = read_relevance(files / "visdial_1.0_val_dense_annotations.json")
    read = visdial_dialogs(read_visdial(files / "visdial_1.0_val.json", files), relevance)
    assert list(read.names) == list(world.names) and len(read.relevance) == 12
    for row, asked in enumerate(world.asked):
        found = read.asked[row]
        bare = tuple(text.removesuffix("?") for text in asked.said)
        assert (found.caption, found.said, found.question) == (asked.caption, bare, asked.question.removesuffix("?"))
        assert (tuple(found.candidates), found.true) == (asked.candidates, asked.true)
        assert sorted([*found.wrong, found.true]) == list(range(len(asked.candidates)))
    for name, values in read.relevance.items():
        assert values.tolist() == world.relevance[name].tolist()


def said_in_other_marks(files, folder, *variants):
    """The training split whose first question has these candidates beside its true one."""
    whole = json.loads((files / "visdial_1.0_train.json").read_text())
    first, answers = whole["data"]["dialogs"][0]["dialog"][0], whole["data"]["answers"]
    true = answers[first["answer"]]
    first["answer_options"] = [first["answer"], *range(len(answers), len(answers) + len(variants))]
    first["gt_index"] = 0
    answers += [variant.format(true) for variant in variants]
    (folder / "visdial_1.0_train.json").write_text(json.dumps(whole))
    return visdial_dialogs(read_visdial(folder / "visdial_1.0_train.json", files), answered=True)


def test_candidates_that_read_as_the_true_one_are_no_negatives(files, tmp_path):
    data = said_in_other_marks(files, tmp_path, "{}.", "{} !", "no idea", "({})", "what")
    asked = data.asked[0]
    assert len(asked.candidates) == 6 and list(asked.wrong) == [3, 5]
    batch = DialogBuilder(data.asked, TOKENIZER, negatives=2)(PictureBatch(torch.zeros(1, 1, 3, 16, 16), [0]), 0)
    rows = [words(row) for row in batch.dialogs.ids]
    assert batch.matches.tolist() == [True, False, False] and rows[0] not in rows[1:]


def test_a_question_without_another_answer_is_not_trained_on(files, tmp_path):
    count = len(visdial_dialogs(read_visdial(files / "visdial_1.0_train.json", files), answered=True).names)
    assert len(said_in_other_marks(files, tmp_path, "{}.", "{}!").names) == count - 1


def test_relevance_of_another_split_is_refused(files):
    data, wrong = read_visdial(files / "visdial_1.0_val.json", files), {(0, 1): np.ones(3)}
    with pytest.raises(InputError, match="Image 0, round 1 has 20 candidates and relevance of 3"):
        visdial_dialogs(data, wrong)


def test_scores_do_not_depend_on_what_is_read_together(world):
    loaded = shipped("pretrained")
    model = visdial_from(loaded.model).eval()
    together = scored(model, loaded.tokenizer, world, Machine(batch=7))
    alone = scored(model, loaded.tokenizer, world, Machine(batch=1))
    assert set(together) == set(world.names)
    for name in world.names:
        np.testing.assert_allclose(together[name], alone[name], atol=1e-4)


def test_measures_of_scores_that_know_the_truth(world):
    best = {name: world.relevance[name] + 0.0 for name in world.names}
    for row, name in enumerate(world.names):
        best[name][world.asked[row].true] += 1
    found = measures(world, best)
    assert found["ndcg"] == pytest.approx(1) and found["r1"] == found["mrr"] == found["mean_rank"] == 1


def test_chance_and_ceiling_are_what_random_orders_reach(world):
    rng = np.random.default_rng(0)
    random, knowing = [], []
    for _ in range(120):
        draws = {name: rng.random(len(world.relevance[name])) for name in world.names}
        random.append(measures(world, draws))
        knowing.append(measures(world, {name: draws[name] + 2 * world.relevance[name] for name in world.names}))
    for expected, drawn in ((chance(world), random), (ceiling(world), knowing)):
        for name, value in expected.items():
            values = [one[name] for one in drawn]
            assert abs(np.mean(values) - value) < 5 * np.std(values) / len(values) ** 0.5 + 1e-9, name


def test_fine_tuned_evaluated_and_submitted_from_the_files(files, tmp_path, capsys):
    val = ["--images", str(files), "--relevance", str(files / "visdial_1.0_val_dense_annotations.json")]
    tuning = ["--weights", "blip/weights/pretrained.safetensors", "--steps", "3", "--batch", "8", "--peak", "1e-3"]
    words = ["finetune", "visdial", "--data", str(files / "visdial_1.0_train.json"), *val, *tuning]
    assert main([*words, "--val", str(files / "visdial_1.0_val.json"), "--out", str(tmp_path / "tuned")]) == 0
    tuned = json.loads((tmp_path / "tuned" / "summary.json").read_text())
    submission = tmp_path / "ranks.json"
    words = ["evaluate", "visdial", "--weights", str(tmp_path / "tuned" / "model.safetensors"), *val]
    words += ["--data", str(files / "visdial_1.0_val.json"), "--submission", str(submission)]
    assert main([*words, "--out", str(tmp_path / "measured")]) == 0
    summary = json.loads((tmp_path / "measured" / "summary.json").read_text())
    assert summary["measured"] == pytest.approx(tuned["after"]) and summary["chance"]["r1"] == pytest.approx(0.05)
    ranks = read_ranks(submission)
    read = visdial_dialogs(read_visdial(files / "visdial_1.0_val.json", files))
    own = [true_ranks(-ranks[name][None], np.array([read.asked[row].true])) for row, name in enumerate(read.names)]
    assert dialog_scores(np.concatenate(own)).r5 == summary["measured"]["r5"]
    assert "mean rank" in capsys.readouterr().out


def test_hidden_answers_give_a_submission_and_no_measures(files, tmp_path, capsys):
    whole = json.loads((files / "visdial_1.0_val.json").read_text())
    whole["split"] = "test"
    for dialog in whole["data"]["dialogs"]:
        dialog["dialog"][-1] = {k: dialog["dialog"][-1][k] for k in ("question", "answer_options")}
        for asked in dialog["dialog"][:-1]:
            del asked["answer_options"], asked["gt_index"]
    (tmp_path / "test.json").write_text(json.dumps(whole))
    images = tmp_path / "VisualDialog_test2018"
    images.mkdir()
    for path in (files / "VisualDialog_val2018").iterdir():
        (images / path.name.replace("val", "test")).write_bytes(path.read_bytes())
    words = ["evaluate", "visdial", "--weights", "blip/weights/filter.safetensors", "--data", str(tmp_path / "test.json")]
    words += ["--images", str(tmp_path), "--submission", str(tmp_path / "ranks.json"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert {number for _, number in read_ranks(tmp_path / "ranks.json")} == {5}
    assert "12 questions whose answers are hidden" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give either --data with --images, or --world."),
        (["--data", "x.json"], "--data needs the folder of its images: give --images."),
        (["--world", "nano", "--data", "x.json"], "Give either --data with --images, or --world."),
        (["--data", "missing.json", "--images", "."], "missing.json cannot be read"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(words, said, tmp_path, capsys):
    for command in ("finetune", "evaluate"):
        given = [command, "visdial", "--weights", "blip/weights/pretrained.safetensors", "--out", str(tmp_path)]
        assert main([*given, *words]) == 2
        assert said in capsys.readouterr().err


def test_relevance_without_the_dialogs_it_is_of_is_refused(tmp_path, capsys):
    words = ["finetune", "visdial", "--world", "nano", "--relevance", "x.json", "--out", str(tmp_path)]
    assert main(words) == 2
    assert "--relevance and --val-images belong to --val" in capsys.readouterr().err
