"""The room "Try it" as a person uses it: files good and bad, picks, texts, heat maps, questions, in a browser."""

import io
import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from browsing import CONTRAST, MS, nameless, opened, studio
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from studio_ledgers import ITEMS, generated_ledger
from task_models import new_model

from apps.uploads import MAX_BYTES
from blip.checkpoint import Card, save
from blip.tasks.vqa import vqa_from

CHOSEN = 6  # of the first page; its caption is plain words


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return generated_ledger(tmp_path_factory.mktemp("trying") / "ledger").folder


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    return {"GRADIO_TEMP_DIR": str(tmp_path_factory.mktemp("uploads"))}


@pytest.fixture(scope="module")
def address(ledger, uploads):
    with studio(ledger, settings=uploads) as url:
        yield url


@contextmanager
def trying(browser: Browser, address: str, width: int = 1440, scheme: str = "light") -> Iterator[Page]:
    """The room once it has said all it has to say of the first image."""
    with opened(browser, address, width, scheme) as page:
        page.get_by_role("tab", name="Try it").click()
        expect(page.locator("#heat .tile").first).to_be_visible(timeout=MS)
        yield page


@pytest.fixture(scope="module")
def visit(browser, address):
    with trying(browser, address) as page:
        yield page


@pytest.fixture
def room(visit):
    """The room with an image of the ledger."""
    if visit.locator("#portrait figcaption").inner_text() != ITEMS[CHOSEN].key:
        visit.get_by_text("Of the ledger", exact=True).click()
        expect(visit.locator("#picks-back")).to_be_disabled(timeout=MS)
        pick(visit, CHOSEN, ITEMS[CHOSEN].key)
    return visit


def pick(room: Page, number: int, name: str) -> None:
    """Choose the number-th thumbnail and wait until everything is said of it."""
    room.locator("#picks button").nth(number).click()
    expect(room.locator("#portrait figcaption")).to_have_text(name, timeout=MS)
    settled(room)


def settled(room: Page) -> None:
    """Wait until the heat maps, which come last, are of the image that is shown."""
    room.wait_for_function("""() => {
        const heat = document.querySelector("#heat .heat");
        return heat && heat.style.getPropertyValue("--shown").includes(document.querySelector("#portrait img").src);
    }""")


def image(kind="PNG", mode="RGB", **settings) -> bytes:
    data = io.BytesIO()
    Image.linear_gradient("L").convert(mode).save(data, format=kind, **settings)
    return data.getvalue()


def upload(room: Page, name: str, data: bytes) -> None:
    given = {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    room.locator("#try-file input[type=file]").set_input_files(given)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (900, "dark")])
def test_the_room_fits_and_can_be_read(browser, address, width, scheme):
    with trying(browser, address, width, scheme) as page:
        pick(page, CHOSEN, ITEMS[CHOSEN].key)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(CONTRAST) == []
        assert nameless(page) == []
        word = page.locator(".tile .word").first  # no chip, as the review's words have
        assert word.evaluate("word => [getComputedStyle(word).padding, getComputedStyle(word).backgroundColor]") == ["0px", "rgba(0, 0, 0, 0)"]


def test_captions_stand_side_by_side_with_a_bar_for_each_token(room):
    names = [said.inner_text() for said in room.locator("#said h4").all()]
    assert names == ["Greedy", "Beam", "Nucleus 1", "Nucleus 2", "Nucleus 3", "Nucleus 4"]
    tops = [box["y"] for box in (room.locator("#said article").nth(at).bounding_box() for at in (0, 1))]
    assert tops[0] == tops[1]
    for token in room.locator("#said article").first.locator(".token").all():
        number = float(token.locator("small").inner_text())
        shares = token.evaluate("t => t.querySelector('i').offsetWidth / t.querySelector('.bar').offsetWidth")
        assert shares == pytest.approx(number, abs=0.04)


