"""Models on own pairs that begin with a ViT's and a BERT's weights: what they begin with, what it decides, what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from test_ablate_own_pairs import NOUNS, PLACES, words_of, write_files

from blip.checkpoint import load
from blip.model import BLIP
from lab.ablation.arms import Lab
from lab.ablation.own_reading import opened
from lab.ablation.own_scales import possible
from lab.ablation.plan import Plan
from lab.ablations import ABLATIONS, ablation
from lab.cli import main
from lab.rounds import MODEL
from lab.runs import Home

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({*NOUNS, *" ".join(PLACES).split(), "now", "today", "picture", "of"})]


def vit(width=64, seed=0):
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(seed)
    return VisionTransformer(img_size=32, patch_size=8, embed_dim=width, depth=2, num_heads=2, num_classes=3).eval()


def bert():
    """BERT of size nano, for longer texts than models of own pairs read."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256, max_position_embeddings=128
    )
    torch.manual_seed(1)
    model = BertModel(config, add_pooling_layer=False).eval()
    torch.nn.init.zeros_(model.embeddings.token_type_embeddings.weight)
    return model


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Own pairs, with weights to begin with."""
    folder = tmp_path_factory.mktemp("begun")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    torch.save(vit().state_dict(), folder / "vit.pth")
    bert().save_pretrained(folder / "bert")
    return replace(write_files(folder), vocab=folder / "vocab.txt", init_vision=folder / "vit.pth", init_text=folder / "bert")


def given(own, **changed):
    return words_of(own, **{name: getattr(own, name) for name in ("vocab", "init_vision", "init_text")} | changed)


def pretraining(own):
    """The name of the run that pre-trains on the web's own texts."""
    pairs, recipe = opened(own, "smoke")
    lab = Lab(Plan(Home("/nowhere")), recipe, 0, pairs)
    ablation("table1").arm("none").runs(lab)
    return next(id for id, step in lab.home.missing.items() if step.kind == "pretrain")


def test_new_models_begin_with_both(own):
    pairs, recipe = opened(own, "smoke")
    model = BLIP(recipe.model(len(pairs.vocabulary), pairs.side)).eval()
    pairs.begin(model)
    images, ids, keep = torch.randn(2, 3, 32, 32), torch.randint(5, len(WORDS), (2, 9)), torch.ones(2, 9, dtype=torch.bool)
    with torch.no_grad():
        torch.testing.assert_close(model.encode_image(images), vit().forward_features(images), atol=1e-5, rtol=1e-5)
        theirs = bert()(input_ids=ids, attention_mask=keep.long()).last_hidden_state
        torch.testing.assert_close(model.text(ids, keep, "encoder"), theirs, atol=1e-5, rtol=1e-5)


def test_momentum_encoders_wait_for_nothing_where_both_are_given(own):
    assert opened(own, "smoke")[1].objectives.teacher_start == 0
    assert opened(replace(own, init_text=None), "smoke")[1].objectives.teacher_start > 0


def test_other_weights_are_another_run_and_moved_weights_are_not(own, tmp_path):
    (tmp_path / "moved.pth").write_bytes(own.init_vision.read_bytes())
    torch.save(vit(seed=7).state_dict(), tmp_path / "other.pth")
    known = pretraining(own)
    assert pretraining(replace(own, init_vision=tmp_path / "moved.pth")) == known
    others = [replace(own, init_vision=tmp_path / "other.pth"), replace(own, init_vision=None), replace(own, init_vision=None, init_text=None)]
    assert len({known, *map(pretraining, others)}) == 4


def test_rounds_and_ablations_train_on_from_them(own, tmp_path, monkeypatch):
    """At the lowest learning rate, 1e-6, what is trained is nearly what it began with."""
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path))
    assert main(["bootstrap", "--recipe", "smoke", "--rounds", "1", "--set", "pretrain.peak=1e-12", "--out", str(tmp_path), *given(own)]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary["own_pairs"]["start"]) == {"vision", "text"}
    home, images = Home(tmp_path), torch.randn(2, 3, 32, 32)
    trained = [home.path(row["id"]) for row in home.rows() if row["kind"] == "pretrain"]
    assert len(trained) == 2  # the first model, and the one on what CapFilt kept
    for folder in trained:
        with torch.no_grad():
            states = load(folder / MODEL).model.eval().encode_image(images)
        assert (states - vit().forward_features(images)).abs().max() < 0.05 < states.std()


def test_what_could_not_begin_alike_is_left_out(own, tmp_path, monkeypatch, capsys):
    left_out = {name: set(possible(table, begun=True)[1]) - set(possible(table)[1]) for name, table in ABLATIONS.items() if name in ("table1", "table1-larger", "table3", "filters")}
    assert left_out["table1"] == left_out["table3"] == set()
    assert "none, larger image encoder" in left_out["table1-larger"] and len(left_out["table1-larger"]) >= 3
    assert left_out["filters"] == {"CLIP", "ITM + CLIP"}
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["ablate", "table1-larger", "--scale", "smoke", "--only", "none, larger image encoder", *given(own)]) == 2
    assert "another size than the weights of --init-vision and --init-text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda own, folder: {"vocab": None}, "The weights of --init-text are those of BERT's words; give its vocab.txt as --vocab too."),
        (lambda own, folder: {"init_vision": folder / "none.pth"}, "There is no weights file"),
        (lambda own, folder: {"init_vision": wide(folder)}, "choose the model size these weights were made for"),
        (lambda own, folder: {"data": None, "human": None, "val": None}, "with --vocab give --data and --human and --val too"),
    ],
)
def test_what_cannot_be_is_one_sentence(own, change, told, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert main(["ablate", "table1", "--scale", "smoke", *given(own, **change(own, tmp_path))]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and not (tmp_path / "home").exists()


def wide(folder):
    torch.save(vit(width=96).state_dict(), folder / "wide.pth")
    return folder / "wide.pth"
