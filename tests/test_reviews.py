"""Reviews: saved at once, never overwritten unseen, agreed with by hand, exported as the command exports."""

import csv
import json
import random
import re
import sqlite3
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from types import SimpleNamespace
from urllib.parse import parse_qsl

import gradio as gr
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from studio_ledgers import STRANGE, generated_ledger

from apps.blind import Audit, Draw
from apps.command import _rooms_of
from apps.exporting import Exports
from apps.job_progress import Reader
from apps.jobs import DONE, Job, Jobs
from apps.links import Place, link, place_of
from apps.models import open_models
from apps.queues import QUEUES
from apps.reviewing import Desk
from apps.reviews import DROP, KEEP, Changed, Reviews, kappa
from apps.rooms import Shared
from apps.running import Running, Weights
from apps.service import Service
from apps.tabs import review, search
from apps.tabs.limits import Limits
from apps.tabs.review_answers import NOTHING, Shown, answer, judged, named, place_shown, undone
from apps.tabs.review_audit import answered, stepped
from apps.tabs.review_audit import undone as undone_answer
from apps.tabs.try_it_answers import LEDGER, Answers
from apps.trying import Workbench
from apps.undoing import Said
from blip.capfilt import Policy, decide, decide_duckdb, kept, override
from blip.capfilt.override import Decision, decisions, record
from blip.capfilt.schema import OVERRIDES
from blip.capfilt.verify import verify
from blip.data.pairs import ImageRef, Pair
from blip.errors import InputError
from lab.audit_draw import draw, identity
from lab.audit_files import write_sheet
from lab.cli import main
from lab.ledgers import reviews_file, world_images

TALL = "one line\nanother line\n日本語の説明 👩‍🚀"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """For tests that leave the ledger as it is."""
    return generated_ledger(tmp_path_factory.mktemp("reviews") / "ledger", candidates=2)


@pytest.fixture
def desk(ledger, tmp_path):
    service = Service.open(ledger.folder)
    desk = Desk(service, Reviews(tmp_path / "reviews.sqlite", identity(ledger)))
    yield desk
    desk.close()
    service.close()


@pytest.fixture
def own(tmp_path):
    """A ledger and a desk that a test may change."""
    ledger = generated_ledger(tmp_path / "ledger")
    service = Service.open(ledger.folder)
    desk = Desk(service, Reviews(reviews_file(ledger.folder), identity(ledger)))
    yield ledger, desk
    desk.close()
    service.close()


def reviews(tmp_path):
    return Reviews(tmp_path / "reviews.sqlite", "a ledger")


def test_a_word_is_there_for_every_later_process_with_name_and_time(tmp_path):
    before = datetime.now(UTC) - timedelta(seconds=1)
    assert reviews(tmp_path).words() == {} and not (tmp_path / "reviews.sqlite").exists()
    said = reviews(tmp_path).save("a", KEEP, reviewer=" Ann ", seen=0, caption=TALL)
    found = reviews(tmp_path).words()["a"]
    assert found == said
    assert (found.word, found.caption, found.reviewer, found.version) == (KEEP, TALL, "Ann", 1)
    assert before < found.time < datetime.now(UTC) + timedelta(seconds=1)
    with sqlite3.connect(tmp_path / "reviews.sqlite") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_who_has_not_seen_the_newer_word_cannot_replace_it(tmp_path):
    ann, bob = reviews(tmp_path), reviews(tmp_path)
    first = ann.save("a", KEEP, reviewer="Ann", seen=0)
    with pytest.raises(Changed, match=r"Ann has judged this caption since you opened it \(keep, .* UTC\)") as refused:
        bob.save("a", DROP, reviewer="Bob", seen=0)
    assert refused.value.newer == first
    assert bob.words()["a"] == first
    second = bob.save("a", DROP, reviewer="Bob", seen=first.version)
    assert ann.words()["a"] == second and second.version == 2
    with pytest.raises(Changed, match="Bob has judged"):
        ann.undo("a", reviewer="Ann", version=first.version)


def test_of_many_at_once_one_wins(tmp_path):
    def judge(number):
        try:
            return reviews(tmp_path).save("a", KEEP, reviewer=str(number), seen=0).reviewer
        except Changed as refused:
            return refused.newer.reviewer

    with ThreadPoolExecutor(8) as pool:
        said = set(pool.map(judge, range(24)))
    assert said == {reviews(tmp_path).words()["a"].reviewer}


def test_undo_says_again_what_was_said_before(tmp_path):
    book = reviews(tmp_path)
    book.save("a", DROP, reviewer="Ann", seen=0)
    book.save("a", KEEP, reviewer="Bob", seen=1, caption="better")
    back = book.undo("a", reviewer="Bob", version=2)
    assert (back.word, back.caption, back.version) == (DROP, None, 3)
    assert (back.reviewer, back.undone_by) == ("Ann", "Bob")  # the verdict is still whose it was
    assert reviews(tmp_path).words()["a"] == back
    assert book.undo("a", reviewer="Bob", version=3).caption == "better"
    book.save("b", KEEP, reviewer="Ann", seen=0)
    taken = book.undo("b", reviewer="Ann", version=1)
    assert (taken.word, taken.reviewer) == (None, "Ann")
    assert book.save("b", DROP, reviewer="Ann", seen=2).version == 3
    with sqlite3.connect(tmp_path / "reviews.sqlite") as db:
        assert db.execute("SELECT count(*) FROM words").fetchone() == (7,)  # nothing is ever changed


