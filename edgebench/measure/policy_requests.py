"""A gate policy as requests: which cells, with which tolerances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edgebench.analysis.budgets import Demand
from edgebench.analysis.gate import Tolerance
from edgebench.analysis.gate_types import Tolerances
from edgebench.backend import Scalar
from edgebench.errors import UsageError
from edgebench.measure.contests import choose
from edgebench.measure.couples import Request
from edgebench.measure.sides import parse_side
from edgebench.spec.loader import load_workloads
from edgebench.spec.policy import Allowance, CellPolicy, MetricName, Policy


def requests_of(
    policy: Policy, path: Path, base: Sequence[str] = (), head: Sequence[str] = ()
) -> list[Request]:
    """One request for each entry of `cells`, or one for the suite or the model files.

    `base` and `head` take the place of the policy's own. Raises UsageError.
    """
    asked_base, asked_head = base or _listed(policy.base), head or _listed(policy.head)
    for side, texts in (("base", asked_base), ("head", asked_head)):
        if not texts:
            raise UsageError(f"{path} names no {side}", f"add `{side}:` or give --{side}")
    common = Request(
        workloads=[],
        base=parse_side(asked_base),
        head=parse_side(asked_head),
        build=policy.build,
        artifact=policy.artifact,
        repository=str(path.resolve().parent),
        parity=policy.parity,
        tolerances=tolerances_of(policy.tolerances),
    )
    if not policy.cells and policy.suite is None:
        return [common]
    known = load_workloads([path.resolve().parent / folder for folder in policy.workloads])
    if policy.suite is not None:
        chosen = choose(known, [], policy.suite)
        return [msgspec.structs.replace(common, workloads=chosen, suite=policy.suite)]
    return [
        msgspec.structs.replace(
            common,
            workloads=choose(known, [cell.workload], None),
            sets=_sets(cell),
            tolerances=_tolerances_of_cell(policy, cell),
            quality=cell.quality,
        )
        for cell in policy.cells
    ]


def demands_of(policy: Policy) -> list[Demand]:
    """The entries of `cells` as what is demanded of stored results."""
    return [
        Demand(
            workload=cell.workload,
            sets=_sets(cell),
            tolerances=_tolerances_of_cell(policy, cell),
            quality=cell.quality,
        )
        for cell in policy.cells
    ]


def _tolerances_of_cell(policy: Policy, cell: CellPolicy) -> Tolerances:
    return tolerances_of({**policy.tolerances, **cell.tolerances})


def _sets(cell: CellPolicy) -> dict[str, list[Scalar]]:
    return {a: value if isinstance(value, list) else [value] for a, value in cell.set.items()}


def _listed(text: str | list[str] | None) -> list[str]:
    return [text] if isinstance(text, str) else list(text or [])


def tolerances_of(given: Mapping[MetricName, Allowance]) -> Tolerances:
    """The defaults with what the policy says; `latency` stands for both clocks."""
    default = Tolerances()
    both = given.get("latency", Allowance())
    return Tolerances(
        cpu=_tolerance(default.cpu, both, given.get("latency.cpu", Allowance())),
        wall=_tolerance(default.wall, both, given.get("latency.wall", Allowance())),
        memory=_tau(given, "memory.peak", default.memory),
        size=_tau(given, "model.size", default.size),
        quality=_tau(given, "quality", default.quality),
        energy=_tolerance(default.energy, given.get("energy.j_per_inference", Allowance())),
    )


def _tolerance(default: Tolerance, *given: Allowance) -> Tolerance:
    tau, delta = default.tau, default.delta
    for allowance in given:
        tau = tau if allowance.tau is None else allowance.tau
        delta = delta if allowance.delta is None else allowance.delta
    return Tolerance(tau=tau, delta=max(delta, 2 * tau))


def _tau(given: Mapping[MetricName, Allowance], name: MetricName, default: float) -> float:
    tau = given.get(name, Allowance()).tau
    return default if tau is None else tau
