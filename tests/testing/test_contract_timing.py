"""The contract kit's demands on time, on sessions whose every call takes a stated time of a clock of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgebench.generation import Room
from edgebench.testing import test_contract as plain
from edgebench.testing import test_contract_generation as generation
from edgebench.testing.fake_decoder import FakeDecoder, FakeSession
from edgebench.testing.models import Case

if TYPE_CHECKING:
    from edgebench.backend import Outputs

#: Of one row of the kit's chains.
ROW_NS = 2_000
DEMANDS: dict[str, Callable[[Any], None]] = {
    "grows": plain.test_latency_grows_with_work,
    "done": plain.test_runs_return_when_the_work_is_done,
    "seen": plain.test_seen_inputs_are_not_answered_faster,
}


class Clock:
    """Stands in for the module `time`; moves only where work or a wait moves it."""

    def __init__(self) -> None:
        self.now_ns = 0

    def perf_counter_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.spend(round(1e9 * seconds))

    def spend(self, nanoseconds: int) -> None:
        self.now_ns += nanoseconds


class Honest:
    """A session that computes while it runs: time in proportion to the rows."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def prepare(self, feeds: Mapping[str, Any]) -> Any:
        return feeds["x"]

    def run(self, rows: Any) -> Any:
        self.clock.spend(len(rows) * ROW_NS)
        return rows

    def outputs_of(self, rows: Any, raw: Any) -> Outputs:
        return {"y": rows}

    def close(self) -> None:
        pass


class Idle(Honest):
    """Computes nothing."""

    def run(self, rows: Any) -> Any:
        return rows


class Early(Honest):
    """Returns at once; whoever reads waits for the work."""

    def run(self, rows: Any) -> int:
        return self.clock.now_ns + len(rows) * ROW_NS

    def outputs_of(self, rows: Any, raw: int) -> Outputs:
        self.clock.now_ns = max(self.clock.now_ns, raw)
        return {"y": rows}


class Caching(Honest):
    """Computes what it has not seen."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.known: set[bytes] = set()

    def run(self, rows: Any) -> Any:
        seen = rows.tobytes() in self.known
        self.known.add(rows.tobytes())
        return rows if seen else super().run(rows)


@pytest.mark.parametrize("demand", DEMANDS)
@pytest.mark.parametrize(
    ("session", "broken"),
    [
        (Honest, set()),
        (Idle, {"grows"}),
        (Early, {"grows", "done"}),
        (Caching, {"seen"}),
    ],
)
def test_a_session_breaks_exactly_its_demands(
    session: type[Honest], broken: set[str], demand: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(plain, "time", clock)

    def open_(_: Case) -> Honest:
        return session(clock)

    if demand not in broken:
        DEMANDS[demand](open_)
        return
    with pytest.raises(pytest.fail.Exception):
        DEMANDS[demand](open_)


class TimedDecoder(FakeDecoder):
    """Each call takes a stated time, of which `token_ns` for each token of the prompt."""

    def __init__(self, clock: Clock, call_ns: int, token_ns: int) -> None:
        self.clock, self.call_ns, self.token_ns = clock, call_ns, token_ns

    def open_generation(self, model: Any, options: Any, room: Room) -> FakeSession:
        def spend(nanoseconds: int) -> None:
            self.clock.spend(self.call_ns + nanoseconds)

        return FakeSession(512, room, {"prefill_us": self.token_ns / 1000}, spend)


@pytest.mark.parametrize(
    ("call_ns", "token_ns", "kept"),
    [
        (0, 0, False),  # computes nothing
        (0, 20, False),  # looks at each token, and computes nothing: below what a clock tells
        (50_000, 20, False),
        (50_000, 10_000, True),
        (2_000_000, 2_000, True),  # slow to start: only the longest prompt tells
    ],
)
def test_a_decoder_must_take_longer_for_more_tokens(
    call_ns: int, token_ns: int, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(generation, "time", clock)
    decoder = TimedDecoder(clock, call_ns, token_ns)
    if kept:
        generation.test_time_grows_with_the_prompt(decoder, tmp_path)
        return
    with pytest.raises(AssertionError, match="2 tokens take"):
        generation.test_time_grows_with_the_prompt(decoder, tmp_path)
