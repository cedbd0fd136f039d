"""The room "Review" as people use it: by keyboard, two at once, by links, blind, and out again as a data set."""

import re
import time
from contextlib import ExitStack
from threading import Event

import browsing
import pyarrow.parquet as pq
import pytest
from browsing import CONTRAST, MS, SECONDS, nameless, studio
from playwright.sync_api import Page, expect
from studio_ledgers import STRANGE, generated_ledger

from apps.reviews import DROP, KEEP, Reviews
from blip.capfilt import Policy, decide
from blip.capfilt.tolerance import Measured, Running, note
from lab.audit_draw import draw, identity
from lab.cli import main
from lab.ledgers import reviews_file

TALL = "one line\nanother line\n日本語の説明 👩‍🚀 <b onclick='window.hacked = 4'>"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    ledger = generated_ledger(tmp_path_factory.mktemp("review") / "ledger")
    note(ledger, {"itm.itm_prob": Measured(60, 0.02, 0.01, 0, Running("cpu", "fp32"), Running("cuda", "bf16"))})
    return ledger


@pytest.fixture(scope="module")
def address(ledger):
    with studio(ledger.folder) as url:
        yield url


@pytest.fixture
def reviews(ledger):
    """What people said, nothing at first."""
    for path in ledger.folder.parent.glob(f"{reviews_file(ledger.folder).name}*"):
        path.unlink(missing_ok=True)  # SQLite tidies up, too
    return Reviews(reviews_file(ledger.folder), identity(ledger))


@pytest.fixture
def opened(browser, address, reviews):
    """Opens the room in a browser session of its own: reviewer, query string, width."""
    with ExitStack() as pages:

        def open_room(reviewer: str = "Ann", query: str = "?room=review&queue=all", width: int = 1280, scheme: str = "light", height: int = 900) -> Page:
            page = pages.enter_context(browsing.opened(browser, address, width, scheme, height, query=query))
            expect(page.locator("#review-focus .focus, #review-focus .empty")).to_be_visible(timeout=MS)
            expect(page.locator("#review-link textarea, #review-link input")).not_to_have_value("", timeout=MS)
            page.get_by_label("Reviewer").fill(reviewer)
            page.get_by_label("Reviewer").blur()
            return page

        yield open_room


def at(page: Page, number: int) -> None:
    """Wait until this caption of the queue is in focus."""
    expect(page.locator("#review-where b").first).to_have_text(str(number), timeout=MS)


def row(page: Page) -> str:
    return page.locator("#review-focus .focus").get_attribute("data-row")


def press(page: Page, key: str) -> None:
    """Press a key and wait until another caption or another version is on the screen."""
    before = page.evaluate("reviewShown()")
    page.keyboard.press(key)
    page.wait_for_function("before => reviewShown() !== before && reviewShown().includes(' ')", arg=before)


def search(page: Page, words: str) -> None:
    page.get_by_label("Search", exact=True).fill(words)
    page.get_by_label("Search", exact=True).press("Enter")


def wait_for(page: Page, what) -> None:
    last = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < last
        page.wait_for_timeout(20)


def note_says(page: Page, text: str) -> None:
    expect(page.locator("#review-notice")).to_contain_text(text, timeout=MS)


def test_verdicts_by_keyboard_are_saved_at_once_and_there_after_a_reload(opened, reviews, ledger):
    page = opened()
    rows = decide(ledger).to_pylist()
    assert row(page) == rows[0]["row_id"]
    press(page, "k")
    at(page, 2)
    note_says(page, "Saved: kept. Z takes it back.")
    press(page, "d")
    at(page, 3)
    words = reviews.words()
    assert {key: (word.word, word.reviewer) for key, word in words.items()} == {
        rows[0]["row_id"]: (KEEP, "Ann"),
        rows[1]["row_id"]: (DROP, "Ann"),
    }
    press(page, "ArrowUp")
    at(page, 2)
    here = page.url
    page.reload()
    expect(page.locator(".focus .word")).to_contain_text("Ann drops it", timeout=MS)
    assert row(page) == rows[1]["row_id"] and page.url == here
    expect(page.get_by_label("Reviewer")).to_have_value("Ann")
    marks = page.locator(".line .mark")
    assert [mark.inner_text().strip() for mark in marks.all()[:3]] == ["keep", "drop", "open"]
    expect(page.locator("#review-agreement")).to_contain_text("Ann 2")


