"""Predictions as typed objects, `edgebench.prediction/1`. None of them was measured."""

from __future__ import annotations

from typing import Final, Literal

from edgebench.backend import Scalar
from edgebench.record import Part

SCHEMA: Final = "edgebench.prediction/1"
SUGGESTIONS: Final = 10  # cells


class Predicted(Part, frozen=True, kw_only=True):
    """A cell that was never run on the device. It is modelled: never ranked, and never a baseline."""

    id: str
    device: str
    status: Literal["modelled"] = "modelled"
    workload: str
    workload_version: int
    scenario: str
    backend: str
    variant: dict[str, Scalar]
    time_ns: float  # median latency; offline: of an item
    low_ns: float | None  # 90 % interval; None: `unknown` says why
    high_ns: float | None
    measured_on: list[str]  # devices
    unknown: dict[str, str]  # field -> why it is None


class Suggested(Part, frozen=True, kw_only=True):
    """A cell that is worth measuring on the device, the most informative one first."""

    id: str
    workload: str
    scenario: str
    backend: str
    variant: dict[str, Scalar]
    measured_on: list[str]


class Prediction(Part, frozen=True, kw_only=True):
    """What is expected of one device."""

    schema: Literal["edgebench.prediction/1"] = SCHEMA
    device: str | None  # None: suggestions for a device that ran nothing yet
    known_devices: list[str]
    anchors: list[str]  # cells that the device ran and others as well
    confidence: float  # of the intervals
    calibrated_on: int  # known devices that were left out in turn
    predicted: list[Predicted]
    suggested: list[Suggested]
    notes: list[str]


class WorthMeasuring(Part, frozen=True, kw_only=True):
    """Modelled cells that may be faster than the best measured one of their workload and scenario."""

    cells: list[Predicted]
    notes: list[str]
