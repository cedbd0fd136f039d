"""The handlers of the room "Try it": from what a person did to what the room shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from apps import trial_cards as shown
from apps.answers import Caption
from apps.questions import Question
from apps.service import Service
from apps.trials import STRATEGIES, Draw, Subject
from apps.trying import Workbench
from blip.capfilt import Policy
from blip.errors import InputError

LEDGER, SCENES = "Of the ledger", "New scenes"
"""Where images can be picked from."""
PICKS = 9
"""Images to pick from at once."""
METHODS = {"Grad-CAM": "grad_cam", "Attention": "attention"}
"""Heat maps by name, and the parts of an explanation that they are."""

_MOST_SCENES = 20  # pages


@dataclass(frozen=True)
class Chosen:
    """The image that a person tries, and its number in the ledger; None where it is not in it."""

    subject: Subject
    number: int | None = None


class Answers:
    """The handlers of the room. Thresholds decide which captions are called kept; new ones by the synthetic one."""

    def __init__(self, service: Service, workbench: Workbench) -> None:
        self.service, self.workbench = service, workbench

    def begin(self, chosen: Chosen | None, source: str, page: int) -> list[Any]:
        """On the first visit: the first image, and images to pick."""
        if chosen is not None:
            return [gr.skip()] * 4
        first, portrait = self._chosen(lambda: self._picked(source, 0), None)
        if first is None:
            first, portrait = self._chosen(lambda: self._picked(SCENES, 0), None)
        return [first, portrait, self._images(source, page), gr.update(interactive=False)]

    def upload(self, data: bytes, chosen: Chosen | None) -> list[Any]:
        """The image of a file; the place for files is free again."""
        return [*self._chosen(lambda: Chosen(self.workbench.upload(data)), chosen), None]

    def pick(self, number: str, source: str, chosen: Chosen | None) -> list[Any]:
        """One of the images to pick, by its number."""
        return self._chosen(lambda: self._picked(source, int(number)), chosen)

    def turn(self, source: str, page: int) -> list[Any]:
        """A page of images to pick, and whether there are pages before and after it."""
        last = max(0, -(-self.service.images // PICKS) - 1) if source == LEDGER else _MOST_SCENES - 1
        page = min(max(page, 0), last)
        ends = [gr.update(interactive=page > 0), gr.update(interactive=page < last)]
        return [self._images(source, page), page, *ends]

    def introduce(self, chosen: Chosen | None, web: float, synthetic: float, *values: Any) -> list[Any]:
        """Captions of a new image, and all its captions to look at, the first of them chosen."""
        return self._captioned(chosen, None, Policy(web=web, synthetic=synthetic), values)

    def draw(self, chosen: Chosen | None, looked_at: str | None, web: float, synthetic: float, *values: Any) -> list[Any]:
        """Captions decoded otherwise; what is looked at stays."""
        return self._captioned(chosen, looked_at, Policy(web=web, synthetic=synthetic), values)

    def _captioned(self, chosen: Chosen | None, looked_at: str | None, policy: Policy, values: Sequence[Any]) -> list[Any]:
        if chosen is None:
            return ["", gr.skip()]
        names = ("top_p", "temperature", "draws", "beams", "seed")
        draw = Draw(**{name: value or 0 for name, value in zip(names, values, strict=True)})
        choices = [(_label(caption), caption.text) for caption in self.given(chosen, policy) if caption.text.strip()]
        said = _told(lambda: self.workbench.captions(chosen.subject, draw))
        if not isinstance(said, str):
            generated: dict[str, str] = {}
            for name, found in said.items():
                for one in found:
                    generated.setdefault(one.text, STRATEGIES[name])
            choices += [(f"{name}: {one}", one) for one, name in generated.items() if one]
            said = shown.captions(said, policy.synthetic)
        return [said, gr.update(choices=choices, value=looked_at or (choices[0][1] if choices else None))]

    def given(self, chosen: Chosen, policy: Policy) -> list[Caption]:
        """The captions that the ledger has of an image, with today's verdicts."""
        return [] if chosen.number is None else self.service.captions([chosen.number], policy)[chosen.number]

    def match(self, chosen: Chosen | None, synthetic: float, texts: str) -> str:
        """Texts, one a line, ranked."""
        if chosen is None:
            return ""
        found = _told(lambda: self.workbench.matches(chosen.subject, texts.splitlines()))
        return found if isinstance(found, str) else shown.ranking(found, synthetic)

    def look(self, chosen: Chosen | None, looked_at: str | None, method: str, layer: int) -> str:
        """Heat maps of a text and its words."""
        if chosen is None:
            return ""
        found = _told(lambda: self.workbench.explain(chosen.subject, looked_at or "", layer))
        if isinstance(found, str):
            return found
        tokens = self.workbench.token_probabilities(chosen.subject, found.text)
        return shown.heat(chosen.subject, found, getattr(found, METHODS[method]), tokens)

    def ask(self, chosen: Chosen | None, question: str) -> str:
        """Answers to a question, or which command gives a model that answers."""
        if chosen is None or (self.workbench.models.vqa and not question.strip()):
            return ""
        found = _told(lambda: self.workbench.answers(chosen.subject, question))
        return found if isinstance(found, str) else shown.answers(found)

    def _chosen(self, choose: Callable[[], Chosen], before: Chosen | None) -> list[Any]:
        """The new image and how it looks; where there is none, a sentence above the one before."""
        chosen = _told(choose)
        if isinstance(chosen, str):
            return [before, chosen + (shown.portrait(before.subject) if before else "")]
        return [chosen, shown.portrait(chosen.subject)]

    def _picked(self, source: str, number: int) -> Chosen:
        if source == SCENES:
            return Chosen(self.workbench.scene(number))
        original = self.service.original(number)
        key = self.service.ask("SELECT key FROM images WHERE image = $number", number=number)[0]["key"]
        return Chosen(self.workbench.subject(original, key), number)

    def _images(self, source: str, page: int) -> str:
        if source == SCENES:
            scenes = enumerate(self.workbench.scenes(page * PICKS, PICKS), page * PICKS)
            return shown.picks([(number, f"scene {number + 1}", scene) for number, scene in scenes])
        cards = self.service.page(Question(page=page, size=PICKS)).cards
        pictures = self.service.pictures([card.number for card in cards])
        if not cards:
            return shown.notice("No image of this ledger could be used; choose a new scene.")
        return shown.picks([(card.number, card.key, pictures[card.number]) for card in cards])


def _told(answer: Callable[[], Any]) -> Any:
    """An answer, or the sentence why there is none, as HTML."""
    try:
        return answer()
    except InputError as error:
        return shown.notice(str(error))


def _label(caption: Caption) -> str:
    return f"{caption.origin}, {'kept' if caption.kept else 'filtered'}: {caption.text}"
