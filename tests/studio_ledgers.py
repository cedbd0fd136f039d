"""Ledgers for tests of the studio, made without a network."""

from dataclasses import replace
from pathlib import Path

from fake_models import FakeCaptioner, FakeFilter

from blip.capfilt import Job, Ledger, run
from blip.data.pairset import PairSet
from blip.data.readers import read_pairs
from lab.world.checker import check
from lab.world.sets import World, as_pairs

WORLD = World.of("nano")
ITEMS = WORLD.web(60)
STRANGE = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'> 100%",
    "{{value}} ${window.hacked = 3} under_score",
    'a "quoted" word, it\'s one \\ more',
    "ÄPFEL und Öl " + "und so weiter " * 40,
)
"""Captions of the first images: markup, templates, wildcards, quotes, letters, length."""


def generated_ledger(folder: Path, *, candidates: int = 1) -> Ledger:
    """60 scenes of the generated web, whose pictures the studio draws again, in four shards."""
    scenes = {item.key: item.scene for item in ITEMS}
    texts = [*STRANGE, *(item.caption for item in ITEMS[len(STRANGE) :])]
    pairs = [replace(p, caption=t) for p, t in zip(as_pairs(ITEMS, WORLD.level.px), texts, strict=True)]
    job = Job(
        captioner=FakeCaptioner(candidates=candidates, silent=0.9),
        filters={"itm": FakeFilter()},
        images_per_shard=16,
        judge=lambda key, text: check(text, scenes[key]).truth,
        notes={"world": {"level": "nano", "noise": 0.4, "start": 0}},
    )
    return run(job, PairSet.of(pairs), folder)


def unusable_ledger(folder: Path) -> Ledger:
    """A ledger, below a folder, of three pairs all of which were rejected: two web pages and a file of zero bytes."""
    for name, data in (("a.png", b"<html>"), ("b.png", b"<html>"), ("c.png", b"")):
        (folder / name).write_bytes(data)
    (folder / "pairs.csv").write_text("image,caption\n" + "".join(f"{name}.png,a text\n" for name in "abc"))
    job = Job(captioner=FakeCaptioner(), filters={"itm": FakeFilter()})
    return run(job, read_pairs(folder / "pairs.csv"), folder / "unusable")