def in_sight(page: Page, name: str) -> bool:
    """Whether a part lies in the window, whole, and nothing over it."""
    return page.locator(name).evaluate("""part => {
        const { left, right, top, bottom } = part.getBoundingClientRect();
        const over = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
        return top >= 0 && bottom <= innerHeight && part.contains(over);
    }""")


@pytest.mark.parametrize(("width", "height"), [(1024, 768), (1024, 500), (390, 844)])
def test_the_notice_of_a_verdict_is_in_sight_wherever_the_page_is(opened, width, height):
    page = opened(width=width, height=height)
    press(page, "k")
    note_says(page, "Saved: kept.")
    for part in ("#banner", ".line:last-child", "#review-text"):
        page.locator(part).evaluate("part => part.scrollIntoView({ block: 'center' })")
        assert in_sight(page, "#review-notice .notice")
    keys, notice, better = (page.locator(f"#review-{name}").bounding_box()["y"] for name in ("keep", "notice", "text"))
    assert keys < notice < better


def test_another_queue_begins_at_its_start_and_buttons_at_an_end_are_off(opened):
    page = opened()
    ends = ("#review-previous", "#review-next", ".reviewing .previous-page", ".reviewing .next-page")

    def off(*wanted):
        for name, is_off in zip(ends, wanted, strict=True):
            button = page.locator(name)
            expect(button).to_be_disabled(timeout=MS) if is_off else expect(button).to_be_enabled(timeout=MS)

    off(True, False, True, False)
    press(page, "ArrowRight")
    press(page, "ArrowDown")
    at(page, 12)
    off(False, False, False, False)
    page.locator("#review-queue").get_by_text(re.compile("^Kept")).click()
    page.wait_for_url(re.compile("queue=kept"))
    at(page, 1)
    off(True, False, True, False)
    page.goto(page.url.partition("?")[0] + "?room=review&queue=all&page_number=99")  # the last one
    at(page, 111)
    page.locator(".line").last.click()
    at(page, 117)
    off(False, True, False, True)


def test_a_narrow_list_still_tells_origin_and_verdict(opened):
    for width in (1280, 900, 390):
        line = opened(width=width).locator(".line").nth(4)
        expect(line.locator(".verdict .icon")).to_be_visible()
        expect(line.locator(".origin")).to_be_visible()
        said = line.evaluate("line => line.innerText.split(/\\s+/)")
        assert {"web", "synthetic"} & set(said) and {"kept", "filtered"} & set(said)


def test_undo_takes_back_verdict_by_verdict(opened, reviews):
    page = opened()
    first = row(page)
    for key in ("k", "d"):
        press(page, key)
    press(page, "z")
    at(page, 2)
    note_says(page, "Your last verdict is taken back.")
    expect(page.locator(".focus .word")).to_contain_text("Ann took the verdict back")
    press(page, "z")
    at(page, 1)
    assert row(page) == first
    assert [word.word for word in reviews.words().values()] == [None, None]
    page.keyboard.press("z")
    note_says(page, "There is nothing to undo")


def test_a_better_text_of_several_lines_and_scripts_is_text(opened, reviews):
    page = opened()
    first = row(page)
    area = page.locator("#review-text textarea")
    page.keyboard.press("e")
    expect(area).to_be_focused()
    expect(area).to_have_value(STRANGE[0])  # the caption, to be changed
    area.press("Escape")
    expect(area).to_have_value("")
    page.keyboard.press("e")
    area.fill(TALL)
    area.press("k")  # in a text field a key is a letter
    area.press("Backspace")
    area.press("Control+Enter")
    at(page, 2)
    assert (reviews.words()[first].word, reviews.words()[first].caption) == (KEEP, TALL)
    press(page, "ArrowUp")
    better = page.locator(".focus .better")
    assert better.inner_text() == TALL
    assert better.evaluate("text => getComputedStyle(text).whiteSpace") == "pre-wrap"
    assert page.locator(".focus .text").first.inner_text() == STRANGE[0]
    expect(page.locator(".line").first.locator(".mark")).to_have_text("new text")
    press(page, "ArrowDown")
    page.locator("#review-save").click()
    note_says(page, "Write the better text first, or drop the caption.")
    assert page.evaluate("window.hacked") is None


