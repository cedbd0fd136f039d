"""`lab bench fuzz`: broken files through every reader, faults that are planted are found, and properties."""

import io
import json
import math
import random
import string
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzz_planted import FILE, READERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.links import Place, link, place_of
from apps.queues import QUEUES
from blip.capfilt import Policy
from blip.capfilt.rows import table
from blip.capfilt.schema import CANDIDATES, row_id
from blip.data.images import BadImage, decode_image
from blip.data.jsons import parse_json
from blip.data.pairs import ImageRef
from blip.data.readers import read_pairs
from blip.data.tar_members import CutTar, tar_members
from blip.data.text import clean_caption, decode_caption
from blip.errors import InputError, one_line
from lab.bench import fuzz
from lab.bench.fuzz_case import Tally, broken, write_files
from lab.bench.fuzz_forms import mutated
from lab.bench.fuzz_worker import FINDING, READ, REFUSED, Limits, run_all, targets_of
from lab.cli import main

TARGETS = targets_of(fuzz.MODULES)
LIMITS = Limits(seconds=60, mib=2_048)
PLANTED = Limits(seconds=3, mib=100)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_not_broken_is_read(name, tmp_path):
    target = TARGETS[name]
    for number, seed in enumerate(target.seeds()):
        assert set(seed.broken) <= set(seed.files)
        write_files(tmp_path / "case", seed.files)
        tally = Tally(tmp_path / "case")
        target.read(tally)
        assert (number, tally.refusals, tally.wrong) == (number, [], [])


def test_a_thousand_broken_inputs_are_read_refused_or_rejected():
    cases = fuzz.planned(list(TARGETS), 1_000, seed=1)
    found = list(run_all(cases, fuzz.MODULES, LIMITS, 1))
    result = fuzz.summary(list(TARGETS), found)
    assert result["found"] == []
    assert [(case.target, case.seed) for case in found] == cases
    assert result["total"]["cases"] == 1_000
    for name, counts in result["targets"].items():
        assert counts["cases"] == counts["read"] + counts["refused"] + counts["findings"]
        assert counts["cases"] in (1_000 // len(TARGETS), 1_000 // len(TARGETS) + 1), name
    assert min(result["total"][count] for count in ("read", "refused", "rejected_rows")) > 100


def test_a_case_is_the_same_whenever_it_is_made():
    for name, target in TARGETS.items():
        assert broken(target, 3) == broken(target, 3), name
    assert sum(broken(target, 3) != broken(target, 4) for target in TARGETS.values()) > len(TARGETS) // 2


def test_runs_of_other_seeds_have_other_cases():
    assert not {*fuzz.planned(["a", "b"], 9, 0)} & {*fuzz.planned(["a", "b"], 9, 1)}
    assert [name for name, _ in fuzz.planned(["a", "b"], 5, 0)] == ["a"] * 3 + ["b"] * 2


def test_planted_faults_are_found_and_the_rest_goes_on():
    cases = [(name, 0) for name in READERS]
    found = {case.target: case for case in run_all(cases, ("fuzz_planted",), PLANTED, 1)}
    assert found["crash"].problem == "killed the process (SIGSEGV)"
    assert found["hang"].problem == "took more than 3 s"
    assert found["leak"].problem.endswith("MiB of memory")
    assert found["stack-trace"].problem.startswith("KeyError: 'planted' at tests/fuzz_planted.py")
    assert found["nameless"].problem.startswith("a refusal that names no file")
    assert found["no-remedy"].problem.startswith("a refusal that is no sentence")
    assert found["lose"].problem == "1 pairs and rejects of 2 to 2 pairs given"
    assert [name for name, case in found.items() if case.outcome != FINDING] == ["sentence", "fine"]
    assert (found["sentence"].outcome, found["fine"].outcome, found["fine"].rejected) == (REFUSED, READ, 2)


def test_the_command_keeps_records_and_replays_what_it_found(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fuzz, "MODULES", ("fuzz_planted",))
    out, kept = tmp_path / "fuzz.json", tmp_path / "kept"
    few = ["--jobs", "1", "--keep", str(kept), "--out", str(out)]
    assert main(["bench", "fuzz", "--cases", "4", "--seed", "2", "--only", "fine", "stack-trace", *few]) == 1
    result = json.loads(out.read_text())["result"]
    assert result["targets"]["fine"] == {"cases": 2, "read": 2, "refused": 0, "rejected_rows": 4, "findings": 0}
    assert [one["case"] for one in result["found"]] == ["stack-trace:2000000000", "stack-trace:2000000001"]
    assert not result["reached"]
    assert (kept / "stack-trace-2000000000").is_dir()
    assert "KeyError: 'planted'" in capsys.readouterr().out
    assert main(["bench", "fuzz", "--case", "stack-trace:2000000000", *few]) == 1
    assert "stack-trace:2000000000: finding" in capsys.readouterr().out
    assert main(["bench", "fuzz", "--case", "fine:7", *few]) == 0


def test_a_case_that_cannot_be_is_one_sentence(capsys):
    assert main(["bench", "fuzz", "--case", "tars"]) == 2
    assert "give TARGET:SEED" in capsys.readouterr().err
    assert main(["bench", "fuzz", "--only", "tar"]) == 2
    assert "There is no target 'tar', did you mean 'tars'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.png", "a.tar", "a.pth", "a.safetensors", "a.parquet", "a.sqlite", "a.json", "a.csv", "a.jp2"])
