"""The `lab` command: finds the command's module, reads its options, says errors in one sentence.

Nothing heavy is imported before the command is known, so that `lab --help` answers at once.
"""

import codecs
import errno
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TextIO

from blip import __version__
from blip.errors import InputError, InputWarning, Stopped, one_line
from lab.options import did_you_mean, read_options

# The one place that knows every room: command -> (module with Options and main, what it does).
COMMANDS = {
    "demo": ("lab.commands.demo", "CapFilt on a generated noisy web, with the weights that come along"),
    "data check": ("lab.commands.data_check", "what a data set holds: pictures that open, captions, equal ones, rejects"),
    "capfilt": ("lab.commands.capfilt", "caption and filter your own image-text pairs"),
    "ledger summary": ("lab.commands.ledger_summary", "what was kept and filtered"),
    "ledger score": ("lab.commands.ledger_score", "add filters; nothing is captioned again"),
    "ledger decide": ("lab.commands.ledger_decide", "verdicts under a policy, as Parquet or CSV"),
    "ledger export": ("lab.commands.ledger_export", "the kept pairs as tars, a list or Parquet"),
    "ledger diff": ("lab.commands.ledger_diff", "what changed between two ledgers"),
    "ledger agree": ("lab.commands.ledger_agree", "how far scores move with device and precision"),
    "ledger verify": ("lab.commands.ledger_verify", "prove that a ledger is whole"),
    "ledger show": ("lab.commands.ledger_show", "every caption and score of one image"),
    "ledger card": ("lab.commands.ledger_card", "write the data card under a policy"),
    "ledger embed": ("lab.commands.ledger_embed", "the index by which the studio searches a ledger"),
    "ledger audit": ("lab.commands.ledger_audit", "people judge a sample: precision and recall of the filter"),
    "studio": ("apps.command", "look at a ledger in the browser"),
    "pretrain": ("lab.commands.pretrain", "ITC, ITM and LM on your own pairs"),
    "finetune retrieval": ("lab.commands.finetune_retrieval", "image-text retrieval with ITC and ITM"),
    "finetune captioning": ("lab.commands.finetune_captioning", "a captioner with LM"),
    "evaluate retrieval": ("lab.commands.evaluate_retrieval", "recalls both ways, zero-shot or fine-tuned"),
    "evaluate captioning": ("lab.commands.evaluate_captioning", "captions, their metrics, the servers' result file"),
    "finetune vqa": ("lab.commands.finetune_vqa", "answer questions about images; your own table of questions"),
    "finetune nlvr": ("lab.commands.finetune_nlvr", "judge statements about two images"),
    "evaluate vqa": ("lab.commands.evaluate_vqa", "answers, their accuracy, a submission file"),
    "evaluate nlvr": ("lab.commands.evaluate_nlvr", "verdicts on statements, accuracy and consistency"),
    "finetune visdial": ("lab.commands.finetune_visdial", "rank candidate answers in dialogs about images"),
    "evaluate visdial": ("lab.commands.evaluate_visdial", "ranks of the true answers, a submission file"),
    "evaluate video-retrieval": ("lab.commands.evaluate_video_retrieval", "videos for texts and back, zero-shot"),
    "evaluate video-qa": ("lab.commands.evaluate_video_qa", "answers to questions about videos, zero-shot"),
    "downstream": ("lab.commands.downstream", "every task in the generated world, from pre-training and from nothing"),
    "bootstrap": ("lab.commands.bootstrap", "rounds of CapFilt and new models in the generated world"),
    "ablate": ("lab.commands.ablate", "the arms of a table of the paper, trained once each, and verdicts"),
    "report": ("lab.commands.report", "the claims as tables and figures, with the paper's numbers beside ours"),
    "plan": ("lab.commands.plan", "devices, hours, disk and money for so many images"),
    "queue": ("lab.commands.queue", "the most valuable unmeasured cells that fit into some minutes"),
    "runs list": ("lab.commands.runs_list", "what was run, and from what it was made"),
    "runs rm": ("lab.commands.runs_rm", "delete runs"),
    "embed": ("lab.commands.embed", "the ITC features of images and texts, as Parquet"),
    "classify": ("lab.commands.classify", "zero-shot classes of images, by ITC and by caption likelihood"),
    "import-checkpoint": ("lab.commands.import_checkpoint", "published or transformers weights to ours"),
    "export-checkpoint": ("lab.commands.export_checkpoint", "our weights to published or transformers layout"),
    "train-shipped": ("lab.commands.train_shipped", "train the weights that come along"),
    "world": ("lab.commands.world", "draw the generated world, write its pairs"),
    "notebooks": ("lab.commands.notebooks", "run the notebooks anew, save them with what the records say"),
    "pages": ("lab.commands.pages", "write the figures of README anew from the records"),
    "bench world": ("lab.bench.world", "how fast the world is drawn"),
    "bench capfilt": ("lab.bench.capfilt", "CapFilt against a loop over transformers' BLIP"),
    "bench capfilt-kill": ("lab.bench.capfilt_kill", "CapFilt killed 50 times, the same bytes in the end"),
    "bench train-kill": ("lab.bench.train_kill", "training killed 20 times, the same bits in the end"),
    "bench soak": ("lab.bench.soak", "50,000 images through CapFilt with flat memory"),
    "bench rerank": ("lab.bench.rerank", "re-ranking and answer ranking against one call per query"),
    "bench pretrain": ("lab.bench.pretrain", "a pre-training step against the published algorithm written plainly"),
    "bench generate": ("lab.bench.generate", "captioning against transformers' BLIP generate"),
    "bench matching": ("lab.bench.matching", "many texts an image against transformers' BLIP"),
    "bench encoder": ("lab.bench.encoder", "the image encoder against transformers' and open_clip's"),
    "bench reading": ("lab.bench.reading", "JPEG tars to batches against webdataset and torchvision"),
    "bench report": ("lab.bench.report", "every ratio that the benches recorded, as a table and a plot"),
    "bench growth": ("lab.bench.growth", "how step time, memory and CapFilt grow, with fits"),
    "bench nano": ("lab.bench.nano", "samples a second of small pre-training, and samples to an AUC of 0.95"),
    "bench peers-real": ("lab.bench.peers_real", "BLIP beside open_clip's CLIP and CoCa on real photos"),
    "bench studio": ("lab.bench.studio", "what people wait for in the studio, timed in a browser"),
    "bench ledger": ("lab.bench.ledger", "decide over a ledger of 100 million captions"),
    "bench fuzz": ("lab.bench.fuzz", "10,000 broken files through every reader, and what came of them"),
}
OURS = ("apps", "blip", "lab")
_HELP = {"--help", "-h", "help"}
_REFUSED = 2
_STOPPED, _BROKEN_PIPE = 130, 141  # as a shell counts SIGINT and SIGPIPE
_ESCAPES = "lab-escapes"  # our way with characters that an encoding lacks, among those that codecs knows


