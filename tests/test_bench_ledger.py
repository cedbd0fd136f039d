"""The simulated ledger is a true one, and what `lab bench ledger` asks of it agrees with slow loops."""

import json
import tarfile
from collections import Counter, defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest

from blip.capfilt import decide
from blip.data.images import decode_image
from blip.data.pairs import ImageRef
from blip.errors import InputError
from lab.bench import alone, pictures, simulated_ledger
from lab.bench import ledger as bench
from lab.bench.simulated_ledger import EACH, simulate

IMAGES = 300


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("simulated") / "ledger", IMAGES, seed=3, images_per_shard=128)


@pytest.fixture(scope="module")
def rows(made):
    """Every caption with its verdict, and the hash of its text."""
    hashes = made.table("candidates", ["caption_hash"])["caption_hash"].to_pylist()
    return [row | {"hash": own} for row, own in zip(decide(made).to_pylist(), hashes, strict=True)]


def test_the_ledger_is_as_the_format_says(made, rows):
    assert len(rows) == len({row["row_id"] for row in rows}) == EACH * IMAGES
    assert [entry.shard for entry in made.entries("candidates")] == ["00000", "00001", "00002"]
    assert Counter(row["origin"] for row in rows) == {"web": IMAGES, "synthetic": 4 * IMAGES}
    assert len({row["image_key"] for row in rows}) == IMAGES
    texts = defaultdict(set)
    for row in rows:
        texts[row["hash"]].add(row["caption"])
    assert all(len(own) == 1 for own in texts.values())  # equal hash, equal text
    assert 1 < len(texts) == len({row["caption"] for row in rows}) < len(rows)


def test_the_same_seed_gives_the_same_bytes(made, tmp_path):
    again = simulate(tmp_path / "again", IMAGES, seed=3, images_per_shard=128)
    for table in ("candidates", "scores/itm"):
        wanted = [entry.sha256 for entry in made.entries(table)]
        assert len(wanted) == 3
        assert [entry.sha256 for entry in again.entries(table)] == wanted
    other = simulate(tmp_path / "other", IMAGES, seed=4, images_per_shard=128)
    firsts = [next(ledger.entries("candidates")).sha256 for ledger in (made, other)]
    assert firsts[0] != firsts[1]


def test_counts_and_histograms_agree_with_a_loop(made, rows, tmp_path):
    kept = Counter(f"{row['origin']} {'kept' if row['kept'] else 'filtered'}" for row in rows)
    assert bench.counts(made, tmp_path) == dict(kept)
    found = bench.histograms(made, tmp_path)
    bins = Counter((row["origin"], min(bench.BINS - 1, int(row["score"] * bench.BINS))) for row in rows)
    for origin in ("web", "synthetic"):
        assert found[origin] == [bins[origin, number] for number in range(bench.BINS)]


def test_quadrants_agree_with_a_loop(made, rows, tmp_path):
    images = defaultdict(set)
    for row in rows:
        images[row["image_key"]] |= {row["origin"]} if row["kept"] else set()
    names = {(): "neither", ("synthetic",): "synthetic only", ("web",): "web only", ("synthetic", "web"): "both"}
    assert bench.quadrants(made, tmp_path) == dict(Counter(names[tuple(sorted(own))] for own in images.values()))


def test_best_of_n_and_the_cap_agree_with_a_loop(made, rows, tmp_path):
    web = sum(row["kept"] for row in rows if row["origin"] == "web")
    with_synthetic = {row["image_key"] for row in rows if row["kept"] and row["origin"] == "synthetic"}
    assert bench.best_of_n(made, tmp_path) == web + len(with_synthetic)
    equal = Counter(row["hash"] for row in rows if row["kept"])
    assert max(equal.values()) > 10
    assert bench.cap(made, tmp_path) == sum(min(10, count) for count in equal.values())


