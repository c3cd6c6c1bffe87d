"""Defines which rows compete with each other, and by which metrics they are ranked.

The one definition of both, for rows in memory and for columns of a million of them: fronts, picks, the
table, comparisons and pages ask here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from edgebench.analysis.table_types import Row
from edgebench.metrics import METRICS, Metric
from edgebench.record import MULTI_STREAM, samples_of_query

#: Scenarios whose load is a batch or a rate: what tells of speed is how much was done.
BY_RATE = ("offline", "server")
#: What tells of a speed; another tool may report something else than a median. The most telling first.
SPEEDS = (
    "latency.p50",
    "latency.p90",
    "latency.p90_early_stopping",
    "latency.p99",
    "latency.p99_early_stopping",
    "latency.p999_early_stopping",
    "throughput",
)


#: Axes of a request whose values are other work, however many tokens it has.
KINDS_OF_REQUEST = ("content", "turns")


class Group(NamedTuple):
    """Identifies rows that compete: the same workload under the same load."""

    device: str
    workload: str
    workload_version: int
    scenario: str
    rate_per_s: float | None
    prompt_tokens: int | None  # a request with a shorter prompt is another request
    new_tokens: int | None
    request: str | None  # its kind, beside its length: "content=edit", "turns=5"
    samples_per_query: int | None  # of multi_stream: a query of more samples is another query
    bound_p99_ns: int | None  # of a server whose rate was sought: another bound is another question


def group_of(row: Row) -> Group:
    return Group(
        row.device,
        row.workload,
        row.workload_version,
        row.scenario,
        row.rate_per_s,
        tokens_of(row, "prompt_tokens"),
        tokens_of(row, "new_tokens"),
        request_of(row),
        query_samples(row),
        row.bound_p99_ns,
    )


def tokens_of(row: Row, axis: str) -> int | None:
    """The length of a request, which tells groups apart; None of rows that generate no text."""
    value = row.variant.get(axis) if row.scenario == "generate" else None
    return value if isinstance(value, int) else None


def request_of(row: Row) -> str | None:
    """What tells apart requests of one length; None where nothing does."""
    if row.scenario != "generate":
        return None
    told = [f"{axis}={row.variant[axis]}" for axis in KINDS_OF_REQUEST if axis in row.variant]
    return ", ".join(told) or None


def query_samples(row: Row) -> int | None:
    """The samples of a query of multi_stream, which tell groups apart; None of other rows."""
    return samples_of_query(row.scenario, row.variant) if row.scenario == MULTI_STREAM else None


def same_run(row: Row) -> tuple[object, ...]:
    """Returns what rows of one run share whose variants alone may differ."""
    return (
        row.device,
        row.run,
        row.workload,
        row.workload_version,
        row.backend,
        row.scenario,
        row.rate_per_s,
        row.bound_p99_ns,
    )


def groups(rows: Sequence[Row]) -> dict[Group, list[int]]:
    """Indices of the rows of each group, in the order in which groups appear."""
    members: dict[Group, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        members[group_of(row)].append(index)
    return dict(members)


def speed_name(scenario: str, own: bool, told: Mapping[str, int], sought: bool = False) -> str:
    """The metric that a group is ranked by: p50; offline the throughput; under a server's load p99 at the given rate,
    and of another tool's rows the throughput that kept the tool's bound.

    `sought`: the rate is what was measured, the highest one within a bound. `told` counts, per name of `SPEEDS`,
    the rows that tell it. Where all rows are another tool's (`own` is false) the statistic counts that most of them
    state, the most telling first.
    """
    if own and not sought and scenario in (MULTI_STREAM, "server"):
        return "latency.p99"  # of a server, at the rate that all rows of the group were given
    if scenario in BY_RATE:
        return "throughput"
    return "latency.p50" if own else max(SPEEDS, key=lambda name: told.get(name, 0))


def ranked_by(row: Row) -> str:
    """The metric by which a row of its kind is ranked, whether or not it tells it."""
    return speed_name(row.scenario, row.imported is None, {}, row.bound_p99_ns is not None)


def speed_of(rows: Sequence[Row]) -> Metric | None:
    """The metric that these rows are ranked by; None where none of them tells it."""
    if not rows:
        return None
    own = any(row.imported is None for row in rows)
    counted = () if own else SPEEDS  # matters for other tools' rows alone
    told = {name: sum(_tells(row, METRICS[name]) for row in rows) for name in counted}
    sought = rows[0].bound_p99_ns is not None
    metric = METRICS[speed_name(rows[0].scenario, own, told, sought)]
    return metric if any(_tells(row, metric) for row in rows) else None


def _tells(row: Row, metric: Metric) -> bool:
    return metric.value(row) is not None
