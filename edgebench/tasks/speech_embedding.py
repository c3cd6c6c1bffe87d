"""A convolutional network in steps: is what it says after each hop what the whole window would have given?

The features are drawn, 32 bands each 10 ms with ups and downs as in speech: the question is whether two ways of
computing agree, which no recording would answer better. What the trained network makes of whole windows is computed by
ONNX's own evaluator.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgebench.task import Metric, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Infer, Outputs

HOPS = 14
#: Until the states hold real frames alone. A window ends with its hop, and begins that many frames before the end.
WARM_UP_HOPS, WINDOW_FRAMES = 9, 76
SMOOTHING = 5  # frames over which features hardly change
PAST, NOW = "past_", "now_"


class SpeechEmbedding(Task):
    """Items are hops from a fresh state; the quality pass runs the stream in order, with its states."""

    option_names: ClassVar = ()
    metrics: ClassVar = {
        "window_error": Metric(
            "1", "lower", "largest relative difference from the embedding of the whole window"
        ),
        "work_ratio": Metric("1", "higher", "operations of a whole window over those of a step"),
    }

    def __len__(self) -> int:
        return HOPS

    @cached_property
    def frames(self) -> NDArray[np.float32]:
        """Features [1, frames, bands, 1] of the whole stream."""
        _, frames, bands, _ = self._fresh_shape
        drawn = np.random.default_rng(self.context.seed).normal(
            0, 1, (HOPS * frames + SMOOTHING, bands)
        )
        smooth = np.lib.stride_tricks.sliding_window_view(drawn, SMOOTHING, axis=0).mean(-1)
        return np.ascontiguousarray(smooth[None, : HOPS * frames, :, None], np.float32)

    @property
    def _fresh(self) -> str:
        """The input that is no state."""
        return next(info.name for info in self.context.inputs if not info.name.startswith(PAST))

    @property
    def _fresh_shape(self) -> tuple[int, ...]:
        return next(info.sizes or () for info in self.context.inputs if info.name == self._fresh)

    def raw(self, index: int) -> NDArray[np.float32]:
        count = self._fresh_shape[1]
        return self.frames[:, index * count : (index + 1) * count]

    def preprocess(self, raw: NDArray[np.float32]) -> Feeds:
        states = {
            info.name: np.zeros(info.sizes or (), np.float32)
            for info in self.context.inputs
            if info.name != self._fresh
        }
        return {self._fresh: np.ascontiguousarray(raw), **states}

    def postprocess(self, outputs: Outputs, raw: Any) -> NDArray[Any]:
        (name,) = [name for name in outputs if not name.startswith(NOW)]
        return outputs[name].reshape(-1)

    def score(self, predictions: Sequence[NDArray[Any]]) -> dict[str, float]:
        told = list(enumerate(predictions))[WARM_UP_HOPS:]
        errors = [
            float(np.abs(found - whole).max() / np.abs(whole).max())
            for hop, found in told
            for whole in [self._of_window(hop)]
        ]
        return {"window_error": max(errors, default=float("nan")), "work_ratio": self._work_ratio()}

    def evaluate(self, infer: Infer) -> dict[str, float]:
        """Hop after hop, each with the states that the one before it left."""
        found: list[NDArray[Any]] = []
        states: Feeds = {}
        for index in range(HOPS):
            raw = self.raw(index)
            (outputs,) = infer([{**self.preprocess(raw), **states}])
            states = {
                PAST + name.removeprefix(NOW): array
                for name, array in outputs.items()
                if name.startswith(NOW)
            }
            found.append(self.postprocess(outputs, raw))
        return self.score(found)

    @cached_property
    def _network(self) -> Any:
        from onnx.reference import ReferenceEvaluator

        assert self.context.model_asset is not None
        return ReferenceEvaluator(str(self.context.model_asset))

    def _of_window(self, hop: int) -> NDArray[Any]:
        end = (hop + 1) * self._fresh_shape[1]
        window = self.frames[:, end - WINDOW_FRAMES : end]
        return np.asarray(
            self._network.run(None, {self._network.input_names[0]: window})[0]
        ).reshape(-1)

    def _work_ratio(self) -> float:
        from edgebench.models import onnx_file
        from edgebench.models.work_count import work_of

        assert self.context.model_asset is not None
        assert self.context.model is not None
        network = onnx_file.load_model(Path(self.context.model_asset))
        name = network.graph.input[0].name
        shape = [1, WINDOW_FRAMES, *self._fresh_shape[2:]]
        whole = work_of(onnx_file.freeze(network, {name: shape}))
        return whole.flops / work_of(onnx_file.load_model(self.context.model)).flops


TASK = SpeechEmbedding
