"""The jobs of the room Run: processes that outlive who started them, what may be asked, and how far they are."""

import asyncio
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from data_files import encoded, picture
from fake_models import FakeCaptioner, FakeFilter

from apps.job_cards import board
from apps.job_progress import Progress, Reader
from apps.jobs import CANCELLED, DONE, FAILED, RUNNING, WAITING, Job, Jobs
from apps.processes import born, runs
from apps.running import Running, Weights
from apps.shelf import Shelf
from apps.wanted import Wanted, new_folder
from blip.capfilt import Job as Recipe
from blip.capfilt import Policy, run
from blip.data.pairs import Pair
from blip.data.pairset import PairSet
from blip.errors import InputError
from blip.generate import Decoding
from lab.cli import main
from lab.commands.capfilt import Options
from lab.ledgers import reviews_file
from lab.locks import locked
from lab.options import read_options
from lab.report import summarize
from lab.weights import WEIGHTS

SECONDS = 180
MADE = "20260102-030405-{:04x}"


@pytest.fixture
def place(tmp_path):
    """Two pictures with texts, and where jobs may lie."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for n in range(2):
        (folder / f"{n}.png").write_bytes(encoded(picture(n, (32, 32)), "PNG"))
        (folder / f"{n}.txt").write_text(f"a red ball {n}")
    return tmp_path


def wanted(place, **changes):
    asked = Wanted(
        data=str(place / "pairs"),
        captioner=str(WEIGHTS / "captioner.safetensors"),
        filter=str(WEIGHTS / "filter.safetensors"),
        out=str(place / "ledger"),
    )
    return dataclasses.replace(asked, **changes)


def running(place, jobs):
    return Running(jobs, Weights.of(None, None, None), place / "first" / "ledger")


def until(jobs, id, *states):
    end = time.monotonic() + SECONDS
    while (job := jobs.find(id)).state not in states:
        assert time.monotonic() < end, (job.state, jobs.log(id).read_text())
        time.sleep(0.05)
    return job


def stored(jobs, number=1, **changes):
    """A job as a file alone, without a process."""
    known = {"id": MADE.format(number), "words": (), "data": "d", "out": "o", "threshold": 0.5}
    return jobs._write(Job(**known | changes))


def sleeper():
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)


def test_a_process_is_known_by_number_and_beginning():
    assert runs(os.getpid(), born(os.getpid())) and born(os.getpid())
    process = sleeper()
    began = born(process.pid)
    assert runs(process.pid, began) and not runs(process.pid, f"{began}0") and not runs(process.pid, None)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not runs(process.pid, began)  # ended, and its parent has not taken note
    process.wait()
    assert born(process.pid) is None and not runs(process.pid, began)


def test_a_reused_number_is_never_killed(tmp_path):
    jobs, process = Jobs(tmp_path), sleeper()
    try:
        job = stored(jobs, state=RUNNING, pid=process.pid, born="1")
        assert jobs.find(job.id).state == FAILED
        with pytest.raises(InputError, match="is failed; there is nothing to cancel"):
            jobs.cancel(job.id)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_cancelling_ends_the_process_of_the_job_alone(tmp_path):
    jobs, process, other = Jobs(tmp_path), sleeper(), sleeper()
    try:
        job = stored(jobs, state=RUNNING, pid=process.pid, born=born(process.pid))
        assert jobs.cancel(job.id).state == CANCELLED
        assert process.wait(SECONDS) == -signal.SIGTERM and other.poll() is None
        assert jobs.find(job.id).state == CANCELLED and jobs.find(job.id).ended
        jobs.finished(job.id, 0)
        assert jobs.find(job.id).state == CANCELLED
    finally:
        for one in (process, other):
            one.kill()
            one.wait()


def test_jobs_are_listed_newest_first_and_ids_are_no_paths(tmp_path):
    jobs = Jobs(tmp_path / "jobs")
    assert jobs.all() == []
    for number in (2, 1, 3):
        stored(jobs, number, state=DONE)
    (tmp_path / "jobs" / "note.json").write_text("{}")
    (tmp_path / f"{MADE.format(9)}.json").write_text("{}")
    assert [job.id for job in jobs.all()] == [MADE.format(n) for n in (3, 2, 1)]
    for id in ("", "note", "..", f"../{MADE.format(9)}", MADE.format(4), "/etc/passwd", MADE.format(1) + "\n"):
        with pytest.raises(InputError, match="There is no job"):
            jobs.find(id)
    (tmp_path / "jobs" / f"{MADE.format(2)}.json").write_text("{")
    with pytest.raises(InputError, match=f"{MADE.format(2)}.json cannot be read .* remove it"):
        jobs.all()


def test_a_job_waits_for_its_turn_and_may_be_cancelled_before(place):
    jobs = Jobs(place / "jobs")
    desk = running(place, jobs)
    with locked(jobs.turn(), wait=True):
        first = desk.start(wanted(place))
        with pytest.raises(InputError, match=f"The job {first.id} writes to"):
            desk.start(wanted(place))
        with pytest.raises(InputError, match="is waiting; only one that was cancelled"):
            desk.act(f"resume {first.id}")
        time.sleep(0.3)
        assert jobs.find(first.id).state == WAITING
        assert desk.act(f"cancel {first.id} ").state == CANCELLED
    assert not (place / "ledger").exists()
    for words in ("", f"remove {first.id}", "cancel", "cancel ../x"):
        with pytest.raises(InputError):
            desk.act(words)


def test_a_job_outlives_who_started_it_and_resumes_to_the_bytes_of_one_run(place):
    """Started by a process that ends at once; killed; resumed by another one."""
    jobs = Jobs(place / "jobs")
    words = wanted(place).checked().words()
    code = (
        f"from apps.jobs import Jobs; from pathlib import Path; "
        f"print(Jobs(Path({str(jobs.folder)!r})).start({words!r}, data='d', out={str(place / 'ledger')!r}, threshold=0.5).id)"
    )
    with locked(jobs.turn(), wait=True):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=SECONDS)
        job = jobs.find(done.stdout.strip())
        assert job.state == WAITING and os.getsid(job.pid) == job.pid
        os.kill(job.pid, signal.SIGKILL)
        silent = until(jobs, job.id, FAILED)
    assert "without a word" in Reader().progress(silent, jobs.log(job.id)).error
    jobs.resume(job.id)
    ended = until(jobs, job.id, DONE, FAILED)
    assert ended.state == DONE, jobs.log(job.id).read_text()
    alone = [*words[: words.index("--out")], "--out", str(place / "alone"), *words[words.index("--out") + 2 :]]
    assert main(["capfilt", *alone]) == 0
    files = sorted(path.relative_to(place / "alone") for path in (place / "alone").rglob("*.parquet"))
    assert files and all((place / "ledger" / f).read_bytes() == (place / "alone" / f).read_bytes() for f in files)
    record = json.loads((place / "ledger" / "summary.json").read_text())
    assert record["command"].startswith("lab capfilt --data ")
    progress = Reader().progress(ended, jobs.log(job.id))
    assert (progress.images, progress.total, progress.error) == (2, 2, "")
    assert {o: t.kept for o, t in progress.tallies.items()} == record["kept"]
    assert running(place, jobs).done(job.id) == ended
    with pytest.raises(InputError, match="is done; only one that was cancelled"):
        jobs.resume(job.id)


def test_a_job_that_fails_says_the_sentence_of_the_command(place):
    jobs = Jobs(place / "jobs")
    desk = running(place, jobs)
    job = desk.start(wanted(place, captioner=str(place / "pairs" / "0.png")))
    failed = until(jobs, job.id, DONE, FAILED)
    error = desk.board()[0][1].error
    assert failed.state == FAILED and "0.png" in error and not error.startswith("lab:") and "\n" not in error
    with pytest.raises(InputError, match="is failed; its ledger opens when it is done"):
        desk.done(job.id)


def test_the_words_are_those_of_lab_capfilt(place):
    drawn = Decoding(strategy="beam", num_beams=4, candidates=2)
    asked = wanted(place, decoding=drawn, batch=4, threshold=0.25, first=7, vocab=Path("vocab.txt")).checked()
    options = read_options("capfilt", Options, list(asked.words()))
    assert options.decoding == drawn and options.first == 7 and options.tile == 4
    assert (options.web_threshold, options.synthetic_threshold) == (0.25, 0.25)
    assert options.images_per_shard == 32 and options.vocab == Path("vocab.txt").absolute()
    assert options.data == asked.data and options.out == asked.out and options.filter == (f"itm={asked.filter}",)
    nucleus = read_options("capfilt", Options, list(wanted(place, decoding=Decoding(top_p=0.8)).checked().words()))
    assert nucleus.decoding == Decoding(top_p=0.8) and nucleus.first is None and nucleus.vocab is None
    assert read_options("capfilt", Options, list(wanted(place, captioner="hf:a/b-c").checked().words())).captioner == ("hf:a/b-c",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": " "}, "Say where the data lies"),
        ({"data": "nowhere/*.tar"}, "no file matches"),
        ({"data": "pyproject.toml"}, "of no known kind"),
        ({"data": "tests"}, "holds no images, tars or Parquet files"),
        ({"data": "s3://bucket/x.tar"}, "is a URL"),
        ({"data": "a\nb"}, "a sign that cannot be shown"),
        ({"captioner": ""}, "There is no captioner yet; lab train-shipped --install"),
        ({"filter": ""}, "There is no filter yet; lab train-shipped --install"),
        ({"captioner": "nowhere.pth"}, "There are no weights at "),
        ({"filter": "os:system"}, "There are no weights at "),
        ({"filter": "text"}, "There are no weights at "),
        ({"captioner": "hf:../../x/y/z"}, "There are no weights at "),
        ({"out": ""}, "Say where the ledger shall lie"),
        ({"out": "tests"}, "is there already and not empty"),
        ({"out": "pyproject.toml"}, "is there already and not empty"),
        ({"out": "pyproject.toml/x"}, "Nothing can be written to"),
        ({"batch": 0}, "0 as batch cannot be; give 1 to 1024"),
        ({"decoding": Decoding(candidates=17)}, "17 as candidates cannot be"),
        ({"threshold": 1.5}, "The threshold 1.5 cannot be"),
        ({"threshold": float("nan")}, "The threshold nan cannot be"),
        ({"first": 0}, "The first 0 images cannot be"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_nothing_begins(place, changes, said):
    jobs = Jobs(place / "jobs")
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        running(place, jobs).start(wanted(place, **changes))
    assert "\n" not in str(caught.value).strip() and jobs.all() == [] and not (place / "ledger").exists()


def test_files_of_others_are_refused(place, monkeypatch):
    """Root may read everything, so the system's answer is given by hand."""
    filter = str(WEIGHTS / "filter.safetensors")
    for closed, said in ((filter, "cannot be read"), (str(place / "pairs"), "cannot be read"), (str(place), "Nothing can be written")):
        monkeypatch.setattr(os, "access", lambda path, mode, closed=closed: str(path) != closed)
        with pytest.raises(InputError, match=said) as caught:
            wanted(place).checked()
        assert closed in str(caught.value)


