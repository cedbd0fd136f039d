"""What scores are called where people read them, in place of the names of filters and columns."""

_COLUMNS = {
    "itm_prob": ("ITM", "match probability (ITM)"),
    "itm_logit": ("ITM logit", "match logit (ITM)"),
    "itc": ("ITC", "cosine (ITC)"),
}


def score_name(column: str) -> str:
    """What a score column is called; one of a filter of somebody's own keeps its name."""
    return _COLUMNS.get(column, ("", column))[1]


def disagreement(deciding: tuple[str, str], other: tuple[str, str]) -> str:
    """What the captions are called on which two scores, each as (filter, column), decide differently.

    Scores of one filter are told apart by what they are, those of two by their filters.
    """
    if deciding[0] != other[0]:
        return f"{deciding[0]} and {other[0]} disagree"
    names = (_COLUMNS.get(column, (column, ""))[0] for _, column in (deciding, other))
    return f"{' and '.join(names)} disagree"