def test_an_earlier_word_than_the_one_before_can_hold_again(tmp_path):
    book = reviews(tmp_path)
    for seen, word in enumerate((KEEP, DROP, KEEP)):
        book.save("a", word, reviewer="Ann", seen=seen)
    with pytest.raises(Changed):
        book.undo("a", reviewer="Ann", version=2, to=1)
    back = book.undo("a", reviewer="Bob", version=3, to=2)
    with pytest.raises(Changed, match=r"Ann's verdict holds again since Bob took a later one back \(drop, "):
        book.save("a", KEEP, reviewer="Eve", seen=3)
    assert (back.word, back.by) == (DROP, "Bob")
    assert book.undo("a", reviewer="Ann", version=4, to=0).word is None


def test_review_files_of_earlier_versions_are_read_and_go_on(tmp_path):
    with sqlite3.connect(tmp_path / "reviews.sqlite") as db:
        db.executescript("""
            CREATE TABLE about (ledger TEXT NOT NULL);
            INSERT INTO about VALUES ('a ledger');
            CREATE TABLE words (
                sheet TEXT NOT NULL, row_id TEXT NOT NULL, version INTEGER NOT NULL, word TEXT, caption TEXT,
                reviewer TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (sheet, row_id, version)
            ) WITHOUT ROWID;
            INSERT INTO words VALUES ('review', 'a', 1, 'drop', NULL, 'Bob', '2026-01-02T03:04:05.678+00:00');
        """)
    book = reviews(tmp_path)
    old = book.words()["a"]
    assert (old.word, old.reviewer, old.undone_by, old.version) == (DROP, "Bob", None, 1)
    with pytest.raises(Changed, match="Bob has judged"):
        book.save("a", KEEP, reviewer="Ann", seen=0)
    book.save("a", KEEP, reviewer="Ann", seen=1)
    book.undo("a", reviewer="Ann", version=2)
    again = reviews(tmp_path).words()["a"]
    assert (again.word, again.reviewer, again.undone_by, again.version) == (DROP, "Bob", "Ann", 3)


def test_sheets_keep_their_words_apart(tmp_path):
    book = reviews(tmp_path)
    book.save("a", "yes", reviewer="Ann", seen=0, sheet="audit 1")
    assert book.words() == {} and book.words("audit 1")["a"].word == "yes"
    assert book.sheets() == ["audit 1"]


def test_files_that_cannot_hold_reviews_are_one_sentence(tmp_path):
    book = reviews(tmp_path)
    with pytest.raises(InputError, match="Give your name first"):
        book.save("a", KEEP, reviewer="  ", seen=0)
    book.save("a", KEEP, reviewer="Ann", seen=0)
    with pytest.raises(InputError, match="holds the reviews of another ledger; give the file of this one with --reviews"):
        Reviews(tmp_path / "reviews.sqlite", "another ledger")
    (tmp_path / "text.sqlite").write_text("no database " * 100)
    with pytest.raises(InputError, match="text.sqlite cannot be used for reviews .*not a database"):
        Reviews(tmp_path / "text.sqlite", "a ledger")
    with pytest.raises(InputError, match="none/reviews.sqlite cannot be used for reviews"):
        Reviews(tmp_path / "none" / "reviews.sqlite", "a ledger").save("a", KEEP, reviewer="Ann", seen=0)
    (tmp_path / "empty.sqlite").touch()
    assert Reviews(tmp_path / "empty.sqlite", "a ledger").words() == {}


def test_kappa_by_hand():
    # 20 both yes, 15 both no, 5 and 10 apart: agreement 0.7, by chance 0.5 (the usual textbook table).
    first = [True] * 20 + [True] * 5 + [False] * 10 + [False] * 15
    second = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    assert kappa(first, second) == pytest.approx(0.4)
    assert kappa(first, first) == 1
    assert kappa([True, False], [False, True]) == -1
    assert kappa([], []) is None and kappa([True], [True]) is None


PLACES = [
    Place(queue="all"),
    Place(queue="near", policy=Policy(web=0.3, synthetic=0.7)),
    Place(queue="disagree"),
    Place(queue="wrong", policy=Policy(web=0.8)),
    Place(queue="kept", search="red"),
    Place(queue="filtered"),
    Place(queue="reviewed"),
    Place(queue="borderline"),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.queue)
