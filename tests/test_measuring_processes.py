"""Two processes measure what one does, bit for bit, in every task; a refusal in one of them is said once."""

import json
import shutil
import subprocess
from pathlib import Path

import measuring_jobs
import pytest
import torch
from data_files import encoded, picture
from distributed_jobs import free_port, start

from blip.checkpoint import Card, save
from blip.tasks.nlvr import nlvr_from
from blip.tasks.vqa import vqa_from
from lab.weights import shipped

SCRIPT = str(Path(measuring_jobs.__file__))
PRETRAINED, CAPTIONER = "blip/weights/pretrained.safetensors", "blip/weights/captioner.safetensors"
BROKEN = 5  # of seven images in batches of two it is in the part of the second process
DONE = ("retrieval", "captioning", "vqa", "nlvr", "visdial", "video-retrieval", "video-qa", "classes", "own pairs", "features")
SCORED = ("retrieval", "nlvr", "visdial", "video-retrieval", "own pairs")
REFUSED = ("no image", "broken image", "broken photo", "broken photos", "no words", "lost file", "folder of a training")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Tables of seven images, of which the last but one is broken, in the forms that the tasks read; weights of VQA and NLVR."""
    folder = tmp_path_factory.mktemp("files")
    for number in range(7):
        for place in (folder / "images", folder / "classes" / ("even", "odd")[number % 2]):
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.png").write_bytes(b"" if number == BROKEN else encoded(picture(number), "PNG"))
    said = [f"a {colour} ball" for colour in ("red", "blue", "green", "yellow", "red", "blue", "green")]
    rows = [{"image": f"{n}.png", "caption": [text, f"there is {text} on a table"]} for n, text in enumerate(said)]
    (folder / "list.json").write_text(json.dumps(rows))
    table(folder / "pairs.csv", "text", [(row["image"], text) for row in rows for text in row["caption"]])
    table(folder / "none.csv", "text", [(f"{BROKEN}.png", "a ball")])
    table(folder / "foreign.csv", "text", [(row["image"], "чашка на столе") for row in rows])
    for name, shown in (("photo", (0, 1, 2, 3, 4, BROKEN, 6)), ("photos", (BROKEN, 1, 2, 3, 4, BROKEN, 6))):
        table(folder / f"{name}.csv", "question", [(f"{one}.png", f"what is {n}?") for n, one in enumerate(shown)])
    loaded = shipped("pretrained")
    for name, made in (("vqa", vqa_from), ("nlvr", nlvr_from)):
        torch.manual_seed(0)
        save(folder / f"{name}.safetensors", made(loaded.model), loaded.tokenizer, Card(stage=name))
    (folder / "trained").mkdir()
    (folder / "trained" / "summary.json").write_text(json.dumps({"name": "finetune vqa"}))
    return folder


def table(path: Path, what: str, rows: list[tuple[str, str]]) -> None:
    """A CSV of images and what is said of them."""
    path.write_text("\n".join([f"image,{what}", *(f"images/{image},{text}" for image, text in rows)]) + "\n")


def finetune(files: Path, out: Path) -> list[str]:
    words = ["finetune", "retrieval", "--weights", PRETRAINED, "--data", f"{files}/pairs.csv", "--val", f"{files}/pairs.csv"]
    return [*words, "--steps", "2", "--peak", "3e-3", "--batch", "4", "--queue", "0", "--device", "cpu", "--out", str(out)]


def jobs(files: Path, out: Path) -> dict[str, list[str]]:
    """Command lines by name; of seven batches or more, but for NLVR, whose one batch leaves the second process idle."""
    world, pairs, nothing = ["--world", "nano"], ["--data", f"{files}/pairs.csv"], ["--weights", f"{files}/vqa.safetensors"]
    benchmark = ["--data", f"{files}/list.json", "--images", f"{files}/images", "--batch", "2"]
    tasks = {
        "retrieval": ["retrieval", "--weights", PRETRAINED, *world, "--k", "3", "--batch", "2"],
        "captioning": ["captioning", "--weights", CAPTIONER, *world, "--batch", "4", "--strategy", "nucleus"],
        "vqa": ["vqa", *nothing, *world, "--world-scenes", "5", "--batch", "3"],
        "nlvr": ["nlvr", "--weights", f"{files}/nlvr.safetensors", *world, "--world-statements", "3", "--batch", "16"],
        "visdial": ["visdial", "--weights", PRETRAINED, *world, "--world-dialogs", "5", "--batch", "2",
                    "--submission", f"{out}/visdial/ranks.json"],
        "video-retrieval": ["video-retrieval", "--weights", PRETRAINED, *world, "--world-clips", "5", "--frames", "4",
                            "--batch", "8"],
        "video-qa": ["video-qa", *nothing, *world, "--world-clips", "3", "--frames", "4", "--batch", "4"],
        "own pairs": ["retrieval", "--weights", PRETRAINED, *pairs, "--batch", "2"],
        "broken image": ["captioning", "--weights", CAPTIONER, *benchmark],
        "broken photo": ["vqa", *nothing, "--data", f"{files}/photo.csv", "--generate", "--batch", "2"],
        "broken photos": ["vqa", *nothing, "--data", f"{files}/photos.csv", "--generate", "--batch", "2"],
        "no words": ["retrieval", "--weights", PRETRAINED, "--data", f"{files}/foreign.csv"],
        "lost file": ["retrieval", "--weights", PRETRAINED, "--data", f"{files}/lost.csv"],
    }  # fmt: skip
    lines = {name: ["evaluate", *words, "--out", str(out / name)] for name, words in tasks.items()}
    lines["folder of a training"] = ["evaluate", *tasks["captioning"], "--out", f"{files}/trained"]
    classes = ["classify", "--weights", PRETRAINED, "--data", f"{files}/classes", "--batch", "2"]
    lines["classes"] = [*classes, "--out", str(out / "classes")]
    lines["features"] = ["embed", "--weights", PRETRAINED, *pairs, "--batch", "2", "--out", str(out / "features")]
    lines["no image"] = ["embed", "--weights", PRETRAINED, "--data", f"{files}/none.csv", "--out", f"{files}/none"]
    return {name: [*words, "--device", "cpu"] for name, words in lines.items()}


@pytest.fixture(scope="module")
def one(files):
    """What one process says of each command, and what it leaves in files/one; files/kept is a training of it."""
    lines = jobs(files, files / "one") | {"tuned": finetune(files, files / "kept")}
    return measuring_jobs.run(list(lines.items()), [0] * len(lines))


@pytest.fixture(scope="module")
def two(files, one):
    """What the main process and the other one say of each command; what they leave lies in files/two."""
    shutil.copytree(files / "kept", files / "again")
    before = json.loads((files / "again" / "before.json").read_text())
    before["before"]["texts"] = 99
    (files / "again" / "before.json").write_text(json.dumps(before))
    lines = {"tuned": finetune(files, files / "two" / "tuned"), "again": finetune(files, files / "again")}
    lines |= jobs(files, files / "two")
    (files / "jobs.json").write_text(json.dumps([list(lines.items()), [free_port() for _ in lines]]))
    processes = start([SCRIPT, str(files)], 2, stderr=subprocess.PIPE, text=True)
    ended = [(process.communicate(timeout=300)[1], process.returncode) for process in processes]
    assert [status for _, status in ended] == [0, 0], ended[0][0] + ended[1][0]
    return [json.loads((files / f"said-{number}.json").read_text()) for number in range(2)]


def left(folder: Path) -> dict[str, bytes | str]:
    """Every file of a folder; of a summary the result, as text, so that every digit counts."""
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    return found | {"summary.json": json.dumps(json.loads(found["summary.json"])["result"])}


@pytest.mark.parametrize("name", DONE)
def test_two_processes_measure_what_one_does(name, files, one, two):
    main, other = (said[name] for said in two)
    assert main["status"] == 0 and main | {"out": main["out"].replace("/two/", "/one/")} == one[name], main["err"]
    assert other == {"status": 0, "out": "", "err": "", "scores": main["scores"]}
    assert len(main["scores"]) == (name in SCORED)
    assert left(files / "two" / name) == left(files / "one" / name)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_in_one_process_or_in_all_is_said_once_as_by_one(name, one, two):
    main, other = (said[name] for said in two)
    assert main == one[name] and main["status"] == 2 and main["err"].count("\n") == 1
    assert other == {"status": 2, "out": "", "err": "", "scores": []}


def test_fine_tuning_is_measured_by_all_before_and_after(files, two):
    alone, together, again = (
        json.loads((files / name / "summary.json").read_text()) for name in ("kept", "two/tuned", "again")
    )
    assert [said["status"] for name in ("tuned", "again") for said in (two[0][name], two[1][name])] == [0] * 4
    assert together["before"] == alone["before"] and together["after"] != together["before"]
    assert again["after"] == alone["after"], "of the same weights"
    assert again["before"] == alone["before"] | {"texts": 99}, "kept, and measured by none of the two"
