"""The API reference in the order of the paper: which modules stand on which page."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("blip", "lab", "apps")


@dataclass(frozen=True)
class Shelf:
    """A page of the reference: its file without suffix, its title, what it is about, and patterns of module names."""

    stem: str
    title: str
    about: str
    patterns: tuple[str, ...]

    @property
    def package(self) -> str:
        """The package that it belongs to."""
        return self.patterns[0].split(".")[0]

    @property
    def page(self) -> str:
        """Its path under `docs`."""
        return f"reference/{self.package}/{self.stem}.md"


def _blip(stem: str, title: str, about: str, *modules: str) -> Shelf:
    return Shelf(stem, title, about, tuple(f"blip.{name}" for name in modules))


def _lab(stem: str, title: str, about: str, *modules: str) -> Shelf:
    return Shelf(stem, title, about, tuple(f"lab.{name}" for name in modules))


# A module stands on the first shelf that has a pattern of it; the last shelf of a package takes what is left.
SHELVES = (
    _blip("model", "Model (3.1)", "Two towers and what joins them: an image encoder, and one text transformer that is "
          "read as encoder, image-grounded encoder and image-grounded decoder (paper 3.1, Figure 2).",
          "config", "model", "vision", "text", "memory", "layers", "tokenizer"),
    _blip("objectives", "Objectives (3.2)", "ITC, ITM and LM as pure functions, and joint pre-training with them "
          "(paper 3.2).", "objectives", "tasks.pretrain", "tasks.batch"),
    _blip("momentum", "Momentum (3.2)", "Momentum encoders and queues, as in ALBEF (paper 3.2).", "momentum"),
    _blip("capfilt", "CapFilt (3.3)", "Caption, score, decide, merge (paper 3.3, Figure 3): the job, its captioners and "
          "filters, and the engines that do it.",
          "capfilt", "capfilt.job", "capfilt.identity", "capfilt.engine", "captioner", "matching", "capfilt.scoring",
          "capfilt.work", "capfilt.workers", "capfilt.engines.*"),
    _blip("ledger", "Ledger (3.3)", "Every caption, score and reject in append-only tables, and the proof that nothing "
          "was lost.", "capfilt.ledger", "capfilt.manifest", "capfilt.schema", "capfilt.rows", "capfilt.store", "capfilt.reading",
          "capfilt.snapshot", "capfilt.unfinished", "capfilt.verify", "capfilt.diff", "capfilt.queries"),
    _blip("decide", "Verdicts (3.3)", "From scores to kept and filtered captions: policies, people's overrides, "
          "tolerances, and the bootstrapped data set.",
          "capfilt.policy", "capfilt.decide", "capfilt.merge", "capfilt.override", "capfilt.duplicates", "capfilt.*"),
    _blip("plugins", "Captioners and filters of others", "open_clip, transformers, and any Python function.",
          "plugins", "plugins.*"),
    _blip("generate", "Decoding (4.3)", "Greedy, beam, nucleus and top-k search from one step function (paper 4.3).",
          "generate", "generate.decoding", "generate.search", "generate.*"),
    _blip("data", "Data (4.1)", "Pairs, their readers and writers, what a model sees of them, and the loader "
          "(paper 4.1).", "data.pairs", "data.readers", "data.pairset", "data.rows", "data.lists", "data.csvs",
          "data.tars", "data.parquet", "data.folders", "data.writers", "data.transforms", "data.text", "data.images", "data.video"),
    _blip("loading", "Loading", "From files to batches: a deterministic order, exact resume, threads.",
          "data.loading", "data.sources", "data.pictures", "feed", "data.places", "data.files", "data.collect", "data.tar_parts",
          "data.pair_files", "data"),
    _blip("train", "Training (4.1)", "One visible loop with exact resume, on one process or several (paper 4.1).",
          "train", "schedules", "initialize", "resume", "saving", "distributed", "dropout", "draws", "guard", "signals", "workers", "log",
          "profiling", "precision", "captured", "captured_steps", "compiled"),
    _blip("tasks", "Tasks (5)", "Retrieval, captioning, VQA, NLVR, visual dialog, video (paper 5.1 to 5.6).",
          "tasks", "tasks.retrieval", "tasks.ranking", "tasks.captioning", "tasks.vqa", "tasks.vqa_training",
          "answering", "tasks.nlvr", "tasks.nlvr_training", "judging", "tasks.visdial", "tasks.video", "tasks.*"),
    _blip("benchmarks", "Benchmark files (5)", "Readers of the benchmarks' own files, and writers of what their servers "
          "take.", "data.benchmarks", "data.benchmarks.*", "data.*"),
    _blip("metrics", "Metrics (5)", "What is measured, as pure functions of arrays and lists.", "metrics",
          "metrics.retrieval", "metrics.captions", "metrics.*"),
    _blip("checkpoint", "Weights", "Our own files, the published .pth layouts, transformers' layout, both ways.",
          "checkpoint", "checkpoint.opening", "checkpoint.own", "checkpoint.*"),
    _blip("explain", "Explanations and errors", "Where a score looked, fixed tiles, and what speaks to a user.",
          "explain", "tiles", "errors", "*"),
    _lab("recipes", "Recipes and runs", "Complete frozen runs by name, done once each.", "recipes", "stages", "runs",
         "rounds", "bootstrap", "mixes", "sources", "held_out", "pretrained", "brief_tuning", "pair_prints"),
    _lab("ablation", "Ablations (4)", "The paper's tables as data, and what trains and measures their arms "
         "(paper 4.2 to 4.4 and the supplement).", "ablations", "ablation", "ablation.table", "ablation.arms",
         "ablation.engine", "ablation.protocol", "ablation.scales", "ablation.*", "ablation.__main__"),
    _lab("claims", "Claims (4)", "What the paper says, how it is decided, and what the records decide.", "claim",
         "claims", "paper", "verdicts", "claim_records", "claim_answers", "claims_report", "arms_report"),
    _lab("statistics", "Statistics and records", "Paired intervals over seeds, bootstraps over items, run records.",
         "stats", "records", "evaluate"),
    _lab("world", "Generated world", "Scenes whose truth is known, what is said of them, and the noise of their web.",
         "world", "world.sets", "world.scene", "world.levels", "world.language", "world.noise", "world.checker",
         "world.draw", "world.augment", "world.kinds", "world.backdrops"),
    _lab("world-tasks", "Tasks of the world", "Questions, statements, dialogs and clips of the generated world.",
         "world.*"),
    _lab("downstream", "Downstream tasks (5)", "The paper's tasks trained and measured, in the world and on real data.",
         "downstream", "downstream.*", "finetuning", "captioned"),
    _lab("figures", "Figures", "Every plot and picture.", "figures", "claim_figures", "claim_figures_*",
         "filter_figures", "score_figures", "explain_figures", "capfilt_diagram", "cards", "task_plots", "task_cards",
         "*_views", "*_figures"),
    _lab("ledgers", "Ledgers, audits, forecasts", "What commands do with ledgers, and what a large run takes.", "ledgers", "audit", "audit_*",
         "datacard", "datacard_page", "forecast", "forecast_run", "planning", "planning_*", "search_index", "engines", "plugins", "report"),
    _lab("bench", "Benches", "Speed and memory beside peers, in one run each.", "bench", "bench.*"),
    _lab("peers", "Peers", "CLIP and CoCa, trained as ours are.", "peers", "peers.*"),
    _lab("commands", "Commands", "The `lab` command: a module a command, whose `Options` are its words.", "cli",
         "__main__", "commands", "commands.*"),
    Shelf("pages", "Pages and small helpers", "What notebooks, pages and commands share.", ("lab", "lab.*")),
    Shelf("service", "Service", "The studio's service in plain Python: a ledger opened once, and every question that the "
          "rooms ask of it.", ("apps", "apps.service", "apps.answers", "apps.questions", "apps.index", "apps.rooms")),
    Shelf("rooms", "Rooms", "The services behind the other rooms of the studio.",
          ("apps.reviewing", "apps.reviews", "apps.queues", "apps.blind", "apps.comparing", "apps.compared",
           "apps.comparison", "apps.pairing", "apps.searching", "apps.trying", "apps.trials", "apps.models",
           "apps.uploads", "apps.experiments", "apps.running", "apps.wanted", "apps.jobs", "apps.job_worker")),
    Shelf("window", "Window", "Layout, cards and charts of the studio.", ("apps.studio", "apps.tabs", "apps.*")),
)  # fmt: skip


def modules() -> list[str]:
    """Every public module of the three packages by its dotted name, packages included."""
    names = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return [name for name in names if not any(part[0] == "_" and part != "__main__" for part in name.split("."))]


def filled(names: Iterable[str]) -> dict[Shelf, list[str]]:
    """The modules of each shelf, in the order of its patterns; the front door stands on none."""
    held: dict[Shelf, list[tuple[int, str]]] = {shelf: [] for shelf in SHELVES}
    for name in names:
        places = ((shelf, _place(name, shelf)) for shelf in SHELVES)
        shelf, place = next((shelf, place) for shelf, place in places if place is not None)
        held[shelf].append((place, name))
    return {shelf: [name for _, name in sorted(found)] for shelf, found in held.items()}


def _place(name: str, shelf: Shelf) -> int | None:
    return next((at for at, pattern in enumerate(shelf.patterns) if fnmatchcase(name, pattern)), None)
