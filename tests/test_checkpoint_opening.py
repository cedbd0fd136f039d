"""One door for every form of weights, and the two commands that pass through it."""

import os
import resource
from pathlib import Path

import pytest
import torch
from stored_models import HEADS, LAYOUTS, model_of, stored_state
from toy_models import VOCAB, toy_images, toy_model
from transformers_models import toy_tokenizer

from blip.checkpoint import Card, load, save
from blip.checkpoint.folders import write_folder
from blip.checkpoint.opening import load_any, open_any
from blip.checkpoint.own import read
from blip.checkpoint.published import write_published
from blip.checkpoint.stored import read_stored
from blip.checkpoint.tensors import write_tensors
from blip.errors import InputError
from blip.generate import Decoding, captions
from blip.tokenizer import Tokenizer
from lab.cli import main

STAGES = {
    "pretrain": ("pretrained", "a picture of "),
    "caption_decoder": ("captioner", "a picture of "),
    "itm": ("filter", ""),
    "retrieval": ("filter", ""),
    "vqa": ("vqa", ""),
    "nlvr": ("nlvr", ""),
}


@pytest.fixture
def vocab(tmp_path: Path) -> Path:
    """BERT's file names neither [DEC] nor [ENC]."""
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(toy_tokenizer().vocab[: VOCAB - 2]) + "\n")
    return path


def pth(folder: Path, layout: str) -> Path:
    path = folder / f"{layout}.pth"
    torch.save({"model": stored_state(layout)[2], "epoch": 19, "config": {"vit": "base"}}, path)
    return path


