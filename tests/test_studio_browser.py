"""The studio as a person sees it: started by its command, used in a browser, without a word in the console."""

import re
import time
import urllib.error
import urllib.request
from threading import Event

import pytest
from browsing import AT_WORK, CONTRAST, MS, ROOT, SECONDS, nameless, opened, studio
from playwright.sync_api import Page, TimeoutError, expect
from studio_ledgers import ITEMS, generated_ledger

from apps.access import PASSWORD
from apps.theme import DARK, LIGHT
from blip.capfilt import Policy, decide_duckdb


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return generated_ledger(tmp_path_factory.mktemp("studio") / "ledger")


@pytest.fixture(scope="module")
def address(ledger):
    with studio(ledger.folder) as url:
        yield url


@pytest.fixture(params=[(1280, "light"), (900, "dark")], ids=["1280-light", "900-dark"])
def room(request, browser, address):
    """The room Decisions, open."""
    with opened(browser, address, *request.param) as page:
        expect(page.locator(".card")).to_have_count(12, timeout=MS)
        yield page


def where(room: Page, text: str) -> None:
    """Wait until the line above the cards says so."""
    expect(room.locator("#where")).to_contain_text(text, timeout=MS)


def move(room: Page, origin: str, threshold: float) -> None:
    box = room.locator(f"#{origin}-limit input[type=number]")
    box.fill(str(threshold))
    box.press("Tab")


def test_the_room_fits_the_window_and_shows_each_caption_with_word_picture_and_number(room):
    assert room.evaluate("document.documentElement.scrollWidth <= innerWidth")
    first = room.locator(".card").nth(5)
    assert first.get_attribute("data-key") == ITEMS[5].key
    expect(first.locator(".caption.kept, .caption.filtered").first).to_be_visible()
    assert first.locator(".verdict").first.inner_text() in ("kept", "filtered")
    assert re.fullmatch(r"0\.\d\d|1\.00", first.locator(".match b").first.inner_text().split()[-1])
    size = first.locator("img").evaluate("image => [image.complete, image.naturalWidth]")
    assert size == [True, 256]
    assert ITEMS[5].caption in first.inner_text()


def test_an_emptied_number_of_a_slider_leaves_what_is_known(room):
    kept, box = room.locator("#web-scores .split .kept b"), room.locator("#web-limit input[type=number]")
    first = kept.inner_text()
    move(room, "web", 0.8)
    expect(kept).not_to_have_text(first, timeout=MS)
    before = kept.inner_text()
    box.fill("")
    room.wait_for_timeout(1000)
    assert kept.inner_text() == before
    box.press("Tab")
    expect(box).to_have_value("0.8")
    move(room, "web", 0.01)
    expect(kept).not_to_have_text(before, timeout=MS)
    room.get_by_role("tab", name="Search", exact=True).click()
    search = room.locator("#search-web input[type=number]")
    search.fill("")
    search.press("Tab")
    expect(search).to_have_value("0.01")
    assert room.get_by_text("Error", exact=True).count() == 0


def test_moved_thresholds_show_the_counts_of_decide(room, ledger):
    for policy in (Policy(web=0.8), Policy(web=0.8, synthetic=0.25), Policy(web=0.01, synthetic=1.0)):
        move(room, "web", policy.web)
        move(room, "synthetic", policy.synthetic)
        verdicts = decide_duckdb(ledger, policy).to_pylist()
        for origin in ("web", "synthetic"):
            own = [v["kept"] for v in verdicts if v["origin"] == origin]
            scores = room.locator(f"#{origin}-scores")
            expect(scores.locator(".split .kept b")).to_have_text(str(sum(own)), timeout=MS)
            expect(scores.locator(".split .filtered b")).to_have_text(str(len(own) - sum(own)))
        shown = {card.get_attribute("data-key"): card for card in room.locator(".card").all()}
        for verdict in verdicts[:8]:
            side = "kept" if verdict["kept"] else "filtered"
            card = shown[verdict["image_key"]]
            caption = card.locator(".caption").nth(0 if verdict["origin"] == "web" else 1)
            expect(caption).to_have_class(f"caption {side}")


