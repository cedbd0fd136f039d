"""Bootstrapping in rounds on a user's own pairs: the same runs as in an ablation, measured without truth."""

import json

import pytest
from test_ablate_own_pairs import write_files

from blip.capfilt import Ledger, verify
from lab.ablation.command import Wanted, ablate
from lab.cli import main
from lab.runs import Home


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("own"))


def words(own, *more):
    return ["bootstrap", "--recipe", "smoke", "--data", own.data, "--human", own.human, "--val", own.val, *more]


@pytest.fixture(scope="module")
def done(own, tmp_path_factory):
    """Two rounds: home and summary."""
    folder = tmp_path_factory.mktemp("rounds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLIP_LAB_HOME", str(folder / "home"))
        assert main(words(own, "--rounds", "2", "--out", str(folder))) == 0
    return Home(folder / "home"), json.loads((folder / "summary.json").read_text())


def test_every_round_is_measured_on_the_held_out_images(done):
    _, summary = done
    assert [one["round"] for one in summary["rounds"]] == [1, 2]
    for one in [*summary["rounds"], summary["final"]]:
        found = one["quality"]
        assert found["retrieval"]["all"]["images"] == 6 and found["captions"]["all"]["cider"] >= 0
        assert set(found) == {"retrieval", "captions"}
    assert summary["own_pairs"]["web"]["images"] == 24 and summary["own_pairs"]["val"]["texts"] == 12
    assert summary["config"]["options"]["own"]["val"].endswith("val.csv")
    assert summary["diffs"][0]["rounds"] == [1, 2]


def test_each_round_leaves_a_whole_ledger_of_every_image_that_opens(done):
    _, summary = done
    ledgers = [Ledger.open(one["ledger"]) for one in summary["rounds"]]
    for ledger in ledgers:
        assert all(one.holds for one in verify(ledger)) and ledger.counts()["images"] == 23
    assert ledgers[0].table("candidates")["caption"] != ledgers[1].table("candidates")["caption"]


def test_it_shares_its_runs_with_an_ablation(own, done, tmp_path, capsys):
    home, _ = done
    known = {row["id"] for row in home.rows()}
    ablate(Wanted(name="table1", scale="smoke", seeds=1, only=("none", "both"), out=tmp_path / "record.json", own=own), home)
    new = [row["kind"] for row in home.rows() if row["id"] not in known]
    # Captions are drawn at another temperature there, so that CapFilt and the student are runs of their own.
    assert sorted(new) == ["capfilt", "captioner", "filter", "pretrain", "worth", "worth"]


def test_it_is_read_when_it_is_done_and_told(own, done, monkeypatch, tmp_path, capsys):
    home, _ = done
    before = {path: path.stat().st_mtime_ns for path in home.folder.rglob("result.json")}
    monkeypatch.setenv("BLIP_LAB_HOME", str(home.folder))
    assert main(words(own, "--rounds", "2", "--out", str(tmp_path))) == 0
    said = capsys.readouterr().out
    for line in ("  TR@1 %", "  IR@1 %", "  CIDEr-D", "  web captions kept %", "data card of round 2: "):
        assert f"\n{line}" in said
    assert "strictly true" not in said and "AUC" not in said
    assert {path: path.stat().st_mtime_ns for path in home.folder.rglob("result.json")} == before


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--noise", "0.5"), "--noise is of the generated world; your own pairs are taken as they are, so leave it out."),
        (("--images", "8"), "--images is of the generated world;"),
        (("--set", "web=8"), "--set web=8 cannot be; your own pairs are taken as they are, so leave it out."),
        (("--recipe", "cell"), "There is no --recipe 'cell' for your own pairs; choose one of smoke, cpu, gpu."),
        (("--recipe", "gpu", "--set", "captioner.batch=8", "filter.batch=8"), "pairs are less than a batch of"),
    ],
)
def test_what_cannot_be_is_one_sentence(own, tmp_path, monkeypatch, capsys, more, told):
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    assert main(words(own, *more)) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1 and not (tmp_path / "home").exists()


def test_own_pairs_go_together(own, capsys):
    assert main(["bootstrap", "--data", own.data]) == 2
    assert "with --data give --human and --val too." in capsys.readouterr().err
