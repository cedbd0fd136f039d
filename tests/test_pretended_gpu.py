"""Every command on a GPU that is pretended: nothing is left on the CPU by mistake, and what comes out is what the CPU gives."""

import json
from pathlib import Path

import pytest
import torch
from caption_files import scenes, write_csv
from imitated_graph import imitated_graphs
from plugin_models import captioning_folder, clip_folder
from pretended_gpu import pretended_gpu
from torch import Tensor

from blip.capfilt import Ledger
from blip.checkpoint import Card, save
from blip.memory import Memory
from blip.tasks.nlvr import nlvr_from
from blip.tasks.vqa import vqa_from
from lab.cli import main
from lab.commands import finetune_nlvr, finetune_visdial, finetune_vqa
from lab.downstream import captioning
from lab.weights import shipped

PRETRAINED, CAPTIONER, FILTER = (f"blip/weights/{name}.safetensors" for name in ("pretrained", "captioner", "filter"))
SMALL = ("--steps", 3, "--batch", 8, "--workers", 1)
NEW = ("pretrain", "--data", "PAIRS", "--held-out", 8, "--size", "nano", "--image-size", 32, "--vocab-size", 200, *SMALL)
FROM = ("--weights", PRETRAINED, "--batch", 8)
PAIRS = ("--data", "PAIRS")
COMMANDS = {
    "pretrain": (*NEW, "--queue", 8, "--save-seconds", 0),
    "pretrain bf16": (*NEW, "--queue", 8, "--precision", "bf16"),
    "pretrain in parts": (*NEW, "--queue", 0, "--accumulate", 2, "--keyed-dropout", "--checkpoint-blocks", 1),
    "pretrain locally": (*NEW, "--queue", 8, "--local-negatives", "--teacher-start", 0),
    "finetune retrieval": ("finetune", "retrieval", *PAIRS, *FROM, *SMALL, "--queue", 8, "--val", "PAIRS"),
    "finetune captioning": ("finetune", "captioning", *PAIRS, *FROM, *SMALL, "--val", "PAIRS"),
    "finetune vqa": ("finetune", "vqa", *FROM, *SMALL, "--world", "nano", "--world-scenes", 30),
    "finetune nlvr": ("finetune", "nlvr", *FROM, *SMALL, "--world", "nano", "--world-statements", 40),
    "finetune visdial": ("finetune", "visdial", *FROM, *SMALL, "--world", "nano", "--world-dialogs", 12),
    "evaluate retrieval": ("evaluate", "retrieval", *PAIRS, *FROM),
    "evaluate captioning, beam": ("evaluate", "captioning", *PAIRS, "--weights", CAPTIONER, "--repetition-penalty", 1.1),
    "evaluate captioning, nucleus": ("evaluate", "captioning", *PAIRS, "--weights", CAPTIONER, "--strategy", "nucleus"),
    "evaluate vqa, ranked": ("evaluate", "vqa", "--weights", "VQA", "--world", "nano", "--world-scenes", 8),
    "evaluate vqa, generated": ("evaluate", "vqa", "--weights", "VQA", "--world", "nano", "--world-scenes", 4, "--generate"),
    "evaluate nlvr": ("evaluate", "nlvr", "--weights", "NLVR", "--world", "nano", "--world-statements", 20),
    "evaluate visdial": ("evaluate", "visdial", *FROM, "--world", "nano", "--world-dialogs", 4),
    "evaluate video-retrieval": ("evaluate", "video-retrieval", *FROM, "--world", "nano", "--world-clips", 8),
    "evaluate video-qa": ("evaluate", "video-qa", "--weights", "VQA", "--world", "nano", "--world-clips", 4),
    "embed": ("embed", *PAIRS, *FROM),
    "classify": ("classify", *PAIRS, *FROM, "--labels", "a dog", "a cat"),
}
OWN = ("machine", "device", "options", "config", "command", "weights", "out", "seconds")
OWN += ("samples_per_second", "images_per_second", "peak_memory_gib")
"""What a run says of itself, by its place and its pace."""


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    """What the words in capitals stand for: 12 scenes with three captions each, and models of two tasks."""
    folder, loaded = tmp_path_factory.mktemp("given"), shipped("pretrained")
    models = {"VQA": vqa_from(loaded.model), "NLVR": nlvr_from(loaded.model)}
    found = {
        name: save(folder / f"{name}.safetensors", model, loaded.tokenizer, Card(stage=name.lower()))
        for name, model in models.items()
    }
    return {name: str(path) for name, path in found.items()} | {"PAIRS": str(write_csv(folder, scenes(12)))}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Little is held out, no Java machine is started, and rows of chosen images are read and added up on both in one way."""
    monkeypatch.setattr("blip.layers.rows_at", lambda values, at: values[at])
    monkeypatch.setattr(Memory, "with_chosen", lambda memory, chosen: memory.seen_at(in_thirds(chosen)))
    for module in (finetune_vqa, finetune_nlvr, finetune_visdial):
        monkeypatch.setattr(module, "HELD_OUT", 6)
    monkeypatch.setattr(captioning, "meteor", lambda *words: "skipped: a test without Java")


def in_thirds(chosen: Tensor) -> Tensor:
    """The images of 3 * B rows, of which the middle ones are chosen."""
    rows = torch.arange(len(chosen), device=chosen.device)
    return torch.cat([rows, chosen, rows])


def both(folder: Path, places: dict[str, str], words) -> tuple[Path, Path]:
    """The folders that a command wrote on the CPU and on the pretended GPU; OUT stands for them."""

    def done(device: str) -> Path:
        known = places | {"OUT": str(folder / device)}
        assert main([known.get(str(word), str(word)) for word in (*words, "--device", device)]) == 0
        return folder / device

    here = done("cpu")
    with pretended_gpu() as gpu:
        there = done("cuda")
    assert gpu.operations > 50, "nothing was done on the GPU"
    return here, there


def said(path: Path) -> object:
    """What a file of results holds, without what a run says of itself; the bytes of other files."""

    def told(value):
        if isinstance(value, dict):
            return {name: told(part) for name, part in value.items() if name not in OWN}
        return [told(part) for part in value] if isinstance(value, list) else value

    if path.suffix not in (".json", ".jsonl"):
        return path.read_bytes()
    return [told(json.loads(line)) for line in ([path.read_text()] if path.suffix == ".json" else path.open())]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_gives_on_the_gpu_what_it_gives_on_the_cpu(name, places, tmp_path):
    here, there = both(tmp_path, places, [*COMMANDS[name], "--out", "OUT"])
    files = [path.relative_to(here) for path in here.rglob("*") if path.is_file() and path.suffix != ".pt"]
    assert {file for file in files if said(here / file) != said(there / file)} == set() != set(files)


def rows(folder: Path, name: str) -> list[dict]:
    """The rows of a table of a ledger, its numbers to five digits: peers add up in another order on a GPU."""
    found = Ledger.open(folder).table(name).to_pylist()
    return [
        {name: pytest.approx(value, abs=1e-5) if isinstance(value, float) else value for name, value in row.items()}
        for row in found
    ]


def test_a_ledger_is_the_same_from_both(places, tmp_path):
    """Two captioners, three filters; then one more filter over the ledger, and its index."""
    clip, captioner = clip_folder(tmp_path / "clip"), captioning_folder(tmp_path / "captioner")[0]
    models = ["--captioner", CAPTIONER, "--captioner", f"transformers:{captioner}"]
    models += ["--filter", FILTER, "--filter", f"open_clip:{clip}", "--filter", "text"]
    here, there = both(tmp_path, places, ["capfilt", *PAIRS, *models, "--out", "OUT", "--workers", 1])
    both(tmp_path, places, ["ledger", "score", "OUT", "--filter", f"again={PRETRAINED}"])
    assert len(rows(here, "candidates")) == 36 + 2 * 12
    for table in ("candidates", "scores/itm", "scores/clip", "scores/text", "scores/again"):
        assert Ledger.open(there).table(table).to_pylist() == rows(here, table)
    both(tmp_path / "index", places, ["ledger", "embed", str(here), "--weights", PRETRAINED, "--out", "OUT"])


def test_a_ledger_made_with_graphs_is_the_one_without(places, tmp_path):
    words = ["capfilt", *PAIRS, "--captioner", CAPTIONER, "--filter", FILTER, "--tile", 4, "--workers", 1, "--candidates", 2]
    command = [places.get(str(word), str(word)) for word in words]
    assert main([*command, "--device", "cpu", "--out", str(tmp_path / "cpu")]) == 0
    with pretended_gpu() as gpu, imitated_graphs("cuda") as made:
        assert main([*command, "--device", "cuda", "--out", str(tmp_path / "cuda")]) == 0
    assert gpu.operations > 50 and len(made) > 2 and sum(graph.replays for graph in made) > 20
    for table in ("candidates", "scores/itm"):
        assert Ledger.open(tmp_path / "cuda").table(table).to_pylist() == rows(tmp_path / "cpu", table)
