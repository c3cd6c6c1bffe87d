"""Finds the deployment to explain and the one it is compared with, from what a user asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgebench.backend import Scalar
from edgebench.definitions.variant_matrix import value_text
from edgebench.definitions.workload import Variant, Workload
from edgebench.errors import UnsupportedError, UsageError
from edgebench.planning.cells import Cell, generates, plan
from edgebench.planning.settings import PRECISIONS, parse_sets
from edgebench.text.did_you_mean import did_you_mean

#: What is explained where nobody says a precision: the loudest question is why int8 is slow.
ASKED_FIRST = ("int8-static", "int8-dynamic", "as-is", "fp32")
NONE = "none"  # held against nothing
SCENARIO = "single_stream"


@dataclass(frozen=True)
class Pair:
    """A deployment and, where there is one, the one that it is held against."""

    subject: Cell
    against: Cell | None


def cells_to_explain(
    workload: Workload, backend: str, sets: Mapping[str, Sequence[Scalar]], against: str | None
) -> Pair:
    """`against`: a precision, AXIS=VALUE, "none", or None: fp32 of a deployment that is less exact.

    Raises UsageError where several variants fit or none does, UnsupportedError where a cell cannot run.
    """
    if generates(workload):
        raise UnsupportedError(
            f"{workload.name} generates text, and decoders are not profiled",
            "explain a workload of single inferences: `edgebench list workloads`",
        )
    cells = plan([workload], [backend], sets=sets, scenarios=[SCENARIO])
    subject = _one(cells, sets)
    return Pair(subject, _against(workload, subject, against))


def _one(cells: Sequence[Cell], sets: Mapping[str, Sequence[Scalar]]) -> Cell:
    """The first cell that fits, of the precision that is asked about first, at the smallest batch."""
    chosen = list(cells)
    if "precision" not in sets:
        known = {cell.precision for cell in cells if cell.unsupported is None}
        first = next((each for each in ASKED_FIRST if each in known), chosen[0].precision)
        chosen = [cell for cell in chosen if cell.precision == first]
    if "batch" not in sets:
        least = min(cell.batch for cell in chosen)
        chosen = [cell for cell in chosen if cell.batch == least]
    if any(len(values) > 1 for values in sets.values()):
        raise UsageError(
            f"{len(chosen)} variants fit, and one is explained", "give each axis of --set one value"
        )
    return _possible(chosen[0])  # as the workload lists them


def _possible(cell: Cell) -> Cell:
    if cell.unsupported is not None:
        raise UnsupportedError(cell.unsupported.message, cell.unsupported.fix)
    return cell


def _against(workload: Workload, subject: Cell, asked: str | None) -> Cell | None:
    if asked == NONE or (asked is None and subject.precision in ("fp32", "as-is")):
        return None
    change = _change(asked or "fp32")
    backend = str(change.pop("backend", subject.backend_spec))
    variant = {**subject.variant, **change}
    sets = {axis: [value] for axis, value in variant.items()}
    fitting = [
        cell
        for cell in plan([workload], [backend], sets=sets, scenarios=[SCENARIO])
        if all(cell.variant.get(axis) == value for axis, value in variant.items())
    ]
    if not fitting or (fitting[0].variant, fitting[0].backend) == (
        subject.variant,
        subject.backend,
    ):
        raise UsageError(f"--against {asked} is the deployment itself", "name another precision")
    return _possible(fitting[0])


def _change(asked: str) -> Variant:
    """What is other in the deployment that it is held against."""
    if "=" not in asked:
        if asked not in PRECISIONS:
            raise UsageError(
                f"--against {asked}: no such precision{did_you_mean(asked, PRECISIONS)}",
                "a precision such as fp32, AXIS=VALUE such as backend=openvino, or none",
            )
        return {"precision": asked}
    if asked.startswith("backend="):
        return {"backend": asked.removeprefix("backend=")}
    sets = parse_sets([asked])
    ((axis, values),) = sets.items()
    if len(values) != 1:
        raise UsageError(f"--against {asked}: several values", "name one")
    return {axis: values[0]}


def label_of(cell: Cell, other: Cell | None) -> str:
    """What tells the two apart: "int8-static", "openvino fp32", "threads=2"."""
    if other is None:
        return cell.precision
    parts = [] if cell.backend == other.backend else [cell.backend]
    for axis, value in cell.variant.items():
        if other.variant.get(axis) != value or (axis == "precision" and not parts):
            shown = axis == "precision"
            parts.append(value_text(value) if shown else f"{axis}={value_text(value)}")
    differing = [axis for axis in cell.variant if cell.variant[axis] != other.variant.get(axis)]
    if differing and "precision" not in differing and len(parts) > 1:
        parts = [part for part in parts if part != value_text(cell.variant["precision"])]
    return " ".join(parts) or cell.precision
