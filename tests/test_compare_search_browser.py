"""The rooms Compare and Search as a person sees them: started by the command, used in a browser, no word in the console."""

import io
import re

import pytest
from browsing import CONTRAST, MS, nameless, opened, studio
from fake_models import FakeFilter
from PIL import Image
from playwright.sync_api import expect
from studio_ledgers import ITEMS, STRANGE, WORLD, generated_ledger

from apps.compared import BOTH, NEITHER, ONLY_A, ONLY_B, QUADRANTS
from blip.capfilt import Ledger, Policy, decide_duckdb
from blip.capfilt.scoring import score
from lab.cli import main
from lab.weights import WEIGHTS
from lab.world.checker import check
from lab.world.sets import as_pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three ledgers of the same images: one with two filters and an index, one with more captions, one to be typed."""
    folder = tmp_path_factory.mktemp("rooms")
    first = generated_ledger(folder / "first")
    images = {pair.key: pair for pair in as_pairs(ITEMS, WORLD.level.px)}
    score(first, {"shared": FakeFilter("shared")}, images=images)
    generated_ledger(folder / "second", candidates=2)
    generated_ledger(folder / "allowed" / "third")
    words = ["--weights", str(WEIGHTS / "filter.safetensors"), "--device", "cpu"]
    assert main(["ledger", "embed", str(folder / "first"), *words]) == 0
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with studio(folder / "first", "--compare", folder / "second", "--compare-root", folder / "allowed") as url:
        yield url


@pytest.fixture(params=[(1440, "light"), (900, "dark")], ids=["1440-light", "900-dark"])
def window(request, browser, address):
    """The studio, open."""
    with opened(browser, address, *request.param, height=1000) as page:
        expect(page.locator(".card")).to_have_count(12, timeout=MS)
        yield page


@pytest.fixture
def compare(window):
    window.get_by_role("tab", name="Compare").click()
    expect(window.locator("svg.scatter")).to_be_visible(timeout=MS)
    choose(window, "b", "match probability (ITM), shared")
    expect(window.locator("#compare-b input")).to_have_value(re.compile(r"match probability \(ITM\), shared · .*/first"))
    expect(window.locator("#compare-counts .sources")).to_contain_text("first · shared.itm_prob", timeout=MS)
    return window


@pytest.fixture
def search(window):
    window.get_by_role("tab", name="Search").click()
    expect(window.locator(".picks button")).to_have_count(24, timeout=MS)
    return window


def choose(room, side, label):
    box = room.locator(f"#compare-{side} input")
    if label not in box.input_value():
        box.click()
        room.get_by_role("option", name=label).click()


def move(room, place, threshold):
    box = room.locator(f"#{place} input[type=number]")
    box.fill(str(threshold))
    box.press("Tab")


def test_at_every_width_both_verdicts_and_the_plots_words_can_be_read(browser, address):
    with opened(browser, address, 1440, height=1000) as page:
        page.get_by_role("tab", name="Compare").click()
        expect(page.locator("svg.scatter")).to_be_visible(timeout=MS)
        page.locator("#compare-part").get_by_text(re.compile("^All")).click()
        expect(page.locator("#compare-cards .card").first).to_be_visible(timeout=MS)
        for width in (1440, 1024, 390):
            page.set_viewport_size({"width": width, "height": 900})
            cut = """() => [...document.querySelectorAll(".sides .verdict, .sides .match b")].filter((part) =>
                part.getBoundingClientRect().right > part.closest(".card").getBoundingClientRect().right).length"""
            assert page.evaluate(cut) == 0
            sizes = """plot => [...plot.querySelectorAll("text")].map((text) => parseFloat(getComputedStyle(text).fontSize)
                * plot.getBoundingClientRect().width / plot.viewBox.baseVal.width)"""
            assert min(page.locator("svg.scatter").evaluate(sizes)) > 10
            box = page.locator("#compare-origin input")
            assert box.evaluate("box => parseFloat(getComputedStyle(box).paddingRight)") >= 24  # its arrow stands there


def quadrants(folder, a, b):
    """What both filters of the first ledger keep at two thresholds, by part."""
    ledger = Ledger.open(folder / "first")
    kept = [
        decide_duckdb(ledger, Policy(filter=name, web=limit, synthetic=limit))["kept"].to_pylist()
        for name, limit in (("itm", a), ("shared", b))
    ]
    pairs = list(zip(*kept, strict=True))
    return {part: pairs.count(sides) for sides, part in QUADRANTS.items()}


def expect_counts(room, wanted):
    label = ", ".join(f"{part.lower()} {wanted[part]}" for part in (BOTH, ONLY_A, ONLY_B, NEITHER))
    expect(room.locator("svg.scatter")).to_have_attribute("aria-label", re.compile(f"{label}$"), timeout=MS)
    for part, count in wanted.items():
        row = room.locator("table.quadrants tr", has_text=part)
        expect(row.locator("td").first).to_have_text(str(count))


def where(room, text):
    expect(room.locator("#compare-where")).to_contain_text(text, timeout=MS)


def point(room, *shares):
    """Click at a share of either axis, or drag between two such points."""
    ground = room.locator("svg.scatter .ground").bounding_box()
    places = [
        (ground["x"] + x * ground["width"], ground["y"] + (1 - y) * ground["height"])
        for x, y in zip(shares[::2], shares[1::2], strict=True)
    ]
    room.mouse.move(*places[0])
    room.mouse.down()
    room.mouse.move(*places[-1], steps=4)
    room.mouse.up()


def upload(room, name, data):
    with room.expect_file_chooser() as chooser:
        room.get_by_role("button", name="Upload an image").click()
    chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": data})


def test_moved_thresholds_show_the_counts_of_decide_and_the_cards_that_differ(compare, folder):
    assert compare.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for a, b in ((0.5, 0.5), (0.8, 0.5), (0.8, 0.2)):
        move(compare, "a-limit", a)
        move(compare, "b-limit", b)
        wanted = quadrants(folder, a, b)
        expect_counts(compare, wanted)
        differ = wanted[ONLY_A] + wanted[ONLY_B]
        where(compare, f"of {differ} captions")
        pairs = compare.locator("#compare-cards .pair")
        expect(pairs).to_have_count(min(12, differ))
        for pair in pairs.all()[:4]:
            assert sorted(pair.locator(".verdict").all_inner_texts()) == ["filtered", "kept"]
    kept = sum(wanted[part] for part in (BOTH, ONLY_A))
    compare.get_by_role("button", name="Keep as many as A").click()
    expect(compare.locator("#b-limit input[type=number]")).not_to_have_value("0.2", timeout=MS)
    text = compare.locator("#compare-b-split .kept b")
    expect(text).not_to_have_text(str(wanted[BOTH] + wanted[ONLY_B]))
    assert kept <= int(text.inner_text()) <= kept + 4


def test_a_clicked_quadrant_and_a_dragged_box_choose_the_cards(compare, folder):
    wanted = quadrants(folder, 0.5, 0.5)
    for shares, part in (((0.2, 0.8), ONLY_B), ((0.9, 0.1), ONLY_A), ((0.1, 0.1), NEITHER), ((0.9, 0.9), BOTH)):
        point(compare, *shares)
        where(compare, f"of {wanted[part]} captions")
        expect(compare.locator("#compare-part label.selected")).to_have_text(f"{part} · {wanted[part]}")
    ledger = Ledger.open(folder / "first")
    scores = zip(*(ledger.table(f"scores/{name}")["itm_prob"].to_pylist() for name in ("itm", "shared")), strict=True)
    inside = sum(0.25 <= a <= 0.75 and 0.4 <= b <= 1 for a, b in scores)
    point(compare, 0.25, 0.4, 0.75, 1.2)
    where(compare, f"of {inside} captions")
    expect(compare.locator("svg.scatter .box")).to_have_count(1)
    compare.get_by_role("button", name="Clear the area").click()
    where(compare, f"of {sum(wanted.values())} captions")
    expect(compare.locator("svg.scatter .box")).to_have_count(0)
    compare.keyboard.press("ArrowRight")
    where(compare, "13–24 of")


def test_another_ledger_stands_beside_and_a_typed_one_only_below_its_root(compare, folder):
    choose(compare, "b", f"match probability (ITM), itm · {folder.name}/second")
    extra = Ledger.open(folder / "second").table("candidates").num_rows - Ledger.open(folder / "first").table("candidates").num_rows
    expect(compare.locator("#compare-counts")).to_contain_text(f"{extra} of B have no counterpart in A.", timeout=MS)
    where(compare, "0 captions")  # the same captioner and filter agree
    expect(compare.locator("#compare-cards .empty")).to_contain_text("No caption is in this part.")
    typed = compare.get_by_label("Another ledger")
    typed.fill(str(folder / "second"))
    compare.get_by_role("button", name="Open", exact=True).click()
    expect(compare.locator("#compare-opened")).to_contain_text("is outside the folders", timeout=MS)
    typed.fill(str(folder / "allowed" / "third"))
    compare.get_by_role("button", name="Open", exact=True).click()
    expect(compare.locator("#compare-opened")).to_contain_text("allowed/third is open", timeout=MS)
    choose(compare, "b", "cosine (ITC), itm · allowed/third")
    expect(compare.locator("#b-limit input[type=number]")).not_to_have_value("0.5", timeout=MS)
    expect(compare.locator(".toast-body")).to_have_count(0)


def test_a_text_finds_images_and_thresholds_change_their_verdicts(search, folder):
    assert search.evaluate("document.documentElement.scrollWidth <= innerWidth")
    search.get_by_label("Find images by a text").fill("a red tree")
    search.get_by_role("button", name="Find", exact=True).click()
    cards = search.locator("#search-found .card")
    expect(cards).to_have_count(24, timeout=MS)
    matches = [float(text.split()[1]) for text in search.locator("#search-found .scores span:nth-of-type(1)").all_inner_texts()]
    assert matches == sorted(matches, reverse=True)
    first = next(item for item in ITEMS if item.key == cards.first.get_attribute("data-key"))
    assert any(thing.colour == "red" or thing.kind == "tree" for thing in first.scene.things)
    search.get_by_text("ITC alone").click()
    expect(search.locator("#search-found .scores").first).to_contain_text("ITM –", timeout=MS)
    cosines = [text.split()[1].replace("−", "-") for text in search.locator("#search-found .scores span:nth-of-type(2)").all_inner_texts()]
    assert list(map(float, cosines)) == sorted(map(float, cosines), reverse=True)
    for limit, side in ((1, "filtered"), (0, "kept")):
        move(search, "search-web", limit)
        expect(search.locator("#search-found .card").first.locator(".caption").first).to_have_class(f"caption {side}", timeout=MS)


def test_an_image_chosen_or_uploaded_finds_captions(search):
    number = next(at for at, item in enumerate(ITEMS) if at >= len(STRANGE) and check(item.caption, item.scene).strict)
    search.locator(".picks button").nth(number).click()
    texts = search.locator(".ranked-texts li")
    expect(texts).to_have_count(24, timeout=MS)
    chosen = texts.locator(".text").all_inner_texts()
    expect(search.locator(".ranked-texts .badge", has_text="of this image")).not_to_have_count(0)
    expect(texts.first.locator(".verdict").first).to_contain_text(re.compile(r"\d+ (kept|filtered)"))
    search.get_by_role("button", name="Choose an image").click()
    expect(search.locator(".picks button")).to_have_count(24, timeout=MS)
    file = io.BytesIO()
    Image.fromarray(ITEMS[number].image(WORLD.level.px)).save(file, format="PNG")
    upload(search, "chosen.png", file.getvalue())
    expect(texts).to_have_count(24, timeout=MS)
    assert texts.locator(".text").all_inner_texts() == chosen
    upload(search, "page.png", b"<html>")
    expect(search.locator("#search-found .empty")).to_contain_text("This file cannot be used", timeout=MS)
    search.get_by_label("Find images by a text").fill("a blue ball")
    search.keyboard.press("Enter")
    search.locator("#search-found .ask").first.click()
    expect(texts).to_have_count(24, timeout=MS)


def test_all_text_of_compare_has_the_contrast_of_wcag_aa_and_every_input_a_name(compare):
    assert compare.evaluate(CONTRAST) == []
    assert nameless(compare) == []


def test_all_text_of_search_has_the_contrast_of_wcag_aa_and_every_input_a_name(search):
    search.locator(".picks button").first.click()
    expect(search.locator(".ranked-texts li")).to_have_count(24, timeout=MS)
    assert search.evaluate(CONTRAST) == []
    assert nameless(search) == []


def test_without_an_index_the_room_says_which_command_makes_it(browser, folder):
    with studio(folder / "second") as url, opened(browser, url) as page:
        page.get_by_role("tab", name="Search").click()
        expect(page.locator("#search-found code")).to_have_text(f"lab ledger embed {folder / 'second'} --weights {WEIGHTS / 'pretrained.safetensors'}", timeout=MS)
        page.get_by_role("tab", name="Compare").click()
        expect(page.locator("svg.scatter")).to_be_visible(timeout=MS)
        expect(page.get_by_label("Another ledger")).to_have_count(0)