def test_every_form_is_broken_in_many_ways_whatever_it_holds(name):
    seeds = [seed.files[own] for target in TARGETS.values() for seed in target.seeds() for own in seed.broken if own.endswith(name[1:])]
    for content in (b"", b"x", seeds[0] if seeds else b"0123456789"):
        rng = random.Random(0)
        made = {mutated(rng, name, content) for _ in range(30)}
        assert len(made) > (20 if len(content) > 10 else 3)


# Properties. JSON trees, texts and files of any content.

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["image", "caption", "key", "x"]), inner, max_size=4),
    max_leaves=12,
)
SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(TREES)
@SOME
def test_json_trees_come_back(tree):
    assert parse_json(json.dumps(tree)) == tree


@given(st.one_of(st.text(), st.binary(), st.integers(1, 3_000).map(lambda depth: "[" * depth + "]" * depth)))
@SOME
def test_any_text_is_json_or_a_value_error(text):
    try:
        parse_json(text)
    except ValueError:
        return
    assert text


@given(st.lists(TREES, max_size=5))
@SOME
def test_any_rows_of_json_are_accounted_for(tmp_path, rows):
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps(rows))
    try:
        pairs = read_pairs(path)
    except InputError as error:
        assert str(path) in str(error)
        return
    most = sum(max([1, *(len(v) for v in row.values() if isinstance(v, list))]) if isinstance(row, dict) else 1 for row in rows)
    assert len(rows) <= len(pairs) + len(pairs.rejects) <= most


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
@SOME
def test_a_caption_is_kept_byte_for_byte_or_refused_with_a_reason(text):
    kept, fault = decode_caption(text.encode())
    assert (kept, fault is None) == ((text, True) if clean_caption(text, 1) else ("", False))
    assert decode_caption(text) == (kept, fault)


@given(st.text(max_size=60), st.text(alphabet=st.characters(codec="utf-8"), max_size=60), st.integers(-(2**63), 2**63 - 1))
@SOME
def test_ledger_rows_come_back(key, caption, number):
    key = key.encode("utf-8", "replace").decode()
    row = dict.fromkeys(CANDIDATES.names) | {"image_key": key, "caption": caption, "caption_hash": number, "candidate": 1, "round": 0}
    row["row_id"] = row_id(key, "0" * 64, "web", caption, candidate=1, round=0)
    file = io.BytesIO()
    pq.write_table(table([row], CANDIDATES), file, compression="zstd")
    assert pq.read_table(pa.BufferReader(file.getvalue())).to_pylist() == [row]


@given(st.text(alphabet=string.printable, max_size=30), st.integers(0, 2**40), st.none() | st.integers(0, 2**40))
@SOME
def test_references_to_images_come_back(path, offset, length):
    ref = ImageRef(path, offset, length)
    assert asdict(ImageRef.parse(str(ref))) == asdict(ref)


@given(st.text(max_size=3_000))
@SOME
def test_a_refusal_is_one_line_that_a_terminal_can_show(text):
    line = str(InputError(text))
    assert line == one_line(text)
    assert len(line.splitlines()) <= 1
    assert len(line) <= 1_100
    assert line.encode().decode() == line
    if text.isprintable() and text == text.strip() and len(text) < 1_000:
        assert line == text


@given(
    st.floats(0, 1), st.floats(0, 1), st.sampled_from(list(QUEUES)), st.text(alphabet=st.characters(codec="utf-8"), max_size=20),
    st.integers(0, 10**6),
)  # fmt: skip
@SOME
def test_links_come_back(web, synthetic, queue, search, page):
    from urllib.parse import parse_qsl

    place = Place(policy=Policy(web=web, synthetic=synthetic), queue=queue, search=search, page=page)
    back = place_of(dict(parse_qsl(link(place, "one").removeprefix("?"))), "one")
    assert (back.queue, back.search, back.page) == (queue, search, page)
    assert math.isclose(back.policy.web, web, rel_tol=1e-5)


@given(st.binary(max_size=600))
@SOME
def test_any_bytes_are_an_image_or_bad_and_a_tar_or_cut(data):
    with pytest.raises(BadImage) as bad:
        decode_image(data)
    assert len(bad.value.reason.splitlines()) == 1
    try:
        assert all(member.offset + member.size <= len(data) for member in tar_members(io.BytesIO(data)))
    except CutTar as cut:
        assert str(cut)


def test_the_planted_file_is_one_that_can_be_broken():
    assert len({mutated(random.Random(n), FILE, b'[{"a": 1}]') for n in range(40)}) > 20
