"""Whole numbers that a .tflite file's inputs may be: rows of its tables, classes, counts."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench.models.tflite_ranges import input_names, input_ranges
from edgebench.preparation.preparation_messages import PrepareJob
from edgebench.preparation.prepare import prepare

pytest.importorskip("ai_edge_litert")

TABLE = np.linspace(-1, 1, 50 * 8, dtype=np.float32).reshape(50, 8)


def file(folder: Path, build: Callable[[Any, int], int], shape: tuple[int, ...] = (1, 4)) -> Path:
    """`build` gets the graph and its input `ids`, and returns its output."""
    graph = importlib.import_module("edgebench.backends.litert.graph").Graph()
    ids = graph.tensor("ids", shape, "int32")
    made = build(graph, ids)
    path = folder / "m.tflite"
    graph.save(path, [ids], [made])
    return path


def gather(graph: Any, ids: int, axis: int = 0) -> int:
    made: int = graph.tensor("rows", (1, 4, 8), "float32")
    graph.operator("GATHER", [graph.constant(TABLE), ids], made, "GatherOptions", axis=axis)
    return made


def lookup(graph: Any, ids: int) -> int:
    made: int = graph.tensor("rows", (4, 8), "float32")
    graph.operator("EMBEDDING_LOOKUP", [ids, graph.constant(TABLE)], made)
    return made


def through_others(graph: Any, ids: int) -> int:
    """Cast, then two more than the index, then another shape."""
    wide, moved = (graph.tensor(name, (1, 4), "int64") for name in ("wide", "moved"))
    flat = graph.tensor("flat", (4,), "int64")
    graph.operator("CAST", [ids], wide, "CastOptions")
    graph.operator("ADD", [wide, graph.constant(np.array([2], np.int64))], moved, "AddOptions")
    graph.operator("RESHAPE", [moved, graph.integers([4])], flat, "ReshapeOptions")
    return gather(graph, flat)


def one_hot(graph: Any, ids: int) -> int:
    made: int = graph.tensor("classes", (1, 4, 30), "float32")
    on, off = (graph.constant(np.float32(value)) for value in (1, 0))
    depth = graph.constant(np.int32(30))
    graph.operator("ONE_HOT", [ids, depth, on, off], made, "OneHotOptions", axis=-1)
    return made


@pytest.mark.parametrize(
    ("build", "high"),
    [
        (gather, 49),
        (lambda graph, ids: gather(graph, ids, axis=1), 7),
        (lookup, 49),
        (through_others, 47),
        (one_hot, 29),
    ],
)
def test_indices_are_rows_of_what_is_gathered(
    build: Callable[[Any, int], int], high: int, tmp_path: Path
) -> None:
    found = input_ranges(file(tmp_path, build))["ids"]
    assert (found.low, found.high) == (0, high)


def test_the_preparation_of_a_file_tells_them_under_the_names_of_the_session(
    tmp_path: Path,
) -> None:
    graph = importlib.import_module("edgebench.backends.litert.graph").Graph()
    twins = [graph.tensor("ids", (1, 4), "int32") for _ in range(2)]
    outputs = [gather(graph, twins[0]), gather(graph, twins[1], axis=1)]
    path = tmp_path / "twins.tflite"
    graph.save(path, twins, outputs)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    job = PrepareJob(
        task="seeded_inputs",
        source=str(path),
        source_sha256=digest,
        format="tflite",
        precision="as-is",
        cache=str(tmp_path / "cache"),
    )
    ranges = prepare(job).input_ranges
    assert {name: told.high for name, told in ranges.items()} == {"ids": 49, "ids#2": 7}
    assert input_names(path) == ["ids", "ids#2"]


def test_a_damaged_file_gives_no_ranges_and_no_crash(tmp_path: Path) -> None:
    path = file(tmp_path, gather)
    whole = path.read_bytes()
    for size in range(8, len(whole), 97):
        path.write_bytes(whole[:size])
        input_ranges(path)
        input_names(path)
    path.write_bytes(whole[:8] + b"\xff" * 100)
    assert input_ranges(path) == {}
    assert input_names(path) == []
