"""The notebooks in their order: what each asks, and the ablations that answer it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chapter:
    """A notebook: its file without suffix, its question, and the ablations whose records it shows."""

    stem: str
    asks: str
    ablations: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """Its place in the tour."""
        return int(self.stem[:2])

    @property
    def file(self) -> str:
        """Its file name."""
        return f"{self.stem}.ipynb"

    @property
    def link(self) -> str:
        """Its number as a Markdown link, from a notebook beside it."""
        return f"[{self.number}]({self.file})"


_NEXT = (
    "mixes",
    "captioners",
    "noise",
    "candidates",
    "sampling",
    "rounds",
    "filters",
    "threshold",
    "strictness",
    "objectives",
    "nlvr",
    "rates",
    "peers",
    "harder",
)
TOUR = (
    Chapter("00_start_here", "What is this lab, and what has it found so far?"),
    Chapter("01_pairs", "What is a pair, and how noisy is the web?"),
    Chapter("02_capfilt_step_by_step", "What does CapFilt do to a pair?"),
    Chapter("03_retrieval_and_captioning", "Which of the three readings sees what in a picture?"),
    Chapter("04_questions_dialogs_videos", "How far does a short fine-tuning go, and what can the method not see?"),
    Chapter("05_does_capfilt_help", "Does CapFilt help?", ("table1", "table1-larger", "table1-epochs", "table1-rates", "combinations", "binding", "breadth")),
    Chapter("06_decoding", "Nucleus sampling or beam search?", ("table2",)),
    Chapter("07_text_sharing", "What should text encoder and decoder share?", ("table3", "table3-rates")),
    Chapter("08_captioner_filter_sharing", "Should captioner and filter be one model?", ("table4", "bias")),
    Chapter("09_longer_or_new", "Is the gain only longer training, and does it need a new model?", ("table12", "table13")),
    Chapter("10_what_the_field_asked_next", "How should captions be mixed, drawn, filtered and trained on?", _NEXT),
    Chapter("11_inspect_decisions", "Why was this caption kept or filtered?"),
)


def chapter_of(ablation: str) -> Chapter:
    """The notebook that shows an ablation."""
    return next(one for one in TOUR if ablation in one.ablations)
