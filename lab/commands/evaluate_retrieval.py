"""`lab evaluate retrieval`: recalls both ways, ITC's shortlist re-ranked by ITM (paper 5.1, Tables 5 and 6)."""

from dataclasses import dataclass, field
from pathlib import Path

from blip.data.benchmarks.captions import Split
from blip.tasks.ranking import SHORTLIST
from lab.captioned import Material, gallery
from lab.downstream.reporting import table
from lab.downstream.retrieval import ceiling, columns, measured, refuse_one
from lab.inference import Machine, Weights, begin_evaluation, together, write_summary
from lab.unknown_words import KNOWING, check_words


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure image-text retrieval, zero-shot or fine-tuned: the same for both."""

    out: Path
    """Folder for summary.json."""
    weights: Weights
    """A retrieval model, a filter, or a pre-trained model (zero-shot)."""
    material: Material
    """Images with their captions; texts are retrieved among all captions, images among all images."""
    split: Split = "test"
    """Split of Karpathy's file."""
    k: int = SHORTLIST
    """Candidates of ITC that ITM orders anew (published: 256 COCO, 128 Flickr30K)."""
    machine: Machine = field(default_factory=Machine)
    """How the model runs."""


def main(options: Options) -> int:
    """Measure, print the recalls, write summary.json."""
    with together(options.machine):
        loaded = options.weights.load(options.machine.device)
        found = gallery(options.material, loaded.model.config.vision.image_size, split=options.split)
        refuse_one(found, options.material.place)
        check_words(loaded.tokenizer, found.texts(), options.material.place, remedy=KNOWING)
        begin_evaluation("evaluate retrieval", options, model=loaded.fingerprint)
        result = measured(loaded.model, loaded.tokenizer, found.images, machine=options.machine, k=options.k)
    if found.scenes:
        result["ceiling"] = ceiling(found)
    result["rejects"] = len(found.rejects)
    print(f"{result['images']} images, {result['texts']} texts, a shortlist of {result['shortlist']}")
    print("shares found among the first 1, 5, 10 (tr: a text for an image, ir: an image for a text)")
    print(table(columns(result), {"re-ranked": result["intervals"]}))
    for line in found.left_out():
        print(line)
    path = write_summary(options.out, "evaluate retrieval", result, options, model=loaded.fingerprint)
    print(f"summary: {path}")
    return 0
