"""Explains stored rows without a runtime: times, placement and precisions say why one is slower than another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgebench.analysis.table_types import Row
from edgebench.backend import Scalar
from edgebench.definitions.variant_matrix import value_text
from edgebench.errors import UsageError
from edgebench.explain.explanation import Deployment, Explanation, Figure, Finding

_NOT_PROFILED = "a record keeps no times of operators: explain the workload itself to have them"


def explain_rows(
    rows: Sequence[Row], backend: str | None, chosen: Mapping[str, Scalar], against: str | None
) -> Explanation:
    """Explains the row that fits; `against`: a precision, AXIS=VALUE, "none", or None: fp32.

    Raises UsageError where several rows fit, or none does.
    """
    measured = [row for row in rows if row.latency_ns.p50 is not None and row.imported is None]
    subject = _subject(measured, backend, chosen)
    other = _other(measured, subject, against)
    slowdown = None if other is None else _slowdown(subject, other)
    return Explanation(
        workload=subject.workload,
        title=subject.title,
        machine=subject.device,
        subject=_deployment(subject),
        against=None if other is None else _deployment(other),
        slowdown=slowdown,
        findings=_findings(subject),
        notes=[_NOT_PROFILED, *_reasons(subject)],
        unknown={"prediction": "it needs the times of operators"},
    )


def _subject(rows: Sequence[Row], backend: str | None, chosen: Mapping[str, Scalar]) -> Row:
    fitting = [
        row
        for row in rows
        if (backend is None or row.backend == backend)
        and all(row.variant.get(axis) == value for axis, value in chosen.items())
    ]
    if "precision" not in chosen:
        lower = [row for row in fitting if str(row.variant.get("precision")).startswith("int8")]
        fitting = lower or fitting
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise UsageError(
            "no measured row fits", "`edgebench show` lists them; give its values with --set"
        )
    raise UsageError(
        f"{len(fitting)} rows fit, and one is explained: {fitting[0].id}, {fitting[1].id}, ...",
        "say more: --backend NAME, --set AXIS=VALUE, --workload NAME",
    )


def _other(rows: Sequence[Row], subject: Row, against: str | None) -> Row | None:
    if against == "none":
        return None
    axis, _, value = (against or "fp32").rpartition("=")
    for row in rows:
        same = row.workload == subject.workload and row.scenario == subject.scenario
        if not same or row.run != subject.run or row is subject:
            continue
        if axis == "backend":
            if row.backend == value and row.variant == subject.variant:
                return row
        elif row.backend == subject.backend and _differs_in(
            row, subject, axis or "precision", value
        ):
            return row
    if against is not None:
        raise UsageError(f"no row fits --against {against}", "`edgebench show` lists the rows")
    return None


def _differs_in(row: Row, subject: Row, axis: str, value: str) -> bool:
    """Whether the one variant is the other with this value of an axis."""
    rest = {name: each for name, each in row.variant.items() if name != axis}
    theirs = {name: each for name, each in subject.variant.items() if name != axis}
    return rest == theirs and axis in row.variant and value_text(row.variant[axis]) == value


def _slowdown(subject: Row, other: Row) -> Figure:
    """Of medians, with the ends of both intervals: wider than 95 %."""
    ours, theirs = subject.latency_ns, other.latency_ns
    assert ours.p50 is not None
    assert theirs.p50 is not None
    known = ours.p50_low and ours.p50_high and theirs.p50_low and theirs.p50_high
    return Figure(
        value=ours.p50 / theirs.p50,
        low=ours.p50_low / theirs.p50_high if known and ours.p50_low and theirs.p50_high else None,
        high=ours.p50_high / theirs.p50_low if known and ours.p50_high and theirs.p50_low else None,
    )


def _deployment(row: Row) -> Deployment:
    effective = row.effective
    latency = row.latency_ns
    return Deployment(
        label=str(row.variant.get("precision", row.backend)),
        cell=row.id,
        backend=row.backend,
        variant=dict(row.variant),
        device=effective.device if effective else "",
        precision=effective.precision if effective else None,
        threads=effective.threads if effective else None,
        runtime=effective.runtime if effective else "",
        run_ns=Figure(value=float(latency.p50 or 0), low=latency.p50_low, high=latency.p50_high),
        operators_ns=0.0,
        profiled_ns=0.0,
        runs=0,
        source="the record",
        kinds=[],
        operators=[],
        notes=list(effective.notes) if effective else [],
    )


def _findings(row: Row) -> list[Finding]:
    """What the runtime told of the graph that ran."""
    effective = row.effective
    if effective is None:
        return []
    found = []
    floats = {
        kind: count
        for kind, count in (effective.compute_nodes or {}).items()
        if not kind.startswith("int") and count
    }
    if str(row.variant.get("precision", "")).startswith("int8"):
        found += [Finding(code="left_in_float", what=kind, count=n) for kind, n in floats.items()]
    providers = effective.providers or {}
    main = max(providers, key=lambda name: providers[name], default="")
    others = {name: count for name, count in providers.items() if name != main and count}
    if (
        row.backend == "ort"
    ):  # of other runtimes they are kernels, of which there are always several
        found += [
            Finding(code="other_provider", what=name, count=count) for name, count in others.items()
        ]
    return found


def _reasons(row: Row) -> list[str]:
    return [f"{row.status}: {reason.message}" for reason in row.reasons]
