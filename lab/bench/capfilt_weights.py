"""Random weights of a captioner and a filter in transformers' layout, for `lab bench capfilt`.

Random weights need no download, and speed hangs on little that weights have learned. Captions end only at
the maximum length. How many tokens a nucleus holds decides what sampling costs: random logits are so alike
that it would be nearly the whole vocabulary, so the head's norm is scaled until it is a few, as when trained.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import transformers

from blip.config import BlipConfig, TextConfig, VisionConfig
from blip.errors import InputError
from blip.tokenizer import Tokenizer

BERT_WORDS = 30_522
PROMPT = "a picture of "
_STD = 0.02  # of the weights
_LOGIT_STD = 6.0
CAPTIONER, FILTER = "captioner", "filter"
_PAD, _UNK, _CLS, _SEP, _MASK, _FIRST_WORD = 0, 100, 101, 102, 103, 999  # where bert-base-uncased has them
_SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwxyz" for vowel in "aeiou"]
_CHARACTERS = [chr(code) for code in range(33, 127) if not chr(code).isupper()]


def vocabulary(captions: Iterable[str]) -> list[str]:
    """A vocabulary of BERT's size and layout that holds every lower-case word of some captions.

    So their texts have about as many tokens as with BERT's own; the rest are invented words.
    """
    words = ["[PAD]", *(f"[unused{number}]" for number in range(_FIRST_WORD - 5))]
    for place, word in ((_UNK, "[UNK]"), (_CLS, "[CLS]"), (_SEP, "[SEP]"), (_MASK, "[MASK]")):
        words.insert(place, word)
    found = {word for text in (PROMPT, *captions) for word in text.lower().split() if word.isascii() and word.isalpha()}
    pieces = [f"##{character}" for character in _CHARACTERS]
    invented = ("".join(parts) for parts in itertools.product(_SYLLABLES, repeat=3))
    several = itertools.chain(_CHARACTERS, pieces, sorted(found), itertools.islice(invented, BERT_WORDS))
    words += dict.fromkeys(several)
    return words[:BERT_WORDS]


def write_weights(folder: Path, config: BlipConfig, words: list[str], *, seed: int) -> None:
    """Write FOLDER/captioner and FOLDER/filter: weights, vocabulary and processor of transformers.

    config says the sizes, its vocabulary words + [DEC] + [ENC]; both models are drawn from the seed.
    """
    tokenizer = Tokenizer(words)
    if len(tokenizer) != config.text.vocab_size:
        raise InputError(
            f"The vocabulary has {len(tokenizer):,} words with [DEC] and [ENC], this bench needs "
            f"{config.text.vocab_size:,}; give BERT's vocab.txt with --vocab, or leave it out."
        )
    theirs = transformers.BlipConfig(
        vision_config=_vision(config.vision),
        text_config=_text(config.text, tokenizer),
        image_text_hidden_size=config.embed_dim,
    )
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(seed)
    kinds: dict[str, Any] = {CAPTIONER: transformers.BlipForConditionalGeneration, FILTER: transformers.BlipForImageTextRetrieval}
    for name, kind in kinds.items():
        model = kind(theirs)
        if name == CAPTIONER:
            head = model.text_decoder.cls.predictions.transform.LayerNorm
            torch.nn.init.constant_(head.weight, _LOGIT_STD / (_STD * config.text.width**0.5))
        model.save_pretrained(folder / name)
        _write_processor(folder / name, tokenizer, config.vision.image_size)


def _vision(config: VisionConfig) -> dict[str, int | float]:
    return {
        "hidden_size": config.width,
        "intermediate_size": config.mlp_ratio * config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "layer_norm_eps": config.eps,
        "initializer_range": _STD,  # transformers' own, 1e-10, makes all images look alike
    }


def _text(config: TextConfig, tokenizer: Tokenizer) -> dict[str, int | float]:
    return {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "encoder_hidden_size": config.memory_width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "max_position_embeddings": config.max_positions,
        "layer_norm_eps": config.eps,
        "initializer_range": _STD,
        "bos_token_id": tokenizer.special.dec,
        "sep_token_id": tokenizer.special.sep,
        "eos_token_id": tokenizer.special.sep,
        "pad_token_id": tokenizer.special.pad,
    }


def _write_processor(folder: Path, tokenizer: Tokenizer, side: int) -> None:
    (folder / "vocab.txt").write_text("\n".join(tokenizer.vocab) + "\n", encoding="utf-8")
    pieces = transformers.BertTokenizer(vocab={word: place for place, word in enumerate(tokenizer.vocab)})
    images = transformers.BlipImageProcessor(size={"height": side, "width": side})
    transformers.BlipProcessor(images, pieces).save_pretrained(folder)