def test_a_folder_with_a_ledger_is_refused_and_the_next_one_is_offered(place):
    (place / "first" / "ledger").mkdir(parents=True)
    desk = running(place, Jobs(place / "jobs"))
    assert desk.folder() == str(place / "first" / "capfilt-1")
    (place / "first" / "capfilt-1").mkdir()
    assert new_folder(place / "first" / "ledger", {str(place / "first" / "capfilt-2")}) == str(place / "first" / "capfilt-3")
    reviews_file(place / "first" / "capfilt-3").touch()
    assert desk.folder() == str(place / "first" / "capfilt-2")
    assert new_folder(place / "first" / "ledger", {str(place / "first" / "capfilt-2")}) == str(place / "first" / "capfilt-4")
    reviews_file(place / "ledger").touch()
    with pytest.raises(InputError, match="ledger.reviews.sqlite has the reviews of an earlier ledger of this name; move it away"):
        desk.start(wanted(place))
    (place / "ledger").mkdir()
    (place / "ledger" / "ledger.json").write_text("{}")
    with pytest.raises(InputError, match="holds the ledger of another job already"):
        desk.start(wanted(place))


def test_weights_that_did_not_come_are_missing_not_wrong(monkeypatch, tmp_path):
    monkeypatch.setattr("apps.running.WEIGHTS", tmp_path)
    assert Weights.of(None, "mine.pth", None) == Weights(captioner="", filter="mine.pth", vocab=None)


