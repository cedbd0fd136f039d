"""Filters and captioners as plug-ins: each against a slow or an independent truth, in any company, offline."""

import hashlib
import json
import sys
from dataclasses import replace
from itertools import chain

import numpy as np
import open_clip
import pytest
import torch
import transformers
from data_files import picture
from plugin_models import CLIP_CONFIG, captioning_folder, clip_folder
from stored_models import model_of
from toy_models import VOCAB
from transformers_models import toy_tokenizer

from blip.capfilt.text_filters import TextFilter
from blip.checkpoint.own import Card, Loaded
from blip.data.text import hash64
from blip.errors import InputError
from blip.generate import Decoding, captions
from blip.matching import Matcher
from blip.plugins.clip import ClipFilter
from blip.plugins.function import FunctionFilter
from blip.plugins.transformers_captioner import TransformersCaptioner

PICTURES = [picture(seed, (30, 20)) for seed in range(6)]
TEXTS = [["a red ball", "w5"], ["x"], [], ["a dog runs far away"] * 2, ["w4 w6 w7 w8 w9 w10 w11 w12"], ["a cat", "z"]]
CLOSE = 1e-5


def scored(used, pictures=PICTURES, texts=TEXTS):
    return used([used.prepare(image) for image in pictures], texts)


# Text


def text(caption):
    (((values),),) = TextFilter()([None], [[caption]])
    return dict(zip(TextFilter.columns, values, strict=True))


def test_text_scores_of_a_caption_worked_by_hand():
    found = text("The dog, the  dog 2!")
    assert found["words"] == 5
    assert found["characters"] == 15  # the dog, the dog 2!
    assert found["letters"] == pytest.approx(12 / 15)
    assert found["plain_words"] == pytest.approx(4 / 5)
    assert found["distinct_words"] == pytest.approx(4 / 5)  # the, dog and 2, and dog with its comma
    assert found["distinct_bigrams"] == 1
    assert found["length"] == 1
    assert found["quality"] == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    "caption",
    ["a red ball on the table", "un café à l'ombre", "красный мяч на столе", "红色的球放在木头桌子上面", "كرة حمراء على الطاولة", "लाल गेंद मेज पर है", "a well-known “quote” here"],
)
def test_plain_text_of_any_language_is_of_good_quality(caption):
    assert text(caption)["quality"] >= 0.75


@pytest.mark.parametrize(
    ("caption", "column"),
    [
        ("IMG_2041.JPG", "plain_words"),
        ("buy now buy now buy now buy now", "distinct_bigrams"),
        ("$9.99 - 50% 2/3 #1 ***", "letters"),
        ("ha ha ha ha ha ha", "distinct_words"),
        ("dog", "length"),
        ("word " * 300, "length"),
        ("🙂🙂🙂 !!!", "letters"),
        ("", "length"),
    ],
)
def test_what_is_no_caption_is_low_in_its_column(caption, column):
    found = text(caption)
    assert found[column] <= 0.4
    assert found["quality"] <= found[column]


def test_every_text_score_is_a_share_and_belongs_to_its_caption_alone():
    together = scored(TextFilter())
    for own, texts in zip(together, TEXTS, strict=True):
        for values, caption in zip(own, texts, strict=True):
            assert dict(zip(TextFilter.columns, values, strict=True)) == text(caption)
            assert all(0 <= value <= 1 for value in values[:6])


# CLIP


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clip") / "model")


def test_clip_cosines_are_those_of_open_clip(clip):
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{clip}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{clip}")
    model.eval()
    found = scored(ClipFilter(str(clip), tile=4))
    assert [len(own) for own in found] == [len(own) for own in TEXTS]
    for image, own, texts in zip(PICTURES, found, TEXTS, strict=True):
        for (cosine,), caption in zip(own, texts, strict=True):
            with torch.no_grad():
                a, b = model.encode_image(transform(image)[None]), model.encode_text(tokenizer([caption]))
            assert cosine == pytest.approx(torch.cosine_similarity(a, b).item(), abs=CLOSE)


def toy_matcher(tile):
    return Matcher(Loaded(model_of("itm"), toy_tokenizer(), Card(stage="filter"), "toy"), tile=tile)


