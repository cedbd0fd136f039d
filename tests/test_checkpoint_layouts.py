"""Stored layouts: recognised from keys, every key accounted for, ties verified, sharing decided by values."""

from dataclasses import replace

import pytest
import torch
from stored_models import HEADS, LAYOUTS, QUEUE, model_of, stored_state
from toy_models import toy_config, toy_images, toy_model
from transformers_models import toy_tokenizer

from blip.checkpoint import Card, save
from blip.checkpoint.layouts import survey
from blip.checkpoint.opening import load_any
from blip.checkpoint.published import published_state, write_published
from blip.checkpoint.sizes import Untold
from blip.checkpoint.stored import continue_from, continue_teacher, from_state
from blip.config import SHARING
from blip.errors import InputError
from blip.model import narrowed
from blip.tasks.pretrain import ObjectiveConfig, Pretrain
from blip.tasks.retrieval import RETRIEVAL
from blip.vision import resize_positions
from lab.cli import main

UNTOLD = Untold(image_heads=HEADS, text_heads=HEADS)
WORDS = "text_decoder.bert.embeddings.word_embeddings.weight"
MATRIX = "text_decoder.cls.predictions.decoder.weight"


def opened(state, **changes):
    return from_state(state, "weights.pth", **{"untold": UNTOLD} | changes)


