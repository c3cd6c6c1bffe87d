"""Draws docs/images/arrivals.svg: how load arrives in each scenario, by the loops themselves on a clock that is moved by hand.

python docs/arrivals.py docs/images/arrivals.svg
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from edgebench.measure.replicate import loops

SERVICE_NS, STALL_NS = 6_000_000, 21_000_000
STALLED = 4  # the query that takes longer, in every scenario
SHOWN_MS = 120
SCALE, LEFT, LANE, BAR = (
    5,
    190,
    62,
    16,
)  # pixels: of a millisecond, of the names, of a lane, of a bar
INK, SOFT, SERVED, WAITED = "#1f2933", "#5f6b76", "#0b57d0", "#f2b8b5"


class Query(NamedTuple):
    """When a query arrived, was begun and was done, in nanoseconds."""

    due: int
    start: int
    end: int


class Clock:
    """Time passes by sleeping and by serving."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.spans: list[tuple[int, int]] = []

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)

    def serve(self, _: Any) -> None:
        start = self.now_ns
        self.now_ns += STALL_NS if len(self.spans) == STALLED else SERVICE_NS
        self.spans.append((start, self.now_ns))


def closed(calls: int = 1) -> list[Query]:
    clock = Clock()
    run, queries = loops.queries_of(clock.serve, [0], calls)
    loops.time_block(run, iter(queries * 24), lambda _: None, clock)
    starts = [span[0] for span in clock.spans]
    return [Query(starts[n - n % calls], *span) for n, span in enumerate(clock.spans)]


def scheduled(schedule: loops.Schedule) -> list[Query]:
    clock = Clock()
    loops.at_a_rate(clock.serve, [0], schedule, clock=clock, sleep=clock.sleep)
    lead = 1_000_000  # the loop's, before the first query
    pairs = zip(schedule.due_ns, clock.spans, strict=False)
    return [Query(due, start - lead, end - lead) for due, (start, end) in pairs]


def all_at_once() -> list[Query]:
    return [Query(0, start, end) for _, start, end in closed()]


LANES: dict[str, tuple[str, Callable[[], list[Query]]]] = {
    "single_stream": ("the next starts when one is done", closed),
    "single_stream --rate": ("one a period", lambda: scheduled(loops.equal_periods(100, 20))),
    "server --rate": ("at random", lambda: scheduled(loops.poisson(100, 20, seed=3))),
    "stream": ("a hop, with its state", lambda: scheduled(loops.equal_periods(62.5, 20))),
    "multi_stream": ("4 samples a query", lambda: closed(4)),
    "offline": ("all are there at first", all_at_once),
}


def lane(top: int, name: str, words: str, queries: list[Query]) -> Iterator[str]:
    """Arrivals as ticks, waits and services as bars."""
    middle = top + LANE // 2
    yield f'<text x="8" y="{middle - 2}" font-weight="600" fill="{INK}">{name}</text>'
    yield f'<text x="8" y="{middle + 14}" fill="{SOFT}">{words}</text>'
    for query in queries:
        due, start, end = (LEFT + SCALE * ns / 1e6 for ns in query)
        if query.end > SHOWN_MS * 1e6:
            break
        if start > due:
            yield bar(due, start, middle - BAR // 2 + BAR, 4, WAITED)
        yield bar(start, end - 0.8, middle - BAR // 2, BAR, SERVED)
    for due in sorted({query.due for query in queries if query.due < SHOWN_MS * 1e6}):
        x = LEFT + SCALE * due / 1e6
        yield f'<path d="M{x:.1f} {middle - 11} l-3.5 -7 h7 z" fill="{INK}"/>'


def bar(start: float, end: float, top: float, height: int, color: str) -> str:
    return f'<rect x="{start:.1f}" y="{top:.1f}" width="{end - start:.1f}" height="{height}" fill="{color}"/>'


def legend(top: int) -> str:
    """What the marks mean."""
    x = LEFT
    return (
        f'<path d="M{x + 4} {top + 12} l-3.5 -7 h7 z" fill="{INK}"/><text x="{x + 14}" y="{top + 13}">a query arrives</text>'
        + bar(x + 130, x + 150, top + 2, 12, SERVED)
        + f'<text x="{x + 156}" y="{top + 13}">it is served; the fifth takes 21 ms</text>'
        + bar(x + 390, x + 410, top + 8, 4, WAITED)
        + f'<text x="{x + 416}" y="{top + 13}">it waits, which counts (not in offline)</text>'
    )


def picture() -> str:
    width, height = LEFT + SCALE * SHOWN_MS + 20, LANE * len(LANES) + 40
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'font-family="sans-serif" font-size="12" fill="{INK}" role="img">'
        ),
        "<title>How load arrives in each scenario: arrivals, services and waits over 120 ms</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, (name, (words, made)) in enumerate(LANES.items()):
        parts += lane(LANE * number, name, words, made())
    return "\n".join([*parts, legend(LANE * len(LANES) + 8), "</svg>", ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(), encoding="utf-8")
