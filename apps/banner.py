"""The studio's banner: which ledger it shows, what of its data was rejected, what wrote the captions, and the threshold to begin with."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

from apps.service import Service
from blip.capfilt import Ledger, Policy
from blip.data.jsons import parse_json

_STRATEGIES = {"nucleus": "nucleus", "top_k": "top-k", "beam": "beam search", "greedy": "greedy"}
_VALUES = {"p": "p = {}", "k": "k = {}", "t": "temperature {}", "beams": "{} beams"}


def banner(service: Service, policy: Policy, weights: Mapping[str, str], up: str) -> str:
    """The banner as HTML.

    policy: the thresholds that the rooms begin with. weights: sources of captioners that are open here, by
    fingerprint. up: the way to the address of the studio that this one is mounted in, where it is.
    """
    ledger = service.ledger
    folder, rejected = Path(ledger.folder).resolve(), service.rejected
    used = ledger.about.get("captioners") or [[ledger.about.get("captioner", ""), ledger.about.get("decoding", "")]]
    ids, decodings = [str(one[0]) for one in used], [str(one[1]) for one in used]
    facts = (
        _fact("ledger", "/".join(folder.parts[-2:]), str(folder)),
        _fact("images", f"{service.images:,}"),
        _fact("rejected", f"{rejected.pairs:,}" if rejected.reasons else "", f"input pairs, by the reasons of their rejects: {rejected.words()}"),
        _fact("captioner", _joined(_names(ledger, ids, weights)), f"weights {_joined(ids)}"),
        _fact("decoding", _joined(map(decoding_words, decodings)), _joined(decodings)),
        _fact("threshold", _threshold(policy), "the match probability from which a caption is kept, to begin with"),
    )
    back = f'<a href="{up}">← The first ledger</a>' if up else ""
    return f'<h1>BLIP Lab <span>Studio</span></h1><dl>{back}{"".join(facts)}</dl>'


def decoding_words(decoding: str) -> str:
    """How captions were decoded, in words, from the form in which a ledger keeps it (blip.generate.Decoding)."""
    strategy, _, values = decoding.partition("(")
    if strategy not in _STRATEGIES:
        return decoding
    own = (value.partition("=") for value in values.partition("length=")[0].split(","))
    return ", ".join([_STRATEGIES[strategy], *(_VALUES[name].format(value) for name, _, value in own if name in _VALUES)])


def _fact(name: str, value: str, more: str = "") -> str:
    title = f' title="{escape(more)}"' if more else ""
    return f"<div><dt>{name}</dt><dd{title}>{escape(value)}</dd></div>" if value else ""


def _joined(parts: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(parts))


def _names(ledger: Ledger, ids: list[str], weights: Mapping[str, str]) -> list[str]:
    """Names of the captioners' weights: those of lab capfilt's summary, else of what is open here, else their ids."""
    try:
        given = parse_json(ledger.store.read("summary.json"))["config"]["options"]["captioner"]
    except (OSError, ValueError, KeyError, TypeError):
        given = []
    if not (isinstance(given, list) and len(given) == len(ids) and all(isinstance(one, str) for one in given)):
        given = [weights.get(own, own) for own in ids]
    return [Path(one).name for one in given]


def _threshold(policy: Policy) -> str:
    if policy.web == policy.synthetic:
        return f"{policy.web:g}"
    return f"web {policy.web:g}, synthetic {policy.synthetic:g}"
