"""Decoding token for token as transformers' BLIP decodes with the same weights."""

import pytest
import torch
from toy_models import SPECIAL, toy_images, toy_model

from blip.generate import Decoding, generate
from blip.model import BLIP

transformers = pytest.importorskip("transformers")

IMAGES = 5
PROMPT = (SPECIAL.dec, 5, 6, 7)


def to_transformers(model: BLIP) -> "transformers.BlipForConditionalGeneration":
    """The captioner in transformers' layout, every tensor given and none left over."""
    vision, text = model.config.vision, model.config.text
    config = transformers.BlipConfig(
        vision_config=dict(
            hidden_size=vision.width,
            intermediate_size=vision.mlp_ratio * vision.width,
            num_hidden_layers=vision.depth,
            num_attention_heads=vision.heads,
            image_size=vision.image_size,
            patch_size=vision.patch_size,
            layer_norm_eps=vision.eps,
            initializer_range=0.02,
        ),
        text_config=dict(
            vocab_size=text.vocab_size,
            hidden_size=text.width,
            encoder_hidden_size=text.memory_width,
            intermediate_size=text.mlp_width,
            num_hidden_layers=text.depth,
            num_attention_heads=text.heads,
            max_position_embeddings=text.max_positions,
            layer_norm_eps=text.eps,
            bos_token_id=SPECIAL.dec,
            sep_token_id=SPECIAL.sep,
            eos_token_id=SPECIAL.sep,
            pad_token_id=SPECIAL.pad,
        ),
    )
    theirs = transformers.BlipForConditionalGeneration(config).eval()
    theirs.load_state_dict(dict(_tensors(model)), strict=True)
    return theirs


def _tensors(model: BLIP):
    image, text = model.image_encoder, model.text
    yield "vision_model.embeddings.class_embedding", image.cls
    yield "vision_model.embeddings.position_embedding", image.positions
    yield from _both("vision_model.embeddings.patch_embedding", image.patches)
    yield from _both("vision_model.post_layernorm", image.norm)
    for i, block in enumerate(image.blocks):
        at = f"vision_model.encoder.layers.{i}"
        yield from _both(f"{at}.self_attn.qkv", block.attention.qkv)
        yield from _both(f"{at}.self_attn.projection", block.attention.out)
        yield from _both(f"{at}.layer_norm1", block.attention_norm)
        yield from _both(f"{at}.layer_norm2", block.mlp_norm)
        yield from _both(f"{at}.mlp.fc1", block.mlp.up)
        yield from _both(f"{at}.mlp.fc2", block.mlp.down)
    embeddings = text.embeddings["decoder"]
    yield "text_decoder.bert.embeddings.word_embeddings.weight", embeddings.word.weight
    yield "text_decoder.bert.embeddings.position_embeddings.weight", embeddings.position.weight
    yield from _both("text_decoder.bert.embeddings.LayerNorm", embeddings.norm)
    for i, block in enumerate(text.blocks):
        yield from _text_block(f"text_decoder.bert.encoder.layer.{i}", block)
    head, at = text.lm_head, "text_decoder.cls.predictions"
    yield from _both(f"{at}.transform.dense", head.dense)
    yield from _both(f"{at}.transform.LayerNorm", head.norm)
    yield f"{at}.decoder.weight", embeddings.word.weight
    yield f"{at}.decoder.bias", head.bias
    yield f"{at}.bias", head.bias


def _text_block(at, block):
    own, cross = block.self_attention["decoder"], block.cross_attention["decoder"]
    for name, weight, bias in zip(
        ("query", "key", "value"), own.qkv.weight.chunk(3), own.qkv.bias.chunk(3), strict=True
    ):
        yield f"{at}.attention.self.{name}.weight", weight
        yield f"{at}.attention.self.{name}.bias", bias
    yield from _both(f"{at}.attention.output.dense", own.out)
    yield from _both(f"{at}.attention.output.LayerNorm", own.norm)
    yield from _both(f"{at}.crossattention.self.query", cross.query)
    for name, weight, bias in zip(
        ("key", "value"), cross.key_value.weight.chunk(2), cross.key_value.bias.chunk(2), strict=True
    ):
        yield f"{at}.crossattention.self.{name}.weight", weight
        yield f"{at}.crossattention.self.{name}.bias", bias
    yield from _both(f"{at}.crossattention.output.dense", cross.out)
    yield from _both(f"{at}.crossattention.output.LayerNorm", cross.norm)
    mlp = block.mlp["decoder"]
    yield from _both(f"{at}.intermediate.dense", mlp.mlp.up)
    yield from _both(f"{at}.output.dense", mlp.mlp.down)
    yield from _both(f"{at}.output.LayerNorm", mlp.norm)


