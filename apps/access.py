"""Who may reach the studio: under which names a browser may ask for it, and who knows its password."""

import asyncio
import os
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Message, Receive, Send], Awaitable[None]]

LOCAL = ("127.0.0.1", "localhost")
"""Addresses that only this machine reaches."""
PASSWORD = "BLIP_LAB_PASSWORD"
"""The environment variable that may hold the password: what stands in a command line, all users of a machine can read."""

_ANY = ("0.0.0.0", "::")
_SECONDS = 1.0  # that a wrong login takes


def known_password(given: str | None) -> str | None:
    """The password of the command line, else that of the environment; None where there is none."""
    return given or os.environ.get(PASSWORD) or None


def names_of(host: str) -> list[str]:
    """The names under which a studio that is served at a host may be asked for; none where any is as good.

    That is at every address: there is a password, and a browser gives what it got for it to no other name.
    """
    return [] if host in _ANY else [*LOCAL, "[::1]", host.lower()]


class HostCheck:
    """ASGI middleware that refuses requests whose Host header is none of these names, where there are names.

    A page of a stranger can let its own name point to 127.0.0.1 (DNS rebinding): to the browser the studio is then
    a part of that page.
    """

    def __init__(self, app: Asgi, names: Sequence[str]) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request through, or say why not."""
        if scope["type"] == "http" and self._names and _host(scope) not in self._names:
            known = ", ".join(self._names)
            return await refuse(send, 400, f"This studio answers at {known}; start it with --host for another name.")
        await self._app(scope, receive, send)


def _host(scope: Message) -> str:
    """The name in a request's Host header, without the port."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(:\d*)?", given)
    return found[1].lower() if found else ""


async def refuse(send: Send, status: int, sentence: str) -> None:
    """Answer a request with a status and one sentence."""
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})


def login(password: str | None) -> Callable[[str, str], Awaitable[bool]] | None:
    """Whether a login is right, as Gradio asks; None where nobody needs to log in.

    Logins are looked at one after the other, and a wrong one takes a second: a word cannot be guessed by trying.
    """
    if password is None:
        return None
    turn = asyncio.Lock()

    async def right(user: str, given: str) -> bool:
        async with turn:
            if secrets.compare_digest(given.encode(), password.encode()):
                return True
            await asyncio.sleep(_SECONDS)
            return False

    return right
