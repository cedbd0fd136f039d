"""The numbers that the paper published (arXiv 2201.12086, equal in the ICML version), as data.

A row has eight numbers in the order of COLUMNS: COCO retrieval fine-tuned (TR@1, IR@1), Flickr30K retrieval of the
same model (TR@1, IR@1), COCO captioning (BLEU-4, CIDEr), NoCaps (CIDEr, SPICE). Single runs, no error bars.
"""

COLUMNS = (
    "COCO TR@1", "COCO IR@1", "Flickr TR@1", "Flickr IR@1", "COCO B@4", "COCO CIDEr", "NoCaps CIDEr", "NoCaps SPICE",
)  # fmt: skip
Row = tuple[float, ...]

TABLE1: dict[str, Row] = {
    "14M": (78.4, 60.7, 93.9, 82.1, 38.0, 127.8, 102.2, 13.9),
    "14M, F": (79.1, 61.5, 94.1, 82.8, 38.1, 128.2, 102.7, 14.0),
    "14M, C": (79.7, 62.0, 94.4, 83.6, 38.4, 128.9, 103.4, 14.2),
    "14M, C and F": (80.6, 63.1, 94.8, 84.9, 38.6, 129.7, 105.1, 14.4),
    "129M": (79.6, 62.0, 94.3, 83.6, 38.8, 130.1, 105.4, 14.2),
    "129M, C and F": (81.9, 64.3, 96.0, 85.0, 39.4, 131.4, 106.3, 14.3),
    "129M, C and F large": (81.2, 64.1, 96.0, 85.5, 39.7, 133.3, 109.6, 14.7),
    "129M, ViT-L": (80.6, 64.1, 95.1, 85.5, 40.3, 135.5, 112.5, 14.7),
    "129M, ViT-L, C and F large": (82.4, 65.1, 96.7, 86.7, 40.4, 136.7, 113.2, 14.8),
}
TABLE2: dict[str, Row] = {
    "none": TABLE1["14M"],
    "beam": (79.6, 61.9, 94.1, 83.1, 38.4, 128.9, 103.5, 14.2),
    "nucleus": TABLE1["14M, C and F"],
}
TABLE3: dict[str, Row] = {
    "all": (77.3, 59.5, 93.1, 81.0, 37.2, 125.9, 100.9, 13.1),
    "all-but-ca": (77.5, 59.9, 93.1, 81.3, 37.4, 126.1, 101.2, 13.1),
    "all-but-sa": TABLE1["14M"],
    "none": (78.3, 60.5, 93.6, 81.9, 37.8, 127.4, 101.8, 13.9),
}
TABLE4: dict[str, Row] = {
    "shared": (79.8, 62.2, 94.3, 83.7, 38.4, 129.0, 103.5, 14.2),
    "decoupled": TABLE1["14M, C and F"],
}
TABLE12: dict[str, Row] = {
    "15.3M texts": TABLE1["14M"],
    "24.7M texts, replicated": (78.3, 60.5, 93.7, 82.2, 37.9, 127.7, 102.1, 14.0),
    "24.7M texts, CapFilt": TABLE1["14M, C and F"],
}
MORE_TEXTS = 1.61
"""Table 12: so many times as many texts has the bootstrapped set, 24.7M, as the web has, 15.3M."""
TABLE13: dict[str, Row] = {
    "continued": (80.6, 63.0, 94.5, 84.6, 38.5, 129.9, 104.5, 14.2),
    "new": TABLE1["14M, C and F"],
}
NOISE_RATIO = {"beam": 0.19, "nucleus": 0.25, "shared": 0.08, "decoupled": 0.25}
"""Share that the filter drops (Tables 2 and 4); of which captions is not said."""
PARAMETERS = {"all": 224e6, "all-but-ca": 252e6, "all-but-sa": 252e6, "none": 361e6}
"""Table 3."""
NLVR2 = {"14M, C and F": (82.67, 82.30), "129M, C and F": (82.48, 83.08)}
"""Table 8: accuracy on dev and test-P; it has no model without CapFilt."""


def gain(table: dict[str, Row], of: str, over: str) -> Row:
    """What a row has over another, column by column, in points."""
    return tuple(round(a - b, 1) for a, b in zip(table[of], table[over], strict=True))
