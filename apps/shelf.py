"""The ledgers of jobs that are done, each in a studio of its own under /l/ID/ of the one that is served.

An ASGI application. A studio is made when somebody asks for it first, over the ledger that the job with this
id has written: an address names a job, never a path, and a studio opens no image but those its ledger names.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http.cookies import CookieError, SimpleCookie
from typing import Any

import gradio as gr
from gradio.routes import App

from apps.access import Message, Receive, Send, refuse
from blip.errors import InputError


class Shelf:
    """The studios over other ledgers. It lets in whom the studio that it is mounted in lets in.

    made: the studio of a job's id; InputError where no ledger can be opened. It is called once an id, in a
    thread. look: how each is shown, as Gradio's mount_gradio_app takes it.
    """

    def __init__(self, made: Callable[[str], gr.Blocks], look: Mapping[str, Any]) -> None:
        self._made, self._look = made, look
        self._stack, self._lock = AsyncExitStack(), asyncio.Lock()
        self._apps: dict[str, App] = {}

    @asynccontextmanager
    async def lifespan(self, app: App) -> AsyncIterator[None]:
        """From the start of the studio that it is mounted in to its end, which ends them all."""
        async with self._stack:
            yield

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request by the studio that its address names."""
        if scope["type"] != "http":
            return
        if not _let_in(scope):
            return await refuse(send, 401, "Log in first, at this studio's own address.")
        try:
            app = await self._app(scope["path_params"]["name"])
        except InputError as error:
            return await refuse(send, 404, str(error))
        await app(scope, receive, send)

    async def _app(self, name: str) -> App:
        async with self._lock:
            if name not in self._apps:
                blocks = await asyncio.to_thread(self._made, name)
                app = App()
                gr.mount_gradio_app(app, blocks, path="/", **self._look)
                # A mounted application gets no start of its own; this starts its queue.
                await self._stack.enter_async_context(app.router.lifespan_context(app))
                self._apps[name] = app
            return self._apps[name]


def _let_in(scope: Message) -> bool:
    """Whether the browser has logged in to the studio that the shelf is mounted in, where it must."""
    studio: App = scope["app"]
    if studio.auth is None:
        return True
    told = b"; ".join(value for name, value in scope["headers"] if name == b"cookie").decode("latin-1")
    try:
        cookies = SimpleCookie(told)
    except CookieError:
        return False
    names = (f"access-token-{studio.cookie_id}", f"access-token-unsecure-{studio.cookie_id}")
    return any(name in cookies and cookies[name].value in studio.tokens for name in names)