def test_a_better_text_goes_with_its_caption_alone_and_k_saves_it(opened, reviews):
    page = opened()
    first, area = row(page), page.locator("#review-text textarea")
    area.fill("a better text")
    area.blur()
    page.locator(".line").nth(4).click()
    at(page, 5)
    note_says(page, "The better text is not saved; it waits at its caption.")
    expect(area).to_have_value("")
    fifth = row(page)
    press(page, "k")
    at(page, 6)
    page.locator(".line").first.click()
    at(page, 1)
    expect(area).to_have_value("a better text")
    for words, captions in (("hacked = 1", "1"), ("", "117")):
        search(page, words)
        expect(page.locator("#review-where b").nth(1)).to_have_text(captions, timeout=MS)
        expect(area).to_have_value("a better text")
    page.get_by_label("Search", exact=True).blur()
    press(page, "k")
    note_says(page, "Saved: kept with the better text.")
    expect(area).to_have_value("")
    assert {key: word.caption for key, word in reviews.words().items()} == {first: "a better text", fifth: None}


def test_without_a_name_nothing_is_saved_and_what_was_written_stays(opened, reviews):
    page = opened(reviewer="")
    page.keyboard.press("k")
    note_says(page, "Give your name first")
    area = page.locator("#review-text textarea")
    area.fill("a better text")
    area.press("Control+Enter")
    expect(page.locator("#review-notice")).to_contain_text("Give your name first", timeout=MS)
    expect(area).to_have_value("a better text")
    assert reviews.words() == {}


def test_two_reviewers_at_once_cannot_overwrite_each_other_unseen(opened, reviews):
    ann, bob = opened("Ann"), opened("Bob")
    first = row(ann)
    assert row(bob) == first
    press(ann, "k")
    press(bob, "d")
    note_says(bob, "Ann has judged this caption since you opened it (keep, ")
    at(bob, 1)
    expect(bob.locator(".focus .word")).to_contain_text("Ann keeps it")
    assert (reviews.words()[first].word, reviews.words()[first].version) == (KEEP, 1)
    press(bob, "d")  # now he has seen it
    at(bob, 2)
    assert (reviews.words()[first].word, reviews.words()[first].reviewer) == (DROP, "Bob")
    press(ann, "z")
    note_says(ann, "Bob has judged this caption since you opened it (drop, ")
    assert reviews.words()[first].word == DROP


def test_a_key_hit_twice_judges_once(opened, reviews):
    page = opened()
    first = row(page)
    page.evaluate("for (let n = 0; n < 2; n++) document.querySelector('#review-keep').click(), document.querySelector('#review-drop').click()")
    at(page, 2)
    note_says(page, "You had already judged the caption that was here (keep, ")
    (said,) = reviews.words().values()
    assert (said.row_id, said.version) == (first, 1)
    assert said.word in (KEEP, DROP)  # clicks of one instant may arrive in any order


def test_a_link_opens_exactly_this_view_and_refuses_others(opened, ledger):
    page = opened()
    page.locator("#review-queue").get_by_text(re.compile("^Filtered")).click()
    page.locator("#review-web input").fill("0.7")
    page.locator("#review-synthetic input").fill("0.25")
    page.locator("#review-synthetic input").blur()
    verdicts = decide(ledger, Policy(web=0.7, synthetic=0.25)).to_pylist()
    wanted = [verdict["row_id"] for verdict in verdicts if not verdict["kept"]]
    expect(page.locator("#review-where b").nth(1)).to_have_text(str(len(wanted)), timeout=MS)
    page.wait_for_url(re.compile("web=0.7&synthetic=0.25"))
    press(page, "ArrowRight")
    press(page, "ArrowDown")
    at(page, 12)
    expect(page.locator(f"#review-focus [data-row='{wanted[11]}']")).to_be_visible(timeout=MS)
    page.wait_for_url(re.compile(f"page_number=2&row={wanted[11]}"))
    other = opened("Bob", "?" + page.url.partition("?")[2])
    at(other, 12)
    assert (row(other), other.url) == (wanted[11], page.url)
    expect(other.locator("#review-web input")).to_have_value("0.7")
    expect(other.locator("#review-queue label.selected")).to_have_text(f"Filtered · {len(wanted)}")
    page.get_by_role("tab", name="Decisions").click()
    expect(page.locator(".card").first).to_be_visible()
    assert page.url.endswith("/")
    wrong = opened("Eve", "?room=review&ledger=0123456789ab")
    expect(wrong.locator("#review-notice")).to_contain_text("This link belongs to another ledger", timeout=MS)


