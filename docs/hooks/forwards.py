"""What griffe is told of this house: which undocumented members readers still want to see."""

import re
from typing import Any

import griffe

# Code, which stays as it is, or the star of a file pattern.
_STAR = re.compile(r"(`[^`]*`)|(?<=[/_])\*(?=\.)")


class Forwards(griffe.Extension):
    """Shows `forward`, which its class describes, hides attributes of classes that nobody described, and keeps stars."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Mark what has no docstring as public or not."""
        for name, member in cls.members.items():
            if member.is_attribute and not member.has_docstring:
                member.public = False
            if name == "forward" and not member.has_docstring:
                member.docstring = griffe.Docstring("As its class says.", parent=member)

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Keep the stars of file patterns, which Markdown would take for emphasis."""
        if obj.docstring:
            obj.docstring.value = _STAR.sub(lambda found: found.group(1) or r"\*", obj.docstring.value)
