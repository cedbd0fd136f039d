"""One door for every form of weights: ours, the published .pth, transformers' folders, its hub."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from blip.checkpoint import own
from blip.checkpoint.folders import WEIGHTS, download, read_folder, read_vocabulary, weights_file
from blip.checkpoint.layouts import CAPTION, ITM, NLVR_LAYOUT, PRETRAIN, RETRIEVAL, VQA_LAYOUT, Survey
from blip.checkpoint.names import PUBLISHED
from blip.checkpoint.own import Card, Loaded, Opened, check_vocabulary, file_fingerprint, require_blip
from blip.checkpoint.stored import Stored, Training, at_image_size, read_stored
from blip.checkpoint.tensors import check_name
from blip.errors import InputError
from blip.tasks.captioning import PROMPT
from blip.tokenizer import Tokenizer

HUB = "hf:"
_STAGES = {
    PRETRAIN: ("pretrained", PROMPT),
    CAPTION: ("captioner", PROMPT),
    ITM: ("filter", ""),
    RETRIEVAL: ("filter", ""),
    VQA_LAYOUT: ("vqa", ""),
    NLVR_LAYOUT: ("nlvr", ""),
}


@dataclass(frozen=True)
class Found:
    """What was opened and, for foreign layouts, what its keys told; `file` holds the weights.

    training: the momentum encoders and queues, for `continue_from`; only published .pth files have them.
    """

    opened: Opened
    survey: Survey | None
    file: Path
    training: Training | None = None


def load_any(
    source: str | Path,
    *,
    vocab: Path | None = None,
    image_size: int | None = None,
    heads: int | None = None,
    device: str | torch.device = "cpu",
) -> Loaded:
    """Open a BLIP in any form.

    source: our .safetensors, a published .pth, a folder in transformers' layout, or hf:NAME.
    vocab: BERT's vocab.txt, which a published .pth does not bring along; forms that do use their own.
    image_size: side in pixels; position embeddings are interpolated to it. heads: attention heads of
    a .pth that has not width / 64 of them. What cannot be used is an InputError in one sentence.
    """
    found = open_any(source, vocab=vocab, image_size=image_size, heads=heads)
    return require_blip(found.opened, source, device)


def open_any(
    source: str | Path,
    *,
    vocab: Path | None = None,
    image_size: int | None = None,
    heads: int | None = None,
) -> Found:
    """Open weights of any architecture, VQA and NLVR too; options as in `load_any`."""
    path = download(str(source).removeprefix(HUB)) if str(source).startswith(HUB) else Path(source)
    if path.is_dir():
        _refuse_other_folder(path)
        stored, file = read_folder(path, image_size=image_size), weights_file(path)
        return _found(stored, read_vocabulary(path, vocab), file)
    if not path.is_file():
        raise InputError(f"There are no weights at {path}; give a file, a folder or hf:NAME.")
    if _is_ours(path):
        opened = own.read(path)
        model = at_image_size(opened.model, image_size)
        side = model.config.vision.image_size
        mark = opened.fingerprint if model is opened.model else _mark(opened.fingerprint, side)
        return Found(Opened(model, opened.tokenizer, opened.card, mark), survey=None, file=path)
    stored = read_stored(path, image_size=image_size, heads=heads)
    if stored.survey.image_names is not PUBLISHED:
        raise InputError(f"{path} is in transformers' layout; give the folder that holds its config.json.")
    if vocab is None:
        raise InputError(f"{path} brings no vocabulary; name BERT's vocab.txt with --vocab.")
    return _found(stored, Tokenizer.from_vocab(vocab), path)


def _found(stored: Stored, tokenizer: Tokenizer, file: Path) -> Found:
    check_vocabulary(tokenizer, stored.model, str(file))
    stage, prompt = _STAGES[stored.survey.layout]
    card = Card(stage=stage, prompt=prompt, notes={"from": file.name, "layout": stored.survey.layout})
    # Outputs depend on these too, so what a ledger names by its fingerprint does.
    side = stored.model.config.vision.image_size
    mark = _mark(file_fingerprint(file), tokenizer.fingerprint, side)
    return Found(Opened(stored.model, tokenizer, card, mark), stored.survey, file, stored.training)


def _refuse_other_folder(folder: Path) -> None:
    """InputError for a folder that is not in transformers' layout; of one that a training left it names the weights."""
    if (folder / "config.json").is_file():
        return
    if (own := folder / WEIGHTS[0]).is_file() and _is_ours(own):
        raise InputError(f"{folder} is a folder of a training; give its weights, {own}.")
    raise InputError(
        f"{folder} holds no config.json; give a folder with config.json, vocab.txt and {WEIGHTS[0]} as transformers' "
        "save_pretrained writes them, or a file of weights."
    )


def _is_ours(path: Path) -> bool:
    if path.suffix != ".safetensors":
        return False
    check_name(path)
    try:
        with safe_open(path, framework="pt") as file:
            return "format" in (file.metadata() or {}) and "config" in file.metadata()
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}); copy it again.") from None


def _mark(*parts: Any) -> str:
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:16]