def test_another_seed_draws_other_captions_and_keeps_what_is_looked_at(room):
    looked = room.locator("#looked-at input").input_value()
    said = "[...document.querySelectorAll('#said article')].map(one => one.ariaLabel)"
    before = room.evaluate(said)
    room.locator("#draw-again").click()
    room.wait_for_function(f"before => String({said}) !== before", arg=",".join(before))
    after = room.evaluate(said)
    assert after[:2] == before[:2] and after[2:] != before[2:]
    assert room.locator("#looked-at input").input_value() == looked


def test_texts_are_ranked_again_as_they_are_typed_and_never_run(room):
    texts = room.locator("#texts textarea")
    texts.fill(f"two purple hats\n{ITEMS[CHOSEN].caption}\n<img src=x onerror='window.hacked = 1'>")
    ranked = room.locator("#ranking .text")
    expect(ranked).to_have_count(3, timeout=MS)
    expect(room.locator("#ranking")).to_contain_text("onerror", timeout=MS)
    numbers = [float(one.inner_text().split()[-1]) for one in room.locator("#ranking .match b").all()]
    assert numbers == sorted(numbers, reverse=True)
    texts.fill(" ")
    expect(room.locator("#ranking .notice")).to_contain_text("There is no text; write one or more", timeout=MS)
    assert room.evaluate("window.hacked") is None


def test_each_word_of_kept_and_filtered_captions_has_its_heat_map(room):
    room.locator("#looked-at input").click()
    options = [option.inner_text() for option in room.get_by_role("option").all()]
    assert any(re.match(r"✓?\s*web, (kept|filtered): ", option) for option in options)
    assert any("Greedy: " in option for option in options)
    for option in options[:2]:
        text = option.split(": ", 1)[1]
        room.locator("#looked-at input").click()
        room.get_by_role("option", name=text).first.click()
        words = room.locator("#heat .word")
        wanted = re.findall(r"\w+", text.lower())
        expect(words).to_have_count(1 + len(wanted), timeout=MS)
        expect(words).to_have_text(["whole text", *wanted], timeout=MS)
    size = room.locator("#heat .stage img").first.evaluate("image => [image.complete, image.naturalWidth]")
    assert size == [True, 4]


def test_a_text_of_ones_own_and_attention_in_place_of_grad_cam(room):
    box = room.locator("#looked-at input")
    box.fill("a green fish <b>")
    box.press("Enter")
    expect(room.locator("#heat .word").nth(3)).to_have_text("fish", timeout=MS)
    before = room.locator("#heat .stage img").nth(2).get_attribute("src")
    room.get_by_text("Attention", exact=True).click()
    room.wait_for_function("b => document.querySelectorAll('#heat .stage img')[2].src !== b", arg=before)
    assert "strongest at the" in room.locator("#heat .stage").nth(2).get_attribute("aria-label")
    room.get_by_text("Grad-CAM", exact=True).click()
    room.wait_for_function("b => document.querySelectorAll('#heat .stage img')[2].src === b", arg=before)


def test_generated_scenes_can_be_picked_page_by_page(room):
    shown = room.locator("#picks img").first
    before = shown.get_attribute("src")
    room.get_by_text("New scenes", exact=True).click()
    expect(shown).not_to_have_attribute("src", before, timeout=MS)
    room.locator("#picks-on").click()
    expect(room.locator("#picks-back")).to_be_enabled(timeout=MS)
    pick(room, 4, "scene 14")
    expect(room.locator("#said .truth").first).to_have_text(re.compile("true|false|names nothing of this world"))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("photo.jpg", image("JPEG", "CMYK")),
        ("moving.gif", image("GIF", save_all=True, append_images=[Image.new("L", (256, 256))])),
        ("clear.png", image("PNG", "RGBA")),
    ],
)
def test_a_file_is_tried_and_there_is_room_for_the_next(room, name, data):
    upload(room, name, data)
    expect(room.locator("#portrait figcaption")).to_have_text("your image", timeout=MS)
    settled(room)
    expect(room.locator("#try-file input[type=file]")).to_have_count(1, timeout=MS)


