"""Holds what a decoder is asked: small tasks with one right answer, facts in long texts, and passages to sum up.

The tasks are made from fixed seeds, so that their answers are right by construction.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

REQUEST = "Sum up in one sentence what this text says. Text"
_EACH = 6  # tasks of each kind
_SHOWN = 2  # examples before a question
_LISTED = 4  # words of a list
_MARK = "Answer:"
_MAX_CHARACTERS = 60  # characters of an answer that are kept
_MORE_WORDS = (
    *("apple", "river", "stone", "cloud", "table", "green", "horse", "paper", "winter", "bread"),
    *("candle", "garden", "window", "silver", "market", "ladder"),
)
_WORDS = _MORE_WORDS[:10]

#: Metric -> share of the longest text that its texts have.
LENGTHS = {"needle_quarter": 0.25, "needle_half": 0.5, "needle_whole": 1.0}
_DEPTHS = (0.1, 0.5, 0.9)  # where the fact stands, as a share of the text
_PLACES = ("harbour gate", "old lighthouse", "island school")
_WHERE = "\n\nWhat is the code of the {place}? Answer with the number alone."

#: Makes a question, maybe what is written on the way to its answer, and the answer.
Maker = Callable[[random.Random], tuple[str, ...]]


@dataclass(frozen=True)
class Item:
    """A conversation and the answer that counts as right."""

    kind: str
    messages: Sequence[Mapping[str, str]]
    answer: str


def items() -> list[Item]:
    """Arithmetic, operations on lists, and copying."""
    drawn = random.Random(7)
    makers = {"sum": _sum, "last": _last_of_list, "copy": _copy}
    return [item for kind, make in makers.items() for item in _items_of(kind, make, _EACH, drawn)]


def list_items(each: int) -> dict[str, list[Item]]:
    """Metric -> so many closed-form tasks on lists, as ParallelBench (Kang et al. 2025) asks them."""
    makers = {"copy": _copy_list, "reverse": _reverse, "sort": _sort, "replace": _replace}
    return {
        f"list_{kind}": _items_of(kind, make, each, random.Random(f"list {kind}"))
        for kind, make in makers.items()
    }


def problems(each: int) -> list[Item]:
    """So many problems of each kind whose answers take some writing: what more tokens and more samples bring is
    seen on them. Their examples end in "Answer: ...", and a text that was cut before those words has not answered."""
    drawn = random.Random(11)
    makers = {"sum": _long_sum, "list": _second_of_list, "copy": _long_copy}
    return [item for kind, make in makers.items() for item in _items_of(kind, make, each, drawn)]


def answer_in(text: str) -> str:
    """The first line after the last "Answer:", without spaces at its ends and a full stop."""
    _, mark, rest = text.rpartition(_MARK)
    if not mark or not rest.strip():
        return ""
    return rest.strip().splitlines()[0].strip().rstrip(".").strip()[:_MAX_CHARACTERS]


def _items_of(kind: str, make: Maker, each: int, drawn: random.Random) -> list[Item]:
    """So many questions of a kind, each asked after the same examples of it."""
    shown = [turn for _ in range(_SHOWN) for turn in _example(*make(drawn))]
    made = []
    for _ in range(each):
        question, *_working, answer = make(drawn)
        made.append(Item(kind, [*shown, {"role": "user", "content": question}], answer))
    return made


def _example(question: str, *told: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": " ".join(told)}]


def _sum(drawn: random.Random) -> tuple[str, ...]:
    first, second = drawn.randint(1, 9), drawn.randint(1, 9)
    return f"What is {first} + {second}?", str(first + second)


def _last_of_list(drawn: random.Random) -> tuple[str, ...]:
    words = drawn.sample(_WORDS, 3)
    return f"What is the last word of this list: {', '.join(words)}?", words[-1]


def _copy(drawn: random.Random) -> tuple[str, ...]:
    words = " ".join(drawn.sample(_WORDS, 3))
    return f"Repeat exactly: {words}", words


def _copy_list(drawn: random.Random) -> tuple[str, ...]:
    words = ", ".join(drawn.sample(_MORE_WORDS, _LISTED))
    return f"Copy this list: {words}", words


def _reverse(drawn: random.Random) -> tuple[str, ...]:
    words = drawn.sample(_MORE_WORDS, _LISTED)
    return f"Reverse this list: {', '.join(words)}", ", ".join(words[::-1])


def _sort(drawn: random.Random) -> tuple[str, ...]:
    words = drawn.sample(_MORE_WORDS, _LISTED)
    return f"Sort this list by the alphabet: {', '.join(words)}", ", ".join(sorted(words))


def _replace(drawn: random.Random) -> tuple[str, ...]:
    *words, new = drawn.sample(_MORE_WORDS, _LISTED + 1)
    old = drawn.choice(words)
    replaced = [new if word == old else word for word in words]
    return f"Replace {old} by {new} in this list: {', '.join(words)}", ", ".join(replaced)


def _long_sum(drawn: random.Random) -> tuple[str, ...]:
    a, b, c = (drawn.randint(1, 9) for _ in range(3))
    working = f"{a} + {b} = {a + b}. {a + b} + {c} = {a + b + c}. {_MARK}"
    return f"What is {a} + {b} + {c}?", working, str(a + b + c)


def _second_of_list(drawn: random.Random) -> tuple[str, ...]:
    words = drawn.sample(_WORDS, 3)
    working = f"The first word is {words[0]}. The second word is {words[1]}. {_MARK}"
    return f"What is the second word of this list: {', '.join(words)}?", working, words[1]


def _long_copy(drawn: random.Random) -> tuple[str, ...]:
    words = " ".join(drawn.sample(_WORDS, 2))
    return f"Repeat exactly: {words}", f"I repeat the words. {_MARK}", words


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
            question = encode(_WHERE.format(place=place))
            room = max(0, round(longest * share) - around - len(fact) - len(question))
            text = (words * (1 + room // len(words)))[:room]
            at = round(depth * room)
            yield Needle(metric, [*text[:at], *fact, *text[at:], *question], code)


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

_NAMES = ["count", "items", "result", "value", "index", "limit", "offset", "length", "weight"]
_QUESTIONS = (
    "What would you pack for a week in the mountains, and why?",
    "Tell me about a machine that changed how people live.",
    "How would you explain the tides to a child?",
    "What makes a city pleasant to walk in?",
    "Describe a meal that you would cook for ten guests.",
    "Which animal would you like to understand better, and what would you ask it?",
    "How do people keep time without clocks?",
    "What should a school teach that it rarely does?",
)


def request_for(content: str, index: int) -> str:
    """The words of request `index`: no two are the same. `content` is "repeat", "edit" or "chat"."""
    if content == "repeat":
        passage = " ".join(PASSAGES[(index + step) % len(PASSAGES)] for step in range(4))
        return f"Repeat this text word by word. Text {index + 1}:\n\n{passage}"
    if content == "edit":
        return f"Write this code again with `total` renamed to `amount`:\n\n{_code(index)}"
    told = " ".join(PASSAGES[(index * 3 + step) % len(PASSAGES)] for step in range(2))
    return f"{_QUESTIONS[index % len(_QUESTIONS)]} (Question {index + 1}.) {told}"


def _code(index: int) -> str:
    """A function of some lines that sums what it is given, with names of its own."""
    first, second = _NAMES[index % 9], _NAMES[(index + 4) % 9]
    return (
        f"def add_{first}_{index + 1}(rows, {second}):\n"
        f"    total = 0\n"
        f"    for row in rows:\n"
        f"        if row.{first} > {second}:\n"
        f"            total = total + row.{first}\n"
        f"        else:\n"
        f"            total = total + {second}\n"
        f"    print('total of {first}', total)\n"
        f"    return total\n"
    )