def test_queues_hold_what_their_names_say_and_pages_hold_each_caption_once(desk, ledger, place):
    rows = [row | own for row, own in zip(ledger.table("candidates").to_pylist(), decide(ledger, place.policy).to_pylist(), strict=True)]
    for row in rows[3:20:4]:
        desk.save(row["row_id"], DROP, reviewer="Ann", seen=0)
    limit = lambda row: place.policy.synthetic if row["origin"] == "synthetic" else place.policy.web
    holds = {
        "all": lambda row: True,
        "near": lambda row: abs(row["score"] - limit(row)) <= 0.05,
        "disagree": None,
        "wrong": lambda row: row["kept"] != (row["truth"] == "true"),
        "kept": lambda row: row["kept"],
        "filtered": lambda row: not row["kept"],
        "reviewed": lambda row: row in rows[3:20:4],
        "borderline": lambda row: False,
    }[place.queue]
    first = desk.show(place)
    seen = [own for page in range(first.pages) for own in desk.show(replace(place, page=page)).items]
    ids = [own.caption.row_id for own in seen]
    assert len(ids) == len(set(ids)) == first.captions == desk.counts(place)[place.queue]
    if holds is not None:
        assert set(ids) == {row["row_id"] for row in rows if holds(row) and place.search in row["caption"].lower()}
    if place.queue in ("near", "wrong"):
        away = [abs(own.caption.score - limit({"origin": own.caption.origin})) for own in seen]
        assert away == pytest.approx(sorted(away, reverse=place.queue == "wrong"))
    assert set(desk.counts(place)) == set(QUEUES)


def test_a_queue_is_walked_from_end_to_end(desk):
    place, found = Place(queue="all", search="brightness 2"), []
    total = desk.show(place).captions
    for _ in range(total + 2):
        stretch = desk.show(place)
        found.append(stretch.place.row_id)
        place = desk.step(stretch.place, 1)
    assert len(set(found)) == total and found[-1] == found[-2] == found[-3]
    assert desk.show(place).number == total and desk.show(place).place.page == stretch.pages - 1
    assert desk.turn(place, -1) == desk.show(replace(place, row_id="", page=stretch.pages - 2)).place
    assert desk.turn(place, 1) == desk.show(replace(place, row_id="", page=stretch.pages - 1)).place
    for number in range(1, 4):
        place = desk.step(place, -1)
        assert desk.show(place).number == total - number
    nothing = desk.show(Place(queue="all", search="no such text"))
    assert (nothing.items, nothing.focus, nothing.number, nothing.pages) == ((), None, 0, 1)
    assert desk.step(nothing.place, 1).row_id == desk.next_open(nothing.place).row_id == ""


def test_after_a_verdict_comes_the_next_open_caption_then_those_before(desk):
    place = desk.show(Place(queue="all", search="red")).place
    total = desk.show(place).captions
    assert total > 3
    place, judged = desk.step(place, 2), []
    for _ in range(total):
        judged.append(place.row_id)
        desk.save(place.row_id, KEEP, reviewer="Ann", seen=0)
        place = desk.next_open(place)
    assert len(set(judged)) == total
    assert desk.next_open(place) == place


def test_a_better_text_is_kept_and_an_empty_one_refused(desk):
    item = desk.show(Place(queue="all")).items[0]
    with pytest.raises(InputError, match="Write the better text first"):
        desk.save(item.caption.row_id, KEEP, reviewer="Ann", seen=0, text=" \n")
    with pytest.raises(InputError, match="no caption 'x'"):
        desk.save("x", KEEP, reviewer="Ann", seen=0)
    assert desk.save(item.caption.row_id, KEEP, reviewer="Ann", seen=0, text=item.caption.text).caption is None
    desk.save(item.caption.row_id, KEEP, reviewer="Ann", seen=1, text=TALL + "\n")
    assert desk.show(Place(queue="all")).items[0].word.caption == TALL
    others = desk.neighbours(item, Policy())
    assert item.caption.row_id not in {own.row_id for own in others}
    assert {own.row_id for own in others} < {own.caption.row_id for own in desk.show(Place(queue="all")).items}


def test_agreement_is_that_of_a_loop(desk, ledger):
    rng, policy = random.Random(0), Policy(web=0.4, synthetic=0.6)
    rows = decide(ledger, policy).to_pylist()
    truth = [row["truth"] == "true" for row in ledger.table("candidates").to_pylist()]
    chosen = rng.sample(range(len(rows)), 40)
    said = {n: rng.random() < 0.7 for n in chosen}
    for n, keep in said.items():
        desk.save(rows[n]["row_id"], KEEP if keep else DROP, reviewer=rng.choice(("Ann", "Bob")), seen=0)
    desk.save(rows[chosen[0]]["row_id"], KEEP, reviewer="Bob", seen=1, text="another text")
    back = desk.reviews.words()[rows[chosen[1]]["row_id"]]
    desk.reviews.undo(back.row_id, reviewer="Ann", version=back.version)
    left = chosen[2:]
    found = desk.agreement(policy)
    assert found.counts == Counter((said[n], rows[n]["kept"]) for n in left)
    assert (found.captions, found.edited, found.truth, sum(found.reviewers.values())) == (38, 1, 38, 39)
    people, filters, true = ([side[n] for n in left] for side in (said, [r["kept"] for r in rows], truth))
    assert found.people_filter == kappa(people, filters)
    assert found.people_truth == kappa(people, true)
    assert found.filter_truth == kappa(filters, true)


