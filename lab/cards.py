"""Which images of a ledger a contact sheet shows: every kind of outcome, as evenly as there are cards."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence

from blip.capfilt import Ledger, Policy, decide
from lab.figures import Caption, Card
from lab.world.draw import PEOPLE_PX
from lab.world.sets import WorldPair


def chosen_cards(
    ledger: Ledger, items: Sequence[WorldPair], policy: Policy | None = None, count: int = 16
) -> list[Card]:
    """Cards in turn from images where both captions, only one, or none was kept."""
    captions = _captions(ledger, policy)
    groups: dict[tuple[bool, bool], list[WorldPair]] = defaultdict(list)
    for item in items:
        own = captions.get(item.key, {})
        web, synthetic = (own[origin].kept if origin in own else False for origin in ("web", "synthetic"))
        groups[web, synthetic].append(item)
    # What the paper's Figure 4 is about comes first: a bad web text replaced by a good synthetic one.
    order = [groups[key] for key in ((False, True), (True, False), (True, True), (False, False))]
    turns = itertools.zip_longest(*order)
    return [_card(item, captions) for item in [item for turn in turns for item in turn if item is not None][:count]]


def cards(ledger: Ledger, items: Sequence[WorldPair], policy: Policy | None = None) -> list[Card]:
    """A card an image, in their order: its web caption and its first synthetic one, with verdict and truth."""
    captions = _captions(ledger, policy)
    return [_card(item, captions) for item in items]


def _captions(ledger: Ledger, policy: Policy | None) -> dict[str, dict[str, Caption]]:
    """By image and origin the first caption of each."""
    truths = ledger.table("candidates", ["truth"])["truth"].to_pylist()
    captions: dict[str, dict[str, Caption]] = defaultdict(dict)
    for row, truth in zip(decide(ledger, policy).to_pylist(), truths, strict=True):
        origin = "synthetic" if row["origin"] == "synthetic" else "web"
        caption = Caption(row["caption"], row["score"] or 0.0, row["kept"], truth)
        captions[row["image_key"]].setdefault(origin, caption)
    return captions


def _card(item: WorldPair, captions: Mapping[str, Mapping[str, Caption]]) -> Card:
    own = captions.get(item.key, {})
    return Card(item.image(PEOPLE_PX), own.get("web"), own.get("synthetic"))
