"""CapFilt as tables and pictures: what they say is what the ledger says, and nothing on them overlaps."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from blip.capfilt import Policy, decide, run
from blip.data.pairset import PairSet
from blip.generate import Caption as Generated
from blip.generate import Decoding
from lab import tables
from lab.bootstrap import world_job
from lab.capfilt_diagram import figure_3
from lab.cards import cards, chosen_cards
from lab.figures import Caption, Card
from lab.filter_figures import by_threshold, match_bars, precision_recall, shares
from lab.recipes import SHIPPED
from lab.report import summarize
from lab.weights import shipped
from lab.world.figures import Tile, tile
from lab.world.noise import KINDS
from lab.world.sets import World, WorldPair, as_pairs

WORLD = World.of(SHIPPED.level)
IMAGE = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def web():
    return WORLD.web(64, start=SHIPPED.web)


@pytest.fixture(scope="module")
def ledger(web, tmp_path_factory):
    drawn = {"level": SHIPPED.level, "noise": 0.4, "start": SHIPPED.web}
    job = world_job(shipped("captioner"), shipped("filter"), web, drawn, decoding=Decoding())
    return run(job, PairSet.of(as_pairs(web, WORLD.level.px)), tmp_path_factory.mktemp("ledger"))


def frame(*rows):
    names = ["image_key", "origin", "caption", "mean_logprob", "truth", "noise_kind", "score", "kept"]
    return pd.DataFrame(rows, columns=names)


def words(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]


def collisions(figure):
    """Pairs of texts that overlap, and texts that leave the page."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # which lays it out
    renderer, page = canvas.get_renderer(), figure.bbox
    boxes = [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible()
    ]
    found = [(one, two) for (one, a), (two, b) in itertools.combinations(boxes, 2) if a.padded(-1).overlaps(b.padded(-1))]
    inside = [page.x0 <= box.x0 and page.y0 <= box.y0 and box.x1 <= page.x1 and box.y1 <= page.y1 for _, box in boxes]
    return found + [text for (text, _), fits in zip(boxes, inside, strict=True) if not fits]


def test_the_table_of_captions_says_what_decide_says(ledger):
    policy = Policy(web=0.3, synthetic=0.9)
    rows, decided = tables.captions(ledger, policy), decide(ledger, policy).to_pandas()
    for name in ("image_key", "origin", "caption", "score", "kept"):
        assert rows[name].tolist() == decided[name].tolist()
    facts = ledger.table("candidates", ["truth", "noise_kind", "mean_logprob"]).to_pylist()
    assert rows["truth"].tolist() == [fact["truth"] for fact in facts]
    given = rows["origin"] == "web"
    assert rows["mean_logprob"].isna().tolist() == given.tolist()
    assert rows["noise_kind"][given].tolist() == [fact["noise_kind"] for fact in facts][::2]


def test_a_readable_row_has_words_for_verdict_and_for_what_is_missing():
    rows = frame(
        ("a", "web", "a cup", None, "false", "near_miss", 0.0254, False),
        ("a", "synthetic", "a hat", -0.456, None, None, np.nan, True),
    )
    assert tables.readable(rows).to_numpy().tolist() == [
        ["web", "a cup", "near_miss", "-", "0.025", "✗ filtered", "false"],
        ["synthetic", "a hat", "-", "-0.46", "-", "✓ kept", "not known"],
    ]


def test_generated_captions_show_their_mean_and_their_least_probable_token():
    table = tables.drawn([Generated((5, 6, 1), (-0.5, -2.5, -0.0), "a cup")])
    assert table.to_numpy().tolist() == [["a cup", 3, -1.0, -2.5]]


def test_noise_kinds_against_a_count_by_hand(web):
    part = next(item for item in web if item.noise_kind == "clean" and item.caption == "a tree")
    near = next(item for item in web if item.noise_kind == "near_miss")
    rows = frame(
        (part.key, "web", part.caption, None, "true", "clean", 0.6, True),
        (near.key, "web", near.caption, None, "false", "near_miss", 0.7, True),
        (near.key, "web", near.caption, None, "false", "near_miss", 0.1, False),
        (part.key, "synthetic", "a red tree", -1.0, "true", None, 0.9, True),
        (part.key, "synthetic", "a tree", -1.0, "true", None, 0.2, False),
        (near.key, "synthetic", "a blue cup", -1.0, "false", None, 0.8, True),
    )
    table = tables.by_noise_kind(rows, web)
    assert table.index.tolist() == ["clean, says all", "clean, says a part", *(k.replace("_", " ") for k in KINDS), "synthetic"]
    assert table.loc["clean, says a part"].tolist() == [1, 1, 1, 1.0, 1.0]
    assert table.loc["near miss"].tolist()[:4] == [2, 0, 1, 0.0] and math.isnan(table.loc["near miss", "recall"])
    assert table.loc["synthetic"].tolist() == [3, 2, 2, 0.5, 0.5]
    assert table.loc["vague", "texts"] == 0


def test_noise_kinds_of_a_ledger_add_up(ledger, web):
    rows = tables.captions(ledger)
    table = tables.by_noise_kind(rows, web)
    assert table["texts"].sum() == len(rows) and table["kept"].sum() == rows["kept"].sum()
    assert table["true"].sum() == (rows["truth"] == "true").sum()


def test_the_training_set_against_a_count_by_hand():
    rows = frame(
        ("a", "web", "x", None, "true", "clean", 0.9, True),
        ("b", "web", "x", None, "false", "mismatched", 0.1, False),
        ("c", "web", "x", None, "uninformative", "vague", 0.6, True),
        ("a", "synthetic", "x", -1.0, "true", None, 0.9, True),
        ("b", "synthetic", "x", -1.0, "false", None, 0.2, False),
    )
    table = tables.training_set(rows, human=1)
    assert table["texts"].tolist() == [3, 2, 1, 1, 4]
    assert table.loc["web texts as they came"].tolist()[1:] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert table.loc["bootstrapped set"].tolist()[1:] == [0.75, 0.0, 0.25]