def test_a_link_opens_the_same_place_and_refuses_what_cannot_be(desk):
    for place in (*PLACES, Place(queue="near", opinion="itm.itc", search="100% & more?", page=2, row_id="abc")):
        assert place_of(dict(parse_qsl(link(place, desk.ledger)[1:])), desk.ledger) == place
    shown = desk.show(Place(queue="all", page=1)).place
    again = desk.show(replace(desk.step(shown, 3), page=0))
    assert (again.place.page, again.focus) == (1, 3)  # the caption counts, wherever it stands
    for words, said in (
        ({"ledger": "other"}, "belongs to another ledger .other.; open the studio on that one"),
        ({"queue": "x"}, "queue 'x', which there is not"),
        ({"web": "nan"}, "says web 'nan', which cannot be; write 0 to 1"),
        ({"synthetic": "2"}, "says synthetic '2'"),
        ({"page_number": "0"}, "says page_number '0', which cannot be; write 1 or more"),
    ):
        with pytest.raises(InputError, match=said):
            place_of(words, desk.ledger)
    assert desk.show(Place(queue="all", page=10**9)).place.page == desk.show(Place(queue="all")).pages - 1


class Room:
    """A person in the room Review: what is on the screen goes back with every action, as in the browser."""

    def __init__(self, desk, reviewer="Ann", **place):
        self.desk, self.reviewer, self.better = desk, reviewer, ""
        self.asked = {"web": 0.5, "synthetic": 0.5, "queue": "all", "search": "", "opinion": ""} | place
        self.said = dict(zip(Shown.__dataclass_fields__, answer(desk, self.place(), own=NOTHING), strict=True))
        self.said["done"] = []

    def place(self, row=""):
        policy = Policy(web=self.asked["web"], synthetic=self.asked["synthetic"])
        return Place(policy=policy, queue=self.asked["queue"], search=self.asked["search"], row_id=row)

    def on_screen(self):
        found = re.search('data-row="(.*?)" data-version="(.*?)"', self.said["focus"])
        return (*(found.groups() if found else ("", "")), re.search('data-queue="(.*?)"', self.said["focus"])[1])

    @property
    def row(self):
        return self.on_screen()[0]

    @property
    def drafts(self):
        return json.loads(self.said["drafts"])

    @property
    def notice(self):
        return unescape(self.said["notice"])

    def does(self, action, **changes):
        self.asked |= changes
        row, version, queue = self.on_screen()
        values = self.asked | {"reviewer": self.reviewer, "better": self.better, "done": self.said["done"]}
        values |= {"drafts": self.said["drafts"], "written": row, "shown": f"{row} {version} {queue}"}
        found = dict(zip(Shown.__dataclass_fields__, action(self.desk, tuple(values.values())), strict=True))
        self.said |= {name: value for name, value in found.items() if value != gr.skip()}
        self.better = self.better if found["better"] == gr.skip() else found["better"]

    def judges(self, word, **how):
        self.does(lambda desk, values: judged(desk, values, word, **how))

    def goes(self, row):
        self.does(lambda desk, values: answer(desk, self.place(row), own=named(values)))

    def looks(self, **changes):
        self.does(lambda desk, values: answer(desk, place_shown(desk, values), own=named(values)), **changes)


@pytest.mark.parametrize("how", [{}, {"rewrite": True}], ids=["keep", "save text"])
def test_who_keeps_a_caption_keeps_it_with_the_better_text_that_is_written(desk, how):
    room = Room(desk)
    first, room.better = room.row, TALL
    room.judges(KEEP, **how)
    assert desk.reviews.words()[first].caption == TALL
    assert "Saved: kept with the better text" in room.notice and "not saved" not in room.notice
    assert (room.better, room.drafts) == ("", {}) and room.row != first
    second = room.row
    room.judges(KEEP)
    assert (desk.reviews.words()[second].word, desk.reviews.words()[second].caption) == (KEEP, None)
    third, room.better = room.row, desk.text(room.row)  # E writes the caption's own text
    room.judges(KEEP)
    assert (desk.reviews.words()[third].word, desk.reviews.words()[third].caption) == (KEEP, None)
    assert room.drafts == {}


def test_who_keeps_a_caption_that_has_a_better_text_keeps_that_text(desk):
    room = Room(desk)
    first, room.better = room.row, TALL
    room.judges(KEEP)
    room.goes(first)
    room.judges(KEEP)  # as on the screen, with an empty field
    assert desk.reviews.words()[first].caption == TALL and "with the better text" in room.notice
    room.goes(first)
    own = desk.service.ask("SELECT caption FROM captions WHERE row_id = $row", row=first)[0]["caption"]
    room.better = own  # its own text, written again
    room.judges(KEEP)
    assert (desk.reviews.words()[first].word, desk.reviews.words()[first].caption) == (KEEP, None)
    room.goes(first)
    room.better = TALL
    room.judges(KEEP)
    for word in (DROP, KEEP):
        room.goes(first)
        room.judges(word)
    assert (desk.reviews.words()[first].word, desk.reviews.words()[first].caption) == (KEEP, None)  # dropped in between


