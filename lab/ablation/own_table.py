"""An ablation of your own: a Python file with its arms, and with claims about them where there are any."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from blip.errors import InputError, one_line
from lab.ablation.own_scales import LEVEL
from lab.ablation.scales import SCALES
from lab.ablation.table import Ablation
from lab.ablations import ABLATIONS, ablation
from lab.claim import Claim
from lab.claims import CLAIMS

SUFFIX = ".py"
TABLE, STATED = "ABLATION", "CLAIMS"
"""What the file calls its ablation, and the tuple of its claims."""


@dataclass(frozen=True)
class Table:
    """An ablation and what is claimed of its arms."""

    ablation: Ablation
    claims: tuple[Claim, ...]
    stem: str = ""
    """Of the file that it is from, and of its records; "" for one of the lab's own."""

    def records(self, folder: Path) -> list[Path]:
        """Its records in a folder, of the generated world and of own pairs."""
        each = (folder / f"{self.stem}{ground}-{scale}.json" for ground in ("", f"-{LEVEL}") for scale in SCALES)
        return [path for path in each if path.is_file()]


def table_of(name: str) -> Table:
    """One of the lab's ablations by name, or that of a Python file; InputError, one sentence, where it cannot be."""
    if not name.endswith(SUFFIX):
        return Table(ablation(name), tuple(one for one in CLAIMS if one.ablation == name))
    module = _imported(Path(name))
    own, claims = getattr(module, TABLE, None), getattr(module, STATED, ())
    if not isinstance(own, Ablation):
        raise InputError(f"{name} has no {TABLE} = Ablation(...); see docs/own-ablation.md.")
    if own.name in ABLATIONS:
        raise InputError(f"{name} calls its ablation {own.name!r}, as the lab does one of its own; give it another name.")
    _check_arms(name, own)
    return Table(own, _checked(name, own, claims), Path(name).stem)


def _imported(path: Path) -> ModuleType:
    """The file as a module that other processes can import too: by its stem, from its folder."""
    if not path.is_file():
        raise InputError(f"There is no file {path}; give one that defines an ablation, or a name as in lab ablate table1.")
    stem, folder = path.stem, str(path.parent.resolve())
    if not stem.isidentifier() or not _is_free(stem, path):
        raise InputError(f"{path} cannot be imported as {stem!r}, which is no free name of a module; rename the file.")
    sys.path.append(folder)  # at the end: a file of the folder must not hide a package
    importlib.invalidate_caches()
    try:
        return importlib.import_module(stem)
    except Exception as error:  # an import runs somebody's code
        raise InputError(one_line(f"{path} cannot be read as Python ({type(error).__name__}: {error}); mend it and run again.")) from error


def _is_free(stem: str, path: Path) -> bool:
    """Whether the name of a module is nobody's, or this file's already."""
    spec = importlib.util.find_spec(stem)
    return spec is None or (spec.origin is not None and Path(spec.origin).resolve() == path.resolve())


def _check_arms(name: str, own: Ablation) -> None:
    arms = [arm.name for arm in own.arms]
    if not arms:
        raise InputError(f"The ablation of {name} has no arms; give it at least one.")
    if twice := next((arm for arm in arms if arms.count(arm) > 1), None):
        raise InputError(f"Two arms of {name} are named {twice!r}; name them apart.")


def _checked(name: str, own: Ablation, claims: Any) -> tuple[Claim, ...]:
    """The file's claims, each about arms that the ablation has."""
    if not isinstance(claims, (tuple, list)) or not all(isinstance(one, Claim) for one in claims):
        raise InputError(f"{STATED} of {name} must be a tuple of Claim(...); see docs/own-ablation.md.")
    for claim in claims:
        if claim.ablation != own.name:
            raise InputError(f"The claim {claim.id!r} of {name} is about {claim.ablation!r}; write ablation={own.name!r}.")
        for arm in claim.value.arms:
            own.arm(arm)
    ids = [claim.id for claim in claims]
    if twice := next((one for one in ids if ids.count(one) > 1), None):
        raise InputError(f"Two claims of {name} have the id {twice!r}; name them apart.")
    return tuple(claims)
