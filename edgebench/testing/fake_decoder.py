"""A runtime that generates text without a network: an n-gram sampler with a clock of its own.

Logits follow from the last two tokens and a seed alone. What a token costs is stated by the options and
goes to `spend`: a busy wait in a run, an injected clock in tests. Its answers are no answers of the
model, so that a quality check strikes every one of its rows.

    --backend edgebench.testing.fake_decoder:FakeDecoder
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from edgebench import __version__
from edgebench.backend import (
    Backend,
    Capabilities,
    Effective,
    ModelFile,
    Option,
    Ready,
    Scalar,
    Session,
)
from edgebench.errors import UnsupportedError
from edgebench.generation import GenerationSession, Room, check_prompts, check_step

if TYPE_CHECKING:
    from edgebench.generation import Logits, Prompts

#: Values of keys and values that the pretended cache holds for each position.
_CACHE_BYTES = 64

_OPTIONS = (
    Option("prefill_us", "float", 0.0, "time for each token of a prompt", minimum=0),
    Option("step_us", "float", 0.0, "time for each step", minimum=0),
    Option("seed", "int", 0, "of the n-grams", minimum=0),
    Option("spread", "float", 4.0, "standard deviation of the logits", minimum=0),
    Option("fail_after", "int", 0, "steps after which a step raises; 0: never", minimum=0),
    Option("threads", "int", None, "taken and of no effect", minimum=1),
)


class FakeDecoder(Backend):
    name = "fake_decoder"
    summary = "generates n-grams at a stated speed, to measure the harness and for tests"
    capabilities = Capabilities(formats=("onnx",), precisions=("fp32", "as-is"), options=())
    generation: ClassVar[Capabilities | None] = Capabilities(
        formats=("gguf", "onnx"), precisions=("fp32", "as-is"), options=_OPTIONS
    )

    def availability(self) -> Ready:
        return Ready(__version__)

    def import_runtime(self) -> str:
        return __version__

    def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
        raise UnsupportedError("fake_decoder runs decoders only")

    def open_generation(
        self, model: ModelFile, options: Mapping[str, Scalar], room: Room
    ) -> FakeSession:
        from edgebench.models.llm.gguf_file import GgufFile

        assert self.generation is not None
        self.generation.check(model, options)
        vocabulary = GgufFile(model.path).decoder.vocabulary if model.format == "gguf" else 512
        return FakeSession(vocabulary, room, options)


class FakeSession(GenerationSession):
    """`spend` is told how many nanoseconds of work each call stands for."""

    def __init__(
        self,
        vocabulary: int,
        room: Room,
        options: Mapping[str, Scalar] | None = None,
        spend: Callable[[int], None] | None = None,
    ) -> None:
        options_used = {option.name: option.default for option in _OPTIONS} | dict(options or {})
        self.vocabulary, self.width, self.positions = vocabulary, room.width, room.positions
        self._options = options_used
        self._prefill_ns = round(float(options_used["prefill_us"] or 0) * 1000)
        self._step_ns = round(float(options_used["step_us"] or 0) * 1000)
        self._seed = int(options_used["seed"] or 0)
        self._spread = float(options_used["spread"] or 0)
        self._fail_after = int(options_used["fail_after"] or 0)
        self._spend = spend or _busy
        self._steps = 0
        self._contexts: list[list[int]] = []

    def prefill(self, prompts: Prompts) -> list[list[int]]:
        length = check_prompts(prompts, self.width, self.positions)
        self._contexts = [list(prompt) for prompt in prompts]
        self._spend(length * self.width * self._prefill_ns)
        return self._last()

    def step(self, tokens: Sequence[int]) -> list[list[int]]:
        used = len(self._contexts[0]) if self._contexts else 0
        check_step(tokens, self.width, used, self.positions)
        self._steps += 1
        if self._fail_after and self._steps > self._fail_after:
            raise RuntimeError("the decoder failed, as it was told to")
        for context, token in zip(self._contexts, tokens, strict=True):
            context.append(token)
        self._spend(self._step_ns)
        return self._last()

    def _last(self) -> list[list[int]]:
        return [context[-2:] for context in self._contexts]

    def logits(self, raw: list[list[int]]) -> Logits:
        rows = [self._row(pair) for pair in raw]
        return np.stack(rows)

    def _row(self, pair: Sequence[int]) -> Logits:
        rng = np.random.default_rng([self._seed, len(pair), *pair])
        return (self._spread * rng.standard_normal(self.vocabulary)).astype(np.float32)

    def reset(self) -> None:
        self._contexts = []

    def kv_cache_bytes(self) -> int:
        return self.width * self.positions * _CACHE_BYTES

    def effective(self) -> Effective:
        return Effective(
            device="none",
            precision=None,
            runtime=f"fake_decoder {__version__}",
            notes=("fake decoder: n-grams, no network",),
            options={
                **{name: value for name, value in self._options.items() if name != "threads"},
                "kv_cache": None,
            },
        )


def _busy(nanoseconds: int) -> None:
    end = time.perf_counter_ns() + nanoseconds
    while time.perf_counter_ns() < end:
        pass


BACKEND = FakeDecoder