def test_shares_against_a_double_loop():
    rng = np.random.default_rng(0)
    score, true = np.float32(rng.random(40)), rng.random(40) < 0.6
    score[0] = 0.7
    thresholds = np.array([0, 0.25, 0.7, 0.99999])
    found = shares(score, true, thresholds)
    for at, limit in enumerate(thresholds):
        kept = [bool(one >= np.float32(limit)) for one in score]
        both = sum(k and t for k, t in zip(kept, true, strict=True))
        assert found["kept"][at] == sum(kept) / 40
        assert found["recall"][at] == both / sum(true)
        assert found["precision"][at] == both / sum(kept) if any(kept) else math.isnan(found["precision"][at])
    assert shares(np.array([0.7]), np.array([True]), np.array([0.7]))["kept"] == [1.0]


def test_match_bars_are_as_long_as_the_scores_and_say_the_verdict():
    texts, scores = ["a web text that is rather long for one line", "a cup", "a hat"], [0.125, 0.5, 0.875]
    figure = match_bars(IMAGE, texts, scores, "Three texts")
    axes = figure.axes[1]
    assert [bar.get_width() for bar in axes.patches[1::2]] == scores
    said = words(figure)
    assert [word for word in said if word.endswith(("kept", "filtered"))] == [
        "0.125  ✗ filtered",
        "0.500  ✓ kept",
        "0.875  ✓ kept",
    ]
    assert "$T_w$  a web text that is rather long for one line" in said and "$T_s$  a hat" in said
    assert collisions(figure) == []


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_the_threshold_curves_say_the_shares_at_the_threshold(ledger, threshold):
    rows = tables.captions(ledger, Policy(web=threshold, synthetic=threshold))
    figure = by_threshold(rows, threshold, "The threshold moved")
    for axes, origin in zip(figure.axes, ("web", "synthetic"), strict=True):
        own = rows[rows["origin"] == origin]
        label = axes.get_legend().get_texts()[0].get_text()
        assert label == f"kept, of all texts: {100 * own['kept'].mean():.1f}%"
    assert collisions(figure) == []


def test_precision_and_recall_have_a_panel_for_every_noise_kind(ledger):
    rows = tables.captions(ledger)
    kinds = set(rows["noise_kind"].dropna()) - {"clean"}
    figure = precision_recall(rows, 0.5, "By noise kind")
    titles = [axes.get_title(loc="left").split(",")[0].replace(" ", "_") for axes in figure.axes]
    assert titles[: len(kinds)] == sorted(kinds)
    clean = rows[rows["noise_kind"] == "clean"]
    assert any(word.endswith(f"at {100 * clean['kept'].mean():.1f}") for word in words(figure))


def test_only_the_images_of_chosen_cards_are_drawn_and_cards_keep_the_order_of_their_images(ledger, web, monkeypatch):
    drawn, plain = [], WorldPair.image
    monkeypatch.setattr(WorldPair, "image", lambda self, px: drawn.append(self.key) or plain(self, px))
    assert len(chosen_cards(ledger, web, count=3)) == len(drawn) == 3 < len(web)
    found = cards(ledger, web[4:1:-1])
    assert drawn[3:] == [item.key for item in web[4:1:-1]] and [card.web.text for card in found] == [item.caption for item in web[4:1:-1]]


def test_figure_3_holds_the_rows_of_the_ledger(ledger, web):
    summary = summarize(ledger)
    cards = chosen_cards(ledger, web, count=3)
    human = WORLD.human(2)
    figure = figure_3(cards, [tile(one) for one in human], summary, human_pairs=5)
    said = [word.replace("\n", " ") for word in words(figure)]
    for card in cards:
        for caption in (card.web, card.synthetic):
            assert caption.text in said and f"{caption.probability:.3f}" in said
    verdicts = [caption.kept for card in cards for caption in (card.web, card.synthetic)]
    assert [word == "✓ kept" for word in said if word in ("✓ kept", "✗ filtered")] == verdicts
    assert {one.caption for one in human} <= set(said)
    assert f"{summary['kept']['web']:,}" in said and f"{summary['kept']['synthetic']:,}" in said and "5" in said
    assert collisions(figure) == []


def test_figure_3_has_room_for_long_texts_and_large_sets():
    long = "a very long caption of a scene with many more words than anybody would ever want to read about it"
    cards = [Card(IMAGE, Caption(long, 0.1, False), Caption(long, 0.9, True))] * 3
    sizes = {"web": 123_456_789, "synthetic": 123_456_789}
    figure = figure_3(cards, [Tile(IMAGE, long)] * 2, {"kept": sizes, "filtered": sizes}, 1_234_567)
    assert collisions(figure) == []


def test_figure_3_says_where_an_image_has_no_such_caption():
    cards = [Card(IMAGE, None, Caption("a cup", 0.9, True))]
    sizes = {"web": 1, "synthetic": 1}
    said = words(figure_3(cards, [], {"kept": sizes, "filtered": sizes}, 0))
    assert "none" in said and said.count("✓ kept") == 1


def test_collisions_are_found():
    """The check above can fail."""
    figure = match_bars(IMAGE, ["a cup"], [0.5], "One text")
    figure.text(0.99, 0.5, "too far to the right")
    figure.text(0.35, 0.5, "one"), figure.text(0.35, 0.5, "two")
    found = collisions(figure)
    assert "too far to the right" in found and ("one", "two") in found
