"""What pages say of runs that were killed, watched and given broken files, from the records."""

from collections.abc import Callable

from lab.bench.report import ratios, summary
from lab.page_parts import read_record, source
from lab.repeats import repeats


def train_kills() -> str:
    """Pre-training killed again and again ends with the bits of an unbroken run."""
    record = read_record("bench/train-kill-cpu")
    result = record["result"]
    where = ", ".join(f"{count} {phase}" for phase, count in result["phases"].items())
    differing = ", ".join(result["differing"]) or "nothing"
    return (
        f"{len(result['kills'])} kills over {result['steps']} steps ({where}): {differing} differs from an unbroken run; compared "
        f"were {result['compared']}.\n\n{source(record)}"
    )


def soak() -> str:
    """The memory of a long CapFilt run."""
    record = read_record("bench/soak-cpu")
    result, mib = record["result"], record["result"]["mib"]
    return (
        f"{result['images']:,} images, {result['captions']:,} captions in {result['seconds'] / 60:.0f} minutes: "
        f"{mib['second_fifth']:,.0f} MiB in the second fifth of the run, {mib['last_fifth']:,.0f} in the last "
        f"({100 * result['growth']:+.1f}%; flat is at most {100 * result['most_growth']:+.0f}%), {mib['most']:,.0f} at most. "
        f"Invariants of the ledger that fail: {len(result['ledger_faults'])}.\n\n{source(record)}"
    )


def fuzz() -> str:
    """Broken files for every reader."""
    record = read_record("bench/fuzz-cpu")
    result, total = record["result"], record["result"]["total"]
    limits = result["limits"]
    return (
        f"{total['cases']:,} broken inputs for {len(result['targets'])} readers: {total['read']:,} were still readable, "
        f"{total['refused']:,} refused with one sentence, {total['rejected_rows']:,} rows rejected with a reason. "
        f"Crashes, hangs beyond {limits['seconds']:g} s, more than {limits['mib']:,} MiB, or rows not accounted for: "
        f"{total['findings']}.\n\n{source(record)}"
    )


def in_short() -> str:
    """All that was measured of speed and trust, a line each; the page on measurements has the rest."""
    names = ("capfilt-cpu", "ledger-cpu", "capfilt-kill-cpu", "train-kill-cpu", "soak-cpu", "fuzz-cpu")
    speed, ledger, capfilt, training, long, broken = (read_record(f"bench/{name}")["result"] for name in names)
    on, shapes, gpu = read_record("bench/capfilt-cpu")["machine"], speed["limit"]["shapes"], read_record("bench/capfilt-cuda")
    slowest = max(ledger["questions"].values(), key=lambda own: own["seconds"])["seconds"]
    ours, peer = (speed[side]["seconds_an_image"] for side in ("ours", "peer"))
    kills, differing = (len(capfilt[name]) + len(training[name]) for name in ("kills", "differing"))
    setting = f"{on['cores']} CPU cores, {shapes['candidates']} captions an image, random weights of base size"
    lines = [
        summary(ratios()),
        f"CapFilt takes {ours:.1f} s an image where a loop over `transformers` takes {peer:.1f}: {setting}. On {gpu['machine']['accelerator']} it is {gpu['result']['ratio']:.1f} times as fast.",
        f"Deciding over {ledger['rows']:,} captions takes {slowest:.0f} s at most, for each of {len(ledger['questions'])} questions.",
        f"{kills} kills of CapFilt and of training: {differing or 'nothing'} of what was compared differs from an unbroken run.",
        f"Memory grows by {100 * long['growth']:.1f}% over {long['images']:,} images of CapFilt, and is {long['mib']['most']:,.0f} MiB at most where the last fifth has {long['mib']['last_fifth']:,.0f}.",
        f"{broken['total']['cases']:,} broken inputs: {broken['total']['findings']} crashes, hangs or rows that are not accounted for.",
    ]
    return "\n".join(f"- {line}" for line in lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "train-kills": train_kills,
    "soak": soak,
    "fuzz": fuzz,
    "repeats": repeats,
    "in-short": in_short,
}
