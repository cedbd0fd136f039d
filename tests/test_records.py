"""What a record says of how it was made."""

import shlex
import sys
from pathlib import Path

from lab.records import command_line


def test_a_command_can_be_typed_again(monkeypatch):
    words = ["ablate", "mixes", "--only", "raw only", "union", "--out", str(Path.home() / "record.json")]
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/lab", *words])
    said = command_line()
    assert said == "lab ablate mixes --only 'raw only' union --out ~/record.json"
    assert [word.replace("~", str(Path.home())) for word in shlex.split(said)] == ["lab", *words]
