"""`lab embed` and `lab classify`: features as the model gives them, and classes against a slow truth."""

import csv
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from caption_files import scenes, write_csv
from PIL import Image
from toy_models import toy_images, toy_model, toy_tokens

from blip.data.text import clean_caption
from blip.errors import InputError
from blip.matching import Matcher
from blip.tasks.classification import class_features, class_likelihoods, class_texts, class_tokens
from blip.tokenizer import Tokenizer
from lab.cli import main
from lab.weights import shipped

PRETRAINED = "blip/weights/pretrained.safetensors"


def run(command, folder, data, *words, weights=PRETRAINED):
    common = ("--device", "cpu", "--workers", "1", "--weights", weights, "--data", data, "--out", folder)
    return main([command, *map(str, common), *map(str, words)])


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def single():
    """Held-out scenes of one thing, so that a thing is a class."""
    return [item for item in scenes(60) if len(item.scene.things) == 1]


@pytest.fixture
def by_kind(tmp_path, single):
    """A folder a kind."""
    for item in single:
        folder = tmp_path / "photos" / item.scene.things[0].kind
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(item.image(32)).save(folder / f"{item.key}.png")
    return tmp_path / "photos"


def test_features_are_unit_vectors_whose_products_are_the_cosines_of_the_filter(tmp_path):
    items = scenes(7)
    assert run("embed", tmp_path / "e", write_csv(tmp_path, items), "--batch", 3) == 0
    images, texts = (pq.read_table(tmp_path / "e" / name) for name in ("images.parquet", "texts.parquet"))
    assert images.schema.names == ["key", "feature", "model"]
    assert images.schema.field("feature").type == pa.list_(pa.float32()) and images.num_rows == 7
    assert texts.column("caption").to_pylist() == [text for item in items for text in item.references]
    loaded = shipped("pretrained")
    assert set(images.column("model").to_pylist()) == {loaded.fingerprint}
    features, said = (np.stack(table.column("feature").to_pylist()) for table in (images, texts))
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-5)
    matcher = Matcher(loaded)
    wanted = matcher([matcher.prepare(Image.fromarray(items[2].image(32)))], [[items[2].references[0]]])
    row = texts.column("caption").to_pylist().index(items[2].references[0])
    assert features[2] @ said[row] == pytest.approx(wanted[0][0][2], abs=1e-5)
    assert texts.column("key").to_pylist()[row] == images.column("key").to_pylist()[2]


def test_images_alone_have_no_rejects_and_a_broken_one_is_counted(tmp_path, by_kind, single):
    assert run("embed", tmp_path / "e", by_kind) == 0
    assert not (tmp_path / "e" / "texts.parquet").exists()
    assert (summary(tmp_path / "e")["images"], summary(tmp_path / "e")["rejects"]) == (len(single), 0)
    next(by_kind.rglob("*.png")).write_bytes(b"")
    assert run("embed", tmp_path / "b", by_kind) == 0
    assert (summary(tmp_path / "b")["images"], summary(tmp_path / "b")["rejects"]) == (len(single) - 1, 1)
    assert pq.read_table(tmp_path / "b" / "images.parquet").num_rows == len(single) - 1


def test_what_is_left_out_is_not_written(tmp_path):
    data = write_csv(tmp_path, scenes(3))
    assert run("embed", tmp_path / "t", data, "--no-images") == 0
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["summary.json", "texts.parquet"]


def one_sentence(capsys):
    said = capsys.readouterr().err
    assert said.count("lab: ") == 1 and "Traceback" not in said
    return said


def test_impossible_embedding_is_one_sentence(tmp_path, capsys):
    data = write_csv(tmp_path, scenes(2))
    assert run("embed", tmp_path / "e", data, "--no-images", "--no-texts") == 2
    assert "leave nothing to write" in one_sentence(capsys)
    assert run("embed", tmp_path / "e", data, weights="blip/weights/captioner.safetensors") == 2
    assert "have no ITC features" in one_sentence(capsys)
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(next(tmp_path.glob("*.png")), photos)
    assert run("embed", tmp_path / "none", photos, "--no-images") == 2
    assert "photos holds no text, and --no-images leaves nothing else to write" in one_sentence(capsys)
    assert not (tmp_path / "none").exists()
    for path in tmp_path.glob("*.png"):
        path.write_bytes(b"no image")
    assert run("embed", tmp_path / "e", data) == 2
    assert "no image can be read" in one_sentence(capsys)


