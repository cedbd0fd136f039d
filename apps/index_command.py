"""The command that makes the index of the room Search, whole where the ledger says which weights fit it."""

import shlex
from pathlib import Path

from blip.capfilt import Ledger
from blip.data.jsons import parse_json
from lab.plugins import blip_weights
from lab.weights import WEIGHTS

UNKNOWN = "WEIGHTS"
"""What stands for weights that nobody has named."""
_KNOWN_LEVEL = "nano"  # of the generated world: the one that the shipped weights know
_SUMMARY = "summary.json"  # what lab capfilt leaves in a ledger's folder, with its words


def index_command(ledger: Ledger, weights: str | None = None, out: Path | None = None) -> str:
    """`lab ledger embed` for a ledger, to be copied into a shell.

    weights: those to use; by default the shipped ones for a ledger of the generated world that they know, else the
    filter that lab capfilt was given. out: the folder of the index, by default in the ledger's.
    """
    vocab: str | None = None
    if weights is None:
        weights, vocab = _fitting(ledger)
    words = ["lab", "ledger", "embed", str(Path(str(ledger.folder)).absolute()), "--weights", weights or UNKNOWN]
    words += ["--vocab", vocab] if vocab else []
    words += ["--out", str(out.absolute())] if out else []
    return shlex.join(words)


def _fitting(ledger: Ledger) -> tuple[str | None, str | None]:
    """Weights and vocabulary that read this ledger's images and captions, as far as it says so."""
    world = ledger.about.get("notes", {}).get("world") or {}
    shipped = WEIGHTS / "pretrained.safetensors"
    if world.get("level") == _KNOWN_LEVEL and shipped.is_file():
        return str(shipped), None
    try:
        options = parse_json(ledger.store.read(_SUMMARY))["config"]["options"]
        filters, vocab = options["filter"], options["vocab"]
    except (OSError, ValueError, KeyError, TypeError):  # a ledger of another making has none, or another
        return None, None
    if not (isinstance(filters, list) and all(isinstance(one, str) for one in filters)):
        return None, None
    return _placed(blip_weights(filters)), _placed(vocab if isinstance(vocab, str) else None)


def _placed(source: str | None) -> str | None:
    """A file or folder by its whole path; a name of the hub as it is."""
    return str(Path(source).absolute()) if source and Path(source).exists() else source
