"""What a fine-tuning on images with captions is trained and measured on, looked at before the first step."""

import sys

from blip.checkpoint import Loaded
from lab.captioned import Gallery, Material, Training, validation
from lab.own_pictures import known
from lab.unknown_words import LEARNING, check_words


def held_out_for(
    begin: Loaded, pairs: Training, material: Material, val: str | None
) -> tuple[Gallery | None, dict[str, int]]:
    """What a training is measured on, and of it for summary.json: val_rejects, and val_in_data (images trained on too).

    Says on stderr where captions are in words that the model does not know, and where images of --val are images of
    --data. InputError where nearly all words are unknown.
    """
    check_words(begin.tokenizer, pairs.texts, material.place, remedy=LEARNING)
    found = validation(material, val, begin.model.config.vision.image_size)
    if found is None:
        return None, {}
    if val is not None:
        check_words(begin.tokenizer, found.texts(), val, remedy=LEARNING)
    both = known(pairs.images, [image.image for image in found.images])
    if both:
        print(
            f"{len(both)} of the {len(found.images)} images of {val} are images of {material.data} too, the first is "
            f"{found.images[both[0]].image_id}: what is measured on them says nothing of new images; take them out of "
            "one of the two.",
            file=sys.stderr,
        )
    return found, {"val_rejects": len(found.rejects), "val_in_data": len(both)}
