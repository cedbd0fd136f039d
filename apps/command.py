"""`lab studio`: look at a ledger in the browser."""

import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from apps.service import Service
from blip.errors import InputError

_LOCAL = {"127.0.0.1", "localhost"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Look at a ledger in the browser: what was kept and filtered, and why."""

    ledger: Annotated[Path, Positional, arg(metavar="LEDGER")]
    """Folder of the ledger, as lab demo or lab capfilt wrote it."""
    host: str = "127.0.0.1"
    """Address to serve at; any other than this machine's own needs --password."""
    port: int = 7860
    """Port to serve at."""
    open: bool = True
    """Show the studio in the browser at once."""
    password: str | None = None
    """Word that the browser must give, with any user name."""


def main(options: Options) -> int:
    """Serve until Ctrl+C."""
    _check(options)
    service = Service.open(options.ledger)
    try:
        _serve(options, service)
    finally:
        service.close()
    return 0


def _check(options: Options) -> None:
    if options.host not in _LOCAL and not options.password:
        raise InputError(f"--host {options.host} lets other machines in; give --password too.")
    if not 1 <= options.port <= 65535:
        raise InputError(f"--port {options.port} cannot be; give 1 to 65535.")
    try:
        with socket.create_server((options.host, options.port)):
            pass
    except OSError as error:
        raise InputError(
            f"The studio cannot be served at {options.host}:{options.port} ({error.strerror}); "
            "give another --host or --port."
        ) from None


def _serve(options: Options, service: Service) -> None:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads it when it is imported
    from apps import theme
    from apps.studio import studio

    demo = studio(service)
    _, url, _ = demo.launch(
        server_name=options.host,
        server_port=options.port,
        inbrowser=options.open,
        auth=_login(options.password),
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        footer_links=[],
        theme=theme.theme(),
        css=theme.css(),
        head=theme.head(),
    )
    print(f"studio: {url}   (Ctrl+C ends it)", flush=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        stop.wait()
    except KeyboardInterrupt:
        print()
    finally:
        demo.close(verbose=False)


def _login(password: str | None) -> Callable[[str, str], bool] | None:
    if not password:
        return None
    return lambda user, given: secrets.compare_digest(given.encode(), password.encode())
