"""A CUDA device that is not there: tensors that say they are on it, whose bytes lie on the CPU.

What is moved to `cuda` becomes an `Elsewhere`, and so does all that is computed from one. What CUDA refuses is refused: an
operation on tensors of both places, `.numpy()` of one of them. So code that forgets to move a tensor fails
here as it would on a GPU, and code that does not gives the CPU's bytes. Kernels, memory and speed are not imitated.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map_only

GPU = torch.device("cuda", 0)
PLACES = {"device": GPU, "is_cuda": True, "is_cpu": False}
OF_BOTH = {"copy_", "__set__", "_has_compatible_shallow_copy_type"}
INDEXED = {"__getitem__", "__setitem__", "index_put_"}
NUMBERS = {"synchronize": None, "reset_peak_memory_stats": None, "set_device": None, "empty_cache": None, "_lazy_init": None}
NUMBERS |= dict.fromkeys(("memory_allocated", "memory_reserved"), 2**20)
NUMBERS |= dict.fromkeys(("max_memory_allocated", "max_memory_reserved"), 2**21)
NUMBERS |= {"is_available": True, "is_current_stream_capturing": False, "device_count": 1, "get_device_name": "a pretended GPU", "set_rng_state": None}


class Elsewhere(Tensor):
    """A tensor that says it is on the GPU."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return called(func, args, kwargs or {})

    def __deepcopy__(self, memo):
        with torch._C.DisableTorchFunctionSubclass():
            twin = sent(self.detach().as_subclass(Tensor).clone()).requires_grad_(self.requires_grad)
        twin._is_param = isinstance(self, nn.Parameter)
        memo[id(self)] = twin
        return twin

    def __reduce_ex__(self, protocol):
        return self.cpu().__reduce_ex__(protocol)


class Pretended(TorchFunctionMode):
    """While it is on, whatever is made on or moved to `cuda` is an Elsewhere."""

    operations = 0
    """So many calls had a tensor of the GPU."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.operations += any(isinstance(one, Elsewhere) for one in tree_flatten(args)[0])
        return called(func, args, kwargs or {})


class Threads(ThreadPoolExecutor):
    """Threads that have the GPU, too: a mode is on in the thread that enters it alone."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, initializer=lambda: Pretended().__enter__(), **named)


@contextmanager
def pretended_gpu() -> Iterator[Pretended]:
    """A machine with one GPU, for the thread that asks and for those that read ahead for it."""
    autocast, apply = torch.autocast, nn.Module._apply
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "autocast", lambda kind, **more: autocast("cpu", **more))
        patch.setattr(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", lambda self: None, raising=False)
        patch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
        patch.setattr("blip.ahead.ThreadPoolExecutor", Threads)
        patch.setattr(nn.Module, "_apply", lambda module, move, recurse=True: moved_module(module, move, recurse, apply))
        patch.delenv("BLIP_LAB_GRAPHS", raising=False)  # kernels, and so graphs of them, are not imitated
        patch.setattr(torch.cuda, "get_rng_state", lambda *_: torch.zeros(16, dtype=torch.uint8))
        for name, value in NUMBERS.items():
            patch.setattr(torch.cuda, name, lambda *_, value=value: value)
        with Pretended() as mode:
            yield mode


def called(func: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """What a function of torch gives on a machine with a GPU, by the places of its tensors."""
    attribute = getattr(getattr(func, "__self__", None), "__name__", "")
    if isinstance(args[0] if args else None, Elsewhere):
        if func.__name__ == "__get__" and attribute in PLACES:
            return PLACES[attribute]
        if func in (Tensor.numpy, Tensor.__array__):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
    if func in (Tensor.to, Tensor.cuda, Tensor.cpu):
        return moved(func, *args, **kwargs)
    return computed(func, args, kwargs)


def computed(func: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """What a function gives, on the GPU where it is asked for or where its tensors are."""
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
    far = any(isinstance(one, Elsewhere) for one in tensors)
    if far:
        refuse_both(func.__name__, args, tensors)
    if (device := kwargs.get("device")) is not None:
        far = is_gpu(device)
        kwargs = kwargs | ({"device": "cpu"} if far else {})
    elif func.__name__ in OF_BOTH:
        far = isinstance(args[0], Elsewhere)
    with torch._C.DisableTorchFunctionSubclass():
        found = func(*args, **kwargs)
    return found if isinstance(found, torch.Size) else tree_map_only(Tensor, sent if far else fetched, found)


def refuse_both(name: str, args: tuple, tensors: list[Tensor]) -> None:
    """RuntimeError for an operation on tensors of both places; a number of the CPU is welcome everywhere."""
    indexed = name in INDEXED and isinstance(args[0], Elsewhere)
    if name in OF_BOTH or indexed or all(isinstance(one, Elsewhere) or not one.dim() for one in tensors):
        return
    raise RuntimeError(f"Expected all tensors to be on the same device, but found cuda:0 and cpu in {name}.")


def moved(func: Callable[..., Any], tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`.to`, `.cuda` and `.cpu`."""
    far, dtype = isinstance(tensor, Elsewhere) if func is Tensor.to else func is Tensor.cuda, None
    for given in [*args, kwargs.get("device"), kwargs.get("dtype")]:
        if isinstance(given, Tensor):
            far, dtype = isinstance(given, Elsewhere), given.dtype
        elif isinstance(given, torch.dtype):
            dtype = given
        elif isinstance(given, (str, torch.device)):
            far = is_gpu(given)
    with torch._C.DisableTorchFunctionSubclass():
        found = tensor if dtype is None else tensor.to(dtype)
        if far == isinstance(found, Elsewhere):
            return found
        found = found.clone() if found is tensor else found  # another place is other memory
        return sent(found.as_subclass(Tensor)) if far else fetched(found)


def moved_module(module: nn.Module, move: Callable, recurse: bool, apply: Callable) -> nn.Module:
    """A module moved in place; its parameters stay the objects that they are, as on a GPU."""
    if not isinstance(move(torch.zeros(1)), Elsewhere) and not any(isinstance(one, Elsewhere) for one in module.parameters()):
        return apply(module, move, recurse)
    for child in module.children() if recurse else ():
        child._apply(move)
    with torch.no_grad():
        for parameter in module._parameters.values():
            for one in (parameter, None if parameter is None else parameter.grad):
                if one is not None:
                    settle(one, move(one))
    for name, buffer in module._buffers.items():
        module._buffers[name] = None if buffer is None else move(buffer)
    return module


def settle(old: Tensor, new: Tensor) -> None:
    """Give a tensor the bytes and the place of another."""
    own = nn.Parameter if isinstance(old, nn.Parameter) else Tensor
    with torch._C.DisableTorchFunctionSubclass():
        if old is not new:
            old.data = new.as_subclass(Tensor)
    if isinstance(new, Elsewhere):
        sent(old)
    else:
        old.__class__ = own


def sent(tensor: Tensor) -> Tensor:
    """The same tensor, from now on of the GPU."""
    if type(tensor) is nn.Parameter:
        tensor._is_param = True
    tensor.__class__ = Elsewhere
    return tensor


def fetched(tensor: Tensor) -> Tensor:
    """The tensor as one of the CPU."""
    return tensor.as_subclass(Tensor) if isinstance(tensor, Elsewhere) else tensor


def is_gpu(device: object) -> bool:
    """Whether a device as torch takes it is one of CUDA."""
    return isinstance(device, int) or torch.device(device).type == "cuda"