def test_the_last_text_of_a_queue_is_saved_and_gone_from_its_place(desk):
    room = Room(desk, search="under_score")
    room.better = TALL
    room.judges(KEEP)
    assert "All of this queue is reviewed" in room.notice and room.better == ""


def test_a_better_text_waits_at_its_caption_until_it_is_saved(desk):
    room = Room(desk)
    first, room.better = room.row, "for the first"
    room.judges(DROP)
    assert (desk.reviews.words()[first].word, desk.reviews.words()[first].caption) == (DROP, None)
    assert "Saved: dropped" in room.notice and "The better text is not saved; it waits" in room.notice
    assert room.better == "" and room.row != first
    second, room.better = room.row, "for the second"
    room.looks(web=0.4, queue="all")
    assert (room.row, room.better) == (second, "for the second")  # what is being written stays
    room.looks(search="no such text")
    assert (room.row, room.better) == ("", "") and "waits at its caption" in room.notice
    room.looks(search="")
    assert (room.row, room.better, room.notice) == (first, "for the first", "")
    room.goes(second)
    assert room.better == "for the second"
    room.judges(KEEP)
    assert desk.reviews.words()[second].caption == "for the second"
    assert room.drafts == {first: "for the first"}
    room.does(undone)
    room.does(undone)
    assert (room.row, room.better) == (first, "for the first")
    room.better = " "
    room.judges(KEEP)
    assert desk.reviews.words()[first].caption is None and room.drafts == {}


def test_another_queue_begins_at_its_first_open_caption(desk, ledger):
    rows = decide(ledger).to_pylist()
    kept = [row["row_id"] for row in rows if row["kept"]]
    room = Room(desk)
    room.goes(kept[14])
    room.judges(KEEP)
    room.looks(queue="kept")  # whatever of it was on the screen before
    assert room.row == kept[0]
    room.judges(DROP)
    room.looks(search="no such text")
    room.looks(queue="all", search="")
    room.goes(kept[7])
    room.looks(queue="kept")
    assert room.row == kept[1]
    room.goes(kept[7])
    room.looks(web=0.49)  # the same queue goes on where it is
    assert room.row == kept[7]
    for row in set(kept) - set(desk.reviews.words()):
        desk.save(row, KEEP, reviewer="Bob", seen=0)
    room.looks(queue="filtered")
    room.looks(queue="kept", web=0.5)
    assert room.row == kept[0]  # where none is open, at the first


def test_a_verdict_as_another_queue_is_chosen_skips_none_of_that(desk, ledger):
    rows = decide(ledger).to_pylist()
    kept = [row["row_id"] for row in rows if row["kept"]]
    filtered = [row["row_id"] for row in rows if not row["kept"]]
    room = Room(desk, queue="kept")
    assert room.row == kept[0]
    room.asked["queue"] = "filtered"
    room.judges(KEEP)
    assert desk.reviews.words()[kept[0]].word == KEEP
    assert room.row == filtered[0] and "Saved: kept" in room.notice


def test_at_the_ends_of_a_queue_there_is_nothing_before_and_after(desk):
    room, buttons = Room(desk), ("back", "on", "page_back", "page_on")
    last = desk.show(Place(queue="all")).captions - 1

    def free():
        return [room.said[name]["interactive"] for name in buttons]

    assert free() == [False, True, False, True]
    for at, wanted in ((1, [True, True, False, True]), (12, [True] * 4), (last, [True, False, True, False])):
        room.goes(desk.step(Place(queue="all"), at).row_id)
        assert free() == wanted
    room.looks(search="no such text")
    assert free() == [False] * 4


def test_undo_goes_on_to_ones_earlier_word_on_the_same_caption(desk):
    room = Room(desk)
    first = room.row
    for word in (KEEP, DROP, KEEP):
        room.goes(first)
        room.judges(word)
    room.reviewer = ""
    room.does(undone)
    assert "Give your name first" in room.notice and len(room.said["done"]) == 3  # nothing is forgotten
    room.reviewer = "Ann"
    for word in (DROP, KEEP, None):
        room.does(undone)
        assert (room.row, desk.reviews.words()[first].word) == (first, word)
        assert "Your last verdict is taken back" in room.notice
    room.does(undone)
    assert "There is nothing to undo" in room.notice


def test_undo_gives_another_persons_verdict_back_and_stops_there(desk):
    room = Room(desk)
    first = room.row
    room.judges(KEEP)
    desk.save(first, DROP, reviewer="Bob", seen=1)
    room.goes(first)
    room.judges(KEEP)
    room.does(undone)
    assert (desk.reviews.words()[first].word, desk.reviews.words()[first].reviewer) == (DROP, "Bob")
    assert "<b>Bob</b> drops it; <b>Ann</b> took a later verdict back" in room.said["focus"]
    assert desk.agreement(Policy()).reviewers == {"Bob": 1}
    room.does(undone)
    assert "Bob's verdict holds again since Ann took a later one back (drop" in room.notice
    room.does(undone)
    assert "There is nothing to undo" in room.notice
    assert desk.reviews.words()[first].version == 4


