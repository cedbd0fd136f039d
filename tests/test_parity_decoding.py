"""Decoding token for token as transformers' BLIP decodes with the same weights."""

from pathlib import Path

import pytest
import torch
import transformers
from toy_models import SPECIAL, toy_config, toy_images, toy_model, toy_tokens
from transformers_models import to_transformers, toy_tokenizer

import blip.generate
from blip.checkpoint import load
from blip.generate import Decoding, generate
from blip.generate.sampling import truncated
from blip.model import BLIP, narrowed
from blip.tasks.batch import PairBatch
from blip.tasks.captioning import Captioning

IMAGES = 5
PROMPT = (SPECIAL.dec, 5, 6, 7)


def captioner(model, tokenizer=None):
    """Our captioner as transformers' class."""
    return to_transformers(model, transformers.BlipForConditionalGeneration, tokenizer or toy_tokenizer())


def random_pair(seed, sep_bias=1.2):
    """A random captioner here and there; [SEP] is likely, so that captions end somewhere."""
    ours = narrowed(toy_model(seed, spread=0.2), "decode").eval()
    with torch.no_grad():
        ours.text.lm_head.bias[SPECIAL.sep] += sep_bias
    return ours, captioner(ours)


def our_ids(model, images, decoding, prompt=PROMPT, special=SPECIAL):
    with torch.no_grad():
        memory = model.remember(model.encode_image(images), "decoder")
    found = generate(model, memory, decoding, prompt_ids=prompt, special=special)
    return [list(caption.ids) for image in found for caption in image]


def their_ids(theirs, images, decoding, prompt=PROMPT, special=SPECIAL):
    prompts = torch.tensor([[*prompt, special.sep]]).expand(len(images), -1).clone()
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
    return [_until(special.sep, row[len(prompt) :]) for row in whole.tolist()]


def _until(sep, ids):
    return ids[: ids.index(sep) + 1] if sep in ids else ids


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


@pytest.fixture(scope="module")
def trained():
    """A small captioner taught captions of different lengths, so that it ends them by itself."""
    torch.manual_seed(0)
    model = BLIP(toy_config(dropout=0.0).reading("decode")).train()
    task = Captioning(model, prompt_length=1)
    batch = PairBatch(toy_images(6), toy_tokens([5, 7, 9, 11, 14, 17], seed=1), torch.arange(6))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        loss = task(batch).total
        loss.backward()
        optimizer.step()
    return model.eval(), batch


def test_trained_weights_end_their_captions_alike(trained):
    model, batch = trained
    theirs = captioner(model)
    images = torch.cat([batch.images, (batch.images + batch.images.roll(1, 0)) / 2])
    greedy = our_ids(model, images, Decoding(strategy="greedy", min_length=0), (SPECIAL.dec,))
    taught = [_until(SPECIAL.sep, row[1:]) for row in batch.tokens.ids.tolist()]
    assert greedy[:6] == taught, "the captions were not learned"
    for decoding in CASES:
        found = our_ids(model, images, decoding, (SPECIAL.dec,))
        assert found == their_ids(theirs, images, decoding, (SPECIAL.dec,)), decoding
        assert len(set(map(len, found))) > 1


def test_shipped_weights_end_their_captions_alike():
    """The nano captioner that comes with the package."""
    loaded = load(Path(blip.generate.__file__).parents[1] / "weights" / "captioner.safetensors")
    model, tokenizer = loaded.model, loaded.tokenizer
    theirs = captioner(model, tokenizer)
    images = toy_images(8, side=model.config.vision.image_size)
    prompt = tokenizer.prompt("a picture of ")
    lengths = set()
    for decoding in CASES:
        found = our_ids(model, images, decoding, prompt, tokenizer.special)
        assert found == their_ids(theirs, images, decoding, prompt, tokenizer.special), decoding
        lengths |= {len(ids) for ids in found}
    assert len(lengths) > 1, "captions must end at different lengths"


@pytest.mark.parametrize("top_p", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("top_k", [0, 7, 50])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_what_sampling_cuts_is_what_their_warpers_cut(top_p, top_k, temperature):
    logits = 3 * torch.randn(20, 1_000, generator=torch.Generator().manual_seed(4))
    scores = transformers.TemperatureLogitsWarper(temperature)(None, logits)
    if top_k:
        scores = transformers.TopKLogitsWarper(top_k)(None, scores)
    expected = transformers.TopPLogitsWarper(top_p)(None, scores).softmax(dim=1)
    kept = truncated(logits, top_p=top_p, top_k=top_k, temperature=temperature)
    assert torch.equal(kept > 0, expected > 0)
    torch.testing.assert_close(kept / kept.sum(1, keepdim=True), expected)
