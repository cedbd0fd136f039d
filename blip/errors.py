"""What speaks to a user: an error, a warning, and the end that a signal asked for."""

import re

_LONGEST = 1_000  # characters of a sentence; what lies between its beginning and its remedy is left out
_REMEDY = 400
_BREAKS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_UNSEEN = re.compile(r"[\0-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def one_line(text: str) -> str:
    """A text as one line that any terminal can show: breaks as spaces, what cannot be shown as escapes.

    Names of files and columns, and what libraries say of broken files, may hold anything.
    """
    line = _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], _BREAKS.sub(" ", text.strip()))
    if len(line) <= _LONGEST:
        return line
    return f"{line[: _LONGEST - _REMEDY]} [...] {line[-_REMEDY:]}"


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence with the remedy, on one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in a notebook in place of a stack trace: the sentence says it all."""
        return [f"{type(self).__name__}: {self}"]


class InputWarning(UserWarning):
    """Something the user should know of, and the work goes on; the message is one sentence."""


class Stopped(KeyboardInterrupt):
    """A signal ended work that can be continued; the message is one sentence, `number` is the signal's."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number