def test_the_ledger_learns_the_verdict_that_holds_again_under_its_own_name(own):
    ledger, desk = own
    row = decide(ledger)["row_id"][0].as_py()
    desk.save(row, DROP, reviewer="Bob", seen=0)
    desk.save(row, KEEP, reviewer="Ann", seen=1)
    assert desk.apply(Policy()) == 1 and decisions(ledger)[row].reviewer == "Ann"
    desk.reviews.undo(row, reviewer="Ann", version=2)
    assert desk.apply(Policy()) == 1
    assert (decisions(ledger)[row].kept, decisions(ledger)[row].reviewer) == (False, "Bob")


def components(demo):
    """The parts of a layout by their names."""
    return {part.elem_id: part for part in demo.blocks.values() if getattr(part, "elem_id", None)}


def test_every_room_of_a_job_begins_with_its_threshold_and_the_export_is_what_its_card_counts(tmp_path):
    ledger = generated_ledger(tmp_path / "ledger")
    job = Job(id="20260102-030405-0001", words=(), data="d", out=str(ledger.folder), threshold=0.9, state=DONE)
    tallies = Reader().progress(job, tmp_path / "log").tallies
    kept = sum(tally.kept for tally in tallies.values())
    assert 0 < kept < decide(ledger)["kept"].to_pylist().count(True)
    running = Running(Jobs(tmp_path / "jobs"), Weights.of(None, None, None), ledger.folder)
    shared = Shared(workbench=Workbench(open_models(None, None, None, None)), running=running)
    with ExitStack() as opened:
        rooms = _rooms_of(job, opened, shared)
        with gr.Blocks() as demo:
            held = Limits(*(gr.Slider(value=0.9, elem_id=f"held-{name}") for name in ("web", "synthetic")))
            review.build(rooms.desk, demo, [], held)
            search.build(rooms.searching, [demo.load], rooms.policy, held)
        parts = components(demo)
        limits = [parts[f"{room}-{origin}"].value for room in ("review", "search") for origin in ("web", "synthetic")]
        assert limits == [0.9] * 4
        assert place_of({}, rooms.desk.ledger, rooms.desk.policy).policy == rooms.policy
        emptied = (None, None, "kept", "", "", "", "", [], "", "", "")
        assert place_shown(rooms.desk, emptied).policy == rooms.policy
        tried = Answers(rooms.service, rooms.workbench)
        given = tried.given(tried.pick("0", LEDGER, None)[0], rooms.policy)
        assert [own.kept for own in given] == [own.score >= 0.9 for own in given]
        (load,) = [own for own in demo.fns.values() if parts["review-link"] in own.outputs and own.inputs == [*held.both, parts["review-drafts"]]]
        (_, _, web, synthetic, *_) = load.fn(0.9, 0.9, "", SimpleNamespace(query_params={}))
        exports = [own for own in demo.fns.values() if parts["review-exported"] in own.outputs]
        said, _ = exports[0].fn("parquet", web, synthetic)
    assert f"{kept:,} pairs are kept" in said


def judge_three(ledger, desk):
    """One dropped of those kept, one kept of those filtered, one with a better text; their row_ids."""
    rows = decide(ledger).to_pylist()
    dropped = next(row["row_id"] for row in rows if row["kept"])
    added, better = [row["row_id"] for row in rows if not row["kept"]][:2]
    desk.save(dropped, DROP, reviewer="Ann", seen=0)
    desk.save(added, KEEP, reviewer="Ann", seen=0)
    desk.save(better, KEEP, reviewer="Bob", seen=0, text=TALL)
    return dropped, added, better


def test_the_ledger_learns_the_last_words_once(own):
    ledger, desk = own
    dropped, added, better = judge_three(ledger, desk)
    before = {row["row_id"]: row for row in decide(ledger).to_pylist()}
    assert (desk.apply(Policy()), desk.apply(Policy())) == (3, 0)
    assert decide(ledger).to_pylist() == decide_duckdb(ledger).to_pylist()
    after = {row["row_id"]: row for row in decide(ledger).to_pylist()}
    assert {row for row in after if after[row] != before[row]} == {dropped, added, better}
    assert [after[row]["kept"] for row in (dropped, added, better)] == [False, True, True]
    assert (decisions(ledger)[better].caption, decisions(ledger)[better].reviewer) == (TALL, "Bob")
    assert decisions(ledger)[dropped].at == desk.reviews.words()[dropped].time
    assert desk.service.tallies(Policy()) == Service(ledger).tallies(Policy())
    desk.reviews.undo(dropped, reviewer="Ann", version=1)
    assert desk.apply(Policy()) == 1
    assert decide(ledger).to_pylist()[[*before].index(dropped)] == before[dropped]
    override(ledger, {added: False}, reviewer="Eve")  # later than Ann's word
    assert desk.apply(Policy()) == 0 and decisions(ledger)[added].kept is False
    assert all(finding.holds for finding in verify(ledger))


