"""What CapFilt will take over many images, from a run of the real engine over a few: time, memory, disk, cost.

Here is the arithmetic; `lab.forecast_run.measure` runs the engine.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from blip.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a forecast is asked for."""

    forecast: bool = False
    """Run over 64 images only (rounded up to whole tiles), in this process on one device, and forecast time, memory, disk and cost."""
    images: int | None = None
    """Images of the forecast; by default those of the data."""
    devices_count: int = 1
    """Devices of the forecast, each with a process of its own."""
    price_per_hour: float | None = None
    """Price of a device for an hour, in your currency, for the cost."""

    def check(self) -> None:
        """InputError for an option that cannot be, or that belongs to a forecast where none is asked for."""
        given = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        if given and not self.forecast:
            raise InputError(f"--{given[0].replace('_', '-')} belongs to --forecast; add that, or leave it out.")
        for name in ("images", "devices_count"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} {value} cannot be; give 1 or more.")
        price = self.price_per_hour
        if price is not None and not 0 <= price < math.inf:
            raise InputError(f"--price-per-hour {price:g} cannot be; give 0 or more.")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the engine took, in seconds and bytes; an image's are means."""

    images: int
    """So many were run, after a warm-up tile that does not count."""
    tiles: tuple[float, ...]
    """Seconds an image of each whole tile."""
    reading: float
    """Seconds of one thread to read and decode an image, not overlapped with anything."""
    captioning: float
    """Seconds an image in the captioners, preparing pixels included."""
    scoring: float
    """Seconds an image in the filters."""
    commit: float
    """Seconds to write a shard."""
    loading: float
    """Seconds to read the list of data and load the weights, once."""
    memory: int
    """Most bytes that the process held."""
    device_memory: int | None
    """Most bytes that the accelerator held; None on a CPU."""
    disk: float
    """Ledger bytes an image."""
    workers: int
    """Threads that open images, for each device."""
    cores: int
    """Of this machine."""

    @property
    def seconds(self) -> tuple[float, float | None]:
        """Seconds an image on one device, and half of its 95% interval (Student's t over tiles; None of one tile)."""
        mean = float(np.mean(self.tiles))
        if len(self.tiles) < 2:
            return mean, None
        from scipy.stats import t

        spread = float(np.std(self.tiles, ddof=1)) / math.sqrt(len(self.tiles))
        return mean, float(t.ppf(0.975, len(self.tiles) - 1)) * spread

    def forecast(self, images: int, devices: int, images_per_shard: int, price: float | None) -> dict[str, Any]:
        """Hours (with ends low and high), bytes and cost for `images` images on `devices` devices.

        An accelerator shares this machine's cores with the others; where the models run on CPUs a device is a
        machine like this one. Reading is the limit where the threads of all devices, at most one a core, open
        fewer images a second than the devices take.
        """
        mean, half = self.seconds
        cores = self.cores if self.device_memory is not None else self.cores * devices
        threads = min(devices * self.workers, cores)
        read = self.reading / threads
        rates = [mean] if half is None else [mean, max(0.0, mean - half), mean + half]
        commits = math.ceil(images / images_per_shard) / devices * self.commit
        hours = [(self.loading + images * max(rate / devices, read) + commits) / 3600 for rate in rates]
        found = {
            "images": images,
            "devices": devices,
            "hours": hours[0],
            "hours_low": hours[1] if half is not None else None,
            "hours_high": hours[2] if half is not None else None,
            "memory_bytes": self.memory,
            "device_memory_bytes": self.device_memory,
            "disk_bytes": round(self.disk * images),
            "cost": None if price is None else hours[0] * devices * price,
            "images_per_second": devices / mean if mean else None,
            "reading_images_per_second": 1 / read if read else None,
            "reading_threads": threads,
            "reading_is_the_limit": read > mean / devices,
        }
        return found | {"assumed": _ASSUMED}


_ASSUMED = (
    "every image takes as long as those measured",
    "devices do not slow each other down, beyond sharing the cores that read",
    "a device is one like the one measured",
    "small shards compress worse than full ones, so that disk is rather less",
)


def said(measured: Measured, found: dict[str, Any]) -> str:
    """Measurement and forecast as a table."""
    mean, half = measured.seconds
    spread = "one tile: no interval" if half is None else f"95% interval {max(0.0, mean - half):.4f} to {mean + half:.4f}"
    rows = [
        ("seconds an image", f"{mean:.4f}", f"{spread}, {measured.images} images"),
        ("  captioning", f"{measured.captioning:.4f}", ""),
        ("  scoring", f"{measured.scoring:.4f}", ""),
        ("  reading, one thread", f"{measured.reading:.4f}", f"beside the others, in {measured.workers} threads"),
        ("seconds a shard, to write", f"{measured.commit:.4f}", ""),
        ("", "", ""),
        ("images", f"{found['images']:,}", f"on {found['devices']:,} devices"),
        ("hours", f"{found['hours']:.2f}", _between(found)),
        ("memory of a process, GiB", f"{found['memory_bytes'] / 2**30:.2f}", ""),
        ("disk, GiB", f"{found['disk_bytes'] / 2**30:.3f}", f"{measured.disk:,.0f} bytes an image"),
    ]
    if found["device_memory_bytes"] is not None:
        rows.append(("memory of a device, GiB", f"{found['device_memory_bytes'] / 2**30:.2f}", ""))
    if found["cost"] is not None:
        rows.append(("cost", f"{found['cost']:,.2f}", "in the currency of --price-per-hour"))
    lines = [f"{name:28}{value:>14}  {note}".rstrip() for name, value, note in rows]
    if found["reading_is_the_limit"]:
        lines += ["", _warning(found)]
    return "\n".join([*lines, "", "assumed: " + "; ".join(found["assumed"])])


def _between(found: dict[str, Any]) -> str:
    return "" if found["hours_low"] is None else f"{found['hours_low']:.2f} to {found['hours_high']:.2f}"


def _warning(found: dict[str, Any]) -> str:
    return (
        f"warning: reading is the limit. {found['reading_threads']} threads read {found['reading_images_per_second']:,.1f} "
        f"images a second, the devices would take {found['images_per_second']:,.1f}: give more --workers, or machines "
        "with more cores a device."
    )
