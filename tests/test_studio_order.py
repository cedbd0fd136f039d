"""Answers come in the order of their questions: what writes the same part of the screen stands in one line."""

import json
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import pytest
from studio_ledgers import generated_ledger

import apps.studio
from apps.jobs import Jobs
from apps.models import open_models
from apps.rooms import Shared, open_rooms
from apps.running import Running, Weights
from apps.trying import Workbench


def shared(tmp_path, ledger):
    running = Running(Jobs(tmp_path / "jobs"), Weights.of(None, None, None), ledger)
    return Shared(workbench=Workbench(open_models(None, None, None, None)), running=running)


@pytest.fixture
def layout(tmp_path, monkeypatch):
    """The studio with every room laid out at once."""
    monkeypatch.setattr(apps.studio, "when_first_opened", lambda tab, demo, build: build([demo.load, tab.select]))
    ledger = generated_ledger(tmp_path / "ledger").folder
    with ExitStack() as opened:
        yield apps.studio.studio(open_rooms(opened, ledger, shared(tmp_path, ledger)))


def test_rooms_begin_with_the_thresholds_of_the_ledgers_run(tmp_path):
    ledger = generated_ledger(tmp_path / "ledger").folder
    about = Path(str(ledger)) / "ledger.json"
    for thresholds, wanted in (({}, (0.5, 0.5)), ({"web": 0.2, "synthetic": float("inf"), "filters": ["itm"]}, (0.2, 1.0))):
        told = json.loads(about.read_text())
        about.write_text(json.dumps(told | {"thresholds": thresholds} if thresholds else told))
        with ExitStack() as opened:
            rooms = open_rooms(opened, ledger, shared(tmp_path, ledger))
            assert (rooms.policy.web, rooms.policy.synthetic) == wanted == (rooms.desk.policy.web, rooms.desk.policy.synthetic)


def test_whatever_writes_the_same_part_of_the_screen_stands_in_one_line(layout):
    lines = defaultdict(set)
    for event in layout.fns.values():
        if event.fn is not None:
            assert event.concurrency_limit in (1, "default"), event.name
            for part in event.outputs:
                lines[part].add(event.concurrency_id)
    assert len(lines) > 50
    mixed = {f"{type(part).__name__} {part.elem_id or part.label}" for part, own in lines.items() if len(own) > 1}
    assert mixed == set()
