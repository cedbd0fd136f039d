"""Every room of the studio as axe-core sees it: nothing against WCAG 2 A and AA, in light and dark, wide and narrow.

And every room on a phone, for here is a page that has been in all of them.
"""

import pytest
from browsing import MS, opened, studio, violations
from fake_models import FakeFilter
from playwright.sync_api import Page, expect
from studio_ledgers import ITEMS, WORLD, generated_ledger

from blip.capfilt.scoring import score
from lab.cli import main
from lab.weights import WEIGHTS
from lab.world.sets import as_pairs

WINDOWS = [(width, scheme) for width in (1440, 900) for scheme in ("light", "dark")]
ROOMS = {
    "Decisions": "#cards .card",
    "Review": "#review-focus .focus",
    "Blind audit": "#audit-question .focus",
    "Compare": "#compare-cards .card",
    "Search": "#search-found .picks button",
    "Find": "#search-found .card",
    "Try it": "#heat .tile",
    "Run": "#run-start",
    "Claims": "#claims section",
}
"""Rooms by the name of their tab or button, and what is seen in them at the end."""


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """The studio over a ledger with all that rooms can show; the page goes from room to room."""
    ledger = generated_ledger(tmp_path_factory.mktemp("axe") / "ledger")
    images = {pair.key: pair for pair in as_pairs(ITEMS, WORLD.level.px)}
    score(ledger, {"shared": FakeFilter("shared")}, images=images)
    words = ["--weights", str(WEIGHTS / "filter.safetensors"), "--device", "cpu"]
    assert main(["ledger", "embed", str(ledger.folder), *words]) == 0
    home = {"BLIP_LAB_HOME": str(tmp_path_factory.mktemp("home"))}
    with studio(ledger.folder, settings=home) as address, opened(browser, address, 1440) as page:
        yield page


@pytest.fixture(scope="module", params=ROOMS)
def room(request, page: Page) -> Page:
    """A room, open, with everything in it."""
    page.set_viewport_size({"width": 1440, "height": 900})  # on a phone some tabs are behind a button
    expect(page.get_by_role("tab", name="Claims")).to_be_visible(timeout=MS)  # a click before tabs are in place meets another
    if request.param == "Find":
        page.get_by_role("tab", name="Search").click()
        page.get_by_label("Find images by a text").fill("a red ball")
        page.get_by_role("button", name="Find", exact=True).click()
    else:
        if request.param == "Blind audit":
            page.get_by_role("tab", name="Review").click()
        page.get_by_role("tab", name=request.param).click()
    expect(page.locator(ROOMS[request.param]).first).to_be_visible(timeout=MS)
    return page


@pytest.mark.parametrize(("width", "scheme"), WINDOWS)
def test_axe_finds_nothing(room, width, scheme):
    room.set_viewport_size({"width": width, "height": 900})
    room.emulate_media(color_scheme=scheme)
    expect(room.locator("body")).to_have_class("dark" if scheme == "dark" else "")
    assert violations(room) == []


def test_on_a_phone_a_room_is_one_column_and_hides_nothing_in_a_scroll_of_its_own(room):
    room.set_viewport_size({"width": 390, "height": 844})
    assert room.evaluate("document.documentElement.scrollWidth <= innerWidth")
    sides = """() => [...document.querySelectorAll(".room > .side")].filter((side) => side.checkVisibility())
        .map((side) => [side.scrollHeight - side.clientHeight, side.getBoundingClientRect().width])"""
    assert [hidden for hidden, _ in room.evaluate(sides) if hidden > 1] == []
    assert [width for _, width in room.evaluate(sides) if width < 300] == []


def test_axe_would_find_a_fault(page):
    page.evaluate("""() => {
        const fault = '<p style="color: #999; background: #fff">pale</p><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><input>';
        document.body.insertAdjacentHTML("beforeend", `<div id="faults">${fault}</div>`);
    }""")
    rules = {found.split()[0] for found in violations(page)}
    page.locator("#faults").evaluate("faults => faults.remove()")
    assert rules == {"color-contrast", "image-alt", "label"}
