"""The seam between edgebench and a runtime that generates text, beside the plain one (`backend.py`).

A generation session is one decoder loaded with one set of options and room for its cache. A request is
a prefill of the prompts and then one step per token; `stream` is the two put together, and is what the
measuring loop holds its clock to. Nothing of one request may reach the next: `prefill` begins anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from edgebench.errors import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.backend import Effective, ModelFile

Logits: TypeAlias = "NDArray[Any]"  # float32, (width, vocabulary)
Prompts: TypeAlias = Sequence[Sequence[int]]  # of one length, `width` of them
#: Picks one token for each sequence.
Choose: TypeAlias = Callable[[Logits], list[int]]


@dataclass(frozen=True)
class Room:
    """Holds what a generation session must have room for, known before it is opened."""

    width: int = 1  # sequences side by side
    positions: int = 512  # tokens of each of them, prompt and answer together


class GenerationSession(ABC):
    """A decoder loaded in a runtime. Not thread-safe; closed by `close`.

    All `width` sequences advance together: their prompts have one length, and each step takes one
    token of every sequence.
    """

    vocabulary: int  # length of a row of logits
    width: int
    positions: int  # the cache's room: prompt and answer of one sequence together

    @abstractmethod
    def prefill(self, prompts: Prompts) -> Any:
        """Begins a request: forgets whatever came before and reads `width` prompts of one length.

        Returns what `greedy` and `logits` take: the logits after the last token of each prompt, as
        the runtime has them; good until the next call of `prefill`, `step` or `score`.
        Raises ValueError for other than `width` prompts, for empty ones, for lengths
        that differ, and where they are longer than `positions`.
        """

    @abstractmethod
    def step(self, tokens: Sequence[int]) -> Any:
        """Feeds one token of each sequence; returns the logits after it, as `prefill` does.

        Raises ValueError where there is no prompt before it, or `positions` are used up.
        """

    @abstractmethod
    def logits(self, raw: Any) -> Logits:
        """The logits as numpy has them, float32 (width, vocabulary); safe to keep."""

    def greedy(self, raw: Any) -> list[int]:
        """The most likely token of each sequence; the first of equals. Complete when it returns."""
        return [int(token) for token in self.logits(raw).argmax(axis=-1)]

    def stream(
        self, prompts: Prompts, choose: Choose | None = None, most: int | None = None
    ) -> Iterator[list[int]]:
        """A request, token by token: yields one token of each sequence as soon as it is known.

        Ends after `most` tokens, and when `positions` are used up; the consumer may stop earlier. No
        step is made for a token beyond these. `choose=None` is greedy. A runtime that works ahead
        while a token is being read overrides this.
        """
        raw = self.prefill(prompts)
        for left in range(self.room_for(prompts, most), 0, -1):
            tokens = self.greedy(raw) if choose is None else choose(self.logits(raw))
            yield tokens
            if left > 1:
                raw = self.step(tokens)

    def room_for(self, prompts: Prompts, most: int | None) -> int:
        """Tokens that a stream yields at most: the last one needs no place in the cache."""
        room = self.positions - len(prompts[0]) + 1
        return room if most is None else min(most, room)

    def score(self, tokens: Sequence[int]) -> Logits:
        """Logits after each token of one text, float32 (len(tokens), vocabulary).

        This one goes token by token; a runtime that can give all at once overrides it. Forgets
        whatever came before.
        """
        import numpy as np

        rows = [self.logits(self.prefill([tokens[:1]] * self.width))[0]]
        rows += [self.logits(self.step([token] * self.width))[0] for token in tokens[1:]]
        return np.stack(rows)

    #: Whether `extend` and `rewind` work: what speculation and conversations need.
    rewinds: bool = False

    def extend(self, tokens: Sequence[int]) -> Logits:
        """Feeds several tokens of the one sequence at once, `width` being 1; logits after each of them, float32
        (len(tokens), vocabulary), good until the next call.

        Raises ValueError where there is no prompt before them, or `positions` do not suffice.
        """
        raise NotImplementedError

    def read_on(self, tokens: Sequence[int]) -> Logits:
        """As `extend`, for a reader of the last logits alone: float32 (1, vocabulary)."""
        last: Logits = self.extend(tokens)[-1:]
        return last

    def rewind(self, count: int) -> None:
        """Forgets the last `count` tokens of the request: the next call goes on before them."""
        raise NotImplementedError

    @abstractmethod
    def reset(self) -> None:
        """Forgets the request; the next call must be `prefill` (or `score`)."""

    @abstractmethod
    def kv_cache_bytes(self) -> int | None:
        """Bytes of the cache of keys and values as it is held now; None: the runtime does not tell."""

    def kv_used_bytes(self) -> int | None:
        """Bytes of the cache that tokens of the request take now; None: the runtime does not tell."""
        return None

    @abstractmethod
    def effective(self) -> Effective:
        """Facts read back from the runtime. Called after memory was read: it may be expensive.

        `options` tells `kv_cache` (the cache's element type, as "fp32", "fp16") beside the options.
        """

    def arena_bytes(self) -> int | None:
        """Bytes the runtime's own allocator holds, or None where it does not tell."""
        return None

    def device_memory(self) -> tuple[int | None, str]:
        """Returns what `Session.device_memory` does: bytes in a device's own memory and their source."""
        return None, ""

    def close(self) -> None:  # noqa: B027 - most runtimes need nothing
        """Frees the session."""


@dataclass(frozen=True)
class Drafting:
    """How a runtime is asked to speculate by its own means: by a look-up, or by a decoder that drafts."""

    draft_tokens: int  # at most, before they are verified
    lookup: int = 0  # tokens that a look-up compares; 0: a decoder drafts
    draft: ModelFile | None = None


@dataclass(frozen=True)
class DraftCounts:
    """What a runtime's own speculation took for one request."""

    steps: int  # of the decoder, the reading of the prompt included
    accepted: int
    drafted: int | None = None  # None: the runtime does not tell


class OwnSpeculation(ABC):
    """A decoder that drafts and verifies inside its runtime: it shows tokens, and no logits."""

    counts: DraftCounts  # of the last stream

    @abstractmethod
    def stream(self, prompt: Sequence[int], most: int) -> Iterator[int]:
        """A request of its own: so many greedy tokens, each as soon as the runtime gives it. An end of text does not
        end it; the consumer may stop earlier."""

    @abstractmethod
    def close(self) -> None:
        """Frees the decoder, and the one that drafts."""


class Wrapped(GenerationSession):
    """A session that is another one in all that a subclass does not override."""

    def __init__(self, session: GenerationSession) -> None:
        self.plain = session
        self.vocabulary = session.vocabulary
        self.width = session.width
        self.positions = session.positions
        self.rewinds = session.rewinds

    def prefill(self, prompts: Prompts) -> Any:
        return self.plain.prefill(prompts)

    def step(self, tokens: Sequence[int]) -> Any:
        return self.plain.step(tokens)

    def extend(self, tokens: Sequence[int]) -> Logits:
        return self.plain.extend(tokens)

    def read_on(self, tokens: Sequence[int]) -> Logits:
        return self.plain.read_on(tokens)

    def rewind(self, count: int) -> None:
        self.plain.rewind(count)

    def stream(
        self, prompts: Prompts, choose: Choose | None = None, most: int | None = None
    ) -> Iterator[list[int]]:
        return self.plain.stream(prompts, choose, most)

    def score(self, tokens: Sequence[int]) -> Logits:
        return self.plain.score(tokens)

    def logits(self, raw: Any) -> Logits:
        return self.plain.logits(raw)

    def greedy(self, raw: Any) -> list[int]:
        return self.plain.greedy(raw)

    def reset(self) -> None:
        self.plain.reset()

    def kv_cache_bytes(self) -> int | None:
        return self.plain.kv_cache_bytes()

    def kv_used_bytes(self) -> int | None:
        return self.plain.kv_used_bytes()

    def effective(self) -> Effective:
        return self.plain.effective()

    def arena_bytes(self) -> int | None:
        return self.plain.arena_bytes()

    def device_memory(self) -> tuple[int | None, str]:
        return self.plain.device_memory()

    def close(self) -> None:
        self.plain.close()


class Watched(Wrapped):
    """A session that calls `before` ahead of each prefill, step, token of a stream and score: to show that
    it lives, or to end what takes too long by an exception."""

    def __init__(self, session: GenerationSession, before: Callable[[], object]) -> None:
        super().__init__(session)
        self._before = before

    def prefill(self, prompts: Prompts) -> Any:
        self._before()
        return self.plain.prefill(prompts)

    def step(self, tokens: Sequence[int]) -> Any:
        self._before()
        return self.plain.step(tokens)

    def extend(self, tokens: Sequence[int]) -> Logits:
        self._before()
        return self.plain.extend(tokens)

    def read_on(self, tokens: Sequence[int]) -> Logits:
        self._before()
        return self.plain.read_on(tokens)

    def stream(
        self, prompts: Prompts, choose: Choose | None = None, most: int | None = None
    ) -> Iterator[list[int]]:
        self._before()
        for tokens in self.plain.stream(prompts, choose, most):
            yield tokens
            self._before()

    def score(self, tokens: Sequence[int]) -> Logits:
        self._before()
        return self.plain.score(tokens)


def check_room(room: Room, trained: int) -> None:
    """Checks that a model was trained for so many positions. Raises UnsupportedError."""
    if room.positions > trained:
        raise UnsupportedError(
            f"{room.positions} positions are more than the {trained} of this model",
            "ask for shorter prompts or fewer new tokens",
        )


def check_prompts(prompts: Prompts, width: int, positions: int) -> int:
    """Checks the prompts of `prefill` and returns their common length in tokens. Raises ValueError."""
    if len(prompts) != width:
        raise ValueError(f"{len(prompts)} prompts for a session of width {width}")
    lengths = {len(prompt) for prompt in prompts}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"prompts must have one length of 1 or more, got {sorted(lengths)}")
    (length,) = lengths
    if length > positions:
        raise ValueError(f"a prompt of {length} tokens in a cache of {positions} positions")
    return length


def check_step(tokens: Sequence[int], width: int, used: int, positions: int) -> None:
    """Checks the tokens of `step`, where `used` positions of the cache are taken. Raises ValueError."""
    if len(tokens) != width:
        raise ValueError(f"{len(tokens)} tokens for a session of width {width}")
    if used == 0:
        raise ValueError("a step needs a prompt before it")
    if used >= positions:
        raise ValueError(f"all {positions} positions of the cache are used")


def check_extension(count: int, width: int, used: int, positions: int) -> None:
    """Checks what `extend` is given, where `used` positions of the cache are taken. Raises ValueError."""
    if width != 1:
        raise ValueError(f"several tokens at once are for one sequence, not {width}")
    if count < 1 or used == 0:
        raise ValueError("an extension needs a token, and a prompt before it")
    if used + count > positions:
        raise ValueError(f"{used} + {count} tokens in a cache of {positions} positions")


def check_rewind(count: int, used: int) -> None:
    """Checks that a prompt is left after `rewind`. Raises ValueError."""
    if not 0 <= count < used:
        raise ValueError(f"{count} of {used} tokens cannot be forgotten")
