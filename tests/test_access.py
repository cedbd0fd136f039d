"""Who may reach the studio, and what its banner says of the ledger that is opened."""

import asyncio
import json
import re
import time

import pytest
from studio_ledgers import generated_ledger, unusable_ledger

from apps import access
from apps.access import PASSWORD, HostCheck, known_password, login, names_of, refuse
from apps.banner import banner, decoding_words
from apps.service import Service
from blip.capfilt import Policy
from blip.generate import Decoding


def asked(host, name):
    """The status that a request for a name gets from a studio at a host."""
    sent = []

    async def inside(scope, receive, send):
        await refuse(send, 200, "in")

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "headers": [(b"accept", b"*/*"), *([(b"host", name.encode())] if name else [])]}
    asyncio.run(HostCheck(inside, names_of(host))(scope, None, send))
    assert (sent[1]["body"] == b"in") == (sent[0]["status"] == 200)
    return sent[0]["status"]


@pytest.mark.parametrize("name", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860"])
def test_the_studio_of_this_machine_answers_to_its_names_alone(name):
    assert asked("127.0.0.1", name) == asked("localhost", name) == 200
    for strange in ("evil.example:7860", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.5:7860", "evil:localhost", ""):
        assert asked("127.0.0.1", strange) == 400


def test_a_studio_for_others_answers_to_its_address_and_one_at_every_address_to_any():
    assert [asked("10.0.0.5", name) for name in ("10.0.0.5:7860", "localhost", "evil.example")] == [200, 200, 400]
    assert [asked("0.0.0.0", name) for name in ("10.0.0.5:7860", "lab.example")] == [200, 200]


def test_the_password_may_come_from_the_environment(monkeypatch):
    monkeypatch.delenv(PASSWORD, raising=False)
    assert known_password(None) is known_password("") is login(None) is None
    monkeypatch.setenv(PASSWORD, "öffne dich")
    assert (known_password(None), known_password("other")) == ("öffne dich", "other")
    assert asyncio.run(login(known_password(None))("anybody", "öffne dich"))


def test_wrong_logins_take_their_time_one_after_the_other(monkeypatch):
    monkeypatch.setattr(access, "_SECONDS", 0.1)
    right = login("sesame")

    async def tried(*words):
        return await asyncio.gather(*(right("anybody", word) for word in words))

    start = time.monotonic()
    assert asyncio.run(tried("a", "b", "", "sesam", "sesame")) == [False] * 4 + [True]
    assert time.monotonic() - start >= 0.4


def test_the_banner_says_in_words_what_the_ledger_is(tmp_path):
    ledger = generated_ledger(tmp_path / "<b>" / "ledger")
    service, mark = Service.open(ledger.folder), ledger.about["captioner"]

    def shown(web=0.5, synthetic=0.5, **weights):
        html = banner(service, Policy(web=web, synthetic=synthetic), weights, "")
        assert "&lt;b&gt;/ledger</dd>" in html and f'title="weights {mark}"' in html
        return html

    assert f">{mark}</dd>" in shown()
    assert ">nucleus, p = 0.9</dd>" in shown() and ">0.5</dd>" in shown() and ">60</dd>" in shown()
    assert ">mine.pth</dd>" in shown(**{mark: "some/where/mine.pth", "another": "other.pth"})
    assert ">web 0.9, synthetic 0.25</dd>" in shown(0.9, 0.25)
    for given, name in (["far/away.safetensors"], "away.safetensors"), (["a", "b"], mark), ([3], mark), ("text", mark):
        (ledger.folder / "summary.json").write_text(json.dumps({"config": {"options": {"captioner": given}}}))
        assert f">{name}</dd>" in shown()
    (ledger.folder / "summary.json").write_text("{")
    assert f">{mark}</dd>" in shown()
    service.close()


def test_the_banner_says_how_many_pairs_were_rejected_and_why(tmp_path):
    whole, none = Service.open(generated_ledger(tmp_path / "ledger").folder), Service.open(unusable_ledger(tmp_path).folder)
    assert "rejected" not in banner(whole, Policy(), {}, "")  # captions that came out empty are no pairs
    assert any(row["kind"] == "caption" for row in whole.ledger.table("rejects").to_pylist())
    why = "a web page (HTML or XML), not an image (2); zero bytes (1)"
    assert re.search(rf'<dt>rejected</dt><dd title="[^"]*{re.escape(why)}">3</dd>', banner(none, Policy(), {}, ""))
    whole.close()
    none.close()


@pytest.mark.parametrize(
    ("decoding", "words"),
    [
        (Decoding(), "nucleus, p = 0.9"),
        (Decoding(strategy="beam", num_beams=5), "beam search, 5 beams"),
        (Decoding(strategy="greedy"), "greedy"),
        (Decoding(strategy="top_k", top_k=50, temperature=0.7, prompt="a length=(3"), "top-k, k = 50, temperature 0.7"),
        ("of my own(p=1)", "of my own(p=1)"),
        ("", ""),
    ],
    ids=str,
)
def test_decodings_in_words(decoding, words):
    assert decoding_words(str(decoding)) == words
