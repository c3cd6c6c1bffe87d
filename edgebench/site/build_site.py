"""Aggregates any number of rows to what pages show: the newest row of each cell, and its series."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import inf, isnan
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from edgebench.analysis.frame import Frame, Indices, SomeRows
from edgebench.analysis.pick import pick
from edgebench.analysis.pick_report import Choice
from edgebench.metrics import METRICS
from edgebench.render.number_format import estimate_mark, measured, quantity, with_width
from edgebench.site.site_data import Cell, DevicePage, Index, Newest, ReportLink
from edgebench.trend.cell_series import started_ranks
from edgebench.trend.trend_report import Series, Trend

MAX_POINTS = 400  # of a series on a page, the newest ones
_GROUP = ("device", "workload", "workload_version", "scenario")
Key = tuple[str, str, float | None]
first = itemgetter(0)


def newest_rows(frame: Frame) -> Indices:
    """The last row of each cell and device, by the start of its run, whatever became of it."""
    groups = frame.grouped(("device", "id", "rate_per_s")).codes
    order = np.lexsort((np.arange(len(frame)), started_ranks(frame), groups))
    last = np.flatnonzero(np.append(np.diff(groups[order]) != 0, True)) if len(order) else order
    return np.sort(order[last])


class SiteBuilder:
    """Everything that pages of these rows need. `reports`: device -> those of its runs, the newest first."""

    def __init__(
        self, frame: Frame, trend: Trend, reports: Mapping[str, Sequence[ReportLink]]
    ) -> None:
        self._all = frame
        self._frame = SomeRows(frame, newest_rows(frame))
        self._trend = trend
        self._reports = reports
        self._series: dict[Key, list[Series]] = defaultdict(list)
        for each in trend.series:
            self._series[each.device, each.id, each.rate_per_s].append(each)
        self.devices = sorted(map(str, self._frame.codes("device").names))

    def index(self, title: str) -> Index:
        """The choice of each group of rows, by the one engine of choices."""
        report = pick(self._frame, [], None)
        steps = Counter(
            (each.device, each.workload, each.workload_version, each.scenario)
            for each in self._trend.series
            for _ in each.steps
        )
        started = self._started()
        pages = {device: number for number, device in enumerate(self.devices)}
        return Index(
            title=title,
            rows=len(self._all),
            runs=len(self._all.codes("run").names),
            newest=[self._newest(each, steps, started, pages) for each in report.picks],
            notes=[*report.notes, *self._trend.notes],
        )

    def _started(self) -> dict[tuple[object, ...], str]:
        """The newest start of each group."""
        groups, started = self._frame.grouped(_GROUP), self._frame.codes("started_utc")
        newest: dict[tuple[object, ...], str] = {}
        for group, code in zip(groups.codes.tolist(), started.codes.tolist(), strict=True):
            key = groups.names[group]
            newest[key] = max(newest.get(key, ""), str(started.names[code] or ""))
        return newest

    def _newest(
        self,
        choice: Choice,
        steps: Mapping[tuple[str, str, int, str], int],
        started: Mapping[tuple[object, ...], str],
        pages: Mapping[str, int],
    ) -> Newest:
        device = str(choice.device)
        key = device, choice.workload, choice.workload_version, choice.scenario
        best = choice.choice
        return Newest(
            device=device,
            workload=choice.workload,
            workload_version=choice.workload_version,
            scenario=choice.scenario,
            backend=None if best is None else best.backend,
            variant={} if best is None else best.variant,
            value="-" if best is None else with_width(best.value, choice.objective.unit),
            sort=None if best is None else best.value.value,
            quality=None if best is None else best.quality,
            rows=choice.rows,
            started_utc=started.get(key, ""),
            steps=steps.get(key, 0),
            page=pages[device],
            report=next((link.page for link in self._reports.get(device, ())), ""),
        )

    def pages(self) -> Iterator[DevicePage]:
        """One for each device, in their order."""
        devices = self._frame.codes("device")
        places = {name: code for code, name in enumerate(devices.names)}
        for device in self.devices:
            rows = np.flatnonzero(devices.codes == places[device])
            cells = [cell for _, cell in sorted(map(self._placed, rows.tolist()), key=first)]
            links = list(self._reports.get(device, ()))
            yield DevicePage(device=device, reports=links, cells=cells)

    def _placed(self, row: int) -> tuple[tuple[Any, ...], Cell]:
        """The cell and its place: by workload, the fastest that counts first, what is unsupported last."""
        cell = self._cell(row)
        latency_ns, per_s = (
            float(self._frame.numbers(METRICS[name].column())[row])
            for name in ("latency.p50", "throughput")
        )
        slowness = inf if isnan(latency_ns) else latency_ns
        group = cell.workload, cell.workload_version, cell.scenario
        unable = cell.backend if cell.status == "unsupported" else ""
        fewer_per_s = 0.0 if isnan(per_s) else -per_s
        return (*group, unable, not cell.ranked, slowness, fewer_per_s, cell.id), cell

    def _cell(self, row: int) -> Cell:
        frame, identity = self._frame, self._frame.identity(row)
        quality = frame.numbers("quality")[row]
        return Cell(
            id=identity.id,
            workload=identity.workload,
            workload_version=identity.workload_version,
            scenario=identity.scenario,
            backend=identity.backend,
            variant=identity.variant,
            rate_per_s=identity.rate_per_s,
            status=str(frame.text("status", row)),
            ranked=bool(frame.numbers("ranked")[row] == 1),
            run=identity.run,
            started_utc=str(frame.text("started_utc", row) or ""),
            latency=self._words(row, "latency.p50"),
            throughput=self._words(row, "throughput"),
            memory=self._words(row, "memory.peak"),
            size=self._words(row, "model.size"),
            quality=None if np.isnan(quality) else float(quality),
            energy=estimate_mark(str(frame.text("energy.kind", row)))
            + self._words(row, "energy.j_per_inference"),
            series=[
                _shortened(each)
                for each in self._series[identity.device, identity.id, identity.rate_per_s]
            ],
        )

    def _words(self, row: int, name: str) -> str:
        metric = METRICS[name]
        value = self._frame.numbers(metric.column())[row]
        if np.isnan(value):
            return "-"
        if not metric.low_path:
            return quantity(float(value), metric.unit)
        low, high = (self._frame.numbers(metric.column(end))[row] for end in ("low", "high"))
        if np.isnan(low) or np.isnan(high):
            return quantity(float(value), metric.unit)
        return measured(float(value), float(low), float(high), metric.unit)


def _shortened(series: Series) -> Series:
    """The newest points, with steps counted from the first of them."""
    left_out = max(len(series.points) - MAX_POINTS, 0)
    if not left_out:
        return series
    steps = [
        msgspec.structs.replace(step, at=step.at - left_out)
        for step in series.steps
        if step.at >= left_out
    ]
    return msgspec.structs.replace(series, points=series.points[left_out:], steps=steps)
