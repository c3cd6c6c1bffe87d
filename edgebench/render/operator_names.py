"""Names of operators that are short enough for a table and still tell them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

#: Converters join the names of all nodes that became one: "relu;conv/BiasAdd;conv/Conv2D".
_JOINT = ";"


def short_names(names: Sequence[str], limit: int) -> list[str]:
    """The first joined name of each, where that is unique among them; else the last one; else all of it.

    A name that is longer than `limit` keeps its end, which tells more than its beginning.
    """
    parts = [name.split(_JOINT) for name in names]
    forms = ([some[0] for some in parts], [some[-1] for some in parts], list(names))
    counts = [Counter(form) for form in forms]
    chosen = (
        next((name for name, count in zip(same, counts, strict=True) if count[name] == 1), same[0])
        for same in zip(*forms, strict=True)
    )
    return [_ending(name, limit) for name in chosen]


def _ending(name: str, limit: int) -> str:
    return name if len(name) <= limit else f"...{name[3 - limit :]}"
