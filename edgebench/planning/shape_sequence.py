"""Parses `--shape-sequence`: the shapes that one session is given in turn."""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.errors import UsageError
from edgebench.planning.settings import parse_shapes

#: Each item of the task at its own length or size.
NATURAL = "natural"
MAX_SHAPES = 1000
_FIX = "write it like natural, or input_ids=1,16;1,64;1,128 (repeat it for further inputs)"

#: A step of the sequence: input -> its shape.
Step = dict[str, list[int]]


def parse_shape_sequence(items: Sequence[str]) -> list[Step]:
    """`["ids=1,16;1,64", "mask=1,16;1,64"]` -> a step for each place; `["natural"]` -> none. Raises UsageError."""
    if NATURAL in items:
        if len(items) > 1:
            raise UsageError("--shape-sequence natural stands alone", "leave the shapes out")
        return []
    each = dict(_shapes(item) for item in items)
    counts = {len(shapes) for shapes in each.values()}
    if len(each) < len(items):
        raise UsageError("--shape-sequence gives an input twice", "keep one of them")
    if len(counts) > 1:
        raise UsageError(
            "--shape-sequence: all inputs need as many shapes as each other",
            ", ".join(f"{name} has {len(shapes)}" for name, shapes in each.items()),
        )
    steps = [
        {name: shapes[place] for name, shapes in each.items()}
        for place in range(max(counts, default=0))
    ]
    _check(steps)
    return steps


def _shapes(item: str) -> tuple[str, list[list[int]]]:
    name, equals, text = item.rpartition("=")
    if not equals or not name:
        raise UsageError(f"--shape-sequence {item!r} names no input", _FIX)
    found = []
    for part in text.split(";"):
        (shape,) = parse_shapes([f"{name}={part}"]).values()
        if "batch" in shape:
            raise UsageError(f"--shape-sequence {item!r}: every size is a number", _FIX)
        found.append([int(size) for size in shape])
    return name, found


def _check(steps: Sequence[Step]) -> None:
    distinct = {str(sorted(step.items())) for step in steps}
    if steps and len(distinct) < 2:
        raise UsageError("--shape-sequence needs two different shapes or more", _FIX)
    if len(steps) > MAX_SHAPES:
        raise UsageError(f"--shape-sequence has {len(steps)} shapes, {MAX_SHAPES} at most", _FIX)
