"""The room Run as HTML: a card a job. Paths and what a command said are text: they are escaped here."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from apps.charts import split
from apps.job_progress import Progress
from apps.jobs import FAILED, WAITING, Job
from apps.links import OTHERS

ACTION = "#run-action"
"""The input that gets what a card's button says: apps/studio.js writes it there."""


def board(jobs: Sequence[tuple[Job, Progress]], up: str) -> str:
    """The jobs in their order. up: the way from the page to the studio's own address."""
    if not jobs:
        return (
            '<div class="empty"><b>No job yet.</b>'
            "<span>Say where pairs lie, and start: every image is captioned, every caption scored.</span></div>"
        )
    return f'<div class="jobs">{"".join(_card(job, progress, up) for job, progress in jobs)}</div>'


def refused(sentence: str) -> str:
    """Why something was not done."""
    return f'<p class="notice refused" role="alert">{escape(sentence)}</p>'


def _card(job: Job, progress: Progress, up: str) -> str:
    parts = [_header(job), _paths(job), _bar(job, progress), _facts(job, progress), _tallies(progress)]
    parts += [_error(progress), _log(job, progress), _buttons(job, up)]
    name = escape(_name(job))
    return f'<article class="job {job.state}" data-job="{job.id}" aria-label="{name}">{"".join(parts)}</article>'


def _header(job: Job) -> str:
    return f'<header><h3 title="{escape(job.data)}">{escape(_name(job))}</h3><span class="state">{job.state}</span></header>'


def _paths(job: Job) -> str:
    rows = (
        f'<div><dt>{name}</dt><dd title="{escape(path)}"><bdi>{escape(path)}</bdi></dd></div>'
        for name, path in (("data", job.data), ("ledger", job.out))
    )
    return f'<dl class="places">{"".join(rows)}</dl>'


def _bar(job: Job, progress: Progress) -> str:
    share = 100 * progress.images / progress.total if progress.total else 0
    named = f'role="progressbar" aria-label="Images done" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{share:.0f}"'
    return f'<div class="bar" {named}><i style="width:{share:.2f}%"></i></div>'


def _facts(job: Job, progress: Progress) -> str:
    total = "" if progress.total is None else f" of {progress.total:,}"
    facts = [f"<b>{progress.images:,}</b>{total} images"]
    if progress.unread:
        facts.append(f"{progress.unread:,} of them could not be used: see the rejects in DATACARD.md")
    if progress.rate is not None:
        facts.append(f"{progress.rate:,.3g} images/s")
    if progress.left and "?" not in progress.left:
        facts.append(f"{progress.left} left")
    if job.state == WAITING:
        facts = ["It starts when the job before it has ended."]
    when = job.ended or job.started
    if when:
        facts.append(f'{"ended" if job.ended else "started"} {escape(when[:16].replace("T", " "))}')
    return f'<p class="facts">{"".join(f"<span>{fact}</span>" for fact in facts)}</p>'


def _tallies(progress: Progress) -> str:
    if not progress.tallies:
        return ""
    sides = "".join(f"<div><h4>{origin.capitalize()}</h4>{split(tally)}</div>" for origin, tally in progress.tallies.items())
    return f'<div class="sofar">{sides}</div>'


def _error(progress: Progress) -> str:
    return f'<p class="notice refused">{escape(progress.error)}</p>' if progress.error else ""


def _log(job: Job, progress: Progress) -> str:
    """Of a job that is alive, or of one that failed with more than a sentence."""
    told = progress.lines if job.alive or job.state == FAILED else ()
    if not told or told == (f"lab: {progress.error}",):
        return ""
    lines = escape("\n".join(told))
    return f'<pre class="log" tabindex="0" role="region" aria-label="Last lines of the log of {job.id}">{lines}</pre>'


def _buttons(job: Job, up: str) -> str:
    made = f'<span class="quiet">job {job.id}</span>'
    if job.alive:
        return f"<footer>{_button('Cancel', f'cancel {job.id}')}{made}</footer>"
    if job.resumable:
        return f"<footer>{_button('Resume', f'resume {job.id}')}{made}</footer>"
    look = f'<a class="act" href="{up}{OTHERS}/{job.id}/">Look at its decisions</a>'
    return f"<footer>{look}{made}</footer>"


def _button(label: str, words: str) -> str:
    return f'<button type="button" class="act" data-send="{ACTION}" data-words="{words}">{label}</button>'


def _name(job: Job) -> str:
    """The last part of the data's path, and of the ledger's."""
    return f"{Path(job.data).name} → {Path(job.out).name}"
