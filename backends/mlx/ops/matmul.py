"""Matrix products."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np

from ..arrays import dtype_name, is_float, to_mlx
from ..node import Node
from ..operator_registry import op


def exact_matmul(node: Node, a: Any, b: Any, kind: Any) -> Any:
    """A product of integers: MLX multiplies floats only, so in float64, exact below 2^53."""
    if node.tracer.device != "cpu":
        node.refuse("a matrix product of integers needs MLX's CPU device", "type")
    return (a.astype(mx.float64) @ b.astype(mx.float64)).astype(kind)


@op("MatMul", 1, 9, 13, float64=True)
def matmul(node: Node, a: Any, b: Any) -> Any:
    quantised = node.tracer.quantised(node, a, b)
    if quantised is not None:
        return quantised
    a, b = node.mx(a), node.mx(b)
    if is_float(a):
        return a @ b
    if a.dtype.size == 8:
        node.refuse(f"{dtype_name(a)} operands", "type")
    return exact_matmul(node, a, b, a.dtype)


@op("Gemm", 1, 6, 7, 9, 11, 13, float64=True)
def gemm(node: Node, a: Any, b: Any, c: Any = None) -> Any:
    alpha, beta = node.attr("alpha", 1.0), node.attr("beta", 1.0)
    node.attr("broadcast")
    turn_a, turn_b = node.attr("transA", 0), node.attr("transB", 0)
    node.floats(a)
    a = node.mx(a)
    a = a.T if turn_a else a
    if alpha == 1.0:
        weight = b.T if turn_b and isinstance(b, np.ndarray) else b
        if not turn_b or isinstance(b, np.ndarray):
            quantised = node.tracer.quantised(node, a, weight)
            if quantised is not None:
                if c is None or beta == 0:
                    return quantised
                return quantised + (node.mx(c) if beta == 1 else beta * node.mx(c))
    b = node.mx(b)
    b = b.T if turn_b else b
    if c is None or beta == 0:
        return a @ b if alpha == 1.0 else alpha * (a @ b)
    return mx.addmm(node.mx(c), a, b, alpha, beta)


def rows(zero: Any) -> Any:
    """A zero point or scale per row, or one of all, to go with a matrix."""
    return zero.reshape(-1, 1) if zero.ndim == 1 and zero.size > 1 else zero


@op("MatMulInteger", 10)
def matmul_integer(node: Node, a: Any, b: Any, a_zero: Any = None, b_zero: Any = None) -> Any:
    a, b = node.mx(a).astype(mx.int32), node.mx(b).astype(mx.int32)
    if a_zero is not None:
        a = a - rows(node.mx(a_zero).astype(mx.int32))
    if b_zero is not None:
        b = b - node.mx(b_zero).astype(mx.int32)
    return exact_matmul(node, a, b, mx.int32)


@op("Einsum", 12, 28, float64=True)
def einsum(node: Node, *values: Any) -> Any:
    equation = node.attr("equation").replace(" ", "")
    arrays = [node.mx(value) for value in values]
    if not all(is_float(array) for array in arrays):
        node.refuse(f"{dtype_name(arrays[0])} operands", "type")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    spare = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in equation]
    most = max(
        (
            a.ndim - len(t.replace("...", ""))
            for a, t in zip(arrays, terms, strict=True)
            if "..." in t
        ),
        default=0,
    )
    dots = "".join(spare[:most])
    made = []
    for index, (array, term) in enumerate(zip(arrays, terms, strict=True)):
        if "..." in term:
            count = array.ndim - len(term.replace("...", ""))
            term = term.replace("...", dots[most - count :])
        arrays[index], term = _diagonals(array, term)
        made.append(term)
    if arrow:
        right = right.replace("...", dots)
    else:
        letters = "".join(terms).replace("...", "")
        right = dots + "".join(sorted({x for x in letters if letters.count(x) == 1}))
    sizes: dict[str, set[int]] = {}
    for array, term in zip(arrays, made, strict=True):
        for letter, size in zip(term, array.shape, strict=True):
            sizes.setdefault(letter, set()).add(size)
    if any(len(found) > 1 for found in sizes.values()):
        node.refuse("axes of one letter and different sizes", "shape")
    if len(arrays) == 1:
        return _single(arrays[0], made[0], right)
    return mx.einsum(f"{','.join(made)}->{right}", *arrays)


def _diagonals(array: Any, term: str) -> tuple[Any, str]:
    """Takes the diagonal of axes that share a letter."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            array = mx.diagonal(array, axis1=first, axis2=second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + letter
    return array, term


def _single(array: Any, term: str, right: str) -> Any:
    gone = [i for i, letter in enumerate(term) if letter not in right]
    if gone:
        array = mx.sum(array, axis=gone)
        term = "".join(letter for letter in term if letter in right)
    return mx.transpose(array, [term.index(letter) for letter in right])


@op("Det", 11, 22)
def det(node: Node, x: Any) -> Any:
    """By cofactors: MLX has no determinant."""
    x = node.mx(x)
    if x.shape[-1] > 5 or not is_float(x):
        node.refuse(f"a determinant of {x.shape[-1]} rows", "shape")
    return _det(x)


def _det(x: Any) -> Any:
    n = x.shape[-1]
    if n == 1:
        return x[..., 0, 0]
    total = None
    for column in range(n):
        rest = mx.concatenate([x[..., 1:, :column], x[..., 1:, column + 1 :]], axis=-1)
        term = x[..., 0, column] * _det(rest)
        total = term if total is None else total - term if column % 2 else total + term
    return total


def quantise(weight: Any, group_size: int, bits: int, dtype: Any) -> tuple[Any, Any, Any]:
    """A weight [in, out] in MLX's packed form for `quantized_matmul` with transpose."""
    packed, scales, biases = mx.quantize(to_mlx(weight.T), group_size=group_size, bits=bits)
    return packed, scales.astype(dtype), biases.astype(dtype)
