"""The page of the real benchmarks: every command on it parses, and names weights and lists that were published."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from blip.errors import InputError
from lab.captioned import Material
from lab.cli import COMMANDS
from lab.downstream.clip_rows import Footage
from lab.options import read_options

PAGE = (Path(__file__).parents[1] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
HUB = {
    f"Salesforce/blip-{name}"
    for name in (
        *("image-captioning-base", "image-captioning-large", "vqa-base", "vqa-capfilt-large"),
        *("itm-base-coco", "itm-large-coco", "itm-base-flickr", "itm-large-flickr"),
    )
}
FILES = {
    f"model_{name}.pth"
    for name in (
        *("base_14M", "base", "base_capfilt_large", "large", "vqa", "base_vqa_capfilt_large", "base_nlvr"),
        *(f"{size}_retrieval_{data}" for size in ("base", "large") for data in ("coco", "flickr")),
        *("base_caption_capfilt_large", "large_caption"),
    )
}


def command_lines():
    """The words of every command in the page's sh blocks; a backslash at its end continues a line."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def read(words):
    """The options that a command line gives, as `lab` itself reads them."""
    assert words[0] == "lab"
    name = " ".join(words[1:3])
    return read_options(name, import_module(COMMANDS[name][0]).Options, words[3:])


@pytest.mark.parametrize("words", command_lines(), ids=lambda words: words[-1].removeprefix("runs/"))
def test_every_command_parses(words):
    options = read(words)
    assert str(options.out).startswith("runs/")
    weights = getattr(options, "weights", None) or options.tuning
    assert weights.weights
    # A published .pth brings no vocabulary; what we wrote and what the hub has do.
    assert weights.weights.endswith(".pth") == (weights.vocab is not None)
    if words[1] == "evaluate":
        source = getattr(options, "material", None) or getattr(options, "footage", None) or options
        assert isinstance(source, Material | Footage) or hasattr(source, "data")
        assert source.data and source.world is None


def test_the_options_arrive_where_they_are_read():
    """Of two commands in full: nothing is read as something else."""
    by_out = {words[-1]: words for words in command_lines()}
    vqa = read(by_out["runs/vqav2-test"])
    assert (vqa.answering.k, vqa.answering.smoothing, vqa.weights.image_size) == (128, 0.1, 480)
    dialog = read(by_out["runs/visdial"])
    assert dialog.tuning.batch * dialog.tuning.accumulate == 240
    assert (dialog.tuning.epochs, dialog.tuning.peak) == (20, 2e-5)
    clips = read(by_out["runs/msrvtt-retrieval"])
    assert (clips.frames, clips.k, str(clips.footage.videos)) == (8, 128, "msrvtt/videos")


@pytest.mark.parametrize("words", [w for w in command_lines() if w[1:3] != ["finetune", "visdial"] and w[1] == "finetune"])
def test_fine_tuning_is_at_the_published_batch(words):
    tuning = read(words).tuning
    assert tuning.batch * tuning.accumulate == 256
    assert tuning.image_size == (480 if words[2] == "vqa" else 384)


def test_every_benchmark_has_its_command():
    found = {" ".join(words[1:3]) for words in command_lines()}
    tasks = ("retrieval", "captioning", "vqa", "nlvr", "visdial", "video-retrieval", "video-qa")
    assert {f"evaluate {task}" for task in tasks} <= found
    data = " ".join(word for words in command_lines() for word in words)
    for name in ("coco_karpathy", "flickr30k", "nocaps", "vqa_test", "nlvr_test", "visdial", "msrvtt_test", "msrvtt-qa", "msvd-qa"):
        assert name in data


def test_weights_are_ones_that_were_published():
    named = set(re.findall(r"hf:([\w/.-]+\w)", PAGE))
    assert named - {"NAME"} and named <= HUB | {"NAME"}
    named = set(re.findall(r"\b[\w-]+\.pth\b", PAGE))
    assert named == FILES


def test_a_wrong_option_is_found():
    """The checks above can fail."""
    with pytest.raises(InputError, match="evaluate vqa has no option '--smothing'"):
        read(shlex.split("lab evaluate vqa --data q.json --weights w --out o --smothing 0.1"))


def test_the_page_says_that_nothing_was_run():
    assert "**Nothing on this page was run here.**" in PAGE
