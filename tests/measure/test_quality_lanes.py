"""The quality pass on idle cores: who may, how far, and that the answers keep their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import Session
from edgebench.measure.replicate import quality_checks
from edgebench.models.output_distance import distances
from edgebench.testing.models import two_by_two

CASE = two_by_two()


def opened(folder: Path, **options: Any) -> Session:
    backend = registry.load("ort")
    backend.import_runtime()
    return backend.open(CASE.write(folder), options)


class Stateful(Session):
    concurrent = True

    def reset(self) -> None: ...
    def prepare(self, feeds: Any) -> Any: ...
    def outputs_of(self, prepared: Any, raw: Any) -> Any: ...
    def effective(self) -> Any: ...


@pytest.mark.parametrize(
    ("threads", "cores", "lanes"),
    [
        (1, 1, 1),
        (1, 2, 2),
        (2, 2, 1),
        (2, 4, 2),
        (1, 64, quality_checks.MAX_LANES),
        (0, 64, 1),
        (4, 2, 1),
    ],
)
def test_lanes_take_the_cores_that_the_session_leaves_idle(
    tmp_path: Path, threads: int, cores: int, lanes: int
) -> None:
    assert quality_checks.lanes_of(opened(tmp_path), threads, cores) == lanes


def test_a_session_that_keeps_a_state_or_outputs_of_one_call_runs_in_turn(tmp_path: Path) -> None:
    assert quality_checks.lanes_of(Stateful(), 1, 8) == 1
    assert quality_checks.lanes_of(opened(tmp_path, io_binding=True), 1, 8) == 1


@pytest.mark.parametrize("batch", [1, 3])
def test_answers_side_by_side_are_those_in_turn_in_their_order(tmp_path: Path, batch: int) -> None:
    session = opened(tmp_path) if batch == 1 else _Sums()
    items = [{name: a * (1 + n) for name, a in CASE.feeds(n).items()} for n in range(17)]
    in_turn = quality_checks.infer(session, batch, items)
    with quality_checks.side_by_side(2) as spread:
        together = quality_checks.infer(session, batch, items, spread)
    assert len(in_turn) == len(items)
    assert set(distances(together, in_turn).values()) == {0.0}


def test_one_lane_is_the_calling_thread() -> None:
    with quality_checks.side_by_side(1) as spread:
        assert spread is map


class _Sums(Stateful):
    """The sum of each item of a batch."""

    def __init__(self) -> None:
        self.run = lambda feeds: feeds

    def prepare(self, feeds: Any) -> Any:
        return feeds

    def outputs_of(self, prepared: Any, raw: Any) -> Any:
        first = next(iter(raw.values()))
        return {"sum": np.asarray(first).reshape(len(first), -1).sum(axis=1, keepdims=True)}
