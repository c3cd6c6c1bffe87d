"""Problems whose answers take some writing: what more tokens and more samples bring is seen on them.

Each is asked after two worked examples of its kind, which end in "Answer: ...". A text that was cut
before those words has not answered.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_MARK = "Answer:"
_MAX_CHARACTERS = 60  # characters of an answer that are kept
_SHOWN = 2
_WORDS = ["apple", "river", "stone", "cloud", "table", "green", "horse", "paper", "winter", "bread"]


@dataclass(frozen=True)
class Problem:
    kind: str
    messages: Sequence[Mapping[str, str]]
    answer: str


def problems(each: int) -> list[Problem]:
    """Makes so many problems of each kind from a fixed seed, so that their answers are right by construction."""
    drawn = random.Random(11)
    return [problem for kind in _KINDS for problem in _of(kind, each, drawn)]


def answer_in(text: str) -> str:
    """The first line after the last "Answer:", without spaces at its ends and a full stop."""
    _, mark, rest = text.rpartition(_MARK)
    if not mark or not rest.strip():
        return ""
    return rest.strip().splitlines()[0].strip().rstrip(".").strip()[:_MAX_CHARACTERS]


def _of(kind: str, each: int, drawn: random.Random) -> list[Problem]:
    make = _KINDS[kind]
    shown = [turn for _ in range(_SHOWN) for turn in _worked(*make(drawn))]
    problems = []
    for _ in range(each):
        question, _, answer = make(drawn)
        problems.append(Problem(kind, [*shown, {"role": "user", "content": question}], answer))
    return problems


def _worked(question: str, working: str, answer: str) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": f"{working} {_MARK} {answer}"},
    ]


def _sum(drawn: random.Random) -> tuple[str, str, str]:
    a, b, c = (drawn.randint(1, 9) for _ in range(3))
    working = f"{a} + {b} = {a + b}. {a + b} + {c} = {a + b + c}."
    return f"What is {a} + {b} + {c}?", working, str(a + b + c)


def _second(drawn: random.Random) -> tuple[str, str, str]:
    words = drawn.sample(_WORDS, 3)
    working = f"The first word is {words[0]}. The second word is {words[1]}."
    return f"What is the second word of this list: {', '.join(words)}?", working, words[1]


def _copy(drawn: random.Random) -> tuple[str, str, str]:
    words = " ".join(drawn.sample(_WORDS, 2))
    return f"Repeat exactly: {words}", "I repeat the words.", words


_KINDS: dict[str, Callable[[random.Random], tuple[str, str, str]]] = {
    "sum": _sum,
    "list": _second,
    "copy": _copy,
}
