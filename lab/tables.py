"""Captions as pandas tables: what was drawn, every verdict with its truth, and what goes on to training."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from blip.capfilt import Ledger, Policy
from blip.capfilt.decide import usual, verdicts
from blip.capfilt.quality import Kept
from blip.generate import Caption
from blip.tokenizer import Tokenizer
from lab.figures import SIGNS
from lab.world.checker import check
from lab.world.noise import CLEAN, KINDS
from lab.world.sets import WorldPair

_FACTS = ("image_key", "origin", "caption", "mean_logprob", "truth", "noise_kind")
_VERDICT = ("score", "kept")
_TRUTHS = ("true", "false", "uninformative")
_NONE = "-"
_WHOLE, _PART, _SYNTHETIC = "clean, says all", "clean, says a part", "synthetic"


def drawn(captions: Sequence[Caption]) -> pd.DataFrame:
    """Generated captions with their mean log-probability and that of their least probable token (nats)."""
    rows = [(one.text, len(one.ids), one.mean_logprob, min(one.logprobs)) for one in captions]
    names = ["synthetic caption", "tokens", "mean log-prob.", "lowest log-prob."]
    return pd.DataFrame(rows, columns=names).round(2)


def tokens(caption: Caption, tokenizer: Tokenizer) -> pd.DataFrame:
    """One row: the probability of each token of a generated caption, given those before it and the image."""
    columns = [tokenizer.vocab[number] for number in caption.ids]
    return pd.DataFrame([np.exp(caption.logprobs)], columns=columns, index=["probability"]).round(2)


def captions(ledger: Ledger, policy: Policy | None = None) -> pd.DataFrame:
    """A row a caption in the ledger's order: its facts, score (NaN where there is none), kept.

    The facts are image_key, origin, caption, mean_logprob, truth and noise_kind. InputError where the ledger
    lacks a score that the policy reads.
    """
    shards = verdicts(ledger, policy or usual(ledger), _FACTS)
    return pa.concat_tables(shard.select([*_FACTS, *_VERDICT]) for shard in shards).to_pandas()


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `captions` as people read them: log-probability, match probability, the verdict as a word."""
    return pd.DataFrame(
        {
            "origin": rows["origin"],
            "caption": rows["caption"],
            "noise": rows["noise_kind"].fillna(_NONE),
            "mean log-prob.": rows["mean_logprob"].map("{:.2f}".format, na_action="ignore").fillna(_NONE),
            "match prob.": rows["score"].map("{:.3f}".format, na_action="ignore").fillna(_NONE),
            "verdict": rows["kept"].map(SIGNS),
            "truth": rows["truth"].fillna("not known"),
        }
    ).reset_index(drop=True)


def by_noise_kind(rows: pd.DataFrame, items: Sequence[WorldPair]) -> pd.DataFrame:
    """What was kept of each noise kind of the web's texts, and of the synthetic ones, against the truth.

    Clean texts are two rows: those that name every object with its colour, and those that name a part. precision
    is the true share of the kept ones, recall the kept share of the true ones, in [0, 1]; NaN where there are
    none. Rows are those of `captions`, items the world's pairs they are about.
    """
    scenes = {item.key: item.scene for item in items}
    names = rows["noise_kind"].where(rows["origin"] != "synthetic", _SYNTHETIC)
    for at, row in rows[names == CLEAN].iterrows():
        names[at] = _WHOLE if check(row["caption"], scenes[row["image_key"]]).strict else _PART
    found = {}
    for name in (_WHOLE, _PART, *KINDS, _SYNTHETIC):
        own = rows[names == name]
        kept, true = own["kept"].to_numpy(bool), (own["truth"] == "true").to_numpy()
        rates = Kept.of(kept, true).rates()
        counts = {"texts": len(own), "true": int(true.sum()), "kept": int(kept.sum())}
        found[name.replace("_", " ")] = counts | {name: rates[name] for name in ("precision", "recall")}
    return pd.DataFrame.from_dict(found, orient="index").astype({"precision": float, "recall": float})


def training_set(rows: pd.DataFrame, human: int) -> pd.DataFrame:
    """The web's texts as they came beside the bootstrapped set: texts, and shares by truth in [0, 1].

    Rows are those of `captions`, with truth known; human: the number of human-annotated pairs, all of them true.
    """
    web, kept = rows["origin"] != "synthetic", rows["kept"]
    parts = {
        "web texts as they came": rows[web],
        "kept web texts": rows[web & kept],
        "kept synthetic texts": rows[~web & kept],
        "human-annotated texts": pd.DataFrame({"truth": ["true"] * human}),
    }
    parts["bootstrapped set"] = pd.concat([part[["truth"]] for part in list(parts.values())[1:]])
    shares = {name: own["truth"].value_counts(normalize=True).reindex(_TRUTHS, fill_value=0) for name, own in parts.items()}
    table = pd.DataFrame(shares).T
    table.insert(0, "texts", [len(own) for own in parts.values()])
    return table.rename_axis(None, axis=1)
