"""Plans: arithmetic by hand, rates that are the records' own, assumed rows that give way to measured ones, `lab plan`."""

import json
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

from blip.errors import InputError
from lab import page_parts, planning, planning_pages, planning_records
from lab.cli import COMMANDS, main
from lab.commands.plan import mean_bytes
from lab.options import read_options
from lab.planning import Plan, Rate, assumed, capfilt_cost, pretrain_cost
from lab.planning_records import Prices, capfilt_rate, pretrain_rate
from lab.planning_tables import disk_row, figure, rates, time_rows
from lab.reading import Reading
from lab.records import RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "planning.md"
PRICES = Prices(gpu=2.0, cpu=0.5)
RATE = Rate(device="x", seconds=0.5, measured=True, price=2.0)


def capfilt_record(name, machine="H100 of a test"):
    content = json.loads((RESULTS / "bench" / "capfilt-cpu.json").read_text())
    content["machine"] |= {"accelerator": machine}
    content["result"]["precision"] = "bf16"
    return {name: content}


def pretrain_record(device, seconds):
    cases = {case: {"ours": {"seconds": {"median": seconds}}} for case in ("float32", "bf16")}
    machine = {"accelerator": "H100 of a test", "cores": 2, "processor": "a test"}
    return {f"pretrain-{device}": {"machine": machine, "result": {"shapes": {"pairs": 8}, "cases": cases}}}


def growth_record():
    fit = {"of": "batch", "powers": [0, 1], "terms": [0.5, 0.25], "residual": 0.01}
    points = [
        {"workers": 1, "images": 1000, "images_per_second": 100.0, "seconds": {"median": 10.0}, "writer_processor_seconds": None},
        {
            "workers": 2,
            "images": 1000,
            "images_per_second": 166.7,
            "seconds": {"median": 6.0},
            "writer_processor_seconds": {"median": 0.4},
        },
    ]
    result = {
        "how": "How.",
        "size": "small",
        "device": "cpu",
        "precision": "float32",
        "steps": {"batch": {"fits": {"seconds": fit}}},
        "capfilt": {"workers": {"points": points, "fits": {}}},
    }
    machine = {"accelerator": None, "cores": 2, "processor": "a test"}
    return {"growth-cpu": {"command": "lab", "commit": "c", "date": "d", "machine": machine, "result": result}}


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Writes records into a folder of results that has none but the ledger's."""
    monkeypatch.setattr(page_parts, "RESULTS", tmp_path)
    monkeypatch.setattr(planning_records, "RESULTS", tmp_path)
    (tmp_path / "bench").mkdir()

    def write(contents):
        for name, content in contents.items():
            (tmp_path / "bench" / f"{name}.json").write_text(json.dumps(content))

    write({"ledger-cpu": json.loads((RESULTS / "bench" / "ledger-cpu.json").read_text())})
    return write


def test_samples_are_the_papers():
    assert Plan(images=14_000_000).samples == 20 * 14_000_000
    assert Plan(images=129_000_000).samples == 20 * (14_000_000 + 23_000_000)
    assert Plan(images=1000, epochs=3).samples == 3000
    assert Plan(images=1000, candidates=4).captions == 5000


def test_a_plan_by_hand():
    plan = Plan(images=1000, devices=4, epochs=1)
    cost = capfilt_cost(plan, RATE, serial=0.01)
    seconds = 1000 * (0.5 / 4 + 0.01) + 512 * 0.5  # devices, writer, the straggler's shard
    assert (cost.hours, cost.device_hours) == pytest.approx((seconds / 3600, 4 * seconds / 3600))
    assert cost.money == pytest.approx(2.0 * 4 * seconds / 3600)
    assert pretrain_cost(plan, RATE).hours == pytest.approx(1000 * 0.5 / (4 * 0.9) / 3600)


def test_one_device_waits_for_nobody():
    plan = Plan(images=1000, devices=1, epochs=1)
    for cost in (capfilt_cost(plan, RATE, serial=0.01), pretrain_cost(plan, RATE)):
        assert cost.hours == cost.device_hours == pytest.approx(500 / 3600)


def test_the_part_that_a_second_worker_does_not_halve():
    assert planning.amdahl_seconds(10.0, 6.0) == 2.0  # 2 + 8 / n
    assert planning.amdahl_seconds(10.0, 4.0) == 0.0


def test_an_assumed_rate_is_operations_over_peak_and_share():
    assert assumed("x", 312e9, 312, 0.5, None).seconds == pytest.approx(0.002)
    assert not assumed("x", 1.0, 312, 0.5, None).measured


def test_operations_are_those_of_the_base_model():
    one, two = planning.capfilt_operations(1), planning.capfilt_operations(2)
    assert one["image encoder"] == two["image encoder"]
    assert one["decoding"] < two["decoding"] < 2 * one["decoding"]
    # ViT-B/16 at 384 is 55.5 thousand million multiply-adds in the literature, run by captioner and filter.
    assert one["image encoder"] == pytest.approx(2 * 2 * 55.5e9, rel=0.01)
    assert planning.published_operations() > planning.pretrain_operations() > 4 * 2 * 17.5e9


def test_the_measured_rate_is_the_records_own():
    record = json.loads((RESULTS / "bench" / "capfilt-cpu.json").read_text())
    four, one = (capfilt_rate("cpu", candidates, PRICES) for candidates in (record["config"]["candidates"], 1))
    assert four.seconds == pytest.approx(record["result"]["ours"]["seconds_an_image"], rel=0.02)
    assert one.measured and one.price == 0.5
    assert record["result"]["ours"]["parts"]["image encoder"] / 8 < one.seconds < four.seconds


