"""The service behind the room "Try it": models opened once, an image of anybody's, and what the models say of it.

Plain Python, no Gradio. A `Subject` belongs to the person who chose it; nothing here changes after it is opened.
"""

import hashlib
import io
import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from apps.models import Models
from apps.pictures import SIDE, Original, Picture, shrunk
from apps.trials import END, STRATEGIES, Draw, Said, Subject, Token
from apps.uploads import image_in
from blip.answering import GENERATION
from blip.captioner import Captioner
from blip.checkpoint.own import Opened
from blip.data.pairs import image_sha256
from blip.data.text import clean_caption, clean_question
from blip.data.transforms import eval_transform
from blip.errors import InputError
from blip.explain import Explanation, explain, token_logprobs
from blip.generate import Caption, Decoding, generate
from blip.matching import Matcher
from blip.tasks.vqa_training import question_tokens
from blip.tokenizer import Tokenizer
from lab.downstream.vqa import trained
from lab.world.checker import check
from lab.world.draw import PEOPLE_PX
from lab.world.sets import World, as_pairs

MAX_TEXTS = 32
"""Texts that are ranked at once."""
ANSWERS = 3
"""Answers to a question, the likeliest first."""
SCENES = "nano"
"""The level of the generated scenes that can be picked: the one that the shipped weights know."""

Needed = TypeVar("Needed")

_WORDS = 12  # tokens that a caption may take at least, whatever the prompt of the weights
_SHOWN = 640  # pixels of the longer side of a picture on the screen


