"""What `lab bench fuzz` has found, each by a hand-made case: a sentence or a reject, and nothing lost."""

import hashlib
import json
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from data_files import encoded, picture, write_tar

from apps.index import build
from apps.reviews import KEEP, Reviews
from blip.capfilt import Ledger, decide, verify
from blip.capfilt.manifest import Entry
from blip.capfilt.queries import decide_duckdb
from blip.capfilt.schema import CANDIDATES
from blip.checkpoint.folders import read_folder
from blip.checkpoint.tensors import read_tensors
from blip.config import VisionConfig, blip_config_from_json, named, to_json
from blip.data.benchmarks.reading import read_json, read_rows
from blip.data.benchmarks.visdial import read_relevance
from blip.data.images import BadImage, open_image
from blip.data.readers import read_pairs
from blip.errors import InputError
from blip.guard import Guard
from blip.log import read_rows as read_log
from blip.resume import Keeper
from blip.tokenizer import Tokenizer
from lab.audit_files import read_answers, read_key
from lab.bench.fuzz_case import write_files
from lab.bench.fuzz_ledger import ledger_files, small_ledger
from lab.claims_report import read_records
from lab.runs import Home, Step
from lab.search_index import SearchIndex

DEEP = "[" * 5_000 + "]" * 5_000
ROW = {"image": "0.jpg", "caption": "a ball"}


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "0.jpg").write_bytes(encoded(picture()))
    return tmp_path


def refused(read, *said):
    """Its one sentence, which holds these words."""
    with pytest.raises(InputError) as error:
        read()
    text = str(error.value)
    assert len(text.splitlines()) == 1
    for word in said:
        assert str(word) in text
    return text


# JSON that nests deeper than Python's parser goes


@pytest.mark.parametrize("name", ["pairs.json", "pairs.jsonl"])
def test_deep_json_in_a_list_of_pairs(photo, name):
    path = photo / name
    path.write_text(f"{json.dumps(ROW)}\n{DEEP}\n" if name.endswith("l") else DEEP)
    if name.endswith("l"):
        pairs = read_pairs(path)
        assert (len(pairs), [reject.reason for reject in pairs.rejects]) == (1, ["not JSON: nested too deep to be read"])
    else:
        refused(lambda: read_pairs(path), path, "nested too deep")


def test_deep_json_beside_an_image_in_a_tar(tmp_path):
    write_tar(tmp_path / "a.tar", {"0.jpg": encoded(picture()), "0.json": DEEP.encode(), "0.txt": b"a ball"})
    assert [pair.caption for pair in read_pairs(tmp_path / "a.tar")] == ["a ball"]


def test_deep_json_in_a_benchmark(tmp_path):
    path = tmp_path / "vqa.json"
    path.write_text(DEEP)
    refused(lambda: read_json(path), path)
    path.write_text('{"question_id": 1}\n' + DEEP)
    refused(lambda: read_rows(path), path, "row 2")
    path.write_text("[" + "[" * 900 + "]" * 900 + "]")  # that can be parsed, and not shown
    refused(lambda: read_rows(path), path, "row 1")


# Lists, tables and tars of pairs


def test_coco_files_that_are_none(photo):
    (photo / "coco.json").write_text(json.dumps({"images": 3, "annotations": []}))
    refused(lambda: read_pairs(photo / "coco.json"), photo / "coco.json")


def test_an_image_of_a_coco_file_that_nothing_can_name_is_an_image_without_a_caption(photo):
    (photo / "coco.json").write_text(json.dumps({"images": [{"id": [1], "file_name": "0.jpg"}], "annotations": []}))
    pairs = read_pairs(photo / "coco.json")
    assert (len(pairs), [pair.key for pair in pairs.images], [reject.reason for reject in pairs.rejects]) == (0, ["0"], ["the caption is empty"])


def test_coco_rows_with_ids_that_name_no_image(photo):
    rows = [{"image_id": [1], "caption": "a"}, {"image_id": {"x": 1}, "caption": "b"}, {"caption": "c"}, {"image_id": 1, "caption": "d"}]
    content = {"images": [{"id": 1, "file_name": "0.jpg"}, {"file_name": "0.jpg"}], "annotations": rows}
    (photo / "coco.json").write_text(json.dumps(content))
    pairs = read_pairs(photo / "coco.json")
    assert [pair.caption for pair in pairs] == ["d"]
    assert [reject.reason for reject in pairs.rejects] == [*["no image path"] * 3, "the caption is empty"]


def test_a_row_without_any_caption_or_image_is_still_one_reject(photo):
    (photo / "pairs.json").write_text(json.dumps([ROW, {"caption": []}, {"image": "gone.jpg", "caption": []}]))
    pairs = read_pairs(photo / "pairs.json")
    assert (len(pairs), len(pairs.rejects)) == (1, 2)