def test_thresholds_go_along_from_room_to_room(room, ledger):
    def kept_in_decisions(policy):
        verdicts = decide_duckdb(ledger, policy).to_pylist()
        for origin in ("web", "synthetic"):
            expect(room.locator(f"#{origin}-limit input[type=number]")).to_have_value(f"{getattr(policy, origin):g}", timeout=MS)
            kept = sum(v["kept"] for v in verdicts if v["origin"] == origin)
            expect(room.locator(f"#{origin}-scores .split .kept b")).to_have_text(str(kept), timeout=MS)

    def enter(name):
        room.get_by_role("tab", name=name, exact=True).click()

    def in_review(policy):
        kept = sum(decide_duckdb(ledger, policy)["kept"].to_pylist())
        expect(room.locator("#review-web input")).to_have_value(f"{policy.web:g}", timeout=MS)
        expect(room.locator("#review-synthetic input")).to_have_value(f"{policy.synthetic:g}", timeout=MS)
        expect(room.locator("#review-queue")).to_contain_text(f"Kept · {kept}", timeout=MS)

    move(room, "web", 0.8)
    enter("Review")  # for the first time
    in_review(Policy(web=0.8))
    room.locator("#review-synthetic input").fill("0.25")
    in_review(Policy(web=0.8, synthetic=0.25))
    enter("Decisions")
    kept_in_decisions(Policy(web=0.8, synthetic=0.25))
    move(room, "web", 0.3)
    enter("Review")  # again
    in_review(Policy(web=0.3, synthetic=0.25))
    enter("Search")
    expect(room.locator("#search-web input[type=number]")).to_have_value("0.3", timeout=MS)
    room.locator("#search-synthetic input[type=number]").fill("0.6")
    room.keyboard.press("Tab")
    enter("Decisions")
    kept_in_decisions(Policy(web=0.3, synthetic=0.6))
    for limit, verdict in ((1, "filtered"), (0, "kept")):
        enter("Decisions")
        move(room, "synthetic", limit)
        enter("Try it")
        expect(room.locator(f"#said article.{verdict}")).to_have_count(6, timeout=MS)
        expect(room.locator("#said article")).to_have_count(6)


def test_a_number_beyond_the_slider_is_its_end(room):
    for typed, kept in ((5, 0), (-1, len(ITEMS))):
        move(room, "web", typed)
        expect(room.locator("#web-scores .split .kept b")).to_have_text(str(kept), timeout=MS)
    assert room.locator(".toast-body").count() == 0


def test_a_room_that_is_not_at_work_yet_cannot_be_touched(room):
    """Its first answer is held back: what a person did now would be lost."""
    held, free = [], Event()
    page = room.context.new_page()  # a reload would cut off answers that are on their way, an error in the console
    page.set_default_timeout(MS)
    page.route("**/queue/join*", lambda route: route.continue_() if free.is_set() else held.append(route))
    page.goto(room.url)
    expect(page.locator(".card")).to_have_count(12, timeout=MS)
    expect(page.locator(".rooms[inert]")).to_have_count(1)
    page.keyboard.press("ArrowRight")
    with pytest.raises(TimeoutError, match="element is inert"):
        page.locator("#next-page").click(timeout=1000)
    where(page, "page 1 of 5")
    free.set()
    for route in held:
        route.continue_()
    page.locator("#next-page").click()
    where(page, "page 2 of 5")
    assert held


def test_a_dragged_slider_arrives_at_its_last_position(room, ledger):
    slider = room.locator("#web-limit input[type=range]")
    slider.focus()
    for _ in range(25):
        slider.press("ArrowRight")
    wanted = sum(v["kept"] for v in decide_duckdb(ledger, Policy(web=0.75)).to_pylist() if v["origin"] == "web")
    kept = room.locator("#web-scores .split .kept b")
    expect(kept).to_have_text(str(wanted), timeout=MS)
    where(room, "page 1 of 5")  # the arrow keys moved the slider and turned no page


