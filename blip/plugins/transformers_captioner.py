"""transformers' image-to-text models as captioners: BLIP, GIT, BLIP-2 and whatever else it reads.

What is deterministic: draws are ours, keyed by (run seed, image hash, round, candidate, token), and
each image goes through the model alone, so that neither order nor batch nor the number of candidates
changes a caption on one device type, precision and version of transformers. What is not promised:
equal captions across versions, devices or precisions, where last bits may swap near-equal tokens.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from blip.checkpoint.folders import download
from blip.checkpoint.opening import HUB
from blip.checkpoint.own import file_fingerprint
from blip.data.text import hash64
from blip.draws import uniform
from blip.errors import InputError
from blip.generate import Caption, Decoding
from blip.generate.sampling import draw, truncated
from blip.precision import precision
from blip.tiles import TILE

_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")  # processors and sharded weights, as the hub has them


class TransformersCaptioner:
    """Captions by a model of transformers' AutoModelForImageTextToText.

    source: a folder in the hub's layout, or hf:NAME (a download). The decoding's prompt is what the
    model is asked, left out of its captions; models that only caption need none. Lengths count the
    first token and the new ones, [SEP] included, so that an unprompted BLIP captions as ours does.
    What else the folder's generation_config.json says (length penalty, forced tokens) holds.
    """

    def __init__(
        self,
        source: str,
        decoding: Decoding,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        tile: int = TILE,
    ) -> None:
        if decoding.rank_whole_text:
            raise InputError("Beams of a transformers model are ranked as its version ranks them; leave rank_whole_text out.")
        name = source.removeprefix(HUB)
        folder = download(name, also=_FILES) if source.startswith(HUB) else Path(source)
        self.decoding = decoding.led_by("")
        self.model, self._images, self._tokenizer = _opened(folder, self.decoding.begin)
        self.model.eval().to(device)
        _check_room(self.model, self._tokenizer, self.decoding)
        self._ends = _ends(self.model, self._tokenizer)
        self.id, self.device, self.dtype, self.tile = _fingerprint(folder), torch.device(device), dtype, tile

    def prepare(self, image: Image.Image) -> Mapping[str, Tensor]:
        """What the model reads of an image, and of the prompt where there is one."""
        prompt = {"text": self.decoding.begin} if self.decoding.begin else {}
        return dict(self._images(images=image, return_tensors="pt", **prompt))

    @torch.inference_mode()
    def __call__(
        self, prepared: Sequence[Mapping[str, Tensor]], digests: Sequence[str], *, seed: int = 0, round: int = 0
    ) -> list[list[Caption]]:
        """`decoding.candidates` captions an image; `digests` (image SHA-256) key the random draws."""
        with precision(self.device, self.dtype):
            return [
                self._image({name: value.to(self.device) for name, value in inputs.items()}, digest, seed, round)
                for inputs, digest in zip(prepared, digests, strict=True)
            ]

    def _image(self, inputs: dict[str, Tensor], digest: str, seed: int, round: int) -> list[Caption]:
        if not self.decoding.draws:
            return self._captions(inputs, None)
        keys = (seed, hash64(digest), round)
        return [
            self._captions(inputs, _Draws(self.decoding, (*keys, candidate)))[0]
            for candidate in range(self.decoding.candidates)
        ]

    def _captions(self, inputs: dict[str, Tensor], draws: "_Draws | None") -> list[Caption]:
        decoding = self.decoding
        beams = decoding.num_beams if decoding.strategy == "beam" else 1
        found = self.model.generate(
            **inputs,
            do_sample=False,
            num_beams=beams,
            num_return_sequences=decoding.candidates if beams > 1 else 1,
            max_new_tokens=decoding.max_length - 1,
            min_new_tokens=max(0, decoding.min_length - 1),
            repetition_penalty=decoding.repetition_penalty,
            logits_processor=[] if draws is None else [draws],
            return_dict_in_generate=True,
            output_logits=True,
        )
        logprobs = self.model.compute_transition_scores(
            found.sequences, found.logits, getattr(found, "beam_indices", None), normalize_logits=True
        )
        return [self._caption(*row) for row in zip(found.sequences, logprobs, strict=True)]

    def _caption(self, sequence: Tensor, logprobs: Tensor) -> Caption:
        new = sequence[-len(logprobs) :].tolist()
        count = next((at + 1 for at, token in enumerate(new) if token in self._ends), len(new))
        text = self._tokenizer.decode(sequence.tolist(), skip_special_tokens=True).strip()
        return Caption(tuple(new[:count]), tuple(logprobs[:count].tolist()), self._without_prompt(text))

    def _without_prompt(self, text: str) -> str:
        prompt = self.decoding.begin.strip()
        began = text.lower().startswith(prompt.lower())
        return text[len(prompt) :].strip() if began else text


class _Draws:
    """Makes greedy search draw: one uniform number a token decides, as in our own decoding."""

    def __init__(self, decoding: Decoding, keys: tuple[int, ...]) -> None:
        self.decoding, self.keys, self.token = decoding, keys, 0

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        top_p = self.decoding.top_p if self.decoding.strategy == "nucleus" else 1.0
        kept = truncated(scores, top_p=top_p, top_k=self.decoding.top_k, temperature=self.decoding.temperature)
        drawn = uniform(*self.keys, self.token).reshape(1).to(scores.device)
        self.token += 1
        return torch.full_like(scores, float("-inf")).scatter(1, draw(kept, drawn)[:, None], 0.0)


def _opened(folder: Path, prompt: str) -> tuple[Any, Any, Any]:
    """Model, processor and tokenizer of a folder; nothing is fetched."""
    import transformers

    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds no config.json; give a folder of a transformers model, or hf:NAME.")
    processor = transformers.AutoProcessor if prompt else transformers.AutoImageProcessor
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()  # loading is not what the user waits for
    try:
        return (
            transformers.AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True),
            processor.from_pretrained(folder, local_files_only=True),
            transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True),
        )
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"transformers cannot open {folder} as an image-to-text model ({reason.rstrip('.')}); "
            "give a folder with its weights, tokenizer and preprocessor_config.json."
        ) from error
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()


def _ends(model: Any, tokenizer: Any) -> set[int]:
    """Tokens that end a caption; BLIP's generate stops at [SEP], whatever its configuration says."""
    told = model.generation_config.eos_token_id
    return {*(told if isinstance(told, list) else [told]), tokenizer.sep_token_id, tokenizer.eos_token_id} - {None}


def _check_room(model: Any, tokenizer: Any, decoding: Decoding) -> None:
    """InputError where the text model has positions, and fewer than the longest text takes."""
    positions = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    asked = len(tokenizer(decoding.begin, add_special_tokens=False)["input_ids"]) if decoding.begin else 0
    if positions is not None and decoding.max_length + asked > positions:
        prompt = f" with the prompt's {asked} tokens" if asked else ""
        raise InputError(
            f"max_length {decoding.max_length}{prompt} is more than this model's {positions} positions; lower it."
        )


def _fingerprint(folder: Path) -> str:
    """16 hex digits of the files that decide a caption: configurations, vocabulary and weights."""
    files = sorted(path for pattern in _FILES for path in folder.glob(pattern))
    files += [] if any(path.suffix == ".safetensors" for path in files) else sorted(folder.glob("*.bin"))
    marks = [f"{path.name} {file_fingerprint(path)}" for path in files]
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:16]