def test_queues_search_and_clicks(opened, ledger):
    page = opened(query="?room=review")
    borderline = [v["row_id"] for v in decide(ledger).to_pylist() if v["borderline"]]
    page.locator("#review-queue").get_by_text(f"Borderline · {len(borderline)}").click()
    expect(page.locator("#review-where b").nth(1)).to_have_text(str(len(borderline)), timeout=MS)
    assert row(page) in borderline
    expect(page.locator(".focus .badge").first).to_have_text("borderline")
    expect(page.locator(".focus")).not_to_contain_text("says little")  # the truth would lead a reviewer
    page.locator("#review-queue").get_by_text(re.compile("^All captions")).click()
    search(page, "under_SCORE")
    expect(page.locator("#review-where b").nth(1)).to_have_text("1", timeout=MS)
    expect(page.locator(".focus mark")).to_have_text("under_score")
    search(page, "no such text")
    expect(page.locator("#review-focus .empty")).to_contain_text("This queue is empty.", timeout=MS)
    search(page, "")
    at(page, 1)
    page.locator(".line").nth(4).click()
    at(page, 5)
    page.locator(".line").nth(1).click()
    at(page, 2)


def test_a_slow_request_is_not_overtaken_by_the_next(opened):
    page, held = opened(), []
    at(page, 1)
    page.get_by_label("Search", exact=True).focus()
    page.route("**/queue/join*", lambda route: route.continue_() if held else held.append(route))
    page.locator(".line").nth(4).click()  # leaves the search field, which asks first
    page.wait_for_timeout(1000)
    held[0].continue_()
    at(page, 5)
    expect(page.locator(".pending")).to_have_count(0, timeout=MS)
    page.wait_for_timeout(1000)
    at(page, 5)


LATE = """() => {
  const ask = window.fetch;
  const late = () => new TransformStream({ transform: (part, out) => new Promise((go) => setTimeout(go, 400)).then(() => out.enqueue(part)) });
  window.fetch = (request, ...rest) => ask(request, ...rest).then((found) => {
    if (!String(request.url ?? request).includes("/queue/data")) return found;
    return new Response(found.body.pipeThrough(late()), { status: found.status, headers: found.headers });
  });
}"""
"""The stream of answers comes late, as on a machine under load: also the news that it has ended."""


def test_who_asks_while_the_stream_of_answers_ends_is_answered(browser, address, reviews):
    with browsing.opened(browser, address, query="?room=review&queue=all", before=f"({LATE})()") as page:
        at(page, 1)
        for number in range(2, 8):
            page.keyboard.press("ArrowDown")
            at(page, number)


def test_a_chosen_caption_is_not_lost_to_a_search_that_was_still_on_its_way(opened):
    page = opened()
    held, free = [], Event()
    page.route("**/queue/join*", lambda route: route.continue_() if free.is_set() else held.append(route))
    page.get_by_label("Search", exact=True).press("Enter")
    page.locator(".line").nth(4).click()
    wait_for(page, lambda: held)
    page.wait_for_timeout(300)
    assert len(held) == 1  # requests leave one after the other
    held[0].continue_()  # its answer sends the search once more, which the click has left
    wait_for(page, lambda: len(held) == 2)
    page.wait_for_timeout(1000)
    free.set()
    held[1].continue_()
    at(page, 5)
    page.wait_for_timeout(1000)
    at(page, 5)