class Workbench:
    """The models of the room. Any number of threads may ask; the models answer one at a time."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self._lock = threading.Lock()
        self._matcher = Matcher(models.filter, tile=1) if models.filter else None
        self._captioner = self._by(Decoding()) if models.captioner else None

    @property
    def layers(self) -> int:
        """Text layers of the filter that can be looked at."""
        return self.models.filter.model.config.text.depth if self.models.filter else 0

    def upload(self, data: bytes, name: str = "your image") -> Subject:
        """The image in a file's bytes; InputError in one sentence where it is none or too large."""
        image = image_in(data)
        return self.subject(Original(image, image, hashlib.sha256(data).hexdigest()), name)

    def subject(self, original: Original, name: str) -> Subject:
        """An image as every model reads it."""
        shown = original.shown.copy()
        shown.thumbnail((_SHOWN, _SHOWN), Image.Resampling.LANCZOS)
        jpeg = io.BytesIO()
        shown.save(jpeg, format="JPEG", quality=90, subsampling=0)
        return Subject(
            name,
            original.sha256,
            jpeg.getvalue(),
            self._captioner.prepare(original.read) if self._captioner else None,
            self._matcher.prepare(original.read) if self._matcher else None,
            _prepared(self.models.vqa, original.read) if self.models.vqa else None,
            original.scene,
        )

    def scene(self, number: int) -> Subject:
        """A scene of the generated world that no model was trained on, by its number from 0."""
        world = World.of(SCENES)
        item = world.evaluation(number + 1, references=1)[number]
        read, shown = (Image.fromarray(item.image(px)) for px in (world.level.px, PEOPLE_PX))
        digest = image_sha256(next(iter(as_pairs([item], world.level.px))))
        return self.subject(Original(read, shown, digest, item.scene), f"scene {number + 1}")

    def scenes(self, start: int, count: int) -> list[Picture]:
        """The pictures of so many scenes from a number on, as people see them."""
        items = World.of(SCENES).evaluation(start + count, references=1)[start:]
        return [shrunk(Image.fromarray(item.image(SIDE))) for item in items]

    def captions(self, subject: Subject, draw: Draw) -> dict[str, list[Said]]:
        """Captions by each of STRATEGIES; greedy and beam search give one, nucleus as many as are drawn."""
        loaded, pixels = self._need(self.models.captioner, "captioner"), self._need(subject.captioner, "captioner")
        found = {}
        for strategy in STRATEGIES:
            captioner = self._by(draw.decoding(strategy))
            with self._lock:
                captions = captioner([pixels], [subject.digest], seed=draw.seed)[0]
            texts = [caption.text for caption in captions]
            tokens = [_tokens(loaded.tokenizer, caption) for caption in captions]
            found[strategy] = self._judged(subject, texts, tokens)
        return found

    def matches(self, subject: Subject, texts: Sequence[str]) -> list[Said]:
        """Texts ranked by match probability, the best first; InputError where there are too many or none."""
        self._need(self.models.filter, "filter")
        asked = [text.strip() for text in texts if clean_caption(text)]
        if not asked:
            raise InputError("There is no text; write one or more, each on a line of its own.")
        if len(asked) > MAX_TEXTS:
            raise InputError(f"{len(asked)} texts are too many at once; give at most {MAX_TEXTS}.")
        said = self._judged(subject, asked, [()] * len(asked))
        return sorted(said, key=lambda one: -(one.match or 0.0))

    def explain(self, subject: Subject, text: str, layer: int | None = None) -> Explanation:
        """Where the filter looks for a text and each of its words; layer counted from 0."""
        loaded, pixels = self._need(self.models.filter, "filter"), self._need(subject.matcher, "filter")
        with self._lock:
            return explain(loaded.model, loaded.tokenizer, pixels, text, layer)

    def token_probabilities(self, subject: Subject, text: str) -> tuple[Token, ...]:
        """The captioner's probability of each token of a given text, prompt left out; empty without a captioner."""
        loaded, pixels = self.models.captioner, subject.captioner
        if loaded is None or pixels is None or not clean_caption(text):
            return ()
        tokenizer, prompt = loaded.tokenizer, loaded.tokenizer.prompt(loaded.card.prompt)
        room = loaded.model.config.text.max_positions - len(prompt) - 1
        ids = [*tokenizer.pieces(clean_caption(text))[:room], tokenizer.special.sep]
        tokens = tokenizer.padded([[*prompt, *ids]], "DEC")
        with self._lock, torch.no_grad():
            memory = loaded.model.remember(loaded.model.encode_image(pixels[None]), "decoder")
            logprobs = token_logprobs(loaded.model, tokens, memory)[0, len(prompt) - 1 :]
        return _tokens(tokenizer, Caption(tuple(ids), tuple(logprobs.tolist())))

    def answers(self, subject: Subject, question: str) -> list[tuple[str, float]]:
        """The likeliest answers by beam search, each with its probability; InputError without question or model."""
        opened = self._need(self.models.vqa, "vqa")
        model, pixels = trained(opened, "What --vqa names"), self._need(subject.vqa, "vqa")
        if not clean_question(question):
            raise InputError("There is no question; write one.")
        decoding = replace(GENERATION, candidates=ANSWERS)
        tokens = question_tokens([question], opened.tokenizer)
        with self._lock, torch.inference_mode():
            memory = model.remember(pixels[None], tokens)
            begin = opened.tokenizer.prompt(decoding.begin)
            found = generate(model, memory, decoding, prompt_ids=begin, special=opened.tokenizer.special)[0]
        said = {opened.tokenizer.decode(one.ids): math.exp(sum(one.logprobs)) for one in found}
        return sorted(said.items(), key=lambda item: -item[1])

    def _by(self, decoding: Decoding) -> Captioner:
        """The captioner with that decoding; where a long prompt leaves little of max_length, with more of it."""
        loaded = self._need(self.models.captioner, "captioner")
        prompt, positions = len(loaded.tokenizer.prompt(loaded.card.prompt)), loaded.model.config.text.max_positions
        length = min(max(decoding.max_length, prompt + _WORDS), positions)
        return Captioner(loaded, replace(decoding, max_length=length), tile=1)

    def _need(self, needed: Needed | None, role: str) -> Needed:
        """A model, or what it reads of an image; InputError where there is no model."""
        if needed is None:
            raise InputError(self.models.missing[role])
        return needed

    def _judged(self, subject: Subject, texts: Sequence[str], tokens: Sequence[tuple[Token, ...]]) -> list[Said]:
        scores: list[tuple[float | None, float | None]] = [(None, None)] * len(texts)
        if self._matcher:
            pixels = self._need(subject.matcher, "filter")
            with self._lock:
                values = self._matcher([pixels], [texts])[0]
            scores = [(probability, cosine) for _, probability, cosine in values]
        truths = [check(text, subject.scene).truth if subject.scene else None for text in texts]
        parts = zip(texts, tokens, scores, truths, strict=True)
        return [Said(text, own, *score, truth) for text, own, score, truth in parts]


def _prepared(opened: Opened, image: Image.Image) -> Tensor:
    transform = eval_transform(opened.model.config.vision.image_size)
    return transform(image, np.random.default_rng(0))  # the evaluation transform draws nothing


def _tokens(tokenizer: Tokenizer, caption: Caption) -> tuple[Token, ...]:
    """A caption's tokens as people read them."""
    pieces = zip((tokenizer.vocab[number] for number in caption.ids), caption.logprobs, strict=True)
    return tuple(
        Token(END if piece == "[SEP]" else piece.removeprefix("##"), piece.startswith("##"), math.exp(logprob))
        for piece, logprob in pieces
    )
