"""Holds what a decoder is asked: small tasks with one right answer, and passages to sum up.

The tasks are made from a fixed seed, so that their answers are right by construction.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REQUEST = "Sum up in one sentence what this text says. Text"
_EACH = 6  # tasks of each kind
_WORDS = ["apple", "river", "stone", "cloud", "table", "green", "horse", "paper", "winter", "bread"]


@dataclass(frozen=True)
class Item:
    """A conversation and the answer that counts as right."""

    messages: Sequence[Mapping[str, str]]
    answer: str


def items() -> list[Item]:
    """Arithmetic, operations on lists, and copying; each asked after two examples of its kind."""
    drawn = random.Random(7)
    drawn_items = []
    for kind in (_sum, _last_of_list, _copy):
        shown = [kind(drawn) for _ in range(2)]
        for _ in range(_EACH):
            question, answer = kind(drawn)
            turns = [turn for pair in (*shown, (question, "")) for turn in _turns(*pair)]
            drawn_items.append(Item(turns[:-1], answer))
    return drawn_items


def _turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _sum(drawn: random.Random) -> tuple[str, str]:
    first, second = drawn.randint(1, 9), drawn.randint(1, 9)
    return f"What is {first} + {second}?", str(first + second)


def _last_of_list(drawn: random.Random) -> tuple[str, str]:
    words = drawn.sample(_WORDS, 3)
    return f"What is the last word of this list: {', '.join(words)}?", words[-1]


def _copy(drawn: random.Random) -> tuple[str, str]:
    words = " ".join(drawn.sample(_WORDS, 3))
    return f"Repeat exactly: {words}", words


#: For models that come without a text of their own.
PASSAGES = (
    "The ferry crosses the bay eight times a day in summer and twice in winter, when the ice allows it.",
    "A bridge was planned forty years ago, but the town could not agree on where it should end.",
    "Most of the passengers are pupils, who do their homework on the upper deck in any weather.",
    "The captain keeps a notebook in which he writes down every seal and every late departure.",
    "Last autumn a storm tore the eastern pier away, and for six weeks bread came by helicopter.",
    "Since then the island has had its own bakery, run by two sisters and a retired engineer.",
    "Their oven is heated with wood from the forest, and the queue begins before sunrise.",
    "Visitors ask for maps, although there is only one road and it leads back to the harbour.",
    "The lighthouse has worked without a keeper since a small computer took his place.",
    "Its battery lasts nine days without sun, which has been enough in every winter so far.",
    "A school class measured the light once and found it brighter than the brochure says.",
    "The old keeper still climbs the stairs on Sundays to polish the glass, unasked and unpaid.",
    "Potatoes grow well in the sandy soil, and so do onions, if the deer leave any of them.",
    "In spring the fields are covered with kelp, which smells for a week and works for a year.",
    "The post arrives on Tuesdays; parcels that are too heavy wait for the first calm day.",
    "Electricity comes through a cable that fishermen have cut three times by accident.",
    "After the third time, every boat was given a chart with a thick red line on it.",
    "The chart hangs in the pub as well, where it has settled more than one argument.",
    "Elections take an afternoon, counting takes ten minutes, and the party lasts until morning.",
    "Nobody locks a door, because the only thief in living memory returned what he took.",
    "The museum shows his apology beside the anchor of a ship whose name nobody knows.",
    "Rain is collected in barrels, and in dry years the barrels are the talk of the village.",
    "A plan to drill a well was given up when the first water turned out to be salt.",
    "Now a small plant on the north shore makes fresh water from the sea when the wind blows.",
)
