"""Describes one profiled deployment as data: its operators with their shares and ceilings, and its kinds of operators."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import msgspec

from edgebench.backend import Scalar
from edgebench.calibration import Calibration, Ceiling, What
from edgebench.explain.explanation import Deployment, KindLine
from edgebench.explain.graph_facts import NodeFacts
from edgebench.explain.node_groups import CONVERTING
from edgebench.explain.profile_runs import Measured
from edgebench.explain.turn_statistics import figure, quartiles
from edgebench.operator_times import Bound, OperatorLine, OperatorTime

#: Where neither arithmetic nor memory explains this share of an operator's time, it is overhead.
MIN_EXPLAINED = 0.1
#: Operators that sum to this many times a run were slowed by their profiler.
MAX_SLOWED = 1.25
#: A deployment's operators, encoded: of the 64 KiB that a record may hold for a cell, 2 are for the rest.
MAX_BYTES = 62 * 1024
_MAX_NODES = 12  # names of an operator's nodes that are told
_PRODUCTS: Mapping[str, What] = {"fp32": "gemm_fp32", "int8": "gemm_int8"}


@dataclass(frozen=True)
class Named:
    """What a deployment is called."""

    label: str
    cell: str
    backend: str
    variant: dict[str, Scalar]


def deployment(named: Named, measured: Measured, calibration: Calibration | None) -> Deployment:
    """The deployment with its operators, those that take most of the time first."""
    profile, effective = measured.profile, measured.effective
    operators = profile.operators
    total_ns = sum(median(each.times_ns) for each in operators if each.times_ns)
    ceilings = _Ceilings(calibration, effective.threads, effective.device)
    nodes = {node.name: node for node in measured.nodes}
    lines = [_line(each, total_ns, nodes, ceilings) for each in operators if each.times_ns]
    lines.sort(key=lambda line: -line.time_ns)
    kept, left = _within(lines, MAX_BYTES)
    notes = [*profile.notes, *effective.notes]
    compared_ns = [run for turn in measured.compared_ns for run in turn]
    run_ns = figure(measured.compared_by_turn)
    if total_ns > MAX_SLOWED * run_ns.value:
        notes.append(
            "profiled operators sum to more than a run takes: the profiler slows them, and their shares tell "
            "more than their times"
        )
    if left:
        notes.append(f"{left} operators that take least are not listed")
    return Deployment(
        label=named.label,
        cell=named.cell,
        backend=named.backend,
        variant=named.variant,
        device=effective.device,
        precision=effective.precision,
        threads=effective.threads,
        runtime=effective.runtime,
        run_ns=run_ns,
        cpu_time=measured.alone,
        wall_ns=median([run for turn in measured.plain_ns for run in turn]),
        operators_ns=total_ns,
        beside_ns=max(0.0, median(compared_ns) - total_ns) if operators else 0.0,
        profiled_ns=median(profile.runs_ns) if profile.runs_ns else 0.0,
        runs=len(profile.runs_ns),
        source=profile.source,
        kinds=kinds_of(lines),
        operators=kept,
        notes=notes,
    )


class _Ceilings:
    """The best a device can do, by its calibration."""

    def __init__(self, calibration: Calibration | None, threads: int | None, device: str) -> None:
        usable = calibration if device.startswith("cpu") else None
        self._calibration, self._threads = usable, threads

    def of(self, what: What) -> Ceiling | None:
        found = self._calibration
        return None if found is None else found.ceiling(what, self._threads)

    def bound(
        self, operator: OperatorTime, flops: int | None, time_ns: float
    ) -> tuple[float | None, Bound | None]:
        """The least time that the device allows, and what it is that limits the operator."""
        product = _PRODUCTS.get(operator.type or "")
        peak, band = None if product is None else self.of(product), self.of("memory_add")
        if peak is None or band is None or flops is None or operator.moved_bytes is None:
            return None, None
        compute_ns = flops * 1e9 / peak.per_s
        memory_ns = operator.moved_bytes * 1e9 / band.per_s
        least_ns = max(compute_ns, memory_ns)
        if least_ns < MIN_EXPLAINED * time_ns:
            return least_ns, "overhead"
        return least_ns, "compute" if compute_ns >= memory_ns else "memory"


def _line(
    operator: OperatorTime,
    total_ns: float,
    nodes: Mapping[str, NodeFacts],
    ceilings: _Ceilings,
) -> OperatorLine:
    low_ns, time_ns, high_ns = quartiles(operator.times_ns)
    flops = _flops(operator, nodes)
    ceiling_ns, bound = ceilings.bound(operator, flops, time_ns)
    return OperatorLine(
        name=operator.name,
        kind=operator.kind,
        nodes=None
        if operator.nodes is None
        else _nodes_of_operator(operator.nodes, nodes)[:_MAX_NODES],
        provider=operator.provider,
        device=operator.device,
        type=operator.type,
        time_ns=time_ns,
        low_ns=low_ns,
        high_ns=high_ns,
        share=time_ns / total_ns if total_ns else 0.0,
        parallel=operator.parallel,
        flops=flops,
        moved_bytes=operator.moved_bytes,
        ceiling_ns=ceiling_ns,
        bound=bound,
    )


def _nodes_of_operator(names: Sequence[str], nodes: Mapping[str, NodeFacts]) -> list[str]:
    """The nodes that an operator stands for, without the conversions beside them."""
    real = [name for name in names if name not in nodes or nodes[name].kind not in CONVERTING]
    return real or list(names)


def _flops(operator: OperatorTime, nodes: Mapping[str, NodeFacts]) -> int | None:
    """Of all nodes that it stands for; None where one is not counted, 0 of an operator that was added."""
    if operator.nodes is None:
        return None
    known = [nodes[name].flops if name in nodes else None for name in operator.nodes]
    counted = [flops for flops in known if flops is not None]
    return sum(counted) if len(counted) == len(known) else None


def kinds_of(lines: Sequence[OperatorLine]) -> list[KindLine]:
    """Operators by kind and type, those that take most first."""
    by_kind: dict[tuple[str, str | None], list[OperatorLine]] = defaultdict(list)
    for line in lines:
        by_kind[line.kind, line.type].append(line)
    found = [_kind(kind, type_, chosen) for (kind, type_), chosen in by_kind.items()]
    return sorted(found, key=lambda each: -each.time_ns)


def _kind(kind: str, type_: str | None, lines: Sequence[OperatorLine]) -> KindLine:
    ceilings = [line.ceiling_ns for line in lines if line.ceiling_ns is not None]
    return KindLine(
        kind=kind,
        type=type_,
        count=len(lines),
        time_ns=sum(line.time_ns for line in lines),
        share=sum(line.share for line in lines),
        ceiling_ns=sum(ceilings) if len(ceilings) == len(lines) else None,
    )


def _within(lines: Sequence[OperatorLine], limit: int) -> tuple[list[OperatorLine], int]:
    """As many lines as fit, encoded, and how many do not."""
    size, kept = 0, []
    for line in lines:
        size += len(msgspec.json.encode(line)) + 1
        if size > limit:
            break
        kept.append(line)
    return kept, len(lines) - len(kept)
