"""Joint pre-training with ITC, ITM and LM (paper 3.2), and what of it retrieval fine-tuning keeps."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blip import objectives
from blip.distributed import first_row, gather, gather_with_gradient, over_all, world_size
from blip.draws import uniform
from blip.dropout import draws_are_keyed
from blip.errors import InputError
from blip.layers import recomputed
from blip.memory import Memory
from blip.model import BLIP, narrowed
from blip.momentum import FeatureQueue, Teacher
from blip.tasks.batch import Losses, PairBatch, TeacherFeatures, joined, weighted
from blip.tasks.shared_negatives import gathered_texts, with_chosen
from blip.tasks.staged import Staged

NEGATIVES = ("momentum", "online", "random")
_ALONE, _TAUGHT = "alone", "taught"  # before the momentum encoders come in, and once all keys of the queues are theirs


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """How the objectives are computed; the defaults are the published pre-training."""

    queue: int = 57_600
    """Keys kept from past batches, for images and for texts."""
    momentum: float | None = 0.995
    """Decay of the momentum encoders; None compares online features in the batch, without a queue."""
    alpha: float = 0.4
    """Weight of the momentum encoder's distribution in the ITC targets, after its ramp; nothing while there is none."""
    smoothing: float = 0.1
    """Label smoothing of LM."""
    negatives: str = "momentum"
    """Where hard negatives come from: momentum (online queries, momentum keys), online, or random."""
    negative_floor: float = objectives.NEGATIVE_FLOOR
    """Added to each negative's weight; 0 in published retrieval fine-tuning."""
    itc_weight: float = 1.0
    itm_weight: float = 1.0
    lm_weight: float = 1.0
    """Weights of the losses (1 each in the paper); a loss of weight 0 is not computed."""
    teacher_start: int = 0
    """Optimizer steps before momentum encoders and queues come in; until then ITC compares online features
    within the batch. 0 as published, where both encoders start from trained weights: from random ones a
    teacher that lags sets the direction, and new keys are told from old ones by its drift alone."""
    seed: int = 0
    """Of the draws of hard negatives."""

    def __post_init__(self) -> None:
        if self.queue < 0:
            raise InputError(f"A queue of {self.queue} keys cannot be; give 0 or more.")
        if self.teacher_start < 0:
            raise InputError(f"A teacher start of {self.teacher_start} steps cannot be; give 0 or more.")
        if self.negatives not in NEGATIVES:
            raise InputError(
                f"There are no {self.negatives!r} negatives; choose one of {', '.join(NEGATIVES)}."
            )
        if self.momentum is not None and not 0 <= self.momentum <= 1:
            raise InputError(f"A momentum of {self.momentum} cannot be; give 0 to 1, or none.")
        if self.momentum is None and self.queue:
            raise InputError("A queue needs momentum encoders; give queue 0 or a momentum.")

    @property
    def weights(self) -> dict[str, float]:
        """Weights by the losses' names in the paper."""
        return {"itc": self.itc_weight, "itm": self.itm_weight, "lm": self.lm_weight}


