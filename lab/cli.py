"""The `lab` command: finds the command's module, reads its options, says errors in one sentence.

Nothing heavy is imported before the command is known, so that `lab --help` answers at once.
"""

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

from blip import __version__
from blip.errors import InputError

COMMANDS = {
    "demo": ("lab.commands.demo", "CapFilt on a generated noisy web, with the weights that come along"),
    "capfilt": ("lab.commands.capfilt", "caption and filter your own image-text pairs"),
    "ledger summary": ("lab.commands.ledger_summary", "what was kept and filtered"),
    "ledger decide": ("lab.commands.ledger_decide", "verdicts under a policy, as Parquet or CSV"),
    "ledger verify": ("lab.commands.ledger_verify", "prove that a ledger is whole"),
    "ledger show": ("lab.commands.ledger_show", "every caption and score of one image"),
    "pretrain": ("lab.commands.pretrain", "ITC, ITM and LM on your own pairs"),
    "import-checkpoint": ("lab.commands.import_checkpoint", "published or transformers weights to ours"),
    "export-checkpoint": ("lab.commands.export_checkpoint", "our weights to published or transformers layout"),
    "train-shipped": ("lab.commands.train_shipped", "train the weights that come along"),
    "world": ("lab.commands.world", "draw the generated world, write its pairs"),
    "studio": ("lab.commands.studio", "look at a ledger in the browser"),
    "bench world": ("lab.bench.world", "how fast the world is drawn"),
}
_FLAGS = {"--help", "-h", "help"}


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line; the exit status: 0 done, 1 a check failed, 2 bad input, 130 stopped."""
    words = list(sys.argv[1:] if words is None else words)
    try:
        return _run(words)
    except InputError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lab: stopped; the same command continues where it was.", file=sys.stderr)
        return 130


def entry() -> None:
    """The console script."""
    sys.exit(main())


def _run(words: list[str]) -> int:
    if not words or words[0] in _FLAGS:
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
    if family and (len(words) == 1 or words[1] in _FLAGS):
        print(overview(family))
        return 0
    raise InputError(f"There is no command {' '.join(words[:2])!r}{_like(name, COMMANDS)}; see lab --help.")


def _call(name: str, words: list[str]) -> int:
    import tyro

    module = import_module(COMMANDS[name][0])
    options, unknown = tyro.cli(
        module.Options,
        prog=f"lab {name}",
        args=words,
        return_unknown_args=True,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    if unknown:
        raise InputError(f"lab {name} has no option {unknown[0]!r}; see lab {name} --help.")
    return module.main(options)


def overview(commands: dict[str, tuple[str, str]]) -> str:
    """The commands with one line each."""
    lines = [f"  lab {name:20} {about}" for name, (_, about) in commands.items()]
    head = "BLIP Lab: data bootstrapping in vision-language pre-training (arXiv 2201.12086)"
    tail = "  lab COMMAND --help   the options of a command\n  lab --version"
    return "\n".join([head, "", *lines, "", tail])


def _like(name: str, known: dict[str, tuple[str, str]]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}" if close else ""