def test_leaving_the_page_while_it_asks_is_no_error(opened):
    page, held, holding = opened(), [], [True]
    at(page, 1)
    page.route("**/queue/join*", lambda route: held.append(route) if holding else route.continue_())
    page.get_by_label("Search", exact=True).press("Enter")
    page.locator(".line").nth(4).click()
    wait_for(page, lambda: held)
    holding.clear()  # without a route Chromium would let go of what is held, and it might be answered first
    page.reload()  # the fixture asks the console
    at(page, 1)


def test_a_better_text_that_waits_outlives_the_page(opened):
    page = opened()
    at(page, 1)
    page.locator(".line").nth(4).click()
    at(page, 5)
    own, box = row(page), page.locator("#review-text textarea")
    box.fill("a text that nobody has saved")
    page.wait_for_timeout(500)
    page.reload()
    at(page, 5)
    assert row(page) == own
    expect(box).to_have_value("a text that nobody has saved", timeout=MS)
    box.press("Control+Enter")  # saves it, and goes on
    at(page, 6)
    page.reload()
    expect(page.locator(browsing.AT_WORK)).to_be_visible(timeout=MS)
    page.wait_for_timeout(1500)
    expect(box).to_have_value("")


def test_better_texts_that_wait_at_other_captions_outlive_the_page(opened):
    page = opened()
    box = page.locator("#review-text textarea")
    for number in (1, 3):
        at(page, number)
        box.fill(f"a text for {number}")
        page.locator(".line").nth(number + 1).click()
    at(page, 5)
    page.reload()
    at(page, 5)
    expect(box).to_have_value("")
    for number in (3, 1):
        page.locator(".line").nth(number - 1).click()
        at(page, number)
        expect(box).to_have_value(f"a text for {number}", timeout=MS)
    box.press("Escape")  # what is given up is gone, the other stays
    page.reload()
    at(page, 1)
    expect(box).to_have_value("")
    page.locator(".line").nth(2).click()
    at(page, 3)
    expect(box).to_have_value("a text for 3", timeout=MS)


def test_a_page_whose_studio_was_started_again_or_ended_says_so(browser, ledger, reviews):
    page = browser.new_page()
    with studio(ledger.folder) as url:
        page.goto(f"{url}?room=review&queue=all")
        expect(page.locator(browsing.AT_WORK)).to_be_visible(timeout=MS)
        expect(page.locator("#review-focus .focus")).to_be_visible(timeout=MS)
        assert page.locator(".lost").count() == 0
    with studio(ledger.folder, port=int(url.rpartition(":")[2])):
        page.locator(".line").nth(3).click()
        expect(page.locator(".lost")).to_contain_text("was started again since this page was opened. Reload", timeout=MS)
        assert page.evaluate(CONTRAST) == [] and page.locator(".lost").get_attribute("role") == "alert"
        page.reload()
        expect(page.locator(browsing.AT_WORK)).to_be_visible(timeout=MS)
        expect(page.locator("#review-focus .focus")).to_be_visible(timeout=MS)
        assert page.locator(".lost").count() == 0
    page.locator(".line").nth(2).click()
    expect(page.locator(".lost")).to_contain_text("does not answer. Start it again with lab studio", timeout=MS)
    page.close()


def test_a_slow_hand_chooses_what_it_pressed_on(opened):
    page = opened()
    at(page, 1)
    page.get_by_label("Search", exact=True).focus()
    page.locator(".line").nth(4).hover()
    page.mouse.down()  # leaves the search field, which asks; a list drawn anew under the pressed button would lose the click
    page.wait_for_timeout(1500)
    page.mouse.up()
    at(page, 5)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (900, "dark")])
def test_the_room_fits_the_window_with_contrast_and_names(opened, width, scheme):
    page = opened(width=width, scheme=scheme)
    press(page, "k")
    press(page, "d")
    press(page, "ArrowUp")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(CONTRAST) == []
    assert nameless(page) == []
    assert page.locator(".focus img").evaluate("image => [image.complete, image.naturalWidth]") == [True, 512]
    assert page.evaluate("window.hacked") is None


