"""The types of `blip`: nothing public is without them, mypy finds no fault in them, and they say what is there."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import pytest

import blip

ROOT = Path(__file__).parents[1]
# What a type checker must know of the library: an expression and its type.
KNOWN = {
    'blip.BLIP(blip.named("nano"))': "BLIP",
    "blip.Decoding().top_p": "float",
    "model.text.blocks[0]": "TextBlock",
    '[block.self_attention["encoder"] for block in model.text.blocks]': "list[SelfAttention]",
    'model.text.embeddings["decoder"].word.weight': "Tensor",
    "blip.Pretrain(model, ObjectiveConfig()).image_queue.rows": "Tensor",
    "Teacher(model).module": "BLIP",
    "[batch.rows for batch in Loader(PhotoRows([], transform), 8)]": "list[list[int]]",
    'vqa_accuracy([(7, "yes")], {7: ["yes"]}).per_question': "dict[int, float]",
    "pairs[0].caption": "str",
    "pairs[:2]": "Selection",
}
WRONG = {
    "[batch.captions for batch in Loader(ArrayRows(pixels, pixels), 8)]": "attr-defined",
    'blip.Decoding(top_k="3")': "arg-type",
    'train(model, "feed", 3)': "arg-type",
    'model.text.blocks[0].mlp["encoder"].query.weight': "union-attr",
}
USES = """
import blip
from blip.data.loading import Loader
from blip.data.pairset import PairSet
from blip.data.pictures import ArrayRows, PhotoRows
from blip.data.transforms import Transform
from blip.metrics.vqa import vqa_accuracy
from blip.momentum import Teacher
from blip.tasks.pretrain import ObjectiveConfig
from blip.train import train
from torch import Tensor

def uses(model: blip.BLIP, pairs: PairSet, pixels: Tensor, transform: Transform) -> None:
"""


def modules():
    names = [found.name for found in pkgutil.walk_packages(blip.__path__, "blip.")]
    return [importlib.import_module(name) for name in names]


def functions_of(owner):
    """The functions below what decorators and descriptors make of them."""
    for raw in vars(owner).values():
        parts = [getattr(raw, name, None) for name in ("fget", "fset", "func", "__func__")]
        for one in filter(None, parts) if isinstance(raw, DESCRIPTORS) else [raw]:
            if inspect.isfunction(found := inspect.unwrap(one)):
                yield found


DESCRIPTORS = property | cached_property | classmethod | staticmethod


def is_public(function):
    # A lambda is the default value of a field, whose own type says what it is.
    return not function.__name__.startswith(("_", "<")) or function.__name__ in ("__init__", "__call__", "__getitem__")


def bare(function):
    """The parameters without a type, and `return`."""
    signature = inspect.signature(function)
    named = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    result = [] if signature.return_annotation is not signature.empty or function.__name__ == "__init__" else ["return"]
    return [one.name for one in named if one.annotation is one.empty] + result


def test_every_public_function_and_method_is_typed():
    seen, wrong = 0, {}
    for module in modules():
        classes = [one for one in vars(module).values() if inspect.isclass(one) and one.__module__ == module.__name__]
        for owner in (module, *(one for one in classes if not one.__name__.startswith("_"))):
            for function in functions_of(owner):
                if function.__module__ == module.__name__ and is_public(function):
                    seen += 1
                    wrong |= {f"{module.__name__}.{function.__qualname__}": bare(function)} if bare(function) else {}
    assert seen > 500 and wrong == {}


def test_a_missing_type_would_be_seen():
    def half(first: int, second, *rest: int):
        return first, second, rest

    assert bare(half) == ["second", "return"]


@pytest.mark.parametrize("name", blip.__all__)
def test_the_front_door_is_typed(name):
    """Functions, and what a class takes and its public methods."""
    door = getattr(blip, name)
    found = functions_of(door) if inspect.isclass(door) else [inspect.unwrap(door)]
    assert {one.__name__: bare(one) for one in found if is_public(one) and bare(one)} == {}


def test_no_module_hides_a_name_of_the_front_door():
    """Python puts an imported module in the place of a name like its own, as it did with `blip.train`."""
    assert {found.name for found in pkgutil.iter_modules(blip.__path__)} & set(blip.__all__) == set()


def test_type_checkers_see_the_same_front_door():
    code = ast.parse(Path(blip.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in code.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    assert {alias.asname: node.module for node in block.body for alias in node.names} == blip._HOMES


def test_mypy_finds_nothing_in_blip_and_knows_what_is_what(tmp_path, pytestconfig):
    """One run over `blip` and a file of uses: right ones, whose types it tells, and wrong ones, which it finds."""
    uses = tmp_path / "uses.py"
    lines = [f"    reveal_type({line})" for line in KNOWN] + [f"    {line}" for line in WRONG]
    uses.write_text(USES + "\n".join(lines))
    known = dict(enumerate([*KNOWN, *WRONG], USES.count("\n") + 1))
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(pytestconfig.cache.mkdir("mypy"))]
    command += ["--no-error-summary", "blip", str(uses)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    told = [re.match(r".*uses\.py:(\d+): (note|error): (.*)", line) for line in done.stdout.splitlines()]
    assert done.stdout and all(told), done.stdout + done.stderr
    types = {known[int(at)]: text for at, kind, text in (one.groups() for one in told) if "Revealed type" in text}
    short = {line: re.sub(r"[\w.]+\.", "", text.split('"')[1]) for line, text in types.items()}
    errors = [(known[int(at)], text) for at, kind, text in (one.groups() for one in told) if kind == "error"]
    assert short == KNOWN
    assert {line: text.rpartition("[")[2].rstrip("]") for line, text in errors} == WRONG
