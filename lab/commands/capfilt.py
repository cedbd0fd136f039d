"""`lab capfilt`: caption and filter your own image-text pairs (paper 3.3)."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
from tyro.conf import UseAppendAction, arg

from blip.capfilt import Job, Ledger, Policy, usual
from blip.capfilt.job import ROUNDS, SEEDS
from blip.capfilt.store import store_at
from blip.data.places import is_url
from blip.errors import InputError
from blip.generate import Decoding
from blip.matching import Matcher
from blip.tiles import TILE
from lab.engines import Engine, kind_of
from lab.forecast import Outlook
from lab.forecast_run import write_forecast
from lab.ledgers import write_card
from lab.plugins import Machine, captioner, check_prompts, filters, probable
from lab.progress import images_bar
from lab.reading import Reading
from lab.records import as_json, record
from lab.report import commonest_reject, seconds_line, summarize, table
from lab.unknown_words import SAMPLE, check_words


@dataclass(frozen=True, kw_only=True)
class Options:
    """Caption every image, score web and synthetic captions, and keep every decision in a ledger."""

    data: str
    """Pairs: tars ('shards/*.tar', quoted), a BLIP or COCO JSON list, CSV, TSV, Parquet, or a folder of images.
    Also the URL of any store that fsspec knows, as in 's3://bucket/shards/*.tar'."""
    captioner: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="SOURCE")]
    """Who captions every image; given several times, each of them does.
    WEIGHTS: our .safetensors, a published .pth, a folder in transformers' layout, or hf:NAME.
    transformers:FOLDER or transformers:hf:NAME: any image-to-text model of transformers."""
    filter: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="[NAME=]SOURCE")]
    """What scores every caption; given several times, each adds its own columns. The one named itm decides; without
    one of that name the first that gives a match probability, else the first.
    WEIGHTS: in any of these forms, with ITC and ITM heads (itm_prob, itm_logit, itc); named itm.
    open_clip:MODEL:CHECKPOINT, open_clip:FOLDER, open_clip:hf-hub:NAME: a CLIP (cosine); named clip.
    text: the shape of the text alone (length, letters, repetition); named text.
    MODULE:FUNCTION: your own in Python, given pictures and captions; named as the function.
    NAME=SOURCE: any of these under a name of yours."""
    out: str
    """Folder of the ledger, or a URL as in s3://bucket/ledger; the same command continues where it stopped."""
    reading: Reading = field(default_factory=Reading)
    """How a table is read."""
    first: int | None = None
    """Only the first so many images."""
    decoding: Decoding = field(default_factory=Decoding)
    """How captions are decoded; the default is the paper's nucleus sampling with p = 0.9."""
    web_threshold: float = 0.5
    """Score from which a web caption is kept, also by every command on the ledger that is given no other: by the filter
    itm its match probability; without one of that name by the first filter with a match probability, else by the first."""
    synthetic_threshold: float = 0.5
    """The same for a synthetic caption."""
    transformers_prompt: str = ""
    """What transformers: captioners are asked, where they must be asked."""
    vocab: Path | None = None
    """A BERT vocab.txt, for weights that come without one (published .pth)."""
    image_size: int | None = None
    """Side in pixels at which the models see images; by default that of the weights."""
    seed: int = 0
    """Of the draws of sampled captions."""
    round: int = 0
    """Number of the bootstrapping round, for a second pass over the same images."""
    images_per_shard: int = 512
    """Images a shard: the piece of work that is committed whole."""
    tile: int = TILE
    """Images the models see at once; part of the job, since it can change a score's last digits."""
    workers: int = 2
    """Threads that open images."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """cpu or cuda."""
    precision: str = "float32"
    """float32, tf32 (float32 with TF32 matrix products on a GPU) or bf16 (autocast)."""
    run: Engine = field(default_factory=Engine)
    """Where it runs."""
    outlook: Outlook = field(default_factory=Outlook)
    """A forecast in place of the run."""


def main(options: Options) -> int:
    """Run, decide, and leave summary.json beside the ledger; InputError where nothing could be captioned."""
    _check(options)
    start = time.perf_counter()
    pairs = options.reading.pairs(options.data)
    if options.first is not None:
        pairs = pairs.first(options.first)
    # The same number everywhere: that of another machine would give other bytes.
    texts = tuple(pair.caption for pair in islice(pairs, SAMPLE))
    recipe = partial(_job, replace(options, run=replace(options.run, threads=options.run.threads_used)), texts)
    if options.outlook.forecast:
        job = recipe(options.run.places(options.device)[0])
        print(write_forecast(job, pairs, options.outlook, options.out, loading=time.perf_counter() - start))
        return 0
    with options.run.opened(recipe, options.device) as fill:
        loaded = time.perf_counter()
        with images_bar(len(pairs.images), "capfilt") as show:
            ledger = fill(pairs, options.out, show)
    done = time.perf_counter()
    rejected = commonest_reject(ledger)
    _refuse_nothing(ledger, options, rejected)
    policy = usual(ledger, Policy(web=options.web_threshold, synthetic=options.synthetic_threshold))
    summary = summarize(ledger, policy)
    summary["seconds"] = {"read and load": round(loaded - start, 2), "capfilt": round(done - loaded, 2)}
    settings = {name: _plain(value) for name, value in asdict(options).items()}
    written = record("capfilt", summary, seed=options.seed, config={"options": settings} | ledger.about)
    card = write_card(ledger, policy)
    ledger.store.write("summary.json", as_json(written | summary))
    print(table(summary))
    if rejected:
        print(f"commonest reason of the rejects: {rejected}")
    print(seconds_line(summary["seconds"]))
    print(f"data card: {card}")
    seen = policy.column == Policy.column and not is_url(options.out)
    look = f"lab studio {options.out}" if seen else f"lab ledger summary {options.out}"
    print(f"ledger: {options.out}   look at it with: {look}")
    return 0


def _refuse_nothing(ledger: Ledger, options: Options, rejected: str) -> None:
    """InputError where the ledger has no caption, neither one that came along nor a synthetic one."""
    if not any(entry.rows for entry in ledger.entries("candidates")):
        raise InputError(
            f"No image of {options.data} could be captioned: {rejected}; the ledger in {options.out} keeps every "
            "reject with its reason: mend the data and give another --out."
        )


def _check(options: Options) -> None:
    for name in ("captioner", "filter"):
        if not getattr(options, name):
            raise InputError(f"capfilt needs --{name} SOURCE; see lab capfilt --help.")
    for name in ("first", "tile", "images_per_shard", "workers"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} {value} cannot be; give 1 or more.")
    for name, numbers in (("seed", SEEDS), ("round", ROUNDS)):
        if (value := getattr(options, name)) not in numbers:
            raise InputError(f"--{name} {value} cannot be; give {numbers.start} to {numbers.stop - 1}.")
    policy = Policy(web=options.web_threshold, synthetic=options.synthetic_threshold)  # refuses what is no number
    if probable(options.filter):  # told now, since the ledger would tell only in the end
        policy.refuse_no_probability()
    options.decoding.refuse_unread()
    check_prompts(options.captioner, options.decoding, options.transformers_prompt)
    options.run.check(options.device)
    options.outlook.check()
    store_at(options.out)  # a place that cannot be is told before anything is read or loaded


def _job(options: Options, texts: Sequence[str], device: str) -> Job:
    """The recipe of the job: each worker opens it on its own device, and says where filters do not know the texts' words."""
    machine = Machine(
        device=device,
        precision=options.precision,
        tile=options.tile,
        image_size=options.image_size,
        vocab=options.vocab,
    )
    notes: dict[str, Any] = {"source": options.data, "device": kind_of(device), "precision": options.precision}
    torch.set_num_threads(options.run.threads_used)
    if notes["device"] == "cpu":
        notes["threads"] = options.run.threads_used
    judges, prompt = filters(options.filter, machine), options.transformers_prompt
    for name, judge in judges.items():
        if isinstance(judge, Matcher):
            check_words(judge.tokenizer, texts, f"{options.data}, filter {name}")
    first, *more = [captioner(word, options.decoding, machine, prompt=prompt) for word in options.captioner]
    return Job(
        captioner=first,
        more_captioners=more,
        filters=judges,
        seed=options.seed,
        round=options.round,
        images_per_shard=options.images_per_shard,
        workers=options.workers,
        notes=notes,
        thresholds=_thresholds(options),
    )


def _thresholds(options: Options) -> dict[str, float]:
    """Those by which the ledger is decided from then on; none where they are the paper's."""
    given = {"web": options.web_threshold, "synthetic": options.synthetic_threshold}
    return given if set(given.values()) != {Policy.web} else {}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
