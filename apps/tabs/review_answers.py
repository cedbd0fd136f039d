"""What the room "Review" answers with when a person does something there: values for its outputs."""

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from apps import review_cards
from apps.links import Place, link
from apps.queues import QUEUES
from apps.reviewing import Desk
from apps.reviews import KEEP, Changed, Word
from blip.capfilt import Policy
from blip.errors import InputError


@dataclass(frozen=True)
class Asked:
    """The inputs of the room, in the order in which handlers get their values."""

    web: gr.Number
    synthetic: gr.Number
    queue: gr.Radio
    search: gr.Textbox
    opinion: gr.Dropdown
    reviewer: gr.Textbox
    better: gr.Textbox
    done: gr.State
    shown: gr.Textbox

    def parts(self) -> list[Any]:
        """All of them, in order."""
        return list(vars(self).values())


@dataclass(frozen=True)
class Shown:
    """The outputs of the room, in the order in which handlers give their values."""

    queue: gr.Radio
    where: gr.HTML
    focus: gr.HTML
    notice: gr.HTML
    rows: gr.HTML
    agreement: gr.HTML
    better: gr.Textbox
    link: gr.Textbox
    done: gr.State

    def parts(self) -> list[Any]:
        """All of them, in order."""
        return list(vars(self).values())


def named(values: tuple[Any, ...]) -> dict[str, Any]:
    """The values of a handler by the names of Asked."""
    return dict(zip(Asked.__dataclass_fields__, values, strict=False))


def place_shown(values: tuple[Any, ...]) -> Place:
    """Where the reviewer is: the caption on the screen in the queue that is asked for."""
    own = named(values)
    web, synthetic = (0.5 if own[origin] is None else min(1.0, max(0.0, own[origin])) for origin in ("web", "synthetic"))
    row = own["shown"].partition(" ")[0]
    return Place(policy=Policy(web=web, synthetic=synthetic), queue=own["queue"], search=own["search"].strip(), opinion=own["opinion"] or "", row_id=row)


def judged(desk: Desk, values: tuple[Any, ...], word: str, better: str | None) -> list[Any]:
    """Save a word on the caption that was on the screen, and go on to the next open one."""
    own, place = named(values), place_shown(values)
    row, _, version = own["shown"].partition(" ")
    if not version:
        return answer(desk, place)
    try:
        said = desk.save(row, word, reviewer=own["reviewer"], seen=int(version), text=better)
    except Changed as error:
        # A key that was hit twice goes on to the next caption, and judges neither again.
        mine = error.newer.reviewer == own["reviewer"].strip()
        return answer(desk, desk.next_open(place) if mine else place, (str(error), "refused"), clear=mine)
    except InputError as error:
        # What was written stays, so that nobody writes it twice.
        return answer(desk, place, (str(error), "refused"), clear=False)
    done = [*own["done"], (row, said.version)]
    after = desk.next_open(place)
    note = ("All of this queue is reviewed.", "done") if after == place else (_saved(said), "done")
    return answer(desk, after, note, done=done)


def undone(desk: Desk, values: tuple[Any, ...]) -> list[Any]:
    """Take back the last word said since the page was opened, and go to its caption."""
    own, place = named(values), place_shown(values)
    if not own["done"]:
        return answer(desk, place, ("There is nothing to undo since you opened the page.", "quiet"), clear=False)
    *left, (row, version) = own["done"]
    place = replace(place, row_id=row)
    try:
        desk.reviews.undo(row, reviewer=own["reviewer"], version=version)
    except InputError as error:
        return answer(desk, place, (str(error), "refused"), done=left)
    return answer(desk, place, ("Your last verdict is taken back.", "done"), done=left)


def _saved(word: Word) -> str:
    does = "kept" if word.word == KEEP else "dropped"
    return f"Saved: {does}{' with the better text' if word.caption is not None else ''}. Z takes it back."


def answer(
    desk: Desk, place: Place, said: tuple[str, str] | None = None, *, done: Any = None, clear: bool = True
) -> list[Any]:
    """The values of every output, in the order of Shown."""
    stretch, counts = desk.show(place), desk.counts(place)
    item = None if stretch.focus is None else stretch.items[stretch.focus]
    others = desk.neighbours(item, place.policy) if item else []
    picture = desk.service.large_picture(item.image) if item else None
    agreement = desk.agreement(place.policy)
    queues = [(f"{QUEUES[name].name} · {counts[name]:,}", name) for name in desk.queues()]
    return [
        gr.update(choices=queues, value=place.queue),
        review_cards.where(stretch, agreement.captions + agreement.edited),
        review_cards.focus(stretch, others, picture),
        review_cards.notice(*said) if said else "",
        review_cards.rows(stretch),
        review_cards.agreement(agreement),
        "" if clear else gr.skip(),
        link(stretch.place, desk.ledger),
        gr.skip() if done is None else done,
    ]
