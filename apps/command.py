"""`lab studio`: look at a ledger in the browser."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, UseAppendAction, arg

from apps.access import LOCAL, PASSWORD, HostCheck, known_password, login, names_of
from apps.jobs import Job, Jobs
from apps.links import OTHERS, UP
from apps.models import open_models
from apps.rooms import Rooms, Shared, open_rooms
from apps.running import Running, Weights
from apps.trying import Workbench
from blip.capfilt import Policy
from blip.errors import InputError
from lab.runs import Home

MAX_UPLOAD = 64_000_000
"""Bytes of the largest file that a browser may send; the rooms take smaller ones and say so."""


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
    """Word that the browser must give, with any user name; better set it as BLIP_LAB_PASSWORD, which other users of this
    machine cannot read. Who has it may start jobs on files that you may read."""
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
    """Captioner of the rooms Try it and Run: our .safetensors, a published .pth, a folder in transformers' layout, or hf:NAME;
    by default the one that came with the package."""
    filter: str | None = None
    """Filter of the rooms Try it and Run, in the same forms."""
    vqa: str | None = None
    """Model that answers questions in the room Try it: what lab finetune vqa left, or published VQA weights."""
    vocab: Path | None = None
    """A BERT vocab.txt, for weights that come without one (published .pth)."""


def main(options: Options) -> int:
    """Serve until Ctrl+C."""
    _check(options)
    with ExitStack() as opened:
        shared = _shared(options)
        rooms = open_rooms(
            opened,
            options.ledger,
            shared,
            reviews=options.reviews,
            compare=options.compare,
            compare_root=options.compare_root,
            search_index=options.search_index,
            search_weights=options.search_weights,
        )
        _serve(options, rooms, lambda id: _rooms_of(shared.running.done(id), opened, shared))
    return 0


def _rooms_of(job: Job, opened: ExitStack, shared: Shared) -> Rooms:
    policy = Policy(web=job.threshold, synthetic=job.threshold)
    return open_rooms(opened, Path(job.out), shared, policy=policy)


def _shared(options: Options) -> Shared:
    models = open_models(options.captioner, options.filter, options.vqa, options.vocab)
    weights = Weights.of(options.captioner, options.filter, options.vocab)
    jobs = Jobs(Home.default().folder / "jobs")
    running = Running(jobs, weights, options.ledger)
    return Shared(workbench=Workbench(models), running=running, vocab=options.vocab)


def _check(options: Options) -> None:
    if options.host not in LOCAL and not known_password(options.password):
        raise InputError(f"--host {options.host} lets other machines in; give --password too, or set {PASSWORD}.")
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


def _serve(options: Options, rooms: Rooms, others: Callable[[str], Rooms]) -> None:
    """others: the rooms over the ledger of a job that is done, by its id."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads it when it is imported
    from apps import theme
    from apps.shelf import Shelf
    from apps.studio import studio

    look: dict[str, Any] = {"footer_links": [], "max_file_size": MAX_UPLOAD, "ssr_mode": False}
    look |= {"theme": theme.theme(), "css": theme.css(), "head": theme.head()}
    shelf = Shelf(lambda id: studio(others(id), up=UP), look)
    demo = studio(rooms)
    app, url, _ = demo.launch(
        server_name=options.host,
        server_port=options.port,
        inbrowser=options.open,
        # Gradio awaits it, but its annotation does not say so.
        auth=login(known_password(options.password)),  # type: ignore[arg-type]
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        app_kwargs={"lifespan": shelf.lifespan, "middleware": [(HostCheck, (), {"names": names_of(options.host)})]},
        **look,
    )
    app.mount(f"/{OTHERS}/{{name}}", shelf)
    print(f"studio: {url}   (Ctrl+C ends it)", flush=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        stop.wait()
    except KeyboardInterrupt:
        print()
    finally:
        demo.close(verbose=False)
