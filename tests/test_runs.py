"""Runs: done once whoever asks, resumed where they were cut off, listed and deleted with their lineage."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from blip.errors import InputError
from lab.cli import main
from lab.commands.runs_list import difference
from lab.locks import is_locked, locked
from lab.runs import DAMAGED, DONE, INTERRUPTED, RUNNING, Home, Step

ROOT = Path(__file__).parents[1]
BASE = Step(kind="pretrain", config={"seed": 0, "sizes": [1, 2]})


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home, which is also the default one."""
    monkeypatch.setenv("BLIP_LAB_HOME", str(tmp_path / "home"))
    return Home.default()


def put(home, kind, *parents, **config):
    """A run that is done, with one file."""

    def work(folder):
        (folder / "weights").write_text("x" * 100)
        return {"value": 1}

    return home.run(Step(kind=kind, config=config, parents=tuple(run.id for run in parents)), work)


@pytest.fixture
def family(home):
    """pretrain -> captioner, filter -> capfilt; and another pretrain."""
    model = put(home, "pretrain", seed=0)
    captioner, matcher = put(home, "captioner", model), put(home, "filter", model)
    return {
        "pretrain": model,
        "captioner": captioner,
        "filter": matcher,
        "capfilt": put(home, "capfilt", captioner, matcher),
        "other": put(home, "pretrain", seed=1),
    }


def states(home):
    return {row["id"]: row["state"] for row in home.rows()}


def refused(capsys, *words):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("lab: ") and said.endswith(".\n") and said.count("\n") == 1
    return said


def test_the_id_is_a_hash_of_all_that_decides_and_of_nothing_else():
    assert re.fullmatch("pretrain-[0-9a-f]{12}", BASE.id)
    assert BASE.id == Step(kind="pretrain", config={"sizes": (1, 2), "seed": 0}).id
    others = [
        Step(kind="filter", config=BASE.config),
        Step(kind="pretrain", config={**BASE.config, "seed": 1}),
        Step(kind="pretrain", config=BASE.config, parents=("a-1",)),
        Step(kind="pretrain", config=BASE.config, version=2),
    ]
    assert len({step.id.split("-")[1] for step in [BASE, *others]}) == 5


def test_a_run_that_is_done_is_never_repeated(home):
    calls = []

    def work(folder):
        calls.append(folder)
        return {"auc": 0.5}

    first, again = home.run(BASE, work), home.run(BASE, work)
    assert calls == [home.path(BASE.id)] and first == again
    assert first.result == {"auc": 0.5}
    (row,) = home.rows()
    assert (row["state"], row["config"], row["parents"], row["starts"]) == (DONE, dict(BASE.config), [], 1)
    assert row["finished"] >= row["started"] and row["seconds"] == first.seconds >= 0
    assert row["result"] == {"auc": 0.5} and row["machine"]["cores"] >= 1


def test_the_home_is_where_the_variable_says_or_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in (None, ""):
        monkeypatch.delenv("BLIP_LAB_HOME", raising=False) if value is None else monkeypatch.setenv("BLIP_LAB_HOME", value)
        assert Home.default().folder == tmp_path / ".cache" / "blip-lab"
    monkeypatch.setenv("BLIP_LAB_HOME", "~/elsewhere")
    assert Home.default().folder == tmp_path / "elsewhere"


def test_an_interrupted_run_goes_on_in_its_folder_and_drops_its_checkpoints_when_done(home):
    def work(folder):
        checkpoints = folder / "deep" / "checkpoints"
        checkpoints.mkdir(parents=True, exist_ok=True)
        before = sorted(path.name for path in checkpoints.iterdir())
        (checkpoints / str(len(before))).touch()
        if len(before) < 2:
            raise KeyboardInterrupt
        (folder / "model").write_text("weights")
        return {"found": before}

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            home.run(BASE, work)
        assert states(home) == {BASE.id: INTERRUPTED}
        (row,) = home.rows()
        assert row["finished"] is row["seconds"] is row["result"] is None
    started = row["started"]
    run = home.run(BASE, work)
    assert run.result == {"found": ["0", "1"]}
    (row,) = home.rows()
    assert (row["state"], row["starts"], row["started"]) == (DONE, 3, started)
    assert not (run.folder / "deep" / "checkpoints").exists() and (run.folder / "model").exists()


CHILD = """
import sys, time
from pathlib import Path
import lab.runs
from lab.runs import Home, Step
lab.runs.machine = dict  # spares the child the import of torch
log, hang = Path(sys.argv[1]), float(sys.argv[2])
def work(folder):
    with log.open("a") as file:
        file.write(folder.name + "\\n")
    time.sleep(hang)
    return {}
jobs = [(Step(kind="step", config={"number": n}), work) for n in range(6)]
print(len(Home.default().run_all(jobs)))
"""


