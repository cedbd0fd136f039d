"""JSON of files that people hand over."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds; ValueError for every text that cannot be read, also one nested too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep to be read") from None