def test_earlier_ledgers_have_no_better_texts(own):
    ledger, _ = own
    row = decide(ledger)["row_id"][0].as_py()
    old = {"row_id": [row], "kept": [True], "was": [False], "reviewer": ["Ann"], "at": [datetime.now(UTC)]}
    ledger.write("overrides", "00000", pa.table(old, pa.schema([f for f in OVERRIDES if f.name != "caption"])))
    assert decisions(ledger)[row].caption is None
    record(ledger, {row: Decision(True, "Bob", datetime.now(UTC), "better")})
    assert decisions(ledger)[row].caption == "better"
    assert ledger.table("overrides")["caption"].to_pylist() == [None, "better"]
    (pair, about) = next((p, a) for p, a in kept(ledger, images=world_images(ledger)) if a["row_id"] == row)
    assert (pair.caption, about["edited_from"], pair.truth) == ("better", STRANGE[0], None)


@pytest.mark.parametrize("form", ["parquet", "json"])
def test_the_browser_exports_what_the_command_exports(own, tmp_path, form, capsys):
    ledger, desk = own
    dropped, added, better = judge_three(ledger, desk)
    policy = Policy(web=0.6, synthetic=0.3)
    exported = desk.export(policy, form)
    assert (exported.overrides, exported.unread) == (3, 0)
    there = tmp_path / "command" / f"pairs.{form}"
    words = ["--format", form, "--web", "0.6", "--synthetic", "0.3"]
    assert main(["ledger", "export", str(ledger.folder), "--out", str(there), *words]) == 0
    capsys.readouterr()
    if form == "parquet":
        assert exported.file.read_bytes() == there.read_bytes()
        rows = pq.read_table(exported.file).to_pylist()
    else:
        with zipfile.ZipFile(exported.file) as file:
            files = {name: file.read(name) for name in file.namelist() if not name.endswith("/")}
        command = {str(p.relative_to(there.parent)): p.read_bytes() for p in there.parent.rglob("*") if p.is_file()}
        assert files == command
        rows = json.loads(files["pairs.json"])
    found = {row["row_id"]: row for row in rows}
    assert exported.pairs == len(found)
    assert dropped not in found and added in found
    assert found[better]["caption"] == TALL and found[better]["edited_from"] is not None
    assert found[added]["edited_from"] is None


def test_an_export_of_nothing_is_one_sentence(own):
    _, desk = own
    with pytest.raises(InputError, match="No kept caption can be exported under .*; lower a threshold"):
        desk.export(Policy(web=2, synthetic=2), "parquet")


def test_of_exports_the_last_alone_takes_space(own, tmp_path, monkeypatch):
    ledger, _ = own
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    exports = Exports(ledger)
    left = lambda: [path for path in tmp_path.glob("blip-lab-studio-*/**/*") if path.is_file()]
    for form in ("parquet", "json", "parquet"):
        done = exports.write(Policy(), form, 0)
        assert left() == [done.file]
    with pytest.raises(InputError, match="No kept caption"):
        exports.write(Policy(web=2, synthetic=2), "parquet", 0)
    monkeypatch.setattr("apps.exporting.kept", lambda *asked: [(Pair("a", "a red dog", ImageRef("none.png")), {})])
    for form in ("parquet", "json"):
        with pytest.raises(InputError, match="the first image cannot be read: cannot be read"):
            exports.write(Policy(), form, 0)
    assert left() == [done.file]
    exports.close()
    assert left() == []


DRAW = Draw(web=0.4, synthetic=0.6, size=32, seed=3)


