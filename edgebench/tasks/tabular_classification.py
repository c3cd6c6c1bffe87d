"""Classifying rows of a table: share of right answers on rows that nobody learnt from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgebench.models.labelled_tables import Split, Table, read_table, split
from edgebench.task import Metric, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Outputs


class TabularClassification(Task):
    """The table is the model's source too: the builder trains on the rows that are no items here."""

    option_names: ClassVar = ()
    metrics: ClassVar = {
        "accuracy": Metric("1", "higher", "share of rows whose most probable class is right"),
    }

    @cached_property
    def test(self) -> Table:
        return self._split().test

    def _split(self) -> Split:
        """Splits the table. The split is not kept: training rows would count as memory of the measured process."""
        return split(read_table(self.context.data["table"]))

    def __len__(self) -> int:
        return len(self.test.labels)

    def raw(self, index: int) -> NDArray[np.float32]:
        return np.asarray(self.test.features[index])

    def preprocess(self, raw: NDArray[np.float32]) -> Feeds:
        """The row, (1, features) float32; the model scales it itself."""
        return {self.context.inputs[0].name: np.ascontiguousarray(raw[None])}

    def postprocess(self, outputs: Outputs, raw: Any) -> int:
        (probabilities,) = outputs.values()
        return int(probabilities[0].argmax())

    def score(self, predictions: Sequence[int]) -> dict[str, float]:
        right = np.asarray(predictions) == self.test.labels[: len(predictions)]
        return {"accuracy": float(right.mean())}

    def calibration(self) -> Iterator[Feeds]:
        for row in self._split().calibration.features:
            yield self.preprocess(row)


TASK = TabularClassification
