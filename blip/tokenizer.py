"""WordPiece with [DEC] and [ENC]: from a vocabulary, from BERT's file, or trained on a corpus."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from torch import Tensor

from blip.errors import InputError

LEADS = ("CLS", "ENC", "DEC")
_BASIC = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_TIDY = tuple((f" {mark}", mark) for mark in ".?!,") + ((" ' ", "'"),)
_ALPHABET = 1000
"""Most characters that a trained vocabulary holds; rarer ones become [UNK]."""


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the tokens that carry no text."""

    pad: int
    unk: int
    cls: int
    sep: int
    dec: int
    enc: int

    def of(self, lead: str) -> int:
        """The id of a first token by name: CLS, ENC or DEC."""
        return {"CLS": self.cls, "ENC": self.enc, "DEC": self.dec}[lead]


@dataclass(frozen=True)
class Tokens:
    """A batch of token ids that knows which first token it begins with; immutable.

    ids (B, L) int64, padded on the right; keep (B, L) bool, False on padding; lead: CLS, ENC or DEC.
    """

    ids: Tensor
    keep: Tensor
    lead: str
    special: SpecialIds

    def __len__(self) -> int:
        return len(self.ids)

    def led_by(self, lead: str) -> "Tokens":
        """The same texts beginning with another first token."""
        first = torch.full_like(self.ids[:, :1], self.special.of(lead))
        return replace(self, ids=torch.cat([first, self.ids[:, 1:]], dim=1), lead=lead)

    def rows(self, index: Tensor) -> "Tokens":
        """The texts at `index` (R,), repeats allowed."""
        return replace(self, ids=self.ids[index], keep=self.keep[index])

    def to(self, device: torch.device | str) -> "Tokens":
        """The same batch on a device."""
        return replace(self, ids=self.ids.to(device), keep=self.keep.to(device))

    def require(self, lead: str, what: str) -> None:
        """Refuse a batch with the wrong first token: each reading was trained with its own."""
        if self.lead != lead:
            raise InputError(
                f"{what} reads texts that begin with [{lead}], these begin with [{self.lead}]; "
                f"use tokens.led_by({lead!r})."
            )


