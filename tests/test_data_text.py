"""Cleaning as published, texts that cannot be used, hashes."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blip.data.text import (
    MAX_CAPTION_BYTES,
    clean_caption,
    clean_question,
    decode_caption,
    hash64,
    normalized_text_hash,
)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("A Dog, on a Sofa.", "a dog, on a sofa"),
        ('.!"()*#:;~', ""),
        ('say:"hi"(now)', "say hi now"),
        ("half-time; it's 5*3 #1 ~ok", "half-time it's 5 3 1 ok"),
        ("  two  spaces\tand\nlines ", "two spaces and lines"),
        ("\ufeffA red\ufeff ball", "a red ball"),
        ("İstanbul Ünlü 🐶 שלום", "i̇stanbul ünlü 🐶 שלום"),
    ],
)
def test_caption_marks_become_spaces(raw, clean):
    assert clean_caption(raw) == clean


def test_caption_is_cut_to_thirty_words_or_as_asked():
    words = [f"w{number}" for number in range(50)]
    assert clean_caption(" ".join(words)).split() == words[:30]
    assert clean_caption(" ".join(words), 2) == "w0 w1"
    assert clean_caption(" ".join(words), None).split() == words


def test_question_marks_vanish_and_fifty_words_stay():
    assert (
        clean_question('What is "THIS"(here): a dog; or not?') == "what is thishere a dog or not?"
    )
    assert len(clean_question("why " * 60).split()) == 50


@given(st.text())
def test_cleaning_twice_changes_nothing(text):
    once = clean_caption(text)
    assert clean_caption(once) == once
    assert not set(once) & set('.!"()*#:;~')


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (None, "the caption is empty"),
        ("", "the caption is empty"),
        (" \n", "the caption is empty"),
        ("...", "the caption has no words"),
        ("\ufeff\n", "the caption has no words"),
        (b"caf\xe9", "the caption is not UTF-8"),
        ("caf\udce9", "the caption is not UTF-8"),
        (b"x" * 10_000_000, f"the caption is longer than {MAX_CAPTION_BYTES:,} bytes"),
        (3.5, "the caption is of type float, not text"),
    ],
)
def test_texts_that_cannot_be_used(raw, fault):
    assert decode_caption(raw) == ("", fault)


@pytest.mark.parametrize(
    "raw", ["a dog", " A Dog.\n", "🐶", "שלום", "e\u0301", "a\x00b", "\ufeffA dog", "x" * MAX_CAPTION_BYTES]
)
def test_usable_texts_are_kept_byte_for_byte(raw):
    assert decode_caption(raw) == (raw, None)
    assert decode_caption(raw.encode()) == (raw, None)


def test_hash_is_blind_to_what_cleaning_drops():
    same = ["A dog, sitting.", "a dog,  sitting", "A DOG, SITTING!", "\ufeffa dog, sitting", "\uff21 dog, sitting"]
    assert len({normalized_text_hash(text) for text in same}) == 1
    different = ["a dog", "a cat", "🐶", "🐱", "a dog " * 40, "a dog " * 41]
    assert len({normalized_text_hash(text) for text in different}) == len(different)


def test_hash_is_a_signed_64_bit_number_the_same_in_every_process():
    code = "from blip.data.text import hash64; print(hash64('a red ball'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == hash64("a red ball")
    values = [hash64(str(number)) for number in range(1000)]
    assert all(-(2**63) <= value < 2**63 for value in values)
    assert min(values) < 0 < max(values)
