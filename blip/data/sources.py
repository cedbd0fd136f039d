"""Where a loader's samples come from: photos decoded by threads, or one tensor of pictures."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from blip.data.images import BadImage, open_image
from blip.data.loading import Batch, Request
from blip.data.pairs import Pair, Reject, image_ref
from blip.data.pairset import PairSet, Selection
from blip.data.text import clean_caption, hash64, normalized_text_hash
from blip.data.transforms import Transform, normalize_uint8
from blip.errors import InputError

MAX_SUBSTITUTES = 1000
"""So many unreadable images in a row mean that the data set is broken, not that some of it is."""

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""From pixels (B,H,W,3) uint8 and a generator to pixels of the same form, all samples at once."""


class PhotoSource:
    """Pairs whose images are decoded on demand, in the loader's threads; `rejects` has the bad."""

    def __init__(
        self, pairs: PairSet | Selection | Sequence[Pair], transform: Transform, *, max_words: int | None = 30
    ) -> None:
        self.pairs, self.transform, self.max_words = pairs, transform, max_words
        self.shards = getattr(pairs, "shards", None)
        self._bad: dict[int, Reject] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def rejects(self) -> list[Reject]:
        """The pairs whose image could not be read so far, each once, in the set's order."""
        with self._lock:
            return [self._bad[row] for row in sorted(self._bad)]

    def begin(self, request: Request, pool: ThreadPoolExecutor) -> Callable[[], Batch | None]:
        """One task a sample; what is returned waits for all of them."""
        tasks = [pool.submit(self._sample, request, at) for at in request.places]
        return lambda: self._collate([found for task in tasks if (found := task.result())])

    def _sample(self, request: Request, at: int) -> tuple[Pair, Tensor] | None:
        for turn, row in enumerate(request.substitutes(at)):
            if row not in self._bad:
                pair = self.pairs[row]
                try:
                    return pair, self.transform(open_image(pair), request.rng(row))
                except BadImage as error:
                    self._reject(row, pair, error.reason)
            if not request.replace_bad:
                return None
            if turn == MAX_SUBSTITUTES:
                break
        reject = self.rejects[0]
        raise InputError(
            f"{len(self._bad)} images in a row cannot be used: check the data "
            f"(the first is {reject.ref}: {reject.reason})."
        )

    def _reject(self, row: int, pair: Pair, reason: str) -> None:
        with self._lock:
            self._bad[row] = Reject(pair.key, image_ref(pair) or pair.key, reason)

    def _collate(self, samples: list[tuple[Pair, Tensor]]) -> Batch | None:
        if not samples:
            return None
        pairs, images = zip(*samples, strict=True)
        captions = [clean_caption(pair.caption, self.max_words) for pair in pairs]
        keys = [pair.key for pair in pairs]
        pair_ids, image_ids = _ids(captions, normalized_text_hash), _ids(keys, hash64)
        return Batch(torch.stack(images), captions, pair_ids, image_ids, keys)


class ArraySource:
    """Pictures in memory, one uint8 tensor (N,H,W,3): a batch is indexed, augmented, normalised.

    `pair_ids` and `image_ids` (N,) int64 are the identities by meaning; left out, they are hashes
    of text and key.
    """

    shards = None

    def __init__(
        self,
        images: Tensor,
        captions: Sequence[str],
        *,
        keys: Sequence[str] | None = None,
        pair_ids: Tensor | None = None,
        image_ids: Tensor | None = None,
        augment: Augment | None = None,
    ) -> None:
        self.images, self.augment = images, augment
        self.captions = [clean_caption(caption) for caption in captions]
        self.keys = list(keys) if keys is not None else [str(row) for row in range(len(images))]
        texts = self.captions
        self.pair_ids = _ids(texts, normalized_text_hash) if pair_ids is None else pair_ids
        self.image_ids = _ids(self.keys, hash64) if image_ids is None else image_ids
        parts = (images, texts, self.keys, self.pair_ids, self.image_ids)
        counts = {len(part) for part in parts}
        if len(counts) > 1:
            raise InputError(
                f"images, captions, keys and ids differ in number {sorted(counts)}: give one each."
            )

    def __len__(self) -> int:
        return len(self.images)

    def begin(self, request: Request, pool: ThreadPoolExecutor) -> Callable[[], Batch]:
        """Nothing is worth a thread here: the batch is made when it is taken."""
        return partial(self._batch, request)

    def _batch(self, request: Request) -> Batch:
        rows = request.rows()
        index = torch.from_numpy(np.ascontiguousarray(rows))
        images = self.images[index]
        if self.augment is not None:
            seed = int(request.rng(int(rows[0])).integers(2**63))
            images = self.augment(images, torch.Generator().manual_seed(seed))
        # Augmented as a whole batch, so that it is the same however many processes share it.
        part = slice(request.places.start, request.places.stop)
        rows, index, images = rows[part], index[part], images[part]
        captions = [self.captions[row] for row in rows]
        keys = [self.keys[row] for row in rows]
        return Batch(
            normalize_uint8(images), captions, self.pair_ids[index], self.image_ids[index], keys
        )


def _ids(texts: Sequence[str], hashed: Callable[[str], int]) -> Tensor:
    return torch.tensor([hashed(text) for text in texts], dtype=torch.int64)
