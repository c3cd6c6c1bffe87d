"""Gate policies: `gate.yaml` -> `Policy`, parsed once into frozen types, errors with their places.

`edgebench schema gate` prints these types as JSON Schema.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from edgebench.backend import Scalar
from edgebench.definitions.typed_values import convert
from edgebench.definitions.variant_matrix import MAX_VARIANTS
from edgebench.definitions.yaml_reader import Document, KeyPath, raise_errors, read_yaml
from edgebench.errors import SpecError, UsageError
from edgebench.units import parse_duration_s, parse_share

#: A share as a number, or as on the command line: 0.01, "1%".
Share = Annotated[float, Meta(ge=0, lt=1)] | str
#: Metrics with a tolerance.
MetricName = Literal[
    "latency",
    "latency.cpu",
    "latency.wall",
    "memory.peak",
    "model.size",
    "quality",
    "energy.j_per_inference",
]
METRICS: tuple[str, ...] = get_args(MetricName)
_WITHOUT_DELTA = ("model.size", "quality")


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all types of a policy."""


class Allowance(Spec, frozen=True, kw_only=True):
    """The change that counts as none (tau), and the one that PASS must rule out (delta): shares, or points of a quality."""

    tau: Share | None = None
    delta: Share | None = None


class CellPolicy(Spec, frozen=True, kw_only=True):
    """One workload of the gate, with its own settings."""

    workload: str
    set: dict[str, Scalar | list[Scalar]] = {}  # axes of both sides; lists multiply
    tolerances: dict[MetricName, Allowance] = {}
    quality: float | None = None  # required of the head, beside the workload's own limit


class Policy(Spec, frozen=True, kw_only=True):
    """A regression gate: what is compared, how much may change, how long it may take."""

    base: str | list[str] | None = None  # specifications as for `edgebench ab --base`
    head: str | list[str] | None = None
    suite: str | None = None
    cells: list[CellPolicy] = []
    workloads: list[str] = []  # folders of definitions of your own, relative to this file
    build: str | None = None  # command that builds the model of a git: revision
    artifact: str | None = None  # the file it leaves
    budget: str | Annotated[float, Meta(gt=0)] = "5min"  # seconds, where it says no unit
    alpha: Annotated[float, Meta(gt=0, le=0.2)] = 0.01
    tolerances: dict[MetricName, Allowance] = {}
    parity: Share | None = None  # limit between the outputs of the two sides
    limits: list[str] = []  # absolute, of stored results: "latency.p99 <= 30 ms"
    inconclusive: Literal["pass", "fail"] = "fail"


def load_policy(path: Path) -> Policy:
    """The policy of a file. Raises SpecError with all that is wrong, UsageError where it cannot be
    read."""
    document = read_yaml(path)
    policy = convert(document, Policy)
    raise_errors(list(_impossible(policy, document)))
    return policy


def share_of(value: float | str | None) -> float | None:
    """A share without its unit. Raises UsageError for text that is none, and beyond 0 to 100 %."""
    if not isinstance(value, str):
        return value
    share = parse_share(value)
    if not 0 <= share < 1:
        raise UsageError(f"{value!r} is not between 0 and 100 %", "write it like 2%")
    return share


def budget_s_of(policy: Policy) -> float:
    """Seconds. Raises UsageError for text that is no time."""
    budget = policy.budget
    return parse_duration_s(budget) if isinstance(budget, str) else budget


def _impossible(policy: Policy, document: Document) -> Iterator[SpecError]:
    """Values of the right type that make no sense."""
    try:
        if budget_s_of(policy) <= 0:
            yield document.error(("budget",), f"{policy.budget!r} is not a time", "say 5min")
    except UsageError as error:
        yield document.error(("budget",), error.message, error.fix)
    if policy.suite is not None and policy.cells:
        yield document.error(("cells",), "a suite is given as well", "keep one of them")
    if (policy.build is None) != (policy.artifact is None):
        present, missing = ("build", "artifact") if policy.build else ("artifact", "build")
        yield document.error((present,), f"needs {missing!r}, which is missing")
    yield from _no_shares({"parity": policy.parity}, (), document)
    yield from _allowances(policy.tolerances, ("tolerances",), document)
    for index, cell in enumerate(policy.cells):
        counts = [len(values) for values in cell.set.values() if isinstance(values, list)]
        if math.prod(counts) > MAX_VARIANTS:
            message = f"{math.prod(counts)} variants, and {MAX_VARIANTS} are allowed"
            yield document.error(("cells", index, "set"), message)
        yield from _allowances(cell.tolerances, ("cells", index, "tolerances"), document)
        for axis, values in cell.set.items():
            if values == []:
                message = "has no value: nothing would be compared"
                yield document.error(("cells", index, "set", axis), message, "give one or more")
    from edgebench.gate.absolute_limits import parse_limit

    for index, text in enumerate(policy.limits):
        try:
            parse_limit(text)
        except UsageError as error:
            yield document.error(("limits", index), error.message, error.fix)


def _allowances(
    tolerances: dict[MetricName, Allowance], path: KeyPath, document: Document
) -> Iterator[SpecError]:
    """Yields the errors of these tolerances alone; checks across several layers run elsewhere."""
    for name, allowance in tolerances.items():
        where = (*path, name)
        wrong = list(_no_shares({"tau": allowance.tau, "delta": allowance.delta}, where, document))
        yield from wrong
        if wrong or allowance.delta is None:
            continue
        tau, delta = share_of(allowance.tau), share_of(allowance.delta)
        if name in _WITHOUT_DELTA:
            message = "has no delta: it is compared with tau alone"
            yield document.error((*where, "delta"), message, "leave it out", at_key=True)
        elif tau is not None and delta is not None and delta <= tau:
            yield document.error((*where, "delta"), "must be above tau")


def _no_shares(
    tolerances: dict[str, float | str | None], path: KeyPath, document: Document
) -> Iterator[SpecError]:
    for key, text in tolerances.items():
        try:
            share_of(text)
        except UsageError as error:
            yield document.error((*path, key), error.message, error.fix)
