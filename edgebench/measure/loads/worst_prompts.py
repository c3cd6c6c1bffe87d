"""Candidates of a search for the prompt that takes longest: all of one length, the template around them intact.

What a request takes follows from how far its answer goes: until the model ends it, up to the tokens that are asked for.
Speculation and experts make the content matter beyond that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from edgebench.generation import Prompts
from edgebench.measure.loads.worst_inputs import Effort
from edgebench.measure.replicate.kept_prefix import common_length

KINDS = ("item", "other item", "any tokens", "one token", "other order")
#: A request takes long: fewer are tried, and timed, at least.
EFFORT = Effort(least=8, confirming=3)
ITEMS = 4
#: Where the prompts of other items begin, far from those that requests are timed with.
OTHERS, MAX_OTHERS = 20_000, 80_000


class PromptCandidates:
    """Prompts by their seeds. `prompts_at`: the task's prompts by their number; `vocabulary`: the number of tokens
    that there are."""

    def __init__(
        self, items: Sequence[Prompts], prompts_at: Callable[[int], Prompts], vocabulary: int
    ) -> None:
        self._made = [[list(tokens) for tokens in prompts] for prompts in items]
        self._prompts_at = prompts_at
        self._vocabulary = vocabulary
        self._head, self._tail = _template([tokens for each in self._made for tokens in each])
        self.items = len(items)

    def kind_of(self, seed: int) -> str:
        return KINDS[0] if seed < self.items else KINDS[1 + seed % (len(KINDS) - 1)]

    def make(self, seed: int) -> Prompts:
        kind = self.kind_of(seed)
        if kind == "item":
            return self._made[seed]
        if kind == "other item":
            return self._prompts_at(OTHERS + seed % MAX_OTHERS)
        drawn = random.Random(seed)
        return [self._changed(kind, tokens, drawn) for tokens in self._made[seed % self.items]]

    def _changed(self, kind: str, tokens: list[int], drawn: random.Random) -> list[int]:
        """The same template around another text of the same length."""
        end = len(tokens) - self._tail
        text = tokens[self._head : end]
        if kind == "any tokens":
            text = [drawn.randrange(self._vocabulary) for _ in text]
        elif kind == "one token":
            text = [drawn.choice(text)] * len(text) if text else []
        else:
            drawn.shuffle(text)
        return [*tokens[: self._head], *text, *tokens[end:]]


def _template(prompts: Sequence[list[int]]) -> tuple[int, int]:
    """How many tokens all prompts have in common at their start, and at their end; a single prompt has no template
    that could be told apart."""
    if len(prompts) < 2:
        return 0, 0
    first, *others = prompts
    head = min(common_length(first, each) for each in others)
    tail = min(common_length(first[::-1], each[::-1]) for each in others)
    return head, min(tail, min(map(len, prompts)) - head)
