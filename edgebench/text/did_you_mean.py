"""Suggests a known name in every error about an unknown one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" where a known name is close, else "; known: a, b, c"."""
    names = sorted(known)
    begin_so = [name for name in names if word and name.startswith(f"{word}-")]
    if begin_so:  # int8 -> int8-dynamic, int8-static
        return f"; did you mean {' or '.join(map(repr, begin_so))}?"
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""
