"""The roofline of a report: rows with counted work, under the measured ceilings of their device."""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.analysis.table_types import Row
from edgebench.calibration import Calibration
from edgebench.record import Part
from edgebench.roofline.roofline_points import Roofline, roofline
from edgebench.text.plain_text import plain
from edgebench.words.unknown_words import NO_ROOFLINE


class RoofPoint(Part, frozen=True, kw_only=True):
    row: int
    ops_per_byte: float
    gops_per_s: float
    efficiency: float | None = None  # of the peak
    bound: str = ""  # "compute" or "memory"


class Roof(Part, frozen=True, kw_only=True):
    device: str
    peak_gops_per_s: float
    peak_gbytes_per_s: float
    name: str  # "fp32, 2 threads"


def roofs_of(
    rows: Sequence[Row], calibrations: Sequence[Calibration]
) -> tuple[list[Roof], list[RoofPoint], str]:
    result = roofline(rows, calibrations)
    points = [
        RoofPoint(
            row=point.row,
            ops_per_byte=point.intensity,
            gops_per_s=point.achieved_per_s / 1e9,
            efficiency=point.efficiency,
            bound=point.bound or "",
        )
        for point in result.points
        if point.roof_per_s is not None
        and point.intensity is not None
        and point.achieved_per_s is not None
    ]
    if points:
        return _roofs(result), points, ""
    ranked = [point for point in result.points if rows[point.row].ranked]
    reasons = dict.fromkeys(why for point in ranked for why in point.unknown.values())
    return [], [], plain("; ".join(list(reasons)[:3])) or NO_ROOFLINE


def _roofs(result: Roofline) -> list[Roof]:
    """Returns for every device the peak of each kind of arithmetic, for the threads that rows ran with."""
    used = {
        (point.device, point.threads) for point in result.points if point.roof_per_s is not None
    }
    roofs = []
    for device, ceilings in result.ceilings.items():
        bands = {c.threads: c.per_s for c in ceilings if c.what == "memory_add"}
        for ceiling in ceilings:
            if (device, ceiling.threads) not in used or ceiling.threads not in bands:
                continue
            if ceiling.what != "memory_add":
                kind = ceiling.what.removeprefix("gemm_")
                roofs.append(
                    Roof(
                        device=plain(device),
                        name=f"{kind}, {ceiling.threads} thread{'s' * (ceiling.threads > 1)}",
                        peak_gops_per_s=ceiling.per_s / 1e9,
                        peak_gbytes_per_s=bands[ceiling.threads] / 1e9,
                    )
                )
    return roofs
