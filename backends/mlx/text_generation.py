"""Text generation on MLX: packed weights, a cache held from the start, a step that is compiled where that
is faster, and the next step computed while a token is being read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from edgebench.backend import Effective, ModelFile, Scalar
from edgebench.errors import UnsupportedError
from edgebench.generation import Room, check_extension, check_prompts, check_room
from edgebench.models.llm.gguf_file import GgufFile

from .._decoder_base import CountingSession
from . import blas
from . import mlx_device as device
from .decoder import Cache, MlxDecoder

if TYPE_CHECKING:
    from edgebench.generation import Choose, Logits, Prompts

#: Precision asked for -> type of activations and of weights that are not packed.
_DTYPES = {"fp32": mx.float32, "fp16": mx.float16, "bf16": mx.bfloat16}
_NAMES = {mx.float32: "fp32", mx.float16: "fp16", mx.bfloat16: "bf16"}
#: A step looks at a whole number of so many positions of the cache: few shapes, and little for nothing.
_STRIDE = 64
#: Pairs of steps that decide between compiled and eager.
_TRIALS = 3

_Step = Callable[[mx.array, mx.array, Cache], tuple[mx.array, Cache]]


class MlxGeneration(CountingSession):
    def __init__(self, model: ModelFile, options: Mapping[str, Scalar], room: Room) -> None:
        super().__init__(room)
        self._device = device.chosen_device(options.get("device"))
        device.set_threads(options.get("threads"), self._device)
        packed = model.precision == "as-is"
        dtype = self._activations(options, model.precision)
        file = GgufFile(model.path)
        check_room(room, file.decoder.context_length)
        self._decoder = MlxDecoder(file, dtype, packed=packed)
        self._dtype = dtype
        self.vocabulary = self._decoder.facts.vocabulary
        self._cache: Cache = self._decoder.empty_cache(self.width, self.positions)
        self.rewinds = self.width == 1
        self._steps: dict[int, _Step] = {}
        self._compiled, self._why = self._chosen(options.get("compile"))
        self.reset()

    def _activations(self, options: Mapping[str, Scalar], precision: str) -> Any:
        """Weights taken apart say it; beside packed ones: half on a GPU, single on a CPU."""
        asked = options.get("activations")
        if precision in _DTYPES:
            if asked not in (None, precision):
                raise UnsupportedError(
                    f"activations={asked} beside precision={precision}: weights taken apart are of "
                    "the type they are multiplied with",
                    "leave activations out, or --set precision=as-is",
                )
            return _DTYPES[precision]
        return _DTYPES[str(asked) if asked else "fp16" if self._device == "gpu" else "fp32"]

    def _chosen(self, asked: Scalar | None) -> tuple[bool, str]:
        """Whether steps are compiled, and why: as asked, else the faster of both."""
        if asked == "never":
            return False, "asked for"
        if not device.can_compile(self._device):
            if asked == "always":
                raise UnsupportedError("mx.compile needs g++ on this platform", "apt install g++")
            return False, "no g++ for mx.compile"
        if asked == "always":
            return True, "asked for"
        best = {True: float("inf"), False: float("inf")}
        for _ in range(_TRIALS):
            for kind in (True, False):
                self._compiled = kind
                self._steps.clear()
                self.greedy(self.prefill([[0]] * self.width))
                if self.positions < 3:
                    return False, "no room to try"
                self.greedy(self.step([0] * self.width))  # traced, and compiled the first time
                start = time.perf_counter()
                self.greedy(self.step([0] * self.width))
                best[kind] = min(best[kind], time.perf_counter() - start)
        self._steps.clear()
        ratio = best[False] / best[True]
        return ratio >= 1, f"eager takes {ratio:.2f}x the time of compiled"

    def _fed(self, rows: Prompts) -> mx.array:
        if self._used:
            logits = self._advance(mx.array([token for [token] in rows], mx.uint32))
        else:
            last, self._cache = self._decoder.read(mx.array(rows, mx.uint32), self._cache)
            logits = self._decoder.logits(last[:, -1])
        mx.eval(logits, self._cache)
        return logits

    def _advance(self, tokens: mx.array) -> mx.array:
        """A step that is only written down; the caller evaluates it."""
        room = self._looked_at(1)
        step = self._steps.get(room)
        if step is None:
            step = self._steps[room] = self._made(room)
        # The old cache is let go here: nothing else holds it, so that it is written in place.
        cache, self._cache = self._cache, []
        logits, self._cache = step(tokens, mx.array([self._used]), cache)
        return logits

    def _looked_at(self, more: int) -> int:
        """Positions of the cache that `more` tokens look at, rounded up."""
        return min(self.positions, -(-(self._used + more) // _STRIDE) * _STRIDE)

    def _made(self, room: int) -> _Step:
        def step(tokens: mx.array, position: mx.array, cache: Cache) -> tuple[mx.array, Cache]:
            return self._decoder.step(tokens, position, room, cache)

        return mx.compile(step) if self._compiled else step

    def extend(self, tokens: Sequence[int]) -> Logits:
        """Eager: few lengths come twice."""
        check_extension(len(tokens), self.width, self._used, self.positions)
        cache, self._cache = self._cache, []
        x, self._cache = self._decoder.extend(
            mx.array([list(tokens)], mx.uint32),
            mx.array([self._used]),
            self._looked_at(len(tokens)),
            cache,
        )
        self._used += len(tokens)
        logits = self._decoder.logits(x[0])
        mx.eval(logits, self._cache)
        return self.logits(logits)

    def logits(self, raw: mx.array) -> Logits:
        return np.array(raw.astype(mx.float32))

    def greedy(self, raw: mx.array) -> list[int]:
        tokens: Any = mx.argmax(raw, axis=-1).tolist()
        return list(tokens)

    def stream(
        self, prompts: Prompts, choose: Choose | None = None, most: int | None = None
    ) -> Iterator[list[int]]:
        """Greedy, the next step runs while the token before it is read."""
        if choose is not None:
            yield from super().stream(prompts, choose, most)
            return
        tokens = mx.argmax(self.prefill(prompts), axis=-1)
        # What is evaluated together is known together, at its end: the first token by itself.
        mx.eval(tokens)
        try:
            for _ in range(self.room_for(prompts, most) - 1):
                following = mx.argmax(self._advance(tokens), axis=-1)
                self._used += 1
                mx.async_eval(following, self._cache)
                yield _listed(tokens)
                tokens = following
            yield _listed(tokens)
        finally:
            mx.eval(
                self._cache
            )  # a step that nobody waits for belongs to this request, not the next

    def score(self, tokens: Sequence[int]) -> Logits:
        check_prompts([tokens], 1, self.positions)
        rows = mx.array([list(tokens)] * self.width, mx.uint32)
        last, self._cache = self._decoder.read(rows, self._cache)
        logits = self._decoder.logits(last[0])
        mx.eval(logits, self._cache)
        self.reset()
        return self.logits(logits)

    def kv_cache_bytes(self) -> int:
        return sum(part.nbytes for pair in self._cache for part in pair)

    def kv_used_bytes(self) -> int:
        return self.kv_cache_bytes() * self._used // self.positions

    def effective(self) -> Effective:
        products = self._decoder.products()
        notes = device.notes(self._device)
        notes.append(f"step {'compiled' if self._compiled else 'eager'}: {self._why}")
        return Effective(
            device=self._device,
            telemetry="none",
            precision=products.most_common(1)[0][0],
            compute_nodes=dict(products),
            weight_bytes=self._decoder.weight_bytes(),
            threads=blas.threads() if self._device == "cpu" else None,
            runtime=f"mlx {mx.__version__}",
            notes=tuple(notes),
            not_deployable=device.not_deployable(self._device),
            options={
                "device": self._device,
                "compile": "always" if self._compiled else "never",
                "activations": _NAMES[self._dtype],
                "kv_cache": _NAMES[self._dtype],
                "blas": blas.running().name if self._device == "cpu" else None,
            },
        )

    def arena_bytes(self) -> int:
        return int(mx.get_active_memory() + mx.get_cache_memory())

    def close(self) -> None:
        self._steps.clear()
        self._cache = []
        self._decoder = None  # type: ignore[assignment]
        mx.clear_cache()


def _listed(tokens: mx.array) -> list[int]:
    found: Any = tokens.tolist()
    return list(found)
