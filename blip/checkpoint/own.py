"""Our own files: one safetensors file holds weights, configuration, vocabulary and card."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open

from blip.checkpoint.stored import Model, built
from blip.checkpoint.tensors import check_name, write_tensors
from blip.config import blip_config_from_json, to_json
from blip.data.jsons import parse_json
from blip.errors import InputError
from blip.model import BLIP
from blip.tasks.nlvr import NLVR
from blip.tasks.vqa import VQA
from blip.tokenizer import Tokenizer

FORMAT = "1"
_T = TypeVar("_T")
_ARCHITECTURES: dict[str, type[Model]] = {"BLIP": BLIP, "VQA": VQA, "NLVR": NLVR}


@dataclass(frozen=True, kw_only=True)
class Card:
    """What weights are: the stage that made them, how they are prompted, and what is known of them."""

    stage: str
    """pretrained, captioner, filter, or the name of a downstream task."""
    prompt: str = ""
    """Words that began every caption in training, as decoding must give them again."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Plain values: data, samples, run record."""


@dataclass(frozen=True)
class Opened:
    """Any model in eval mode: BLIP, or a task's own architecture (VQA, NLVR); the rest as in `Loaded`."""

    model: Model
    tokenizer: Tokenizer
    card: Card
    fingerprint: str


@dataclass(frozen=True)
class Loaded:
    """A model in eval mode with the tokenizer it was trained with.

    `fingerprint` is the SHA-256 of the file's content (16 hex digits); a ledger's captioner and
    filter are named by it.
    """

    model: BLIP
    tokenizer: Tokenizer
    card: Card
    fingerprint: str


def save(path: str | Path, model: Model, tokenizer: Tokenizer, card: Card) -> Path:
    """Write weights with all that is needed to use them, whole or not at all."""
    path = Path(path)
    check_vocabulary(tokenizer, model, "the model")
    metadata = {
        "format": FORMAT,
        "architecture": type(model).__name__,
        "config": json.dumps(to_json(model.config), sort_keys=True),
        "vocab": json.dumps(tokenizer.vocab),
        "card": json.dumps(asdict(card), sort_keys=True),
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(weights, path, metadata, finish=_order_metadata)
    return path


def load(path: str | Path, device: str | torch.device = "cpu") -> Loaded:
    """Read what `save` wrote of a BLIP; anything else is an InputError that names the file."""
    return require_blip(read(path), path, device)


def read(path: str | Path) -> Opened:
    """Read what `save` wrote of any architecture; anything else is an InputError that names the file."""
    path = Path(path)
    metadata, weights = _read(path)
    try:
        # Files from before there were tasks name no architecture.
        architecture = _ARCHITECTURES[metadata.get("architecture", "BLIP")]
        config = blip_config_from_json(parse_json(metadata["config"]))
        tokenizer = Tokenizer(parse_json(metadata["vocab"]))
        card = Card(**parse_json(metadata["card"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} was written by another version of BLIP Lab ({error}); export it anew.") from None
    try:
        model = built(architecture, config, weights)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(f"The weights in {path} do not fit their configuration ({detail}); export it anew.") from None
    check_vocabulary(tokenizer, model, str(path))
    return Opened(model, tokenizer, card, file_fingerprint(path))


def require_blip(opened: Opened, source: str | Path, device: str | torch.device = "cpu") -> Loaded:
    """The BLIP in what was opened, on a device; another architecture is an InputError."""
    if not isinstance(opened.model, BLIP):
        raise InputError(
            f"{source} holds a {type(opened.model).__name__} model, which neither captions nor filters; "
            "give a pre-trained model, a captioner or a filter."
        )
    return Loaded(opened.model.to(device), opened.tokenizer, opened.card, opened.fingerprint)


def check_vocabulary(tokenizer: Tokenizer, model: Model, source: str) -> None:
    """A vocabulary that is not as long as the model's word embeddings is an InputError."""
    have, want = len(tokenizer), model.config.text.vocab_size
    if have != want:
        raise InputError(
            f"The vocabulary has {have} tokens with [DEC] and [ENC], and {source} has {want}; "
            "give the vocabulary that the weights were trained with."
        )


def file_fingerprint(path: Path) -> str:
    """SHA-256 of a file's content, 16 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _order_metadata(path: Path) -> None:
    """Sort the metadata: safetensors writes them in another order each time, and equal models must be equal files."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        file.seek(8)
        file.write(ordered.ljust(size))


def vocabulary(path: str | Path) -> list[str]:
    """The words of a model's tokenizer by id, read without its weights; InputError as for `load`."""
    return parse_json(_opened(Path(path), lambda file: None)[0]["vocab"])


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    return _opened(path, lambda file: {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def _opened(path: Path, take: Callable[[Any], _T]) -> tuple[dict[str, str], _T]:
    """The metadata of a file of ours, and what is taken of its weights."""
    if not path.is_file():
        raise InputError(f"There are no weights at {path}; check the path.")
    check_name(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata, taken = file.metadata() or {}, take(file)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}); copy it again.") from None
    if metadata.get("format") != FORMAT or "config" not in metadata:
        raise InputError(
            f"{path} was not written by BLIP Lab; turn it into our format with lab import-checkpoint."
        )
    return metadata, taken
