"""Speculative decoding: tokens that something cheap drafts are verified by one step of the decoder.

Greedy alone: a drafted token is accepted where it is the decoder's own choice, so the answer is token by token that
of plain decoding (Leviathan et al. 2023). The draft is a look-up of what followed the same words before (prompt
lookup, Saxena 2023), or what a smaller decoder says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np

from edgebench.errors import UnsupportedError
from edgebench.generation import (
    Choose,
    GenerationSession,
    Logits,
    OwnSpeculation,
    Prompts,
    Room,
    Wrapped,
)
from edgebench.measure.replicate.kept_prefix import KeptPrefix
from edgebench.record import Speculated


class Drafter(Protocol):
    """Guesses how a text goes on."""

    def draft(self, text: Sequence[int], most: int) -> list[int]:
        """At most so many tokens after `text`; none where it has no guess. The same object again is the same text
        grown at its end."""
        ...

    def close(self) -> None:
        """Frees what it holds."""
        ...


class PromptLookup:
    """What followed the last time that the text's last tokens stood in it; `longest` of them, else fewer."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._text: Sequence[int] = ()
        self._letters = ""  # one for each token: text is searched faster than lists

    def draft(self, text: Sequence[int], most: int) -> list[int]:
        # A text is spelt once: of the one that was asked for last, only what came since is new.
        known = len(self._letters) if text is self._text else 0
        letters = self._letters[:known] + "".join(map(chr, text[known:]))
        self._text, self._letters = text, letters
        for length in range(min(self._longest, len(text) - 1), 0, -1):
            found = letters.rfind(letters[-length:], 0, len(letters) - 1)
            if found >= 0:
                return list(text[found + length : found + length + most])
        return []

    def close(self) -> None:
        """It holds nothing."""


class ModelDraft:
    """What a smaller decoder of the same vocabulary says. It stops before a token that it gives less than
    `confidence` (SpecDec++'s threshold, Huang et al. 2024); 0 never stops it."""

    def __init__(self, session: GenerationSession, confidence: float = 0.0) -> None:
        self.session = KeptPrefix(session)
        self._confidence = confidence

    def draft(self, text: Sequence[int], most: int) -> list[int]:
        guess: list[int] = []
        row = self.session.read(text) if most else None
        while row is not None and len(guess) < most:
            token = int(row.argmax())
            if self._confidence and _probability(row, token) < self._confidence:
                break
            guess.append(token)
            if len(guess) < most:
                row = self.session.logits(self.session.step([token]))[0]
        return guess

    def close(self) -> None:
        self.session.close()


def _probability(logits: Logits, token: int) -> float:
    values = np.asarray(logits, np.float64)
    return float(1 / np.exp(values - values[token]).sum())


class Speculating(Wrapped):
    """A session whose `stream` drafts and verifies; every other call is the decoder's own."""

    @property
    def last(self) -> Speculated:
        """What the last stream took."""
        raise NotImplementedError


class RuntimeSpeculation(Speculating):
    """A session that answers by its runtime's own speculation. The decoder of its other calls is the same model
    opened plainly, when it is first asked for: behind the window, where it is no part of what was measured."""

    def __init__(
        self, own: OwnSpeculation, open_plain: Callable[[], GenerationSession], room: Room
    ) -> None:
        self._own, self._open_plain = own, open_plain
        self.width, self.positions, self.rewinds = room.width, room.positions, False

    @cached_property
    def plain(self) -> GenerationSession:  # type: ignore[override]
        return self._open_plain()

    @cached_property
    def vocabulary(self) -> int:  # type: ignore[override]
        return self.plain.vocabulary

    @property
    def last(self) -> Speculated:
        counts = self._own.counts
        return Speculated(steps=counts.steps, drafted=counts.drafted, accepted=counts.accepted)

    def stream(
        self, prompts: Prompts, choose: Choose | None = None, most: int | None = None
    ) -> Iterator[list[int]]:
        _check_greedy(choose)
        for token in self._own.stream(prompts[0], self.room_for(prompts, most)):
            yield [token]

    def kv_cache_bytes(self) -> int | None:
        """Not told: it is inside the runtime's pipeline."""
        return None

    def arena_bytes(self) -> int | None:
        """Not told, likewise."""
        return None

    def device_memory(self) -> tuple[int | None, str]:
        return None, ""

    def close(self) -> None:
        self._own.close()
        if "plain" in self.__dict__:
            self.plain.close()


def _check_greedy(choose: Choose | None) -> None:
    if choose is not None:
        raise UnsupportedError(
            "speculation is greedy", "leave lookup and draft out, or temperature: 0.0"
        )


class Speculative(Speculating):
    """Raises UnsupportedError for a decoder that cannot forget what it rejects, or of several sequences."""

    def __init__(self, session: GenerationSession, drafter: Drafter, draft_tokens: int) -> None:
        if not session.rewinds:
            raise UnsupportedError(
                "speculation needs a decoder that reads several tokens of one sequence and forgets some again",
                "leave lookup and draft out, or use --backend ort --set batch=1 with a GGUF file",
            )
        super().__init__(session)
        self.drafter = drafter
        self._draft_tokens = draft_tokens
        self._counts = (0, 0, 0)

    @property
    def last(self) -> Speculated:
        steps, drafted, accepted = self._counts
        return Speculated(steps=steps, drafted=drafted, accepted=accepted)

    def stream(
        self, prompts: Prompts, choose: Choose | None = None, most: int | None = None
    ) -> Iterator[list[int]]:
        """Greedy tokens as they are known: those of one step come at once."""
        _check_greedy(choose)
        left = self.room_for(prompts, most) - 1
        token = self.plain.greedy(self.plain.prefill(prompts))[0]
        text = [*prompts[0], token]
        steps, drafted, accepted = self._counts = 1, 0, 0
        yield [token]
        while left > 0:
            guess = self.drafter.draft(text, min(self._draft_tokens, left - 1))
            new = self._verified(text[-1], guess)
            steps, drafted, accepted = steps + 1, drafted + len(guess), accepted + len(new) - 1
            self._counts = steps, drafted, accepted
            text += new
            left -= len(new)
            for token in new:
                yield [token]

    def _verified(self, token: int, guess: Sequence[int]) -> list[int]:
        """The guessed tokens that are the decoder's own choice, and its choice after them."""
        if not guess:
            return self.plain.greedy(self.plain.step([token]))
        rows = self.plain.extend([token, *guess])
        own: list[int] = []
        for row, guessed in zip(rows, (*guess, None), strict=True):
            own.append(int(row.argmax()))
            if own[-1] != guessed:  # no row behind it counts
                break
        self.plain.rewind(len(guess) + 1 - len(own))
        return own

    def close(self) -> None:
        self.drafter.close()
        self.plain.close()
