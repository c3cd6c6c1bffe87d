"""What the pages of a site show, as typed objects; each page reads one file of them."""

from __future__ import annotations

from typing import Final

from edgebench.backend import Scalar
from edgebench.record import Part
from edgebench.trend.trend_report import Series

SCHEMA: Final = "edgebench.site/1"


class ReportLink(Part, frozen=True, kw_only=True):
    """The report of a run on a device."""

    run: str
    started_utc: str
    page: str


class Newest(Part, frozen=True, kw_only=True):
    """The deployment to ship on a device for a workload, by its newest rows."""

    device: str
    workload: str
    workload_version: int
    scenario: str
    backend: str | None  # None: no row can be deployed
    variant: dict[str, Scalar]
    value: str  # with its interval, as people read it
    sort: float | None  # the value as a number
    quality: float | None
    rows: int  # that compete
    started_utc: str  # of the newest run
    steps: int  # of all series of the group
    page: int  # number of the device's file
    report: str  # its page, "" where there is none


class Index(Part, frozen=True, kw_only=True):
    schema: str = SCHEMA
    title: str
    rows: int  # that were read
    runs: int
    newest: list[Newest]
    notes: list[str]


class Cell(Part, frozen=True, kw_only=True):
    """A cell by its newest row, with its series."""

    id: str
    workload: str
    workload_version: int
    scenario: str
    backend: str
    variant: dict[str, Scalar]
    rate_per_s: float | None
    status: str
    ranked: bool
    run: str
    started_utc: str
    latency: str
    throughput: str
    memory: str
    size: str
    quality: float | None
    energy: str
    series: list[Series]


class DevicePage(Part, frozen=True, kw_only=True):
    device: str
    reports: list[ReportLink]  # the newest first
    cells: list[Cell]
