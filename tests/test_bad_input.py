"""Bad input to the commands people run: one sentence each; in data jobs a reject, and the rest goes on."""

import json

import pytest
from data_files import encoded, picture, write_tar

from blip.capfilt import Ledger, verify
from lab.cli import main

WEIGHTS = "blip/weights"
GOOD = [encoded(picture(seed, (40, 40))) for seed in range(8)]


def capfilt(data, out, *words):
    """Run `lab capfilt` with the nano weights; the exit status."""
    weights = ["--captioner", f"{WEIGHTS}/captioner.safetensors", "--filter", f"{WEIGHTS}/filter.safetensors"]
    return main(["capfilt", "--data", str(data), "--out", str(out), *weights, *words])


def pretrain(data, out, *words):
    """Run a very small `lab pretrain`; the exit status."""
    small = ["--size", "nano", "--steps", "2", "--batch", "2", "--queue", "0", "--held-out", "2", "--vocab-size", "60"]
    return main(["pretrain", "--data", str(data), "--out", str(out), *small, *words])


def one_sentence(capsys):
    """What was said on stderr: one line, no stack trace."""
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("lab: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    return lines[0]


def pairs_json(folder):
    """A JSON list whose rows are good, broken, empty and missing."""
    files = {f"good{i}.jpg": data for i, data in enumerate(GOOD)}
    files |= {"cut.jpg": GOOD[0][:200], "page.jpg": b"<html>not found</html>", "zero.jpg": b""}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    rows = [{"image": f"good{i}.jpg", "caption": f"a red ball number {i}"} for i in range(len(GOOD))]
    rows += [{"image": name, "caption": "a blue cup"} for name in ("cut.jpg", "page.jpg", "zero.jpg", "missing.jpg")]
    rows += [{"image": "good0.jpg", "caption": ""}, {"image": "good1.jpg", "caption": 7}]
    path = folder / "pairs.json"
    path.write_text(json.dumps(rows))
    return path


WANTED = {
    "cut.jpg": "cannot be decoded",
    "page.jpg": "a web page",
    "zero.jpg": "zero bytes",
    "missing.jpg": "is missing",
    "good0.jpg": "the caption is empty",
    "good1.jpg": "of type int, not text",
}


def test_capfilt_counts_what_it_cannot_use_and_goes_on(tmp_path, capsys):
    assert capfilt(pairs_json(tmp_path), tmp_path / "out") == 0
    ledger = Ledger.open(tmp_path / "out")
    rejects = {row["image_key"]: row["reason"] for row in ledger.table("rejects").to_pylist()}
    assert set(rejects) == {name.removesuffix(".jpg") for name in WANTED}
    for name, reason in WANTED.items():
        assert reason in rejects[name.removesuffix(".jpg")]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["pairs"], summary["rejects"]) == (14, 6)
    assert ledger.table("candidates").num_rows == 2 * len(GOOD)
    assert all(finding.holds for finding in verify(ledger))
    assert "14 pairs in, 6 rejects" in capsys.readouterr().out


def test_a_tar_cut_in_the_middle_gives_its_complete_members(tmp_path):
    members = {f"{i}.{part}": data for i, image in enumerate(GOOD) for part, data in (("jpg", image), ("txt", b"a ball"))}
    path = write_tar(tmp_path / "pairs.tar", members)
    path.write_bytes(path.read_bytes()[:9000])
    assert capfilt(path, tmp_path / "out") == 0
    ledger = Ledger.open(tmp_path / "out")
    (reject,) = ledger.table("rejects").to_pylist()
    assert reject["kind"] == "file"
    assert "is cut inside the member" in reject["reason"]
    assert 0 < ledger.counts()["images"] < len(GOOD)
    assert all(finding.holds for finding in verify(ledger))


def test_pretraining_goes_on_without_what_it_cannot_use(tmp_path):
    assert pretrain(pairs_json(tmp_path), tmp_path / "out") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["rejects"] >= 3  # found while reading; broken images are found when they are opened
    assert summary["last"]["step"] == 2


def table(folder, head, *rows):
    (folder / "good0.jpg").write_bytes(GOOD[0])
    path = folder / "pairs.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def test_an_unknown_column_names_those_there_are(tmp_path, capsys):
    assert capfilt(table(tmp_path, "picture,words", "good0.jpg,a ball"), tmp_path / "out") == 2
    said = one_sentence(capsys)
    assert "has the columns picture, words and none for the caption" in said


def test_data_without_anything_usable_says_the_first_reason(tmp_path, capsys):
    assert capfilt(table(tmp_path, "image,caption", "gone.jpg,a ball"), tmp_path / "out") == 2
    assert "the first of 1 rejects" in one_sentence(capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--queue", "-1"], "A queue of -1 keys cannot be"),
        (["--batch", "500"], "a batch of 500 is more than the"),
        (["--batch", "0"], "the batch size is 0"),
        (["--steps", "0"], "Training for 0 steps cannot be"),
        (["--size", "huge"], "There is no 'huge'"),
        (["--shared", "some"], "There is no 'some'"),
        (["--image-size", "30"], "image_size must be a multiple of patch_size"),
        (["--momentum", "2"], "A momentum of 2.0 cannot be"),
        (["--schedule", "steep"], "There is no schedule 'steep'"),
        (["--precision", "int8"], "There is no precision 'int8'"),
        (["--vocab", "no.txt"], "The vocabulary no.txt cannot be read"),
        (["--held-out", "100"], "too few to hold 100 out"),
        (["--accumulate", "0"], "0 micro-batches a step cannot be"),
        (["--init-vision", "no.pth"], "There is no weights file no.pth"),
        (["--init-text", "bert.pth"], "The weights of --init-text are those of BERT's words; give its vocab.txt as --vocab too."),
        (["--qeue", "3"], "has no option '--qeue', did you mean '--queue'"),
        (["--steps", "many"], "needs a whole number for --steps"),
    ],
)
def test_impossible_training_is_one_sentence(tmp_path, capsys, words, said):
    assert pretrain(pairs_json(tmp_path), tmp_path / "out", *words) == 2
    assert said in one_sentence(capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--precision", "int8"], "There is no precision 'int8'"),
        (["--tile", "0"], "--tile 0 cannot be"),
        (["--captioner", f"{WEIGHTS}/filter.safetensors"], "have no decoder and cannot caption"),
        (["--filter", f"{WEIGHTS}/captioner.safetensors"], "have no ITM and ITC heads"),
        (["--captioner", "none.safetensors"], "none.safetensors"),
        (["--strategy", "magic"], "strategy 'magic' cannot be"),
        (["--max-length", "900"], "max_length 900 is more than"),
        (["--data", "nowhere/*.tar"], "no file matches"),
        (["--round", "40000"], "--round 40000 cannot be; give 0 to 32767."),
        (["--round", "-1"], "--round -1 cannot be; give 0 to 32767."),
        (["--seed", str(2**63)], f"--seed {2**63} cannot be; give {-(2**63)} to {2**63 - 1}."),
    ],
)
def test_impossible_capfilt_is_one_sentence(tmp_path, capsys, words, said):
    assert capfilt(pairs_json(tmp_path), tmp_path / "out", *words) == 2
    assert said in one_sentence(capsys)


def test_another_job_in_the_same_folder_is_refused(tmp_path, capsys):
    data = pairs_json(tmp_path)
    assert capfilt(data, tmp_path / "out") == 0
    assert capfilt(data, tmp_path / "out", "--seed", "5") == 2
    assert "is the ledger of another job (its seed differs)" in one_sentence(capsys)
