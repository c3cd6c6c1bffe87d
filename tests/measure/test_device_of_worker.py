"""What a worker records of a device with memory and time of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgebench.measure.replicate import phases, quality_checks
from edgebench.probes import process_memory

JOB: Any = SimpleNamespace(memory_budget_bytes=None, memory_budget_by="")


@pytest.mark.parametrize(
    ("device", "peak", "source"),
    [
        ((None, ""), 100, "VmHWM"),  # the process holds everything
        ((40, "cudaMemGetInfo"), 140, "VmHWM + cudaMemGetInfo"),
        ((None, "no counter"), None, "no counter"),  # resident memory alone would flatter it
    ],
)
def test_the_peak_is_of_process_and_device_together(
    monkeypatch: pytest.MonkeyPatch, device: Any, peak: int | None, source: str
) -> None:
    monkeypatch.setattr(process_memory, "peak_rss", lambda: (100, "VmHWM"))
    session: Any = SimpleNamespace(device_memory=lambda: device)
    found = phases.peak_of(session, JOB)
    assert (found.peak_bytes, found.peak_source) == (peak, source)
    assert (found.device_peak_bytes, found.device_source) == device


def test_a_peak_that_nobody_knows_stays_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_memory, "peak_rss", lambda: (None, "no VmHWM"))
    session: Any = SimpleNamespace(device_memory=lambda: (40, "cudaMemGetInfo"))
    assert phases.peak_of(session, JOB).peak_bytes is None
    assert phases.peak_of(session, JOB).peak_source == "no VmHWM"


def test_a_file_of_unknown_precision_is_judged_as_a_reduced_one() -> None:
    def job(unknown: bool) -> Any:
        return SimpleNamespace(precision="as-is", precision_unknown=unknown)

    assert phases.precision_of(job(unknown=False)) in quality_checks.PARITY_LIMIT
    assert phases.precision_of(job(unknown=True)) not in quality_checks.PARITY_LIMIT
