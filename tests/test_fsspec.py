"""Data and ledgers in object stores, by fsspec: the bytes of local disk, also where a PUT breaks."""

import io
import json
import uuid
from pathlib import Path

import fsspec
import pytest
from data_files import encoded, picture, write_tar
from fake_models import FakeCaptioner, FakeFilter
from fsspec.implementations.memory import MemoryFileSystem

from blip.capfilt import Job, Ledger, Policy, decide, decide_duckdb, kept, override, run, verify
from blip.capfilt.store import store_at
from blip.data import places
from blip.data.images import open_image
from blip.data.pairs import ImageRef, Pair, image_bytes
from blip.data.pairset import PairSet
from blip.data.readers import read_pairs
from blip.data.writers import write_parquet
from blip.errors import InputError
from lab.cli import main
from lab.weights import WEIGHTS
from lab.world.sets import World, as_pairs

ITEMS = World.of("nano").web(24)
BOTH = {"itm": FakeFilter(), "second": FakeFilter("other")}


class FlakyFileSystem(MemoryFileSystem):
    """A store whose PUTs can break: `left` more succeed, the next one fails, leaving a part if `cut`."""

    protocol = "flaky"
    store, pseudo_dirs = {}, [""]
    left, cut, puts = None, False, []

    def pipe_file(self, path, value, **words):
        cls = type(self)
        if cls.left == 0:
            if cls.cut:
                super().pipe_file(path, value[: len(value) // 2], **words)
            raise ConnectionResetError("the connection broke")
        cls.left = None if cls.left is None else cls.left - 1
        cls.puts.append(self._strip_protocol(path))
        super().pipe_file(path, value, **words)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("flaky://", "memory://"))


fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)


@pytest.fixture
def url():
    """A new place in memory."""
    return f"memory://{uuid.uuid4().hex}"


def job(**changes):
    return Job(**{"captioner": FakeCaptioner(), "filters": {"itm": FakeFilter()}, "images_per_shard": 8} | changes)


def pairs():
    return PairSet.of(as_pairs(ITEMS, 16))


def remote_content(url):
    store, inside = places.filesystem(url)
    return {path.removeprefix(inside + "/"): store.cat_file(path) for path in store.find(inside)}


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return run(job(), pairs(), tmp_path_factory.mktemp("local") / "ledger")


def test_a_ledger_in_a_store_has_the_bytes_of_a_local_one(local, url):
    ledger = run(job(), pairs(), f"{url}/run")
    assert ledger.folder == f"{url}/run" and remote_content(ledger.folder) == content(local.folder)
    assert [finding for finding in verify(ledger) if not finding.holds] == []
    again = run(job(captioner=(idle := FakeCaptioner())), pairs(), f"{url}/run/")
    assert idle.calls == 0 and remote_content(again.folder) == content(local.folder)


def test_a_ledger_in_a_store_is_decided_overridden_and_merged_as_a_local_one(local, url, tmp_path):
    here, there = (run(job(filters=BOTH), pairs(), place) for place in (tmp_path / "here", url))
    policies = [
        Policy(),
        Policy(web=0.7, synthetic=0.2, per_image=1),
        Policy(top_fraction=0.4),
        Policy(filter="second", per_caption=1),
    ]
    for policy in policies:
        assert decide(there, policy) == decide(here, policy)
        assert decide_duckdb(there, policy) == decide_duckdb(here, policy) == decide(here, policy)
    first = decide(here)["row_id"][0].as_py()
    for ledger in (here, there):
        override(ledger, {first: True}, reviewer="somebody")
    assert decide(Ledger.open(url)) == decide(Ledger.open(here.folder))
    drawn = {pair.key: pair for pair in as_pairs(ITEMS, 16)}
    assert list(kept(there, images=drawn)) == list(kept(here, images=drawn))


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("succeed", [0, 1, 3, 4, 8, 13])
def test_a_put_that_breaks_leaves_no_shard_and_the_run_goes_on(local, succeed, cut):
    place = f"flaky://{uuid.uuid4().hex}"
    FlakyFileSystem.left, FlakyFileSystem.cut, FlakyFileSystem.puts = succeed, cut, []
    try:
        with pytest.raises(InputError, match="cannot be used .the connection broke.; once it can, the same command"):
            run(job(), pairs(), place)
    finally:
        FlakyFileSystem.left = None
    if succeed:
        ledger = Ledger.open(place)
        entered = [entry for table in ("rejects", "candidates", "scores/*") for entry in ledger.entries(table)]
        assert len(entered) == (succeed - 1) // 2
        assert all(ledger.has(entry.table, entry.shard) for entry in entered)
    elif cut:  # ledger.json itself is half there: the one thing that people must delete
        with pytest.raises(InputError, match="ledger.json cannot be read .* restore it"):
            Ledger.open(place)
        places.filesystem(place)[0].rm(f"{place}/ledger.json")
    assert remote_content(run(job(), pairs(), place).folder) == content(local.folder)


