"""`lab bench studio` without a browser: ledgers that really open, and how rounds are judged."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from apps.comparing import Comparing
from apps.questions import Question
from apps.searching import Query, Searching
from apps.service import Service
from blip.capfilt import Policy, decide
from blip.data.images import decode_image
from blip.data.pairs import ImageRef
from blip.errors import InputError
from lab.bench import studio as bench
from lab.bench.studio import AT_ONCE, BLANK, BUTTON, DRAG, FIRST, KEY, STEP, Options, Round, judged, table
from lab.bench.studio_ledger import write_ledgers

ROWS, PICTURES = 500, 3


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory):
    return write_ledgers(tmp_path_factory.mktemp("ledgers"), ROWS, PICTURES, seed=5)


@pytest.fixture(scope="module")
def service(ledgers):
    service = Service.open(ledgers[0])
    yield service
    service.close()


def test_every_picture_opens_and_few_stand_for_all(service, ledgers):
    rows = service.ledger.table("candidates", ["image_ref", "image_sha256"]).to_pylist()
    places = {row["image_ref"]: row["image_sha256"] for row in rows}
    assert len(rows) == ROWS and len(set(places.values())) == len(places) == PICTURES
    for place, sha256 in places.items():
        data = ImageRef.parse(place).read()
        assert hashlib.sha256(data).hexdigest() == sha256
        assert isinstance(decode_image(data), Image.Image)
    cards = service.page(Question(size=24)).cards
    pictures = service.pictures([card.number for card in cards])
    assert all(picture.jpeg for picture in pictures.values()) and list(pictures) == list(range(24))
    assert len({picture.jpeg for picture in pictures.values()}) == PICTURES
    assert pictures[7] == service.picture(7) == service.picture(7 + PICTURES)


def test_what_the_studio_keeps_of_it_is_what_decide_keeps(service):
    for policy in (Policy(), Policy(web=0.3, synthetic=0.8)):
        verdicts = decide(service.ledger, policy).to_pylist()
        for origin, tally in service.tallies(policy).items():
            own = [verdict["kept"] for verdict in verdicts if verdict["origin"] == origin]
            assert (tally.kept, tally.filtered) == (sum(own), len(own) - sum(own))


def test_the_second_ledger_has_the_same_images_and_other_captions(service, ledgers):
    comparing = Comparing([service.ledger, Service.open(ledgers[1]).ledger])
    a, b = (comparing.columns[label] for label in comparing.start())
    assert a.ledger != b.ledger and not comparing.ready(a, b)
    found = comparing.compare(a, b)
    assert comparing.ready(a, b)
    assert found.pairs > 0.7 * ROWS and found.other_bytes == 0
    comparing.close()


def test_the_index_of_drawn_features_is_searched_with_the_weights_that_came_along(service):
    searching = Searching(service)
    searching.open()
    found = searching.images(Query(text="a red ball"), Policy(), 24, rerank=False)
    assert len(found) == 24 and all(-1 <= one.itc <= 1 for one in found)
    assert np.all(np.diff([one.itc for one in found]) <= 0)


def a_round(**changed):
    waits = {BLANK: [500.0], FIRST: [700.0], KEY: [100.0, 120.0], BUTTON: [90.0], STEP: [200.0], DRAG: [210.0], AT_ONCE: [300.0]}
    return Round(4.0, waits | changed, {0: 900.0, 50: 1000.0, 200: 1020.0})


def test_rounds_that_reach_everything():
    found = judged([a_round(), a_round(**{KEY: [110.0]})])
    assert found["reached"]
    assert found["milliseconds"][KEY] == {
        "median": 110.0, "min": 100.0, "max": 120.0, "measured": 3, "values": [100.0, 120.0, 110.0], "target": 300, "reached": True,
    }
    assert found["first_view"] == {"ratio": 1.4, "target": 1.5, "better": "lower", "reached": True}
    assert found["memory"]["growth"]["max"] == 0.02
    assert "MISSED" not in table(found)


@pytest.mark.parametrize("changed", [{KEY: [100.0, 301.0]}, {STEP: [500.0]}, {FIRST: [3000.0], BLANK: [2500.0]}, {FIRST: [800.0]}])
def test_one_wait_too_long_in_one_round_is_a_target_missed(changed):
    found = judged([a_round(), a_round(**changed), a_round(**changed)])
    assert not found["reached"]


def test_growing_memory_is_a_target_missed():
    leaking = replace(a_round(), mib={0: 900.0, 50: 1000.0, 100: 1200.0, 200: 1050.0})
    found = judged([a_round(), leaking])
    assert found["memory"]["growth"]["max"] == 0.05 and not found["memory"]["reached"] and not found["reached"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"rows": 1000}, "too few to turn"), ({"pages": 39}, "40 or more"), ({"rounds": 0}, "--rounds 0")],
)
def test_options_that_cannot_be(changed, said):
    with pytest.raises(InputError, match=said):
        bench.main(replace(Options(), **changed))
