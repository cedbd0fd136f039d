"""From paths of the repository to pages of the site, so that one text serves both."""

import posixpath
import re
from collections.abc import Callable
from functools import cache

from shelves import PACKAGES, filled, modules

FRONT = "reference/index.md"

# Texts outside docs that are pages of the site.
PAGES = {
    "README.md": "manual.md",
    "CONTRIBUTING.md": "about/contributing.md",
    "CHANGELOG.md": "about/changelog.md",
    "SECURITY.md": "about/security.md",
    "LICENSE": "about/license.md",
    "CITATION.cff": "about/citation.md",
    "lab/LOG.md": "about/log.md",
    "blip/weights/README.md": "about/weights.md",
}
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def page_of(path: str) -> str:
    """Where a file of the repository is found under `docs`, with an anchor where it is a part of a page; notebooks are pages of the tour, modules stand in the reference."""
    if path in PAGES:
        return PAGES[path]
    if path.endswith(".py") and path.startswith(tuple(f"{package}/" for package in PACKAGES)):
        return _described().get(path, path)
    if path.startswith("notebooks/"):
        return f"tour/{path.removeprefix('notebooks/').removesuffix('.ipynb')}.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else posixpath.join("..", path)


@cache
def _described() -> dict[str, str]:
    """Where the reference describes each module: page and anchor under `docs`, by the module's path in the repository."""
    held = filled(name for name in modules() if name != "blip")
    places = {name: f"{shelf.page}#{name}" for shelf, names in held.items() for name in names} | {"blip": FRONT}
    ends = ("/__init__.py", ".py")
    return {name.replace(".", "/") + end: place for name, place in places.items() for end in ends}


def relinked(text: str, path: str) -> str:
    """Markdown of the file `path` of the repository, its links rewritten for its page; MkDocs finds those that fail."""
    return _LINK.sub(_rewriter(path), text)


def _rewriter(path: str) -> Callable[[re.Match], str]:
    here = posixpath.dirname(page_of(path)) or "."

    def rewrite(found: re.Match) -> str:
        opening, target, closing = found.groups()
        name, mark, anchor = target.partition("#")
        if not name or "://" in name or name.startswith("mailto:"):
            return found.group()
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
        page, own_mark, own_anchor = page_of(meant).partition("#")
        part = f"{mark}{anchor}" or f"{own_mark}{own_anchor}"
        return f"{opening}{posixpath.relpath(page, here)}{part}{closing}"

    return rewrite