def shapes(state):
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def unread(name):
    """Keys that carry nothing a model reads."""
    return "position_ids" in name or (name.startswith("text_encoder_m.") and ".crossattention." in name)


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_comes_back_to_the_bit(layout):
    model, training, state = stored_state(layout)
    found = opened(state)
    assert found.survey.layout == layout
    assert type(found.model) is type(model) and not found.model.training
    # A layout without projections does not tell how wide they would be.
    assert replace(found.model.config, embed_dim=16) == model.config
    weights = model.state_dict()
    if layout == "itm":
        weights["temperature"] = torch.tensor(0.07)
    same(found.model.state_dict(), weights)
    if training is None:
        assert found.training is None
    else:
        same(found.training.teacher, training.teacher)
        assert torch.equal(found.training.image_queue, training.image_queue)
        assert torch.equal(found.training.text_queue, training.text_queue)
        assert torch.equal(found.training.ids, training.ids)
        assert found.training.position == training.position == 3
    same(published_state(found.model, found.training) | state, state | published_state(model, training))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_key_is_named(layout):
    _, _, state = stored_state(layout)
    every = shapes(state)
    for name in every:
        if unread(name):
            continue
        without = {other: shape for other, shape in every.items() if other != name}
        with pytest.raises(InputError) as error:
            survey(without, "weights.pth", UNTOLD)
        assert repr(name) in str(error.value) and "weights.pth" in str(error.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_unknown_key_is_named(layout):
    _, _, state = stored_state(layout)
    for name in ("text_encoder.pooler.dense.weight", "visual_encoder.blocks.0.attn.extra", "logit_scale"):
        if layout == "caption_decoder" and name.startswith("text_encoder"):
            continue  # with a text encoder it is no captioner
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            survey(shapes(state) | {name: (3,)}, "weights.pth", UNTOLD)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_wrong_shape_is_named(layout):
    _, _, state = stored_state(layout)
    every = shapes(state)
    told = ("cls_token", "pos_embed", "patch_embed", "word_embeddings", "position_embeddings", "queue")
    for name in every:
        if unread(name) or any(word in name for word in told) or not every[name]:
            continue
        longer = every | {name: (every[name][0] + 1, *every[name][1:])}
        with pytest.raises(InputError, match="has shape"):
            survey(longer, "weights.pth", UNTOLD)


@pytest.mark.parametrize("layout", ["pretrain", "caption_decoder", "vqa"])
def test_an_output_matrix_that_is_not_the_word_embedding_is_refused(layout):
    _, _, state = stored_state(layout)
    state[MATRIX] = state[MATRIX] + 1e-3
    with pytest.raises(InputError, match="ties") as error:
        opened(state)
    assert MATRIX in str(error.value) and WORDS in str(error.value)


@pytest.mark.parametrize("sharing", SHARING)
def test_what_is_stored_equal_is_shared(sharing):
    model = toy_model(spread=0.2, config=toy_config(shared=SHARING[sharing]))
    found = opened(published_state(model))
    assert found.model.config == model.config
    same(found.model.state_dict(), model.state_dict())


@pytest.mark.parametrize(("sharing", "apart"), [("all-but-ca", "cross-attention"), ("none", "cross-attention and embeddings and mlp")])
def test_pre_trained_weights_that_the_published_class_would_alter_are_not_written(sharing, apart, tmp_path, capsys):
    ours, out = tmp_path / "ours.safetensors", tmp_path / "theirs.pth"
    save(ours, toy_model(config=toy_config(shared=SHARING[sharing])), toy_tokenizer(), Card(stage="pretrained"))
    words = ["export-checkpoint", str(ours), "--layout", "published", "--out", str(out)]
    assert main(words) == 2 and not out.exists()
    said = capsys.readouterr().err
    assert f"one {apart} for text encoder and decoder, and these weights have two; export one reading" in said
    for task in ("captioning", "retrieval"):
        assert main([*words, "--task", task]) == 0
        assert load_any(out, vocab=out.with_suffix(".vocab.txt")).model.config.text.depth == toy_config().text.depth


@pytest.mark.parametrize("sharing", ["all", "all-but-sa"])
def test_pre_trained_weights_that_share_what_the_published_class_ties_are_written(sharing, tmp_path):
    model = toy_model(config=toy_config(shared=SHARING[sharing]))
    written = torch.load(write_published(tmp_path / "all.pth", model), weights_only=True)["model"]
    same(opened(written).model.state_dict(), model.state_dict())


def test_one_unequal_tensor_decides_that_a_part_is_not_shared():
    _, _, state = stored_state("pretrain")
    name = "text_decoder.bert.encoder.layer.1.output.LayerNorm.bias"
    state[name] = state[name] + 1
    model = opened(state).model
    assert model.config.text.shared == {"embeddings", "cross_attention"}
    same(published_state(model), {key: state[key] for key in published_state(model)} | momentum(model))


def momentum(model):
    """Without training state the model stands in for its momentum encoders."""
    return {name: tensor for name, tensor in published_state(model).items() if "_m." in name}


def test_head_counts_follow_from_the_published_width_or_must_be_told():
    _, _, state = stored_state("retrieval")
    with pytest.raises(InputError, match="--heads"):
        from_state(state, "weights.pth")
    wide = toy_config(width=128, heads=2, memory_width=128)
    wide = replace(wide, text=replace(wide.text, width=64, heads=1, mlp_width=64))
    state = published_state(toy_model(config=wide))
    assert from_state(state, "weights.pth").model.config == wide


def test_positions_that_are_no_square_are_refused():
    _, _, state = stored_state("itm")
    state["visual_encoder.pos_embed"] = torch.zeros(1, 7, 24)
    with pytest.raises(InputError, match="7 position embeddings"):
        opened(state)


def test_positions_are_interpolated_for_another_image_size():
    model, training, state = stored_state("retrieval")
    found = opened(state, image_size=32)
    expected = resize_positions(model.image_encoder.positions, 17)
    assert torch.equal(found.model.image_encoder.positions, expected)
    assert found.model.encode_image(toy_images(2, side=32)).shape == (2, 17, 24)
    teacher = resize_positions(training.teacher["image_encoder.positions"], 17)
    assert torch.equal(found.training.teacher["image_encoder.positions"], teacher)
    with pytest.raises(InputError, match="multiple of patch_size"):
        opened(state, image_size=20)


def test_half_precision_becomes_float32():
    model, _, state = stored_state("caption_decoder")
    half = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
    found = opened(half).model
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    torch.testing.assert_close(found.image_encoder.cls, model.image_encoder.cls, atol=1e-3, rtol=1e-3)


def test_training_continues_with_its_teacher_and_queues():
    _, training, state = stored_state("retrieval")
    found = opened(state)
    task = Pretrain(found.model, replace(RETRIEVAL, queue=QUEUE))
    continue_from(task, found.training)
    teacher = task.teacher.module.state_dict()
    same({name: teacher[name] for name in training.teacher}, training.teacher)
    assert torch.equal(task.image_queue.rows, training.image_queue)
    assert torch.equal(task.text_queue.ids, torch.tensor([4, 2, 4, -100, -100, -100]))
    task.update_teacher()
    task.image_queue.push(torch.zeros(1, 16), torch.tensor([9]))
    same(found.training.teacher, training.teacher)  # what was read stays what was read
    assert torch.equal(found.training.image_queue, training.image_queue)


def test_training_that_cannot_be_continued_is_refused():
    _, _, state = stored_state("pretrain")
    found = opened(state)
    with pytest.raises(InputError, match=f"--queue {QUEUE}"):
        continue_from(Pretrain(found.model, ObjectiveConfig(queue=9)), found.training)
    with pytest.raises(InputError, match="no momentum encoder"):
        continue_from(Pretrain(found.model, ObjectiveConfig(queue=0, momentum=None)), found.training)
    waiting = Pretrain(found.model, ObjectiveConfig(queue=QUEUE, teacher_start=1))
    for go_on in (continue_from, continue_teacher):
        with pytest.raises(InputError, match="wait 1 steps continue nothing; give a teacher start of 0"):
            go_on(waiting, found.training)
    assert not torch.equal(waiting.image_queue.rows, found.training.image_queue)


def test_a_file_without_training_state_starts_its_momentum_encoders_from_the_model():
    model = model_of("retrieval")
    state = published_state(model)
    assert torch.equal(state["vision_proj_m.weight"], model.image_projection.weight)
    assert not any("queue" in name for name in state)
    found = opened(state)
    assert found.survey.layout == "retrieval" and found.training is None


def test_readings_that_no_published_class_has_are_refused():
    with pytest.raises(InputError, match="No published class"):
        published_state(narrowed(toy_model(), "encode"))


@pytest.mark.parametrize(
    "keys", [[], ["conv1.weight", "fc.bias"], ["visual_encoder.cls_token"], ["text_decoder.x"]]
)
def test_weights_of_something_else_are_refused(keys):
    with pytest.raises(InputError, match="none of BLIP's layouts"):
        survey(dict.fromkeys(keys, (3,)), "weights.pth")
