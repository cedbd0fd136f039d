"""WordPiece with [DEC] and [ENC] against transformers' BertTokenizer, and trained on a corpus."""

import pytest
import torch
import transformers
from conftest import shared_dir
from hypothesis import given, settings
from hypothesis import strategies as st

from blip.errors import InputError
from blip.tokenizer import Tokenizer

TEXTS = [
    "a man riding a wave on top of a surfboard",
    "Two DOGS, running!  (fast) -- through 3.5 km of snow...",
    "café Élysée naïve Ångström coöperate ñandú",
    "一只猫坐在桌子上 and 東京タワー, 한국어 텍스트",
    "emoji 😀👩‍👩‍👧 and symbols ™ © → ½ €100",
    "שלום עולם مرحبا بالعالم",
    "unaffable antidisestablishmentarianism electroencephalographically",
    "it's don't o'clock rock'n'roll <b>html</b> &amp; user@example.com",
    "tabs\tand\nnew lines\r\nand\u00a0hard\u2003spaces \u200b zero width",
    "control \x00\x07 characters \ufffd here",
    "IMG_2041.JPG #sunset @home 50%-off http colon slash",
    "x" * 120,
    "word " * 60,
    "ﬁligree ℌ Ⅷ ß ẞ İstanbul",
    "",
    "   ",
    "!!!???...",
    "a [MASK] c [PAD] [CLS] [UNK] [unused3]",
    "a [SEP] b",
]


@pytest.fixture(scope="module")
def vocab_file():
    return shared_dir() / "reference" / "bert-base-uncased-vocab.txt"


@pytest.fixture(scope="module")
def bert(vocab_file):
    return Tokenizer.from_vocab(vocab_file)


@pytest.fixture(scope="module")
def theirs(vocab_file):
    words = vocab_file.read_text(encoding="utf-8").splitlines()
    return transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)})


# ---- BERT's vocabulary ----


def test_published_ids(bert):
    assert len(bert) == 30_524
    special = bert.special
    assert (special.pad, special.unk, special.cls, special.sep) == (0, 100, 101, 102)
    assert (special.dec, special.enc) == (30_522, 30_523)
    assert [special.of(lead) for lead in ("CLS", "DEC", "ENC")] == [101, 30_522, 30_523]
    assert bert.vocab[30_522:] == ["[DEC]", "[ENC]"]


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_those_of_bert(bert, theirs, text):
    expected = theirs(text)["input_ids"]
    tokens = bert([text], max_length=500)
    assert tokens.ids[0].tolist() == expected
    cut = theirs(text, truncation=True, max_length=12)["input_ids"]
    assert bert([text], max_length=12).ids[0].tolist() == cut


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_gives_the_ids_of_bert(bert, theirs, text):
    assert bert([text], max_length=500).ids[0].tolist() == theirs(text)["input_ids"]


def test_the_published_prompt(bert):
    assert bert.prompt("a picture of ") == [30_522, 1037, 3861, 1997]
    assert bert.prompt("") == [30_522]


@pytest.mark.parametrize("text", TEXTS[:-1])
def test_decoded_text_is_that_of_bert(bert, theirs, text):
    ids = theirs(text)["input_ids"]
    expected = theirs.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=True)
    assert bert.decode(ids) == expected


# ---- batches ----


def test_a_batch_is_padded_to_its_longest(bert):
    tokens = bert(["a dog", "a dog on a red boat"])
    assert tokens.lead == "CLS" and len(tokens) == 2
    assert tokens.ids.dtype == torch.int64 and tokens.ids.shape == (2, 8)
    assert tokens.keep.tolist() == [[True] * 4 + [False] * 4, [True] * 8]
    assert tokens.ids[0].tolist() == [101, 1037, 3899, 102, 0, 0, 0, 0]
    assert bert(["word " * 60]).ids.shape == (1, 30)
    assert bert(["word " * 60]).ids[0, -1] == 102


def test_a_batch_changes_only_its_first_token(bert):
    tokens = bert(["a dog", "a red boat"])
    asked = tokens.led_by("ENC")
    assert asked.lead == "ENC" and asked.ids[:, 0].tolist() == [30_523, 30_523]
    assert torch.equal(asked.ids[:, 1:], tokens.ids[:, 1:]) and asked.keep is tokens.keep
    assert tokens.ids[:, 0].tolist() == [101, 101], "the original is untouched"
    assert asked.led_by("DEC").led_by("CLS").ids.equal(tokens.ids)
    asked.require("ENC", "The test")
    with pytest.raises(InputError, match=r"The test reads texts that begin with \[DEC\]"):
        asked.require("DEC", "The test")


