"""A task for tests: how often a model's first logit is on the same side as that of the fp32 file, on noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from edgebench.task import Metric, Task, TaskContext


class Agreement(Task):
    draws: ClassVar = "pictures of other seeds"
    option_names: ClassVar = ("items",)
    metrics: ClassVar = {"agreement": Metric("1", "higher", "share of items on fp32's side")}

    def __init__(self, context: TaskContext) -> None:
        super().__init__(context)
        self._count = int(context.options.get("items", 80))
        self._logits: dict[int, list[float]] = {}

    def __len__(self) -> int:
        return self._count

    def raw(self, index: int) -> Any:
        rng = np.random.RandomState(index + 1000 * self.context.draw)
        return rng.normal(0, 1, (1, 3, 8, 8)).astype(np.float32)

    def preprocess(self, raw: Any) -> dict[str, Any]:
        return {"image": raw}

    def postprocess(self, outputs: dict[str, Any], raw: Any) -> bool:
        return bool(outputs["logits"].reshape(-1)[0] > self.middle())

    def score(self, predictions: Sequence[bool]) -> dict[str, float]:
        labels = self.labels()[: len(predictions)]
        return {"agreement": float(np.mean(np.array(predictions) == np.array(labels)))}

    def middle(self) -> float:
        """The first logit of fp32 on a typical item of the evaluation."""
        return float(np.median(self.logits(0)))

    def labels(self) -> list[bool]:
        return [value > self.middle() for value in self.logits(self.context.draw)]

    def logits(self, draw: int) -> list[float]:
        if draw not in self._logits:
            import onnxruntime as ort

            session = ort.InferenceSession(str(self.context.model))
            own = Agreement(replace(self.context, draw=draw))
            items = [own.raw(index) for index in range(len(self))]
            self._logits[draw] = [float(session.run(None, {"image": x})[0][0, 0]) for x in items]
        return self._logits[draw]

    def calibration(self) -> Iterator[dict[str, Any]]:
        rng = np.random.RandomState(999)
        for _ in range(16):
            yield {"image": rng.normal(0, 1, (1, 3, 8, 8)).astype(np.float32)}
