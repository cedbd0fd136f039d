"""Pages made from run records: the figures in README, in docs and in the card of the shipped weights.

A page holds blocks between `<!-- lab:NAME -->` and `<!-- /lab -->`; `filled` writes into them what the
committed records say, so that no figure is typed in by hand. A test holds the pages up to date.
"""

import re
from collections.abc import Callable
from pathlib import Path

from blip.errors import InputError
from lab.claims_report import block as claims
from lab.findings_pages import BLOCKS as FINDINGS
from lab.page_parts import markdown, number, percent, read_record, source
from lab.planning_pages import BLOCKS as PLANNING
from lab.setting import setting
from lab.task_pages import bench_report, downstream, peers_real, rerank
from lab.trust_pages import BLOCKS as TRUST

ROOT = Path(__file__).parents[1]
_DOCS = ("index", "findings", "measured", "determinism", "planning")
_NAMES = ("README.md", "blip/weights/README.md", *(f"docs/{name}.md" for name in _DOCS))
PAGES = tuple(ROOT / page for page in _NAMES)
OVERVIEW = ROOT / "docs" / "claims.png"
"""All decided claims in one picture."""
_BLOCK = re.compile(r"(<!-- lab:([\w-]+) -->\n).*?(<!-- /lab -->)", re.DOTALL)


def filled(text: str) -> str:
    """The text of a page with every block written anew from the records."""

    def write(found: re.Match) -> str:
        opening, name, closing = found.groups()
        if name not in BLOCKS:
            raise InputError(f"A page asks for the block {name!r}; there are {', '.join(BLOCKS)}.")
        return f"{opening}{BLOCKS[name]()}\n{closing}"

    return _BLOCK.sub(write, text)


def demo() -> str:
    """What CapFilt kept and filtered in the demo, and the truth about it."""
    record = read_record("demo")
    result = record["result"]
    rows = []
    for origin in ("web", "synthetic"):
        kept, filtered, rates = result["kept"][origin], result["filtered"][origin], result["origins"][origin]
        shares = [percent(rates[name]) for name in ("true_before", "precision", "recall")]
        rows.append([origin, f"{kept:,}", f"{filtered:,}", *shares])
    head = ["captions", "kept", "filtered", "true before", "true of kept", "true found"]
    before, after = percent(result["false_share_before"]), percent(result["false_share_after"])
    said = (
        f"False captions: {before} of the web's, {after} of all that were kept; the rest of either say too little to be true or false. "
        f"{result['pairs']:,} pairs in {sum(result['seconds'].values()):.0f} s."
    )
    return "\n".join([markdown(head, rows), "", said, "", source(record)])


def from_scratch() -> str:
    """A new model pre-trained on the bootstrapped captions beside one on the web's alone."""
    record = read_record("demo-from-scratch")
    rows = []
    for name, found in record["result"]["models"].items():
        strict, auc = found["captioner"]["all"]["strictly_true"], found["filter"]["auc"]
        rows.append([_SETS[name], f"{found['pairs']:,}", percent(strict), number(auc["mismatched"]), number(auc["near_miss"])])
    head = ["pre-trained on", "pairs", "strictly true", "AUC mismatched", "AUC near miss"]
    true = {origin: percent(rates["precision"]) for origin, rates in record["result"]["origins"].items()}
    said = (
        f"Of the synthetic captions that the filter kept {true['synthetic']} are true, of the web's {true['web']}. "
        f"The whole run took {sum(record['result']['seconds'].values()) / 60:.0f} minutes. One seed: no verdict."
    )
    return "\n".join([markdown(head, rows), "", said, "", source(record)])


def filter_auc() -> str:
    """How well the shipped filter tells each kind of noise from clean text."""
    result = read_record("train-shipped")["result"]
    held_out, in_demo = result["filter"]["auc"], read_record("demo")["result"]["auc"]
    rows = [[kind.replace("_", " "), number(held_out[kind]), number(in_demo.get(kind))] for kind in held_out]
    return "\n".join([markdown(["noise", "AUC on unseen web pairs", "AUC in the demo"], rows), "", _AUC])


def shipped_quality() -> str:
    """Shares of true captions of the shipped captioner, by domain of held-out scenes."""
    result = read_record("train-shipped")["result"]
    rows = [
        [_DOMAINS[domain], percent(shares["true"]), percent(shares["strictly_true"])]
        for domain, shares in result["captioner"].items()
    ]
    return markdown(["held-out scenes", "true", "strictly true"], rows)


def shipped_binding() -> str:
    """How often pre-trained model and filter prefer a true text to the same with its colours swapped."""
    found = read_record("train-shipped")["result"]["binding"]
    rows = [[f"`{name}.safetensors`", *(percent(own[score]["swapped"]) for score in ("itm", "itc"))] for name, own in found.items()]
    said = f"Shares of {found['filter']['scenes']} held-out scenes of two objects, in two orders of words; chance is 50%."
    return "\n".join([markdown(["weights", "true text preferred by ITM", "by ITC"], rows), "", said])


def shipped_training() -> str:
    """What the shipped weights were trained on, for how long, and how large they are."""
    record = read_record("train-shipped")
    recipe, result = record["config"]["recipe"], record["result"]
    stages = {"pretrained": "pretrain", "captioner": "captioner", "filter": "filter"}
    timed = {"pretrained": "pretrain", "captioner": "tune captioner", "filter": "tune filter"}
    rows = [
        [
            f"`{name}.safetensors`",
            f"{recipe[stage]['samples']:,}",
            f"{result['seconds'][timed[name]]:.0f}",
            f"{result['bytes'][name] / 1e6:.2f}",
        ]
        for name, stage in stages.items()
    ]
    said = (
        f"{recipe['web']:,} web pairs with {percent(recipe['noise'])} noise and {recipe['human']:,} "
        f"human-annotated pairs of the level `{recipe['level']}`."
    )
    table = markdown(["weights", "samples", "seconds", "MB"], rows)
    return "\n".join([table, "", said, "", source(record)])


