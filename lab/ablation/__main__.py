"""`python -m lab.ablation NAME`: `lab ablate` with Python's own argument parser, where tyro is not installed."""

import argparse
from dataclasses import fields
from pathlib import Path

from lab.ablation.command import Wanted, ablate
from lab.ablation.own_reading import Own
from lab.ablation.scales import SCALES
from lab.ablations import ABLATIONS
from lab.cli import as_program, in_sentences
from lab.runs import Home


def main() -> int:
    """Read the words of the command line, carry them out."""
    parser = argparse.ArgumentParser(prog="python -m lab.ablation", description=__doc__)
    parser.add_argument("name", help=f"{', '.join(ABLATIONS)}, or a Python file with arms of your own")
    parser.add_argument("--scale", default="cpu", help=", ".join(SCALES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--from-seed", type=int, default=0, help="the first of these seeds that is done")
    parser.add_argument("--only", nargs="+", default=(), help="arms")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--add", action="store_true", help="do only what the record lacks")
    parser.add_argument("--out", type=Path, help="the record, JSON")
    _add_own(parser)
    words = vars(parser.parse_args())
    own = Own(**{one.name: words.pop(one.name) for one in fields(Own)})
    return ablate(Wanted(**words | {"only": tuple(words["only"]), "own": own}), Home.default())


def _add_own(parser: argparse.ArgumentParser) -> None:
    own = parser.add_argument_group("your own pairs in place of the generated world")
    own.add_argument("--data", help="web pairs")
    own.add_argument("--human", help="human-annotated pairs")
    own.add_argument("--val", help="pairs of other images to measure on")
    own.add_argument("--val-images", type=int, help="how many of them, the first; by default the scale's")
    own.add_argument("--image-root", help="folder from which the image paths of a table start")
    own.add_argument("--image-column", help="column of a table with the image; several with commas between")
    own.add_argument("--caption-column", help="column of a table with the caption; several with commas between")
    own.add_argument("--vocab", type=Path, help="a BERT vocab.txt")
    own.add_argument("--vocab-size", type=int, default=Own.vocab_size)
    own.add_argument("--init-vision", type=Path, help="ViT weights that new models begin with")
    own.add_argument("--init-text", type=Path, help="BERT weights that new models begin with")
    own.add_argument("--size", help="model size; by default the scale's")
    own.add_argument("--image-size", type=int, help="side of the pictures; by default the size's")
    own.add_argument("--samples", type=int, help="pairs that each pre-training sees; by default the scale's")


if __name__ == "__main__":  # not in processes that this one spawns
    as_program(lambda: in_sentences(main))