@pytest.mark.parametrize("kind", ["clip", "matcher"])
def test_scores_do_not_depend_on_company(kind, clip):
    """Alone, in another order, and with more images than a tile holds: the same bits."""
    used = toy_matcher(4) if kind == "matcher" else ClipFilter(str(clip), tile=4)
    together = scored(used)
    assert scored(used, PICTURES[::-1], TEXTS[::-1]) == together[::-1]
    for image, texts, own in zip(PICTURES, TEXTS, together, strict=True):
        assert scored(used, [image], [texts]) == [own]
        for caption, values in zip(texts, own, strict=True):
            assert scored(used, [image], [[caption]]) == [[values]]


def test_a_clip_is_named_by_what_its_scores_depend_on(clip, tmp_path):
    same = ClipFilter(str(clip_folder(tmp_path / "same")))
    other = ClipFilter(str(clip_folder(tmp_path / "other", quick_gelu=True)))
    assert ClipFilter(str(clip)).id == same.id != other.id


def test_a_model_that_open_clip_knows_reads_a_file_of_weights(clip, tmp_path, monkeypatch):
    config = tmp_path / "configs" / "toy-clip.json"
    config.parent.mkdir()
    config.write_text(json.dumps(CLIP_CONFIG))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", [config.parent])
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {})
    open_clip.factory._rescan_model_configs()
    named = ClipFilter(f"toy-clip:{clip / 'open_clip_model.safetensors'}")
    assert named.columns == ("cosine",)
    assert [len(own) for own in scored(named)] == [len(own) for own in TEXTS]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("no-such-model:weights.pt", "open_clip knows no model 'no-such-model'"),
        ("ViT-B-32", "The CLIP model ViT-B-32 needs weights"),
        ("ViT-B-32:gone.pt", "ViT-B-32:gone.pt cannot be opened"),
        ("FOLDER", "cannot be opened"),
    ],
)
def test_a_clip_that_cannot_be_opened_is_one_sentence(source, said, tmp_path):
    with pytest.raises(InputError, match=said) as error:
        ClipFilter(source.replace("FOLDER", str(tmp_path)))
    assert "\n" not in str(error.value)


# Functions

MODULE = """
import numpy as np

def bright(images, captions):
    return [float(np.asarray(image).mean()) + len(caption) for image, caption in zip(images, captions)]

def two(images, captions):
    return [{"words": len(c.split()), "long": np.float32(len(c))} for c in captions]

def short(images, captions):
    return [1.0]

def fails(images, captions):
    return [1 / (caption != "x") for caption in captions]

def wordy(images, captions):
    return [caption for caption in captions]

def empty(images, captions):
    return [{} for caption in captions]

def badly_named(images, captions):
    return [{"my score": 1} for caption in captions]

def changing(images, captions):
    return [{"a": 1} if caption != "x" else {"b": 1} for caption in captions]
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module of its own in the current folder."""
    name = f"own_filter_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_a_function_scores_each_pair(module):
    used = FunctionFilter(f"{module}:bright")
    assert used.columns == ("score",)
    wanted = [[(np.asarray(i).mean() + len(t),) for t in own] for i, own in zip(PICTURES, TEXTS, strict=True)]
    assert scored(used) == wanted
    assert scored(used, PICTURES[:1], [[]]) == [[]]


def test_a_dict_of_scores_becomes_columns(module):
    used = FunctionFilter(f"{module}:two")
    assert used.columns == ("words", "long")
    assert scored(used)[0] == [(3.0, 10.0), (1.0, 2.0)]


def test_a_function_is_named_by_its_source(module, tmp_path):
    used = FunctionFilter(f"{module}:bright")
    source = (tmp_path / f"{module}.py").read_bytes()
    assert used.id == f"{module}:bright@{hashlib.sha256(source).hexdigest()[:16]}"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("fails", "failed on the caption 'x' .ZeroDivisionError: division by zero."),
        ("short", "gave 1 scores for 8 captions"),
        ("wordy", "gave 'a picture' for the caption 'a picture'; it must give a number"),
        ("changing", "gave the columns b for the caption 'x' and a at first"),
        ("badly_named", "gave a score the name 'my score'; name it with letters"),
        ("empty", "gave no score at all; it must give a number"),
        ("nothing", "has no function nothing"),
    ],
)
def test_a_function_that_fails_is_named_with_its_row(module, function, said):
    with pytest.raises(InputError, match=said) as error:
        scored(FunctionFilter(f"{module}:{function}"))
    assert f"{module}:{function}" in str(error.value)


def test_a_module_that_is_not_there_is_one_sentence():
    with pytest.raises(InputError, match="The module no_such_module_of_mine of the filter .* cannot be imported"):
        FunctionFilter("no_such_module_of_mine:score")


# transformers


