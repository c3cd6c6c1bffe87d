"""A decoder and its problems whose accuracy and cost are known by construction.

It writes for a while, then "=" and one digit: the right one with a stated chance, else another. So the
accuracy at every budget and for every number of votes has a formula, and so has the time: what a
prompt of P tokens and a step at a context cost is spent on an injected clock. It proves test-time scaling
from the measuring loop to the fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgebench.generation import GenerationSession, Logits, Prompts, check_prompts, check_step
from edgebench.task import Attempts, Conversation, GenerationTask, Question, TaskContext

#: Tokens 0 to 9 are digits.
_MARK, _FILLER, _END = 10, 11, 12
_VOCABULARY = 13
_NEVER = -1e9


@dataclass(frozen=True)
class Cost:
    """In nanoseconds: a*P^2 + b*P + c of a prompt of `pad`*ceil(tokens/pad), n + m*context of a step."""

    a: float = 40.0
    b: float = 90_000.0
    c: float = 3_000_000.0
    n: float = 8_000_000.0
    m: float = 2_500.0
    pad: int = 128


class SyntheticSession(GenerationSession):
    """Prompts are `problem_prompt(...)`; answers follow from them and from the sampler's draws."""

    vocabulary = _VOCABULARY

    def __init__(
        self,
        chance: float,
        cost: Cost,
        spend: Callable[[int], None],
        *,
        wrong: int = 9,
        width: int = 1,
        positions: int = 4096,
    ) -> None:
        self.width, self.positions = width, positions
        self._chance, self._cost, self._spend, self._wrong = chance, cost, spend, wrong
        self._prompts: Prompts = []
        self._written: list[list[int]] = []

    def prefill(self, prompts: Prompts) -> list[Logits]:
        length = check_prompts(prompts, self.width, self.positions)
        self._prompts, self._written = prompts, [[] for _ in prompts]
        cost = self._cost
        padded = cost.pad * math.ceil(length / cost.pad)
        self._spend(round(cost.a * padded**2 + cost.b * padded + cost.c))
        return self._rows()

    def step(self, tokens: Sequence[int]) -> list[Logits]:
        used = len(self._prompts[0]) + len(self._written[0]) if self._prompts else 0
        check_step(tokens, self.width, used, self.positions)
        for written, token in zip(self._written, tokens, strict=True):
            written.append(token)
        self._spend(round(self._cost.n + self._cost.m * (used + 1)))
        return self._rows()

    def _rows(self) -> list[Logits]:
        return [self._row(*pair) for pair in zip(self._prompts, self._written, strict=True)]

    def _row(self, prompt: Sequence[int], written: Sequence[int]) -> Logits:
        """log of the chances, so that a sampler of temperature 1 draws with them."""
        right, thinking = prompt[0], prompt[1]
        row = np.full(_VOCABULARY, _NEVER, dtype=np.float32)
        if len(written) < thinking:
            row[_FILLER] = 0.0
        elif len(written) == thinking:
            row[_MARK] = 0.0
        elif len(written) == thinking + 1:
            row[right] = math.log(self._chance)
            others = [(right + step) % 10 for step in range(1, self._wrong + 1)]
            row[others] = math.log((1 - self._chance) / self._wrong)
        else:
            row[_END] = 0.0
        return row

    def logits(self, raw: Any) -> Logits:
        rows: Logits = np.stack(raw)
        return rows

    def reset(self) -> None:
        self._prompts, self._written = [], []

    def kv_cache_bytes(self) -> int | None:
        return None

    def effective(self) -> Any:
        raise NotImplementedError("a synthetic sampler is no deployment")


def problem_prompt(right: int, thinking: int, tokens: int) -> list[int]:
    """A prompt whose answer is the digit `right`, known after `thinking` tokens, the mark and itself."""
    return [right, thinking, *[_FILLER] * (tokens - 2)]


class SyntheticTask(GenerationTask):
    """`thinking`: of each problem, how many tokens come before the answer."""

    metrics = {}  # noqa: RUF012 - nothing is judged

    def __init__(
        self, thinking: Sequence[int], samples: int, budget: int, prompt: int = 100
    ) -> None:
        super().__init__(TaskContext())
        self._asked = Attempts(
            [
                Question("digit", problem_prompt(number % 10, length, prompt), str(number % 10))
                for number, length in enumerate(thinking)
            ],
            samples,
            budget,
            frozenset({_END}),
        )

    def __len__(self) -> int:
        return len(self._asked.questions)

    @property
    def positions(self) -> int:
        return 4096

    @property
    def ends(self) -> frozenset[int]:
        return frozenset()

    @property
    def temperature(self) -> float:
        return 1.0

    def attempts(self, prompt_tokens: int) -> Attempts:
        return self._asked

    def answer(self, text: str) -> str:
        _, mark, answer = text.partition("=")
        return answer if mark else ""

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join("0123456789=."[token] for token in tokens)

    def conversation(self, index: int) -> Conversation:
        return Conversation([{"role": "user", "content": str(index)}])

    def encode(self, conversation: Conversation, tokens: int) -> list[int]:
        return problem_prompt(int(conversation.messages[0]["content"]) % 10, 4, tokens)

    def reference(self, session: GenerationSession) -> dict[str, Any]:
        return {}

    def judge(self, session: GenerationSession) -> dict[str, float]:
        return {}
