"""Pages say what the committed records say."""

import json
import re
from dataclasses import asdict

import numpy as np
import pytest

from blip.capfilt.quality import auc
from blip.errors import InputError
from lab.ablation.scales import scaled
from lab.claims_overview import is_drawn_from
from lab.claims_report import decided_of, read_records
from lab.evaluate import filter_scores
from lab.page_parts import source
from lab.pages import BLOCKS, OVERVIEW, PAGES, filled, markdown, read_record
from lab.setting import setting
from lab.weights import shipped
from lab.world.checker import check
from lab.world.noise import KINDS
from lab.world.sets import World


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_figure_is_the_records_own(page):
    text = page.read_text(encoding="utf-8")
    assert filled(text) == text, "run: lab pages"
    assert re.search(r"<!-- lab:", text)


def test_every_block_stands_on_a_page():
    used = {name for page in PAGES for name in re.findall(r"<!-- lab:([\w-]+) -->", page.read_text())}
    assert used == set(BLOCKS)


def test_the_picture_of_the_claims_is_drawn_from_the_records():
    assert is_drawn_from(OVERVIEW, decided_of(read_records())), "run: lab pages"


def test_what_is_typed_into_a_block_is_replaced():
    block = "before\n<!-- lab:demo -->\n99.9% by hand\n<!-- /lab -->\nafter"
    assert "99.9% by hand" not in filled(block)
    assert filled(block).startswith("before\n<!-- lab:demo -->\n| captions |")
    assert filled(block).endswith("<!-- /lab -->\nafter")


def test_unknown_blocks_and_records_are_one_sentence():
    with pytest.raises(InputError, match="block 'nothing'; there are demo"):
        filled("<!-- lab:nothing -->\n<!-- /lab -->")
    with pytest.raises(InputError, match=r"no record nothing.json in lab/results"):
        read_record("nothing")


def test_a_table_is_markdown():
    assert markdown(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_a_record_says_who_measured_cells_before():
    record = read_record("ablations/table1-cpu")
    before = {"commit": "abc", "date": "2026-01-02", "cells": {"none": [0, 1], "both": [0]}}
    told = source(record | {"result": record["result"] | {"before": [before]}})
    assert told == f"{source(record)} Of its cells 3 at commit `abc`, 2026-01-02."


def test_what_pages_say_of_the_filters_auc_is_so():
    """That texts of a part are rejected and lower every AUC, and that only near misses slip through at 0.5."""
    world = World.of("nano")
    items = world.web(1_200, start=100_000)
    scores = filter_scores(shipped("filter"), items, world.level.px)
    kinds, noise = np.array([item.noise_kind for item in items]), np.array([item.truth != "true" for item in items])
    whole = np.array([check(item.caption, item.scene).strict for item in items])
    clean = kinds == "clean"
    assert np.mean(scores[clean & whole] >= 0.5) > 0.99 and np.mean(scores[clean & ~whole] >= 0.5) < 0.01
    apart = {kind: scores[(kinds == kind) & noise] for kind in KINDS}
    for own in apart.values():
        assert auc(scores[clean & whole], own) > 0.99 > auc(scores[clean], own)
    assert [kind for kind, own in apart.items() if (own >= 0.5).any()] == ["near_miss"]
    assert min(apart, key=lambda kind: np.median(apart[kind])) == "near_miss"
    assert max(apart, key=lambda kind: np.std(apart[kind])) == "near_miss"


def test_the_setting_is_that_of_the_records():
    recipe = read_record("ablations/table1-cpu")["config"]["recipe"]
    assert recipe == json.loads(json.dumps(asdict(scaled("cpu"))))
    arm = read_record("ablations/table3-cpu")["result"]["arms"][recipe["sharing"]]
    assert f"{next(iter(arm['seeds'].values()))['cost']['parameters']:,} parameters" in setting()
    for said in ("32 × 32 pixels", "up to 2 objects of 8 kinds in 6 colours", ": 16,000, the text of 60.0%", ": 1,440", "96,000", "402 texts"):
        assert said in setting()