def test_the_kept_list_is_what_was_kept(made, rows, tmp_path):
    count = bench.kept_list(made, tmp_path / "kept.parquet")
    found = pq.read_table(tmp_path / "kept.parquet").to_pylist()
    names = ("row_id", "image_key", "score")
    assert found == [{name: row[name] for name in names} for row in rows if row["kept"]]
    assert count == len(found) > 0


def test_hashes_are_different_and_fill_every_bit():
    hashes = simulated_ledger._hashes(np.arange(100_000))
    assert len(np.unique(hashes)) == 100_000
    for bit in range(64):
        assert abs(((hashes >> bit) & 1).mean() - 0.5) < 0.01


def test_references_and_names_lead_to_the_members_of_the_tar(tmp_path):
    path = tmp_path / "pictures.tar"
    members = pictures.write_tar(path, 10_000_000, seed=5)
    assert path.stat().st_size >= 10_000_000
    chosen = pictures.index(path, 20, seed=5)
    assert len(set(chosen["names"])) == len(chosen["references"]) == 20
    with tarfile.open(path) as tar:
        assert len(tar.getnames()) == members > 100
        stored = [tar.extractfile(name).read() for name in chosen["names"]]
    assert [ImageRef.parse(text).read() for text in chosen["references"]] == stored
    colors = [np.asarray(decode_image(data)).sum(axis=(0, 1), dtype=np.int64).tolist() for data in stored]
    ours, theirs = pictures.by_reference(chosen["references"]), pictures.by_tarfile(path, chosen["names"])
    assert ours["colors"] == theirs["colors"] == colors
    assert len({tuple(color) for color in colors}) > 5  # another picture would show


def test_a_picture_is_opened_without_reading_the_tar(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "alone", in_this_process)
    found = pictures.measure(tmp_path, 10_000_000, 20, seed=5)
    assert found["same_pictures"] and list(tmp_path.iterdir()) == []
    assert found["bytes_of_the_pictures"] <= found["by reference"]["bytes_read"] < 2 * found["bytes_of_the_pictures"]
    headers = found["by tarfile, opened once"]["found"]["seconds_for_headers"]
    assert found["by tarfile, opened for each picture"]["seconds_extrapolated"] == pytest.approx(20 * headers, abs=0.2)


def in_this_process(ask, *words):
    """A process of its own for each would import torch each time."""
    return alone._measured(ask, words)


def test_the_bench_leaves_a_record_and_nothing_else(tmp_path, capsys, monkeypatch):
    # One process instead of nine, each of which imports torch; the other questions are asked above.
    monkeypatch.setattr(bench, "QUESTIONS", {"image quadrants": bench.QUESTIONS["image quadrants"]})
    monkeypatch.setattr(pictures, "alone", in_this_process)
    place = tmp_path / "place"
    place.mkdir()
    options = bench.Options(
        rows=600, images_per_shard=50, tar_bytes=10**6, pictures=10, out=tmp_path / "record.json", folder=place
    )
    assert bench.main(options) in (0, 1)  # 1 where this machine's memory or time is above what is required
    result = json.loads(options.out.read_text())["result"]
    assert (result["rows"], result["images"]) == (600, 120)
    found = result["questions"]["image quadrants"]
    assert sum(found["found"].values()) == 120
    assert found["peak_mib"] > 0
    assert (result["pictures"]["pictures"], result["pictures"]["same_pictures"]) == (10, True)
    assert list(place.iterdir()) == []
    assert "image quadrants" in capsys.readouterr().out


def test_a_ledger_that_the_disk_cannot_hold_is_refused_before(tmp_path):
    with pytest.raises(InputError, match="need .* GiB and .* give fewer --rows and --tar-bytes or another --folder"):
        bench.main(bench.Options(rows=10**15, out=tmp_path / "record.json", folder=tmp_path))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="There is no folder .*gone; make it"):
        bench.main(bench.Options(folder=tmp_path / "gone"))
