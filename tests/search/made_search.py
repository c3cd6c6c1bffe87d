"""A search that was never run: a report of it with as many groups as asked for, the same each time."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from edgebench.models.precision_map import CalibrationSpec, PrecisionMap
from edgebench.search.search_messages import (
    Candidate,
    Exploration,
    LimitVerdict,
    UnitFacts,
    Verdict,
)
from edgebench.search.search_report import SearchReport, SearchRow, float_groups

SHA256 = "a" * 64


def units(count: int) -> list[UnitFacts]:
    """Every third group is slower in int8; damages differ."""
    return [
        UnitFacts(
            name=f"/features/{number}/Conv",
            op="Conv",
            joiner=False,
            fp32_us=100.0 + 40 * math.sin(number),
            int8_us=160.0 if number % 3 == 2 else 45.0,
            timed=True,
            damage=0.01 * (number % 7),
        )
        for number in range(count)
    ]


def candidate(count: int, int8: int) -> Candidate:
    """A map with the first groups in int8."""
    groups: dict[str, Any] = {
        unit.name: "int8" if number < int8 else "fp32" for number, unit in enumerate(units(count))
    }
    return Candidate(
        map=PrecisionMap(model_sha256=SHA256, recipe="u8s8/1", groups=groups),
        origin="cut", int8_groups=int8, predicted_ms=1.0, predicted_damage=0.1, damage=0.1,
    )  # fmt: skip


def row(precision: str, p50_ms: float, accuracy: float, **changes: Any) -> SearchRow:
    gain = 6.0 / p50_ms
    facts: dict[str, Any] = {
        "id": precision, "backend": "ort", "precision": precision, "map_file": None, "int8_parts": None,
        "groups": None, "int8_groups": None, "p50_ns": p50_ms * 1e6, "speedup": gain, "speedup_low": gain * 0.97,
        "speedup_high": gain * 1.03, "size_bytes": 1 << 20, "memory_bytes": 1 << 26, "quality": {"accuracy": accuracy},
        "passed": True, "predicted_ms": None, "origin": "", "front": False, "standing": "untested", "status": "ok",
    }  # fmt: skip
    return SearchRow(**{**facts, **changes})


def made_search(count: int = 12, chosen: bool = True) -> SearchReport:
    """Three maps beside the usual precisions; the second is the choice, or nothing is."""
    maps = [candidate(count, int8) for int8 in (count - 1, count // 2, count // 4)]
    names = [each.map.precision for each in maps]
    limit = LimitVerdict(
        metric="accuracy", limit=0.8, better="higher", value=0.82, fp32=0.84, change=-0.02, low=-0.03, high=-0.01,
        items=1000, shown=chosen,
    )  # fmt: skip
    mapped = [
        row(
            each.map.precision, 2.2 + 0.9 * number, 0.78 + 0.02 * number, front=number != 2,
            standing=("tuning", "safe" if chosen else "held", "untested")[number], groups=count,
            int8_groups=each.int8_groups, split={"int8": each.int8_groups, "fp32": count - each.int8_groups},
            int8_parts=each.int8_groups, map_file=f"results/desk/x.maps/{number}.yaml",
        )
        for number, each in enumerate(maps)
    ]  # fmt: skip
    rows = [
        row("fp32", 6.0, 0.84, standing="base", front=True),
        row("int8-static", 2.0, 0.71, standing="missed"),
        row("int8-dynamic", 6.3, 0.835, standing="untested"),
        *mapped,
    ]
    facts = units(count)
    return SearchReport(
        workload="file-typing",
        title="Types of files",
        subject=["file-typing"],
        rows=sorted(rows, key=lambda each: each.p50_ns or 0.0),
        chosen=names[1] if chosen else None,
        verdicts=[Verdict(precision=names[1], limits=[limit], items=1000, tested_on="files of other seeds")],
        confidence=0.95,
        explained=names[1],
        kept_in_fp32=float_groups(facts, maps[1]),
        exploration=Exploration(
            calibration=CalibrationSpec(), calibration_errors={"minmax": 0.1}, units=facts, fp32_ms=3.0,
            fp32_evaluation={"accuracy": 0.84}, fp32_tuning={"accuracy": 0.83}, tuned_on="files of other seeds",
            tuning_items=336, evaluation_items=336, candidates=maps, seconds=1.0,
        ),
        results=None,
        seconds=95.0,
        budget_s=100.0,
        notes=["there was no time to calibrate by entropy"],
    )  # fmt: skip


def without_answers(report: SearchReport) -> SearchReport:
    """The same where the task does not tell its answers, so that no change has an interval."""
    [verdict] = report.verdicts
    [limit] = verdict.limits
    blind = msgspec.structs.replace(limit, low=None, high=None, items=0, shown=False)
    return msgspec.structs.replace(
        report, verdicts=[msgspec.structs.replace(verdict, limits=[blind])]
    )
