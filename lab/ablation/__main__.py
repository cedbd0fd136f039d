"""`python -m lab.ablation NAME`: `lab ablate` with Python's own argument parser, where tyro is not installed."""

import argparse
import sys
from pathlib import Path

from blip.errors import InputError
from lab.ablation.command import Wanted, ablate
from lab.ablation.scales import SCALES
from lab.ablations import ABLATIONS
from lab.runs import Home


def main() -> int:
    """Read the words of the command line, carry them out; 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m lab.ablation", description=__doc__)
    parser.add_argument("name", help=", ".join(ABLATIONS))
    parser.add_argument("--scale", default="cpu", help=", ".join(SCALES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=(), help="arms")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="the record, JSON")
    try:
        words = vars(parser.parse_args())
        return ablate(Wanted(**words | {"only": tuple(words["only"])}), Home.default())
    except InputError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":  # not in processes that this one spawns
    sys.exit(main())
