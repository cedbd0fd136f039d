"""What the room "Try it" shows, as HTML: tokens with their probability, ranked texts, heat maps, answers.

Texts are escaped here, and nowhere handed to the browser as markup.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from PIL import Image
from torch import Tensor

from apps.cards import thumbnail
from apps.charts import icon
from apps.pictures import Picture
from apps.trials import END, STRATEGIES, Said, Subject, Token
from blip.explain import Explanation
from lab.explain_figures import heat_rgba, scales

PICK = "#try-pick"
"""The input that gets the number of a picked image: apps/studio.js writes it there."""

_TRUTHS = {
    "true": ("true", "true of the scene"),
    "false": ("false", "false of the scene"),
    "uninformative": ("names nothing of this world", "no object or place that the generated world knows: neither true nor false"),
}
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")
_LEGEND = '<p class="scale quiet"><span>nothing</span><i aria-hidden="true"></i><span>highest of all words</span></p>'


def notice(sentence: str) -> str:
    """A sentence in place of what cannot be shown."""
    return f'<p class="notice" role="alert">{escape(sentence)}</p>'


def portrait(subject: Subject) -> str:
    """The image that is tried."""
    name = escape(subject.name)
    return f'<figure class="portrait"><img src="{_jpeg(subject)}" alt="{name}"><figcaption title="{name}">{name}</figcaption></figure>'


def picks(images: Sequence[tuple[int, str, Picture]]) -> str:
    """Images to pick, each by its number, with its name."""
    tiles = "".join(
        f'<button type="button" data-send="{PICK}" data-words="{number}" aria-label="Try {escape(name)}" '
        f'title="{escape(name)}">{thumbnail(name, picture)}</button>'
        for number, name, picture in images
    )
    return f'<div class="picks">{tiles}</div>'


def captions(found: Mapping[str, Sequence[Said]], limit: float) -> str:
    """Captions by strategy, side by side, each token over its probability. limit: from which match on one is kept."""
    cells = ""
    for strategy, several in found.items():
        for number, said in enumerate(several, 1):
            cells += _caption(STRATEGIES[strategy] + (f" {number}" if len(several) > 1 else ""), said, limit)
    return f'<div class="said">{cells}</div>'


def ranking(said: Sequence[Said], limit: float) -> str:
    """Texts with their match probability and cosine, the best match first. limit: from which match on one is kept."""
    rows = "".join(
        f'<li class="{_side(one, limit)}"><p class="text" dir="auto">{escape(one.text)}</p>{_match(one, limit)}</li>' for one in said
    )
    return f'<ol class="ranking">{rows}</ol>'


def heat(subject: Subject, found: Explanation, maps: Tensor, tokens: Sequence[Token]) -> str:
    """The image in grey under the heat of the whole text and of each word; then what the captioner makes of the text.

    maps: (1 + W, h, w), attention or grad_cam of the explanation.
    """
    labels = ["whole text", *(word.text for word in found.words)]
    tiles = "".join(map(_tile, labels, maps.numpy(), scales(maps)))
    said = f'<h4>Probability of each token, by the captioner</h4>{_tokens(tokens)}' if tokens else ""
    return (
        f'<div class="looked"><p class="quiet">match probability <b>{found.probability:.2f}</b>'
        f' · text layer {found.layer + 1}</p>{_LEGEND}</div>'
        f'<div class="heat" style="--shown:url({_jpeg(subject)})">{tiles}</div>{said}'
    )


def answers(found: Sequence[tuple[str, float]]) -> str:
    """Answers with their probability, the likeliest first."""
    rows = "".join(
        f'<li><p class="text" dir="auto">{escape(text) or "<i>(empty)</i>"}</p>'
        f'<div class="match"><div class="bar"><i style="width:{100 * chance:.1f}%"></i></div>'
        f'<b><span class="aside">probability </span>{chance:.2f}</b></div></li>'
        for text, chance in found
    )
    return f'<ol class="ranking answers">{rows}</ol>'


def _caption(name: str, said: Said, limit: float) -> str:
    label = escape(f"{name}: {said.text or '(empty)'}")
    return f'<article class="{_side(said, limit)}" aria-label="{label}"><h4>{name}</h4>{_tokens(said.tokens)}{_match(said, limit)}</article>'


def _tokens(tokens: Sequence[Token]) -> str:
    return '<p class="tokens">' + "".join(_token(token) for token in tokens) + "</p>"


def _token(token: Token) -> str:
    kind = (" joined" if token.joined else "") + (" ends" if token.text == END else "")
    return (
        f'<span class="token{kind}" title="probability {token.probability:.4f}"><span dir="auto">{escape(token.text)}</span>'
        f'<span class="bar"><i style="width:{100 * token.probability:.1f}%"></i></span>'
        f"<small>{token.probability:.2f}</small></span>"
    )


def _side(said: Said, limit: float) -> str:
    return "unscored" if said.match is None else "kept" if said.match >= limit else "filtered"


def _match(said: Said, limit: float) -> str:
    """The match probability as a bar with its number, then the verdict at the threshold, cosine and truth."""
    if said.match is None or said.cosine is None:
        return ""
    side, cosine = _side(said, limit), f"{said.cosine:.2f}".replace("-", "−")
    truth = '<span class="badge truth" title="{1}">{0}</span>'.format(*_TRUTHS[said.truth]) if said.truth else ""
    return (
        f'<div class="match" title="match probability {said.match:.4f}"><div class="bar">'
        f'<i style="width:{100 * said.match:.1f}%"></i><u style="left:{100 * limit:.0f}%"></u></div>'
        f'<b><span class="aside">match probability </span>{said.match:.2f}</b></div>'
        f'<footer><span class="verdict">{icon(side == "kept")}{side}</span>'
        f'<span title="cosine of image and text features">ITC {cosine}</span>{truth}</footer>'
    )


def _tile(word: str, grid: np.ndarray, top: float) -> str:
    """A map over the image; top: the value at full heat."""
    png = io.BytesIO()
    Image.fromarray(heat_rgba(grid, top)).save(png, format="PNG")
    data = base64.b64encode(png.getvalue()).decode()
    said, share = escape(word), float(grid.max()) / top if top > 0 else 0.0
    return (
        f'<figure class="tile"><div class="stage" role="img" aria-label="{said}: {_where(grid)}">'
        f'<img src="data:image/png;base64,{data}" alt=""></div>'
        f'<figcaption><span class="word" dir="auto" title="{said}">{said}</span>'
        '<span class="strength" title="highest value of its map, of the highest of all words">'
        f'<span class="bar"><i style="width:{100 * share:.0f}%"></i></span><small>{share:.0%}</small></span>'
        "</figcaption></figure>"
    )


def _where(grid: np.ndarray) -> str:
    """Where a map is strongest, in words."""
    if not grid.max() > 0:
        return "nowhere"
    row, column = np.unravel_index(int(grid.argmax()), grid.shape)
    down, across = (min(2, int(3 * (at + 0.5) / size)) for at, size in zip((row, column), grid.shape, strict=True))
    return f"strongest at the {_ROWS[down]} {_COLUMNS[across]}"


def _jpeg(subject: Subject) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(subject.jpeg).decode()}"
