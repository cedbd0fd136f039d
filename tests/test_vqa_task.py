"""VQA as a task: ranking in batches, the loss, exact resume, readers, and both commands end to end."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from task_models import new_model, written
from test_parity_official import answers as official_answers
from test_parity_official import fixture, texts
from toy_models import toy_config, toy_images, toy_tokens

from blip import objectives
from blip.answering import Generator, Ranker, answer
from blip.checkpoint import Card, save
from blip.checkpoint.opening import open_any
from blip.checkpoint.published import write_published
from blip.data.benchmarks.tables import read_question_table
from blip.data.loading import Loader
from blip.data.pairs import ImageRef
from blip.data.pictures import ArrayRows, PhotoRows, require_all
from blip.data.transforms import eval_transform
from blip.errors import InputError
from blip.feed import BuiltFeed
from blip.schedules import Schedule
from blip.tasks import vqa as vqa_module
from blip.tasks.nlvr import nlvr_from
from blip.tasks.vqa import VQA, vqa_from
from blip.tasks.vqa_training import Asked, QuestionBatch, QuestionBuilder, VQATraining
from blip.train import TrainConfig, train
from lab.cli import main
from lab.commands import finetune_vqa
from lab.downstream import vqa
from lab.downstream.vqa_rows import QuestionSet, file_questions, world_questions
from lab.finetuning import Tuning
from lab.world.augment import Augmentation
from lab.world.questions import chance as world_chance
from lab.world.questions import questions
from lab.world.sets import World
from lab.world.task_files import write_vqa

WORLD = World.of("nano")


def near(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


def spread(model: torch.nn.Module) -> torch.nn.Module:
    """Weights so wide that every output differs."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def slow_scores(model: VQA, images, questions, answers, smoothing: float) -> torch.Tensor:
    """(B, A): each question with each answer by itself, without padding, cache or shared memory."""
    scores = torch.zeros(len(images), len(answers))
    for b in range(len(images)):
        own = questions.rows(torch.tensor([b]))
        length = int(own.keep.sum())
        own = replace(own, ids=own.ids[:, :length], keep=own.keep[:, :length])
        for a in range(len(answers)):
            ids = answers.ids[a : a + 1, : int(answers.keep[a].sum())]
            row = replace(answers, ids=ids, keep=torch.ones_like(ids, dtype=torch.bool))
            logits = model(images[b : b + 1], own, row, torch.zeros(1, dtype=torch.int64))[0, :-1]
            scores[b, a] = -F.cross_entropy(logits, ids[0, 1:], label_smoothing=smoothing, reduction="sum")
    return scores


@pytest.mark.parametrize(("rows", "smoothing"), [(1024, 0.0), (1024, 0.1), (7, 0.0), (3, 0.1)])
@torch.no_grad()
def test_ranking_is_what_a_double_loop_finds_however_many_rows_fit(monkeypatch, rows, smoothing):
    monkeypatch.setattr(vqa_module, "ROWS", rows)
    torch.manual_seed(1)
    model = spread(VQA(toy_config()))
    images, asked = toy_images(3), toy_tokens([6, 9, 4], "ENC")
    listed = toy_tokens([2, 5, 3, 7, 3, 3, 4, 2, 6], "DEC", seed=2)  # the first of length 2 says nothing: [DEC] [SEP]
    expected = slow_scores(model, images, asked, listed, smoothing)
    ranking = model.rank(model.remember(images, asked), listed, k=6, smoothing=smoothing)
    assert ranking.answers.shape == (3, 6)
    near(ranking.scores, expected.gather(1, ranking.answers))
    first = model(images, asked, listed.rows(torch.zeros(3, dtype=torch.int64)), torch.arange(3))[:, 0]
    likely = first.softmax(1)[:, listed.ids[:, 1]].sort(1, descending=True).values
    near(first.softmax(1).gather(1, listed.ids[ranking.answers, 1]), likely[:, :6])
    assert torch.equal(ranking.best, ranking.answers[torch.arange(3), ranking.scores.argmax(1)])