def test_arrow_keys_turn_pages_but_not_while_a_person_types(room):
    where(room, "1–12 of 60")
    room.keyboard.press("ArrowRight")
    where(room, "13–24 of 60")
    expect(room.locator(".card").first).to_have_attribute("data-key", ITEMS[12].key)
    room.keyboard.press("ArrowRight")
    where(room, "page 3 of 5")
    room.keyboard.press("ArrowLeft")
    where(room, "page 2 of 5")
    room.get_by_label("Search in captions").focus()
    room.keyboard.press("ArrowRight")
    time.sleep(0.5)
    where(room, "page 2 of 5")
    move(room, "web", 0.9)
    expect(room.locator("#web-scores svg.histogram")).to_have_attribute("aria-label", re.compile("0.90"), timeout=MS)
    where(room, "page 2 of 5")
    room.get_by_role("button", name="Previous").click()
    where(room, "page 1 of 5")
    expect(room.get_by_role("button", name="Previous")).to_be_disabled()


def test_search_and_views_and_an_answer_without_images(room, ledger):
    search = room.get_by_label("Search in captions")
    search.fill("UNDER_score")
    where(room, "1–1 of 1 images")
    expect(room.locator("mark")).to_have_text("under_score")
    search.fill("no such text")
    expect(room.locator(".empty")).to_contain_text("No image matches.", timeout=MS)
    search.fill("")
    where(room, "1–12 of 60")
    kept = {}
    for verdict in decide_duckdb(ledger).to_pylist():
        kept.setdefault(verdict["image_key"], set()).update([verdict["origin"]] if verdict["kept"] else [])
    only = sum(origins == {"synthetic"} for origins in kept.values())
    room.get_by_text(f"Only synthetic kept · {only}").click()
    where(room, f"of {only} images")
    expect(room.locator(".caption.kept")).to_have_count(min(only, 12))


def test_captions_are_shown_as_text_and_never_run(room):
    cards = room.locator(".card")
    expect(cards.nth(0)).to_contain_text("<script>window.hacked = 1</script><img src=x onerror=")
    expect(cards.nth(1)).to_contain_text("{{value}} ${window.hacked = 3} under_score")
    long = cards.nth(3).locator(".fold")
    assert long.evaluate("fold => fold.scrollHeight > fold.clientHeight")
    long.click()
    assert long.evaluate("fold => fold.scrollHeight === fold.clientHeight")
    assert long.inner_text().count("und so weiter") == 40
    assert room.evaluate("window.hacked") is None


ROOMS = ("Review", "Compare", "Search", "Try it", "Run", "Claims")


def test_a_reload_comes_back_to_the_room_and_to_the_look(browser, address):
    with opened(browser, address, query="?__theme=dark") as page:
        for name in (*ROOMS, "Decisions"):
            page.get_by_role("tab", name=name, exact=True).click()
            expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")
            page.wait_for_function("!document.querySelector('.pending')")
            page.wait_for_timeout(500)
            page.goto(page.url)
            page.wait_for_selector(AT_WORK, state="attached")
            expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true", timeout=MS)
            assert page.locator("body").get_attribute("class") == "dark"
        assert page.url == f"{address}/?__theme=dark"


def test_on_a_phone_a_room_behind_the_button_is_in_the_address_too(browser, address):
    with opened(browser, address, 390) as page:
        page.get_by_label("More tabs").click()
        page.locator(".overflow-dropdown button", has_text="Claims").first.click()
        page.wait_for_url("**/?room=claims")


def test_an_answer_that_comes_late_leaves_the_address_of_the_room_that_is_open(browser, address):
    with opened(browser, address, query="?room=review&queue=all") as page:
        expect(page.locator("#review-where b").first).to_have_text("1", timeout=MS)
        held, holding = [], [True]
        page.route("**/queue/join*", lambda route: held.append(route) if holding else route.continue_())
        page.keyboard.press("ArrowDown")
        page.get_by_role("tab", name="Claims").click()
        holding.clear()
        for route in held:
            route.continue_()
        expect(page.locator("#claims section").first).to_be_visible(timeout=MS)
        expect(page.locator("#review-where b").first).to_have_text("2", timeout=MS)
        assert page.url == f"{address}/?room=claims"