def entry() -> None:
    """The console script."""
    as_program(main)


def as_program(main: Callable[[], int]) -> None:
    """End with the status of main, and in silence when the reader of the output has left (`lab ... | head`)."""
    warnings.showwarning = _show_warning
    _make_outputs_ready()
    status = 0
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        _give_output_up()
        status = _BROKEN_PIPE
    except OSError as error:
        if error.errno is None:  # not the system's
            raise
        _give_output_up()
        if status != _REFUSED:  # else `main` has said so
            _say(f"lab: {_refused(error)}")
        status = _REFUSED
    sys.exit(status)


def _make_outputs_ready() -> None:
    """Let everything be printed: characters that the terminal lacks, and where a shell has closed an output (`>&-`)."""
    codecs.register_error(_ESCAPES, _escaped)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPES)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Characters that an encoding lacks, as JSON escapes them: what --json prints stays JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _give_output_up() -> None:
    """Python flushes stdout once more at exit; that must not complain either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line; the exit status: 0 done, 1 a check failed, 2 bad input, 130 stopped, 143 by SIGTERM."""
    return in_sentences(lambda: _run(list(sys.argv[1:] if words is None else words)))


def in_sentences(work: Callable[[], int]) -> int:
    """The status of work; what a user can help is one sentence on stderr, and its status."""
    try:
        return work()
    except InputError as error:
        _say(f"lab: {error}")
        return _REFUSED
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if not package or package in OURS:
            raise
        _say(f"lab: This needs the package {package}; install it with pip.")
        return _REFUSED
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno is None:  # not the system's
            raise
        _say(f"lab: {_refused(error)}")
        return _REFUSED
    except Stopped as stopped:
        _say(f"lab: {stopped}")
        return 128 + stopped.number
    except KeyboardInterrupt:
        _say("lab: stopped; the same command continues where it was.")
        return _STOPPED


def _refused(error: OSError) -> str:
    """One sentence of what the system refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full; free some space and start again."
    what = "The system refused" if error.filename is None else f"{os.fsdecode(error.filename)} cannot be used"
    return one_line(f"{what} ({error.strerror or error}); give another place, or the right to it, and start again.")


def _say(sentence: str) -> None:
    """Tell on stderr; where it takes nothing, the exit status alone tells."""
    with suppress(OSError):
        print(sentence, file=sys.stderr)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Ours as the sentence it is, others as Python writes them."""
    ours = issubclass(category, InputWarning)
    text = f"lab: {message}\n" if ours else warnings.formatwarning(message, category, filename, lineno, line)
    sys.stderr.write(text)


def overview(commands: Mapping[str, tuple[str, str]]) -> str:
    """The commands with one line each."""
    lines = [f"  lab {name:20} {about}" for name, (_, about) in commands.items()]
    head = "BLIP Lab: data bootstrapping in vision-language pre-training (arXiv 2201.12086)"
    tail = "  lab COMMAND --help   the options of a command\n  lab --version"
    return "\n".join([head, "", *lines, "", tail])


def _run(words: list[str]) -> int:
    if not words or words[0] in _HELP:
        print(overview(COMMANDS))
        return 0
    if words[0] in ("--version", "-V"):
        print(f"BLIP Lab {__version__}")
        return 0
    count = 2 if " ".join(words[:2]) in COMMANDS else 1
    name = " ".join(words[:count])
    if name in COMMANDS:
        return _call(name, words[count:])
    family = {known: entry for known, entry in COMMANDS.items() if known.split()[0] == words[0]}
    if family and (len(words) == 1 or words[1] in _HELP):
        print(overview(family))
        return 0
    asked = " ".join(words[:2] if family else words[:1])
    raise InputError(f"There is no command {asked!r}{did_you_mean(asked, COMMANDS)}; see lab --help.")


def _call(name: str, words: list[str]) -> int:
    module = import_module(COMMANDS[name][0])
    options = read_options(name, module.Options, words)
    return 0 if options is None else module.main(options)