class Pretrain(Staged):
    """The task the training loop sees: a batch in, named losses out; time passes in `after_step` only.

    Several processes share a batch: keys and hard negatives come from all of it. local_negatives draws hard
    negatives from a process's own rows, as published, and so depends on the number of processes.
    """

    steps: Tensor
    pushed: Tensor

    def __init__(self, model: BLIP, config: ObjectiveConfig, *, local_negatives: bool = False) -> None:
        super().__init__()
        self.model, self.config, self.local_negatives = model, config, local_negatives
        width = model.config.embed_dim
        # The teacher keeps only what ITC reads: no cross-attention, no decoder.
        self.teacher = Teacher(narrowed(model, "encode")) if config.momentum is not None else None
        self.image_queue = FeatureQueue(config.queue, width)
        self.text_queue = FeatureQueue(config.queue, width)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    @property
    def teaching(self) -> bool:
        """Whether momentum encoders and queues have come in."""
        if self.teacher is None or not self.config.teacher_start:
            return self.teacher is not None
        if self._stage is not None:
            return self._stage == _TAUGHT
        return int(self.steps) >= self.config.teacher_start

    def stage_now(self) -> str | None:
        """By name, the stage in which steps do the same work one after another; None while a late teacher's keys grow."""
        if not self.config.teacher_start:
            return _TAUGHT
        if not self.teaching:
            return _ALONE
        return _TAUGHT if int(self.pushed) >= self.config.queue else None

    def forward(self, batch: PairBatch, alpha: float | Tensor) -> Losses:
        """Losses of B pairs; alpha is the ramped weight of the soft targets. Changes nothing."""
        image_states = self.model.encode_image(batch.images)
        image = self.model.image_features(image_states)
        text = self.model.text_features(self.model.encode_text(batch.tokens))
        keys = self.teacher_features(batch, image, text)
        memory = self.model.remember(image_states, "encoder")
        weights, parts = self.config.weights, {}
        if weights["itc"]:
            parts["itc"] = self.contrast(image, text, keys, alpha)
        # LM before ITM: the backward pass goes the other way, and frees the 3B texts of ITM first.
        if weights["lm"]:
            parts["lm"] = self.caption(batch, self.model.remember_for_decoder(image_states, memory))
        if weights["itm"]:
            parts["itm"] = self.match(batch, memory, self.similarity(image, text, keys), image_states)
        parts = {name: parts[name] for name in weights if name in parts}
        return Losses(parts, weighted(parts, weights), keys)

    @torch.no_grad()
    def after_step(self, features: Sequence[TeacherFeatures]) -> None:
        """Let time pass once, after the optimizer's step; `features` are those of its micro-batches."""
        self.push(joined(features))
        self.update_teacher()
        self.steps += 1
        self.model.clamp_temperature()

    def push(self, features: TeacherFeatures) -> None:
        """Put one step's teacher features, of all processes, into the queues."""
        if self.teacher is not None and not self.teaching:
            return
        self.pushed += len(features.ids)
        self.image_queue.push(features.image, features.ids)
        self.text_queue.push(features.text, features.ids)

    def update_teacher(self) -> None:
        """One step of the exponential moving average; before the teacher's start it is the student."""
        momentum = self.config.momentum
        if self.teacher is not None and momentum is not None:
            self.teacher.update(self.model, momentum if self.teaching else 0.0)

    def teacher_features(self, batch: PairBatch, image: Tensor, text: Tensor) -> TeacherFeatures:
        """Keys of this batch, of all processes: the momentum encoder's features, or the online ones without it."""
        ids = gather(batch.ids)
        if self.teacher is None or not self.teaching:
            return TeacherFeatures(gather_with_gradient(image), gather_with_gradient(text), ids)
        with torch.no_grad():
            teacher = self.teacher.module
            image = teacher.image_features(teacher.encode_image(batch.images))
            text = teacher.text_features(teacher.encode_text(batch.tokens))
        return TeacherFeatures(gather(image), gather(text), ids)

    def contrast(self, image: Tensor, text: Tensor, keys: TeacherFeatures, alpha: float | Tensor) -> Tensor:
        """ITC of online features against keys of batch and queue: the mean of both directions."""
        past, own, over = self._past(), _own(image), self.model.temperature
        images, texts = (keys.image, self.image_queue.rows[past]), (keys.text, self.text_queue.rows[past])
        # Both queues are written together, so one list of ids serves both.
        targets = objectives.matching_targets(keys.ids[own], torch.cat([keys.ids, self.text_queue.ids[past]]))
        image_targets, text_targets = targets, targets
        # Without a teacher the soft targets would be the student's own answers: (1 - alpha) times the plain gradient.
        if self.teaching and (isinstance(alpha, Tensor) or alpha):
            with torch.no_grad():
                image_targets = objectives.soft_targets(_products(keys.image[own] / over, texts), targets, alpha)
                text_targets = objectives.soft_targets(_products(keys.text[own] / over, images), targets, alpha)
        return (_one_way(image, over, texts, image_targets) + _one_way(text, over, images, text_targets)) / 2

    def _past(self) -> slice:
        """The rows of the queues that serve as keys; a late start leaves out those that are still random."""
        if not self.config.teacher_start or self._stage == _TAUGHT:
            return slice(None)
        return slice(0 if self._stage == _ALONE else int(self.pushed))

    @torch.no_grad()
    def similarity(self, image: Tensor, text: Tensor, keys: TeacherFeatures) -> tuple[Tensor, Tensor]:
        """Similarities (B, G), image to text and text to image, with the G pairs that hard negatives come from."""
        over, pool = self.model.temperature, self._pool(image)
        if self.config.negatives == "random":
            flat = image.new_zeros(len(image), len(keys.ids[pool]))
            return flat, flat
        if self.config.negatives == "online":
            images, texts = (rows if self.local_negatives else gather(rows) for rows in (image, text))
            return image @ texts.T / over, text @ images.T / over
        return image @ keys.text[pool].T / over, text @ keys.image[pool].T / over

    def match(
        self, batch: PairBatch, memory: Memory, similarity: tuple[Tensor, Tensor], image_states: Tensor
    ) -> Tensor:
        """ITM over 3B pairs in one pass: positives, each text's hard image, each image's hard text."""
        rows = torch.arange(len(batch.ids), device=batch.ids.device)
        equal = batch.ids[:, None] == (batch.ids if self.local_negatives else gather(batch.ids))[None, :]
        draws = [self._draws(batch, rows, stream) for stream in (0, 1)]
        image_to_text, text_to_image = similarity
        floor = self.config.negative_floor
        image, image_valid = objectives.hard_negatives(text_to_image, equal, draws[0], floor)
        text, text_valid = objectives.hard_negatives(image_to_text, equal, draws[1], floor)
        tokens = batch.tokens.led_by("ENC")
        if world_size() == 1 or self.local_negatives:
            # On a GPU the copies that this saves are a tenth of a step. Keyed draws belong to rows in this order.
            in_place = rows.is_cuda and not draws_are_keyed()
            images = memory.with_chosen(image) if in_place else memory.seen_at(torch.cat([rows, image, rows]))
            texts = tokens.rows(torch.cat([rows, rows, text]))
        else:
            images = with_chosen(self.model, memory, image_states, image)
            images = images.seen_at(torch.cat([rows, rows + len(rows), rows]))
            own = rows + first_row(len(rows))
            texts = gathered_texts(tokens).rows(torch.cat([own, own, text]))
        logits = self.model.match_logits(texts, images)
        valid = torch.cat([torch.ones_like(image_valid), image_valid, text_valid])
        return over_all(objectives.itm(logits, valid), valid.sum())

    def caption(self, batch: PairBatch, memory: Memory) -> Tensor:
        """LM of the texts, grounded in their images."""
        labels = _labels(batch)
        loss = objectives.lm(self.model.decode(batch.tokens.led_by("DEC"), memory), labels, self.config.smoothing)
        return over_all(loss, objectives.count(labels)) * batch.share

    def words(self, batch: PairBatch) -> Tensor:
        """How many words of these texts LM says, ()."""
        return objectives.count(_labels(batch))

    def _pool(self, rows: Tensor) -> slice:
        """The keys that hard negatives come from: those of the whole batch, or of this process's rows."""
        return _own(rows) if self.local_negatives else slice(None)

    def _draws(self, batch: PairBatch, rows: Tensor, stream: int) -> Tensor:
        step = batch.step if batch.at is None else batch.at
        return uniform(self.config.seed, step, stream, rows + batch.first_row)


def _labels(batch: PairBatch) -> Tensor:
    tokens = batch.tokens.led_by("DEC")
    return objectives.lm_labels(tokens.ids, tokens.keep)


def _one_way(rows: Tensor, over: Tensor, keys: Sequence[Tensor], targets: Tensor) -> Tensor:
    """ITC of rows (B, E) against the keys of all parts; what is as long as the queue is computed again, not kept."""
    loss = lambda rows, over: objectives.itc(_products(rows / over, keys), targets)
    return recomputed(loss, rows, over, size=targets.numel())


def _products(rows: Tensor, keys: Sequence[Tensor]) -> Tensor:
    """Products (B, K) of rows (B, E) with the keys of all parts (K, E), in float32 and without a copy of the queue."""
    with torch.autocast(rows.device.type, enabled=False):
        return torch.cat([rows.float() @ part.float().T for part in keys], dim=1)


def _own(rows: Tensor) -> slice:
    """Where this process's rows lie in the batch of all processes."""
    return slice(first_row(len(rows)), first_row(len(rows)) + len(rows))