def half_done(folder, images=7, first=0):
    """A ledger of two shards, of which the second one's scores are lost: what a cancelled job leaves."""
    pairs = [Pair(f"k{n}", f"a caption {n}", encoded(picture(n), "PNG")) for n in range(first, first + images)]
    recipe = Recipe(captioner=FakeCaptioner(candidates=2), filters={"itm": FakeFilter()}, images_per_shard=4)
    return run(recipe, PairSet.of(pairs), folder)


def test_images_that_could_not_be_used_are_told(tmp_path):
    data = [encoded(picture(n), "PNG") if n % 3 else b"<html>" for n in range(7)]
    pairs = [Pair(f"k{n}", f"a caption {n}", own) for n, own in enumerate(data)]
    run(Recipe(captioner=FakeCaptioner(), filters={"itm": FakeFilter()}, images_per_shard=4), PairSet.of([*pairs, Pair("k0", "once more", data[0])]), tmp_path / "ledger")
    jobs = Jobs(tmp_path / "jobs")
    job = stored(jobs, state=DONE, out=str(tmp_path / "ledger"))
    progress = Reader().progress(job, jobs.log(job.id))
    assert (progress.images, progress.unread) == (7, 3)  # an image counts once, whatever texts it has
    assert "3 of them could not be used" in board([(job, progress)], "")


