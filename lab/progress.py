"""Progress of a training on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

_SHOWN = ("itc", "itm", "lm", "nlvr")


@contextmanager
def bar(steps: int, name: str) -> Iterator[Callable[[dict[str, float]], None]]:
    """A progress bar fed with the rows that training logs: step, losses and samples a second."""
    with tqdm(total=steps, desc=name, unit="step", dynamic_ncols=True, mininterval=0.5) as line:

        def show(row: dict[str, float]) -> None:
            losses = {key: f"{row[key]:.3f}" for key in _SHOWN if key in row}
            line.set_postfix(losses | {"samples/s": f"{row['samples_per_second']:.0f}"}, refresh=False)
            line.update(int(row["step"]) - line.n)

        yield show


@contextmanager
def images_bar(images: int, name: str) -> Iterator[Callable[[int], None]]:
    """A progress bar over images, told how many more are done."""
    with tqdm(total=images, desc=name, unit="image", dynamic_ncols=True, mininterval=0.5) as line:

        def show(done: int) -> None:
            line.update(done)

        yield show
