"""Finds result files by the paths that users give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edgebench.calibration import Calibration, default_path, read_calibration
from edgebench.errors import StoreError, UsageError
from edgebench.record import Record
from edgebench.store import folders_elsewhere, iter_records, result_files
from edgebench.text.plain_text import say


def files_of(paths: Sequence[Path], tell: Callable[[str], None] = say) -> list[Path]:
    """Every file once, however often it is named. `tell` hears of folders that are left out.

    Raises StoreError where there is no file.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        for file in result_files(path):
            files.setdefault(file.resolve(), file)
        for folder in sorted(folders_elsewhere(path)) if path.is_dir() else ():
            tell(f"{folder}: measured elsewhere, left out; name the folder to see it")
    if not files:
        raise StoreError(
            f"no result files below {', '.join(map(str, paths))}",
            "`edgebench run` writes results/<device>/<time>-<id>.jsonl",
        )
    return list(files.values())


def refuse_to_replace(out: Path | None, files: Sequence[Path]) -> None:
    """Raises UsageError where what is to be written would replace results that are read."""
    if out is not None and out.exists() and any(out.samefile(file) for file in files):
        raise UsageError(
            f"{out}: this is one of the files to read, and would be overwritten", "give another -o"
        )


def records_of(files: Sequence[Path]) -> Iterator[Record]:
    """The records of all files, one at a time."""
    for file in files:
        yield from iter_records(file)


def calibrations_of(paths: Sequence[Path], devices: Sequence[str]) -> list[Calibration]:
    """The files given, each of another one of these devices, else what the cache has of them."""
    if paths:
        return list(_by_device(paths, devices).values())
    from edgebench.assets import cache_dir

    files = [default_path(cache_dir(), device) for device in devices]
    return [read_calibration(file) for file in files if file.is_file()]


def _by_device(paths: Sequence[Path], devices: Sequence[str]) -> dict[str, Calibration]:
    calibrations: dict[str, Calibration] = {}
    for path in paths:
        calibration = read_calibration(path)
        device = calibration.device.name
        if device not in devices:
            raise UsageError(f"{path} is of {device}, and the results of {', '.join(devices)}")
        if calibrations.setdefault(device, calibration) is not calibration:
            raise UsageError(f"{path}: a second calibration of {device}", "leave one of them out")
    return calibrations