def test_a_blind_audit_is_that_of_the_command(desk, ledger, tmp_path, capsys):
    audit = Audit(desk.service, desk.reviews)
    sheet = tmp_path / "audit.csv"
    drawn = draw(ledger, DRAW.policy, DRAW.size, DRAW.seed)
    write_sheet(ledger, DRAW.policy, drawn, sheet, seed=DRAW.seed, roots={})
    with sheet.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    asked = [audit.question(DRAW, n) for n in range(audit.captions(DRAW))]
    key = json.loads((tmp_path / "audit-key.json").read_text())
    assert [own.row_id for own in asked] == [row["row_id"] for row in key["rows"]]
    with pytest.raises(InputError, match="Nobody has answered yet"):
        audit.result(DRAW)
    rng = random.Random(1)
    words = {own.row_id: rng.choice(("yes", "yes", "no", "unsure")) for own in asked[:-5]}
    for own in asked[:-5]:
        assert audit.next_open(DRAW, own.number - 1) == own.number
        audit.answer(DRAW, own.row_id, words[own.row_id], reviewer="Ann", seen=0)
    with sheet.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, lines[0])
        out.writeheader()
        out.writerows(line | {"matches": words.get(line["row_id"].removeprefix("r"), "")} for line in lines)
    assert main(["ledger", "audit", str(ledger.folder), "--answers", str(sheet), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert audit.result(DRAW) == said
    assert audit.answers(DRAW) == Counter([*words.values(), *[""] * 5])
    assert desk.reviews.words() == {} and desk.reviews.sheets() == [DRAW.sheet]


def test_an_audit_shows_nothing_that_could_lead_and_takes_answers_back(desk):
    audit = Audit(desk.service, desk.reviews)
    question = audit.question(DRAW, 0)
    assert set(vars(question)) == {"number", "row_id", "image", "text", "word"}
    with pytest.raises(InputError, match="'maybe' is no answer; say yes, no, unsure"):
        audit.answer(DRAW, question.row_id, "maybe", reviewer="Ann", seen=0)
    said = audit.answer(DRAW, question.row_id, "no", reviewer="Ann", seen=0)
    with pytest.raises(Changed):
        audit.answer(DRAW, question.row_id, "yes", reviewer="Bob", seen=0)
    audit.undo(Said.of(said, DRAW.sheet), reviewer="Ann")
    assert audit.answers(DRAW) == {"": DRAW.size}
    assert audit.question(DRAW, 0).version == 2
    assert (audit.question(DRAW, -4).number, audit.question(DRAW, 10**6).number) == (0, DRAW.size - 1)
    with pytest.raises(InputError, match="--size 3 is too few"):
        audit.captions(replace(DRAW, size=3))


class Sheet:
    """A person in the blind audit: what is on the screen goes back with every action, as in the browser."""

    def __init__(self, desk, which):
        self.desk, self.audit, self.which = desk, Audit(desk.service, desk.reviews), which
        self.where = self.question = self.notice = ""
        self.done = []

    def does(self, action, *how):
        found = re.search('data-row="(.*?)" data-version="(.*?)" data-number="(.*?)" data-draw="(.*?)"', self.question)
        shown = " ".join(found.groups()) if found else ""
        values = (self.which.web, self.which.synthetic, self.which.size, self.which.seed, "Ann", self.done, shown)
        after = action(self.desk, self.audit, values, *how)
        before = (self.where, self.question, self.notice, self.done)
        shown = [old if new == gr.skip() else new for old, new in zip(before, after, strict=True)]
        self.where, self.question, self.notice, self.done = shown

    @property
    def asks(self):
        found = re.search('data-row="(.*?)" .* data-draw="(.*?)"', self.question)
        return found.groups() if found else None


def test_an_answer_counts_in_the_draw_that_was_on_the_screen(desk):
    sheet, other = Sheet(desk, DRAW), replace(DRAW, seed=4, web=0.3)
    drawn = {sheet.audit.question(other, n).row_id for n in range(sheet.audit.captions(other))}
    sheet.does(stepped, 0)
    while sheet.asks[0] in drawn:
        sheet.does(stepped, +1)
    row, _ = sheet.asks
    sheet.which = other  # and its first caption is still on its way
    sheet.does(answered, "yes")
    assert {key: word.word for key, word in desk.reviews.words(DRAW.sheet).items()} == {row: "yes"}
    assert desk.reviews.words(other.sheet) == {}
    assert "saved in the draw that you saw" in sheet.notice
    assert sheet.asks == (sheet.audit.question(other, 0).row_id, "0.3 0.6 32 4")
    with pytest.raises(InputError, match="not one of those that were drawn; reload the page"):
        sheet.audit.answer(other, row, "yes", reviewer="Ann", seen=0)
    sheet.does(undone_answer)
    assert "nothing to undo in this draw" in sheet.notice and sheet.asks[1] == "0.3 0.6 32 4"
    sheet.which = replace(DRAW, web=None)
    sheet.does(answered, "no")
    assert "fill them in" in sheet.notice and (sheet.asks, len(sheet.done)) == (None, 2)
    sheet.which = DRAW
    sheet.does(undone_answer)
    assert sheet.asks == (row, "0.4 0.6 32 3") and sheet.audit.answers(DRAW) == {"": DRAW.size}
    assert sheet.audit.answers(other) == {"": 31, "no": 1}


def test_undo_in_an_audit_goes_on_to_ones_earlier_answer_and_over_what_others_said(desk):
    sheet = Sheet(desk, DRAW)
    sheet.does(stepped, 0)
    row, _ = sheet.asks
    sheet.does(answered, "yes")
    sheet.does(stepped, -1)
    sheet.does(answered, "no")
    said = lambda: desk.reviews.words(DRAW.sheet)[row]
    for word in ("yes", None):
        sheet.does(undone_answer)
        assert (sheet.asks[0], said().word) == (row, word)
    sheet.does(answered, "yes")
    sheet.audit.answer(DRAW, row, "no", reviewer="Bob", seen=said().version)
    sheet.does(undone_answer)
    assert "Bob has judged" in sheet.notice and sheet.done == []
    sheet.does(undone_answer)
    assert "nothing to undo in this draw" in sheet.notice and said().word == "no"
