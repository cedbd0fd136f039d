"""`lab finetune retrieval`: image-text retrieval with ITC and ITM (paper 5.1)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from blip.tasks.ranking import SHORTLIST
from blip.tasks.retrieval import RETRIEVAL
from lab.captioned import Material, training, unused, unused_line
from lab.downstream.reporting import table
from lab.downstream.retrieval import refuse_one, tuned
from lab.finetuning import Tuning, leave, start_with_training
from lab.made_of import made_of
from lab.tuning_sets import held_out_for


@dataclass(frozen=True, kw_only=True)
class Options:
    """Fine-tune a model for image-text retrieval with ITC and ITM.

    Your own data are one table: lab finetune retrieval --data my.csv --weights hf:Salesforce/blip-itm-base-coco
    --out my-retrieval, with the columns image and text, a row for each caption.
    """

    out: Path
    """Folder for checkpoints, metrics, the trained model and summary.json; run again to continue."""
    material: Material
    """Images with captions to train on. Several captions of one image are no negatives of each other."""
    val: str | None = None
    """Images with captions, as --data, measured before and after; of Karpathy's file the split val.
    Without it nothing is measured on your own data; --world measures on held-out scenes."""
    k: int = SHORTLIST
    """Candidates of ITC that ITM orders anew in the measurement (published: 256 COCO, 128 Flickr30K)."""
    queue: int | None = None
    """Keys of past batches that ITC compares with; by default 57,600 as published, at most a tenth of the pairs.
    The queues of a published .pth go on if they are as long, its momentum encoders always."""
    momentum: float = 0.995
    """Decay of the momentum encoders."""
    alpha: float = RETRIEVAL.alpha
    """Weight of the momentum encoder's own distribution in the ITC targets, after one epoch."""
    negatives: Literal["online", "momentum", "random"] = "online"
    """Where ITM's negatives come from: hard ones by similarity (online, as published, or with the keys of the momentum
    encoders), or any of the batch. A short text that is true of a part of many images is often drawn as a hard negative
    of one that it is true of; with random ones a filter keeps more of such texts, and more false ones."""
    tuning: Tuning = field(default_factory=lambda: Tuning(epochs=6, peak=1e-5))
    """How it is trained; the published batch is 256, the images 384 px."""


def main(options: Options) -> int:
    """Train, measure on held-out images before and after, save the model and summary.json."""
    pairs = training(options.material)
    begin, stored = start_with_training(options.tuning, pairs.texts)
    source = pairs.source(begin.model.config.vision.image_size)
    held_out, of_val = held_out_for(begin, pairs, options.material, options.val)
    if held_out:
        refuse_one(held_out, options.val or options.material.place)
    model, result = tuned(
        begin,
        source,
        options.tuning,
        out=options.out,
        queue=options.queue,
        momentum=options.momentum,
        alpha=options.alpha,
        negatives=options.negatives,
        held_out=held_out.images if held_out else (),
        k=options.k,
        stored=stored,
        made_of=made_of(begin, zip(pairs.keys, pairs.texts, strict=True), momentum=options.momentum, negatives=options.negatives),
    )
    rejects = unused(pairs, source)
    result |= {"pairs": len(pairs.texts), "rejects": len(rejects)} | of_val
    path = leave(options.out, "retrieval", model, begin, result, options)
    if held_out:
        print("\n".join([*_before_and_after(result), *held_out.left_out()]))
    print(f"{result['pairs']} pairs, {unused_line(rejects)}")
    print(f"model: {path}")
    return 0


def _before_and_after(result: dict[str, Any]) -> list[str]:
    found = result["after"]
    shown = {"before": result["before"]["reranked"], "after": found["reranked"], "chance": found["chance"]}
    head = f"{found['images']} held-out images, {found['texts']} texts; shares found among the first 1, 5, 10"
    return [head, table(shown)]
