"""Recipes of static quantisation as data: types, symmetry, and what becomes int8 beside the heavy operators.

A recipe has a version, since what a file holds follows from it; a new one gets a new name and never changes
an old one. What was measured of them: docs/search.md.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Literal

from edgebench.errors import UsageError
from edgebench.text.did_you_mean import did_you_mean

#: Operators whose weights become int8: each begins a group.
COMPUTE_OPS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
#: Operators that go with the group whose result they read: they have integer kernels or are fused away.
FOLLOWERS = ("Clip", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Flatten")
#: Cheap operators between groups, which may join two of them into one region of integers.
JOINERS = ("Add", *FOLLOWERS)
#: Further ones with integer kernels in ONNX Runtime.
WIDE_JOINERS = ("Mul", "Concat", "Resize", "Sigmoid", "Transpose", "Reshape", "Split", "Pad")


@dataclass(frozen=True)
class Recipe:
    """How ONNX Runtime's quantiser is asked for a file in Q/DQ form."""

    name: str
    activation: Literal["uint8", "int8"]
    symmetric: bool  # activations around zero, as OpenVINO, LiteRT and TensorRT like them
    joiners: tuple[str, ...] = JOINERS

    @property
    def operators(self) -> tuple[str, ...]:
        return (*COMPUTE_OPS, *self.joiners)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("u8s8/1", "uint8", False),
        Recipe("u8s8-wide/1", "uint8", False, joiners=(*JOINERS, *WIDE_JOINERS)),
        Recipe("s8s8/1", "int8", False),
        Recipe("s8s8-symmetric/1", "int8", True),
    )
}
_ARM = ("aarch64", "arm64")
_SYMMETRIC = ("litert", "trt")


#: How `int8-static` is made: the recipe of groups, and of what lies between int8 groups alone, so that no conversion
#: surrounds an operator that gains nothing. Another way gets another name, so that results of two are never taken for
#: one. Measured on six workloads: docs/search.md.
STATIC_NAME = "u8s8-groups/3"
STATIC = RECIPES["u8s8/1"]
#: Groups that no other operator with weights follows stay in fp32 where each has at most this share of the weights:
#: nothing after them weakens their error, and they save next to nothing.
MAX_FLOAT_END = 0.05


def recipe_named(name: str) -> Recipe:
    """Raises UsageError where there is none."""
    if name not in RECIPES:
        raise UsageError(
            f"no recipe {name!r} of quantisation{did_you_mean(name, RECIPES)}",
            f"known: {', '.join(RECIPES)}",
        )
    return RECIPES[name]


def recipes_for(backend: str, machine: str | None = None) -> tuple[Recipe, ...]:
    """The recipes with fast kernels in a backend on a machine, the usual one first."""
    if backend in _SYMMETRIC:
        return (RECIPES["s8s8-symmetric/1"],)
    if backend == "ort" and (machine or platform.machine()).lower() in _ARM:
        return (RECIPES["s8s8/1"],)
    return (RECIPES["u8s8/1"], RECIPES["u8s8-wide/1"])