def test_going_on_asks_for_no_shard_by_itself(url, monkeypatch):
    """Listings and entries tell what is there: a request for each of a million shards would take hours."""
    run(job(images_per_shard=1), pairs(), url)
    asked, info = [], MemoryFileSystem.info
    monkeypatch.setattr(MemoryFileSystem, "info", lambda self, path, **words: asked.append(path) or info(self, path))
    ledger = run(job(images_per_shard=1), pairs(), url)
    assert sum(1 for _ in ledger.entries("candidates")) == len(ITEMS) and len(asked) < 12


def test_data_is_put_before_its_entry_and_each_once():
    place, FlakyFileSystem.puts = f"flaky://{uuid.uuid4().hex}", []
    run(job(), pairs(), place)
    names = [path.split("/", 2)[2] for path in FlakyFileSystem.puts]
    assert len(names) == len(set(names)) == 1 + 2 + 2 * 3 * 3
    assert names[0] == "ledger.json"
    for data, entry in zip(names[1::2], names[2::2], strict=True):
        assert data.endswith(".parquet")
        assert entry == f"manifest/{data.removesuffix('.parquet').replace('scores/', 'scores.').replace('/', '-')}.json"


def test_a_store_that_cannot_be_reached_is_no_empty_ledger(local, url, monkeypatch):
    run(job(), pairs(), url)

    def refuse(self, *words, **named):
        raise TimeoutError("no answer")

    for name in ("cat_file", "info"):
        with monkeypatch.context() as patch:
            patch.setattr(MemoryFileSystem, name, refuse)
            with pytest.raises(InputError, match="cannot be used .no answer.; once it can|cannot be read"):
                ledger = Ledger.open(url)
                ledger.has("candidates", "00000")
    ledger = Ledger.open(url)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "cat_file", refuse)
        with pytest.raises(InputError, match="cannot be used .no answer."):
            decide(ledger)


def test_file_urls_are_local_folders(local, tmp_path):
    ledger = run(job(), pairs(), f"file://{tmp_path}/ledger")
    assert ledger.folder == tmp_path / "ledger" and content(ledger.folder) == content(local.folder)
    write_tar(tmp_path / "a.tar", {"1.jpg": encoded(), "1.txt": b"a ball"})
    assert read_pairs(f"file://{tmp_path}/*.tar").images[0].image.path == f"{tmp_path}/a.tar"


def test_names_and_sizes_in_a_store(url):
    store = store_at(url)
    assert store.names("manifest") == [] and store.size("a/b") is None
    store.write("a/b", b"12345")
    store.write("a/a", b"")
    assert (store.names("a"), store.size("a/b"), store.size("a/a")) == (["a", "b"], 5, 0)
    assert list(store.read_each(["a/b", "a/c", "a/a"])) == [b"12345", None, b""]
    with pytest.raises(FileNotFoundError):
        store.read("a/c")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nosuch://x/ledger", "nosuch://x/ledger cannot be used .*give a path, or the URL of a known store"),
        ("s3://bucket/ledger", "s3://bucket/ledger needs another package .*s3fs.*; install it"),
    ],
)
def test_stores_that_nobody_knows_are_refused(place, said):
    for act in (Ledger.open, read_pairs):
        with pytest.raises(InputError, match=said):
            act(place)


def test_without_fsspec_a_url_is_refused(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(InputError, match="To read and write memory://x install fsspec"):
        Ledger.open("memory://x")


@pytest.fixture
def stored(url, tmp_path):
    """Tars, lists and a table in a store, and the same on local disk."""
    images = {f"{n}.jpg": encoded(picture(n)) for n in range(6)}
    for number in range(2):
        own = list(images.items())[3 * number : 3 * number + 3]
        texts = [(name.replace("jpg", "txt"), f"text of {name}".encode()) for name, _ in own]
        for folder in (tmp_path, tmp_path / "tars"):
            folder.mkdir(exist_ok=True)
            write_tar(folder / f"shard-{number}.tar", [*own, *texts])
    for name, data in images.items():
        (tmp_path / name).write_bytes(data)
        (tmp_path / name.replace("jpg", "txt")).write_text(f"text of {name}")
    rows = [{"image": name, "caption": f"text of {name}"} for name in images]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "pairs.csv").write_text("image,caption\n" + "".join(f"{r['image']},{r['caption']}\n" for r in rows))
    records = [(Pair(name, f"text of {name}", data), {}) for name, data in images.items()]
    write_parquet(records, tmp_path / "table.parquet")
    store, inside = places.filesystem(url)
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        if path.suffix in (".jpg", ".txt"):
            store.pipe_file(f"{inside}/folder/{path.name}", path.read_bytes())
        store.pipe_file(f"{inside}/{path.relative_to(tmp_path)}", path.read_bytes())
    return url, tmp_path