def _both(at, module):
    yield f"{at}.weight", module.weight
    yield f"{at}.bias", module.bias


def random_pair(seed, sep_bias=1.2):
    """A random captioner here and there; [SEP] is likely, so that captions end at different lengths."""
    ours = toy_model(seed, spread=0.2)
    with torch.no_grad():
        ours.text.lm_head.bias[SPECIAL.sep] += sep_bias
    return ours, to_transformers(ours)


def our_ids(model, images, decoding, prompt=PROMPT):
    with torch.no_grad():
        memory = model.remember(model.encode_image(images), "decoder")
    found = generate(model, memory, decoding, prompt_ids=prompt, special=SPECIAL)
    return [list(caption.ids) for image in found for caption in image]


def their_ids(theirs, images, decoding, prompt=PROMPT):
    prompts = torch.tensor([[*prompt, SPECIAL.sep]]).expand(len(images), -1).clone()
    beams = decoding.num_beams if decoding.strategy == "beam" else 1
    whole = theirs.generate(
        pixel_values=images,
        input_ids=prompts,
        attention_mask=torch.ones_like(prompts),
        do_sample=False,
        num_beams=beams,
        num_return_sequences=decoding.candidates,
        max_length=decoding.max_length,
        min_length=decoding.min_length,
        repetition_penalty=float(decoding.repetition_penalty),
    )
    return [_until_sep(row[len(prompt) :]) for row in whole.tolist()]


def _until_sep(ids):
    return ids[: ids.index(SPECIAL.sep) + 1] if SPECIAL.sep in ids else ids


CASES = [
    Decoding(strategy="greedy"),
    Decoding(strategy="greedy", repetition_penalty=1.4, min_length=8, max_length=16),
    Decoding(strategy="beam", num_beams=1),
    Decoding(strategy="beam", num_beams=3),
    Decoding(strategy="beam", num_beams=5, candidates=5),
    Decoding(strategy="beam", num_beams=3, min_length=9, max_length=11, candidates=2),
    Decoding(strategy="beam", num_beams=5, repetition_penalty=1.1, candidates=3, max_length=24),
    Decoding(strategy="beam", num_beams=3, min_length=0, max_length=6, candidates=3),
    Decoding(strategy="beam", num_beams=4, repetition_penalty=2.0, min_length=12),
]


@pytest.mark.parametrize("seed", [1, 3, 8, 10])
def test_random_weights_give_the_same_tokens(seed):
    ours, theirs = random_pair(seed)
    images = toy_images(IMAGES, seed=seed)
    with torch.no_grad():
        states = theirs.vision_model(images)[0]
        torch.testing.assert_close(ours.encode_image(images), states, atol=1e-5, rtol=1e-5)
    lengths = set()
    for decoding in CASES:
        found = our_ids(ours, images, decoding)
        assert found == their_ids(theirs, images, decoding), decoding
        lengths |= {len(ids) for ids in found}
    greedy = our_ids(ours, images, CASES[0])
    assert len(set(map(tuple, greedy))) > 1, "another image must change the caption"
    assert len(lengths) > 5, "captions must end at different lengths"


def test_another_prompt_and_none():
    ours, theirs = random_pair(8)
    images = toy_images(IMAGES, seed=1)
    for prompt in ((SPECIAL.dec,), (SPECIAL.dec, 20), (SPECIAL.dec, 11, 12, 13, 14, 15)):
        for decoding in (CASES[0], CASES[3], CASES[4]):
            found = our_ids(ours, images, decoding, prompt)
            assert found == their_ids(theirs, images, decoding, prompt)


def test_another_image_changes_their_logits_and_ours_alike():
    ours, theirs = random_pair(3)
    images = toy_images(2, seed=3)
    ids = torch.tensor([PROMPT, PROMPT])
    with torch.no_grad():
        expected = theirs(pixel_values=images, input_ids=ids).logits
        memory = ours.remember(ours.encode_image(images), "decoder")
        found = ours.text.logits(ours.text(ids, None, "decoder", memory=memory))
    assert (expected[0] - expected[1]).abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