@torch.no_grad()
def test_ranking_never_decodes_more_rows_than_allowed_and_hardly_any_padding(monkeypatch):
    monkeypatch.setattr(vqa_module, "ROWS", 16)
    model = VQA(toy_config()).eval()
    fed = []
    model.answer.register_forward_pre_hook(lambda module, args: fed.append(tuple(args[0].shape)))
    listed = toy_tokens([3] * 7 + [8], "DEC")
    model.rank(model.remember(toy_images(5), toy_tokens([4] * 5, "ENC")), listed)
    assert max(rows for rows, _ in fed) <= 16
    # Two questions at a time: their first token, then seven answers of one more token and one of six.
    assert fed[:3] == [(2, 1), (14, 1), (2, 6)]
    assert sum(rows * length for rows, length in fed) == 5 * (1 + 7 * 1 + 6)


def test_ranking_refuses_no_candidates():
    model = VQA(toy_config()).eval()
    memory = model.remember(toy_images(1), toy_tokens([4], "ENC"))
    with pytest.raises(InputError, match="first 0 answers"):
        model.rank(memory, toy_tokens([3], "DEC"), k=0)


@torch.no_grad()
def test_the_loss_of_the_task_is_the_published_one():
    stored, io = fixture("vqa")
    counts = io["answers_per_question"]
    given = official_answers(io).rows(torch.arange(len(io["answer_weights"])))
    batch = QuestionBatch(
        io["images"],
        texts(io).led_by("ENC"),
        given,
        torch.arange(len(counts)).repeat_interleave(counts),
        io["answer_weights"],
        torch.arange(len(counts)),
    )
    losses = VQATraining(stored.model)(batch)
    torch.testing.assert_close(losses.total[None], io["loss"], atol=1e-5, rtol=1e-5)


ASKED = (
    Asked("What is (this)?", {"a ball": 0.75, "ball": 0.25}),
    Asked("how many?", {"two": 1.0}),
    Asked("Which colour?", {"red": 0.2}),
)


def test_a_batch_holds_each_answer_with_its_question_and_weight():
    begin = new_model(["what is this ? how many which colour a ball two red"])
    pictures = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 16, 16, 3)
    loader = Loader(ArrayRows(pictures, torch.tensor([[5], [0], [2]])), 3, train=False)
    batch = QuestionBuilder(ASKED, begin.tokenizer)(next(iter(loader)), 4)
    assert batch.questions.lead == "ENC" and batch.answers.lead == "DEC" and batch.step == 4
    said = [begin.tokenizer.decode(row) for row in batch.answers.ids[:, 1:].tolist()]
    assert said == ["a ball", "ball", "two", "red"]
    assert batch.question_of.tolist() == [0, 0, 1, 2] and batch.ids.tolist() == [0, 1, 2]
    assert batch.weights.tolist() == pytest.approx([0.75, 0.25, 1.0, 0.2])
    assert begin.tokenizer.decode(batch.questions.ids[0, 1:]) == "what is this?"
    brightness = batch.images.mean((1, 2, 3))
    assert brightness.argsort().tolist() == [1, 2, 0]
    with pytest.raises(InputError, match="'why.' has no answer"):
        QuestionBuilder([Asked("why?", {})], begin.tokenizer)


