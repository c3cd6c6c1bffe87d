"""What edgebench adds to a step of SmolLM2 where tokens are drafted and turns are kept, on ONNX Runtime and, where it is
installed, llama.cpp.

    python -m tests.perf.llm_modes [THREADS]

The share of the time after the first token outside the runtime's own calls (the look-up, the check of drafts, the
choice of tokens, the loop), from a clock around those calls alone; of turns the whole request, reading included.
Then what look-ups gain by kind of content, and kept turns by turn: the same prompts with and without, in turns, in one
session of ONNX Runtime. Fetches the model (98 MB) once.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from statistics import geometric_mean, median
from typing import Any

from edgebench import assets
from edgebench.definitions.workload_loader import load_workloads
from edgebench.generation import GenerationSession
from edgebench.measure.replicate.generation_loops import timed_request
from edgebench.measure.replicate.kept_prefix import KeptPrefix
from edgebench.measure.replicate.request_kinds import Turn, compare_with_plain
from edgebench.measure.replicate.speculation import PromptLookup, Speculative
from edgebench.planning.request_axes import CONTENTS
from edgebench.record import PlainDecoding, Speculated
from edgebench.task import TaskContext
from edgebench.tasks.generate import Generate
from tests.perf.llm_runtimes import TimedLibrary, opened
from tests.perf.llm_speed import LIMIT, NEW_TOKENS, PROMPT_TOKENS, TimedInner, open_session

ROUNDS = 8
PROMPTS = 5  # of each kind of content
ANSWER_ROOM = 768  # positions
_WORDS = (11, 305, 12, 411, 12, 305, 77, 300, 12)


def share_outside(
    session: GenerationSession,
    timed: TimedInner | TimedLibrary,
    prompt: Sequence[int],
    whole: bool,
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
    most = shares("ort", plain, timed)
    if importlib.util.find_spec("llama_cpp") is not None:
        plain = opened("llama_cpp", NEW_TOKENS, threads=threads)
        plain._lib = library = TimedLibrary(plain._lib)
        most = max(most, shares("llama_cpp", plain, library))
    gains(threads)
    return int(most > LIMIT)


def shares(runtime: str, plain: GenerationSession, timed: TimedInner | TimedLibrary) -> float:
    """Prints the share of each mode and returns the largest; closes the session."""
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
    most = 0.0
    for name, ask in modes.items():
        found = [ask(turn) for turn in range(ROUNDS)]
        most = max(most, median(found))
        print(
            f"{runtime}, {name}: {median(found):.2%} outside the runtime's calls ({min(found):.2%} to {max(found):.2%})"
        )
    plain.close()
    return most


def gains(threads: int) -> None:
    """Two tables in Markdown."""
    session: Any = open_session(threads, ANSWER_ROOM)
    task = _task()
    print(
        "\n| content | drafted | accepted | tokens a step | speed against plain decoding | answers |"
    )
    print("|---|--:|--:|--:|--:|---|")
    for content in CONTENTS:
        drafted = Speculative(session, PromptLookup(3), 4)
        pool = [[task.encode(task.conversation_of(content, n), 128)] for n in range(PROMPTS)]
        found = compare_with_plain(drafted, pool, NEW_TOKENS, ())
        assert found is not None
        counts = []
        for prompts in pool:
            list(drafted.stream(prompts, most=NEW_TOKENS))
            counts.append(drafted.last)
        print(f"| `{content}` | {_counted(counts)} | {_ratios(found)} | {_equal(found)} |")
    kept = KeptPrefix(session)
    turns = task.turns(0, 128, 16, 5)
    conversation = [Turn([tokens], number) for number, tokens in enumerate(turns, start=1)]
    found = compare_with_plain(kept, conversation, 16, ())
    assert found is not None
    print("\n| turn | tokens of the prompt | TTFT read anew | TTFT kept |\n|--:|--:|--:|--:|")
    rows = zip(turns, found.plain_ns, found.speculated_ns, strict=True)
    for number, (tokens, anew_ns, kept_ns) in enumerate(rows, start=1):
        print(f"| {number} | {len(tokens)} | {anew_ns / 1e6:.0f} ms | {kept_ns / 1e6:.0f} ms |")
    print(_equal(found))
    session.close()


def _task() -> Generate:
    workload = load_workloads()["smollm2-chat"]
    path = assets.fetch([workload.model])[workload.model.sha256]
    return Generate(TaskContext(model_asset=path))


def _counted(counts: Sequence[Speculated]) -> str:
    steps = sum(each.steps - 1 for each in counts)
    drafted, accepted = (
        sum(getattr(each, name) for each in counts) for name in ("drafted", "accepted")
    )
    return f"{drafted} | {accepted} ({accepted / max(1, drafted):.0%}) | {1 + accepted / steps:.2f}"


def _ratios(found: PlainDecoding) -> str:
    ratios = [a / b for a, b in zip(found.plain_ns, found.speculated_ns, strict=True)]
    return f"{geometric_mean(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _equal(found: PlainDecoding) -> str:
    if found.differs_at is None:
        return "equal"
    return f"differ from token {found.differs_at + 1} on, by {found.differs_by} of a logit"


if __name__ == "__main__":
    sys.exit(main())
