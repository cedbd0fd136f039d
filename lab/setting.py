"""The box "Setting" of the pages: what the experiments at scale `cpu` are made of, from their recipe and a record."""

from blip.model import count_parameters
from lab.ablation.protocol import REFERENCES
from lab.ablation.scales import scaled
from lab.page_parts import percent, read_record
from lab.recipes import Recipe
from lab.sources import VOCAB_SIZE
from lab.world.levels import level

_SCALE = "cpu"
_SAID = (
    f"Arms depart from it where they say so; in the harder world scenes hold up to {level('nano-three').most} objects and the "
    "gallery is larger. Every model began with random weights."
)


def setting() -> str:
    """Model, pictures, world, pairs, samples and held-out gallery of the scale `cpu`, as a list in a box."""
    recipe = scaled(_SCALE)
    each = {**_seen(recipe), **_read(recipe), "Held out": _gallery(recipe)}
    lines = [f"- **{name}**: {what}" for name, what in each.items()]
    return "\n".join(f"> {line}".rstrip() for line in [f"**Setting** of every result here, scale `{_SCALE}`:", "", *lines, "", _SAID])


def _seen(recipe: Recipe) -> dict[str, str]:
    world, weights = level(recipe.level), count_parameters(recipe.model(VOCAB_SIZE))
    scenes = (
        f"generated, level `{recipe.level}`: up to {world.most} objects of {world.kinds} kinds in {world.colours} colours "
        f"on {world.backgrounds} background{'s' if world.backgrounds > 1 else ''}"
    )
    return {
        "Model": f"size `{recipe.size}`, {weights:,} parameters",
        "Pictures": f"{world.px} × {world.px} pixels",
        "World": scenes,
    }


def _read(recipe: Recipe) -> dict[str, str]:
    tuned = f"{recipe.captioner.samples:,} for the captioner, {recipe.filter.samples:,} for the filter"
    return {
        "Web pairs": f"{recipe.web:,}, the text of {percent(recipe.noise)} of them noise",
        "Human-annotated pairs": f"{recipe.human:,}",
        "Samples": f"{recipe.pretrain.samples:,} in pre-training; in fine-tuning {tuned}",
    }


def _gallery(recipe: Recipe) -> str:
    """How many different scenes are searched among, as a record has counted them."""
    cell = next(iter(read_record(f"ablations/table1-{_SCALE}")["result"]["arms"]["none"]["seeds"].values()))
    scenes = cell["worth"]["retrieval"]["all"]["images"]
    return f"{scenes:,} different pictures, of {recipe.evaluation:,} drawn, with {REFERENCES * scenes:,} texts: the gallery of R@1"
