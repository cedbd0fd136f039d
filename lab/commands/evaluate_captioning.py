"""`lab evaluate captioning`: captions by beam search, their metrics, and the servers' result file (paper 5.2)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blip.data.benchmarks.captions import Split, write_captions
from blip.errors import InputError
from blip.generate import Decoding
from blip.tasks.captioning import EVALUATION
from lab.captioned import Gallery, Material, gallery
from lab.downstream.captioning import DOMAINS, captions, java_scores, measured, table
from lab.inference import Machine, Weights, begin_evaluation, together, write_summary
from lab.unknown_words import KNOWING, check_words

RESULTS = "captions.json"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Caption images and measure the captions: BLEU, ROUGE-L, CIDEr-D, with Java METEOR and SPICE."""

    out: Path
    """Folder for captions.json (image_id and caption, as COCO's and NoCaps' servers want them) and summary.json."""
    weights: Weights
    """A captioner or a pre-trained model."""
    material: Material
    """Images with their captions; without any (NoCaps test) only captions.json is written."""
    split: Split = "test"
    """Split of Karpathy's file."""
    decoding: Decoding = field(default_factory=lambda: EVALUATION)
    """Published: beam 3, 5 to 20 tokens with the prompt; on NoCaps --repetition-penalty 1.1."""
    machine: Machine = field(default_factory=Machine)
    """How the model runs."""
    seed: int = 0
    """Of the draws of sampled captions."""


def main(options: Options) -> int:
    """Caption, write captions.json, measure, write summary.json."""
    if options.decoding.candidates > 1:
        raise InputError("One caption an image is measured; leave --candidates at 1.")
    options.decoding.refuse_unread(EVALUATION)
    with together(options.machine):
        loaded = options.weights.load(options.machine.device)
        side = loaded.model.config.vision.image_size
        found = gallery(options.material, side, split=options.split, domains=DOMAINS)
        scored = _have_captions(found)
        check_words(loaded.tokenizer, found.texts(), options.material.place, remedy=KNOWING)
        begin_evaluation("evaluate captioning", options, model=loaded.fingerprint)
        said = captions(loaded, found, options.decoding, options.machine, seed=options.seed)
    ids = [image.image_id for image in found.images]
    write_captions(options.out / RESULTS, zip(ids, said, strict=True))
    result: dict[str, Any] = {"images": len(said), "rejects": len(found.rejects)}
    if scored:
        result |= measured(said, found) | java_scores(said, found)
    print(table(result) if scored else f"{len(said)} images without captions to compare with")
    for line in found.left_out():
        print(line)
    print(f"captions: {options.out / RESULTS}")
    path = write_summary(options.out, "evaluate captioning", result, options, model=loaded.fingerprint)
    print(f"summary: {path}")
    return 0


def _have_captions(found: Gallery) -> bool:
    """Whether captions can be measured: people's are known of all images, or of none."""
    lacking = [image.image_id for image in found.images if not image.captions]
    if lacking and len(lacking) < len(found.images):
        raise InputError(f"The image {lacking[0]!r} has no caption, others have; leave it out of the data.")
    return not lacking
