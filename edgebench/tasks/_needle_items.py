"""A fact that is hidden in a long text, to be found again: the needle in the context."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

#: Metric -> share of the longest text that its texts have.
LENGTHS = {"needle_quarter": 0.25, "needle_half": 0.5, "needle_whole": 1.0}
_DEPTHS = (0.1, 0.5, 0.9)  # where the fact stands, as a share of the text
_PLACES = ("harbour gate", "old lighthouse", "island school")
_QUESTION = "\n\nWhat is the code of the {place}? Answer with the number alone."


class Needle(NamedTuple):
    """A text with a fact in it, and the question, as tokens of a message."""

    metric: str
    message: list[int]
    answer: str


def needles(
    encode: Callable[[str], list[int]], filler: Sequence[str], longest: int, around: int
) -> Iterator[Needle]:
    """Messages that are prompts of exact length with `around` tokens of a template, `longest` tokens the longest;
    from a fixed seed."""
    words = encode(" ".join(filler))
    for metric, share in LENGTHS.items():
        for place, depth in zip(_PLACES, _DEPTHS, strict=True):
            drawn = random.Random(f"{metric} {place}")
            code = str(drawn.randint(1000, 9999))
            fact = encode(f" The code of the {place} is {code}. ")
            question = encode(_QUESTION.format(place=place))
            room = max(0, round(longest * share) - around - len(fact) - len(question))
            text = (words * (1 + room // len(words)))[:room]
            at = round(depth * room)
            yield Needle(metric, [*text[:at], *fact, *text[at:], *question], code)