def test_without_records_only_assumed_rows_stand_there(records):
    found = rates(Plan(images=10), PRICES, 0.3, None)
    assert {rate.measured for known in found.values() for rate in known} == {False}
    assert planning_pages.missing().count("not measured yet") == 4
    assert "not measured yet (`lab bench growth`" in planning_pages.growth()
    assert "the tables take 0" in planning_pages.plan_workers()


def test_a_measured_gpu_takes_the_place_of_the_assumed_ones(records):
    records(capfilt_record("capfilt-cuda") | pretrain_record("cuda", 4.0) | pretrain_record("cpu", 40.0))
    found = rates(Plan(images=10), PRICES, 0.3, None)
    assert {rate.measured for known in found.values() for rate in known} == {True}
    assert [rate.seconds for rate in found["pre-training"]] == [5.0, 0.5]
    assert found["pre-training"][1] == pretrain_rate("cuda", PRICES)
    assert found["CapFilt"][0].device == "H100 of a test, bf16" and found["CapFilt"][0].price == 2.0
    assert planning_pages.missing() == "CapFilt on a CPU: not measured yet (`lab bench capfilt`)."
    assert "**assumed**" not in "".join(cell for row in time_rows(Plan(images=10), PRICES) for cell in row)
    assert rates(Plan(images=10), PRICES, 0.3, 100.0)["CapFilt"][-1].device == "your device, 100 x 0.3"


def test_a_record_of_growth_fills_its_blocks(records):
    records(growth_record() | capfilt_record("capfilt-cuda"))
    assert "| step: seconds | batch | 0.5 + 0.25 x batch, at most 1.0% off |" in planning_pages.growth()
    said = planning_pages.plan_workers()
    assert "2 at once 167" in said and "worked 0.40 ms an image" in said and "2.00 ms an image did not shorten" in said
    slow = capfilt_cost(Plan(images=10**6), capfilt_rate("cuda", 1, PRICES), 0.0004).hours
    assert time_rows(Plan(images=10**6), PRICES)[0][5] == figure(slow)


def test_disk_is_pictures_ledger_and_checkpoints():
    plan = Plan(images=100_000_000, image_bytes=1000)
    each, decide = planning_records.ledger_figures()
    found = planning.disk_bytes(plan, each)
    assert found["pictures"] == 10**11 and found["ledger"] == round(2 * 10**8 * each)
    parameters = 252_441_918  # of base; weights, two moments, and a teacher that is smaller
    assert 3 * 3 * 4 * parameters < found["checkpoints"] < 3 * 4.1 * 4 * parameters
    assert disk_row(plan)[0] == "100.0" and float(disk_row(plan)[-1]) == pytest.approx(2 * 10**8 * decide, abs=0.05)


def test_lab_plan_prints_the_pages_tables(capsys):
    words = ["--images=129000000", "--devices=32", f"--price-per-hour={planning.GPU_PRICE}"]
    assert main(["plan", *words, f"--cpu-price-per-hour={planning.CPU_PRICE}"]) == 0
    said, page = capsys.readouterr().out, PAGE.read_text(encoding="utf-8")
    for line in said.splitlines():
        if line.startswith(("| CapFilt", "| pre-training")):
            assert f"| 129M {line}" in page
    assert said.count("| pre-training") >= 1 and "740,000,000 samples" in said


def test_bytes_an_image_are_measured_on_data(tmp_path, capsys):
    for number in range(3):
        Image.new("RGB", (8 + 8 * number, 8)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("a text")
    mean = sum(path.stat().st_size for path in tmp_path.glob("*.png")) / 3
    assert mean_bytes(str(tmp_path), Reading()) == mean
    (tmp_path / "table.csv").write_text("photo,alt\n" + "".join(f"{number}.png,a text\n" for number in range(3)))
    named = ["--image-column=photo", "--caption-column=alt"]
    for words in ([f"--data={tmp_path}"], [f"--data={tmp_path / 'table.csv'}", *named]):
        assert main(["plan", "--images=1000", *words]) == 0
        assert f"{mean:,.0f} bytes an image, measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("--images=0", "--images 0 cannot be; give 1 to 1,000,000,000,000."),
        ("--devices=-3", "--devices -3 cannot be"),
        ("--epochs=0", "--epochs 0 cannot be"),
        ("--image-bytes=nan", "--image-bytes nan cannot be"),
        ("--price-per-hour=-1", "--price-per-hour -1 cannot be; give 0 or more."),
        ("--cpu-price-per-hour=inf", "--cpu-price-per-hour inf cannot be"),
        ("--device-tflops=0", "--device-tflops 0 cannot be; give the peak"),
        ("--share=1.5", "--share 1.5 cannot be; give a share of the peak above 0 and at most 1."),
        ("--data=nowhere/*.tar", "nowhere"),
    ],
)
def test_what_cannot_be_is_one_sentence(wrong, sentence, capsys):
    assert main(["plan", *(["--images=10"] if "--images" not in wrong else []), wrong]) == 2
    said = capsys.readouterr().err.strip()
    assert sentence in said and "\n" not in said


def test_a_share_is_checked_where_a_peak_is_assumed():
    with pytest.raises(InputError, match="--share nan cannot be"):
        assumed("x", 1.0, 312, float("nan"), None)


def test_commands_on_the_page_parse():
    block = re.search(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)
    for line in block.strip().splitlines():
        lab, name, *words = shlex.split(line)
        assert lab == "lab"
        assert read_options(name, import_module(COMMANDS[name][0]).Options, words).images == 129_000_000
