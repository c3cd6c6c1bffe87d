"""Closed-form tasks on lists of words (copy, reverse, sort, replace), as ParallelBench (Kang et al. 2025) asks them: right by
construction, and scored exactly."""

from __future__ import annotations

import random
from collections.abc import Callable

from ._generation_items import Item, turns_of

_WORDS = (
    *("apple", "river", "stone", "cloud", "table", "green", "horse", "paper", "winter", "bread"),
    *("candle", "garden", "window", "silver", "market", "ladder"),
)
_SHOWN = 2  # examples before a question
_LENGTH = 4  # words of a list


def list_items(each: int) -> dict[str, list[Item]]:
    """Metric -> so many tasks of its kind, each after two examples; from a fixed seed."""
    return {f"list_{kind}": _of(kind, each) for kind in _KINDS}


def _of(kind: str, each: int) -> list[Item]:
    drawn, make = random.Random(f"list {kind}"), _KINDS[kind]
    shown = [turn for _ in range(_SHOWN) for turn in turns_of(*make(drawn))]
    made = []
    for _ in range(each):
        question, answer = make(drawn)
        made.append(Item([*shown, *turns_of(question, "")[:1]], answer))
    return made


def _copy(drawn: random.Random) -> tuple[str, str]:
    words = drawn.sample(_WORDS, _LENGTH)
    return f"Copy this list: {', '.join(words)}", ", ".join(words)


def _reverse(drawn: random.Random) -> tuple[str, str]:
    words = drawn.sample(_WORDS, _LENGTH)
    return f"Reverse this list: {', '.join(words)}", ", ".join(words[::-1])


def _sort(drawn: random.Random) -> tuple[str, str]:
    words = drawn.sample(_WORDS, _LENGTH)
    return f"Sort this list by the alphabet: {', '.join(words)}", ", ".join(sorted(words))


def _replace(drawn: random.Random) -> tuple[str, str]:
    *words, new = drawn.sample(_WORDS, _LENGTH + 1)
    old = drawn.choice(words)
    replaced = [new if word == old else word for word in words]
    return f"Replace {old} by {new} in this list: {', '.join(words)}", ", ".join(replaced)


_KINDS: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "copy": _copy,
    "reverse": _reverse,
    "sort": _sort,
    "replace": _replace,
}
