"""The room "Claims" as a person sees it: verdicts, what is not measured, and a training while it runs."""

import json

import pytest
from browsing import CONTRAST, MS, nameless, opened, studio
from playwright.sync_api import expect
from studio_ledgers import generated_ledger

from lab.claims import CLAIMS
from lab.locks import locked
from lab.runs import Home, Step

ROW = {"learning_rate": 0.1, "alpha": 0.4, "gradient_norm": 1.0, "samples_per_second": 430.0}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home of runs in which one training is at step 300."""
    home = Home(tmp_path_factory.mktemp("home"))
    step = Step(kind="pretrain", config={"samples": 1})
    with pytest.raises(KeyboardInterrupt):
        home.run(step, lambda folder: _log(folder, range(50, 301, 50), cut=True))
    return home, step.id


def _log(folder, steps, *, cut=False):
    (folder / "pretrain").mkdir(exist_ok=True)
    lines = [json.dumps(ROW | {"step": n, "itc": 6 - n / 100, "itm": 0.6 - n / 1000, "lm": 4 - n / 200}) for n in steps]
    with (folder / "pretrain" / "metrics.jsonl").open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))
    if cut:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def address(home, tmp_path_factory):
    ledger = generated_ledger(tmp_path_factory.mktemp("claims") / "ledger").folder
    with studio(ledger, settings={"BLIP_LAB_HOME": str(home[0].folder)}) as url:
        yield url


@pytest.fixture(params=[(1440, "light"), (900, "dark")], ids=["1440-light", "900-dark"])
def room(request, browser, address):
    with opened(browser, address, *request.param) as page:
        page.get_by_role("tab", name="Claims").click()
        expect(page.locator("#claims section").first).to_be_visible(timeout=MS)
        yield page


def test_every_claim_is_there_and_can_be_read(room):
    said = room.locator(".claim, .waiting li")
    texts = said.all_inner_texts()
    assert all(any(claim.says in text for text in texts) for claim in CLAIMS)
    assert room.locator(".claim svg.forest").count() == room.locator(".claim").count()
    assert all(claim.note in one for claim in CLAIMS for one in texts if one.startswith(claim.says) and "seeds, " in one)
    assert room.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert room.evaluate(CONTRAST) == []
    assert nameless(room) == []
    room.set_viewport_size({"width": 390, "height": 844})
    beyond = """() => [...document.querySelectorAll(".claim")].map((claim) => [claim.getBoundingClientRect().right,
        ...[...claim.querySelectorAll("*")].map((part) => part.getBoundingClientRect().right)])
        .filter(([edge, ...parts]) => parts.some((right) => right > edge + 1)).length"""
    assert room.evaluate(beyond) == 0


def test_other_outcomes_are_a_table_that_opens(room):
    folded = room.locator("#claims details.outcomes").first
    table = folded.locator("table")
    expect(table).to_be_hidden()
    folded.locator("summary").click()
    expect(table).to_be_visible()
    pane = room.locator("#claims section").first
    assert table.locator("tbody tr").count() == pane.locator(".claim").count()
    assert room.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert room.evaluate(CONTRAST) == []


def test_a_training_moves_on_the_screen_while_it_runs(room, home):
    place, run = home
    expect(room.locator("#runs")).to_contain_text(run, timeout=MS)
    before = int(room.locator("#runs tbody td.n").first.inner_text().replace(",", ""))
    with locked(place.folder / "locks" / run, wait=True):
        room.get_by_role("tab", name="Decisions").click()
        room.get_by_role("tab", name="Claims").click()
        expect(room.locator("#runs")).to_contain_text("1 running", timeout=MS)
        _log(place.path(run), [before + 50])
        expect(room.locator("#runs tbody td.n").first).to_have_text(f"{before + 50:,}", timeout=MS)
        expect(room.locator("#losses figure").first).to_contain_text(f"step {before + 50:,}")
    assert room.locator("#losses figure").count() == 3
