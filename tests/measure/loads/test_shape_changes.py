"""Several shapes in one session: what a change costs, how memory grows, and inputs of other shapes."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench.analysis.table import build_table
from edgebench.errors import EdgebenchError, UsageError
from edgebench.measure.loads import shape_changes
from edgebench.measure.loads.shape_changes import Asked, Query, drawn, in_shape, shape_text
from edgebench.planning.shape_sequence import parse_shape_sequence
from edgebench.record import HeldMemory
from edgebench.record_validation import replicate_findings
from edgebench.render.table_wording import remarks
from tests.measure.test_loads_run import rows_in
from tests.onnx_models import model
from tests.records import record, replicate


class Runtime:
    """A clock, and a session: 1 ms a query, 1 ms more after a change of shape, 5 ms more the first time."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.last = ""
        self.seen: set[str] = set()

    def clock(self) -> int:
        return self.now_ns

    def run(self, shape: str) -> None:
        self.now_ns += 1_000_000
        self.now_ns += 1_000_000 * (shape != self.last) + 4_000_000 * (shape not in self.seen)
        self.last = shape
        self.seen.add(shape)

    def held(self, changes: int) -> HeldMemory:
        return HeldMemory(changes=changes, uss_bytes=1_000_000 + 10 * changes, arena_bytes=None)


QUERIES = [Query(shape, shape) for shape in ("1x16", "1x64", "1x64")]


def test_a_change_of_shape_costs_what_the_same_query_takes_less_once_more() -> None:
    runtime = Runtime()
    found = shape_changes.measure(
        runtime.run, QUERIES, None, Asked(60.0, changes=20), runtime.held, clock=runtime.clock
    )
    assert found.shapes == ["1x16", "1x64"]
    assert found.first_ns == [6_000_000] * 2
    assert found.again_ns == [1_000_000] * 2
    assert found.changed_ns == [2_000_000] * 20
    assert found.same_ns == [1_000_000] * 20
    assert [held.changes for held in found.memory] == [0, *range(2, 21, 2)]
    assert len(found.mix_ns) > 20  # every third query has the shape of the one before
    assert replicate_findings(replicate(shapes=found)) is not None
    made = [replicate(index, shapes=found) for index in range(2)]
    (row,) = build_table([record(replicates=made)]).rows
    part = row.shapes
    assert part is not None
    assert part.change_ratio == pytest.approx(2)
    assert part.first_ratio == pytest.approx(6)
    assert (part.growth_bytes, part.changes) == (200, 20)
    assert row.unknown["shapes.arena_growth_bytes"] == "the runtime does not tell"
    assert any("2 shapes" in line and "after a change 2.00x" in line for line in remarks(row))


def test_it_ends_by_its_time() -> None:
    runtime = Runtime()
    found = shape_changes.measure(
        runtime.run, QUERIES, None, Asked(0.05), runtime.held, clock=runtime.clock
    )
    assert 10 < len(found.changed_ns) < 50
    assert found.memory[-1].changes == len(found.changed_ns)


def test_items_without_an_order_come_in_another_one_each_time() -> None:
    order = [query.shape for query in islice(drawn([Query(str(n), n) for n in range(9)], 1), 27)]
    assert [sorted(order[start : start + 9]) for start in (0, 9, 18)] == [list("012345678")] * 3
    assert order[:9] != order[9:18]


def test_inputs_are_cut_or_repeated() -> None:
    feeds = {"ids": np.array([[1, 2, 3]]), "scale": np.array(2.0)}
    assert in_shape(feeds, {"ids": [1, 2]})["ids"].tolist() == [[1, 2]]
    assert in_shape(feeds, {"ids": [2, 5]})["ids"].tolist() == [[1, 2, 3, 1, 2]] * 2
    assert shape_text(in_shape(feeds, {"ids": [1, 2]})) == "1x2 scalar"
    with pytest.raises(EdgebenchError, match=r"no input 'idz'; did you mean 'ids'"):
        in_shape(feeds, {"idz": [1, 2]})
    with pytest.raises(EdgebenchError, match="has 2 axes, not 1"):
        in_shape(feeds, {"ids": [3]})


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["natural", "x=1,2;1,3"], "stands alone"),
        (["x=1,2"], "two different shapes"),
        (["x=1,2;1,2"], "two different shapes"),
        (["x"], "names no input"),
        (["x=1,2;1,3", "y=1,2"], "as many shapes as each other"),
        (["x=1,2;1,3", "x=1,2;1,4"], "gives an input twice"),
        (["x=1,0;1,3"], "not a size of 1 or more"),
        (["x=batch,2;batch,3"], "every size is a number"),
        (["x=" + ";".join(f"1,{n}" for n in range(1, 1100))], "1000 at most"),
    ],
)
def test_a_sequence_that_makes_no_sense_is_one_clear_error(items: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_shape_sequence(items)
    assert parse_shape_sequence(["natural"]) == []
    assert parse_shape_sequence(["x=1,2;3,4"]) == [{"x": [1, 2]}, {"x": [3, 4]}]


WORKLOAD = """
name: open
version: 1
title: A layer for texts of any length
task: seeded_inputs
model: {{ uri: "file:open.onnx", sha256: {sha256}, license: none, shapes: {{ x: [1, 16, 4] }} }}
quality: {{ metric: parity_error, ceiling: 0.001 }}
matrix: {{ axes: {{ precision: [as-is], threads: [1] }} }}
"""


def written(folder: Path) -> None:
    weights = {"w": np.random.default_rng(0).normal(0, 1, (4, 8))}
    made: Any = model(
        [("MatMul", ["x", "w"], "y", {})], {"x": [1, "n", 4]}, {"y": [1, "n", 8]}, weights
    )
    content = made.SerializeToString()
    (folder / "open.onnx").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / "open.yaml").write_text(WORKLOAD.format(sha256=sha256))


@pytest.mark.slow
def test_a_run_gives_the_open_model_several_shapes(tmp_path: Path) -> None:
    written(tmp_path)
    (row,) = rows_in(tmp_path, "open", "--shape-sequence", "x=1,4,4;1,64,4;1,512,4")
    assert row["status"] == "ok", row["reasons"]
    assert row["shapes"]["shapes"] == 3
    assert row["shapes"]["changes"] == 1000
    assert row["shapes"]["growth_bytes"] >= 0
    (row,) = rows_in(tmp_path, "open", "--shape-sequence", "natural")
    assert row["status"] == "unsupported"
    assert "SeededInputs knows no natural lengths" in row["reasons"][0]["message"]
