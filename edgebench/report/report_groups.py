"""The groups of a report: rows of one workload and scenario on all devices, and what to deploy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

from edgebench.analysis import competition
from edgebench.analysis.per_row.row_labels import common
from edgebench.analysis.table_types import Front, Pick, Row, Table
from edgebench.analysis.uncertainty import MEMORY_RESOLUTION
from edgebench.metrics import METRICS, Metric
from edgebench.render import deploy_line, table_wording
from edgebench.report import row_facts
from edgebench.report.report_model import Decision, FrontLine, Group, Numbers
from edgebench.text.plain_text import plain

_RATE = "items per second, more is better"
GroupKey = tuple[str, int, str, float | None, int | None, int | None, str, int | None, int | None]
Block = tuple[Front, Pick, list[int]]  # of one device

#: Vertical axis -> the field of Numbers, and whether more is better (None: the quality says).
YS: dict[str, tuple[str, bool | None]] = {
    "quality": ("quality", None),
    "memory": ("memory_mib", False),
    "energy": ("energy_mj", False),
}


def grouped(table: Table) -> dict[GroupKey, list[Block]]:
    """The blocks of every group, one for each device, in the order in which tables print them."""
    groups: dict[GroupKey, list[Block]] = defaultdict(list)
    for block in table_wording.blocks(table):
        front = block[0]
        key = (
            *(front.workload, front.workload_version, front.scenario, front.rate_per_s),
            *(front.prompt_tokens, front.new_tokens, front.request or ""),
            *(front.samples_per_query, front.bound_p99_ns),
        )
        groups[key].append(block)
    return dict(sorted(groups.items(), key=lambda item: _order(item[0])))


def _order(key: GroupKey) -> tuple[object, ...]:
    numbers = (*key[3:6], *key[7:])
    return *key[:2], key[2] != "single_stream", key[2], *(part or 0.0 for part in numbers), key[6]


def speed_of(rows: Sequence[Row]) -> Metric:
    """The metric of speed by which these rows are compared."""
    return competition.speed_of([row for row in rows if row.ranked]) or METRICS["latency.p50"]


def group_of(table: Table, blocks: Sequence[Block], names: Sequence[str]) -> Group:
    """The group of these blocks; `names` are the labels of all rows."""
    members = [index for _, _, indices in blocks for index in indices]
    rows = [table.rows[index] for index in members]
    head = blocks[0][0]
    first = next((row.quality for row in rows if row.quality is not None), None)
    speed = speed_of(rows)
    rate = speed.unit == "per_s"
    left_out = dict.fromkeys(
        f"{METRICS[item.objective].label} is not part of the front: {item.reason}"
        for front, _, _ in blocks
        for item in front.left_out
    )
    objectives = dict.fromkeys(name for front, _, _ in blocks for name in front.objectives)
    numbers = {index: row_facts.numbers(table.rows[index], speed) for index in members}
    return Group(
        name=plain(f"{head.workload}@{head.workload_version}"),
        scenario=table_wording.scenario(head),
        title=plain(rows[0].title),
        shared=plain(common(rows)),
        x="rate" if rate else "latency",
        x_title=_RATE if rate else f"{speed.label} (ms), less is better",
        ys=[y for y, (field, _) in YS.items() if any(_has(n, field) for n in numbers.values())],
        quality_metric=plain(first.metric) if first else "",
        quality_better=first.better if first else "",
        demands=table_wording.demands(rows),
        objectives=[METRICS[name].label for name in objectives],
        left_out=[plain(words) for words in left_out],
        decisions=[_decision(table, pick, indices, names) for _, pick, indices in blocks],
        lines=list(_lines(table, numbers, rate, first is None or first.better == "higher")),
        rows=members,
    )


def _has(numbers: Numbers, field: str) -> bool:
    return getattr(numbers, field) is not None


# --- what to deploy


def _decision(table: Table, pick: Pick, members: Sequence[int], names: Sequence[str]) -> Decision:
    row = None if pick.row is None else table.rows[pick.row]
    missed = table_wording.not_reached(
        [table.rows[i] for i in members], [names[i] for i in members]
    )
    certainty = _certainty(pick)
    words = deploy_line.words(table.rows, pick, members)
    return Decision(
        device=plain(pick.device),
        verdict="nothing" if row is None else "clear" if pick.clear else "open",
        certainty=certainty,
        headline="nothing to deploy" if pick.row is None else names[pick.row],
        text=plain(words.text),
        row=pick.row,
        runner_up=pick.runner_up,
        ratio=pick.speedup,
        ratio_low=pick.speedup_low,
        ratio_high=pick.speedup_high,
        faster_probability=pick.faster_probability,
        decided_by=pick.decided_by if certainty == "tied" else [],
        runs=pick.runs,
        busy=plain(pick.busy),
        gain="" if row is None else plain(_gain(row)),
        warnings=[plain(news) for news in (*words.bad_news, missed) if news],
        around="" if row is None else table_wording.around(row),
    )


def _certainty(pick: Pick) -> Literal["only", "sure", "likely", "tied", "no interval", "nothing"]:
    if pick.row is None:
        return "nothing"
    if pick.runner_up is None:
        return "only"
    if not pick.decided_by or pick.decided_by[0] not in competition.SPEEDS:
        return "tied"
    if pick.faster_probability is None:
        return "no interval"
    return "sure" if pick.clear else "likely"


def _gain(row: Row) -> str:
    gain = row.baseline
    return "" if gain is None else f"{gain.speedup:.2f}x"


# --- the front as a line


def _lines(
    table: Table, numbers: dict[int, Numbers], rate: bool, quality_higher: bool
) -> Iterator[FrontLine]:
    """For each device and vertical axis, the staircase of its ranked rows."""
    devices: dict[str, list[Numbers]] = defaultdict(list)
    for index, each in numbers.items():
        if table.rows[index].ranked:
            devices[table.rows[index].device].append(each)
    for device, rows in devices.items():
        for y, (field, higher) in YS.items():
            points = [
                (x, value)
                for each in rows
                if (x := each.rate_per_s if rate else each.latency_ms) is not None
                and (value := getattr(each, field)) is not None
            ]
            more = quality_higher if higher is None else higher
            slack = MEMORY_RESOLUTION if y == "memory" else 0.0
            if len(stairs := staircase(points, rate, more, slack)) > 1:
                yield FrontLine(device=plain(device), y=y, points=stairs)


def staircase(
    points: Sequence[tuple[float, float]], x_higher: bool, y_higher: bool, slack: float = 0.0
) -> list[tuple[float, float]]:
    """Corners of the border of what is dominated, by point values, from the best x on.

    A point counts where its y is better, by more than the share `slack`, than that of every point
    with a better x; between two such points lies the corner that both dominate.
    """
    towards = 1 if x_higher else -1
    upwards = 1 if y_higher else -1
    best: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (-towards * point[0], -upwards * point[1])):
        if not best or upwards * (y - best[-1][1]) > slack * abs(best[-1][1]):
            best.append((x, y))
    corners = best[:1]
    for (_, before), (x, y) in pairwise(best):
        corners += [(x, before), (x, y)]
    return corners