def test_a_first_line_of_a_table_that_is_too_long(photo):
    (photo / "pairs.csv").write_text("x" * 140_000 + ",caption\n0.jpg,a ball\n")
    refused(lambda: read_pairs(photo / "pairs.csv"), photo / "pairs.csv", "first line")


def test_columns_of_any_names_are_shown_on_one_short_line(photo):
    (photo / "pairs.csv").write_bytes(b'"a\nb",\xff\x1b[2J,' + b"c" * 50_000 + b"\n1,2,3\n")
    text = refused(lambda: read_pairs(photo / "pairs.csv"), photo / "pairs.csv", "a b", "\\x1b", "name it as")
    assert len(text) < 1_100
    assert text.encode()


def test_a_missing_file_whose_name_has_a_line_break(photo):
    (photo / "pairs.json").write_text(json.dumps([ROW, ROW | {"image": "a\nb.jpg"}]))
    (reject,) = read_pairs(photo / "pairs.json").rejects
    assert "a b.jpg is missing" in reject.reason


def test_a_table_with_two_columns_of_one_name(photo):
    rows = pa.Table.from_arrays([pa.array(["0.jpg"]), pa.array(["a"]), pa.array(["b"])], ["image", "caption", "caption"])
    pq.write_table(rows, photo / "pairs.parquet")
    refused(lambda: read_pairs(photo / "pairs.parquet"), photo / "pairs.parquet", "more than one column 'caption'")


def test_a_column_whose_name_is_not_utf8(photo):
    path = photo / "pairs.parquet"
    pq.write_table(pa.table({"image": ["0.jpg"], "caption": ["a"], "other": ["b"]}), path)
    path.write_bytes(path.read_bytes().replace(b"other", b"oth\xe4r"))
    refused(lambda: read_pairs(path), path, "not Parquet", "0xe4")


@pytest.mark.parametrize("coded", [False, True])
def test_a_path_in_a_table_that_is_not_utf8_loses_its_row_alone(photo, coded):
    paths = pa.array([b"0.\xe4pg", b"0.jpg"], pa.binary()).view(pa.string())
    table = pa.table({"image": paths.dictionary_encode() if coded else paths, "caption": ["a", "b"]})
    pq.write_table(table, photo / "pairs.parquet")
    pairs = read_pairs(photo / "pairs.parquet")
    assert [pair.caption for pair in pairs] == ["b"]
    assert ["is missing" in reject.reason for reject in pairs.rejects] == [True]


def test_images_in_a_table_that_is_damaged_after_it_was_indexed(tmp_path):
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"image": pa.array([encoded(picture())], pa.binary()), "caption": ["a"]}), path, compression="zstd")
    (pair,) = read_pairs(path)
    data = path.read_bytes()
    path.write_bytes(data[:20] + bytes(200) + data[220:])
    with pytest.raises(BadImage, match="cannot be read"):
        open_image(pair)


def test_a_size_in_a_pax_header_with_thousands_of_digits(tmp_path):
    member = tarfile.TarInfo("0.jpg")
    member.pax_headers = {"size": "9" * 5_000}
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    refused(lambda: read_pairs(tmp_path / "a.tar"), tmp_path / "a.tar", "broken pax header")


def test_a_relevance_beyond_every_float(tmp_path):
    path = tmp_path / "dense.json"
    path.write_text(json.dumps([{"image_id": 1, "round_id": 1, "relevance": [10**400]}]))
    refused(lambda: read_relevance(path), path, "too large")


# Ledgers


def shard(ledger, change, table="candidates"):
    """Write a shard with another content under a right entry, as another program might."""
    rows = change(ledger.read(table, "00000"))
    ledger.write(table, "00000", rows, ledger.entry(table, "00000").counts)


def retyped(name, kind):
    return lambda rows: rows.set_column(rows.column_names.index(name), name, pa.nulls(rows.num_rows, kind))


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.drop_columns(["row_id"]),
        lambda rows: rows.drop_columns(["image_sha256"]),
        lambda rows: rows.append_column("caption", rows["caption"]),
        retyped("caption", pa.int64()),
        retyped("origin", pa.string()),
        retyped("origin", pa.dictionary(pa.int32(), pa.string())),
        lambda rows: rows.slice(0, 2),
        lambda rows: rows.set_column(
            CANDIDATES.get_field_index("caption"), "caption", pa.array([b"\xff\xfe"] * rows.num_rows, pa.binary()).view(pa.string())
        ),
    ],
)
def test_shards_of_other_columns_are_refused_and_verify_tells(tmp_path, change):
    ledger = small_ledger(tmp_path / "ledger")
    assert all(finding.holds for finding in verify(ledger))
    shard(ledger, change)
    assert not all(finding.holds for finding in verify(ledger))
    try:
        decide(ledger).to_pylist()
    except InputError as error:
        assert str(ledger.folder) in str(error)


