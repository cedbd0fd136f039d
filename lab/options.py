"""Options of a command from the words of a command line, with every refusal as one sentence."""

import contextlib
import difflib
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from blip.errors import InputError

_NONE_FITS = r"Error parsing (\S+): no type matching"
# What tyro says in a box over several lines, and what we say: pattern -> sentence.
_SENTENCES = (
    (r"Missing from .*?: (.+)", r"needs \1"),
    (r"Missing value for argument '(.+?)'.*", r"needs a value after \1"),
    (r"invalid choice '(.*)' for argument '(.+?)'\. Expected one of \((.+?),?\)\.", r"has no \2 '\1': choose \3"),
    (rf"{_NONE_FITS} \{{None\}}\|INT could be instantiated from \[(.+?)\]\..*", r"needs a whole number for \1, not \2"),
    (rf"{_NONE_FITS} \{{None\}}\|FLOAT could be instantiated from \[(.+?)\]\..*", r"needs a number for \1, not \2"),
    (rf"{_NONE_FITS} FLOAT\|\{{none\}} could be instantiated from \[(.+?)\]\..*", r"needs a number or none for \1, not \2"),
    (rf"{_NONE_FITS} (.+) could be instantiated from \[(.+?)\]\..*", r"cannot use \3 for \1; it takes \2"),
    (r"Error parsing (\S+): invalid literal for int\(\).*: (.+)", r"needs a whole number for \1, not \2"),
    (r"Error parsing (\S+): could not convert string to float: (.+)", r"needs a number for \1, not \2"),
    (r"Error parsing (\S+): (.+)", r"cannot use \1: \2"),
)
_DEVICE = re.compile(r"(cpu|cuda)(:\d+)?")
# Wide enough that no sentence is wrapped inside a word.
_WIDE = "10000"


def read_options(command: str, kind: type, words: list[str]) -> Any:
    """The `kind` (a frozen dataclass) that the words describe; None when they asked for help, now printed.

    Raises InputError, with one sentence that names the option, for words that do not fit.
    """
    try:
        with _unseen() as said:
            options, unknown = _parsed(command, kind, words)
    except SystemExit as end:
        if end.code:
            raise InputError(f"{_refusal(said.getvalue(), command, kind)}; see lab {command} --help.") from None
        return _show_help(command, kind, words)
    _check_words(command, words)
    if unknown:
        raise InputError(f"{_no_option(unknown[0], command, kind)}; see lab {command} --help.")
    return options


def _check_words(command: str, words: list[str]) -> None:
    """InputError for what every command refuses; in the options an empty path is already the current folder."""
    if any(not word.strip() for word in _given("--out", words)):
        raise InputError(f"{command} --out names nothing; give a path (is a variable of the shell not set?).")
    for word in _given("--device", words):
        if not _DEVICE.fullmatch(word):
            raise InputError(f"{command} knows no --device {word!r}; give cpu or cuda.")


def _given(option: str, words: list[str]) -> Iterator[str]:
    """What was given to an option, as a word of its own or behind `=`."""
    yield from (after for word, after in itertools.pairwise(words) if word == option)
    yield from (word.removeprefix(f"{option}=") for word in words if word.startswith(f"{option}="))


def did_you_mean(asked: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'` when a known word is close, else nothing."""
    close = difflib.get_close_matches(asked, known, n=1)
    return f", did you mean {close[0]!r}" if close else ""


def _parsed(command: str, kind: type, words: list[str]) -> tuple[Any, list[str]]:
    import tyro

    return tyro.cli(
        kind, prog=f"lab {command}", args=words, return_unknown_args=True, config=(tyro.conf.OmitArgPrefixes,)
    )


def _show_help(command: str, kind: type, words: list[str]) -> None:
    # Again, now seen: with the colours, boxes and width of the reader's own terminal.
    with contextlib.suppress(SystemExit):
        _parsed(command, kind, words)


@contextlib.contextmanager
def _unseen() -> Iterator[io.StringIO]:
    """Catch what tyro prints; into a stream that is no terminal it writes no colours and no box."""
    said, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDE
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            yield said
    finally:
        os.environ.pop("COLUMNS")
        if columns is not None:
            os.environ["COLUMNS"] = columns


def _refusal(said: str, command: str, kind: type) -> str:
    """A sentence from: a title, a rule, two-space indented lines, a rule, and lines that we leave out."""
    lines = [line[2:].rstrip() for line in said.splitlines()[2:]]
    if "Unrecognized options:" in lines:
        return _no_option(lines[lines.index("Unrecognized options:") + 1].strip(), command, kind)
    block = lines[: next((row for row, line in enumerate(lines) if line.startswith("---")), len(lines))]
    if block[0].startswith("Missing from"):
        # Names stand at four spaces, their help texts at eight.
        names = [line.strip() for line in block if re.match(r" {4}\S", line)]
        block = [block[0], " and ".join(names)]
    text = " ".join(line.strip() for line in block)
    for pattern, sentence in _SENTENCES:
        if re.fullmatch(pattern, text):
            return f"{command} {re.sub(pattern, sentence, text)}".rstrip(".")
    return f"{command}: {text.rstrip('.')}"


def _no_option(word: str, command: str, kind: type) -> str:
    known = [f"--{name.replace('_', '-')}" for name in _names(kind)]
    if not word.startswith("-"):
        return f"{command} does not know what to do with {word!r}"
    return f"{command} has no option {word!r}{did_you_mean(word, known)}"


def _names(kind: type) -> Iterator[str]:
    """The options of a dataclass, not what has its place; those of a dataclass within it have no prefix."""
    from tyro.conf import Positional

    types, marks = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        if Positional in getattr(marks[field.name], "__metadata__", ()):
            continue
        if is_dataclass(types[field.name]):
            yield from _names(types[field.name])
        else:
            yield field.name
