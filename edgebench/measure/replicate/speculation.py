"""Speculative decoding: tokens that something cheap drafts are verified by one step of the decoder.

Greedy alone: a drafted token is accepted where it is the decoder's own choice, so the answer is token by token that
of plain decoding (Leviathan et al. 2023). The draft here is a look-up of what followed the same words before (prompt lookup,
Saxena 2023), which needs no second model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from edgebench.errors import UnsupportedError
from edgebench.generation import Choose, GenerationSession, Logits, Prompts
from edgebench.record import Speculated


class Drafter(Protocol):
    """Guesses how a text goes on."""

    def draft(self, text: Sequence[int], most: int) -> list[int]:
        """At most so many tokens after `text`; none where it has no guess."""
        ...


class PromptLookup:
    """What followed the last time that the text's last tokens stood in it; `longest` of them, else fewer."""

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def draft(self, text: Sequence[int], most: int) -> list[int]:
        for length in range(min(self._longest, len(text) - 1), 0, -1):
            ending = list(text[-length:])
            for start in range(len(text) - length - 1, -1, -1):
                if list(text[start : start + length]) == ending:
                    return list(text[start + length : start + length + most])
        return []


class Speculative(GenerationSession):
    """A session whose `stream` drafts and verifies; every other call is the decoder's own.

    Raises UnsupportedError for a decoder that cannot forget what it rejects, or of several sequences.
    """

    def __init__(self, session: GenerationSession, drafter: Drafter, draft_tokens: int) -> None:
        if not session.rewinds:
            raise UnsupportedError(
                "speculation needs a decoder that reads several tokens of one sequence and forgets some again",
                "leave lookup out, or use --backend ort --set batch=1 with a GGUF file",
            )
        self.plain = session
        self._drafter, self._draft_tokens = drafter, draft_tokens
        self.vocabulary, self.width = session.vocabulary, session.width
        self.positions, self.rewinds = session.positions, True
        self.last = Speculated(steps=0, drafted=0, accepted=0)  # of the last stream

    def stream(
        self, prompts: Prompts, choose: Choose | None = None, most: int | None = None
    ) -> Iterator[list[int]]:
        """Greedy tokens as they are known: those of one step come at once."""
        if choose is not None:
            raise UnsupportedError("speculation is greedy", "leave lookup out, or temperature: 0.0")
        room = self.room_for(prompts, most)
        token = self.plain.greedy(self.plain.prefill(prompts))[0]
        text = [*prompts[0], token]
        steps, drafted, accepted = 1, 0, 0
        self.last = Speculated(steps=steps, drafted=drafted, accepted=accepted)
        yield [token]
        left = room - 1
        while left > 0:
            guess = self._drafter.draft(text, min(self._draft_tokens, left - 1))
            new = self._verified(text[-1], guess)
            steps, drafted, accepted = steps + 1, drafted + len(guess), accepted + len(new) - 1
            self.last = Speculated(steps=steps, drafted=drafted, accepted=accepted)
            text += new
            left -= len(new)
            for token in new:
                yield [token]

    def _verified(self, token: int, guess: Sequence[int]) -> list[int]:
        """The guessed tokens that are the decoder's own choice, and its choice after them."""
        if not guess:
            return self.plain.greedy(self.plain.step([token]))
        own = [int(chosen) for chosen in self.plain.extend([token, *guess]).argmax(axis=-1)]
        right = next((n for n, each in enumerate(guess) if each != own[n]), len(guess))
        self.plain.rewind(len(guess) - right)
        return own[: right + 1]

    def prefill(self, prompts: Prompts) -> Any:
        return self.plain.prefill(prompts)

    def step(self, tokens: Sequence[int]) -> Any:
        return self.plain.step(tokens)

    def extend(self, tokens: Sequence[int]) -> Logits:
        return self.plain.extend(tokens)

    def rewind(self, count: int) -> None:
        self.plain.rewind(count)

    def logits(self, raw: Any) -> Logits:
        return self.plain.logits(raw)

    def greedy(self, raw: Any) -> list[int]:
        return self.plain.greedy(raw)

    def score(self, tokens: Sequence[int]) -> Logits:
        return self.plain.score(tokens)

    def reset(self) -> None:
        self.plain.reset()

    def kv_cache_bytes(self) -> int | None:
        return self.plain.kv_cache_bytes()

    def effective(self) -> Any:
        return self.plain.effective()

    def arena_bytes(self) -> int | None:
        return self.plain.arena_bytes()

    def device_memory(self) -> tuple[int | None, str]:
        return self.plain.device_memory()

    def close(self) -> None:
        self.plain.close()
