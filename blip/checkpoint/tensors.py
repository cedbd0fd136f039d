"""Tensors of a file, and nothing else of it."""

import os
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from blip.checkpoint.names import State
from blip.errors import InputError

_BEGINNINGS = (b"PK", b"\x80")  # a zip archive, as torch writes since 1.6, or a bare pickle before that
# What readers of archives and pickles raise where bytes are missing or turned.
_TORN = (
    OSError,
    RuntimeError,
    SafetensorError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
    OverflowError,
    AssertionError,
    struct.error,
)


def weights_file(path: Path) -> Path:
    """The file of weights that a path means: itself, or a folder's model.safetensors; InputError where there is none."""
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"There is no weights file {file}; check the path.")
    return file


def check_name(file: Path) -> None:
    """InputError for a path that is no UTF-8: safetensors opens none such."""
    try:
        str(file).encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"The name of {file} is not UTF-8, so that safetensors cannot open it; rename it.") from None


def write_tensors(
    weights: Mapping[str, Tensor], path: Path, metadata: dict[str, str], finish: Callable[[Path], None] = lambda file: None
) -> None:
    """Write a .safetensors file, whole or not at all; InputError where the system does not let it.

    finish: what is done to the file before it has its name.
    """
    temporary = path.with_name(path.name + ".writing")
    try:
        save_file(dict(weights), temporary, metadata)
        finish(temporary)
        os.replace(temporary, path)
    except SafetensorError as error:  # its own word for a full disk too
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written ({error}); free some space, or give another place.") from None


def read_tensors(path: Path) -> State:
    """Tensors of a .safetensors or weights-only .pth file; a folder means its model.safetensors.

    A .pth file holds {"model": tensors, ...} as published training scripts write it, or the tensors.
    """
    return read_with_heads(path)[0]


def read_with_heads(path: Path) -> tuple[State, dict[str, int]]:
    """The tensors, and the attention heads of each tower that our own export notes beside them."""
    state, file = _load(path)
    heads = state.get("heads") if isinstance(state, dict) else None
    known = heads if isinstance(heads, dict) else {}
    counts = {name: value for name, value in known.items() if isinstance(value, int) and value > 0}
    return _tensors(state, file), counts


def _load(path: Path) -> tuple[object, Path]:
    file = weights_file(path)
    if file.suffix == ".safetensors":
        check_name(file)
    else:
        _check_beginning(file)
    try:
        if file.suffix == ".safetensors":
            return load_file(file), file
    except _TORN as error:
        raise _torn(file, error) from None
    return load_plain(file), file


def load_plain(file: Path) -> object:
    """What torch.save wrote, of tensors and plain values alone; InputError where it is damaged or holds more."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # what torch raises for anything but tensors
        raise InputError(
            f"{file} holds more than tensors and is not loaded ({type(error).__name__}); "
            "convert it to safetensors."
        ) from None
    except _TORN as error:
        raise _torn(file, error) from None


def _torn(file: Path, error: Exception) -> InputError:
    return InputError(f"{file} is no whole weights file ({type(error).__name__}); download or export it again.")


def _check_beginning(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            begins = opened.read(2)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); check its permissions.") from None
    if not begins.startswith(_BEGINNINGS):
        raise InputError(f"{file} is no file of weights, to judge by its first bytes; download it again.")


def _tensors(state: object, file: Path) -> State:
    if isinstance(state, dict):
        inner = state.get("model", state)
        if isinstance(inner, dict):
            tensors = {name: value for name, value in inner.items() if isinstance(value, Tensor)}
            if all(isinstance(name, str) for name in tensors):
                return tensors
    raise InputError(f"{file} holds no named tensors; give a file of weights.")
