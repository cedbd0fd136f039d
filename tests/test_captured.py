"""Captured steps: what they find is what plain steps find, for images that come later, too."""

import gc
import weakref
from contextlib import contextmanager

import pytest
import torch
from imitated_graph import imitated_graphs
from toy_models import SPECIAL, toy_images, toy_model
from transformers_models import toy_tokenizer

from blip import captured
from blip.captured import Captured, Kept
from blip.checkpoint.own import Card, Loaded
from blip.errors import InputError
from blip.generate import Decoding, generate
from blip.generate.search import _KEPT
from blip.matching import Matcher
from blip.precision import precision

PROMPT = (SPECIAL.dec, 5, 6)
IMAGES = 5
DECODINGS = {
    "greedy": Decoding(strategy="greedy", max_length=14),
    "nucleus": Decoding(candidates=3, max_length=14, min_length=8),
    "top_k": Decoding(strategy="top_k", top_k=4, temperature=0.7, max_length=12),
    "beam": Decoding(strategy="beam", num_beams=4, candidates=2, max_length=14, min_length=6),
    "beam of version 4.15": Decoding(strategy="beam", max_length=11, rank_whole_text=True),
    "short": Decoding(strategy="greedy", max_length=4, min_length=0),
}


@pytest.fixture
def model():
    model = toy_model(8, spread=0.2)
    with torch.no_grad():
        model.text.lm_head.bias[SPECIAL.sep] += 1.2
    return model


def memories(model):
    with torch.no_grad():
        return [model.remember(model.encode_image(toy_images(IMAGES, seed)), "decoder") for seed in (1, 2, 3)]


def found(model, memory, decoding, seed=0):
    keys = torch.arange(IMAGES) * 977
    return generate(model, memory, decoding, prompt_ids=PROMPT, special=SPECIAL, image_hashes=keys, seed=seed)


def same(ours, plain):
    for own, other in zip(ours, plain, strict=True):
        assert [caption.ids for caption in own] == [caption.ids for caption in other]
        for one, two in zip(own, other, strict=True):
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-5)


@pytest.mark.parametrize("name", DECODINGS)
def test_captured_steps_find_what_plain_ones_find(model, name):
    decoding, images = DECODINGS[name], memories(model)
    plain = [found(model, memory, decoding, seed) for seed, memory in enumerate(images)]
    assert len({str(one) for one in plain}) == len(plain)
    with imitated_graphs() as made:
        ours = [found(model, memory, decoding, seed) for seed, memory in enumerate(images)]
    for own, other in zip(ours, plain, strict=True):
        same(own, other)
    assert len(made) == (0 if name == "short" else 2), "both parts of a step, once for all images"
    assert all(graph.replays > len(images) for graph in made)


def test_the_images_that_are_read_are_left_as_they_were(model):
    first, second, _ = memories(model)
    before = [tensor.clone() for tensor in (*first.keys, *first.values)]
    with imitated_graphs():
        for memory in (first, second):
            found(model, memory.packed(), DECODINGS["nucleus"])
    assert all(torch.equal(now, then) for now, then in zip((*first.keys, *first.values), before, strict=True))


def test_a_penalty_is_not_captured(model):
    memory, decoding = memories(model)[0], Decoding(strategy="greedy", repetition_penalty=1.5, max_length=12)
    plain = found(model, memory, decoding)
    with imitated_graphs() as made:
        same(found(model, memory, decoding), plain)
    assert not made


def test_weights_that_changed_are_read(model):
    memory, decoding = memories(model)[0], DECODINGS["greedy"]
    with imitated_graphs():
        before = found(model, memory, decoding)
        with torch.no_grad():
            model.text.lm_head.bias += torch.linspace(-2, 2, len(model.text.lm_head.bias))
        after = found(model, memory, decoding)
    assert before != after
    same(after, found(model, memory, decoding))


def test_each_precision_has_its_own(model):
    memory, decoding = memories(model)[0], DECODINGS["greedy"]
    with imitated_graphs() as made:
        for name in ("float32", "bf16", "float32"):
            with precision(torch.device("cpu"), name):
                found(model, memory, decoding)
    assert len(made) == 4


def test_of_a_model_the_last_two_are_kept_and_none_of_a_model_that_is_gone():
    model = toy_model(8)
    memory = memories(model)[0]
    with imitated_graphs():
        for name in ("greedy", "nucleus", "top_k"):
            found(model, memory, DECODINGS[name])
    assert len(_KEPT._of_models[model]) == 2
    gone = weakref.ref(model)
    del model, memory
    gc.collect()
    assert gone() is None


def scores(matcher, texts, seed):
    return torch.tensor([values for own in matcher(list(toy_images(len(texts), seed)), texts) for values in own])


def test_captured_scores_are_those_of_plain_calls():
    loaded = Loaded(toy_model(8, spread=0.2), toy_tokenizer(), Card(stage="filter"), "toy")
    matcher = Matcher(loaded, tile=4)
    del loaded
    texts = [["w5 w6 w7", "w8"], ["w9 " * 9, "w10 w11"], ["w12 w13", "w14 " * 18]]
    plain = [scores(matcher, texts, seed) for seed in (1, 2, 3)]
    with imitated_graphs() as made:
        ours = [scores(matcher, texts, seed) for seed in (1, 2, 3)]
    for own, other in zip(ours, plain, strict=True):
        assert torch.equal(own, other)
    assert 1 < len(made) <= 3, "one for each length of texts"
    gone = weakref.ref(matcher.model)
    del matcher
    gc.collect()
    assert gone() is None


def test_work_that_failed_is_not_kept():
    kept, owner = Kept(), torch.nn.Identity()
    with pytest.raises(ValueError), kept.one(owner, "key", list) as work:
        raise ValueError
    with kept.one(owner, "key", list) as again:
        assert again is not work


def test_graphs_are_for_gpus_where_they_are_asked_for(monkeypatch):
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.delenv("BLIP_LAB_GRAPHS", raising=False)
    assert not captured.captures(gpu)
    monkeypatch.setenv("BLIP_LAB_GRAPHS", "1")
    assert captured.captures(gpu) and not captured.captures(cpu)


def test_what_cannot_be_captured_is_told_in_one_sentence_and_too_little_memory_as_it_is(monkeypatch):
    @contextmanager
    def failing(graph, pool, capture_error_mode):
        yield
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might be reported elsewhere")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", failing)
    monkeypatch.setattr(captured, "_pool", lambda: None)
    with pytest.raises(InputError) as told:
        captured.noted(lambda: None)
    assert str(told.value) == (
        "The GPU's work could not be captured as a graph (operation not permitted when stream is capturing); "
        "unset BLIP_LAB_GRAPHS to do it plainly."
    )

    def full():
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        captured.noted(full)


def test_the_first_call_is_plain_and_the_second_is_noted():
    done = torch.zeros(1)
    with imitated_graphs() as made:
        work = Captured(lambda: done.add_(1))
        work()
        assert not made
        for _ in range(4):
            work()
    assert done.item() == 5 and len(made) == 1 and made[0].replays == 4