def test_a_bad_file_is_one_sentence_and_the_image_before_stays(room):
    bad = {
        "broken.jpg": (image("JPEG")[:400], "cannot be decoded"),
        "page.png": (b"<!doctype html><script>window.hacked = 2</script>", "a web page"),
        "heavy.png": (b"\0" * (MAX_BYTES + 1), "at most 20 MB are opened"),
    }
    for name, (data, reason) in bad.items():
        upload(room, name, data)
        expect(room.locator("#portrait .notice")).to_contain_text(reason, timeout=MS)
        expect(room.locator("#portrait figcaption")).to_have_text(ITEMS[CHOSEN].key)
        expect(room.locator("#try-file input[type=file]")).to_have_count(1, timeout=MS)
    assert room.evaluate("window.hacked") is None
    assert room.locator(".toast-body").count() == 0


PASTE = """(bytes) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: files, bubbles: true }));
}"""


def test_an_image_is_pasted(room):
    room.evaluate(PASTE, list(image("PNG")))
    expect(room.locator("#portrait figcaption")).to_have_text("your image", timeout=MS)
    settled(room)


def test_a_question_without_a_model_says_which_command_gives_one(room):
    expect(room.locator("#answers .notice")).to_contain_text("train one with lab finetune vqa")


def test_a_question_is_answered_when_there_is_a_model(browser, ledger, uploads, tmp_path):
    loaded = new_model(["what colour is the ball", "red", "blue", "a red ball"])
    path = tmp_path / "vqa.safetensors"
    save(path, vqa_from(loaded.model), loaded.tokenizer, Card(stage="vqa"))
    with studio(ledger, "--vqa", path, settings=uploads) as url, trying(browser, url) as page:
        question = page.locator("#question input, #question textarea")
        question.fill("what colour is the ball?")
        question.press("Enter")
        expect(page.locator("#answers li").first).to_be_visible(timeout=MS)
        chances = [float(one.inner_text().split()[-1]) for one in page.locator("#answers .match b").all()]
        assert chances == sorted(chances, reverse=True)


def by_hand(address, dependency, data):
    """What the server makes of a request that no page sent, in a session of its own."""
    asked = {"data": data, "fn_index": dependency, "session_hash": "tried"}
    request = urllib.request.Request(
        f"{address}/gradio_api/queue/join", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=60).close()
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash=tried", timeout=60) as events:
        return json.loads(next(line for line in events if b"process_completed" in line).split(b":", 1)[1])


def uploaded(address, data):
    """The path of a file that a browser has uploaded."""
    head = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="one.png"\r\nContent-Type: image/png\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    request = urllib.request.Request(f"{address}/gradio_api/upload", head + data + b"\r\n--edge--\r\n", kind)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())[0]


def test_no_file_but_an_uploaded_one_is_read(address, ledger):
    """A request made by hand that names a file of the machine in place of an uploaded one."""
    with urllib.request.urlopen(f"{address}/config", timeout=60) as answer:
        config = json.loads(answer.read())
    tab = next(part["id"] for part in config["components"] if part["props"].get("label") == "Try it")
    opened = next(one["outputs"][0] for one in config["dependencies"] if [tab, "select"] in one["targets"])
    laid_out = next(one["id"] for one in config["dependencies"] if [opened, "change"] in one["targets"])
    room = by_hand(address, laid_out, [])["output"]["render_config"]
    place = next(part["id"] for part in room["components"] if part["props"].get("elem_id") == "try-file")
    number = next(one["id"] for one in room["dependencies"] if [place, "upload"] in one["targets"])
    named = {"path": str(ledger / "ledger.json"), "meta": {"_type": "gradio.FileData"}}
    assert by_hand(address, number, [named, None])["success"] is False
    assert by_hand(address, number, [named | {"path": uploaded(address, image("PNG"))}, None])["success"] is True
