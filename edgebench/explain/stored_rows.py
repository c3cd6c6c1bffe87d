"""Explains stored rows without a runtime: times, placement and precisions say why one is slower than another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from edgebench.analysis.table_types import Row
from edgebench.backend import Scalar
from edgebench.definitions.variant_matrix import value_text
from edgebench.errors import UsageError
from edgebench.explain.describe_deployment import kinds_of
from edgebench.explain.explanation import Deployment, Explanation, Figure, Finding
from edgebench.explain.findings import findings_of
from edgebench.record import OperatorProfile

_NOT_PROFILED = "the record keeps no times of operators: `edgebench run --profile` does, or explain the workload itself"
_NONE = OperatorProfile(
    source="the record", runs=0, run_ns=0.0, profiled_ns=0.0, operators_ns=0.0, operators=[]
)
#: Of a row, by the run and the cell's id.
Profiles = Mapping[tuple[str, str], OperatorProfile]


def explain_rows(
    rows: Sequence[Row],
    backend: str | None,
    chosen: Mapping[str, Scalar],
    against: str | None,
    profiles: Profiles = MappingProxyType({}),
) -> Explanation:
    """Explains the row that fits; `against`: a precision, AXIS=VALUE, "none", or None: fp32. `profiles`: what
    records keep of operators.

    Raises UsageError where several rows fit, or none does.
    """
    measured = [row for row in rows if row.latency_ns.p50 is not None and row.imported is None]
    subject = _subject(measured, backend, chosen)
    other = _other(measured, subject, against)
    return _explained(subject, other, profiles)


def profiled_rows(rows: Sequence[Row], profiles: Profiles) -> list[Explanation]:
    """Explains every row whose operators were kept, beside fp32 of the same run where that was measured."""
    known = [row for row in rows if row.latency_ns.p50 is not None and _profile(row, profiles)]
    pairs = [(row, _other(rows, row, None)) for row in known]
    beside = {id(other) for _, other in pairs if other is not None}
    return [_explained(row, other, profiles) for row, other in pairs if id(row) not in beside]


def _explained(subject: Row, other: Row | None, profiles: Profiles) -> Explanation:
    slowdown = None if other is None else _slowdown(subject, other)
    described = _deployment(subject, _profile(subject, profiles))
    return Explanation(
        workload=subject.workload,
        title=subject.title,
        machine=subject.device,
        subject=described,
        against=None if other is None else _deployment(other, _profile(other, profiles)),
        slowdown=slowdown,
        findings=_all_findings(subject, described),
        notes=[*([] if described.operators else [_NOT_PROFILED]), *_reasons(subject)],
        unknown={"prediction": "it needs the model's file: explain the workload itself"},
    )


def _profile(row: Row, profiles: Profiles) -> OperatorProfile | None:
    return profiles.get((row.run, row.id))


def _all_findings(row: Row, described: Deployment) -> list[Finding]:
    """What the runtime told of the graph, and what the operators show; each once."""
    seen = findings_of(described, []) if described.operators else []
    codes = {each.code for each in seen}
    return [*seen, *(each for each in _findings(row) if each.code not in codes)]


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
    ratio = ours.p50 / theirs.p50
    if not (ours.p50_low and ours.p50_high and theirs.p50_low and theirs.p50_high):
        return Figure(value=ratio)
    low, high = ours.p50_low / theirs.p50_high, ours.p50_high / theirs.p50_low
    return Figure(value=ratio, low=low, high=high)


def _deployment(row: Row, profile: OperatorProfile | None) -> Deployment:
    effective = row.effective
    latency = row.latency_ns
    told = profile or _NONE
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
        wall_ns=told.run_ns,
        operators_ns=told.operators_ns,
        beside_ns=max(0.0, told.run_ns - told.operators_ns) if told.operators else 0.0,
        profiled_ns=told.profiled_ns,
        runs=told.runs,
        source=told.source,
        kinds=kinds_of(told.operators),
        operators=list(told.operators),
        notes=[*told.notes, *(effective.notes if effective else ())],
    )


def _findings(row: Row) -> list[Finding]:
    """What the runtime told of the graph that ran."""
    effective = row.effective
    if effective is None:
        return []
    found = []
    if str(row.variant.get("precision", "")).startswith("int8"):
        found += [
            Finding(code="left_in_float", what=kind, count=count)
            for kind, count in (effective.compute_nodes or {}).items()
            if not kind.startswith("int") and count
        ]
    providers = effective.providers or {}
    main = max(providers, key=lambda name: providers[name], default="")
    if row.backend == "ort":  # other runtimes tell kernels, of which there are always several
        found += [
            Finding(code="other_provider", what=name, count=count)
            for name, count in providers.items()
            if name != main and count
        ]
    return found


def _reasons(row: Row) -> list[str]:
    return [f"{row.status}: {reason.message}" for reason in row.reasons]
