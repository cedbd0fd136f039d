"""What the browser tests share: the studio in a process of its own, Chromium, and a page that complains of nothing."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parents[1]
SECONDS = 60
AT_WORK = ".rooms:not([inert])"
"""What is on the studio's page when a person can use it."""
MS = 1000 * SECONDS
_SERVE = "import sys; from lab.cli import main; sys.exit(main(['studio', '--no-open', *sys.argv[1:]]))"
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
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
"""Gives every text on the page whose contrast is below 4.5 (WCAG AA)."""
_WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa"]}, "resultTypes": ["violations"]}
# A colour on its way to another one is neither.
_STILL = """() => Promise.allSettled(
  document.getAnimations().filter((one) => one instanceof CSSTransition).map((one) => one.finished))"""


@contextmanager
def studio(*words: str | Path, settings: Mapping[str, str] = {}, port: int = 0) -> Iterator[str]:
    """`lab studio WORDS` once it answers: its address; it must end well.

    settings: of the environment. port: 0 for one that is free.
    """
    with socket.create_server(("127.0.0.1", port)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _SERVE, *map(str, words), "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | settings
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        assert said.startswith(f"studio: http://127.0.0.1:{port}"), said
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(SECONDS) == 0


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; the test fails where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("The browser tests need Chromium; install it, for example with apt-get install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser,
    address: str,
    width: int = 1280,
    scheme: str = "light",
    height: int = 900,
    query: str = "",
    at_work: str = AT_WORK,
    before: str = "",
) -> Iterator[Page]:
    """A page in a browser session of its own. Errors in the console and requests to other machines fail the test.

    at_work: what is on the page when a person can use it; "" where that is at once. before: a script that runs before the page's own.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.add_init_script(before)
    page.set_default_timeout(MS)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else complaints.append(r.url))
    page.goto(address + query)
    if at_work:
        page.wait_for_selector(at_work, state="attached")
    yield page
    context.close()
    assert complaints == [], complaints


def nameless(page: Page) -> list[str]:
    """The inputs and buttons that a screen reader could not name."""
    name = "p => p.ariaLabel || p.innerText || [...(p.labels || [])].map(l => l.innerText).join()"
    parts = page.locator("input:visible, button:visible, textarea:visible").all()
    return [part.evaluate("part => part.outerHTML") for part in parts if not part.evaluate(name).strip()]


def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2 A and AA on the page as it is: rule, place and HTML of each."""
    expect(page.locator(".pending")).to_have_count(0, timeout=MS)  # Gradio fades what waits for its answer
    page.evaluate(_STILL)
    found = Axe().run(page, options=_WCAG).response["violations"]
    return [
        f"{rule['id']} at {' '.join(map(str, node['target']))}: {node['html'][:200]}"
        for rule in found
        for node in rule["nodes"]
    ]
