"""The site: built strictly with the network forbidden; all names, notebooks and guides are on it, nothing from elsewhere."""

import ast
import functools
import importlib
import os
import re
import subprocess
import sys
import threading
import tomllib
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest
import yaml
from browsing import CONTRAST, opened
from packaging.requirements import Requirement
from test_house import Function, files, module_name, notebooks, tree

import blip

ROOT = Path(__file__).parents[1]
SECONDS = 60  # of the processor, which a machine with other work does not stretch
# Python imports it in every process that finds it.
OFFLINE = """
import socket

def refuse(*words, **named):
    raise OSError(f"no network here: {words}")

socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = socket.getaddrinfo = refuse
"""
# What a browser fetches without being asked to; links that people click are another matter.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\ssrc=["']?([^"'\s>]+)"""
    r"""|<link\b[^>]*?\shref=["']?([^"'\s>]+)|url\(\s*["']?([^"')]+)|@import\s*["']([^"']+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "sitecustomize.py").write_text(OFFLINE)
    # Not --quiet: mkdocs counts only the warnings that it prints.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder / "site")]
    env = os.environ | {"PYTHONPATH": str(folder), "NO_MKDOCS_2_WARNING": "1"}
    before = os.times()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0 and "WARNING" not in done.stdout + done.stderr, done.stdout + done.stderr
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < SECONDS, f"the build took {spent:.0f} s of the processor"
    return folder / "site"


@pytest.fixture(scope="module")
def entries(site):
    """The anchors of the reference, and the page of each."""
    pages = sorted((site / "reference").rglob("index.html"))
    return {name: page for page in pages for name in re.findall(r'\bid="?([\w.]+)', page.read_text())}


def test_every_name_of_the_front_door_has_its_entry(site, entries):
    front = (site / "reference" / "index.html").read_text()
    for name in blip.__all__:
        found = getattr(importlib.import_module(blip._HOMES[name]), name)
        anchor = f"{found.__module__}.{found.__qualname__}"
        assert anchor in entries, f"blip.{name} has no entry"
        assert re.search(rf'href="?[\w./]*#{re.escape(anchor)}"?[ >]', front), f"the front door does not lead to {name}"


def test_every_public_module_class_and_function_has_one_entry(entries):
    wanted = set()
    for path in files("blip", "lab", "apps"):
        module = module_name(path)
        bodies = [node for node in tree(path).body if isinstance(node, ast.ClassDef | Function)]
        wanted |= {f"{module}.{node.name}" for node in bodies if not node.name.startswith("_")}
        wanted.add(module)
    assert len(wanted) > 1000
    # The package blip itself is the front page.
    assert wanted - set(entries) - {"blip"} == set()


def test_constructors_types_and_docstrings_are_shown(entries):
    page = entries["blip.objectives.hard_negatives"].read_text()
    entry = page[page.index('id="blip.objectives.hard_negatives"') :]
    text = re.sub(r"<[^>]+>", "", entry[: entry.index('id="blip.objectives.itm"')])
    signature = "hard_negatives( similarity: Tensor, excluded: Tensor, draws: Tensor, floor: float ) -> tuple[Tensor, Tensor]"
    assert signature in " ".join(text.replace("-&gt;", "->").split())
    assert "the likelier the more similar it is (paper 3.2, after ALBEF)" in text


def test_every_notebook_is_a_page_with_its_pictures(site):
    assert len(notebooks()) >= 11
    for path in notebooks():
        page = (site / "tour" / path.stem / "index.html").read_text()
        notebook = nbformat.read(path, as_version=4)
        # Sliders keep in the metadata what they showed last.
        widgets = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {"state": {}})
        holders = [*notebook.cells, *(widget["state"] for widget in widgets["state"].values())]
        outputs = [output for holder in holders for output in holder.get("outputs", [])]
        drawn = sum("image/png" in output.get("data", {}) for output in outputs)
        shown = re.findall(r'<img alt="[^"]+" class="output"[^>]* src="([^"]+)"', page)
        assert drawn and len(shown) == drawn, path.name
        for name in shown:
            assert (site / "tour" / path.stem / name).resolve().read_bytes().startswith(b"\x89PNG")
        assert page.count('class="language-python') + page.count('class="highlight"') >= 5, path.name


def test_every_guide_is_a_page(site):
    for path in (ROOT / "docs").glob("*.md"):
        folder = site if path.stem == "index" else site / path.stem
        heading = re.search(r"^# (.+)$", path.read_text(), re.MULTILINE).group(1)
        assert heading in (folder / "index.html").read_text()
    assert "Two commands" in (site / "manual" / "index.html").read_text()


def test_nothing_is_fetched_from_elsewhere(site):
    fetched = [
        (path.relative_to(site).as_posix(), next(filter(None, found)))
        for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")])
        for found in FETCHED.findall(path.read_text())
    ]
    assert len(fetched) > 300
    assert [(page, address) for page, address in fetched if re.match(r"(?:\w+:)?//", address)] == []


@pytest.fixture(scope="module")
def served(site):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
@pytest.mark.parametrize("path", ["", "tour/02_capfilt_step_by_step/", "reference/blip/objectives/", "determinism/"])
def test_pages_load_fit_and_can_be_read(browser, served, path, width, scheme):
    """`opened` fails on errors in the console and on requests to another machine."""
    with opened(browser, served, width, scheme, query=path, at_work="") as page:
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CONTRAST) == []


def test_the_search_finds_a_name(browser, served):
    with opened(browser, served, at_work="") as page:
        page.get_by_label("Search", exact=True).first.click()
        page.get_by_role("textbox", name="Search").fill("hard_negatives")
        page.locator(".md-search-result__link", has_text="Objectives").first.wait_for()


def declared():
    """The packages of pyproject.toml by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return {Requirement(line).name for line in lines}


