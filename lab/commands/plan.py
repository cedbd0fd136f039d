"""`lab plan`: devices, hours, disk and money of CapFilt and pre-training over so many images, at base size."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from blip.data.pairs import image_bytes
from blip.errors import InputError
from lab.page_parts import markdown
from lab.planning import EPOCHS, IMAGE_BYTES, SHARE, Plan, check_price, check_share
from lab.planning_pages import missing
from lab.planning_records import Prices
from lab.planning_tables import DISK_HEAD, TIME_HEAD, disk_row, time_rows
from lab.reading import Reading

_SAMPLE = 64


@dataclass(frozen=True, kw_only=True)
class Options:
    """Plan captioning, filtering and pre-training from measured figures, and from assumed ones where there are none."""

    images: int
    """Images of the set, each with one web text."""
    devices: int = 8
    """Devices that work at once."""
    price_per_hour: float | None = None
    """Price of a GPU for an hour, in your currency."""
    cpu_price_per_hour: float | None = None
    """Price of a machine like the measured one without a GPU."""
    device_tflops: float | None = None
    """Peak of your device in its precision, 10^12 operations a second; by default those of known GPUs are assumed."""
    share: float = SHARE
    """Share of a peak that becomes useful operations; an assumption."""
    candidates: int = 1
    """Synthetic captions an image (paper: 1)."""
    epochs: int = EPOCHS
    """Of pre-training (paper: 20); images beyond 14M are shown in a fifth of them, as the paper shows LAION's."""
    image_bytes: float = IMAGE_BYTES
    """Bytes of an encoded image, where --data does not say."""
    data: str | None = None
    """Your pairs, in any form that lab capfilt reads: bytes an image are measured on them."""
    reading: Reading = field(default_factory=Reading)
    """How a table of them is read."""


def main(options: Options) -> int:
    """Print the tables, and what they assume."""
    for name in ("price_per_hour", "cpu_price_per_hour"):
        check_price(name.replace("_", "-"), getattr(options, name))
    check_share(options.share)
    each = options.image_bytes if options.data is None else mean_bytes(options.data, options.reading)
    plan = Plan(
        images=options.images,
        devices=options.devices,
        candidates=options.candidates,
        epochs=options.epochs,
        image_bytes=each,
    )
    prices = Prices(gpu=options.price_per_hour, cpu=options.cpu_price_per_hour)
    print(markdown(TIME_HEAD, time_rows(plan, prices, share=options.share, own=options.device_tflops)))
    print()
    print(markdown(DISK_HEAD, [disk_row(plan)]))
    print()
    print(_assumed(options, plan))
    if said := missing():
        print(said)
    return 0


def mean_bytes(data: str, reading: Reading) -> float:
    """Mean bytes of an encoded image, over 64 images spread over the data; InputError where none can be read."""
    images = reading.pairs(data).images
    sizes = []
    for number in np.unique(np.linspace(0, len(images) - 1, min(len(images), _SAMPLE)).astype(int)).tolist():
        try:
            sizes.append(len(image_bytes(images[number])))
        except OSError:
            continue
    if not sizes:
        raise InputError(f"No image of {Path(data).name} can be read; mend --data, or give --image-bytes.")
    return sum(sizes) / len(sizes)


def _assumed(options: Options, plan: Plan) -> str:
    source = "assumed" if options.data is None else "measured on --data"
    return (
        f"{plan.samples:,} samples of pre-training, {plan.captions:,} captions in the ledger; {plan.image_bytes:,.0f} bytes an "
        f"image, {source}. Rows marked assumed rest on operations by formula and on a peak (10^12 operations a second) x share; "
        "docs/planning.md says what else is assumed."
    )
