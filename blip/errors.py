"""The one error that speaks to a user."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one sentence with the remedy."""