@torch.no_grad()
def test_the_loss_weighs_answers_and_counts_questions():
    """Against every answer by itself; a question asked twice changes nothing, half a weight is half a loss."""
    begin = new_model(["what is this ? how many which colour a ball two red"])
    task = VQATraining(spread(vqa_from(begin.model)), smoothing=0.1)
    loader = Loader(ArrayRows(torch.zeros(1, 16, 16, 3, dtype=torch.uint8), torch.zeros(3, 1, dtype=torch.int64)), 3, train=False)
    batch = QuestionBuilder(ASKED, begin.tokenizer)(next(iter(loader)), 0)
    loss = task(batch).parts["lm"]
    by_hand = 0.0
    for row, weight in enumerate(batch.weights.tolist()):
        one = batch.answers.rows(torch.tensor([row]))
        labels = objectives.lm_labels(one.ids, one.keep)[0, 1:]
        logits = task.model(batch.images, batch.questions, one, batch.question_of[row : row + 1])[0, :-1]
        by_hand += weight * float(F.cross_entropy(logits, labels, label_smoothing=0.1, reduction="sum", ignore_index=-100))
    assert float(loss) == pytest.approx(by_hand / 3, rel=1e-5)
    assert float(task(replace(batch, weights=batch.weights / 2)).total) == pytest.approx(float(loss) / 2, rel=1e-5)


def toy_task() -> tuple[VQATraining, BuiltFeed]:
    data = world_questions(WORLD, 6, "train")
    begin = new_model(data.texts(), px=16)
    feed = BuiltFeed(Loader(data.pictures(16, True), 4, seed=5), QuestionBuilder(data.asked, begin.tokenizer))
    return VQATraining(vqa.begun(begin.model, drop_path=0.3)), feed


def test_stopped_and_resumed_equals_unbroken_bit_for_bit(tmp_path):
    config = TrainConfig(schedule=Schedule(steps=9, peak=1e-3), log_every=1)
    whole, feed = toy_task()
    train(whole, feed, config, out=tmp_path / "whole")
    train(*toy_task(), config, out=tmp_path / "broken", stop_at=4)
    resumed, feed = toy_task()
    train(resumed, feed, config, out=tmp_path / "broken")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert feed.step == 9


def test_questions_are_learned_and_answered_by_ranking_and_by_generation():
    """Four pictures of one colour each, two questions of each: what it is, and whether it is dark."""
    colours = {"red": (200, 0, 0), "green": (0, 200, 0), "black": (0, 0, 0), "grey": (90, 90, 90)}
    pixels = torch.tensor(list(colours.values()), dtype=torch.uint8)[:, None, None].expand(4, 16, 16, 3)
    asked = [Asked("which colour?", {name: 1.0}) for name in colours]
    asked += [Asked("is it bright?", {"yes it is" if name in ("red", "green") else "no": 1.0}) for name in colours]
    truth = [next(iter(one.answers)) for one in asked]
    begin = new_model([one.question for one in asked] + truth)
    pictures = ArrayRows(pixels, torch.arange(8)[:, None] % 4)
    model = vqa.begun(begin.model, drop_path=0.0)
    data = QuestionSet(range(8), asked, [(one,) for one in truth], ["colour"] * 4 + ["bright"] * 4, lambda px, on: pictures)
    tuning = Tuning(steps=80, batch=8, peak=5e-3, device="cpu")
    vqa.tuned(model, begin.tokenizer, data, tuning, 16)
    ranker = Ranker(model, begin.tokenizer, sorted(set(truth)), k=4)
    for choose in (ranker, Generator(model, begin.tokenizer)):
        said = answer(model, begin.tokenizer, pictures, data.questions, choose, batch=3)
        assert said == truth
    assert vqa.measures(data, said) == {"accuracy": 1.0, "bright": 1.0, "colour": 1.0}
    assert vqa.chance(data) == pytest.approx({"accuracy": 3 / 8, "bright": 0.5, "colour": 0.25})


def test_the_order_and_size_of_batches_change_no_answer():
    data = world_questions(WORLD, 5, "held-out")
    begin = new_model(data.texts())
    model = spread(vqa_from(begin.model))
    choose = Ranker(model, begin.tokenizer, data.answer_list(), k=3)
    found = {batch: answer(model, begin.tokenizer, data.pictures(16, False), data.questions, choose, batch=batch) for batch in (1, 4, 64)}
    assert found[1] == found[4] == found[64]


