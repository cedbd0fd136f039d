"""What people wait for in the studio, timed inside a real browser.

A wait begins with the time stamp of the input event and ends with the frame after the one in which all that
was asked for is there, pictures decoded included.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from blip.errors import InputError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MS = 120_000
"""Milliseconds after which an answer is given up."""

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
_SCRIPT = """
window.bench = (() => {
  const one = (selector) => document.querySelector(selector);
  const whole = (place) => {
    const images = [...document.querySelectorAll(`${place} img`)].filter((image) => image.checkVisibility());
    return images.length > 0 && images.every((image) => image.complete && image.naturalWidth > 0);
  };
  const met = {};
  const waits = (name, kind, done) => {
    let begun = null;
    const end = new AbortController();
    document.addEventListener(kind, (event) => { begun = event.timeStamp; }, { capture: true, signal: end.signal });
    delete met[name];
    const look = () => {
      if (begun === null || !done()) return requestAnimationFrame(look);
      end.abort();
      requestAnimationFrame(() => { met[name] = performance.now() - begun; });
    };
    requestAnimationFrame(look);
  };
  const turned = () => {
    const before = [one("#cards .card").dataset.key, one("#where b").innerText];
    return () => whole("#cards") && one("#cards .card").dataset.key !== before[0] && one("#where b").innerText !== before[1];
  };
  const moved = () => {
    const slider = one("#web-limit input[type=range]"), before = slider.value;
    return () => slider.value !== before && whole("#cards")
      && [one("#web-scores svg.histogram")?.ariaLabel, one("#cards .match")?.title]
        .every((said) => said?.endsWith(`${Number(slider.value).toFixed(2)}`));
  };
  const found = () => {
    const card = () => one("#search-found .card")?.dataset.key;
    const before = card();
    return () => whole("#search-found") && card() !== before;
  };
  const seen = (selector, place) => () => Boolean(one(selector)?.checkVisibility()) && whole(place);
  return { one, whole, met, waits, turned, moved, found, seen };
})();
"""
STUDIO_THERE = "bench.whole('#cards') && bench.one('#where b') && bench.one('svg.histogram')"
BLANK_THERE = "bench.one('#blank p')?.checkVisibility()"
"""What must be on the page for its first view to be there."""

ROOMS = {
    "Compare": "bench.seen('svg.scatter', '#compare-cards')",
    "Search": "bench.seen('#search-found', '#search-found')",
    "Review": "bench.seen('#review-focus .focus', '#review-focus')",
}
"""Rooms by name, and what must be seen in them, in JavaScript."""
SIGN = "() => [...document.querySelectorAll('#compare-where p, #review-where p, #search-found p')].some((one) => one.checkVisibility())"
"""Whether a room that was just opened says a word."""


@contextmanager
def chromium() -> Iterator["Browser"]:
    """The system's Chromium, without a window; InputError where it or playwright is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError("This bench drives a browser: install it with pip install playwright.") from None
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise InputError("This bench needs Chromium; install it, for example with apt-get install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_FLAGS))
        yield browser
        browser.close()


@contextmanager
def visit(browser: "Browser", url: str, there: str) -> Iterator[tuple["Page", float]]:
    """A page in a session with an empty cache, and the milliseconds from its request to its first view."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(_SCRIPT)
    page = context.new_page()
    page.set_default_timeout(MS)
    page.goto(url, wait_until="commit")
    first = page.wait_for_function(f"() => window.bench && {there} && performance.now()").json_value()
    yield page, round(first, 1)
    context.close()


def at_work(page: "Page") -> float:
    """Milliseconds from the page's request until it can be used: a view is there a moment before its buttons are."""
    return round(page.wait_for_function("() => bench.one('.rooms:not([inert])') && performance.now()").json_value(), 1)


def turns(page: "Page", count: int, *, button: bool) -> list[float]:
    """Milliseconds of so many turns to the next page, by its button or by the arrow key."""
    found = []
    for _ in range(count):
        _begin(page, "pointerdown" if button else "keydown", "bench.turned()")
        if button:
            page.click("#next-page")
        else:
            page.keyboard.press("ArrowRight")
        found.append(_end(page))
    return found


def moves(page: "Page", count: int) -> list[float]:
    """Milliseconds of so many moves of the web threshold by a step, by the arrow keys, up and down in turn."""
    found, slider = [], page.locator("#web-limit input[type=range]")
    slider.focus()
    for number in range(count):
        _begin(page, "keydown", "bench.moved()")
        page.keyboard.press("ArrowLeft" if number % 2 else "ArrowRight")
        found.append(_end(page))
    slider.blur()
    return found


def drags(page: "Page", count: int) -> list[float]:
    """Milliseconds from the last position of a drag of the web threshold to its answer; so many drags."""
    found, slider = [], page.locator("#web-limit input[type=range]")
    left, top, width, tall = slider.evaluate("one => { const { x, y, width, height } = one.getBoundingClientRect(); return [x, y, width, height]; }")
    height, at = top + tall / 2, lambda share: left + share * width
    page.mouse.move(at(0.5), height)
    page.mouse.down()
    for number in range(count):
        end = 0.3 + 0.01 * number if number % 2 else 0.7 - 0.01 * number
        # As a hand moves: positions on the way are asked for, too, and answers to them are still to come.
        page.mouse.move(at((end + 0.5) / 2), height, steps=20)
        _begin(page, "input", "bench.moved()")
        page.mouse.move(at(end), height)
        found.append(_end(page))
    page.mouse.up()
    return found


def opening(page: "Page", room: str) -> float:
    """Begin to open a room: milliseconds until it says a word; `opened` waits for the rest."""
    _begin(page, "pointerdown", SIGN, "sign")
    _begin(page, "pointerdown", ROOMS[room])
    page.get_by_role("tab", name=room, exact=True).click()
    return _end(page, "sign")


def opened(page: "Page") -> float:
    """Milliseconds until all is there in the room that is being opened."""
    return _end(page)


def searches(page: "Page", texts: Sequence[str]) -> list[float]:
    """Milliseconds of a search for each text, in the room Search."""
    found, box = [], page.get_by_label("Find images by a text")
    for text in texts:
        box.fill(text)
        _begin(page, "keydown", "bench.found()")
        box.press("Enter")
        found.append(_end(page))
    return found


def _begin(page: "Page", kind: str, done: str, name: str = "answer") -> None:
    """Wait from now on for an input event and then for a condition, JavaScript that gives a function."""
    page.evaluate(f"() => bench.waits('{name}', '{kind}', {done})")


def _end(page: "Page", name: str = "answer") -> float:
    from playwright.sync_api import TimeoutError

    try:
        return round(page.wait_for_function(f"() => bench.met['{name}']").json_value(), 1)
    except TimeoutError:
        raise InputError(f"The studio did not answer within {MS // 1000} seconds; look at it with lab studio.") from None
