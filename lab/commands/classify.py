"""`lab classify`: zero-shot classes of images, by ITC prompts and by caption likelihood."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blip.checkpoint import Loaded
from blip.data.benchmarks.reading import read_text
from blip.data.files import replacing
from blip.data.loading import Loader
from blip.data.pairset import PairSet
from blip.data.readers import read_pairs
from blip.data.sources import PhotoSource
from blip.data.text import clean_caption
from blip.data.transforms import eval_transform
from blip.distributed import from_all
from blip.errors import InputError
from blip.precision import precision
from blip.tasks.classification import (
    class_cosines,
    class_features,
    class_likelihoods,
    class_texts,
    class_tokens,
)
from blip.tasks.retrieval import MAX_TOKENS
from lab.inference import Machine, Weights, begin_evaluation, together, write_summary

CLASSES = "classes.csv"
_WAYS = {"itc": "ITC cosine", "caption": "caption likelihood"}

Scores = dict[str, Tensor]
"""By way (itc, caption) the scores (B, C) of images and classes, higher is better."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Say which label fits each image best, without training; with known labels, how often that is right."""

    data: str
    """Images: a folder (with a folder a class, labels are known), a CSV or any other table, or tars."""
    out: Path
    """Folder for classes.csv (key, true label, and by each way the label and its score) and summary.json."""
    weights: Weights
    """Any BLIP: with ITC it compares features, with a decoder it weighs captions, a pre-trained model does both."""
    labels: tuple[str, ...] = ()
    """The labels, or one text file with a label a line; by default all labels that are known."""
    label_column: str | None = None
    """Column of a table that holds the true labels; by default the image's folder is its label."""
    image_root: str | None = None
    """Folder that the image paths of a table start from; by default the folder of the file."""
    prompts: tuple[str, ...] = ("a picture of a {}",)
    """What is said of a label, in the place of {}; several are averaged."""
    machine: Machine = field(default_factory=Machine)
    """How the model runs."""


def main(options: Options) -> int:
    """Classify, write classes.csv and summary.json, print how often the known labels were found."""
    with together(options.machine):
        pairs = _pairs(options)
        true = _true_labels(pairs, options.label_column)
        labels = _labels(options.labels, true)
        loaded = options.weights.load(options.machine.device)
        begin_evaluation("classify", options, model=loaded.fingerprint)
        source = PhotoSource(pairs.images, eval_transform(loaded.model.config.vision.image_size))
        own = [
            _row(key, true[key], scores, labels)
            for keys, each in _scored(loaded, source, labels, options)
            for key, scores in zip(keys, each, strict=True)
        ]
        rows, rejects = from_all(own), from_all(source.rejects)
    if not rows:
        raise InputError(f"{options.data} has no image that can be read; look at the data.")
    _write_csv(options.out / CLASSES, rows)
    result = _result(rows, labels) | {"rejects": len(rejects) + sum(r.kind != "text" for r in pairs.rejects)}
    print(_said(result, options.out))
    write_summary(options.out, "classify", result, options, model=loaded.fingerprint)
    return 0


def _pairs(options: Options) -> PairSet:
    """The images, with their labels for captions where a column holds them."""
    text = "caption" if options.label_column is None else "label"
    return read_pairs(options.data, image_root=options.image_root, caption_column=options.label_column, text=text)


def _true_labels(pairs: PairSet, column: str | None) -> dict[str, str]:
    """The label of each image's key: what its table says, or its folder; "" where there is none."""
    if column is not None:
        return {pair.key: pair.caption for pair in pairs.images}
    return {pair.key: Path(pair.key).parent.name for pair in pairs.images}


def _labels(given: Sequence[str], true: dict[str, str]) -> list[str]:
    """The labels to choose from: given, of a file, or all that are known."""
    if len(given) == 1 and Path(given[0]).is_file():
        lines = read_text(given[0]).splitlines()
        labels = [line.strip() for line in lines if line.strip()]
    else:
        labels = list(given) or sorted(set(true.values()) - {""})
    if len(labels) < 2:
        found = f"only the label {labels[0]!r} (and no such file)" if labels else "no label"
        raise InputError(f"There is {found}; give --labels two or more, or a text file with a label a line.")
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise InputError(f"The label {twice[0]!r} is given twice; give each once.")
    return labels


def _scored(
    loaded: Loaded, source: PhotoSource, labels: list[str], options: Options
) -> Iterator[tuple[list[str], list[Scores]]]:
    """Keys of a batch and each image's scores (C,) by every way that the weights know."""
    machine, readings = options.machine, loaded.model.config.text.readings
    texts = [clean_caption(text) for text in class_texts(labels, options.prompts)]
    tokens = class_tokens(loaded.tokenizer, texts, MAX_TOKENS).to(machine.device)
    with precision(torch.device(machine.device), machine.precision):
        features = class_features(loaded.model, tokens, len(labels)) if "encode" in readings else None
    for batch in Loader(source, machine.batch, train=False, workers=machine.workers):
        with torch.inference_mode(), precision(torch.device(machine.device), machine.precision):
            states = loaded.model.encode_image(batch.images.to(machine.device))
            found: Scores = {}
            if features is not None:
                found["itc"] = class_cosines(loaded.model, states, features)
            if "decode" in readings:
                found["caption"] = class_likelihoods(loaded.model, states, tokens, len(labels))
        yield batch.keys, [{way: scores[row] for way, scores in found.items()} for row in range(len(batch))]


def _row(key: str, true: str, scores: Scores, labels: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"key": key, "label": true if true in labels else ""}
    for way, of_labels in scores.items():
        best = int(of_labels.argmax())
        row |= {way: labels[best], f"{way}_score": round(float(of_labels[best]), 4)}
    return row


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode("utf-8"))


def _result(rows: list[dict[str, Any]], labels: list[str]) -> dict[str, Any]:
    """Accuracies over the images whose label is known, and that of a guess; none where no label is known."""
    known = [row for row in rows if row["label"]]
    result: dict[str, Any] = {"images": len(rows), "labels": len(labels), "known": len(known)}
    if known:
        ways = [way for way in _WAYS if way in rows[0]]
        result["accuracy"] = {way: sum(row[way] == row["label"] for row in known) / len(known) for way in ways}
        result["chance"] = 1 / len(labels)
    return result


def _said(result: dict[str, Any], out: Path) -> str:
    lines = [f"{result['images']} images, {result['labels']} labels, {result['rejects']} rejects: {out / CLASSES}"]
    for way, accuracy in result.get("accuracy", {}).items():
        lines.append(f"  right by {_WAYS[way]:20}{accuracy:6.1%} of {result['known']} known")
    if "chance" in result:
        lines.append(f"  right by {'guessing':20}{result['chance']:6.1%}")
    return "\n".join(lines)
