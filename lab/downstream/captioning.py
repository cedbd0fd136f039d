"""Captioning, trained and measured: caption metrics, and in the generated world the truth (paper 5.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blip.captioner import Captioner
from blip.checkpoint import Card, Loaded
from blip.data.loading import Loader, Source
from blip.distributed import from_all, own_rows
from blip.feed import PairFeed
from blip.generate import Decoding
from blip.metrics.captions import bleu, cider_d, rouge_l
from blip.metrics.java_scorers import meteor, spice
from blip.metrics.results import group_means
from blip.metrics.words import Words, caption_words
from blip.model import BLIP
from blip.tasks.captioning import EVALUATION, MAX_TOKENS, PROMPT, Captioning, captioning_model
from lab.before import of_images
from lab.captioned import Gallery, Material, gallery, training
from lab.downstream.spread import Items, intervals
from lab.finetuning import Tuning, fit
from lab.inference import Machine, pixels
from lab.world.checker import check
from lab.world.scene import Scene

STEPS, BATCH, PEAK = 600, 32, 5e-4  # of the comparison at nano
# As transformers ranks today: so the runs that are on record were decoded, and new seeds must fit them.
_COMPARED = replace(EVALUATION, rank_whole_text=False)
DOMAINS = ("in", "near", "out")


def run(
    start: Loaded, level: str, *, steps: int = STEPS, seed: int = 0, out: Path | None = None
) -> dict[str, float]:
    """Fine-tune on the world's human-annotated pairs and caption held-out scenes of the same domain.

    strictly_true is the share of captions that are true and name every object with its colour; chance is that of
    a caption of another scene, ceiling that of the truth. Also true, cider and bleu4. `start` is not changed;
    with `out` the training can be resumed.
    """
    material, px = Material(world=level), start.model.config.vision.image_size
    held_out = gallery(material, px)
    tuning = Tuning(steps=steps, batch=BATCH, peak=PEAK, seed=seed)
    model, _ = tuned(start, training(material).source(px), tuning, out=out)
    loaded = replace(start, model=model, card=Card(stage="captioning", prompt=PROMPT))
    said = captions(loaded, held_out, _COMPARED, Machine(device=tuning.device))
    scores = measured(said, held_out)
    kept = {name: scores[name] for name in ("strictly_true", "true", "cider", "bleu4")}
    by_chance = truth(_of_another(held_out), held_out.scenes)["strictly_true"]
    return kept | {"chance": by_chance, "ceiling": 1.0}


def tuned(
    start: Loaded,
    source: Source,
    tuning: Tuning,
    *,
    out: Path | None,
    prompt: str = PROMPT,
    held_out: Gallery | None = None,
    made_of: Mapping[str, Any] | None = None,
) -> tuple[BLIP, dict[str, Any]]:
    """A captioner fine-tuned on a source with LM behind the prompt, and what `fit` says of it.

    held_out images are captioned and measured before, behind the prompt of the start's own card, and after.
    """
    torch.manual_seed(tuning.seed)
    model = captioning_model(start.model)
    task = Captioning(model, prompt_length=len(start.tokenizer.prompt(prompt)))
    loader = Loader(source, tuning.batch, seed=tuning.seed, workers=tuning.workers)
    feed = PairFeed(loader, start.tokenizer, prompt=prompt, max_length=MAX_TOKENS)
    before = after = on = None
    if held_out is not None:
        machine = Machine(device=tuning.device, precision=tuning.precision, workers=tuning.workers)
        own = replace(start, model=model)
        trained = replace(own, card=Card(stage="captioning", prompt=prompt))
        on = {"images": of_images(held_out.images), "prompt": start.card.prompt}
        before, after = (partial(_scored, loaded, held_out, machine) for loaded in (own, trained))
    config = tuning.config(len(loader))
    task.to(tuning.device)
    result = fit(
        "captioning", task, feed, config, out, evaluate=after, evaluate_start=before, made_of=made_of, measured_on=on
    )
    return model, result


def _scored(loaded: Loaded, held_out: Gallery, machine: Machine) -> dict[str, Any]:
    return measured(captions(loaded, held_out, EVALUATION, machine), held_out)


def captions(
    loaded: Loaded, found: Gallery, decoding: Decoding, machine: Machine, *, seed: int = 0
) -> list[str]:
    """One caption an image, in order, by default behind the prompt of the weights' card; an image's id keys its draws.

    Of several processes each captions its own images, and all get all captions.
    """
    captioner = Captioner(loaded, decoding, device=machine.device, dtype=machine.precision, tile=machine.batch)
    side, own = loaded.model.config.vision.image_size, own_rows(len(found.images), machine.batch)
    ids = iter(found.images[own.start : own.stop])
    said: list[str] = []
    for batch in pixels(found.images, side, replace(machine, device="cpu")):
        keys = [str(image.image_id) for image in islice(ids, len(batch))]
        said += [image[0].text for image in captioner(list(batch), keys, seed=seed)]
    return from_all(said)


def measured(said: Sequence[str], found: Gallery) -> dict[str, Any]:
    """The caption metrics that need no Java, of one caption an image, as shares (CIDEr-D from 0 to 10).

    Also CIDEr-D of each domain where images have one, that of another image's caption (what chance reaches),
    and in the generated world how many captions are true. intervals: of those that are means over images.
    """
    words, references = _words(said, found)
    ciders, rouges = cider_d(words, references), rouge_l(words, references)
    result: dict[str, Any] = {"images": len(said), "cider": float(ciders.mean())}
    result |= {f"bleu{n}": value for n, value in enumerate(bleu(words, references), 1)}
    result["rouge_l"] = float(rouges.mean())
    result["chance_cider"] = float(cider_d(*_words(_of_another(found), found)).mean())
    domains = {row: image.domain for row, image in enumerate(found.images) if image.domain}
    if len(domains) == len(said):
        result["cider_by_domain"] = group_means(dict(enumerate(ciders.tolist())), domains)
    shares, each = {"rouge_l": rouges}, range(len(said))
    if found.scenes:
        true = judged(said, found.scenes)
        shares |= true
        result |= _means(true)
    return result | {"intervals": intervals(Items({"cider": ciders}, each, shares=False), Items(shares, each))}


def java_scores(said: Sequence[str], found: Gallery) -> dict[str, float | str]:
    """METEOR and SPICE as shares, or "skipped: why"."""
    words, references = _words(said, found)
    return {"meteor": meteor(words, references), "spice": spice(words, references)}


def truth(said: Sequence[str], scenes: Sequence[Scene]) -> dict[str, float]:
    """Shares of captions that are true of their scenes, and that also name every object with its colour."""
    return _means(judged(said, scenes))


def _means(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(own.mean()) for name, own in values.items()}


def judged(said: Sequence[str], scenes: Sequence[Scene]) -> dict[str, np.ndarray]:
    """Of each caption, whether it is true, and whether it is strictly true."""
    verdicts = [check(text, scene) for text, scene in zip(said, scenes, strict=True)]
    return {
        "true": np.array([verdict.truth == "true" for verdict in verdicts]),
        "strictly_true": np.array([verdict.strict for verdict in verdicts]),
    }


def table(result: dict[str, Any]) -> str:
    """The metrics as the paper's Table 7 has them, times 100, with 95% intervals over images where there are any."""
    names = {"bleu4": "BLEU-4", "cider": "CIDEr-D", "rouge_l": "ROUGE-L", "meteor": "METEOR", "spice": "SPICE"}
    names |= {"chance_cider": "CIDEr-D of another image's caption (chance)"}
    names |= {"true": "true captions, %", "strictly_true": "that name all they should, %"}
    lines = [f"{result['images']} images"]
    bounds = {name: f"   {100 * low:.1f} to {100 * high:.1f}" for name, (low, high) in result["intervals"].items()}
    lines += [
        f"  {label:44}{_shown(result[name])}{bounds.get(name, '')}" for name, label in names.items() if name in result
    ]
    for domain, value in result.get("cider_by_domain", {}).items():
        lines.append(f"  {'CIDEr-D, ' + domain:44}{_shown(value)}")
    return "\n".join(lines)


def _of_another(found: Gallery) -> list[str]:
    """For each image the first caption of the next one."""
    first = [image.captions[0] for image in found.images]
    return first[1:] + first[:1]


def _words(said: Sequence[str], found: Gallery) -> tuple[list[Words], list[list[Words]]]:
    references: list[list[Words]] = [[caption_words(text) for text in image.captions] for image in found.images]
    return [caption_words(text) for text in said], references


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{100 * value:7.1f}"
