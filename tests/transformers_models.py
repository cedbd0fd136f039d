"""Our models as transformers' classes, through the folders that we write."""

import tempfile

import transformers
from toy_models import VOCAB

from blip.checkpoint.folders import write_folder
from blip.checkpoint.stored import Model
from blip.tokenizer import Tokenizer


def toy_tokenizer() -> Tokenizer:
    """The vocabulary of the toy models, 40 tokens with [DEC] and [ENC] at its end."""
    words = [f"w{i}" for i in range(4, VOCAB - 2)]
    return Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words, "[DEC]", "[ENC]"])


def to_transformers(model: Model, kind: type, tokenizer: Tokenizer) -> "transformers.BlipPreTrainedModel":
    """A model as one of transformers' classes, every tensor given and none left over."""
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder, model, tokenizer)
        theirs, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return theirs.eval()
