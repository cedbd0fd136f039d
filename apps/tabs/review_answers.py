"""What the room "Review" answers with when a person does something there: values for its outputs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from apps import review_cards
from apps.links import Place, link
from apps.reviewing import Desk
from apps.reviews import KEEP, Changed, Word
from apps.tabs.limits import within
from apps.undoing import Said, last, without
from blip.capfilt import Policy
from blip.errors import InputError

_WAITS = "The better text is not saved; it waits at its caption."


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
    drafts: gr.Textbox
    """Better texts that nobody saved yet, by row_id, as JSON; the page keeps them when it is loaded anew."""
    written: gr.Textbox
    """The row_id of the caption that the better text is for."""
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
    drafts: gr.Textbox
    back: gr.Button
    on: gr.Button
    page_back: gr.Button
    page_on: gr.Button

    def parts(self) -> list[Any]:
        """All of them, in order."""
        return list(vars(self).values())


NOTHING: Mapping[str, Any] = {"better": "", "drafts": {}, "written": ""}
"""What a person has written before the page is there."""


def named(values: tuple[Any, ...]) -> dict[str, Any]:
    """The values of a handler by the names of Asked; drafts as they are read from their JSON."""
    own = dict(zip(Asked.__dataclass_fields__, values, strict=False))
    return own | {"drafts": waiting(own["drafts"])}


def waiting(drafts: str) -> dict[str, str]:
    """The better texts that nobody saved yet, by row_id, from their JSON; none of an empty text."""
    return {str(row): str(text) for row, text in json.loads(drafts or "{}").items()}


def place_shown(desk: Desk, values: tuple[Any, ...]) -> Place:
    """Where the reviewer is: the caption on the screen; where another queue is asked for, the first open one of that."""
    own, usual = named(values), {"web": desk.policy.web, "synthetic": desk.policy.synthetic}
    web, synthetic = (limit if own[origin] is None else within(own[origin]) for origin, limit in usual.items())
    row, _, queue = _seen(own)
    place = Place(policy=Policy(web=web, synthetic=synthetic), queue=own["queue"], search=own["search"].strip(), opinion=own["opinion"] or "", row_id=row)
    return place if queue in ("", place.queue) else desk.begin(place)


def _seen(own: Mapping[str, Any]) -> tuple[str, str, str]:
    """What was on the screen: a caption's row_id and version, and the queue, each "" where it is not known."""
    row, version, queue = [*own["shown"].split(" "), "", ""][:3]
    return row, version, queue


def judged(desk: Desk, values: tuple[Any, ...], word: str, *, rewrite: bool = False) -> list[Any]:
    """Save a word on the caption that was on the screen, and go on to the next open one.

    Who keeps a caption keeps it with the better text that is written, else with the one that it has; rewrite: one must be
    written. To give it its own text back, write that, or drop the caption first.
    """
    own, place = named(values), place_shown(desk, values)
    row, version, _ = _seen(own)
    if not version:
        return answer(desk, place, own=own)
    # Of a queue that was chosen meanwhile nothing has been seen yet: it begins.
    onward = desk.next_open if place.row_id == row else lambda place: place
    text = None
    if word == KEEP:
        text = own["better"] if rewrite or own["better"].strip() else desk.text(row)
    try:
        said = desk.save(row, word, reviewer=own["reviewer"], seen=int(version), text=text)
    except Changed as error:
        # A key that was hit twice goes on to the next caption, and judges neither again.
        mine = error.newer.by == own["reviewer"].strip()
        said_before = error.own() if mine else str(error)
        return answer(desk, onward(place) if mine else place, (said_before, "refused"), own=own)
    except InputError as error:
        return answer(desk, place, (str(error), "refused"), own=own)
    after = onward(place)
    note = "All of this queue is reviewed." if after == place and place.row_id == row else _saved(said)
    return answer(desk, after, (note, "done"), own=own, done=[*own["done"], Said.of(said)])


def undone(desk: Desk, values: tuple[Any, ...]) -> list[Any]:
    """Take back the last word said since the page was opened, and go to its caption."""
    own, place = named(values), place_shown(desk, values)
    said = last(own["done"])
    if said is None:
        return answer(desk, place, ("There is nothing to undo since you opened the page.", "quiet"), own=own)
    there = replace(place, row_id=said.row_id)
    try:
        back = desk.reviews.undo(said.row_id, reviewer=own["reviewer"], version=said.version, to=said.before)
    except Changed as error:
        return answer(desk, there, (str(error), "refused"), own=own, done=without(own["done"], said))
    except InputError as error:
        return answer(desk, place, (str(error), "refused"), own=own)
    note = ("Your last verdict is taken back.", "done")
    return answer(desk, there, note, own=own, done=without(own["done"], said, back))


def _saved(word: Word) -> str:
    does = "kept" if word.word == KEEP else "dropped"
    return f"Saved: {does}{' with the better text' if word.caption is not None else ''}. Z takes it back."


def _drafts(desk: Desk, own: Mapping[str, Any]) -> dict[str, str]:
    """The better texts that nobody saved yet: what is written now belongs to the caption that it was written for."""
    row, text = own["written"], own["better"].strip()
    drafts = {other: draft for other, draft in own["drafts"].items() if other != row}
    return drafts | {row: own["better"]} if row and text and text != desk.text(row).strip() else drafts


def _better(own: Mapping[str, Any], drafts: Mapping[str, str], row: str, saved: bool) -> Any:
    """The better text for a caption; one that is being written stays as it is, unless it is saved."""
    here = row == own["written"] and not (saved and row not in drafts)
    return gr.skip() if here else drafts.get(row, "")


def answer(
    desk: Desk, place: Place, said: tuple[str, str] = ("", "quiet"), *, own: Mapping[str, Any], done: Any = None
) -> list[Any]:
    """The values of every output, in the order of Shown. own: what a person has put in, by the names of Asked."""
    stretch, counts = desk.show(place), desk.counts(place)
    item = None if stretch.focus is None else stretch.items[stretch.focus]
    others = desk.neighbours(item, place.policy) if item else []
    picture = desk.service.large_picture(item.image) if item else None
    agreement = desk.agreement(place.policy)
    queues = [(f"{name} · {counts[word]:,}", word) for word, name in desk.queues(place.opinion).items()]
    drafts, row = _drafts(desk, own), stretch.place.row_id
    waits = _WAITS if own["written"] in drafts and own["written"] != row else ""
    return [
        gr.update(choices=queues, value=place.queue),
        review_cards.where(stretch, agreement.captions + agreement.edited),
        review_cards.focus(stretch, others, picture),
        review_cards.notice(f"{said[0]} {waits}".strip(), said[1]),
        review_cards.rows(stretch),
        review_cards.agreement(agreement),
        _better(own, drafts, row, saved=done is not None),
        link(stretch.place, desk.ledger),
        gr.skip() if done is None else done,
        json.dumps(drafts),
        *(gr.update(interactive=there) for there in stretch.around),
    ]
