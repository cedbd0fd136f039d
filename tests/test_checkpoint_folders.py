"""transformers' layout both ways, with transformers' own models as witness."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from stored_models import model_of
from toy_models import SPECIAL, VOCAB, toy_config, toy_images, toy_model, toy_tokens
from transformers_models import to_transformers, toy_tokenizer

from blip.checkpoint import Card, save
from blip.checkpoint.folders import read_folder, write_folder
from blip.checkpoint.opening import load_any, open_any
from blip.data.transforms import eval_transform
from blip.errors import InputError
from blip.model import narrowed
from blip.tasks.vqa import VQA

CLASSES = [
    transformers.BlipForConditionalGeneration,
    transformers.BlipForImageTextRetrieval,
    transformers.BlipForQuestionAnswering,
]


def theirs(kind, seed=0, **vision):
    """A random model of transformers whose weights are wide enough that inputs matter."""
    config = transformers.BlipConfig(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 16,
            "patch_size": 8,
            "initializer_range": 0.02,
            **vision,
        },
        text_config={
            "vocab_size": VOCAB,
            "hidden_size": 32,
            "encoder_hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 24,
            "bos_token_id": SPECIAL.dec,
            "sep_token_id": SPECIAL.sep,
            "eos_token_id": SPECIAL.sep,
            "pad_token_id": SPECIAL.pad,
        },
        image_text_hidden_size=16,
    )
    torch.manual_seed(seed)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return model


def saved(model, folder: Path) -> Path:
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(toy_tokenizer().vocab[: VOCAB - 2]) + "\n")
    return folder


@torch.no_grad()
def outputs(model, images, tokens):
    """What each of our models answers, as one tensor, padding left out."""
    keep = tokens.keep[:, :, None]
    if isinstance(model, VQA):
        answers = tokens.led_by("DEC")
        return model(images, tokens.led_by("ENC"), answers, torch.arange(len(images))) * keep
    states = model.encode_image(images)
    if "decode" in model.config.text.readings:
        return model.decode(tokens.led_by("DEC"), model.remember(states, "decoder")) * keep
    match = model.match_logits(tokens.led_by("ENC"), model.remember(states, "encoder"))
    cosine = model.image_features(states) @ model.text_features(model.encode_text(tokens)).T
    return torch.cat([match, cosine], 1)


@torch.no_grad()
def their_outputs(model, images, tokens):
    """The same of transformers' models; [ENC] and [DEC] are given, where they would keep [CLS]."""
    keep, mask = tokens.keep[:, :, None], tokens.keep.long()
    enc, dec = tokens.led_by("ENC").ids, tokens.led_by("DEC").ids
    if isinstance(model, transformers.BlipForQuestionAnswering):
        states = model.vision_model(images)[0]
        asked = model.text_encoder(enc, attention_mask=mask, encoder_hidden_states=states)[0]
        said = model.text_decoder(dec, encoder_hidden_states=asked, encoder_attention_mask=mask)
        return said.logits * keep
    if isinstance(model, transformers.BlipForConditionalGeneration):
        return model(pixel_values=images, input_ids=dec, attention_mask=mask).logits * keep
    match = model(enc, images, attention_mask=mask, use_itm_head=True).itm_score
    return torch.cat([match, model(tokens.ids, images, attention_mask=mask, use_itm_head=False).itm_score], 1)


def agree(ours, witness):
    # Their answer decoder drops the mask of the question's padding, so questions come without padding;
    # ours keeps it out, as the published fixture does.
    tokens, images = toy_tokens([8, 8, 8] if isinstance(ours, VQA) else [6, 4, 9]), toy_images(3)
    found, expected = outputs(ours, images, tokens), their_outputs(witness, images, tokens)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    other = outputs(ours, toy_images(3, seed=1), tokens)
    assert (other - found).abs().max() > 1e-2, "another image must change the output"


@pytest.mark.parametrize("kind", CLASSES)
def test_their_folder_gives_their_outputs(tmp_path, kind):
    witness = theirs(kind)
    found = open_any(saved(witness, tmp_path)).opened
    config = found.model.config
    assert (config.vision.eps, config.text.eps) == (1e-5, 1e-12)
    assert (config.vision.heads, config.text.heads) == (4, 2)
    agree(found.model, witness)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (narrowed(toy_model(spread=0.2), "decode").eval(), CLASSES[0]),
        (narrowed(toy_model(spread=0.2), "encode", "fuse").eval(), CLASSES[1]),
    ],
)
def test_our_folder_gives_our_outputs_there_and_back(tmp_path, model, kind):
    agree(model, to_transformers(model, kind, toy_tokenizer()))
    back = load_any(write_folder(tmp_path, model, toy_tokenizer())).model
    assert back.config == replace(model.config, embed_dim=back.config.embed_dim)
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor) or name == "temperature"


