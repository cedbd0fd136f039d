"""`lab studio`: look at a ledger in the browser."""

import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from apps.comparing import Comparing
from apps.models import open_models
from apps.reviewing import Desk
from apps.reviews import Reviews, beside
from apps.rooms import Rooms
from apps.searching import Searching
from apps.service import Service
from apps.trying import Workbench
from blip.capfilt import Ledger
from blip.errors import InputError
from lab.audit_draw import identity

MAX_UPLOAD = 64_000_000
"""Bytes of the largest file that a browser may send; the rooms take smaller ones and say so."""

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
    reviews: Path | None = None
    """File of the room Review's verdicts, made with the first one; by default beside the ledger."""
    compare: Annotated[tuple[Path, ...], UseAppendAction, arg(metavar="LEDGER")] = ()
    """A second ledger of the same images for the room Compare; can be given several times."""
    compare_root: Annotated[tuple[Path, ...], UseAppendAction, arg(metavar="FOLDER")] = ()
    """A folder below which ledgers may be opened in the room Compare by typing their path; none by default."""
    search_index: Path | None = None
    """Folder of the index of the room Search; by default search in the ledger's folder (see lab ledger embed)."""
    search_weights: str | None = None
    """The weights that the index was made with, where they no longer lie where they did."""
    captioner: str | None = None
    """Captioner of the room Try it: our .safetensors, a published .pth, a folder in transformers' layout, or hf:NAME;
    by default the one that came with the package."""
    filter: str | None = None
    """Filter of the room Try it, in the same forms."""
    vqa: str | None = None
    """Model that answers questions in the room Try it: what lab finetune vqa left, or published VQA weights."""
    vocab: Path | None = None
    """A BERT vocab.txt, for weights that come without one (published .pth)."""


def main(options: Options) -> int:
    """Serve until Ctrl+C."""
    _check(options)
    with ExitStack() as open_rooms:
        service = open_rooms.enter_context(closing(Service.open(options.ledger)))
        reviews = Reviews(options.reviews or beside(options.ledger), identity(service.ledger))
        desk = open_rooms.enter_context(closing(Desk(service, reviews)))
        ledgers = [service.ledger, *map(Ledger.open, options.compare)]
        comparing = open_rooms.enter_context(closing(Comparing(ledgers, options.compare_root)))
        models = open_models(options.captioner, options.filter, options.vqa, options.vocab)
        searching = Searching(service, options.search_index, weights=options.search_weights, vocab=options.vocab)
        workbench = Workbench(models)
        opened = Rooms(service=service, desk=desk, comparing=comparing, searching=searching, workbench=workbench)
        _serve(options, opened)
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


def _serve(options: Options, rooms: Rooms) -> None:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads it when it is imported
    from apps import theme
    from apps.studio import studio

    demo = studio(rooms)
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
        max_file_size=MAX_UPLOAD,
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