@torch.no_grad()
def test_likelihoods_are_the_summed_log_probabilities_of_single_captions():
    model, images, tokens = toy_model(2, spread=0.3), toy_images(3), toy_tokens([4, 9, 6, 7, 3, 8])
    states = model.encode_image(images)
    wanted = torch.zeros(3, 6)
    for image in range(3):
        memory = model.remember(states[image : image + 1], "decoder")
        for text in range(6):
            one = tokens.led_by("DEC").rows(torch.tensor([text]))
            logprobs = model.decode(one, memory)[0].log_softmax(dim=1)
            for at in range(1, int(tokens.keep[text].sum())):
                wanted[image, text] += logprobs[at - 1, tokens.ids[text, at]]
    found = class_likelihoods(model, states, tokens, 6, at_once=4)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)
    # Six texts may also be two prompts of three classes.
    torch.testing.assert_close(class_likelihoods(model, states, tokens, 3), wanted.view(3, 2, 3).mean(1), rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_a_class_is_the_mean_of_its_prompts():
    model, tokens = toy_model(2, spread=0.3), toy_tokens([4, 9, 6, 7])
    each = [model.text_features(model.encode_text(tokens.rows(torch.tensor([row]))))[0] for row in range(4)]
    found = class_features(model, tokens, 2)
    for label in range(2):
        mean = (each[label] + each[label + 2]) / 2
        torch.testing.assert_close(found[label], mean / mean.norm(), rtol=0, atol=1e-5)


def test_prompts_take_the_label_and_too_long_ones_are_named():
    assert class_texts(["a", "b"], ["x {}", "{} y"]) == ["x a", "x b", "a y", "b y"]
    with pytest.raises(InputError, match="'a picture' has no {}"):
        class_texts(["cat"], ["a picture"])
    tokenizer = Tokenizer.train(["a red ball and a blue cup"], 60)
    with pytest.raises(InputError, match="'a red ball' has more than 4 tokens"):
        class_tokens(tokenizer, ["cup", "a red ball"], 4)


def test_folders_are_labels_and_are_found_far_more_often_than_by_guessing(tmp_path, by_kind, single, capsys):
    assert run("classify", tmp_path / "c", by_kind, "--prompts", "a {}", "there is a {}") == 0
    found = summary(tmp_path / "c")
    assert found["chance"] == 1 / found["labels"] and found["known"] == found["images"] == len(single)
    assert found["accuracy"]["itc"] > 0.8 and found["accuracy"]["caption"] > 2.5 * found["chance"]
    with (tmp_path / "c" / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = sum(row["itc"] == row["label"] == row["key"].split("/")[0] for row in rows)
    assert right / len(rows) == found["accuracy"]["itc"]
    assert "right by guessing" in capsys.readouterr().out
    matcher = Matcher(shipped("pretrained"))
    text, picture = clean_caption(f"a {rows[0]['itc']}"), Image.open(by_kind / f"{rows[0]['key']}.png")
    assert run("classify", tmp_path / "o", by_kind, "--prompts", "a {}") == 0
    with (tmp_path / "o" / "classes.csv").open() as file:
        row = next(csv.DictReader(file))
    assert float(row["itc_score"]) == pytest.approx(matcher([matcher.prepare(picture)], [[text]])[0][0][2], abs=1e-3)


def test_labels_of_a_column_and_of_a_file(tmp_path, single):
    data = write_csv(tmp_path, single[:6])
    rows = list(csv.DictReader(data.open()))
    names = list(dict.fromkeys(row["image"] for row in rows))
    kinds = [item.scene.things[0].kind for item in single[:6]]
    lines = ["image,text,species", *(f"{name},x,{kind}" for name, kind in zip(names, kinds, strict=True))]
    data.write_text("\n".join(lines) + "\n")
    assert run("classify", tmp_path / "c", data, "--label-column", "species") == 0
    assert summary(tmp_path / "c")["labels"] == len(set(kinds))
    words = tmp_path / "labels.txt"
    words.write_text("ball\n\ncup\nzebra\n")
    assert run("classify", tmp_path / "f", data, "--label-column", "species", "--labels", words) == 0
    found = summary(tmp_path / "f")
    assert found["labels"] == 3 and found["known"] == sum(kind in ("ball", "cup") for kind in kinds)
    # A captioner knows one way only, a filter the other; without known labels there is no accuracy.
    for weights, column in (("captioner", "caption"), ("filter", "itc")):
        done = run("classify", tmp_path / weights, data, "--labels", "cat", "dog", weights=f"blip/weights/{weights}.safetensors")
        assert done == 0
        head = (tmp_path / weights / "classes.csv").read_text().splitlines()[0]
        assert head == f"key,label,{column},{column}_score"
        assert "accuracy" not in summary(tmp_path / weights)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no label; give --labels two or more"),
        (("--labels", "gone.txt"), "only the label 'gone.txt' (and no such file)"),
        (("--labels", "cat", "cat"), "The label 'cat' is given twice"),
        (("--labels", "cat", "dog", "--prompts", "a picture"), "has no {} for the name"),
        (("--labels", "cat", "dog " * 40), "more than 35 tokens"),
        (("--label-column", "kind"), "has no column 'kind' for the label; its columns are"),
    ],
)
def test_impossible_classes_are_one_sentence(tmp_path, capsys, words, said):
    assert run("classify", tmp_path / "c", write_csv(tmp_path, scenes(2)), *words) == 2
    assert said in one_sentence(capsys)
