"""Turns a gate policy into requests: which cells to compare, with which tolerances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edgebench.ab_test.ab_report_types import Tolerances
from edgebench.ab_test.pairing import Request
from edgebench.ab_test.variant_spec import backends_of, parse_side
from edgebench.ab_test.verdict import Tolerance
from edgebench.definitions.workload_loader import choose, load_workloads
from edgebench.errors import UsageError
from edgebench.gate.absolute_limits import CellRequirement
from edgebench.gate.policy import Allowance, MetricName, Policy, share_of
from edgebench.planning.cells import known_axes


def requests_of(
    policy: Policy, path: Path, base: Sequence[str] = (), head: Sequence[str] = ()
) -> list[Request]:
    """Makes one request for each entry of `cells`, or one for the suite or the model files.

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
        parity=share_of(policy.parity),
        tolerances=tolerances_of(policy.tolerances),
    )
    if not policy.cells and policy.suite is None:
        return [common]
    folders = [path.resolve().parent / folder for folder in policy.workloads]
    backends = backends_of(common.base, common.head)
    known = load_workloads(folders, lambda: known_axes(backends))
    if policy.suite is not None:
        chosen = choose(known, [], policy.suite)
        return [msgspec.structs.replace(common, workloads=chosen, suite=policy.suite)]
    return [
        msgspec.structs.replace(
            common,
            workloads=choose(known, [cell.workload], None),
            sets=cell.sets,
            tolerances=cell.tolerances,
            quality=cell.quality,
        )
        for cell in demands_of(policy)
    ]


def demands_of(policy: Policy) -> list[CellRequirement]:
    """The entries of `cells` as what is demanded of stored results."""
    return [
        CellRequirement(
            workload=cell.workload,
            sets={
                axis: value if isinstance(value, list) else [value]
                for axis, value in cell.set.items()
            },
            tolerances=tolerances_of(policy.tolerances, cell.tolerances),
            quality=cell.quality,
        )
        for cell in policy.cells
    ]


def _listed(text: str | list[str] | None) -> list[str]:
    return [text] if isinstance(text, str) else list(text or [])


def tolerances_of(*layers: Mapping[MetricName, Allowance]) -> Tolerances:
    """The defaults with what the layers of a policy say, field by field, a later one over an earlier;
    `latency` stands for both clocks. Raises UsageError where a delta is not above its tau."""
    default = Tolerances()

    def amount(tau: float, name: MetricName) -> Tolerance:
        return _tolerance(layers, Tolerance(tau=tau, delta=0), name)

    memory = amount(default.memory, "memory.peak")
    return Tolerances(
        cpu=_tolerance(layers, default.cpu, "latency", "latency.cpu"),
        wall=_tolerance(layers, default.wall, "latency", "latency.wall"),
        memory=memory.tau,
        memory_delta=memory.delta,
        size=amount(default.size, "model.size").tau,
        quality=amount(default.quality, "quality").tau,
        energy=_tolerance(layers, default.energy, "energy.j_per_inference"),
    )


def _tolerance(
    layers: Sequence[Mapping[MetricName, Allowance]], default: Tolerance, *names: MetricName
) -> Tolerance:
    """A delta that nobody gives is at least twice tau; one that is given counts as it is."""
    tau, delta = _last_of_layers(layers, *names)
    tau = default.tau if tau is None else tau
    if delta is None:
        return Tolerance(tau=tau, delta=max(default.delta, 2 * tau))
    if delta <= tau:
        raise UsageError(
            f"{names[-1]}: delta ({delta:.1%}) must be above tau ({tau:.1%})",
            "tau is what counts as the same, delta what must be excluded",
        )
    return Tolerance(tau=tau, delta=delta)


def _last_of_layers(
    layers: Sequence[Mapping[MetricName, Allowance]], *names: MetricName
) -> tuple[float | None, float | None]:
    """Tau and delta as each is said last, under any of the names."""
    tau: float | None = None
    delta: float | None = None
    for layer in layers:
        for name in names:
            allowance = layer.get(name, Allowance())
            tau = tau if allowance.tau is None else share_of(allowance.tau)
            delta = delta if allowance.delta is None else share_of(allowance.delta)
    return tau, delta
