"""A session that reads of a prompt what its cache does not hold yet: how runtimes keep a conversation from turn to
turn, and how a draft follows a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgebench.errors import UnsupportedError
from edgebench.generation import Choose, GenerationSession, Logits, Prompts, Wrapped


class KeptPrefix(Wrapped):
    """A decoder of one sequence whose `stream` keeps what the prompt has in common with the text before it.

    Every other call is the decoder's own: `prefill` reads all of its prompt. Raises UnsupportedError for a decoder
    that forgets no tokens.
    """

    def __init__(self, session: GenerationSession) -> None:
        if not session.rewinds:
            raise UnsupportedError(
                "keeping what was read needs a decoder that reads several tokens of one sequence and forgets some again",
                "leave it out, or use --backend ort --set batch=1 with a GGUF file",
            )
        super().__init__(session)
        self._held: list[int] = []  # what the cache holds
        self.kept = 0  # tokens of the last text that were not read anew

    def read(self, text: Sequence[int]) -> Logits:
        """The logits after the text, of which as much is read as is not held: one token at least."""
        alike = common_length(self._held, text[:-1])
        self.kept = alike
        if alike == 0:
            return self._row(self.prefill([text]))
        if alike < len(self._held):
            self.rewind(len(self._held) - alike)
        rest = text[alike:]
        if len(rest) == 1:
            return self._row(self.step(rest))
        row: Logits = self.read_on(rest)[0]
        return row

    def _row(self, raw: Any) -> Logits:
        row: Logits = self.logits(raw)[0]
        return row

    def stream(
        self, prompts: Prompts, choose: Choose | None = None, most: int | None = None
    ) -> Iterator[list[int]]:
        row, plain = self.read(prompts[0]), self.plain
        tokens = [int(row.argmax())] if choose is None else choose(row[None])
        for left in range(self.room_for(prompts, most), 0, -1):
            yield tokens
            if left > 1:
                raw = plain.step(tokens)
                self._held += tokens
                tokens = plain.greedy(raw) if choose is None else choose(plain.logits(raw))

    def prefill(self, prompts: Prompts) -> Any:
        raw = super().prefill(prompts)
        self._held = list(prompts[0])
        return raw

    def step(self, tokens: Sequence[int]) -> Any:
        raw = super().step(tokens)
        self._held += tokens
        return raw

    def extend(self, tokens: Sequence[int]) -> Logits:
        rows = super().extend(tokens)
        self._held += tokens
        return rows

    def read_on(self, tokens: Sequence[int]) -> Logits:
        last = super().read_on(tokens)
        self._held += tokens
        return last

    def rewind(self, count: int) -> None:
        super().rewind(count)
        del self._held[len(self._held) - count :]

    def score(self, tokens: Sequence[int]) -> Logits:
        self._held = []
        return super().score(tokens)

    def reset(self) -> None:
        self._held = []
        super().reset()


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
