"""Operators by (domain, name, since_version): each is one small function in a file of `ops`.

An operator function gets a `Node` and its inputs, and returns one output or a tuple of them. Inputs
are MLX arrays where they depend on the model's input, and numpy arrays where they are constants.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Function = Callable[..., Any]

#: How an operator meets values whose channels lie last (NHWC) while ONNX says first (NCHW):
#: "plain" wants ONNX's order; "any" does not care (elementwise); "last" computes with channels last;
#: "axes" translates the axes it names, or asks for plain.
Layout = Literal["plain", "any", "last", "axes"]


@dataclass(frozen=True)
class Entry:
    """One operator: the function, its layout, and whether float64 stays exact to the last digits."""

    function: Function
    layout: Layout = "plain"
    float64: bool = False


_ENTRIES: dict[tuple[str, str, int], Entry] = {}


def op(
    name: str,
    *since: int,
    layout: Layout = "plain",
    float64: bool = False,
) -> Callable[[Function], Function]:
    """Registers the function for these versions of an operator, as `since_version` counts them."""

    def register(function: Function) -> Function:
        for version in since:
            _ENTRIES["", name, version] = Entry(function, layout, float64)
        return function

    return register


def find(domain: str, name: str, since: int) -> Entry | None:
    """The entry of an operator's version, or None."""
    return _entries().get((domain, name, since))


@functools.cache
def _entries() -> dict[tuple[str, str, int], Entry]:
    package = importlib.import_module(f"{__package__}.ops")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return _ENTRIES
