"""The local engine on several devices: the bytes of one process, also where processes are killed in mid-run."""

import pickle
from functools import partial

import pytest
from worker_jobs import (
    EACH,
    IMAGES,
    ITEMS,
    Killer,
    announced,
    as_device,
    content,
    deadly,
    faulty,
    job,
    pairs,
    plain,
    refused,
    stillborn,
)

from blip.capfilt import Ledger, run, verify
from blip.capfilt.engine import run_on
from blip.capfilt.engines.processes import processes
from blip.capfilt.work import Task, make
from blip.capfilt.workers import agreed
from blip.data.pairs import ImageRef, Pair, image_sha256
from blip.data.pairset import PairSet
from blip.errors import InputError
from lab.engines import Engine


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return run(job(), pairs(), tmp_path_factory.mktemp("local") / "ledger")


def through_processes(recipe, out, devices=("cpu", "cpu"), progress=lambda images: None):
    with processes(recipe, devices) as workers:
        return run_on(workers, pairs(), out, progress)


def test_processes_killed_in_mid_run_lose_and_double_nothing(local, tmp_path):
    folder = tmp_path / "processes"
    folder.mkdir()
    killer = Killer(folder, kills=2)
    ledger = through_processes(partial(announced, folder), tmp_path / "ledger", progress=killer)
    assert len(killer.killed) == 2 and killer.images == IMAGES
    assert len(list(folder.iterdir())) == 4
    assert content(ledger.folder) == content(local.folder)
    rows = ledger.table("candidates", ["row_id"])["row_id"].to_pylist()
    assert len(rows) == len(set(rows)) == local.table("candidates").num_rows
    assert [finding for finding in verify(ledger) if not finding.holds] == []


def test_a_shard_that_kills_its_processes_ends_the_run_with_a_sentence(local, tmp_path):
    image = pairs().images[21]
    recipe = partial(deadly, image_sha256(image))
    with pytest.raises(InputError, match=r"^Workers died 3 times over shard 00002 \(images 16 to 23\); look at these"):
        through_processes(recipe, tmp_path / "ledger", ["cpu"])
    assert Ledger.open(tmp_path / "ledger").has("candidates", "00001")
    assert content(run(job(), pairs(), tmp_path / "ledger").folder) == content(local.folder)


@pytest.mark.parametrize(
    ("recipe", "error", "said"),
    [
        (refused, InputError, r"^There are no weights for cpu\.$"),
        (faulty, ZeroDivisionError, "a fault of ours"),
        (stillborn, InputError, "The process for cpu died before its models were open; look at the memory"),
    ],
)
def test_what_a_recipe_raises_arrives(tmp_path, recipe, error, said):
    with pytest.raises(error, match=said):
        through_processes(recipe, tmp_path / "ledger", ["cpu"])
    assert not (tmp_path / "ledger").exists()


def test_workers_with_different_jobs_are_refused(tmp_path):
    with pytest.raises(InputError, match="The workers have different jobs .their notes differs"):
        agreed([as_device("a").about(), as_device("b").about()])
    about = plain("cpu").about()
    assert agreed([about, dict(about)]) == about


def test_a_shard_is_a_pure_function_of_its_task(local):
    """Sent there and back, without a ledger, in any order: the tables that the ledger holds."""
    for number in (5, 0):
        numbers = range(number * EACH, (number + 1) * EACH)
        images = pairs().with_captions(numbers)
        task = Task(shard=f"{number:05d}", first=numbers.start, images=images, filters=("second", "itm"))
        made = pickle.loads(pickle.dumps(make(job(), pickle.loads(pickle.dumps(task)))))
        assert made.images == EACH
        assert [name for name, _, _ in made.tables] == ["rejects", "candidates", "scores/second", "scores/itm"]
        for name, rows, counts in made.tables:
            assert rows.equals(local.read(name, task.shard))
            assert counts == local.entry(name, task.shard).counts


def test_images_with_their_captions_are_those_of_one_by_one():
    rows = [Pair(f"k{n % 4}", "" if n in (1, 5) else f"text {n}", ImageRef(f"{n % 4}.jpg")) for n in range(10)]
    some = PairSet.of(rows)
    for numbers in (range(4), range(1, 3), range(3, 4), range(2, 2)):
        wanted = [(some.images[n], list(some.captions(n))) for n in numbers]
        assert some.with_captions(numbers) == wanted
    assert some.with_captions(range(1, 2))[0][1][0].caption == "text 9"
    assert [len(texts) for _, texts in pairs().with_captions(range(IMAGES))] == [bool(item.caption) for item in ITEMS]


def test_a_task_is_small_where_images_lie_in_files():
    rows = [Pair(f"{n}", f"a caption of image {n}", ImageRef("s3://bucket/a.tar", n * 512, 512)) for n in range(512)]
    images = PairSet.of(rows).with_captions(range(512))
    sent = len(pickle.dumps(Task(shard="00000", first=0, images=images, filters=("itm",))))
    assert sent < 512 * 150


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"devices": "cpu,cuda:0"}, "--devices cpu,cuda:0 are of several types, whose bytes differ; give one type"),
        ({"devices": "cpu", "engine": "ray"}, "--devices goes with --engine local; give --ray-workers"),
        ({"threads": 0}, "--threads 0 cannot be; give 1 or more"),
    ],
)
def test_engine_options_that_do_not_go_together_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        Engine(**options).check("cpu")
