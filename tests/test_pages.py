"""Pages say what the committed records say."""

import re

import pytest

from blip.errors import InputError
from lab.claims_overview import is_drawn_from
from lab.claims_report import decided_of, read_records
from lab.page_parts import source
from lab.pages import BLOCKS, OVERVIEW, PAGES, filled, markdown, read_record


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
