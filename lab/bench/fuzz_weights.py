"""Fuzz targets: weights in every form, vocabularies, and the checkpoints that training resumes from."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from blip.checkpoint import Card, save
from blip.checkpoint.folders import write_folder
from blip.checkpoint.opening import open_any
from blip.checkpoint.own import read
from blip.checkpoint.published import published_state, write_published
from blip.checkpoint.tensors import read_tensors
from blip.config import BlipConfig, TextConfig, VisionConfig
from blip.guard import Guard
from blip.log import NAME, earlier_rows
from blip.model import BLIP, narrowed
from blip.resume import Keeper
from blip.tasks.vqa import VQA
from blip.tokenizer import Tokenizer
from lab.bench.fuzz_case import Seed, Tally, Target

_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "##a", "##b", "ball", "red")


def _config(words: int) -> BlipConfig:
    vision = VisionConfig(image_size=16, patch_size=8, width=16, depth=1, heads=2)
    text = TextConfig(vocab_size=words, width=16, depth=1, heads=2, mlp_width=32, memory_width=16, max_positions=24)
    return BlipConfig(vision=vision, text=text, embed_dim=8)


@cache
def _parts() -> tuple[BLIP, VQA, Tokenizer]:
    tokenizer = Tokenizer(_WORDS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = _config(len(tokenizer))
        return BLIP(config).eval(), VQA(config).eval(), tokenizer


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _seed(folder: Path, *broken: str) -> Seed:
    files = _files(folder)
    return Seed(files, broken or tuple(files))


@cache
def _own() -> tuple[Seed, ...]:
    blip, vqa, tokenizer = _parts()
    seeds = []
    for model, stage in ((blip, "pretrained"), (vqa, "vqa"), (narrowed(blip, "decode"), "captioner")):
        with TemporaryDirectory() as folder:
            save(Path(folder) / "model.safetensors", model, tokenizer, Card(stage=stage, notes={"seed": 1}))
            seeds.append(_seed(Path(folder)))
    return tuple(seeds)


@cache
def _published() -> tuple[Seed, ...]:
    blip, vqa, tokenizer = _parts()
    seeds = []
    for model in (blip, vqa, narrowed(blip, "decode")):
        with TemporaryDirectory() as folder:
            write_published(Path(folder) / "model.pth", model)
            (Path(folder) / "vocab.txt").write_text("\n".join(tokenizer.vocab), encoding="utf-8")
            seeds.append(_seed(Path(folder), "model.pth", "model.pth", "model.pth", "vocab.txt"))
    with TemporaryDirectory() as folder:  # the form that torch wrote before 1.6
        legacy = {"model": {name: tensor.clone() for name, tensor in published_state(blip).items()}, "epoch": 3}
        torch.save(legacy, Path(folder) / "model.pth", _use_new_zipfile_serialization=False)
        (Path(folder) / "vocab.txt").write_text("\n".join(tokenizer.vocab), encoding="utf-8")
        seeds.append(_seed(Path(folder), "model.pth"))
    return tuple(seeds)


@cache
def _folders() -> tuple[Seed, ...]:
    blip, _, tokenizer = _parts()
    with TemporaryDirectory() as folder:
        write_folder(folder, narrowed(blip, "decode"), tokenizer)
        words = {"model": {"vocab": {word: at for at, word in enumerate(tokenizer.vocab)}}, "added_tokens": []}
        (Path(folder) / "tokenizer.json").write_text(json.dumps(words))
        whole = _seed(Path(folder), "config.json", "config.json", "model.safetensors", "vocab.txt")
    without = {name: content for name, content in whole.files.items() if name != "vocab.txt"}
    return whole, Seed(without, ("tokenizer.json",))


@cache
def _vocabularies() -> tuple[Seed, ...]:
    return (Seed({"vocab.txt": "\n".join(_WORDS).encode()}, ("vocab.txt",)),)


class _Feed:
    """A position in no data."""

    def state_dict(self) -> dict[str, Any]:
        return {"step": 3}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]


def _keeper(out: Path) -> Keeper:
    task = torch.nn.Linear(3, 2)
    return Keeper(out, task, torch.optim.AdamW(task.parameters()), _Feed(), Guard("stop", 0, out))


@cache
def _training() -> tuple[Seed, ...]:
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        keeper = _keeper(Path(folder))
        for step in (1, 2):
            torch.nn.functional.mse_loss(keeper.task(torch.ones(1, 3)), torch.zeros(1, 2)).backward()
            keeper.optimizer.step()
            keeper.mark(step)
            keeper.save()
            keeper.finish()
        lines = [json.dumps({"step": step, "itc": 0.5, "samples_per_second": 9.0}) for step in (1, 2)]
        (Path(folder) / NAME).write_text("\n".join(lines) + "\n")
        return (_seed(Path(folder)),)


def _read_own(tally: Tally) -> None:
    path = tally.folder / "model.safetensors"
    for reader in (read, open_any, read_tensors):
        tally.attempt(partial(reader, path))


def _read_published(tally: Tally) -> None:
    tally.attempt(lambda: open_any(tally.folder / "model.pth", vocab=tally.folder / "vocab.txt", heads=2))


def _read_folder(tally: Tally) -> None:
    tally.attempt(lambda: open_any(tally.folder))


def _read_vocabulary(tally: Tally) -> None:
    tokenizer = tally.attempt(lambda: Tokenizer.from_vocab(tally.folder / "vocab.txt"))
    if tokenizer is not None:
        tokens = tokenizer(["a red ball", "Öl \0 \U0001f389"])
        tally.require(bool((tokens.ids < len(tokenizer)).all()), "ids beyond the vocabulary")


def _read_training(tally: Tally) -> None:
    """A damaged checkpoint is passed over with a warning; one of these bytes under its own hash must be refused."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        step = tally.attempt(lambda: _keeper(tally.folder).resume())
        tally.require(step in (None, 0, 1, 2, 3), f"resumed at step {step!r}")
        tally.attempt(lambda: earlier_rows(tally.folder, 1))
        for path in _renamed(sorted((tally.folder / "checkpoints").glob("*.pt"))):
            tally.rejected += 1
            tally.attempt(lambda: _keeper(tally.folder).resume())
            path.unlink()


def _renamed(paths: Sequence[Path]) -> list[Path]:
    """The damaged checkpoints, under the hashes of what they hold."""
    found = []
    for path in paths:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""
        if digest and digest not in path.name:
            found.append(path.rename(path.with_name(f"99999999-{digest}.pt")))
    return found


TARGETS = (
    Target("weights", _own, _read_own),
    Target("published-weights", _published, _read_published),
    Target("weights-folders", _folders, _read_folder),
    Target("vocabularies", _vocabularies, _read_vocabulary),
    Target("training-checkpoints", _training, _read_training),
)
