"""What speaks to a user: an error, a warning, and the end that a signal asked for."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence with the remedy."""


class InputWarning(UserWarning):
    """Something the user should know of, and the work goes on; the message is one sentence."""


class Stopped(KeyboardInterrupt):
    """A signal ended work that can be continued; the message is one sentence, `number` is the signal's."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number