def pretrain_real() -> str:
    """Losses on a held-out batch of real photos before and after a short pre-training."""
    record = read_record("pretrain-flickr8k")
    result = record["result"]
    held = result["held_out"]
    rows = [
        [name.upper(), f"{held['before'][name]:.3f}", f"{held['after'][name]:.3f}"] for name in held["before"]
    ]
    chance = f"Held-out batch of {held['pairs']} pairs without queue; ITC at chance is {held['chance_itc']:.3f}."
    speed = f"{result['images_per_second']:.1f} images/s, peak memory {result['peak_memory_gib']:.1f} GiB."
    return "\n".join([markdown(["loss", "before", "after"], rows), "", f"{chance} {speed}", "", source(record)])


def capfilt_speed() -> str:
    """CapFilt beside a loop over transformers' BLIP: seconds an image by part, and the ratio of the whole."""
    record = read_record("bench/capfilt-cpu")
    result, half = record["result"], read_record("bench/capfilt-cpu-bf16")["result"]
    ours, peer = result["ours"], result["peer"]
    images = ours["captions"][0] // result["limit"]["shapes"]["candidates"]
    rows = [
        [part, *(f"{side['parts'][part] / images:.2f}" for side in (ours, peer))] for part in ours["parts"]
    ]
    rows.append(["all, s per image", f"{ours['seconds_an_image']:.2f}", f"{peer['seconds_an_image']:.2f}"])
    rows.append(["peak memory, MiB", f"{ours['peak_mib']:,}", f"{peer['peak_mib']:,}"])
    spread, agreement = result["spread"], result["agreement"]
    said = (
        f"Ratio {result['ratio']:.2f} ({spread['min']:.2f} to {spread['max']:.2f} over {len(ours['rounds'])} rounds; "
        f"{result['limit']['ratio']:.2f} by floating-point operations alone), {result['precision']}. Greedy captions are the "
        f"same for {agreement['greedy_captions_the_same']} of {agreement['greedy_captions']} photos. Both in bf16: "
        f"{half['ratio']:.2f}, and {half['agreement']['greedy_captions_the_same']} of {half['agreement']['greedy_captions']} captions the same."
    )
    return "\n".join([markdown(["", "ours", "transformers"], rows), "", said, "", source(record)])


def ledger_scale() -> str:
    """What it takes to decide over a ledger of many millions of captions, and to open its pictures."""
    record = read_record("bench/ledger-cpu")
    result, pictures = record["result"], record["result"]["pictures"]
    rows = [
        [name, f"{own['seconds']:.1f}", f"{own['most_seconds']}", f"{own['peak_mib']:,}"]
        for name, own in result["questions"].items()
    ]
    opened = pictures["by reference"]["found"]["milliseconds_a_picture"]["median"]
    said = (
        f"{result['rows']:,} captions of {result['images']:,} images. A picture opens in {opened:.1f} ms (median of "
        f"{pictures['pictures']:,}) from a tar of {pictures['bytes'] / 1e9:.0f} GB that is not read."
    )
    return "\n".join([markdown(["question", "s", "limit", "MiB"], rows), "", said, "", source(record)])


def capfilt_kills() -> str:
    """CapFilt killed again and again ends with the bytes of an unbroken run."""
    record = read_record("bench/capfilt-kill-cpu")
    result = record["result"]
    where = ", ".join(f"{phase} {count}" for phase, count in result["phases"].items())
    return (
        f"{len(result['kills'])} kills over {result['images']:,} images ({where}): of {result['files_compared']} files "
        f"{len(result['differing'])} differ from an unbroken run, {result['lost']} of {result['rows']:,} captions are lost, "
        f"{result['doubled']} doubled.\n\n{source(record)}"
    )


_AUC = (
    "AUC: the chance that a clean text scores above one of that noise; noise that happens to be true is left out. It is lowered "
    "mostly by clean texts that name only a part of the picture, which this filter rejects; those that name all of it score above "
    "nearly all noise. In the median near misses score lowest, so that their AUC is best, but they spread widest: at the threshold "
    "of 0.5 it is near misses that slip through."
)
_SETS = {"web": "web and human texts", "bootstrapped": "what CapFilt kept, and human texts"}
_DOMAINS = {
    "in": "in the human-annotated domain",
    "near": "near it",
    "out": "out of it",
    "all": "all",
    "sketch": "all, in the second drawing style",
}
BLOCKS: dict[str, Callable[[], str]] = {
    "demo": demo,
    "from-scratch": from_scratch,
    "filter-auc": filter_auc,
    "shipped-quality": shipped_quality,
    "shipped-binding": shipped_binding,
    "shipped-training": shipped_training,
    "pretrain-real": pretrain_real,
    "capfilt-speed": capfilt_speed,
    "ledger-scale": ledger_scale,
    "capfilt-kills": capfilt_kills,
    "claims": claims,
    "setting": setting,
    "downstream": downstream,
    "peers-real": peers_real,
    "rerank": rerank,
    "bench-report": bench_report,
    **FINDINGS,
    **PLANNING,
    **TRUST,
}