def photo(path: Path, value: int) -> ImageRef:
    Image.fromarray(np.full((20, 24, 3), value, dtype=np.uint8)).save(path)
    return ImageRef(str(path))


def test_a_broken_photo_gives_its_place_in_training_and_stops_an_evaluation(tmp_path):
    good = [(photo(tmp_path / f"{value}.png", value),) for value in (0, 120, 240)]
    (tmp_path / "bad.png").write_bytes(b"<html>")
    rows = PhotoRows([good[0], (ImageRef(str(tmp_path / "bad.png")),), *good[1:]], eval_transform(16))
    seen = [row for batch, _ in zip(Loader(rows, 2, seed=1).stream(), range(6), strict=False) for row in batch.rows]
    assert len(seen) == 12 and set(seen) == {0, 2, 3}
    left = [row for batch in Loader(rows, 2, train=False) for row in batch.rows]
    assert left == [0, 2, 3] and [reject.key for reject in rows.rejects] == ["1"]
    with pytest.raises(InputError, match=r"1 of 4 samples .*bad.png: a web page"):
        require_all(rows, left)


def test_the_worlds_files_say_what_the_world_says(tmp_path):
    split = questions(WORLD, 8, "held-out")
    write_vqa(split, tmp_path, "held-out", 32)
    names = [str(tmp_path / f"v2_{kind}_val2014_{what}.json") for kind, what in (("OpenEnded_mscoco", "questions"), ("mscoco", "annotations"))]
    read, made = file_questions(names[:1], names[1:]), world_questions(WORLD, 8, "held-out")
    assert read.questions == made.questions
    assert [set(own) for own in read.answers] == [set(own) for own in made.answers]
    assert read.official and not made.official
    said = [own[0] for own in made.answers]
    said[0] = "nonsense"
    assert vqa.measures(read, said)["accuracy"] == pytest.approx(vqa.measures(made, said)["accuracy"])
    assert vqa.measures(made, said)["accuracy"] == 1 - 1 / len(said)
    batches = [next(iter(Loader(one.pictures(32, False), 8, train=False))).pictures for one in (read, made)]
    assert (batches[0] - batches[1]).abs().mean() < 0.1  # JPEG
    hidden = file_questions(names[:1])
    assert not hidden.answered and hidden.questions == made.questions
    with pytest.raises(InputError, match="belong to no VQAv2 question file"):
        file_questions(names[:1], [names[1], names[1]])


def test_chance_is_the_worlds_own():
    asked = questions(WORLD, 60, "held-out")
    known = world_chance(asked)
    found = vqa.chance(world_questions(WORLD, 60, "held-out"))
    assert found.pop("accuracy") == pytest.approx(known.pop("all"))
    assert found == pytest.approx(known)


def test_augmented_pictures_show_the_same_scene():
    data = world_questions(WORLD, 12, "train")
    plain = next(iter(Loader(data.pictures(32, False), 12, train=False))).pictures
    moved = next(iter(Loader(data.pictures(32, True), 12, train=False))).pictures
    assert plain.shape == moved.shape == (12, 1, 3, 32, 32) and not torch.equal(plain, moved)
    blanks = Augmentation.of(WORLD.level, 32).blanks
    assert len(blanks) == 1 and (plain.mean() - moved.mean()).abs() < 0.05


TABLE = """image,question,answer,who
a.png,What colour?,red,ann
a.png,What colour?,dark red,ben
a.png,"What, then?",nothing,ann
sub/b.png,What colour?,blue,ben
"""


@pytest.fixture
def table(tmp_path) -> Path:
    (tmp_path / "sub").mkdir()
    photo(tmp_path / "a.png", 50)
    photo(tmp_path / "sub/b.png", 200)
    path = tmp_path / "mine.csv"
    path.write_text(TABLE)
    return path