def test_every_declared_package_has_its_job_and_licence():
    rows = re.findall(r"^\| ([\w-]+) \| (.+) \| (.+) \| (.+) \|$", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE)
    told = [name for name, *_ in rows if name not in ("package", "---")]
    assert len(told) == len(set(told))
    assert set(told) == declared()


def test_tests_and_records_that_pages_name_are_there():
    for page in (ROOT / "docs").glob("*.md"):
        for name in re.findall(r"`((?:tests|lab|blip|apps|docs)/[\w./-]+)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_the_manual_cites_as_the_citation_file_does():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    manual = (ROOT / "README.md").read_text().replace("{", "").replace("}", "")
    (paper,) = cited["references"]
    names = " and ".join(f"{one['family-names']}, {one['given-names']}" for one in paper["authors"])
    for said in (cited["title"], cited["authors"][0]["name"], f"Version {blip.__version__}", paper["title"], names, str(paper["year"]), "arXiv:2201.12086"):
        assert said in manual, said
    assert str(cited["version"]) == blip.__version__


_LINK = re.compile(r"\]\(([^)\s]+)\)")


def slug(heading):
    """The anchor of a heading, as it is made where the repository is hosted."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "blip/weights/README.md"], ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_of_the_repository(page):
    """And to a heading of it, where it names one; the site rewrites links, the repository is read as it is."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for target in _LINK.findall(text):
        name, _, anchor = target.partition("#")
        if re.match(r"\w+:", target):
            continue
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page.name} links to {target}"


def test_links_to_modules_lead_into_the_reference_on_the_site(site, entries):
    home = (site / "index.html").read_text()
    for module in ("blip.model", "blip.capfilt", "blip.capfilt.ledger", "lab.ablations", "blip.metrics"):
        page = entries[module].parent.relative_to(site).as_posix()
        assert re.search(rf'href="?{page}/#{re.escape(module)}"?[ >]', home), module
    assert re.search(r'href="?reference/"?[ >]', home)
    told = (site / "determinism" / "index.html").read_text()
    assert re.search(r'href="?\.\./reference/blip/train/#blip\.draws"?[ >]', told)