class Tokenizer:
    """Texts to `Tokens` and back. Lower-cases, splits accents and CJK as BERT-uncased does."""

    def __init__(self, vocab: Sequence[str]) -> None:
        self.vocab = _with_dec_and_enc(list(vocab))
        ids = {word: i for i, word in enumerate(self.vocab)}
        if len(ids) != len(self.vocab):
            raise InputError("The vocabulary names a token twice; give each token one line.")
        if missing := [word for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if word not in ids]:
            raise InputError(f"The vocabulary lacks {', '.join(missing)}; use a BERT-style vocab.txt.")
        names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]", "[ENC]")
        self.special = SpecialIds(*(ids[name] for name in names))
        self._pieces = BertWordPieceTokenizer(vocab=ids, lowercase=True)
        self._silent = {ids[w] for w in (*names, "[MASK]") if w in ids}

    @classmethod
    def from_vocab(cls, path: str | Path) -> "Tokenizer":
        """Read a BERT vocab.txt (one token a line); [DEC] and [ENC] are added at the end if absent."""
        try:
            words = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The vocabulary {path} cannot be read ({error}); give a vocab.txt.") from None
        try:
            return cls(words)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> "Tokenizer":
        """Learn a WordPiece vocabulary of at most `size` tokens; same corpus, same vocabulary."""
        pieces = BertWordPieceTokenizer(lowercase=True)
        words = _words(pieces, texts)
        fixed = [*_BASIC, *_alphabet(words)]
        if size < len(fixed) + 2:
            raise InputError(
                f"A vocabulary of {size} tokens has no room for this corpus's characters; "
                f"give at least {len(fixed) + 2}."
            )
        # The trainer numbers characters in the order of a hash map and breaks ties by number, so
        # the same corpus would give another vocabulary each time: it is handed them in order.
        pieces.train_from_iterator(
            words.elements(),
            vocab_size=size - 2,
            min_frequency=1,
            limit_alphabet=0,
            show_progress=False,
            special_tokens=fixed,
        )
        learned = pieces.get_vocab()
        return cls(sorted(learned, key=learned.__getitem__))

    def __len__(self) -> int:
        return len(self.vocab)

    def __call__(self, texts: Sequence[str], max_length: int = 30) -> Tokens:
        """[CLS] text [SEP], cut to max_length tokens (the published 30), padded to the longest."""
        return self.padded([self.ids(text, max_length) for text in texts], "CLS")

    def ids(self, text: str, max_length: int) -> list[int]:
        """Ids of one text, [CLS] and [SEP] with it, cut to max_length tokens."""
        if max_length < 3:
            raise InputError(f"max_length {max_length} has no room for a word; give 3 or more.")
        return [self.special.cls, *self.pieces(text)[: max_length - 2], self.special.sep]

    def padded(self, rows: Sequence[Sequence[int]], lead: str) -> Tokens:
        """Rows of ids, each with its first token `lead` and its last [SEP], padded to the longest."""
        length = max((len(row) for row in rows), default=0)
        filled = [[*row, *[self.special.pad] * (length - len(row))] for row in rows]
        ids = torch.tensor(filled, dtype=torch.int64).view(len(rows), length)
        lengths = torch.tensor([len(row) for row in rows])
        return Tokens(ids, torch.arange(length) < lengths[:, None], lead, self.special)

    def prompt(self, text: str) -> list[int]:
        """Ids that begin a caption: [DEC] and the prompt's words, no [SEP] (paper: "a picture of")."""
        return [self.special.dec, *self.pieces(text)]

    def pieces(self, text: str) -> list[int]:
        """Ids of a text's words alone, without any special token."""
        return self._pieces.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids up to the first [SEP], special tokens left out, word pieces joined.

        Marks stand where a reader expects them, as published: "a dog , it ' s" is "a dog, it's".
        """
        words: list[str] = []
        for i in map(int, ids):
            if i == self.special.sep:
                break
            if i in self._silent:
                continue
            piece = self.vocab[i]
            if piece.startswith("##") and words:
                words[-1] += piece[2:]
            else:
                words.append(piece)
        text = " ".join(words)
        for spaced, tidy in _TIDY:
            text = text.replace(spaced, tidy)
        return text

    @property
    def fingerprint(self) -> str:
        """Hash of the vocabulary, by which weights and texts are known to fit."""
        return hashlib.sha256("\n".join(self.vocab).encode()).hexdigest()[:16]


def _with_dec_and_enc(vocab: list[str]) -> list[str]:
    """Published ids: bert-base-uncased holds 30,522 tokens, [DEC] is 30522 and [ENC] 30523."""
    return vocab + [word for word in ("[DEC]", "[ENC]") if word not in vocab]


def _words(pieces: BertWordPieceTokenizer, texts: Iterable[str]) -> Counter[str]:
    """How often each word of a corpus occurs, as the tokenizer cleans and splits it, sorted."""
    counts: Counter[str] = Counter()
    for text in texts:
        cleaned = pieces.normalizer.normalize_str(text)
        counts.update(word for word, _ in pieces.pre_tokenizer.pre_tokenize_str(cleaned))
    return Counter(dict(sorted(counts.items())))


def _alphabet(words: Counter[str]) -> list[str]:
    """The commonest characters, and with ## those that stand inside a word."""
    counts: Counter[str] = Counter()
    for word, times in words.items():
        for character in word:
            counts[character] += times
    common = sorted(sorted(counts), key=lambda c: -counts[c])[:_ALPHABET]
    inside = {character for word in words for character in word[1:]}
    return sorted(common) + [f"##{c}" for c in sorted(inside.intersection(common))]