def test_weights_under_a_name_that_is_no_text_are_refused(tmp_path):
    save(tmp_path / "plain.safetensors", toy_model(), toy_tokenizer(), Card(stage="pretrained"))
    path = (tmp_path / "plain.safetensors").rename(tmp_path / os.fsdecode(b"w\xff.safetensors"))
    for opening in (load, load_any, read, read_stored):
        with pytest.raises(InputError, match="is not UTF-8, so that safetensors cannot open it; rename it"):
            opening(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_published_file_opens_with_its_card_and_its_weights(tmp_path, vocab, layout):
    found = open_any(pth(tmp_path, layout), vocab=vocab, heads=HEADS)
    model = model_of(layout)
    assert type(found.opened.model) is type(model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.opened.model.state_dict()[name], tensor) or name == "temperature"
    card = found.opened.card
    assert (card.stage, card.prompt) == STAGES[layout]
    assert card.notes == {"from": f"{layout}.pth", "layout": layout}
    assert found.opened.tokenizer.vocab == toy_tokenizer().vocab


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_opened_is_saved_and_read_as_ours(tmp_path, vocab, layout):
    opened = open_any(pth(tmp_path, layout), vocab=vocab, heads=HEADS).opened
    path = save(tmp_path / "ours.safetensors", opened.model, opened.tokenizer, opened.card)
    again = read(path)
    assert (type(again.model), again.card) == (type(opened.model), opened.card)
    assert again.model.config == opened.model.config
    for name, tensor in opened.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name


def test_every_form_of_a_captioner_says_the_same(tmp_path, vocab):
    model, tokenizer = model_of("caption_decoder"), toy_tokenizer()
    forms = [
        load_any(save(tmp_path / "own.safetensors", model, tokenizer, Card(stage="captioner"))),
        load_any(write_published(tmp_path / "published.pth", model), vocab=vocab),
        load_any(str(write_folder(tmp_path / "folder", model, tokenizer))),
    ]
    images, how = toy_images(3), Decoding(strategy="greedy", prompt="")
    with torch.no_grad():
        said = [
            captions(one.model, one.model.encode_image(images), how, one.tokenizer) for one in forms
        ]
    assert said[0] == said[1] == said[2]
    assert len({caption.ids for image in said[0] for caption in image}) > 1
    assert len({one.fingerprint for one in forms}) == 3


def test_a_fingerprint_tells_weights_vocabulary_and_image_size_apart(tmp_path, vocab):
    path = pth(tmp_path, "retrieval")
    marks = [load_any(path, vocab=vocab, heads=HEADS).fingerprint for _ in range(2)]
    wider = load_any(path, vocab=vocab, heads=HEADS, image_size=32)
    assert wider.model.config.vision.image_size == 32
    other = tmp_path / "other.txt"
    other.write_text(vocab.read_text().replace("w7", "seven"))
    third = load_any(path, vocab=other, heads=HEADS)
    assert marks[0] == marks[1]
    assert len({marks[0], wider.fingerprint, third.fingerprint}) == 3
    assert {len(mark) for mark in marks} == {16}


def test_our_own_file_opens_at_another_image_size(tmp_path):
    model = toy_model(spread=0.2)
    path = save(tmp_path / "own.safetensors", model, toy_tokenizer(), Card(stage="pretrained"))
    plain, wide = load_any(path), load_any(path, image_size=32)
    assert plain.fingerprint == load(path).fingerprint != wide.fingerprint
    with torch.no_grad():
        assert torch.equal(plain.model.encode_image(toy_images(1)), model.encode_image(toy_images(1)))
        assert wide.model.encode_image(toy_images(1, side=32)).shape == (1, 17, 24)


def test_a_task_is_no_captioner_and_no_filter(tmp_path, vocab):
    with pytest.raises(InputError, match="VQA model"):
        load_any(pth(tmp_path, "vqa"), vocab=vocab, heads=HEADS)
    path = save(tmp_path / "n.safetensors", model_of("nlvr"), toy_tokenizer(), Card(stage="nlvr"))
    with pytest.raises(InputError, match="NLVR model"):
        load(path)


def test_a_vocabulary_that_is_missing_or_does_not_fit_is_refused(tmp_path, vocab):
    path = pth(tmp_path, "caption_decoder")
    with pytest.raises(InputError, match="--vocab"):
        load_any(path, heads=HEADS)
    vocab.write_text(vocab.read_text() + "more\n")
    with pytest.raises(InputError, match="41 tokens"):
        load_any(path, vocab=vocab, heads=HEADS)
    with pytest.raises(InputError, match="the model has 40"):
        save(tmp_path / "x.safetensors", toy_model(), Tokenizer.from_vocab(vocab), Card(stage="x"))


class Code:
    """What a pickle could run when it is opened."""

    def __reduce__(self):
        return (print, ("this ran",))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"model": {"a": Code()}}, "holds more than tensors"),
        ([torch.zeros(2)], "no named tensors"),
        (torch.zeros(2), "no named tensors"),
        ({"model": torch.zeros(2)}, "no named tensors"),
        ({1: torch.zeros(2)}, "no named tensors"),
        ({"model": {"a": torch.zeros(2)}}, "none of BLIP's layouts"),
    ],
)
def test_a_file_that_is_no_weights_is_refused_in_a_sentence(tmp_path, capsys, content, sentence):
    path = tmp_path / "odd.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match=sentence) as error:
        read_stored(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [b"", b"hello world", b"<html>not found</html>", b"version https://git-lfs", b"\x80\x02}q"]
)
def test_what_came_instead_of_a_file_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "page.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"page\.pth") as error:
        read_stored(path)
    assert "\n" not in str(error.value)


