"""What the task notebooks show of models: galleries, answers, dialogs and clips, against slow truths."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from task_models import new_model

from blip import objectives
from blip.data.benchmarks.captions import CaptionedImage
from blip.data.transforms import normalize_uint8
from blip.tasks.ranking import Shortlist
from blip.tasks.retrieval import MAX_TOKENS
from blip.tasks.vqa_training import question_tokens
from lab import answer_views, brief_tuning, gallery_views
from lab.captioned import Gallery, distinct
from lab.task_cards import Said
from lab.weights import shipped
from lab.world.checker import check
from lab.world.clip_order import order_queries
from lab.world.dialogs import dialogs
from lab.world.questions import answer_list, questions
from lab.world.scene import Scene, Thing
from lab.world.sets import World
from lab.world.statements import statements

WORLD = World.of("nano")


def scene(*looks: tuple[str, str]) -> Scene:
    return Scene("plain", tuple(Thing(kind, colour, "big", 0.3 + 0.4 * i, 0.5, 0.1) for i, (kind, colour) in enumerate(looks)))


@pytest.fixture(scope="module")
def few() -> Gallery:
    items = distinct(WORLD.evaluation(12, references=2))[:6]
    return Gallery([CaptionedImage(i.key, i.image(32), i.references) for i in items], tuple(i.scene for i in items))


@pytest.fixture(scope="module")
def pretrained():
    return shipped("pretrained")


def test_a_twin_has_the_same_words_on_other_things():
    shown = [
        scene(("box", "yellow"), ("hat", "blue")),
        scene(("box", "blue"), ("hat", "yellow")),
        scene(("hat", "blue"), ("box", "yellow")),  # the first one, the other way round
        scene(("box", "yellow"), ("hat", "red")),
        scene(("box", "yellow")),
    ]
    assert gallery_views.twins(Gallery([], tuple(shown))).tolist() == [True, True, True, False, False]
    assert not gallery_views.twins(Gallery([], (shown[0], shown[2]))).any()


def test_a_place_is_the_rank_of_the_own_candidate():
    rows = np.array([[4, 1, 2], [0, 3, 1], [2, 0, 1]])
    scores = np.array([[0.1, 0.9, 0.5], [0.2, 0.2, 0.1], [0.3, 0.2, 0.1]], dtype=np.float32)
    ranking = Shortlist(rows, scores, 5)
    assert gallery_views.places(ranking, [1, 3, 2]).tolist() == [1, 2, 1]
    assert gallery_views.places(ranking, [4, 0, 3]).tolist() == [3, 1, 4]  # 3 is on no shortlist of the third


def test_first_right_counts_each_group_of_texts():
    found = Gallery([], (scene(("box", "red"), ("hat", "blue")), scene(("box", "blue"), ("hat", "red")), scene(("cup", "red"))))
    table = np.array([[1, 2, 0], [0, 2, 1], [0, 1, 2], [1, 0, 0]], dtype=np.float32)
    ranking = Shortlist(np.tile(np.arange(3), (4, 1)), table, 3)
    right = gallery_views.first_right({"way": ranking}, found, [0, 1, 2, 0])["way"]
    assert right == {"all texts": 0.75, "no such twin": 1.0, "a twin with colours swapped": pytest.approx(2 / 3)}


@torch.no_grad()
def test_likelihoods_are_those_of_each_text_with_each_image(few, pretrained):
    model, texts = pretrained.model, ["a red ball", "there is a yellow box and a blue hat"]
    ranking = gallery_views.by_likelihood(pretrained, few, texts)
    assert ranking.rows.tolist() == [list(range(6))] * 2 and ranking.candidates == 6
    for i, image in enumerate(few.images):
        memory = model.remember(model.encode_image(normalize_uint8(torch.from_numpy(image.image)[None])), "decoder")
        for t, text in enumerate(texts):
            tokens = pretrained.tokenizer([text], MAX_TOKENS).led_by("DEC")
            logprobs = model.decode(tokens, memory)[0].log_softmax(dim=1)
            labels = objectives.lm_labels(tokens.ids, tokens.keep)[0, 1:]
            slow = sum(float(logprobs[at, label]) for at, label in enumerate(labels.tolist()))
            assert ranking.scores[t, i] == pytest.approx(slow, abs=1e-3)


def test_hits_are_the_best_first_with_their_truth(few, pretrained):
    texts = [image.captions[0] for image in few.images]
    order = gallery_views.search(pretrained, few, texts, 6).of_texts
    for query, text in enumerate(texts):
        tiles = gallery_views.hits(order, query, text, few, 4)
        scores = [float(tile.note.removeprefix("score ")) for tile in tiles]
        assert len(tiles) == 4 and scores == sorted(scores, reverse=True)
        best = order.rows[query, order.scores[query].argmax()]
        assert tiles[0].truth == check(text, few.scenes[best]).truth


def test_every_caption_is_searched_in_three_orders(few, pretrained):
    found = gallery_views.searches(pretrained, few, 6)
    assert found.texts == [caption for image in few.images for caption in image.captions]
    assert found.own == [row for row, image in enumerate(few.images) for _ in image.captions]
    assert list(found.ways) == ["ITC alone", "ITC, then ITM", "ordered by LM"]
    cosines, scores, _ = found.ways.values()
    assert (cosines.rows == scores.rows).all() and (cosines.scores <= 1.0001).all() and (cosines.scores != scores.scores).any()


def test_captions_are_judged_and_people_come_first(few):
    said = {"greedy": [image.captions[0] for image in few.images[1:]] + ["a grey umbrella"]}
    cards = gallery_views.captions_of(few, said, [0, 5])
    assert list(cards[0]) == ["people", "greedy"]
    assert [card["people"] for card in cards] == [Said(few.images[row].captions[0], True) for row in (0, 5)]
    assert cards[1]["greedy"] == Said("a grey umbrella", False)
    assert [picture.shape for picture in gallery_views.pictures_of(few, [0, 5])] == [(256, 256, 3)] * 2


def test_single_things_are_classified_by_both_readings(pretrained):
    alone, true = gallery_views.single_things(WORLD, 40, "sketch")
    assert len(true) == len(alone.images) > 5
    assert all(check(f"a {label}", shown).strict for label, shown in zip(true, alone.scenes, strict=True))
    labels = [f"{colour} {kind}" for colour in WORLD.level.colour_names for kind in WORLD.level.kind_names]
    found = gallery_views.classified(pretrained, alone, labels, ("a {}",))
    assert set(found) == {"ITC prompts", "caption likelihood"}
    for given in found.values():
        assert np.mean([one == other for one, other in zip(given, true, strict=True)]) > 0.5  # a guess: 1 of 48


@torch.no_grad()
def test_answers_have_the_probability_that_the_model_says_them(pretrained):
    asked, answers = questions(WORLD, 2, "held-out")[:3], answer_list(WORLD.level)
    model = brief_tuning.vqa.begun(pretrained.model, drop_path=0.0).eval()
    choices = answer_views.answers_of(model, pretrained.tokenizer, asked, answers, most=5)
    for one, choice in zip(asked, choices, strict=True):
        picture = normalize_uint8(torch.from_numpy(one.picture(32))[None])
        memory = model.remember(picture, question_tokens([one.text], pretrained.tokenizer))
        slow = {}
        for answer in answers:
            tokens = pretrained.tokenizer([answer], 30).led_by("DEC")
            logprobs = model.answer_logits(tokens, memory)[0].log_softmax(dim=1)
            labels = objectives.lm_labels(tokens.ids, tokens.keep)[0, 1:]
            slow[answer] = float(torch.stack([logprobs[at, label] for at, label in enumerate(labels)]).sum().exp())
        best = sorted(slow, key=slow.get, reverse=True)[:5]
        assert [said.probability for said in choice.answers] == pytest.approx([slow[answer] for answer in best], rel=1e-3, abs=1e-7)
        assert {said.text for said in choice.answers} <= set(answers)
        assert [said.true for said in choice.answers] == [said.text == one.answer for said in choice.answers]


def test_rounds_show_the_first_candidates_and_the_rank_of_the_given_one():
    (dialog,) = dialogs(WORLD, 1, "held-out")
    scores = [np.linspace(-2, 2, len(one.candidates)) for one in dialog.rounds]
    for one, own, choice in zip(dialog.rounds, scores, answer_views.rounds_of(dialog, scores, most=3), strict=True):
        assert [said.text for said in choice.answers] == [one.candidates[at] for at in (-1, -2, -3)]
        assert [said.true for said in choice.answers] == [one.relevance[at] > 0 for at in (-1, -2, -3)]
        assert choice.answers[0].probability == pytest.approx(1 / (1 + np.exp(-2)))
        assert choice.note == f"given answer: {one.answer}, number {len(own) - one.place} of {len(own)}"


def test_verdicts_stand_below_the_right_picture():
    pairs = statements(WORLD, 1, "held-out")
    tiles = answer_views.verdict_tiles(pairs, [0.25, 0.5, 0.75, 1.0])
    assert [tile.text for tile in tiles[1::2]] == [f'model: "true" with probability {p:.2f}' for p in (0.25, 0.5, 0.75, 1)]
    assert [tile.truth for tile in tiles[1::2]] == ["true" if pair.truth else "false" for pair in pairs]
    assert {tile.text for tile in tiles[::2]} == {pairs[0].statement.text}


def test_a_clip_and_its_twin_have_one_score(pretrained):
    for asked in order_queries(WORLD, 4, "held-out"):
        clip, twin = answer_views.twin_strips(pretrained.model, pretrained.tokenizer, asked)
        assert clip.text == twin.text == asked.text and (clip.true, twin.true) == (True, False)
        assert (clip.frames == twin.frames[::-1]).all() and not (clip.frames == twin.frames).all()
        assert clip.note.split()[-1] == twin.note.split()[-1]


def test_clips_come_in_the_order_of_their_scores(pretrained):
    seen = brief_tuning.watched(pretrained, WORLD, held_out=6)
    order = seen.rankings.of_texts
    strips = answer_views.clip_hits(order, 2, seen.items, 6)
    assert sum(strip.note.endswith("its own clip") for strip in strips) == 1
    place = gallery_views.places(order, range(6))[2]
    assert strips[place - 1].note.endswith("its own clip") and strips[place - 1].true
    ranks = gallery_views.places(order, range(6))
    assert seen.measures["video_r1"] == pytest.approx(np.mean(ranks == 1))
    assert set(seen.measures) == set(seen.chance) == set(seen.ceiling)


def test_brief_answers_are_counted_rightly(pretrained):
    found = brief_tuning.answered(pretrained, WORLD, scenes=8, held_out=6, steps=2)
    right = [one.answer == said for one, said in zip(found.asked, found.said, strict=True)]
    assert found.measures["accuracy"] == pytest.approx(np.mean(right))
    by_form = found.by_form()
    assert sum(len(true) for true, _ in by_form.values()) == len(found.asked)
    for form, (true, said) in by_form.items():
        assert found.measures[form] == pytest.approx(np.mean([a == b for a, b in zip(true, said, strict=True)]))


def test_brief_verdicts_are_counted_rightly(pretrained):
    found = brief_tuning.judged(pretrained, WORLD, known=8, held_out=3, steps=2)
    right = [(chance > 0.5) == pair.truth for pair, chance in zip(found.pairs, found.chances, strict=True)]
    assert len(right) == 12 and found.measures["accuracy"] == pytest.approx(np.mean(right))
    assert found.chance["accuracy"] == 0.5 and found.chance["consistency"] == pytest.approx(0.5**4)
    assert 0.5 <= found.one_picture["accuracy"] <= 0.75


def test_brief_dialogs_know_the_scores_of_their_rounds():
    world = dialogs(WORLD, 3)
    start = new_model(text for one in world for text in (one.caption, *(r.question for r in one.rounds)))
    found = brief_tuning.talked(start, WORLD, known=7, held_out=2, steps=2)
    assert "mean_rank" not in found.measures and found.measures.keys() == found.chance.keys() == found.ceiling.keys()
    for dialog in found.dialogs:
        own = found.of(dialog)
        assert [len(scores) for scores in own] == [len(one.candidates) for one in dialog.rounds]
    first = np.mean([s.argmax() == one.place for d in found.dialogs for s, one in zip(found.of(d), d.rounds, strict=True)])
    assert found.measures["r1"] == pytest.approx(first)
    assert found.ceiling["ndcg"] == 1.0


def test_what_is_not_on_the_shortlist_is_no_hit(few, pretrained):
    texts = [image.captions[0] for image in few.images]
    whole = gallery_views.search(pretrained, few, texts, 6).cosine_of_texts
    cut = replace(whole, rows=whole.rows[:, 1:], scores=whole.scores[:, 1:])
    assert (gallery_views.places(cut, whole.rows[:, 0]) == 6).all()