def test_what_has_the_focus_is_outlined(room):
    for name in ("#web-limit input[type=range]", "[role=tab][aria-selected=true]"):
        part = room.locator(name).first
        part.focus()
        room.keyboard.press("Shift")  # focus by keyboard
        look = part.evaluate("part => [getComputedStyle(part).outlineStyle, getComputedStyle(part).outlineOffset, part.matches(':focus-visible')]")
        assert look == ["solid", "-2px", True]  # inside, where nothing cuts it off


def test_on_a_phone_images_come_right_after_the_thresholds(browser, address):
    with opened(browser, address, 390, height=844) as page:
        expect(page.locator(".card")).to_have_count(12, timeout=MS)
        order = ("#web-limit", "#synthetic-limit", "#cards", "svg.curves", "table.truth")
        tops = [page.locator(name).first.bounding_box()["y"] for name in order]
        assert tops == sorted(tops) and tops[2] < 2 * 844
        line, quiet = page.locator("#where p").bounding_box(), page.locator("#where .quiet").bounding_box()
        assert line["height"] < 60 and quiet["y"] >= line["y"] + 20  # two lines, and the page on its own
        for name in ("Previous", "Next"):
            button = page.get_by_role("button", name=name)  # still known by its word
            assert button.bounding_box()["width"] < 60
        page.get_by_role("button", name="Next").click()
        where(page, "page 2 of 5")


def test_all_text_has_the_contrast_of_wcag_aa_and_every_input_a_name(room):
    assert room.evaluate(CONTRAST) == []
    assert nameless(room) == []


def test_blue_and_vermillion_are_those_of_okabe_and_ito_on_light_ground():
    assert (LIGHT["kept"], LIGHT["filtered"]) == ("#0072b2", "#d55e00")
    assert set(LIGHT) == set(DARK)


def test_no_file_is_served_and_no_endpoint_is_public(address, ledger):
    for path in (ledger.folder / "ledger.json", ROOT / "pyproject.toml"):
        with pytest.raises(urllib.error.HTTPError, match="40[34]"):
            urllib.request.urlopen(f"{address}/gradio_api/file={path}", timeout=SECONDS)
    with urllib.request.urlopen(f"{address}/gradio_api/info", timeout=SECONDS) as answer:
        assert b'"named_endpoints":{}' in answer.read().replace(b" ", b"")


def test_no_page_reaches_the_studio_under_a_name_of_its_own(address):
    for path in ("/", "/config", "/gradio_api/queue/join", "/l/20260102-030405-0001/"):
        rebound = urllib.request.Request(address + path, headers={"Host": "evil.example:7860"})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(rebound, timeout=SECONDS)
    local = urllib.request.Request(f"{address}/config", headers={"Host": "localhost:7860"})
    with urllib.request.urlopen(local, timeout=SECONDS) as answer:
        assert answer.status == 200


def test_a_password_is_asked_for_and_nothing_is_left_behind(ledger, browser, tmp_path):
    with studio(ledger.folder, settings={"TMPDIR": str(tmp_path), PASSWORD: "open sesame"}) as url:
        assert list(tmp_path.glob("blip-lab-studio-*"))
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}/config", timeout=SECONDS)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(f"{url}/login", b"username=anybody&password=sesame", timeout=SECONDS)
        page = browser.new_page()
        page.set_default_timeout(MS)
        page.goto(url)
        page.get_by_label("username").fill("anybody")
        page.get_by_label("password").fill("open sesame")
        page.get_by_role("button", name="Login").click()
        expect(page.locator(".card")).to_have_count(12, timeout=MS)
        page.close()
    assert not list(tmp_path.glob("blip-lab-studio-*"))
