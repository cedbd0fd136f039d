"""The studio as a person sees it: started by its command, used in a browser, without a word in the console."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from studio_ledgers import ITEMS, generated_ledger

from apps.theme import DARK, LIGHT
from blip.capfilt import Policy, decide_duckdb

ROOT = Path(__file__).parents[1]
SERVE = (
    "import sys; from pathlib import Path; from apps.command import Options, main; "
    "sys.exit(main(Options(ledger=Path(sys.argv[1]), port=int(sys.argv[2]), password=sys.argv[3] or None, open=False)))"
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SECONDS = 60


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return generated_ledger(tmp_path_factory.mktemp("studio") / "ledger")


def serve(folder: Path, password: str = "", scratch: Path | None = None) -> tuple[subprocess.Popen, str]:
    """The studio in a process of its own, once it answers, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-c", SERVE, str(folder), str(port), password]
    settings = os.environ | {"PYTHONPATH": str(ROOT)} | ({"TMPDIR": str(scratch)} if scratch else {})
    process = subprocess.Popen(words, cwd=ROOT, env=settings, stdout=subprocess.PIPE, text=True)
    said = process.stdout.readline()
    assert said.startswith(f"studio: http://127.0.0.1:{port}"), said
    return process, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def address(ledger):
    process, url = serve(ledger.folder)
    yield url
    process.terminate()
    process.wait(SECONDS)


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("The browser tests need Chromium; install it, for example with apt-get install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (900, "dark")], ids=["1280-light", "900-dark"])
def room(request, browser, address):
    """The room Decisions, open. Errors in the console and requests to other machines fail the test."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(1000 * SECONDS)
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else complaints.append(r.url))
    page.goto(address)
    expect(page.locator(".card")).to_have_count(12, timeout=1000 * SECONDS)
    yield page
    context.close()
    assert complaints == []


def where(room: Page, text: str) -> None:
    """Wait until the line above the cards says so."""
    expect(room.locator("#where")).to_contain_text(text, timeout=1000 * SECONDS)


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


def test_moved_thresholds_show_the_counts_of_decide(room, ledger):
    for policy in (Policy(web=0.8), Policy(web=0.8, synthetic=0.25), Policy(web=0.01, synthetic=1.0)):
        move(room, "web", policy.web)
        move(room, "synthetic", policy.synthetic)
        verdicts = decide_duckdb(ledger, policy).to_pylist()
        for origin in ("web", "synthetic"):
            own = [v["kept"] for v in verdicts if v["origin"] == origin]
            scores = room.locator(f"#{origin}-scores")
            expect(scores.locator(".split .kept b")).to_have_text(str(sum(own)), timeout=1000 * SECONDS)
            expect(scores.locator(".split .filtered b")).to_have_text(str(len(own) - sum(own)))
        shown = {card.get_attribute("data-key"): card for card in room.locator(".card").all()}
        for verdict in verdicts[:8]:
            side = "kept" if verdict["kept"] else "filtered"
            card = shown[verdict["image_key"]]
            caption = card.locator(".caption").nth(0 if verdict["origin"] == "web" else 1)
            expect(caption).to_have_class(f"caption {side}")


def test_a_number_beyond_the_slider_is_its_end(room):
    for typed, kept in ((5, 0), (-1, len(ITEMS))):
        move(room, "web", typed)
        expect(room.locator("#web-scores .split .kept b")).to_have_text(str(kept), timeout=1000 * SECONDS)
    assert room.locator(".toast-body").count() == 0


def test_a_dragged_slider_arrives_at_its_last_position(room, ledger):
    slider = room.locator("#web-limit input[type=range]")
    slider.focus()
    for _ in range(25):
        slider.press("ArrowRight")
    wanted = sum(v["kept"] for v in decide_duckdb(ledger, Policy(web=0.75)).to_pylist() if v["origin"] == "web")
    kept = room.locator("#web-scores .split .kept b")
    expect(kept).to_have_text(str(wanted), timeout=1000 * SECONDS)
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
    expect(room.locator("#web-scores svg.histogram")).to_have_attribute("aria-label", re.compile("0.90"), timeout=1000 * SECONDS)
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
    expect(room.locator(".empty")).to_contain_text("No image matches.", timeout=1000 * SECONDS)
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


CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || node.disabled || !node.checkVisibility({ visibilityProperty: true }) || node.closest("script, style")) continue;
    const style = getComputedStyle(node);
    const colour = rgb(node instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(colour), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(`${node.tagName}.${node.className} "${node.textContent.slice(0, 30)}" ${ratio.toFixed(2)}`);
  }
  return found;
}"""


def test_all_text_has_the_contrast_of_wcag_aa_and_every_input_a_name(room):
    assert room.evaluate(CONTRAST) == []
    for part in room.locator("input:visible, button:visible").all():
        name = part.evaluate("p => p.ariaLabel || p.innerText || [...(p.labels || [])].map(l => l.innerText).join()")
        assert name.strip(), part.evaluate("part => part.outerHTML")


def test_blue_and_vermillion_are_those_of_okabe_and_ito_on_light_ground():
    assert (LIGHT["kept"], LIGHT["filtered"]) == ("#0072b2", "#d55e00")
    assert set(LIGHT) == set(DARK)


def test_no_file_is_served_and_no_endpoint_is_public(address, ledger):
    for path in (ledger.folder / "ledger.json", ROOT / "pyproject.toml"):
        with pytest.raises(urllib.error.HTTPError, match="40[34]"):
            urllib.request.urlopen(f"{address}/gradio_api/file={path}", timeout=SECONDS)
    with urllib.request.urlopen(f"{address}/gradio_api/info", timeout=SECONDS) as answer:
        assert b'"named_endpoints":{}' in answer.read().replace(b" ", b"")


def test_a_password_is_asked_for_and_nothing_is_left_behind(ledger, browser, tmp_path):
    process, url = serve(ledger.folder, password="open sesame", scratch=tmp_path)
    assert list(tmp_path.glob("blip-lab-studio-*"))
    page = browser.new_page()
    page.set_default_timeout(1000 * SECONDS)
    try:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}/config", timeout=SECONDS)
        page.goto(url)
        page.get_by_label("username").fill("anybody")
        page.get_by_label("password").fill("open sesame")
        page.get_by_role("button", name="Login").click()
        expect(page.locator(".card")).to_have_count(12, timeout=1000 * SECONDS)
    finally:
        page.close()
        process.terminate()
    assert process.wait(SECONDS) == 0
    assert not list(tmp_path.glob("blip-lab-studio-*"))