@pytest.mark.parametrize(
    "name", ["*.tar", "shard-{0..1}.tar", "shard-1.tar", "tars", "pairs.json", "pairs.jsonl", "pairs.csv", "table.parquet"]
)
def test_data_in_a_store_is_read_as_from_disk(stored, name):
    url, folder = stored
    there, here = read_pairs(f"{url}/{name}"), read_pairs(f"{folder}/{name}")
    assert len(there) == len(here) > 0 and list(there) == list(here) and not there.rejects
    for one, other in zip(there.images, here.images, strict=True):
        assert one.image.path.startswith("memory://") and ImageRef.parse(str(one.image)) == one.image
        assert image_bytes(one) == image_bytes(other)


def test_a_folder_of_images_in_a_store(stored):
    url, _ = stored
    found = read_pairs(f"{url}/folder")
    assert [(pair.key, pair.caption) for pair in found] == [(f"{n}", f"text of {n}.jpg") for n in range(6)]
    assert all(open_image(pair).size == (24, 16) for pair in found.images)


def test_a_folder_of_several_kinds_in_a_store_is_refused(stored):
    with pytest.raises(InputError, match=r"holds tars and Parquet files and images: give 'memory://.*/\*\.tar' or"):
        read_pairs(stored[0])


def test_an_image_is_one_ranged_read(stored, monkeypatch):
    url, _ = stored
    pair, asked = read_pairs(f"{url}/shard-0.tar").images[1], []
    whole = MemoryFileSystem.cat_file
    monkeypatch.setattr(
        MemoryFileSystem, "cat_file", lambda self, *words: asked.append(words[1:]) or whole(self, *words)
    )
    data = image_bytes(pair)
    assert asked == [(pair.image.offset, pair.image.offset + len(data))] and data == encoded(picture(1))


def test_an_image_that_is_gone_is_a_reject_and_a_store_that_is_gone_is_not(stored, url, tmp_path, monkeypatch):
    source, _ = stored
    found = read_pairs(f"{source}/pairs.json")
    store, inside = places.filesystem(source)
    store.rm(f"{inside}/2.jpg")
    ledger = run(job(), found, tmp_path / "ledger")
    rejects = ledger.table("rejects").to_pylist()
    assert [row["image_key"] for row in rejects] == ["2"] and "cannot be read" in rejects[0]["reason"]
    assert [finding for finding in verify(ledger) if not finding.holds] == []

    def refuse(self, *words, **named):
        raise TimeoutError("no answer")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refuse)
    with pytest.raises(InputError, match=r"0\.jpg cannot be read .no answer.; once it can, the same command continues"):
        run(job(seed=1), found, tmp_path / "other")


def test_a_cut_object_is_no_image(url):
    store, inside = places.filesystem(url)
    store.pipe_file(inside, b"123")
    with pytest.raises(OSError, match="ends inside the image at byte 1"):
        ImageRef(url, 1, 5).read()


def said(capsys, *words):
    status = main([str(word) for word in words])
    return status, capsys.readouterr()


def test_the_commands_work_on_urls(stored, url, tmp_path, capsys):
    source, folder = stored
    weights = [f"--{name}={WEIGHTS / name}.safetensors" for name in ("captioner", "filter")]
    out = f"{url}/ledger"
    words = ["--device=cpu", "--images-per-shard=4", *weights]
    assert said(capsys, "capfilt", f"--data={source}/*.tar", f"--out={out}", *words)[0] == 0
    assert said(capsys, "capfilt", f"--data={folder}/*.tar", f"--out={tmp_path / 'ledger'}", *words)[0] == 0
    there, here = Ledger.open(out), Ledger.open(tmp_path / "ledger")
    assert there.table("scores/itm") == here.table("scores/itm") and there.store.size("summary.json")
    assert said(capsys, "ledger", "verify", out)[0] == 0
    for command in (("summary",), ("decide", "--out"), ("export", "--out")):
        name, *ends = command
        told = []
        for number, ledger in enumerate((out, tmp_path / "ledger")):
            file = tmp_path / f"{name}-{number}"
            place = [file.with_suffix(".csv") if name == "decide" else file] if ends else []
            status, output = said(capsys, "ledger", name, ledger, *ends, *place)
            assert status == 0, output.err
            told.append(output.out.replace(f"{name}-{number}", "").replace(str(ledger), ""))
        assert told[0] == told[1]
    assert (tmp_path / "decide-0.csv").read_bytes() == (tmp_path / "decide-1.csv").read_bytes()
    status, output = said(capsys, "ledger", "verify", f"{url}/none")
    assert status == 2 and f"There is no ledger in {url}/none" in output.err


def test_text_lists_keep_their_odd_bytes(url):
    store, inside = places.filesystem(url)
    store.pipe_file(f"{inside}/1.jpg", encoded())
    file = io.BytesIO(b"\xef\xbb\xbfimage\tcaption\r\n1.jpg\ta \xff ball\r\n1.jpg\ta ball\r\n")
    store.pipe_file(f"{inside}/pairs.tsv", file.getvalue())
    found = read_pairs(f"{url}/pairs.tsv")
    assert [pair.caption for pair in found] == ["a ball"] and len(found.rejects) == 1
