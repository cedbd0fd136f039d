"""The room "Run" as a person uses it: a job started, watched, left, found again, cancelled, resumed, and looked at."""

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request

import pytest
from browsing import CONTRAST, MS, ROOT, SECONDS, nameless, opened, studio
from playwright.sync_api import Page, expect
from studio_ledgers import generated_ledger

from apps.jobs import CANCELLED, DONE, RUNNING, Jobs
from lab.cli import main

PAIRS, CANDIDATES, THRESHOLD = 1_200, 6, 0.7
SLOW = 4 * MS  # a whole job on a busy machine


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tar of generated pairs, a ledger for the studio to begin with, and a home for jobs."""
    place = tmp_path_factory.mktemp("running")
    words = ["--pairs", str(PAIRS), "--tars", str(place / "tars"), "--out", str(place / "sheet.png"), "--count", "1"]
    assert main(["world", *words]) == 0
    generated_ledger(place / "ledger")
    yield place
    for job in Jobs(place / "home" / "jobs").all():  # jobs outlive page and studio, and so would those of a failed test
        if job.alive:
            os.kill(job.pid, signal.SIGKILL)


def home(place):
    return {"BLIP_LAB_HOME": str(place / "home")}


def enter(page: Page) -> Page:
    """The room, once it shows jobs or that there is none."""
    page.get_by_role("tab", name="Run", exact=True).click()
    expect(page.locator("#run-jobs :is(.job, .empty)").first).to_be_visible(timeout=MS)
    expect(page.get_by_label("Ledger, a new folder")).to_have_value(re.compile("capfilt-"), timeout=MS)
    return page


def done_images(page: Page) -> int:
    return int(page.locator(".job .facts b").first.inner_text().replace(",", ""))


def reads_well(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(CONTRAST) == []
    assert nameless(page) == []


def test_a_job_from_its_start_to_its_decisions(place, browser, capsys):
    """One long story, since every chapter needs the ones before."""
    jobs, out = Jobs(place / "home" / "jobs"), place / "capfilt-1"
    with studio(place / "ledger", settings=home(place)) as address, opened(browser, address, 1440) as page:
        refuses_what_is_wrong(enter(page), place)
        assert jobs.all() == [] and not out.exists()
        starts(page, place)
        (job,) = jobs.all()
        assert (job.state, job.out, job.threshold) == (RUNNING, str(out), THRESHOLD)
        os.kill(job.pid, signal.SIGSTOP)  # it runs on, but shall not be done before somebody looks again
    assert jobs.find(job.id).state == RUNNING  # page and studio are gone
    with studio(place / "ledger", settings=home(place)) as address:
        with opened(browser, address, 900, "dark") as page:
            finds_cancels_and_resumes(enter(page), jobs, job.id)
        with opened(browser, address, 1440) as page:
            expect(enter(page).locator(".job.done")).to_be_visible(timeout=SLOW)
            reads_well(page)
            lands(page, out, capsys)
            serves_nothing_else(address, jobs, job.id, out)


def refuses_what_is_wrong(page: Page, place) -> None:
    expect(page.locator("#run-jobs .empty")).to_contain_text("No job yet.")
    assert all(page.get_by_label(role, exact=True).input_value().endswith(".safetensors") for role in ("Captioner", "Filter"))
    reads_well(page)
    steps = [
        ("Pairs", "", "Say where the data lies"),
        ("Pairs", "nowhere/*.tar", "no file matches"),
        ("Captions an image", "99", "99 as candidates cannot be"),
        ("First images", "many", "'many' images cannot be"),
        ("Ledger, a new folder", str(place / "ledger"), "holds the ledger of another job"),
    ]
    good = {"Captions an image": "1", "First images": "", "Pairs": str(place / "tars" / "*.tar")}
    for label, wrong, said in steps:
        box = page.get_by_label(label, exact=True)
        box.fill(wrong)
        page.get_by_role("button", name="Start", exact=True).click()
        expect(page.locator("#run-notice .notice")).to_contain_text(said, timeout=MS)
        box.fill(good.get(label, str(place / "capfilt-1")))
    reads_well(page)
    page.get_by_text("Beam", exact=True).click()
    expect(page.get_by_label("Beams").first).to_be_visible()
    page.get_by_text("Nucleus", exact=True).click()


def starts(page: Page, place) -> None:
    """Start the job and see it move: images, captions kept and filtered, speed, the log."""
    fields = {"Pairs": place / "tars" / "*.tar", "Captions an image": CANDIDATES, "Threshold": THRESHOLD, "Batch": 4}
    for label, value in fields.items():
        page.get_by_label(label, exact=True).and_(page.locator("#run-data *, #run-candidates *, #run-threshold *, #run-batch *")).fill(str(value))
    page.get_by_role("button", name="Start", exact=True).click()
    job = page.locator(".job.running")
    expect(job.locator(".sofar")).to_be_visible(timeout=MS)
    expect(job.locator(".facts")).to_contain_text(f"of {PAIRS:,} images")
    expect(job.locator(".log")).to_contain_text("capfilt:")
    before = done_images(page)
    page.wait_for_function(f"parseInt(document.querySelector('.job .facts b').innerText) > {before}", timeout=MS)
    expect(page.locator("#run-notice .notice")).to_have_count(0)
    expect(page.get_by_label("Ledger, a new folder")).to_have_value(str(place / "capfilt-2"))
    reads_well(page)


def finds_cancels_and_resumes(page: Page, jobs: Jobs, id: str) -> None:
    job = page.locator(".job")
    expect(job).to_have_class("job running")
    os.kill(jobs.find(id).pid, signal.SIGCONT)
    job.get_by_role("button", name="Cancel").focus()
    before = done_images(page)
    page.wait_for_function(f"parseInt(document.querySelector('.job .facts b').innerText) > {before}", timeout=MS)
    pid = jobs.find(id).pid
    os.kill(pid, signal.SIGSTOP)  # so that it is not done before it is cancelled
    page.keyboard.press("Enter")  # drawn anew meanwhile, the button still has the focus
    expect(job).to_have_class("job cancelled", timeout=MS)
    assert jobs.find(id).state == CANCELLED
    os.kill(pid, signal.SIGCONT)
    time.sleep(0.5)
    kept = done_images(page)
    assert 0 < kept < PAIRS
    reads_well(page)
    job.get_by_role("button", name="Resume").click()
    expect(page.locator(".job.running .facts")).to_contain_text("left", timeout=MS)
    assert done_images(page) >= kept


def lands(page: Page, out, capsys) -> None:
    """The decisions of the job's ledger, at its threshold: the counts of `lab ledger summary`."""
    page.get_by_role("link", name="Look at its decisions").click()
    expect(page.locator(".card")).to_have_count(12, timeout=MS)
    capsys.readouterr()
    assert main(["ledger", "summary", str(out), "--json", "--web", str(THRESHOLD), "--synthetic", str(THRESHOLD)]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["kept"] == json.loads((out / "summary.json").read_text())["kept"]
    for origin in ("web", "synthetic"):
        for side in ("kept", "filtered"):
            number = page.locator(f"#{origin}-scores .split .{side} b").inner_text()
            assert int(number.replace(",", "")) == summary[side][origin]
    assert page.locator(".card img").first.evaluate("image => image.naturalWidth > 0")
    expect(page.locator("#where")).to_contain_text(f"of {PAIRS:,} images")
    enter(page)
    expect(page.locator(".job.done")).to_be_visible()
    page.get_by_role("link", name="The first ledger").click()
    expect(page.locator("#where")).to_contain_text("of 60 images", timeout=MS)


def serves_nothing_else(address: str, jobs: Jobs, id: str, out) -> None:
    assert jobs.find(id).state == DONE
    files = (out / "ledger.json", jobs.folder / f"{id}.json", jobs.log(id), ROOT / "pyproject.toml")
    paths = [f"l/{id}/gradio_api/file={path}" for path in files]
    paths += ["l/nothing/", "l/..%2f..%2fledger/", f"l/{id[:-1]}/", f"l/%2e%2e/{id}/", f"l/{id}/../../{id}.json"]
    for path in paths:
        with pytest.raises(urllib.error.HTTPError, match="40[34]"):
            urllib.request.urlopen(f"{address}/{path}", timeout=SECONDS)
    with urllib.request.urlopen(f"{address}/l/{id}/gradio_api/info", timeout=SECONDS) as answer:
        assert b'"named_endpoints":{}' in answer.read().replace(b" ", b"")
