"""Makes a results site of result files: rows, series, and a report for each device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edgebench.analysis.frame import Frame
from edgebench.api.history import frame_of
from edgebench.api.result_files import calibrations_of, files_of, records_of
from edgebench.errors import UsageError
from edgebench.metrics import metric
from edgebench.record import Record
from edgebench.site.build_site import SiteBuilder
from edgebench.site.write_site import report_name, take_folder, write_site
from edgebench.trend.build_trend import RunEnvironments, build_trend

Reports = Literal["newest", "none"]


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
    if reports == "newest" and not parquet:
        from edgebench.report import vegalite

        vegalite.require()  # before minutes of reading
    environments = RunEnvironments()
    frame = frame_of(paths, environments)
    if not len(frame):
        raise UsageError("the results hold no rows", "run `edgebench run` first")
    trend = build_trend(frame, asked, "date", environments.of_run)
    take_folder(out)
    pages = {} if parquet or reports == "none" else _write_reports(paths, frame, out)
    return write_site(SiteBuilder(frame, trend, pages), title, out)


def _write_reports(paths: Sequence[Path], frame: Frame, out: Path) -> dict[str, str]:
    """The report of the newest run of each device; returns device -> page."""
    from edgebench.report.build_report import build_report
    from edgebench.report.write_report import write

    newest = _newest_runs(frame)
    records: dict[str, list[Record]] = {device: [] for device in newest}
    names: dict[str, dict[str, None]] = {device: {} for device in newest}
    for file in files_of(paths, lambda _: None):
        for record in records_of([file]):
            if newest[record.device.name] == record.run.id:
                records[record.device.name].append(record)
                names[record.device.name][file.name] = None
    pages: dict[str, str] = {}
    taken: set[str] = set()
    for device, own in records.items():
        report = build_report(
            own, list(names[device]), lambda devices: calibrations_of((), devices)
        )
        pages[device] = report_name(device, taken)
        write(report, out / pages[device], "html")
    return pages


def _newest_runs(frame: Frame) -> dict[str, str]:
    """Of each device the run that started last."""
    newest: dict[str, tuple[str, str]] = {}
    for device, run, started in frame.grouped(("device", "run", "started_utc")).names:
        newest[str(device)] = max(newest.get(str(device), ("", "")), (str(started or ""), str(run)))
    return {device: run for device, (_, run) in newest.items()}
