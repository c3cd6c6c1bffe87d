"""What edgebench adds to a step of SmolLM2 where tokens are drafted and turns are kept, on ONNX Runtime.

    python -m tests.perf.llm_modes [THREADS]

The share of the time after the first token outside the runtime's own calls (the look-up, the check of drafts, the
choice of tokens, the loop), from a clock around those calls alone; of turns the whole request, reading included.
Fetches the model (98 MB) once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from edgebench.generation import GenerationSession
from edgebench.measure.replicate.generation_loops import timed_request
from edgebench.measure.replicate.kept_prefix import KeptPrefix
from edgebench.measure.replicate.speculation import PromptLookup, Speculative
from tests.perf.llm_speed import LIMIT, NEW_TOKENS, PROMPT_TOKENS, TimedInner, open_session

ROUNDS = 8
_WORDS = (11, 305, 12, 411, 12, 305, 77, 300, 12)


def share_outside(
    session: GenerationSession, timed: TimedInner, prompt: Sequence[int], whole: bool
) -> float:
    """Of one request: of all of it, or of what comes after the first token."""
    timed.calls_ns.clear()
    request, _ = timed_request(session, [prompt], NEW_TOKENS)
    calls = timed.calls_ns if whole else timed.calls_ns[1:]
    spent = request.token_ns[-1] - (0 if whole else request.token_ns[0])
    return 1 - sum(calls) / spent


def main() -> int:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    plain: Any = open_session(threads)
    plain._inner = timed = TimedInner(plain._inner)
    prompt = (list(_WORDS) * PROMPT_TOKENS)[:PROMPT_TOKENS]
    kept = KeptPrefix(plain)
    modes: dict[str, Callable[[int], float]] = {
        "plain decoding": lambda _: share_outside(plain, timed, prompt, whole=False),
        "look-up of 3": lambda _: share_outside(
            Speculative(plain, PromptLookup(3), 4), timed, prompt, whole=False
        ),
        "turns that are kept": lambda turn: share_outside(
            kept, timed, prompt[: PROMPT_TOKENS // 2 + 2 * turn], whole=True
        ),
    }
    shares = {name: [ask(turn) for turn in range(ROUNDS)] for name, ask in modes.items()}
    for name, found in shares.items():
        print(
            f"{name}: {median(found):.2%} outside the runtime's calls ({min(found):.2%} to {max(found):.2%})"
        )
    return int(any(median(found) > LIMIT for found in shares.values()))


if __name__ == "__main__":
    sys.exit(main())
