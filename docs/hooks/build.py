"""What `mkdocs build` makes beside the texts in docs: the tour, the reference, and texts from elsewhere in the repository."""

from collections.abc import Iterator
from typing import Any

import reference
import tour
from links import PAGES, page_of, relinked
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from shelves import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the tour and the reference into the navigation where it names them."""
    notebooks = [page_of(f"notebooks/{path.name}") for path in NOTEBOOKS]
    made = {"Tour": notebooks, "Reference": reference.navigation()}
    config.nav = [{title: made.get(title, entry) for title, entry in part.items()} for part in config.nav]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and their pictures."""
    for path, content in _made():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let texts in docs link to notebooks and other files of the repository as they do where it is hosted."""
    return markdown if page.file.generated_by else relinked(markdown, f"docs/{page.file.src_uri}")


def _made() -> Iterator[tuple[str, str | bytes]]:
    for path in NOTEBOOKS:
        notebook = tour.read(path)
        yield page_of(f"notebooks/{path.name}"), notebook.markdown
        yield from ((f"tour/{name}", picture) for name, picture in notebook.pictures.items())
    yield from reference.pages().items()
    for path, page in PAGES.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        yield page, relinked(text, path) if path.endswith(".md") else _quoted(path, text)


def _quoted(path: str, text: str) -> str:
    return f"# {path.removesuffix('.cff').capitalize()}\n\n```text\n{text.rstrip()}\n```\n"
