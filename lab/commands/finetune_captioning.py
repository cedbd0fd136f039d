"""`lab finetune captioning`: a captioner with LM behind a prompt (paper 5.2)."""

from dataclasses import dataclass, field
from pathlib import Path

from blip.tasks.captioning import PROMPT
from lab.captioned import Material, training, unused, unused_line
from lab.downstream.captioning import table, tuned
from lab.finetuning import Tuning, leave, start
from lab.made_of import made_of
from lab.tuning_sets import held_out_for


@dataclass(frozen=True, kw_only=True)
class Options:
    """Fine-tune a model to caption images, with LM.

    Your own data are one table: lab finetune captioning --data my.csv
    --weights hf:Salesforce/blip-image-captioning-base --out my-captioner, with the columns image and text.
    """

    out: Path
    """Folder for checkpoints, metrics, the trained model and summary.json; run again to continue."""
    material: Material
    """Images with captions to train on."""
    val: str | None = None
    """Images with captions, as --data, captioned and measured before, with the weights' own prompt, and after; of Karpathy's file the split val.
    Without it nothing is measured on your own data; --world measures on held-out scenes."""
    prompt: str = PROMPT
    """Words that begin every caption in training, and later in use; '' for none."""
    tuning: Tuning = field(default_factory=lambda: Tuning(epochs=5, peak=1e-5))
    """How it is trained; the published batch is 256, the images 384 px."""


def main(options: Options) -> int:
    """Train, caption held-out images before and after, save the model and summary.json."""
    pairs = training(options.material)
    begin = start(options.tuning, pairs.texts)
    source = pairs.source(begin.model.config.vision.image_size)
    held_out, of_val = held_out_for(begin, pairs, options.material, options.val)
    model, result = tuned(
        begin,
        source,
        options.tuning,
        out=options.out,
        prompt=options.prompt,
        held_out=held_out,
        made_of=made_of(begin, zip(pairs.keys, pairs.texts, strict=True), prompt=options.prompt),
    )
    rejects = unused(pairs, source)
    result |= {"pairs": len(pairs.texts), "rejects": len(rejects)} | of_val
    path = leave(options.out, "captioning", model, begin, result, options, prompt=options.prompt)
    for name in ("before", "after") if held_out else ():
        print(f"{name} training, on {table(result[name])}")
    for line in held_out.left_out() if held_out else ():
        print(line)
    print(f"{result['pairs']} pairs, {unused_line(rejects)}")
    print(f"model: {path}")
    return 0
