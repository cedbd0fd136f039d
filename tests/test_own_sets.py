"""Your own sets before they are used: words that no vocabulary knows, pictures in two sets, broken and single ones."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from caption_files import scenes, write_csv
from data_files import encoded, picture

from blip.data.pairs import ImageRef, Pair
from blip.tokenizer import Tokenizer
from lab.cli import main
from lab.own_pictures import known, unreadable
from lab.unknown_words import check_words

WEIGHTS = "blip/weights"
PRETRAINED = ("--weights", f"{WEIGHTS}/pretrained.safetensors", "--device", "cpu")
SMALL = ("--steps", 1, "--batch", 4, "--workers", 1)
STRANGE = ("一只红色的球", "قطة تجلس على الطاولة", "🐶🐶 🎾")
UNKNOWN = "of the captions' tokens are unknown to the vocabulary, the first caption with one: "


def run(*words):
    return main([str(word) for word in words])


def strange(folder, share=1.0):
    """A table of six scenes of whose captions a share is in scripts that the vocabulary lacks."""
    data = write_csv(folder, scenes(6))
    head, *rows = data.read_text().splitlines()
    other = round(share * len(rows))
    changed = [f"{row.partition(',')[0]},{STRANGE[n % 3]}" for n, row in enumerate(rows[:other])]
    data.write_text("\n".join([head, *changed, *rows[other:]]) + "\n")
    return data


def test_a_share_of_unknown_tokens_is_told_from_a_twentieth_on(capsys):
    tokenizer = Tokenizer.train(["a red ball"] * 9, 40)
    check_words(tokenizer, ["a red ball"] * 40 + ["a 球"], "here", remedy="mend it")
    assert capsys.readouterr().err == ""
    check_words(tokenizer, ["a red ball", "a 球", "🐶"], "here", remedy="mend it")
    assert capsys.readouterr().err == f"here: 33% {UNKNOWN}a 球\n"
    check_words(tokenizer, ["球"], "here")
    assert capsys.readouterr().err == f"here: 100% {UNKNOWN}球\n"
    check_words(tokenizer, [], "here", remedy="mend it")
    check_words(tokenizer, ["a red ball"] * 1000 + ["球"] * 9000, "here", remedy="mend it")  # behind the sample
    assert capsys.readouterr().err == ""


def test_pretraining_refuses_a_vocabulary_of_another_language(tmp_path, capsys):
    (tmp_path / "vocab.txt").write_text("\n".join(Tokenizer.train(["a red ball"] * 9, 40).vocab))
    words = ("pretrain", "--held-out", 2, "--size", "nano", "--image-size", 32, "--device", "cpu", *SMALL)
    data = strange(tmp_path / "all")
    assert run(*words, "--data", data, "--vocab", tmp_path / "vocab.txt", "--out", tmp_path / "none") == 2
    assert f"{data}: 100% {UNKNOWN}{STRANGE[0]}; leave --vocab out" in capsys.readouterr().err


def test_scoring_a_ledger_tells_words_that_a_filter_lacks(tmp_path, capsys):
    data, ledger = strange(tmp_path / "all"), tmp_path / "ledger"
    models = ("--captioner", f"{WEIGHTS}/captioner.safetensors", "--filter", "text", "--device", "cpu", "--workers", 1)
    assert run("capfilt", "--data", data, *models, "--out", ledger) == 0
    assert UNKNOWN not in capsys.readouterr().err
    assert run("ledger", "score", ledger, "--filter", f"{WEIGHTS}/filter.safetensors", "--device", "cpu") == 0
    assert f"{ledger}, filter itm: " in (said := capsys.readouterr().err) and UNKNOWN in said


@pytest.mark.parametrize("command", ["finetune captioning", "finetune retrieval", "evaluate captioning", "evaluate retrieval"])
def test_captions_in_unknown_words_are_refused_and_many_are_told(command, tmp_path, capsys):
    words = (*command.split(), *PRETRAINED, *(SMALL if command.startswith("finetune") else ()))
    data = strange(tmp_path / "all")
    assert run(*words, "--data", data, "--out", tmp_path / "none") == 2
    said = capsys.readouterr().err
    assert f"lab: {data}: 100% {UNKNOWN}{STRANGE[0]}; give --weights whose vocabulary knows the language" in said
    assert ("leave --weights and --vocab out" in said) == command.startswith("finetune")
    assert not (tmp_path / "none").exists()
    data = strange(tmp_path / "some", 0.5)
    assert run(*words, "--data", data, "--out", tmp_path / "done") == 0
    assert f"% {UNKNOWN}{STRANGE[0]}\n" in capsys.readouterr().err


def test_a_new_model_learns_the_words_that_the_weights_lack(tmp_path, capsys):
    words = ("finetune", "captioning", "--size", "nano", "--device", "cpu", *SMALL)
    assert run(*words, "--data", strange(tmp_path), "--out", tmp_path / "new") == 0
    assert "unknown" not in capsys.readouterr().err


def test_capfilt_tells_and_goes_on(tmp_path, capsys):
    data = strange(tmp_path)
    words = ("--captioner", f"{WEIGHTS}/captioner.safetensors", "--filter", f"{WEIGHTS}/filter.safetensors", "--filter", "text")
    assert run("capfilt", "--data", data, "--out", tmp_path / "out", *words, "--max-length", 12) == 0
    assert f"{data}, filter itm: 100% {UNKNOWN}{STRANGE[0]}\n" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["captioning", "retrieval"])
def test_validation_on_the_training_data_is_told_and_recorded(task, tmp_path, capsys):
    data = write_csv(tmp_path / "data", scenes(8))
    own = write_csv(tmp_path / "val", scenes(4))  # the first four once more, elsewhere
    for place, count in ((data, 8), (own, 4)):
        out = tmp_path / f"of-{count}"
        assert run("finetune", task, "--data", data, "--val", place, *PRETRAINED, *SMALL, "--out", out) == 0
        said = capsys.readouterr().err
        assert f"{count} of the {count} images of {place} are images of {data} too, the first is COCO_val2014_000000001000: " in said
        assert json.loads((out / "summary.json").read_text())["val_in_data"] == count
    head, *rows = data.read_text().splitlines()
    (data.parent / "a.csv").write_text("\n".join([head, *rows[:12]]))
    (data.parent / "b.csv").write_text("\n".join([head, *rows[12:]]))
    words = ("finetune", task, "--data", data.parent / "a.csv", "--val", data.parent / "b.csv", *PRETRAINED, *SMALL)
    assert run(*words, "--out", tmp_path / "apart") == 0
    assert "are images of" not in capsys.readouterr().err
    assert json.loads((tmp_path / "apart" / "summary.json").read_text())["val_in_data"] == 0


def test_a_picture_is_known_by_its_place_and_by_its_bytes(tmp_path, monkeypatch):
    one, two = encoded(picture(1)), encoded(picture(2))
    for name, data in (("a", one), ("b", one), ("c", two)):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "link").symlink_to(tmp_path / "c")
    (tmp_path / "tar").write_bytes(b"head" + two + b"tail")
    pq.write_table(pa.table({"image": [one, two]}), tmp_path / "t.parquet")
    at = lambda name, *more: ImageRef(str(tmp_path / name), *more)
    row = lambda n: ImageRef(str(tmp_path / "t.parquet"), n, None, "image")
    assert known([at("a"), row(0)], [at("c"), at("b"), row(1), row(0), at("gone"), one]) == [1, 3, 5]
    assert known([at("tar", 4, len(two))], [at("a"), at("link"), at("tar", 4, len(two))]) == [1, 2]
    monkeypatch.setattr("lab.own_pictures._COMPARED", 0)  # as before a set of millions: by place alone
    assert known([at("a"), at("c")], [at("b"), at("link"), at("./a")]) == [1, 2]
    (tmp_path / "c").write_bytes(one[:50])
    assert unreadable([Pair("a", "", at("a")), Pair("c", "", at("c")), Pair("d", "", at("d"))]).keys() == {1, 2}


@pytest.mark.parametrize("task", ["captioning", "retrieval"])
def test_broken_pictures_of_your_own_pairs_are_left_out_as_missing_ones_are(task, tmp_path, capsys):
    data = write_csv(tmp_path, scenes(6))
    broken, gone = sorted(tmp_path.glob("*.png"))[3:5]
    broken.write_bytes(b"<html>not found</html>")
    gone.unlink()
    assert run("evaluate", task, *PRETRAINED, "--data", data, "--out", tmp_path / "out") == 0
    assert "not among them: 6 rejects, the first: " in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (found["images"], found["rejects"]) == (4, 6)
    for path in sorted(tmp_path.glob("*.png")):
        path.write_bytes(b"<html>not found</html>")
    assert run("evaluate", task, *PRETRAINED, "--data", data, "--out", tmp_path / "none") == 2
    assert "has no image that can be used: 18 rejects, the first: " in capsys.readouterr().err


def test_one_image_is_no_gallery(tmp_path, capsys):
    one, many = write_csv(tmp_path / "one", scenes(1)), write_csv(tmp_path / "many", scenes(5))
    said = f"lab: {one} has one image, and retrieval needs two or more; give more images.\n"
    assert run("evaluate", "retrieval", *PRETRAINED, "--data", one, "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err.endswith(said)
    assert run("finetune", "retrieval", *PRETRAINED, *SMALL, "--data", many, "--val", one, "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err.endswith(said)
