"""Arithmetic of ranking from its shapes: floating-point operations of our way and of the published one.

Counted are the products of matrices, as in `capfilt_flops`; the one linear map of the ITM head is too small to count.
Ours are counted at each text's own length: what little padding a group of like texts has comes on top.
"""

from collections.abc import Sequence

from blip.config import BlipConfig, TextConfig
from lab.bench.capfilt_flops import memory_flops, text_flops


def retrieval_ours(config: BlipConfig, images: int, lengths: Sequence[int]) -> float:
    """Keys and values once an image, then every distinct pair's text; lengths: tokens of each pair's text."""
    tokens = config.vision.tokens
    return images * memory_flops(config) + sum(text_flops(config.text, own, own, tokens) for own in lengths)


def retrieval_published(config: BlipConfig, pairs: int, length: int) -> float:
    """Keys and values for every pair, its text padded to `length` tokens."""
    return pairs * (memory_flops(config) + text_flops(config.text, length, length, config.vision.tokens))


def vqa_ours(text: TextConfig, questions: int, question: int, lengths: Sequence[int]) -> float:
    """The first token once a question, then what follows it in each answer.

    question: tokens of a question, padded; lengths: tokens of each answer that is scored whole, of all questions.
    The first token is scored by the shortlist, and the last is only predicted.
    """
    rest = (text_flops(text, own - 2, own - 1, question) + (own - 2) * _head(text) for own in lengths)
    return questions * _first(text, question) + sum(rest)


def vqa_published(text: TextConfig, questions: int, question: int, answers: int, length: int) -> float:
    """The first token for the shortlist, then all of it again for `answers` a question, padded to `length` tokens."""
    whole = _memory(text, question) + text_flops(text, length, length, question) + length * _head(text)
    return questions * (_first(text, question) + answers * whole)


def _first(text: TextConfig, question: int) -> float:
    return _memory(text, question) + text_flops(text, 1, 1, question) + _head(text)


def _memory(text: TextConfig, question: int) -> float:
    """Keys and values of question states, which are as wide as the text."""
    return 2 * text.depth * question * 2 * text.width**2


def _head(text: TextConfig) -> float:
    """Logits of one token."""
    return 2 * (text.width**2 + text.width * text.vocab_size)