@pytest.fixture(scope="module")
def folder_and_ours(tmp_path_factory):
    return captioning_folder(tmp_path_factory.mktemp("transformers") / "blip")


def their_captions(used, pictures, **keys):
    digests = [str(seed) for seed in range(len(pictures))]
    return used([used.prepare(image) for image in pictures], digests, **keys)


@pytest.mark.parametrize("prompt", ["", "w5 w6"])
@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(strategy="greedy", max_length=12),
        Decoding(candidates=2, max_length=12, repetition_penalty=1.2),
        Decoding(strategy="top_k", top_k=5, max_length=12, temperature=1.5),
        Decoding(strategy="beam", candidates=2, max_length=12),
    ],
    ids=lambda decoding: decoding.strategy,
)
def test_transformers_captions_are_ours(folder_and_ours, decoding, prompt):
    """BLIP through transformers, with its cache and its beams, says what our own decoding says."""
    folder, ours = folder_and_ours
    used = TransformersCaptioner(str(folder), replace(decoding, prompt=prompt or None))
    found = their_captions(used, PICTURES[:3], seed=3, round=1)
    pixels = torch.cat([used.prepare(image)["pixel_values"] for image in PICTURES[:3]])
    # Ours counts the prompt in its lengths, transformers only what is new.
    longer = len(prompt.split())
    own = replace(decoding, prompt=prompt, max_length=12 + longer, min_length=5 + longer)
    keys = {"image_hashes": torch.tensor([hash64(str(seed)) for seed in range(3)]), "seed": 3, "round": 1}
    wanted = captions(ours, ours.encode_image(pixels), own, toy_tokenizer(), **keys)
    assert [[c.ids for c in image] for image in found] == [[c.ids for c in image] for image in wanted]
    assert [[c.text for c in image] for image in found] == [[c.text for c in image] for image in wanted]
    for theirs, mine in zip(chain(*found), chain(*wanted), strict=True):
        assert theirs.logprobs == pytest.approx(mine.logprobs, abs=1e-4)


def test_a_transformers_model_without_room_for_the_longest_text_is_refused_when_opened(folder_and_ours):
    folder, _ = folder_and_ours
    TransformersCaptioner(str(folder), Decoding(max_length=22, prompt="w5 w6"))
    with pytest.raises(InputError, match="max_length 25 is more than this model's 24 positions"):
        TransformersCaptioner(str(folder), Decoding(max_length=25))
    with pytest.raises(InputError, match="max_length 23 with the prompt's 2 tokens is more than this model's 24 positions"):
        TransformersCaptioner(str(folder), Decoding(max_length=23, prompt="w5 w6"))


def test_captions_of_an_image_do_not_depend_on_company_or_candidates(folder_and_ours):
    folder, _ = folder_and_ours
    one = TransformersCaptioner(str(folder), Decoding(max_length=12))
    three = TransformersCaptioner(str(folder), Decoding(max_length=12, candidates=3))
    together = their_captions(three, PICTURES[:3], seed=5)
    assert [own[:1] for own in together] == their_captions(one, PICTURES[:3], seed=5)
    alone = three([three.prepare(PICTURES[1])], ["1"], seed=5)
    assert alone == together[1:2]
    assert their_captions(three, PICTURES[:3], seed=6) != together


def test_another_architecture_captions_too(tmp_path):
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    ids = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    vision = {"image_size": 16, "patch_size": 8, **small}
    config = transformers.GitConfig(vision_config=vision, vocab_size=VOCAB, max_position_embeddings=64, **small, **ids)
    transformers.GitForCausalLM(config).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(toy_tokenizer().vocab) + "\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    look = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(look))
    used = TransformersCaptioner(str(tmp_path), Decoding(candidates=2, max_length=8))
    found = their_captions(used, PICTURES[:2], seed=1)
    assert found == their_captions(used, PICTURES[:2], seed=1)
    assert all(0 < len(c.ids) <= 7 and c.text and c.mean_logprob < 0 for own in found for c in own)


def test_a_transformers_folder_that_cannot_be_opened_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="leave rank_whole_text out"):
        TransformersCaptioner(str(tmp_path), Decoding(strategy="beam", num_beams=3, rank_whole_text=True))
    with pytest.raises(InputError, match="holds no config.json"):
        TransformersCaptioner(str(tmp_path), Decoding())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip"}))
    with pytest.raises(InputError, match="transformers cannot open") as error:
        TransformersCaptioner(str(tmp_path), Decoding())
    assert "\n" not in str(error.value)