def test_a_table_of_ones_own(table):
    found = read_question_table(table)
    assert [(one.question_id, one.question, one.answers) for one in found] == [
        (1, "What colour?", ("red", "dark red")),
        (3, "What, then?", ("nothing",)),
        (4, "What colour?", ("blue",)),
    ]
    data = file_questions([str(table)])
    assert data.asked[0].answers == {"red": 0.5, "dark red": 0.5} and not data.official
    assert data.answer_list() == ["red", "nothing", "blue"]
    assert vqa.measures(data, ["Dark red", "nothing", "green"])["accuracy"] == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="No answer occurs 2 times"):
        data.answer_list(2)
    table.write_text("question\timage\nwhat?\ta.png\n")
    moved = table.rename(table.with_suffix(".tsv"))
    assert [one.answers for one in read_question_table(moved)] == [()]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("image,answer\na.png,red\n", "no column 'question' but image, answer"),
        ("image,question,answer\n", "has no rows"),
        ("image,question,answer\na.png,what?\n", "mine.csv:2 cannot be used: 2 fields instead of 3"),
        ('image,question,answer\na.png,"what?,red\na.png,why?,blue\n', "mine.csv:2 cannot be used: a quote begins in this line"),
        ("image,question,answer\na.png,,red\n", "mine.csv:2 has no 'question'"),
        ("image,question,answer\nlost.png,what?,red\n", "mine.csv:2: the image .*lost.png is missing"),
        (
            "image,question,answer,question_id\na.png,what?,red,7\na.png,why?,red,7\n",
            "mine.csv:3 has the question_id '7' of another question",
        ),
    ],
)
def test_a_broken_table_is_refused_in_one_sentence(table, text, sentence):
    table.write_text(text)
    with pytest.raises(InputError, match=sentence) as refusal:
        read_question_table(table)
    assert str(refusal.value).count(".\n") == 0 and "mine.csv" in str(refusal.value)


