"""What the rooms' layouts share."""

from typing import Any


def parts(of: Any) -> list[Any]:
    """The components of a room's inputs or outputs, a frozen dataclass, in the order in which handlers get them."""
    return list(vars(of).values())