def test_what_duckdb_cannot_read_is_a_sentence(tmp_path):
    ledger = small_ledger(tmp_path / "ledger")
    path = tmp_path / "ledger" / "candidates" / "00000.parquet"
    path.write_bytes(path.read_bytes()[:-8] + b"not PAR1")
    refused(lambda: decide_duckdb(ledger), ledger.folder, "lab ledger verify")
    refused(lambda: build(ledger, tmp_path / "index.duckdb"), ledger.folder)


@pytest.mark.parametrize(
    "entry",
    [
        {"rows": "6"}, {"rows": -1}, {"rows": True}, {"counts": [1]}, {"counts": {"images": "3"}}, {"table": 5}, {"shard": "../x"},
        {"bytes": None},
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_does_not_exist(tmp_path, entry):
    ledger = small_ledger(tmp_path / "ledger")
    path = tmp_path / "ledger" / "manifest" / "candidates-00000.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entry))
    assert ledger.entry("candidates", "00000") is None
    assert [one.shard for one in ledger.entries("candidates")] == ["00001"]
    assert isinstance(ledger.entry("candidates", "00001"), Entry)
    assert not all(finding.holds for finding in verify(ledger))


def test_a_shard_whose_column_has_a_name_that_is_not_utf8(tmp_path):
    ledger = small_ledger(tmp_path / "ledger")
    path = Path(ledger.path("scores/itm", "00000"))
    path.write_bytes(path.read_bytes().replace(b"itm_prob", b"itm\xe4prob"))
    refused(lambda: ledger.read("scores/itm", "00000"), path, "0xe4")
    assert not all(finding.holds for finding in verify(ledger))


@pytest.mark.parametrize("about", [[1], {"version": 1, "filters": 3}, {"version": 1, "data": []}])
def test_a_ledger_whose_description_is_none(tmp_path, about):
    small_ledger(tmp_path / "ledger")
    (tmp_path / "ledger" / "ledger.json").write_text(json.dumps(about))
    refused(lambda: Ledger.open(tmp_path / "ledger"), "ledger.json")


def test_a_ledger_that_does_not_tell_its_job_is_not_verified(tmp_path):
    ledger = small_ledger(tmp_path / "ledger")
    del ledger.about["data"]["pairs"]
    refused(lambda: verify(ledger), ledger.folder, "restore it")


@pytest.fixture
def beside(tmp_path):
    write_files(tmp_path / "case", ledger_files())
    return tmp_path / "case"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("texts", b"\x93NUMPY\x01\x00\x10\x00{'descr': ('<f4'"),
        ("images", b""),
        ("text_of_row", np.full(12, 99)),
        ("text_of_row", np.zeros((2, 2), np.int64)),
        ("texts", np.zeros((6, 3), np.float32)),
        ("images", np.zeros((6, 8), np.float64)),
    ],
)
def test_a_search_index_of_other_arrays(beside, name, content):
    path = beside / "ledger" / "search" / f"{name}.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    ledger = Ledger.open(beside / "ledger")
    refused(lambda: SearchIndex.open(beside / "ledger" / "search", ledger), "cannot be read", "lab ledger embed")


@pytest.mark.parametrize("rows", [3, "rows", [[1]], [{"row_id": "x"}], [{"row_id": "x", "stratum": 9, "score": 0.5, "kept": True}]])
def test_a_key_of_an_audit_with_other_rows(beside, rows):
    path = beside / "audit-key.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": rows}))
    refused(lambda: read_key(beside / "audit.csv", Ledger.open(beside / "ledger")), path)


@pytest.mark.parametrize("wrong", [{"union": [[]]}, {"weighted_sum": [1]}, {"filter": None}, {"column": 3}])
def test_a_key_of_an_audit_with_another_policy(beside, wrong):
    path = beside / "audit-key.json"
    key = json.loads(path.read_text())
    path.write_text(json.dumps(key | {"policy": key["policy"] | wrong}))
    refused(lambda: read_key(beside / "audit.csv", Ledger.open(beside / "ledger")), path)


@pytest.mark.parametrize("line", ["row_id,matches\n", ""])
def test_answers_with_a_field_that_is_too_long(beside, line):
    key = read_key(beside / "audit.csv", Ledger.open(beside / "ledger"))
    (beside / "audit.csv").write_text(line + "x" * 140_000 + ",yes\n")
    refused(lambda: read_answers(beside / "audit.csv", key), beside / "audit.csv", "cannot be read")


def test_reviews_with_a_time_that_is_none(tmp_path):
    import sqlite3

    path = tmp_path / "reviews.sqlite"
    Reviews(path, "one").save("a", KEEP, reviewer="ann", seen=0)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE words SET at = 'yesterday'")
    refused(lambda: Reviews(path, "one").words(), path)