def test_rows_gather_with_repeats(bert):
    tokens = bert(["a dog", "a red boat", "sky"])
    rows = tokens.rows(torch.tensor([2, 2, 0]))
    assert rows.ids.tolist() == [tokens.ids[i].tolist() for i in (2, 2, 0)]
    assert rows.keep.sum(1).tolist() == [3, 3, 4]
    assert tokens.to("meta").ids.device.type == "meta"


def test_no_texts_give_an_empty_batch(bert):
    tokens = bert([])
    assert len(tokens) == 0 and tokens.ids.shape == (0, 0)


# ---- decoding ----


def test_decoding_joins_pieces_and_drops_what_is_no_text(bert):
    whole = bert(["embeddings of puppeteers"]).ids[0]
    assert (whole != 0).sum() > 5, "the words must be split"
    assert bert.decode(whole.tolist()) == "embeddings of puppeteers"
    assert bert.decode(whole) == "embeddings of puppeteers", "a tensor serves too"
    assert bert.decode([30_522, 1037, 3899, 102, 1037, 3899]) == "a dog"
    assert bert.decode([101, 100, 103, 30_523, 3899, 0, 0]) == "dog"
    assert bert.decode([]) == bert.decode([102]) == ""


# ---- trained vocabularies ----

CORPUS = [
    "a small red ball left of a large blue box",
    "two green cups above a tiny yellow star",
    "the purple ring is behind the orange cone",
    "a café with naïve 猫 drawings",
] * 5


def test_a_trained_vocabulary_speaks_its_corpus():
    tokenizer = Tokenizer.train(CORPUS, 300)
    assert len(tokenizer) <= 300
    assert tokenizer.vocab[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer.vocab[-2:] == ["[DEC]", "[ENC]"]
    assert sorted(vars(tokenizer.special).values()) == [
        0,
        1,
        2,
        3,
        len(tokenizer) - 2,
        len(tokenizer) - 1,
    ]
    for text in CORPUS[:3]:
        tokens = tokenizer([text])
        assert tokenizer.special.unk not in tokens.ids
        assert tokenizer.decode(tokens.ids[0].tolist()) == text
        assert tokens.ids.shape[1] == len(text.split()) + 2, "every word of the corpus is one token"
    assert tokenizer.special.unk in tokenizer(["Ω"]).ids


def test_the_same_corpus_gives_the_same_vocabulary():
    vocabularies = {tuple(Tokenizer.train(CORPUS, 120).vocab) for _ in range(5)}
    assert len(vocabularies) == 1
    shuffled = CORPUS[::-1]
    assert tuple(Tokenizer.train(shuffled, 120).vocab) in vocabularies


def test_a_small_vocabulary_splits_words():
    tokenizer = Tokenizer.train(CORPUS, 70)
    assert len(tokenizer) <= 70
    text = "a small red ball"
    tokens = tokenizer([text])
    assert tokens.ids.shape[1] > 6 and tokenizer.decode(tokens.ids[0].tolist()) == text


def test_a_vocabulary_survives_a_file(tmp_path):
    tokenizer = Tokenizer.train(CORPUS, 200)
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(tokenizer.vocab) + "\n", encoding="utf-8")
    again = Tokenizer.from_vocab(path)
    assert again.vocab == tokenizer.vocab and again.fingerprint == tokenizer.fingerprint
    assert again.fingerprint != Tokenizer.train(CORPUS, 120).fingerprint


# ---- refusals ----


def test_vocabularies_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent.txt cannot be read .* give a vocab.txt"):
        Tokenizer.from_vocab(tmp_path / "absent.txt")
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\x00[PAD]")
    with pytest.raises(InputError, match="binary.txt cannot be read"):
        Tokenizer.from_vocab(binary)
    with pytest.raises(InputError, match=r"lacks \[UNK\], \[SEP\]"):
        Tokenizer(["[PAD]", "[CLS]", "dog"])
    with pytest.raises(InputError, match="names a token twice"):
        Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "dog", "dog"])


@pytest.mark.parametrize("length", [-1, 0, 1, 2])
def test_a_length_without_room_for_a_word_is_refused(bert, length):
    with pytest.raises(InputError, match=f"max_length {length}"):
        bert(["a dog"], max_length=length)


def test_a_vocabulary_too_small_for_its_alphabet_is_refused():
    with pytest.raises(InputError, match="20"):
        Tokenizer.train(CORPUS, 20)
