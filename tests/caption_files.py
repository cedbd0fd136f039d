"""Small data sets of generated scenes in the forms that people bring: a CSV, and the benchmarks' own files."""

import csv
import json

from PIL import Image

from lab.world.sets import World


def scenes(count, domain="all"):
    """Held-out scenes of the generated world with three captions each."""
    return World.of("nano").evaluation(count, domain, references=3)


def write_images(folder, items):
    """A picture of 32 px for each scene; their file names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"COCO_val2014_{1000 + row:012d}.png" for row in range(len(items))]
    for name, item in zip(names, items, strict=True):
        Image.fromarray(item.image(32)).save(folder / name)
    return names


def write_csv(folder, items):
    """A table image,text with a row for every caption, the user's own form."""
    names = write_images(folder, items)
    rows = [(name, text) for name, item in zip(names, items, strict=True) for text in item.references]
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "text"), *rows])
    return folder / "pairs.csv"


def write_karpathy(folder, items, splits):
    """Karpathy's file of COCO: one of `splits` for each scene, images in the subfolder val2014."""
    names = write_images(folder / "val2014", items)
    images = [
        {
            "cocoid": 1000 + row,
            "split": split,
            "filepath": "val2014",
            "filename": name,
            "sentences": [{"raw": text} for text in item.references],
        }
        for row, (name, item, split) in enumerate(zip(names, items, splits, strict=True))
    ]
    path = folder / "dataset_coco.json"
    path.write_text(json.dumps({"images": images}))
    return path


def write_nocaps(folder, items, domains, *, captions=True):
    """NoCaps' own file, of the validation set (with captions and domains) or the test set (without)."""
    names = write_images(folder, items)
    images = [{"id": row, "file_name": name} for row, name in enumerate(names)]
    content = {"images": images}
    if captions:
        for image, domain in zip(images, domains, strict=True):
            image["domain"] = domain
        texts = [(row, text) for row, item in enumerate(items) for text in item.references]
        content["annotations"] = [{"image_id": row, "caption": text} for row, text in texts]
    path = folder / "nocaps.json"
    path.write_text(json.dumps(content))
    return path


def write_list(folder, items):
    """A published list of an evaluation split: image and its captions a row."""
    names = write_images(folder, items)
    rows = [{"image": name, "caption": list(item.references)} for name, item in zip(names, items, strict=True)]
    path = folder / "coco_karpathy_test.json"
    path.write_text(json.dumps(rows))
    return path