def test_turned_bytes_are_weights_or_a_sentence(tmp_path):
    whole = bytearray(write_published(tmp_path / "whole.pth", model_of("caption_decoder")).read_bytes())
    generator = torch.Generator().manual_seed(0)
    for place in torch.randint(len(whole) // 8, (40,), generator=generator).tolist():
        torn = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        (tmp_path / "torn.pth").write_bytes(torn)
        try:
            read_stored(tmp_path / "torn.pth", heads=HEADS)
        except InputError as error:
            assert "torn.pth" in str(error)


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors", "missing.pth"])
def test_a_torn_or_missing_file_is_refused_in_a_sentence(tmp_path, vocab, name):
    whole = write_published(tmp_path / "whole.pth", model_of("caption_decoder")).read_bytes()
    if name != "missing.pth":
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        load_any(tmp_path / name, vocab=vocab, heads=HEADS)


def test_the_hub_without_a_connection_is_one_sentence():
    with pytest.raises(InputError, match="cannot be fetched from the hub") as error:
        load_any("hf:Salesforce/blip-image-captioning-base")
    assert "\n" not in str(error.value)


def run(*words) -> int:
    return main([str(word) for word in words])


def test_import_says_what_it_found_and_writes_it(tmp_path, vocab, capsys):
    path, out = pth(tmp_path, "pretrain"), tmp_path / "out" / "ours.safetensors"
    assert run("import-checkpoint", path, "--out", out, "--vocab", vocab, "--heads", HEADS) == 0
    said = capsys.readouterr().out
    for words in (
        "layout      pretrain, published",
        "2 copies verified",
        "3 queues",
        "16 px in patches of 8, 2 layers, 24 wide, 2 heads",
        "shared      cross_attention, embeddings, mlp",
    ):
        assert words in said
    loaded = load(out)
    assert loaded.card.stage == "pretrained"
    assert torch.equal(loaded.model.itm_head.weight, model_of("pretrain").itm_head.weight)


def test_export_and_import_come_back_to_the_bit(tmp_path, capsys):
    model = toy_model(spread=0.2)
    ours = save(tmp_path / "ours.safetensors", model, toy_tokenizer(), Card(stage="pretrained"))
    published = tmp_path / "published.pth"
    assert run("export-checkpoint", ours, "--out", published, "--layout", "published") == 0
    words = tmp_path / "published.vocab.txt"
    back = tmp_path / "back.safetensors"
    assert run("import-checkpoint", published, "--out", back, "--vocab", words, "--heads", HEADS) == 0
    for name, tensor in model.state_dict().items():
        assert torch.equal(load(back).model.state_dict()[name], tensor), name
    folder = tmp_path / "folder"
    options = ["--out", folder, "--layout", "transformers", "--task"]
    assert run("export-checkpoint", ours, *options, "retrieval") == 0
    assert run("import-checkpoint", folder, "--out", back) == 0
    assert load(back).model.config.text.readings == {"encode", "fuse"}
    assert torch.equal(load(back).model.itm_head.weight, model.itm_head.weight)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--layout", "transformers"], "--task captioning or retrieval"),
        (["--layout", "transformers", "--task", "vqa"], "has no vqa"),
        (["--layout", "published"], "must end in .pth"),
        (["--layout", "other"], "choose"),
    ],
)
def test_an_export_that_cannot_be_is_one_sentence(tmp_path, capsys, words, sentence):
    ours = save(tmp_path / "o.safetensors", toy_model(), toy_tokenizer(), Card(stage="pretrained"))
    assert run("export-checkpoint", ours, "--out", tmp_path / "folder", *words) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert not (tmp_path / "folder").exists()


def test_a_task_that_the_weights_lack_is_one_sentence(tmp_path, capsys):
    ours = save(tmp_path / "f.safetensors", model_of("retrieval"), toy_tokenizer(), Card(stage="filter"))
    words = ["--out", tmp_path / "folder", "--layout", "transformers", "--task", "captioning"]
    assert run("export-checkpoint", ours, *words) == 2
    assert "cannot decode, which captioning needs" in capsys.readouterr().err


def test_a_disk_that_is_full_is_one_sentence_and_leaves_what_was_there(tmp_path):
    tensors, file = {"a": torch.zeros(4096)}, tmp_path / "model.safetensors"
    write_tensors({"a": torch.ones(4)}, file, {})
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError, match="model.safetensors cannot be written .*; free some space, or give another place"):
            write_tensors(tensors, file, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"] and file.read_bytes() == before
