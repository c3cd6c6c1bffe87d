"""Queries from a task's items: batching, the pool that rotates, and inputs never seen before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebench.errors import UnsupportedError
from edgebench.files.model_outputs import is_text, text_bytes
from edgebench.task import Task

Feeds = dict[str, NDArray[Any]]
Outputs = dict[str, NDArray[Any]]

POOL = 16  # distinct queries in rotation, at most
MIN_POOL = 4
MIN_TURNED = 32  # floats of an input, for them to change places
POOL_BYTES = 32 * 2**20  # the pool is part of the memory that is measured: it stays small


def stack(items: Sequence[Feeds]) -> Feeds:
    """Makes one query from single items by joining their leading axes.

    A scalar has no axis to join: it is one value of the whole query. Raises UnsupportedError where the
    items differ in it.
    """
    if len(items) == 1:
        return items[0]
    return {name: _joined(name, [item[name] for item in items]) for name in items[0]}


def _joined(name: str, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if all(np.ndim(array) for array in arrays):
        return np.concatenate(arrays)
    if any(array.tobytes() != arrays[0].tobytes() for array in arrays):
        raise UnsupportedError(
            f"the input {name!r} is a scalar, one value of a whole query, and the items of a batch "
            "differ in it",
            "use batch 1, or give every item the same value",
        )
    return arrays[0]


def split(outputs: Outputs, batch: int) -> list[Outputs]:
    """The outputs of each item of a query, every array with a leading axis of 1.

    An output whose leading axis is not the batch is given to every item as it is.
    """
    if batch == 1:
        return [outputs]
    return [
        {
            name: array[index : index + 1] if array.ndim and array.shape[0] == batch else array
            for name, array in outputs.items()
        }
        for index in range(batch)
    ]


def pool_items(task: Task, batch: int) -> list[Feeds]:
    """The task's first items: enough for POOL queries of `batch` items, or for fewer where queries are large.

    Items repeat across queries only where the task has too few for two.
    """
    count = len(task)
    one = sum(array.nbytes for array in task.preprocess(task.raw(0)).values())
    fitting = max(MIN_POOL, min(POOL, POOL_BYTES // max(one * batch, 1)))
    queries = max(1, min(fitting, count if batch == 1 else max(count // batch, 2)))
    return first_items(task, queries * batch)


def can_be_kept(items: Sequence[Feeds]) -> bool:
    """Whether a file of arrays gives them back as they are: a type that npz does not know would be
    read back as another."""
    kinds = {array.dtype for feeds in items for array in feeds.values()}
    return all(kind.isbuiltin == 1 and not kind.hasobject for kind in kinds)


def first_items(task: Task, count: int) -> list[Feeds]:
    return [task.preprocess(task.raw(index)) for index in range(min(count, len(task)))]


def pool_of(items: Sequence[Feeds], batch: int) -> list[Feeds]:
    """The queries of a pool from its items."""
    queries = len(items) if batch == 1 else max(2, len(items) // batch)
    return [
        stack([items[(query * batch + offset) % len(items)] for offset in range(batch)])
        for query in range(queries)
    ]


def never_seen(feeds: Feeds, seed: int) -> Feeds:
    """A query that differs from `feeds` in every array, at the same cost to compute.

    Values change places, so that no rounding makes the query one that was seen; floats move by up to a
    thousandth of their spread as well, which is all that happens to few of them: those say what to do,
    as a threshold or a size does.
    """
    rng = np.random.default_rng(seed)
    return {name: _altered(array, rng) for name, array in feeds.items()}


def _altered(array: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    if array.dtype.kind != "f":
        return _turned(array, rng)
    scale = 1e-3 * (float(np.std(array)) or 1.0)
    noise = rng.uniform(-scale, scale, array.shape)
    moved = np.asarray((array + noise).astype(array.dtype), order="C")
    return _turned(moved, rng) if array.size >= MIN_TURNED else moved


def _turned(array: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """The same values, each in the place of another."""
    flat = array.reshape(-1)
    return np.roll(flat, int(rng.integers(1, max(flat.size, 2)))).reshape(array.shape)


def digest(pool: Sequence[Feeds]) -> str:
    """SHA-256 over names, types, shapes and bytes of the pool, in order."""
    total = hashlib.sha256()
    for feeds in pool:
        for name in sorted(feeds):
            array = feeds[name]
            total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            total.update(text_bytes(array) if is_text(array) else array.tobytes())
    return total.hexdigest()
