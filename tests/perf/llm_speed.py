"""What edgebench adds to a decode step of SmolLM2 on ONNX Runtime.

    python -m tests.perf.llm_speed [THREADS]

Two ways, in one run. The share of a step outside the runtime's own call (token choice, checks, clock,
loop), from a clock around that call alone. And whole requests against the loop that a careful person
writes by hand around the same ONNX Runtime session, in turns. Fetches the model (98 MB) once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgebench import assets, registry
from edgebench.backend import ModelFile
from edgebench.definitions.workload_loader import load_workloads
from edgebench.generation import GenerationSession, Room
from edgebench.measure.replicate.generation_loops import timed_request

PAIRS = 12
PROMPT_TOKENS, NEW_TOKENS = 64, 33
LIMIT = 0.01


def open_session(threads: int, positions: int = PROMPT_TOKENS + NEW_TOKENS) -> GenerationSession:
    workload = load_workloads()["smollm2-chat"]
    path = assets.fetch([workload.model])[workload.model.sha256]
    backend = registry.load("ort")
    backend.import_runtime()
    model = ModelFile(path, "gguf", workload.model.sha256, precision="as-is")
    options = {"threads": threads}
    cache = assets.cache_dir() / "models" / workload.model.sha256[:16] / "converted"
    model = backend.convert(model, options, cache)
    return backend.open_generation(model, options, Room(1, positions))


class TimedInner:
    """The runtime's session with a clock around its call; everything else is passed on."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.calls_ns: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def run_with_iobinding(self, binding: Any) -> None:
        start = time.perf_counter_ns()
        self._inner.run_with_iobinding(binding)
        self.calls_ns.append(time.perf_counter_ns() - start)


def ours(session: GenerationSession, prompt: list[int]) -> float:
    """Time per token of a request as edgebench measures it, in ns."""
    request, _ = timed_request(session, [prompt], NEW_TOKENS)
    return (request.token_ns[-1] - request.token_ns[0]) / (NEW_TOKENS - 1)


def by_hand(session: Any, prompt: list[int]) -> float:
    """The same with the runtime's own calls, on the same buffers."""
    inner, call = session._inner, session._one
    raw = session.prefill([prompt])
    token = int(raw[0].argmax())
    used = len(prompt)
    start = time.perf_counter_ns()
    for _ in range(NEW_TOKENS - 1):
        call.tokens[0, 0], call.last[0], call.total[...] = token, used, used + 1
        inner.run_with_iobinding(call.binding)
        token = int(np.argmax(call.logits[0, 0]))
        used += 1
    return (time.perf_counter_ns() - start) / (NEW_TOKENS - 1)


def outside_share(session: Any, prompt: list[int]) -> float:
    """Of a step, the share that is not the runtime's call: medians over steps."""
    inner = session._inner
    session._inner = timed = TimedInner(inner)
    request, _ = timed_request(session, [prompt], NEW_TOKENS)
    session._inner = inner
    steps = np.diff(request.token_ns)
    return float(np.median(steps - np.array(timed.calls_ns[1:])) / np.median(steps))


def in_turn(first: Callable[[], float], second: Callable[[], float]) -> float:
    """Median of the ratios first / second of pairs, the order turning."""
    ratios = []
    for number in range(PAIRS):
        if number % 2:
            b, a = second(), first()
        else:
            a, b = first(), second()
        ratios.append(a / b)
    return median(ratios)


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 and Path(sys.argv[0]).stem == "llm_speed" else 1
    session = open_session(threads)
    prompt = [(7 * number) % 40_000 + 100 for number in range(PROMPT_TOKENS)]
    ours(session, prompt)
    share = median(outside_share(session, prompt) for _ in range(5))
    verdict = "ok" if share <= LIMIT else "too much"
    print(f"decode step, outside the runtime's call: {share:.2%} (at most {LIMIT:.0%}: {verdict})")
    ratio = in_turn(lambda: ours(session, prompt), lambda: by_hand(session, prompt))
    print(f"decode step, edgebench / the same calls by hand: {ratio:.3f}")


if __name__ == "__main__":
    main()