def child(log, hang):
    words = [sys.executable, "-c", CHILD, str(log), str(hang)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_processes_on_one_home_share_the_work_and_do_nothing_twice(home, tmp_path):
    children = [child(tmp_path / "log", 0.1) for _ in range(3)]
    assert [process.communicate(timeout=60)[0] for process in children] == ["6\n"] * 3
    done = (tmp_path / "log").read_text().split()
    assert len(done) == 6 and set(done) == set(states(home))


def test_a_killed_process_leaves_an_interrupted_run_that_others_finish(home, tmp_path):
    process = child(tmp_path / "log", 60)
    until(lambda: (tmp_path / "log").exists() and list(states(home).values()) == [RUNNING])
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(states(home).values()) == [INTERRUPTED]
    number = next(n for n in range(6) if Step(kind="step", config={"number": n}).id in states(home))
    step = Step(kind="step", config={"number": number})
    assert home.run(step, lambda folder: {"done": True}).result == {"done": True}


def until(holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_work_that_is_free_comes_before_waiting(home, capfd):
    busy, free = (Step(kind="step", config={"number": n}) for n in range(2))
    jobs = [(busy, lambda folder: {"by": "us"}), (free, lambda folder: {"by": "us"})]
    with locked(home.folder / "locks" / busy.id, wait=True):
        worker = threading.Thread(target=home.run_all, args=(jobs,))
        worker.start()
        until(lambda: states(home).get(free.id) == DONE)
        assert busy.id not in states(home)
    worker.join()
    assert states(home) == {busy.id: DONE, free.id: DONE}
    assert f"{busy.id} is being done by another process; waiting for it." in capfd.readouterr().err


def test_a_lock_that_was_removed_while_somebody_waited_locks_nobody_out(tmp_path):
    path, got = tmp_path / "lock", []

    def waiter():
        with locked(path, wait=True) as ours:
            got.append((ours, is_locked(path)))

    with locked(path, wait=True):
        with locked(path, wait=False) as second:
            assert not second
        worker = threading.Thread(target=waiter)
        worker.start()
        path.unlink()
    worker.join()
    assert got == [(True, True)] and not is_locked(path)


def test_what_a_run_is_made_from_must_be_there(home):
    step = Step(kind="filter", config={}, parents=(BASE.id,))
    with pytest.raises(InputError, match=f"The run {BASE.id} is not done"):
        home.run(step, lambda folder: {})
    assert home.rows() == []


def damage(path, how):
    if how == "cut":
        path.write_text(path.read_text()[:5])
    elif how == "changed":
        path.write_text(path.read_text().replace('"seed": 0', '"seed": 7'))
    elif how == "poorer":
        path.write_text(json.dumps({name: v for name, v in json.loads(path.read_text()).items() if name != "seconds"}))
    elif how == "binary":
        path.write_bytes(b"\xff\xfe\0")
    else:
        path.unlink()


@pytest.mark.parametrize(
    ("file", "how", "said"),
    [
        ("run.json", "cut", "run.json cannot be read"),
        ("run.json", "changed", "run.json was changed"),
        ("run.json", "poorer", "run.json was changed"),
        ("run.json", "binary", "run.json cannot be read"),
        ("run.json", "gone", "run.json cannot be read"),
        ("result.json", "cut", "result.json cannot be read"),
    ],
)
def test_a_damaged_run_is_one_sentence_with_a_remedy_that_works(home, capsys, file, how, said):
    run = put(home, "pretrain", seed=0)
    whole = put(home, "pretrain", seed=1)
    damage(run.folder / file, how)
    with pytest.raises(InputError, match=f"{said}.*lab runs rm {run.id} and start its command again.$"):
        put(home, "pretrain", seed=0)
    assert states(home) == {run.id: DAMAGED, whole.id: DONE}
    assert main(["runs", "list"]) == 0
    assert said in capsys.readouterr().out
    assert main(["runs", "rm", run.id, "--yes"]) == 0
    assert put(home, "pretrain", seed=0).id == run.id


def test_a_home_that_cannot_be_is_one_sentence(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be locked.*set BLIP_LAB_HOME to a folder of yours"):
        Home(tmp_path / "file").run(BASE, lambda folder: {})


def test_the_list_says_lineage_and_difference(family, capsys):
    assert main(["runs", "list"]) == 0
    said = capsys.readouterr().out
    lines = {line.split()[0]: line for line in said.splitlines() if line}
    assert "made from" in lines["id"]
    capfilt = lines[family["capfilt"].id]
    assert family["captioner"].id in capfilt and family["filter"].id in capfilt and " done " in capfilt
    assert lines[family["other"].id].endswith("seed=1")
    assert main(["runs", "list", "--kind", "pretrain", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in rows] == [family["pretrain"].id, family["other"].id]
    assert [row["difference"] for row in rows] == ["seed=0", "seed=1"]
    assert all(row["bytes"] > 100 and row["result"] == {"value": 1} for row in rows)


def test_an_empty_home_says_so(home, capsys):
    assert main(["runs", "list"]) == 0
    assert capsys.readouterr().out == f"There are no runs in {home.folder}.\n"
    assert main(["runs", "rm", "--interrupted"]) == 0
    assert capsys.readouterr().out == "There is nothing to delete.\n"


def test_the_difference_is_what_varies_within_a_kind():
    configs = [{"a": 1, "deep": {"x": 1, "y": 2}}, {"a": 1, "deep": {"x": 3, "y": 2}, "more": True}]
    rows = [{"config": config} for config in [*configs, None]]
    assert [difference(row, rows) for row in rows] == ["deep.x=1", "deep.x=3 more=True", ""]


def test_what_others_were_made_from_stays_unless_they_go_too(home, family, capsys):
    said = refused(capsys, "runs", "rm", family["pretrain"].id, "--yes")
    assert "and 2 more came from what you want to delete" in said and "--with-children" in said
    assert len(home.rows()) == 5
    assert main(["runs", "rm", family["pretrain"].id, "--with-children", "--yes"]) == 0
    deleted = capsys.readouterr().out.splitlines()
    # Children before what they were made from, so that a stop in between leaves no orphan.
    assert deleted[0] == family["capfilt"].id and deleted[3] == family["pretrain"].id
    assert list(states(home)) == [family["other"].id]
    assert [path.name for path in (home.folder / "runs").iterdir()] == [family["other"].id]
    assert [path.name for path in (home.folder / "locks").iterdir()] == [family["other"].id]


def test_the_beginning_of_an_id_is_enough_if_it_is_one_runs(home, family, capsys):
    said = refused(capsys, "runs", "rm", "pretrain", "--yes")
    assert "'pretrain' may be" in said and "give more of the id" in said
    for unknown in ("nothing", "", "../runs", f"../runs/{family['other'].id}", "."):
        assert f"There is no run {unknown!r}" in refused(capsys, "runs", "rm", unknown, "--yes")
    assert "needs the id of a run" in refused(capsys, "runs", "rm", "--yes")
    assert main(["runs", "rm", "capf", family["other"].id.split("-")[1], "--yes"]) == 0
    assert not {family["capfilt"].id, family["other"].id} & set(states(home)) and len(home.rows()) == 3


def test_it_asks_before_it_deletes(home, family, capsys, monkeypatch):
    words = ["runs", "rm", family["other"].id]
    for answer, status in (("", 1), ("n", 1), ("y", 0)):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert family["other"].id in states(home)
        assert main(words) == status
    assert family["other"].id not in states(home)

    def nobody(question):
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    assert "give --yes" in refused(capsys, "runs", "rm", family["capfilt"].id)
    assert family["capfilt"].id in states(home)


def test_interrupted_runs_go_together_and_a_running_one_never(home, family, capsys):
    steps = [Step(kind="step", config={"number": n}) for n in range(3)]

    def stop(folder):
        raise KeyboardInterrupt

    for step in steps:
        with pytest.raises(KeyboardInterrupt):
            home.run(step, stop)
    with locked(home.folder / "locks" / steps[0].id, wait=True):
        assert states(home)[steps[0].id] == RUNNING
        assert "A process is at the run" in refused(capsys, "runs", "rm", steps[0].id, steps[1].id, "--yes")
        assert {step.id for step in steps} <= set(states(home))
        assert main(["runs", "rm", "--interrupted", "--yes"]) == 0
    assert set(states(home)) == {steps[0].id, *(run.id for run in family.values())}


def test_links_are_deleted_as_links(home, family, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis").write_text("years")
    (family["other"].folder / "link").symlink_to(precious)
    (home.folder / "runs" / "link-000000000000").symlink_to(precious)
    (home.folder / "runs" / ".removing-step-1").mkdir()  # what a stopped deletion left
    assert main(["runs", "rm", family["other"].id, "link-", "--yes"]) == 0
    assert (precious / "thesis").read_text() == "years"
    assert not {family["other"].id, "link-000000000000", ".removing-step-1"} & set(os.listdir(home.folder / "runs"))
