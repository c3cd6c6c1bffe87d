"""What backends of decoders share: a backend of GGUF files alone, and sessions that count the tokens in their cache."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from edgebench.backend import (
    Backend,
    Capabilities,
    ModelFile,
    Ready,
    Scalar,
    Session,
    Unavailable,
    availability_of,
)
from edgebench.errors import UnsupportedError
from edgebench.generation import (
    GenerationSession,
    Room,
    check_prompts,
    check_rewind,
    check_step,
)

if TYPE_CHECKING:
    from edgebench.generation import Logits, Prompts


class GgufBackend(Backend):
    """A runtime of decoders of GGUF files. What it converts them to is the last of `generation.formats`."""

    title: ClassVar[str]
    distribution: ClassVar[str]
    install: ClassVar[str]  # the command that installs it
    generation: ClassVar[Capabilities]

    def availability(self) -> Ready | Unavailable:
        return availability_of(self.distribution, self.distribution, self.install)

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
        raise UnsupportedError(f"{self.title} runs decoders of GGUF files only")

    def converts(self, model: ModelFile, options: Mapping[str, Scalar]) -> bool:
        return model.format == "gguf" and self.generation.formats[-1] != "gguf"

    def open_generation(
        self, model: ModelFile, options: Mapping[str, Scalar], room: Room
    ) -> GenerationSession:
        self.generation.check(model, options)
        if model.format != self.generation.formats[-1]:
            raise UnsupportedError(f"{model.path.name} was not converted")
        return self._opened(model, options, room)

    @abstractmethod
    def _opened(
        self, model: ModelFile, options: Mapping[str, Scalar], room: Room
    ) -> GenerationSession:
        """The session of a model and of options that were checked."""


class CountingSession(GenerationSession):
    """Checks every call by the number of tokens in the cache, which it counts; a subclass feeds the runtime."""

    def __init__(self, room: Room) -> None:
        self.width, self.positions = room.width, room.positions
        self._used = 0

    @abstractmethod
    def _fed(self, rows: Prompts) -> Any:
        """Feeds each sequence its row behind the `_used` tokens; returns what `prefill` and `step` do."""

    def prefill(self, prompts: Prompts) -> Any:
        length = check_prompts(prompts, self.width, self.positions)
        self.reset()
        raw = self._fed(prompts)
        self._used = length
        return raw

    def step(self, tokens: Sequence[int]) -> Any:
        check_step(tokens, self.width, self._used, self.positions)
        raw = self._fed([[token] for token in tokens])
        self._used += 1
        return raw

    def rewind(self, count: int) -> None:
        check_rewind(count, self._used)
        self._used -= count

    def logits(self, raw: Any) -> Logits:
        import numpy as np

        return np.array(raw, np.float32)

    def greedy(self, raw: Any) -> list[int]:
        tokens: list[int] = raw.argmax(axis=-1).tolist()
        return tokens

    def reset(self) -> None:
        self._used = 0


class ScoringSession(CountingSession):
    """A session of a runtime that gives the logits after all tokens of a call at once."""

    @abstractmethod
    def _every(self, rows: Prompts) -> Any:
        """Does what `_fed` does; returns the logits after each token, (width, tokens, vocabulary)."""

    def _fed(self, rows: Prompts) -> Any:
        return self._every(rows)[:, -1]

    def score(self, tokens: Sequence[int]) -> Logits:
        check_prompts([tokens], 1, self.positions)
        self.reset()
        logits = self.logits(self._every([tokens] * self.width)[0])
        self.reset()
        return logits