def test_our_vqa_gives_our_outputs_there_and_back(tmp_path):
    torch.manual_seed(0)
    model = VQA(toy_config(width=32, memory_width=32)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    agree(model, to_transformers(model, CLASSES[2], toy_tokenizer()))
    back = read_folder(write_folder(tmp_path, model, toy_tokenizer())).model
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_models_that_transformers_has_no_class_for_are_refused(tmp_path):
    for layout in ("pretrain", "nlvr"):
        with pytest.raises(InputError, match=f"no class of the {layout} layout"):
            write_folder(tmp_path / layout, model_of(layout), toy_tokenizer())
    with pytest.raises(InputError, match="one width"):
        write_folder(tmp_path / "vqa", model_of("vqa"), toy_tokenizer())
    assert not list(tmp_path.iterdir())


def test_their_processor_prepares_what_ours_does(tmp_path):
    model, tokenizer = model_of("caption_decoder"), toy_tokenizer()
    processor = transformers.AutoProcessor.from_pretrained(write_folder(tmp_path, model, tokenizer))
    texts = ["w5 w7", "W9, unknown w5"]
    theirs = processor(text=texts, padding=True, return_tensors="pt")
    ours = tokenizer(texts)
    assert torch.equal(theirs["input_ids"], ours.ids)
    assert torch.equal(theirs["attention_mask"].bool(), ours.keep)
    pixels = np.random.default_rng(0).integers(0, 255, (50, 40, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    prepared = processor(images=image, return_tensors="pt")["pixel_values"][0]
    mine = eval_transform(16)(image, np.random.default_rng(0))
    assert prepared.shape == mine.shape
    # They resize with torchvision, we with pillow, which round differently.
    assert (prepared - mine).abs().mean() < 0.01


def test_the_older_weights_file_and_the_newer_tokenizer_file_are_read(tmp_path):
    witness = theirs(CLASSES[0])
    folder = saved(witness, tmp_path)
    (folder / "model.safetensors").unlink()
    constant = {"text_decoder.bert.embeddings.position_ids": torch.arange(24)[None]}
    torch.save(witness.state_dict() | constant, folder / "pytorch_model.bin")
    (folder / "vocab.txt").unlink()
    words = toy_tokenizer().vocab
    added = [{"id": VOCAB - 2, "content": "[DEC]"}, {"id": VOCAB - 1, "content": "[ENC]"}]
    vocabulary = {"vocab": {word: i for i, word in enumerate(words[: VOCAB - 2])}}
    (folder / "tokenizer.json").write_text(json.dumps({"model": vocabulary, "added_tokens": added}))
    found = load_any(folder)
    assert found.tokenizer.vocab == words
    agree(found.model, witness)


def test_a_size_is_interpolated_here_too(tmp_path):
    found = load_any(saved(theirs(CLASSES[1]), tmp_path), image_size=32)
    assert found.model.encode_image(toy_images(1, side=32)).shape == (1, 17, 32)


def test_what_config_json_leaves_out_is_what_transformers_takes(tmp_path):
    folder = saved(theirs(CLASSES[0], num_attention_heads=4), tmp_path)
    data = json.loads((folder / "config.json").read_text())
    del data["vision_config"]["layer_norm_eps"], data["text_config"]["num_attention_heads"]
    (folder / "config.json").write_text(json.dumps(data))
    config = load_any(folder).model.config
    assert (config.vision.eps, config.text.heads) == (1e-5, 8)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "clip"}, "not of a BLIP model"),
        ({"vision_config": {"hidden_act": "quick_gelu"}}, "quick_gelu"),
    ],
)
def test_a_folder_of_another_model_is_refused(tmp_path, change, sentence):
    folder = saved(theirs(CLASSES[0]), tmp_path)
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(data | change))
    with pytest.raises(InputError, match=sentence):
        load_any(folder)


def test_an_incomplete_folder_is_refused_in_a_sentence(tmp_path):
    folder = saved(theirs(CLASSES[0]), tmp_path)
    for name, sentence in (
        ("vocab.txt", "no vocab.txt"),
        ("model.safetensors", "neither model.safetensors"),
        ("config.json", "holds no config.json; give a folder with config.json, vocab.txt and model.safetensors"),
    ):
        (folder / name).unlink()
        with pytest.raises(InputError, match=sentence):
            load_any(folder)


def test_of_a_folder_that_a_training_left_the_weights_are_named(tmp_path):
    save(tmp_path / "tuned/model.safetensors", toy_model(), toy_tokenizer(), Card(stage="captioner"))
    with pytest.raises(InputError, match=r"tuned is a folder of a training; give its weights, .*tuned/model.safetensors\.$"):
        load_any(tmp_path / "tuned")


def test_a_file_of_theirs_without_its_folder_is_refused(tmp_path):
    folder = saved(theirs(CLASSES[0]), tmp_path)
    with pytest.raises(InputError, match=r"the folder that holds its config\.json"):
        load_any(folder / "model.safetensors", heads=2)
