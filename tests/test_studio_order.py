"""Answers come in the order of their questions: what writes the same part of the screen stands in one line."""

from collections import defaultdict
from contextlib import ExitStack

import pytest
from studio_ledgers import generated_ledger

import apps.studio
from apps.jobs import Jobs
from apps.models import open_models
from apps.rooms import Shared, open_rooms
from apps.running import Running, Weights
from apps.trying import Workbench


@pytest.fixture
def layout(tmp_path, monkeypatch):
    """The studio with every room laid out at once."""
    monkeypatch.setattr(apps.studio, "when_first_opened", lambda tab, demo, build: build([demo.load, tab.select]))
    ledger = generated_ledger(tmp_path / "ledger").folder
    running = Running(Jobs(tmp_path / "jobs"), Weights.of(None, None, None), ledger)
    shared = Shared(workbench=Workbench(open_models(None, None, None, None)), running=running)
    with ExitStack() as opened:
        yield apps.studio.studio(open_rooms(opened, ledger, shared))


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