def test_progress_counts_what_the_ledger_decides(tmp_path):
    ledger, jobs = half_done(tmp_path / "ledger"), Jobs(tmp_path / "jobs")
    job = stored(jobs, state=DONE, out=str(tmp_path / "ledger"), threshold=0.6)
    progress = Reader().progress(job, jobs.log(job.id))
    summary = summarize(ledger, Policy(web=0.6, synthetic=0.6))
    assert (progress.images, progress.total, progress.unread) == (7, 7, 0)
    assert {o: t.kept for o, t in progress.tallies.items()} == summary["kept"]
    assert {o: t.filtered for o, t in progress.tallies.items()} == summary["filtered"]
    reader = Reader()
    last = tmp_path / "ledger" / "manifest" / "scores.itm-00001.json"
    content = last.read_bytes()
    last.unlink()
    part = reader.progress(dataclasses.replace(job, state=CANCELLED), jobs.log(job.id))
    assert part.images == 4 and sum(t.kept + t.filtered for t in part.tallies.values()) == 4 * 3
    last.write_bytes(content)
    assert reader.progress(job, jobs.log(job.id)) == progress
    shutil.rmtree(tmp_path / "ledger")
    assert Reader().progress(job, jobs.log(job.id)) == reader.progress(job, jobs.log(job.id)) == Progress()
    half_done(tmp_path / "ledger", first=40)  # another ledger in the same folder, with shards of the same names
    again = reader.progress(job, jobs.log(job.id))
    assert again == Reader().progress(job, jobs.log(job.id)) != progress