def test_training_starts_from_pretrained_or_vqa_weights_and_leaves_them_alone(tmp_path):
    begin = new_model(["a word"])
    before = {name: value.clone() for name, value in begin.model.state_dict().items()}
    first = vqa.begun(begin.model)
    assert first.config.vision.drop_path == vqa.DROP_PATH
    again = vqa.begun(first, drop_path=0.0)
    near(again.answer.lm_head.dense.weight, first.answer.lm_head.dense.weight)
    with torch.no_grad():
        again.answer.lm_head.dense.weight.add_(1.0)
        first.image_encoder.cls.add_(1.0)
    assert not torch.equal(again.answer.lm_head.dense.weight, first.answer.lm_head.dense.weight)
    assert all(torch.equal(value, before[name]) for name, value in begin.model.state_dict().items())
    with pytest.raises(InputError, match="NLVR"):
        vqa.begun(nlvr_from(begin.model))
    with pytest.raises(InputError, match="stochastic depth of 1.5"):
        vqa.begun(begin.model, drop_path=1.5)
    with pytest.raises(InputError, match=r"pre.safetensors holds no VQA model.*'pretrained'.*lab finetune vqa"):
        vqa.trained(open_any(written(begin, tmp_path / "pre.safetensors")).opened, "pre.safetensors")


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_the_commands_train_and_evaluate_in_the_generated_world(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(finetune_vqa, "HELD_OUT", 10)
    begin = written(new_model(world_questions(WORLD, 20, "train").texts(), px=16), tmp_path / "start.safetensors")
    out = tmp_path / "tuned"
    options = ["--world", "nano", "--world-scenes", 12, "--weights", begin, "--steps", 3, "--batch", 8, "--device", "cpu"]
    assert run("finetune", "vqa", "--out", out, *options) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert {"accuracy", "colour", "exists"} <= summary["after"].keys() == summary["chance"].keys()
    assert "yes" in json.loads((out / "answers.json").read_text())
    weights = out / "model.safetensors"
    assert run("evaluate", "vqa", "--weights", weights, "--world", "nano", "--world-scenes", 6, "--out", tmp_path / "seen", "--device", "cpu") == 0
    measured = json.loads((tmp_path / "seen/summary.json").read_text())
    assert 0 <= measured["measured"]["accuracy"] <= 1 and "chance" in measured
    assert "accuracy" in capsys.readouterr().out
    rows = json.loads((tmp_path / "seen/submission.json").read_text())
    assert len(rows) == measured["counted"]["questions"] and rows[0].keys() == {"question_id", "answer"}


def test_the_commands_take_a_table_of_ones_own(table, tmp_path, capsys):
    out, begin = tmp_path / "tuned", written(new_model(TABLE.split()), tmp_path / "start.safetensors")
    words = ["finetune", "vqa", "--data", table, "--val", table, "--weights", begin, "--out", out]
    assert run(*words, "--steps", 2, "--batch", 2, "--device", "cpu") == 0
    assert json.loads((out / "answers.json").read_text()) == ["red", "nothing", "blue"]
    weights = out / "model.safetensors"
    further = ["--weights", weights, "--out", tmp_path / "further", "--steps", 1, "--batch", 2, "--device", "cpu"]
    assert run("finetune", "vqa", "--data", table, *further) == 0
    seen = tmp_path / "seen"
    assert run("evaluate", "vqa", "--weights", weights, "--data", table, "--generate", "--out", seen, "--device", "cpu") == 0
    assert [row["question_id"] for row in json.loads((seen / "submission.json").read_text())] == [1, 3, 4]
    table.write_text("image,question\na.png,what?\n")
    assert run("evaluate", "vqa", "--weights", weights, "--data", table, "--out", seen, "--device", "cpu") == 0
    assert "not all with answers" in capsys.readouterr().out
    assert run(*words) == 2
    assert "no answer to learn" in capsys.readouterr().err


UNANIMOUS = {"What is it?": "a dog", "How many, then?": "two", "Is it day?": "Yes", "Is it dark?": "No"}


def asked_of_five(folder: Path) -> Path:
    photo(folder / "a.png", 50)
    rows = [f'a.png,"{question}",{answer}' for question, answer in UNANIMOUS.items() for _ in range(5)]
    path = folder / "five.csv"
    path.write_text("\n".join(["image,question,answer", *rows]))
    return path


def test_what_all_annotators_of_a_table_typed_can_be_learnt_and_is_right(tmp_path):
    asked_of_five(tmp_path)
    words = [*UNANIMOUS, *UNANIMOUS.values(), "2", "dog"]
    begin = written(new_model(words), tmp_path / "start.safetensors")
    table = tmp_path / "five.csv"
    options = ["--weights", begin, "--steps", 60, "--batch", 4, "--peak", 5e-3, "--drop-path", 0, "--device", "cpu"]
    assert run("finetune", "vqa", "--data", table, "--val", table, "--out", tmp_path / "tuned", *options) == 0
    assert json.loads((tmp_path / "tuned/answers.json").read_text()) == ["2", "dog", "no", "yes"]
    summary = json.loads((tmp_path / "tuned/summary.json").read_text())
    assert summary["after"] == {"accuracy": 1.0} and summary["chance"] == {"accuracy": 0.25}


def test_a_tables_answers_are_taught_in_the_spelling_that_is_ranked(tmp_path):
    table = tmp_path / "mine.csv"
    photo(tmp_path / "a.png", 50)
    table.write_text("image,question,answer\n" + "".join(f"a.png,Who?,{one}\n" for one in ("A dog", "dog.", "two", "Ann")))
    data = file_questions([str(table)])
    assert data.official and data.spelled(["dog", "2"]).asked[0].answers == {"dog": 0.5, "2": 0.25, "Ann": 0.25}
    assert data.spelled(["A dog", "dog", "two"]).asked[0].answers == {"A dog": 0.5, "two": 0.25, "Ann": 0.25}
    assert data.spelled(["red"]).asked == data.asked


def test_the_official_files_are_scored_to_the_letter_and_tables_are_not(tmp_path):
    own = file_questions([str(asked_of_five(tmp_path))])
    said = ["dog", "2", "yes", "no"]
    assert own.own == {0, 1, 2, 3} and vqa.measures(own, said) == {"accuracy": 1.0}
    listed = [
        {"question_id": at, "dataset": "vqa", "image": "a.png", "question": question, "answer": [answer] * 5}
        for at, (question, answer) in enumerate(UNANIMOUS.items())
    ]
    (tmp_path / "vqa_val.json").write_text(json.dumps(listed))
    published = file_questions([str(tmp_path / "vqa_val.json")])
    assert published.official and not published.own and vqa.measures(published, said) == {"accuracy": 0.0}
    assert published.spelled(said).asked == published.asked
    both = file_questions([str(tmp_path / "vqa_val.json"), str(tmp_path / "five.csv")])
    assert vqa.measures(both, said * 2) == {"accuracy": 0.5}


def test_chance_of_a_table_counts_answers_that_are_alike_as_one(tmp_path):
    photo(tmp_path / "a.png", 50)
    answers = ["Yes", "yes", "yes.", "no", "no"]
    rows = "".join(f"a.png,q{at},{answer}\n" for at, answer in enumerate(answers))
    (tmp_path / "mine.csv").write_text("image,question,answer\n" + rows)
    assert vqa.chance(file_questions([str(tmp_path / "mine.csv")])) == {"accuracy": pytest.approx(0.6)}


def test_published_weights_answer_as_our_file_does(tmp_path):
    begin = new_model(world_questions(WORLD, 20, "train").texts(), px=16)
    model = spread(vqa_from(begin.model))
    save(tmp_path / "ours/model.safetensors", model, begin.tokenizer, Card(stage="vqa"))
    write_published(tmp_path / "model_vqa.pth", model)
    (tmp_path / "vocab.txt").write_text("\n".join(begin.tokenizer.vocab))
    tail = ["--world", "nano", "--world-scenes", 6, "--smoothing", 0.1, "--k", 4, "--device", "cpu"]
    said = []
    for name in ("ours/model.safetensors", "model_vqa.pth"):
        out = tmp_path / f"{name}.seen"
        words = ["--weights", tmp_path / name, "--vocab", tmp_path / "vocab.txt", "--out", out]
        assert run("evaluate", "vqa", *words, *tail) == 0
        said.append(json.loads((out / "submission.json").read_text()))
    assert said[0] == said[1] and len({row["answer"] for row in said[0]}) > 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["finetune", "vqa", "--out", "x"], "Give either --data or --world"),
        (["finetune", "vqa", "--out", "x", "--data", "lost.json"], "lost.json cannot be read"),
        (["evaluate", "vqa", "--out", "x", "--weights", "w", "--data", "q.csv", "--world", "nano"], "Give either"),
        (["evaluate", "vqa", "--out", "x", "--weights", "lost.pth", "--world", "nano"], "no weights at lost.pth"),
    ],
)
def test_the_commands_refuse_in_one_sentence(words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    assert sentence in capsys.readouterr().err


def test_the_comparison_returns_plain_numbers_and_leaves_its_start_alone(monkeypatch):
    monkeypatch.setattr(vqa, "TRAINING", 20)
    monkeypatch.setattr(vqa, "HELD_OUT", 8)
    begin = new_model(world_questions(WORLD, 20, "train").texts(), px=16)
    before = {name: value.clone() for name, value in begin.model.state_dict().items()}
    one, two = (vqa.run(begin, "nano", steps=2, seed=4) for _ in range(2))
    assert one == two and all(isinstance(value, float) for value in one.values())
    assert {"accuracy", "chance", "blind", "ceiling", "count"} <= one.keys() and one["ceiling"] == 1.0
    assert all(torch.equal(value, before[name]) for name, value in begin.model.state_dict().items())
