"""The models of the room "Try it", opened once when the studio starts."""

from dataclasses import dataclass
from pathlib import Path

from blip.checkpoint import Loaded
from blip.checkpoint.opening import load_any, open_any
from blip.checkpoint.own import Opened
from blip.errors import InputError
from lab.downstream.vqa import trained
from lab.weights import shipped

NO_VQA = (
    "No model answers questions yet; train one with lab finetune vqa, then start the studio with "
    "--vqa and the model.safetensors that it left."
)


@dataclass(frozen=True)
class Models:
    """What is open: a captioner, a filter, a VQA model, each None where there is none.

    missing: by role (captioner, filter, vqa), the sentence that says which command gives the model.
    """

    captioner: Loaded | None
    filter: Loaded | None
    vqa: Opened | None
    missing: dict[str, str]


def open_models(
    captioner: str | None = None, filter: str | None = None, vqa: str | None = None, vocab: Path | None = None
) -> Models:
    """Open weights in any form; captioner and filter are the shipped ones where none are named.

    vocab: BERT's vocab.txt, for weights that come without one. InputError where named weights cannot be used;
    shipped ones that are missing are told in the room.
    """
    missing: dict[str, str] = {} if vqa else {"vqa": NO_VQA}
    opened: dict[str, Loaded | None] = {}
    for role, source in (("captioner", captioner), ("filter", filter)):
        try:
            opened[role] = load_any(source, vocab=vocab) if source else shipped(role)
        except InputError as error:
            if source:
                raise
            opened[role], missing[role] = None, str(error)
    return Models(opened["captioner"], opened["filter"], _vqa(vqa, vocab) if vqa else None, missing)


def _vqa(source: str, vocab: Path | None) -> Opened:
    opened = open_any(source, vocab=vocab).opened
    trained(opened, source).eval()
    return opened
