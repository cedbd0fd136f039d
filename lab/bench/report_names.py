"""What the ratios of the benches are called where people read them, and what each is measured against."""

_BENCHES = {
    "capfilt": ("CapFilt", "transformers"),
    "encoder": ("image encoder", ""),
    "generate": ("captioning", "transformers"),
    "matching": ("ITM, many texts an image", "transformers"),
    "pretrain": ("pre-training step", "the published algorithm, plainly written"),
    "reading": ("data reading", "webdataset"),
    "rerank": ("ranking", "one call per query, as published"),
    "studio": ("studio", ""),
}
_CASES = {"first_view": "time to the first view", "vqa": "VQA answers", "retrieval": "retrieval re-ranked by ITM"}
_BASELINES = {"useful operations": "a large matrix product", "first_view": "a blank Gradio page"}
_BOTH = " against "  # between our precision and the peer's where they are not the same


def bench_name(bench: str) -> str:
    """The name of a bench for people; an unknown one keeps its own."""
    return _BENCHES.get(bench, (bench, ""))[0]


def case_name(case: str, precision: str) -> str:
    """The name of a case for people, without the precision, which is told beside it; "whole" where nothing is left."""
    short = case.removesuffix(precision).removesuffix(", ")
    return _CASES.get(short, short) or "whole"


def against(bench: str, case: str, precision: str, has_peer: bool) -> str:
    """What a ratio is measured against: a peer by name, or a baseline that is no other program's way to do the same."""
    if not has_peer:
        return f"baseline: {next((what for start, what in _BASELINES.items() if case.startswith(start)), 'of its own')}"
    peer = _BENCHES.get(bench, ("", ""))[1] or case.rpartition(", ")[2]
    other = precision.partition(_BOTH)[2]
    return f"peer: {peer}{f', in {other}' if other else ''}"
