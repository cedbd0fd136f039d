"""Which images of a ledger a contact sheet shows: every kind of outcome, as evenly as there are cards."""

import itertools
from collections import defaultdict
from collections.abc import Sequence

from blip.capfilt import Ledger, Policy, decide
from lab.figures import Caption, Card
from lab.world.draw import PEOPLE_PX
from lab.world.sets import WorldPair


def chosen_cards(
    ledger: Ledger, items: Sequence[WorldPair], policy: Policy | None = None, count: int = 16
) -> list[Card]:
    """Cards in turn from images where both captions, only one, or none was kept."""
    groups: dict[tuple[bool, bool], list[Card]] = defaultdict(list)
    for card in cards(ledger, items, policy):
        outcome = card.web is not None and card.web.kept, card.synthetic is not None and card.synthetic.kept
        groups[outcome].append(card)
    # What the paper's Figure 4 is about comes first: a bad web text replaced by a good synthetic one.
    order = [groups[key] for key in ((False, True), (True, False), (True, True), (False, False))]
    turns = itertools.zip_longest(*order)
    return [card for turn in turns for card in turn if card is not None][:count]


def cards(ledger: Ledger, items: Sequence[WorldPair], policy: Policy | None = None) -> list[Card]:
    """A card an image, in their order: its web caption and its first synthetic one, with verdict and truth."""
    truths = ledger.table("candidates", ["truth"])["truth"].to_pylist()
    captions: dict[str, dict[str, Caption]] = defaultdict(dict)
    for row, truth in zip(decide(ledger, policy).to_pylist(), truths, strict=True):
        origin = "synthetic" if row["origin"] == "synthetic" else "web"
        caption = Caption(row["caption"], row["score"] or 0.0, row["kept"], truth)
        captions[row["image_key"]].setdefault(origin, caption)
    each = [(item, captions.get(item.key, {})) for item in items]
    return [Card(item.image(PEOPLE_PX), own.get("web"), own.get("synthetic")) for item, own in each]
