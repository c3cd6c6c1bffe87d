"""Pairs the cells of both sides: one pair for each variant that both sides have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from edgebench import registry
from edgebench.ab_test.ab_report_types import Tolerances
from edgebench.ab_test.pair_record import Side
from edgebench.ab_test.variant_spec import VariantSpec
from edgebench.backend import Scalar
from edgebench.definitions.variant_matrix import expand, select, value_text
from edgebench.definitions.workload import Matrix, Variant, Workload
from edgebench.errors import UsageError
from edgebench.planning.cells import Cell, opening, plan
from edgebench.planning.own_models import OwnInputs
from edgebench.planning.settings import MEMORY_BUDGET

#: `precision=int8` without saying how.
INT8 = "int8-static"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    workloads: list[Workload]
    suite: str | None = None
    base: VariantSpec
    head: VariantSpec
    sets: dict[str, list[Scalar]] = {}  # of both sides; lists multiply
    shapes: dict[str, list[int | str]] = {}  # of model files without a workload
    task: str | None = None
    inputs: OwnInputs = OwnInputs()  # of model files
    build: str | None = None
    artifact: str | None = None
    repository: str = "."
    tolerances: Tolerances = Tolerances()
    parity: float | None = None  # None: by precision
    parity_off: bool = False
    quality: float | None = None  # required of the head
    seed: int = 0
    time_out_s: float = 120.0
    memory_limit_bytes: int | None = None

    def side(self, side: Side) -> VariantSpec:
        """Returns the settings of a side: head is base with the changes that head names."""
        return self.base if side == "base" else self.head.with_defaults(self.base)


class CellPair(msgspec.Struct, frozen=True, kw_only=True):
    """The planned cells of base and head that are compared with each other."""

    base: Cell
    head: Cell

    def side(self, side: Side) -> Cell:
        return self.base if side == "base" else self.head

    @property
    def name(self) -> str:
        """The cell's id; where the sides differ, with both values: `precision=fp32->int8-static`."""
        base, head = self.base, self.head
        if base.id == head.id:
            return base.id
        workload = _arrow(_versioned(base), _versioned(head))
        axes = [
            f"{axis}={_arrow(_text(base, axis), _text(head, axis))}"
            for axis in sorted({*base.variant, *head.variant})
        ]
        return "/".join(
            [workload, _arrow(base.backend, head.backend), ",".join(axes), head.scenario]
        )


def points(request: Request, workload: Workload) -> list[Variant]:
    """The variants to compare: those of the suite, else the first value of every axis.

    An axis that a side sets itself is not multiplied, but for values that are given for both sides: they
    are those of the side that says nothing. Raises UsageError where neither side would have them.
    """
    if twice := sorted(request.sets.keys() & request.base.sets.keys()):
        raise UsageError(
            f"{twice[0]} is given for both sides, and base ({request.base.text}) sets it as well",
            "leave one of them out: head takes the values of base unless it sets its own",
        )
    own = {*request.base.sets, *request.head.sets}
    axes = workload.matrix.axes
    first: Variant = {axis: values[0] for axis, values in axes.items()}
    if request.suite is None:
        points = [first]
    else:
        points = expand(workload.matrix)
        part = workload.suites[request.suite]
        if part.variants:
            points = select(points, part.variants)
        kept = [p for p in points if all(p.get(a) == first.get(a) for a in own)]
        points = kept or points
    multiplied = expand(Matrix(axes=dict(request.sets))) if request.sets else [{}]
    return _unique(
        [
            {axis: value for axis, value in point.items() if axis not in own} | more
            for point in points
            for more in multiplied
        ]
    )


def _unique(points: Sequence[Variant]) -> list[Variant]:
    keyed = {tuple(sorted((a, repr(v)) for a, v in point.items())): point for point in points}
    return list(keyed.values())


def cell_pair(request: Request, workloads: Mapping[Side, Workload], point: Variant) -> CellPair:
    base = _cell(request, "base", workloads["base"], point)
    return CellPair(base=base, head=_cell(request, "head", workloads["head"], point))


def _cell(request: Request, side: Side, workload: Workload, point: Variant) -> Cell:
    spec, base = request.side(side), request.base
    backend = spec.backend or opening(workload)[0]
    options = {option.name for option in registry.load(backend).capabilities.options}
    first = {axis: values[0] for axis, values in workload.matrix.axes.items()}
    inherited = base.sets if side == "head" else {}
    own = {a: v for a, v in inherited.items() if a in ("precision", "batch") or a in options}
    own.update(spec.sets)
    unset = {a: first[a] for a in (*base.sets, *request.head.sets) if a in first}
    asked = {"threads": 1, **unset, **point, **own}
    variant = {
        axis: _int8(workload, value) if axis == "precision" else value
        for axis, value in asked.items()
        if axis in ("precision", "batch") or axis in options or axis in own or axis in request.sets
    }
    if MEMORY_BUDGET in variant:
        raise UsageError(
            f"the axis {MEMORY_BUDGET} is one of `edgebench run` alone: the processes of an A/B are held to no budget",
            f"leave {MEMORY_BUDGET} out",
        )
    alone = msgspec.structs.replace(
        workload,
        matrix=Matrix(axes={axis: [value] for axis, value in variant.items()}),
        suites={},
    )
    [cell] = plan(
        [alone],
        [backend],
        sets={axis: [value] for axis, value in variant.items()},
        scenarios=["single_stream"],
    )
    return cell


def _int8(workload: Workload, value: Scalar) -> Scalar:
    """`int8` stands for the first int8 precision of the workload."""
    if value != "int8":
        return value
    known = [str(name) for name in workload.matrix.axes.get("precision", [])]
    return next((name for name in (INT8, "int8-dynamic") if name in known), INT8)


# Names


def _versioned(cell: Cell) -> str:
    return f"{cell.workload.name}@{cell.workload.version}"


def _text(cell: Cell, axis: str) -> str:
    return value_text(cell.variant[axis]) if axis in cell.variant else "-"


def _arrow(before: str, after: str) -> str:
    return before if before == after else f"{before}->{after}"
