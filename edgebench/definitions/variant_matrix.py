"""Variant axes -> variants.

A point (of `include`, `exclude` or a suite) may name some axes only: it then stands for every
variant that has all of its values. To `include` such a point is to add it with every value of the
axes it leaves out. `exclude` is applied last, to included variants as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TypeVar

from edgebench.backend import Scalar
from edgebench.definitions.workload import Matrix, Variant

T = TypeVar("T")

#: Axes multiply: nobody measures more, and every one of them is made when a file is loaded.
MAX_VARIANTS = 10_000

_BARE_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9._:+@-]*")
_BOOLEANS = ("true", "false")


def value_key(value: Scalar) -> tuple[bool, Scalar]:
    """Equal exactly for equal values; Python's own `1 == True` is not."""
    return isinstance(value, bool), value


def value_text(value: Scalar) -> str:
    """A value as `--set` takes it; different values give different texts."""
    bare = isinstance(value, str) and _BARE_TEXT.fullmatch(value) and value.lower() not in _BOOLEANS
    return str(value) if bare else json.dumps(value)


def unique(items: Iterable[T]) -> list[T]:
    """Returns the items without later duplicates; they may be variants or scalars."""
    by_key: dict[object, T] = {}
    for item in items:
        by_key.setdefault(_key(item), item)
    return list(by_key.values())


def has(variant: Mapping[str, Scalar], point: Mapping[str, Scalar]) -> bool:
    """Whether the variant has all values of the point."""
    return all(
        axis in variant and value_key(variant[axis]) == value_key(value)
        for axis, value in point.items()
    )


def select(variants: Iterable[Variant], points: Sequence[Variant]) -> list[Variant]:
    """Variants that at least one of the points stands for, in their own order."""
    return [variant for variant in variants if any(has(variant, point) for point in points)]


def expand(matrix: Matrix) -> list[Variant]:
    """Every variant, each with every axis, without duplicates.

    Axes multiply in the order of their names, so that the order of a file's keys has no influence.
    """
    points: list[Variant] = [{}, *matrix.include]
    variants = unique(variant for point in points for variant in _all_of(point, matrix.axes))
    return [v for v in variants if not any(has(v, point) for point in matrix.exclude)]


def _all_of(point: Variant, axes: Mapping[str, Sequence[Scalar]]) -> list[Variant]:
    names = sorted({*axes, *point})
    values = [[point[name]] if name in point else axes[name] for name in names]
    return [dict(zip(names, combination, strict=True)) for combination in product(*values)]


def _key(item: object) -> object:
    if isinstance(item, dict):
        return frozenset((axis, value_key(value)) for axis, value in item.items())
    return value_key(item) if isinstance(item, str | int | float | bool) else item
