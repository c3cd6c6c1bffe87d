"""Makes a results site of result files: rows, series, and a report for each device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edgebench.analysis.frame import Frame
from edgebench.analysis.per_row.environment_differences import RunEnvironments
from edgebench.api.history import frame_of
from edgebench.api.result_files import calibrations_of, files_of, records_of
from edgebench.errors import UsageError
from edgebench.metrics import metric
from edgebench.record import Record
from edgebench.site.build_site import SiteBuilder
from edgebench.site.site_data import ReportLink
from edgebench.site.write_site import report_name, take_folder, write_site
from edgebench.trend.build_trend import build_trend

Reports = Literal["newest", "all", "none"]


def make_site(
    paths: Sequence[Path],
    out: Path,
    *,
    title: str,
    metrics: Sequence[str] = (),
    reports: Reports = "newest",
) -> int:
    """Writes the site and returns its size in bytes, reports left out. Raises UsageError and StoreError."""
    asked = [metric(name) for name in dict.fromkeys(metrics)]
    parquet = any(path.suffix == ".parquet" for path in paths)
    if reports != "none" and not parquet:
        from edgebench.report import vegalite

        vegalite.require()  # before minutes of reading
    environments = RunEnvironments()
    frame = frame_of(paths, environments)
    if not len(frame):
        raise UsageError("the results hold no rows", "run `edgebench run` first")
    trend = build_trend(frame, asked, "date", environments.of_run)
    take_folder(out)
    pages = {} if parquet or reports == "none" else _write_reports(paths, frame, out, reports)
    return write_site(SiteBuilder(frame, trend, pages), title, out)


def _write_reports(
    paths: Sequence[Path], frame: Frame, out: Path, which: Reports
) -> dict[str, list[ReportLink]]:
    """The reports of runs, the newest first; returns device -> pages. One run is in memory at a time."""
    pages: dict[str, list[ReportLink]] = {}
    taken: set[str] = set()
    for (device, run), started in _runs(frame, which):
        name = report_name(f"{device}-{run}" if which == "all" else device, taken)
        _write_report(paths, device, run, out / name)
        link = ReportLink(run=run, started_utc=started, page=name)
        pages.setdefault(device, []).append(link)
    return pages


def _write_report(paths: Sequence[Path], device: str, run: str, out: Path) -> None:
    from edgebench.report.build_report import build_report
    from edgebench.report.write_report import write

    records: list[Record] = []
    names: dict[str, None] = {}
    for file in files_of(paths, lambda _: None):
        for record in records_of([file]):
            if (record.device.name, record.run.id) == (device, run):
                records.append(record)
                names[file.name] = None
    report = build_report(records, list(names), lambda devices: calibrations_of((), devices))
    write(report, out, "html")


def _runs(frame: Frame, which: Reports) -> list[tuple[tuple[str, str], str]]:
    """Device and run with its start, the newest first; of each device all, or the newest one."""
    found = {
        (str(device), str(run)): str(started or "")
        for device, run, started in frame.grouped(("device", "run", "started_utc")).names
    }
    newest_first = sorted(found.items(), key=lambda item: item[1], reverse=True)
    if which == "all":
        return newest_first
    first: dict[str, tuple[tuple[str, str], str]] = {}
    for key, started in newest_first:
        first.setdefault(key[0], (key, started))
    return list(first.values())
