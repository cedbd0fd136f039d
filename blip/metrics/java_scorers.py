"""METEOR and SPICE: programs in Java that `pycocoevalcap` brings; where they cannot run, the reason.

Nothing is fetched: SPICE needs parser files that its package would download, and they must be there already.
"""

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from blip.metrics.words import Words

_PACKAGE = "pycocoevalcap"
_METEOR = ("meteor/meteor-1.5.jar", "meteor/data/paraphrase-en.gz")
_SPICE = (
    "spice/spice-1.0.jar",
    "spice/lib/stanford-corenlp-3.6.0.jar",
    "spice/lib/stanford-corenlp-3.6.0-models.jar",
)

Texts = dict[int, list[str]]


def meteor(captions: Sequence[Words], references: Sequence[Sequence[Words]]) -> float | str:
    """METEOR 1.5 of N captions in [0, 1], or "skipped: " with the reason."""
    if reason := _missing(_METEOR):
        return reason
    from pycocoevalcap.meteor.meteor import Meteor

    theirs, ours = _texts(captions, references)
    try:
        score, _ = Meteor().compute_score(theirs, ours)
    except (OSError, ValueError) as error:
        return (
            f"skipped: METEOR did not run ({error}); check that Java 8 or later and 2 GB of memory are there"
        )
    return float(score)


def spice(captions: Sequence[Words], references: Sequence[Sequence[Words]]) -> float | str:
    """SPICE 1.0 of N captions in [0, 1], or "skipped: " with the reason."""
    if reason := _missing(_SPICE):
        return reason
    from pycocoevalcap.spice.spice import Spice

    theirs, ours = _texts(captions, references)
    try:
        score, _ = Spice().compute_score(theirs, ours)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        return f"skipped: SPICE did not run ({error}); check that Java 8 and 8 GB of memory are there"
    return float(score)


def _missing(needed: Sequence[str]) -> str | None:
    """Why a scorer with these files cannot run, None if it can."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return f"skipped: the package {_PACKAGE} is not installed; install the extra `metrics`"
    if shutil.which("java") is None:
        return "skipped: there is no `java` command; install a Java runtime"
    home = Path(spec.submodule_search_locations[0])
    lacking = [name for name in needed if not (home / name).is_file()]
    if lacking:
        return f"skipped: {_PACKAGE} lacks {', '.join(lacking)}; put them into its folder"
    return None


def _texts(captions: Sequence[Words], references: Sequence[Sequence[Words]]) -> tuple[Texts, Texts]:
    theirs = {image: [" ".join(words) for words in own] for image, own in enumerate(references)}
    return theirs, {image: [" ".join(words)] for image, words in enumerate(captions)}