def test_a_blind_audit_hides_what_could_lead_and_ends_in_curves(opened, reviews, ledger):
    page = opened()
    page.get_by_role("tab", name="Blind audit").click()
    assert [key.text_content() for key in page.locator(".keys:visible li").all()] == ["Yyes", "Nno", "Uunsure", "Zundo", "↑↓caption"]
    page.locator("#audit-size input").fill("32")
    page.locator("#audit-size input").blur()  # a key in a field is a letter, not an answer
    expect(page.locator("#audit-where b").nth(1)).to_have_text("32", timeout=MS)
    asked = page.locator("#audit-question .focus")
    words = {}
    for number in range(32):
        for hidden in (".verdict", ".origin", ".match", ".badge", "figcaption"):
            expect(asked.locator(hidden)).to_have_count(0)
        words[asked.get_attribute("data-row")] = word = ("yes", "yes", "no", "unsure")[number % 4]
        before = page.evaluate("auditShown()")
        page.keyboard.press(word[0])
        page.wait_for_function("before => auditShown() !== before", arg=before)
    expect(page.locator("#audit-notice")).to_contain_text("Every caption has an answer")
    _, drawn = draw(ledger, Policy(), 32, 0)
    assert len(words) == len(drawn) == 32
    sheet = "audit web=0.5 synthetic=0.5 size=32 seed=0"
    assert {key: own.word for key, own in reviews.words(sheet).items()} == words and reviews.words() == {}
    page.locator("#audit-estimate").click()
    expect(page.locator("#audit-result svg.curves")).to_have_count(2, timeout=MS)
    assert page.locator("#audit-result polyline.curve").count() == 4
    expect(page.locator("#audit-result tbody tr").nth(2)).to_contain_text("all")
    assert page.evaluate(CONTRAST) == []
    page.keyboard.press("z")
    expect(page.locator("#audit-where")).to_contain_text("31 answered", timeout=MS)


def test_the_export_is_that_of_the_command_and_decisions_show_it(opened, reviews, ledger, tmp_path):
    page = opened()
    first = row(page)
    page.keyboard.press("e")
    area = page.locator("#review-text textarea")
    area.fill(TALL)
    area.press("Control+Enter")
    at(page, 2)
    second = row(page)
    press(page, "d")
    page.locator("#review-write").click()
    expect(page.locator("#review-exported")).to_have_text("Written: 2 verdicts are new in the ledger. Nothing was exported.", timeout=MS)
    expect(page.locator("#review-download")).to_be_hidden()
    assert sum(verdict["by"] == "person" for verdict in decide(ledger).to_pylist()) == 2
    page.locator("#review-export").click()
    expect(page.locator("#review-exported")).to_contain_text("0 verdicts are new in the ledger", timeout=MS)
    with page.expect_download() as download:
        page.locator("#review-download").click()
    download.value.save_as(tmp_path / "browser.parquet")
    there = tmp_path / "command.parquet"
    words = ["ledger", "export", str(ledger.folder), "--format", "parquet", "--out", str(there)]
    assert main(words) == 0
    assert (tmp_path / "browser.parquet").read_bytes() == there.read_bytes()
    rows = {own["row_id"]: own for own in pq.read_table(there).to_pylist()}
    assert rows[first]["caption"] == TALL and rows[first]["edited_from"] == STRANGE[0]
    assert second not in rows
    page.get_by_role("tab", name="Decisions").click()  # and the page is not loaded again
    expect(page.locator(".card").first.locator(".verdict").first).to_have_text("kept by a person", timeout=MS)
    expect(page.locator(".card").first.locator("del")).to_have_text(STRANGE[0])
    expect(page.locator(".card").first.locator(".text").first).to_have_text(TALL)


def test_on_a_phone_captions_come_before_what_is_set_once(opened):
    page = opened(width=420)
    assert page.locator(".keys:visible").inner_text().split()[:2] == ["K", "keep"]
    order = ("#reviewer", "#review-queue", "#review-focus", "#review-web", "#review-agreement")
    tops = [page.locator(name).bounding_box()["y"] for name in order]
    assert tops == sorted(tops)
