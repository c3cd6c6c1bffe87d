"""Labelled tables in CSV, split once and for all into rows to learn from and rows to judge by."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgebench.errors import EdgebenchError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPLIT_SEED = 0
TEST_SHARE = 0.3
CALIBRATION_SHARE = 0.05


class Table(NamedTuple):
    """Rows of numbers, (rows, features) float32, and their classes, counted from 0."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]

    def rows(self, numbers: NDArray[np.int64]) -> Table:
        return Table(self.features[numbers], self.labels[numbers])


class Split(NamedTuple):
    """Three tables without a row in common."""

    training: Table
    calibration: Table
    test: Table


def read_table(path: Path) -> Table:
    """A CSV file, gzipped or not: numbers, the class in the last column.

    A first line that is no row of numbers as long as the second is a heading and skipped. Raises
    EdgebenchError where the file is no such table.
    """
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
        numbers = np.loadtxt(
            io.StringIO(text),
            dtype=np.float32,
            delimiter=",",
            skiprows=int(_has_heading(text)),
            ndmin=2,
        )
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise EdgebenchError(f"{path.name} is not a table of numbers: {error}") from None
    classes = np.unique(numbers[:, -1], return_inverse=True)[1].reshape(-1)
    return Table(np.ascontiguousarray(numbers[:, :-1]), classes)


def _has_heading(text: str) -> bool:
    first, second = ([*text.split("\n", 2), "", ""])[:2]
    if first.count(",") != second.count(","):
        return bool(second)
    try:
        [float(cell) for cell in first.split(",")]
    except ValueError:
        return True
    return False


def split(table: Table) -> Split:
    """The same shares of every class for test and calibration, the rest for training; seeded."""
    rng = np.random.default_rng(SPLIT_SEED)
    training, calibration, test = [], [], []
    for label in np.unique(table.labels):
        numbers = rng.permutation(np.flatnonzero(table.labels == label))
        tested = round(len(numbers) * TEST_SHARE)
        used = tested + round(len(numbers) * CALIBRATION_SHARE)
        test.append(numbers[:tested])
        calibration.append(numbers[tested:used])
        training.append(numbers[used:])
    return Split(
        *(table.rows(rng.permutation(np.concatenate(p))) for p in (training, calibration, test))
    )
