"""Streams in real time: state from hop to hop, lateness, and the way back after a stop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgebench.analysis.table import build_table
from edgebench.backend import Effective, Session, TensorInfo
from edgebench.errors import EdgebenchError
from edgebench.measure.replicate import loops
from edgebench.measure.replicate.stream_loop import STALLED_HOPS, Stepper, recovery_ns
from edgebench.record import Replicate, Stream
from edgebench.render.table_wording import remarks
from tests.records import record, replicate

HOP_NS = 10_000_000


class Summing(Session):
    """Adds every hop to its state: y = state + x, next state = y."""

    def __init__(self, state_shape: tuple[int, ...] = (1, 2)) -> None:
        self.inputs = (
            TensorInfo("x", "float32", (1, 2)),
            TensorInfo("state", "float32", state_shape),
        )
        self.outputs = (TensorInfo("y", "float32", (1, 2)),)
        self.run = lambda feeds: feeds["x"] + feeds["state"]

    def prepare(self, feeds: Any) -> Any:
        return feeds

    def outputs_of(self, prepared: Any, raw: Any) -> Any:
        return {"y": raw}

    def effective(self) -> Effective:
        return Effective(device="cpu", precision="fp32")


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


def hop(value: float) -> dict[str, Any]:
    return {
        "x": np.full((1, 2), value, np.float32),
        "state": np.full((1, 2), 99, np.float32),  # what a pool of random inputs holds
    }


def test_state_goes_from_hop_to_hop_and_begins_at_zero() -> None:
    step = Stepper(Summing(), {"state": "y"}, hop(0))
    for value in (1, 2, 3):
        step(hop(value))
    assert step.state["state"].tolist() == [[6, 6]]
    assert step.state_bytes == 8


@pytest.mark.parametrize(
    ("state", "shape", "message"),
    [
        ({"stat": "y"}, (1, 2), "no input 'stat'; did you mean 'state'?"),
        ({"state": "z"}, (1, 2), "no output 'z'"),
        ({"state": "y"}, (1, 3), "is no next value"),
    ],
)
def test_a_state_that_the_model_has_not_is_one_clear_error(
    state: dict[str, str], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(EdgebenchError, match=message.replace("?", r"\?")):
        Stepper(Summing(shape), state, hop(0))


@pytest.mark.parametrize(("share", "caught_up"), [(0.1, True), (0.5, True), (1.2, False)])
def test_a_stream_catches_up_after_a_stop_where_it_is_faster_than_real_time(
    share: float, caught_up: bool
) -> None:
    clock = Clock()
    found_ns = recovery_ns(
        lambda _: clock.sleep(share * HOP_NS / 1e9),
        [0],
        HOP_NS,
        clock=clock,
        sleep=clock.sleep,
    )
    assert (found_ns is not None) is caught_up
    if found_ns is not None:
        # After n hops it is behind by the stop less n (1 - share) hops; one hop is the deadline.
        needed = next(n for n in range(1, 99) if STALLED_HOPS + n * share <= n)
        assert found_ns == pytest.approx(needed * share * HOP_NS, abs=2)


def stalled(index: int) -> Replicate:
    """300 hops of 1 ms; one takes 100 ms, ten hops."""
    clock, times = Clock(), iter([0.1 if number == 100 else 0.001 for number in range(300)])
    window = loops.at_a_rate(
        lambda _: clock.sleep(next(times)),
        [0],
        loops.equal_periods(1e9 / HOP_NS, 300),
        clock=clock,
        sleep=clock.sleep,
    )
    stream = Stream(
        hop_ns=HOP_NS,
        window_ns=HOP_NS,
        lookahead_ns=5_000_000,
        warm_up_hops=0,
        state={"state": "y"},
        state_bytes=8,
        recovery_ns=4_000_000,
    )
    return replicate(
        index,
        window.samples_ns,
        paced=window.paced,
        stream=stream,
        window_ns=window.window_ns,
        cpu_ns=window.window_ns // 10,
    )


def test_a_stall_of_100_ms_shows_in_the_percentiles_and_in_the_backlog() -> None:
    made = [stalled(index) for index in range(3)]
    (row,) = build_table([record(scenario="stream", rate_per_s=1e9 / HOP_NS, replicates=made)]).rows
    part = row.stream
    assert part is not None
    assert row.ranked
    assert row.latency_ns.p50 == pytest.approx(1_000_000, abs=10)
    assert row.latency_ns.p99 is not None
    assert row.latency_ns.p99 > 60_000_000  # every hop that arrived meanwhile waited
    assert part.misses == 30  # ten of each process
    assert part.backlog_max == 9
    assert part.late_run_ns == 10 * HOP_NS
    assert part.algorithmic_delay_ns == 15_000_000
    assert part.delay_p99_ns == part.algorithmic_delay_ns + row.latency_ns.p99
    assert part.real_time_factor == pytest.approx((299 + 100) / 3000, rel=0.01)
    assert part.cpu_share == pytest.approx(0.1, rel=0.01)
    assert row.unknown["stream.j_per_s"] == "no_sensor"
    assert any("30 misses in 900 hops" in line for line in remarks(row))


def test_a_closed_loop_hides_the_same_stall() -> None:
    clock, times = Clock(), iter([0.1 if number == 100 else 0.001 for number in range(300)])
    latencies: list[int] = []
    loops.time_block(lambda _: clock.sleep(next(times)), iter(range(300)), latencies.append, clock)
    assert sum(ns > 1_000_000 for ns in latencies) == 1
