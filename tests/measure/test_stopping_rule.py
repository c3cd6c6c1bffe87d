"""More rounds go to what is undecided."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgebench.measure.stopping_rule import open_cells
from tests import records as make


def cell(name: str, p50_ms: float, spread: float = 0.004, **changes: Any) -> Any:
    source = np.random.default_rng(len(name))
    replicates = [
        make.replicate(
            number, [round(p50_ms * 1e6 * float(np.exp(spread * z)))] * 100, round=number
        )
        for number, z in enumerate(source.normal(0, 1, 5))
    ]
    return make.record({"precision": name}, replicates=replicates, **changes)


def names(records: list[Any]) -> set[str]:
    found = open_cells(records)
    return {str(r.cell.variant["precision"]) for r in records if r.cell.id in found}


def test_a_cell_that_is_beaten_for_sure_gets_no_more() -> None:
    assert names([cell("a", 5.0), cell("bb", 5.01), cell("ccc", 9.0)]) == {"a", "bb"}


def test_where_all_is_decided_nothing_is_open() -> None:
    assert names([cell("a", 5.0), cell("bb", 9.0)]) == set()


def test_a_struck_cell_gets_no_more() -> None:
    bad = cell("ccc", 5.0, quality=make.quality(0.1))
    assert names([cell("a", 5.0), cell("bb", 5.0), bad]) == {"a", "bb"}


def test_groups_are_open_each_by_itself() -> None:
    decided = [cell("a", 5.0, workload="w"), cell("bb", 9.0, workload="w")]
    assert names([*decided, cell("ccc", 5.0), cell("dddd", 5.0)]) == {"ccc", "dddd"}