# Weights, vocabularies, training and runs


@pytest.mark.parametrize(
    "change",
    [{"depth": 10**6}, {"width": [16]}, {"heads": 0}, {"patch_size": -8}, {"eps": "small"}, {"width": True}, {"drop_path": float("nan")}],
)
def test_sizes_that_no_model_has(change):
    refused(lambda: VisionConfig(**{"image_size": 16, "patch_size": 8, "width": 16, "depth": 1, "heads": 2} | change), "cannot be built")
    config = to_json(named("nano"))
    refused(lambda: blip_config_from_json(config | {"vision": config["vision"] | change}), "cannot be built")


@pytest.mark.parametrize("config", [{"vision_config": 3}, {"text_config": {"num_attention_heads": [2]}}])
def test_a_transformers_folder_with_other_values(tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip"} | config))
    refused(lambda: read_folder(tmp_path), tmp_path / "config.json")


def test_a_pickle_that_asks_for_a_storage_it_never_brought(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    data = (tmp_path / "a.pth").read_bytes()
    storages = bytearray(data[data.rindex(b"]q") :])  # their names, at the end
    storages[next(at for at, byte in enumerate(storages) if chr(byte).isdigit() and at > 6)] ^= 1
    (tmp_path / "a.pth").write_bytes(data[: -len(storages)] + storages)
    refused(lambda: read_tensors(tmp_path / "a.pth"), tmp_path / "a.pth")


@pytest.mark.parametrize("content", ["[CLS]\n", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na\n"])
def test_a_vocabulary_that_cannot_be_names_its_file(tmp_path, content):
    (tmp_path / "vocab.txt").write_text(content)
    refused(lambda: Tokenizer.from_vocab(tmp_path / "vocab.txt"), tmp_path / "vocab.txt")


class Feed:
    def state_dict(self):
        return {"at": 1}

    def load_state_dict(self, state):
        self.at = state["at"]


def keeper(out):
    task = torch.nn.Linear(2, 2)
    return Keeper(out, task, torch.optim.AdamW(task.parameters()), Feed(), Guard("stop", 0, out))


@pytest.mark.parametrize("lost", ["step", "task", "optimizer", "feed", "rng", "at"])
def test_a_checkpoint_under_its_own_hash_that_lacks_a_part(tmp_path, lost):
    saved = keeper(tmp_path)
    saved.mark(1)
    saved.save()
    saved.finish()
    (path,) = (tmp_path / "checkpoints").glob("*.pt")
    state = torch.load(path, weights_only=True)
    (state if lost != "at" else state["feed"]).pop(lost)
    torch.save(state, path)
    path.rename(path.with_name(f"00000001-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.pt"))
    refused(lambda: keeper(tmp_path).resume(), tmp_path / "checkpoints")


def test_a_checkpoint_under_its_own_hash_that_is_no_archive(tmp_path):
    content = b"PK, and nothing more"
    path = tmp_path / "checkpoints" / f"00000001-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    path.parent.mkdir()
    path.write_bytes(content)
    refused(lambda: keeper(tmp_path).resume(), path)


def test_a_folder_in_a_checkpoints_place_is_passed_over(tmp_path):
    (tmp_path / "checkpoints" / "00000001-0123456789abcdef.pt").mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert keeper(tmp_path).resume() == 0


@pytest.mark.parametrize("line", ['{"itc": 1}', '{"step": "1"}', "{oops}", '{"step": 1, "itc": "low"}'])
def test_a_line_of_a_log_that_is_no_row(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "itc": 0.5}\n' + line + "\n")
    refused(lambda: read_log(path), path, "line 2")
    path.write_text('{"step": 1, "itc": 0.5}\n{"step": 2, "it')  # on its way to the disk
    assert read_log(path) == [{"step": 1, "itc": 0.5}]


@pytest.mark.parametrize("change", [{"started": 5}, {"seconds": "long"}, {"parents": 3}, {"machine": []}])
def test_a_run_whose_facts_have_other_types_is_damaged(tmp_path, change):
    home = Home(tmp_path)
    steps = [Step(kind="draw", config={"seed": seed}) for seed in (0, 1)]
    for step in steps:
        home.run(step, lambda folder: {"loss": 0.5})
    path = home.path(steps[0].id) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert sorted(row["state"] for row in home.rows()) == ["damaged", "done"]


@pytest.mark.parametrize("claims", [3, [{}], [{"claim": "x"}], [[]]])
def test_a_record_of_an_ablation_with_other_claims(tmp_path, claims):
    (tmp_path / "table1.json").write_text(json.dumps({"result": {"claims": claims, "arms": {}}}))
    refused(lambda: read_records(tmp_path), tmp_path / "table1.json")
