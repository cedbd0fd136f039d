"""Jobs that workers open themselves, with models that die: recipes for tests of the engines."""

import os
import signal
import time
from pathlib import Path

from fake_models import FakeCaptioner, FakeFilter

from blip.capfilt import Job
from blip.data.pairset import PairSet
from blip.errors import InputError
from lab.world.sets import World, as_pairs

IMAGES, EACH = 96, 8
SHARDS = IMAGES // EACH
ITEMS = World.of("nano").web(IMAGES)


def pairs():
    return PairSet.of(as_pairs(ITEMS, 32))


def job(captioner=None, **changes):
    filters = {"itm": FakeFilter(), "second": FakeFilter("other")}
    return Job(**{"captioner": captioner or FakeCaptioner(), "filters": filters, "images_per_shard": EACH} | changes)


class Announced(FakeCaptioner):
    """Leaves its process's number in a folder, and takes its time, so that it can be killed at work."""

    def __init__(self, folder):
        super().__init__()
        (Path(folder) / str(os.getpid())).touch()

    def __call__(self, prepared, digests, **words):
        time.sleep(0.05)
        return super().__call__(prepared, digests, **words)


class Deadly(FakeCaptioner):
    """Kills its own process whenever it meets one image."""

    def __init__(self, digest):
        super().__init__()
        self.digest = digest

    def __call__(self, prepared, digests, **words):
        if self.digest in digests:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(prepared, digests, **words)


def plain(device):
    return job()


def announced(folder, device):
    return job(Announced(folder))


def deadly(digest, device):
    return job(Deadly(digest))


def refused(device):
    raise InputError(f"There are no weights for {device}.")


def faulty(device):
    raise ZeroDivisionError("a fault of ours")


def stillborn(device):
    os.kill(os.getpid(), signal.SIGKILL)


def as_device(device):
    """Another job on each device."""
    return job(notes={"device": device})


class Killer:
    """Kills one of the announced processes with SIGKILL each time some shards are done, `kills` times."""

    def __init__(self, folder, kills):
        self.folder, self.left, self.images, self.killed = Path(folder), kills, 0, set()

    def __call__(self, images):
        self.images += images
        living = [pid for pid in sorted(int(path.name) for path in self.folder.iterdir()) if pid not in self.killed]
        if self.left and living:
            self.left -= 1
            self.killed.add(living[-1])
            os.kill(living[-1], signal.SIGKILL)


def content(folder):
    """Every file of a ledger with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
