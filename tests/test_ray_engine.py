"""The Ray engine: the bytes of the local one, also where its actors are killed in mid-run."""

import sys
from functools import partial

import pytest
from conftest import shared_dir
from worker_jobs import IMAGES, SHARDS, Killer, announced, content, deadly, job, pairs, plain, refused

from blip.capfilt import Ledger, run, verify
from blip.capfilt.engine import run_on
from blip.capfilt.engines.ray_actors import Actors, actors, running
from blip.data.pairs import image_sha256
from blip.errors import InputError
from lab.cli import main
from lab.weights import WEIGHTS

ONE, TWO = Actors(workers=1), Actors(workers=2)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Ray once for all tests of this file."""
    with running(Actors(workers=4)):
        yield


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return run(job(), pairs(), tmp_path_factory.mktemp("local") / "ledger")


def through_ray(recipe, out, wanted=ONE, progress=lambda images: None):
    with actors(recipe, wanted) as workers:
        return run_on(workers, pairs(), out, progress)


def test_actors_killed_in_mid_run_lose_and_double_nothing(local, tmp_path):
    folder = tmp_path / "processes"
    folder.mkdir()
    killer = Killer(folder, kills=3)
    ledger = through_ray(partial(announced, folder), tmp_path / "ledger", TWO, killer)
    assert len(killer.killed) == 3 and killer.images == IMAGES
    assert len(list(folder.iterdir())) > 2  # the two actors, and those that took the place of killed ones
    assert content(ledger.folder) == content(local.folder)
    rows = ledger.table("candidates", ["row_id"])["row_id"].to_pylist()
    assert len(rows) == len(set(rows)) == local.table("candidates").num_rows
    assert [finding for finding in verify(ledger) if not finding.holds] == []


def test_a_shard_that_kills_its_actors_ends_the_run_with_a_sentence(local, tmp_path):
    image = pairs().images[21]
    with pytest.raises(InputError, match=r"^Workers died 3 times over shard 00002 \(images 16 to 23\); look at these"):
        through_ray(partial(deadly, image_sha256(image)), tmp_path / "ledger")
    assert not Ledger.open(tmp_path / "ledger").has("candidates", "00002")
    done = run(job(), pairs(), tmp_path / "ledger")
    assert content(done.folder) == content(local.folder)


def test_a_broken_run_goes_on_with_ray(local, tmp_path):
    out = tmp_path / "ledger"
    begun = run(job(filters={"itm": job().filters["itm"]}), pairs(), out)
    for name in ("candidates-00003", "scores.itm-00005", "rejects-00007"):
        (begun.folder / "manifest" / f"{name}.json").unlink()
    told = []
    assert content(through_ray(plain, out, progress=told.append).folder) == content(local.folder)
    assert sum(told) == IMAGES and len(told) == SHARDS


def test_what_a_recipe_refuses_arrives_as_its_sentence(tmp_path):
    with pytest.raises(InputError, match=r"^There are no weights for cpu\.$"):
        through_ray(refused, tmp_path / "ledger")
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"workers": 3, "gpus": 0.5}, r"3 workers with 0\.5 GPU each are more than the 0 that Ray has; give fewer"),
        ({"workers": 500}, r"500 workers with 1 CPU each are more than the \d+ that Ray has; give fewer"),
        ({"workers": 0}, "0 workers cannot be; give 1 or more"),
        ({"workers": 1, "gpus": 1.5}, "1.5 GPUs for a worker cannot be"),
        ({"workers": 1, "gpus": -1.0}, "-1 GPUs for a worker cannot be"),
    ],
)
def test_workers_that_cannot_be_are_refused(tmp_path, wanted, said):
    with pytest.raises(InputError, match=said):
        through_ray(plain, tmp_path / "ledger", Actors(**wanted))


def test_without_ray_there_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="The Ray engine needs ray; install it with: pip install 'blip-lab"):
        through_ray(plain, tmp_path / "ledger")


def capfilt(data, out, *words):
    weights = [f"--{name}={WEIGHTS / name}.safetensors" for name in ("captioner", "filter")]
    size = ["--images-per-shard=128", "--device=cpu", "--threads=1"]
    assert main(["capfilt", f"--data={data}", f"--out={out}", *weights, *size, *words]) == 0
    kept = ("rejects", "candidates", "scores", "manifest", "ledger.json")
    return {name: data for name, data in content(out).items() if name.startswith(kept)}


def test_cc3m_through_both_engines_gives_equal_bytes(tmp_path):
    data = shared_dir() / "data" / "cc3m-128" / "*.tar"
    local = capfilt(data, tmp_path / "local")
    ray = capfilt(data, tmp_path / "ray", "--engine=ray", "--ray-workers=2")
    assert local == ray
    ledger = Ledger.open(tmp_path / "ray")
    assert ledger.counts()["images"] == 881
    assert [finding for finding in verify(ledger) if not finding.holds] == []
