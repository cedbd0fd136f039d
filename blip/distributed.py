"""Several processes that train and measure together: who is who, and what they tell each other. Identity on one process.

The processes share each batch: process r of W reads rows r * B/W to (r + 1) * B/W of its B samples, so that
gathering in rank order gives the batch of one process. A loss is a mean over the own rows, scaled where rows
carry different counts (`over_all`), so that the mean over the processes is the loss of the whole batch. Where they
measure, each takes whole batches (`own_rows`), as products change in their last bits with their shape: gathered in rank
order (`from_all`) all is, bit for bit, what one process finds.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from blip.errors import InputError

BUCKET = 2**24  # gradients summed in one message: enough to be quick, and no second copy of all of them
_TOLD = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}  # what torchrun says to each process

Made = TypeVar("Made")
_patient: list[dist.ProcessGroup] = []  # all processes once more: of those that measure one may have hours of work more


class LostProcess(RuntimeError):
    """Another process of the group died, or was silent for longer than the group waits."""


class _KnownToAll(InputError):
    """What all processes have been told of."""


@contextmanager
def process_group(device: str, wait_seconds: float) -> Iterator[None]:
    """The group of processes that torchrun started: nccl between GPUs, gloo between CPUs; alone, nothing.

    When the block ends, only the main process goes on: the others exit with status 0. InputError where
    the processes do not find each other.
    """
    if not os.environ.keys() >= _TOLD or os.environ["WORLD_SIZE"] == "1":
        yield
        return
    # Flags and tokens of the CPU go through gloo on every device.
    backend = "cpu:gloo,cuda:nccl" if torch.device(device).type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=wait_seconds))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"The processes do not find each other ({str(error).splitlines()[0]}); check torchrun's address.") from None
    _patient[:] = [dist.new_group(backend="gloo", timeout=timedelta(days=30))]  # type: ignore[list-item]  # all are in it
    # Only after success: behind a failure nccl would wait for the process that is lost.
    yield
    main = is_main()
    dist.destroy_process_group()
    if not main:
        raise SystemExit(0)


def choose_gpu(device: str) -> None:
    """Make `cuda` mean this process's own GPU; InputError where this machine has fewer GPUs than processes."""
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if device != "cuda" or not os.environ.keys() >= _TOLD:
        return
    if number >= torch.cuda.device_count():
        raise InputError(
            f"There are {torch.cuda.device_count()} GPUs here for process {number + 1}; "
            "give torchrun --nproc-per-node no more, or --device cpu."
        )
    torch.cuda.set_device(number)


def world_size() -> int:
    """Number of processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this process; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this process writes logs and checkpoints."""
    return rank() == 0


def part_of_batch(size: int) -> range:
    """Places of the global batch that this process reads; InputError where it cannot be shared evenly."""
    if size % world_size():
        raise InputError(
            f"A batch of {size} cannot be shared evenly by {world_size()} processes; give a multiple of {world_size()}."
        )
    share = size // world_size()
    return range(rank() * share, (rank() + 1) * share)


def first_row(rows: int) -> int:
    """Place in the global batch of the first of so many rows that this process holds."""
    return rank() * rows


@torch.no_grad()
def gather(rows: Tensor) -> Tensor:
    """Rows of all processes in rank order, without gradient: (B, ...) -> (world * B, ...)."""
    if world_size() == 1:
        return rows.detach()
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world_size())]
    with _talking():
        dist.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)


def gather_with_gradient(rows: Tensor) -> Tensor:
    """As `gather`; in the backward pass a row gets the gradients of the losses of all processes."""
    if world_size() == 1:
        return rows
    parts = list(gather(rows).split(len(rows)))
    parts[rank()] = rows
    whole = torch.cat(parts)
    if whole.requires_grad:
        whole.register_hook(_summed)
    return whole


def over_all(loss: Tensor, count: Tensor) -> Tensor:
    """A mean over `count` terms of this process, scaled so that the mean over processes is that over all terms."""
    if world_size() == 1:
        return loss
    return loss * (count * world_size() / _summed(count.float()))


@torch.no_grad()
def mean(values: Tensor) -> Tensor:
    """The mean over processes, the same in each."""
    return values if world_size() == 1 else _summed(values) / world_size()


def largest(number: int) -> int:
    """The largest of the numbers of all processes."""
    if world_size() == 1:
        return number
    told = torch.tensor(number)
    with _talking():
        dist.all_reduce(told, dist.ReduceOp.MAX)
    return int(told)


def told_by_main(value: Made) -> Made:
    """The main process's value, in every process."""
    if world_size() == 1:
        return value
    told = [value]
    with _talking():
        dist.broadcast_object_list(told)
    return told[0]


def told_by_all(values: Sequence[str]) -> list[str]:
    """The values of all processes in rank order."""
    if world_size() == 1:
        return list(values)
    told: list[Sequence[str]] = [()] * world_size()
    with _talking():
        dist.all_gather_object(told, list(values))
    return [value for one in told for value in one]


@contextmanager
def measuring() -> Iterator[None]:
    """An InputError of one ends all where they next meet, here or in `from_all`: main raises it, the others exit with 2."""
    try:
        yield
        from_all(())
    except _KnownToAll:
        raise
    except InputError as error:
        if world_size() > 1:
            _met((), str(error))
        raise


def own_rows(total: int, batch: int = 1) -> range:
    """Of so many rows in batches of one size those that this process measures: whole batches, side by side."""
    batches = -(-total // batch)
    first, last = (batches * one // world_size() * batch for one in (rank(), rank() + 1))
    return range(min(first, total), min(last, total))


def from_all(found: Sequence[Made]) -> list[Made]:
    """What all processes found, in rank order, however long that takes them; tensors must be on the CPU."""
    return list(found) if world_size() == 1 else _met(found)


def _met(found: Sequence[Made], failure: str = "") -> list[Made]:
    told = [(found, "")] * world_size()
    try:
        with _talking():
            dist.all_gather_object(told, (list(found), failure), next(iter(_patient), None))  # a caller's own group has none
        failure = next((said for _, said in told if said), "")
    except LostProcess:
        failure = "Another process of this run ended before all was measured; see what it said."
    if failure:
        ended = _KnownToAll(failure) if is_main() else SystemExit(2)
        if any(said for _, said in told):  # all are here; gloo aborts a process that ends in a group whose others are gone
            dist.destroy_process_group()
        raise ended
    return [one for part, _ in told for one in part]


@torch.no_grad()
def begin_equal(module: nn.Module) -> None:
    """Give every process the main one's parameters and buffers."""
    if world_size() == 1:
        return
    with _talking():
        for value in (*module.parameters(), *module.buffers()):
            dist.broadcast(value, 0)


@torch.no_grad()
def average_gradients(module: nn.Module) -> None:
    """Give every process the mean of all processes' gradients.

    One message behind the backward pass instead of DDP's hooks inside it: a forward that gathers, several
    micro-batches and losses of weight 0 need no special case, and the task stays the module it is.
    """
    if world_size() == 1:
        return
    bucket: list[Tensor] = []
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    for number, gradient in enumerate(gradients, 1):
        bucket.append(gradient)
        if number == len(gradients) or sum(one.numel() for one in bucket) >= BUCKET:
            _average(bucket)
            bucket = []


def _average(gradients: list[Tensor]) -> None:
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    for gradient, values in zip(gradients, mean(flat).split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(values.view_as(gradient))


@torch.no_grad()
def _summed(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    with _talking():
        dist.all_reduce(total)
    return total


@contextmanager
def _talking() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of every backend: a connection that closed, or a time that ran out
        raise LostProcess(str(error)) from error