def test_the_bar_of_the_log_is_read_as_the_terminal_shows_it(tmp_path):
    code = (
        "import time; from lab.progress import images_bar\nprint('before', flush=True)\n"
        "with images_bar(40, 'capfilt') as show:\n    for n in range(4):\n        time.sleep(0.6)\n        show(8)\n"
        "    print('\\nlab: The middle.', flush=True)\n    time.sleep(0.6)\n    show(0)\n    import os; os._exit(1)"
    )
    log = tmp_path / "log"
    with log.open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, stderr=file, timeout=SECONDS, check=False)
    job = stored(Jobs(tmp_path / "jobs"), state=RUNNING, out=str(tmp_path / "none"))
    seen = Reader().progress(job, log)
    assert 16 <= seen.images <= 32 and seen.images % 8 == 0
    assert 5 < seen.rate < 25 and re.fullmatch(r"00:0\d", seen.left)
    assert sum("image/s" in line for line in seen.lines) == 1 and "lab: The middle." in seen.lines
    assert Reader().progress(dataclasses.replace(job, state=FAILED), log).error == "The middle."


@pytest.mark.parametrize(
    ("text", "images", "rate", "left"),
    [
        ("capfilt:   0%|          | 0/9 [00:00<?, ?image/s]", 0, None, "?"),
        ("capfilt:  50%|#####     | 3/6 [00:09<00:09,  4.00s/image]", 3, 0.25, "00:09"),
        ("capfilt:  10%|#         | 1000/10000 [1:00:00<9:00:00,  1.50image/s]", 1000, 1.5, "9:00:00"),
    ],
)
def test_slow_and_long_bars(tmp_path, text, images, rate, left):
    (tmp_path / "log").write_text(f"\r{text}")
    seen = Reader().progress(stored(Jobs(tmp_path), state=RUNNING, out=str(tmp_path / "none")), tmp_path / "log")
    assert (seen.images, seen.rate, seen.left) == (images, rate, left)


def test_a_long_log_is_read_from_its_end(tmp_path):
    (tmp_path / "log").write_text("x\n" * 100_000 + "Traceback\nRuntimeError: out of memory\n")
    seen = Reader().progress(stored(Jobs(tmp_path), state=FAILED, out=str(tmp_path / "none")), tmp_path / "log")
    assert seen.error == "RuntimeError: out of memory" and len(seen.lines) == 6


def asked(shelf, studio, path, cookie=""):
    """Status and body of a request for /l/NAME/ to a shelf that is mounted in a studio."""
    sent = []
    headers = [(b"cookie", cookie.encode())] if cookie else []
    scope = {"type": "http", "app": studio, "path_params": {"name": path}, "headers": headers}

    async def send(message):
        sent.append(message)

    asyncio.run(shelf(scope, None, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent).decode()


def test_ledgers_are_opened_for_jobs_that_are_done_and_for_who_has_logged_in(tmp_path):
    jobs = Jobs(tmp_path / "jobs")
    open_job, opened = stored(jobs, 1, state=CANCELLED), []

    def made(id):
        opened.append(id)
        return running(tmp_path, jobs).done(id)

    shelf, free = Shelf(made, {}), SimpleNamespace(auth=None, cookie_id="c", tokens={})
    assert asked(shelf, free, open_job.id) == (404, f"The job {open_job.id} is cancelled; its ledger opens when it is done.")
    for name in ("..", "jobs", str(tmp_path), "20260102-030405-000\u0661", "%2e%2e"):
        status, said = asked(shelf, free, name)
        assert status == 404 and said.startswith("There is no job")
    closed, opened[:] = SimpleNamespace(auth=lambda user, word: False, cookie_id="c", tokens={"good": "anybody"}), []
    for cookie in ("", "access-token-c=bad", "access-token-d=good", "access-token-c=", "=;;\x01"):
        assert asked(shelf, closed, open_job.id, cookie)[0] == 401
    assert opened == []
    for name in ("access-token-c", "access-token-unsecure-c"):
        assert asked(shelf, closed, open_job.id, f"other=1; {name}=good")[0] == 404
    assert opened == [open_job.id] * 2
