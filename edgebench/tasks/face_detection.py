"""Is there a face in the picture? Single-shot detectors with anchors (BlazeFace).

The detector answers with one logit per anchor; a picture holds a face where the best anchor says so.
Pictures are small and grey, half of them faces and half of them backgrounds: they are widened by
repeating their edge, since the detector was made for faces with something around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from edgebench.errors import EdgebenchError
from edgebench.task import Metric, Task
from edgebench.tasks._statistics import auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Outputs

SIDE = 128
MARGIN = 8  # pixels of repeated edge around a picture of 25 x 25
LOGIT_LIMIT = 80.0  # beyond it exp overflows in float32; the model's own post-processing clips so
THRESHOLD = 0.5


class FaceDetection(Task):
    """Items alternate between faces and backgrounds, so that any first few hold both."""

    option_names: ClassVar = ()
    metrics: ClassVar = {
        "auc": Metric("1", "higher", "chance that a face gets a higher score than a background"),
        "accuracy": Metric("1", "higher", "share of pictures rightly called at a score of 0.5"),
    }

    @cached_property
    def pictures(self) -> NDArray[np.uint8]:
        """(2 n, height, width): face, background, face, background, ..."""
        loaded = np.load(self.context.data["pictures"], allow_pickle=False)
        if loaded.ndim != 3 or len(loaded) % 2:
            raise EdgebenchError(f"pictures of shape {loaded.shape} are not half faces, half not")
        halves = loaded.reshape(2, -1, *loaded.shape[1:]).swapaxes(0, 1)
        grey: NDArray[np.float64] = np.clip(halves.reshape(loaded.shape) * 255, 0, 255)
        return grey.astype(np.uint8)

    @cached_property
    def input_name(self) -> str:
        return self.context.inputs[0].name if self.context.inputs else "input"

    def __len__(self) -> int:
        return len(self.pictures)

    def raw(self, index: int) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = self.pictures[index]
        return picture

    def preprocess(self, raw: NDArray[np.uint8]) -> Feeds:
        """RGB in [-1, 1], channels last."""
        wide = Image.fromarray(np.pad(raw, MARGIN, mode="edge")).convert("RGB")
        resized = wide.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        pixels = np.asarray(resized, dtype=np.float32) / np.float32(127.5) - np.float32(1)
        return {self.input_name: pixels[None]}

    def postprocess(self, outputs: Outputs, raw: Any) -> float:
        logit = float(next(a for a in outputs.values() if a.shape[-1] == 1).max())
        return float(1 / (1 + np.exp(-np.clip(logit, -LOGIT_LIMIT, LOGIT_LIMIT))))

    def score(self, predictions: Sequence[float]) -> dict[str, float]:
        scores = np.array(predictions)
        faces = np.arange(len(scores)) % 2 == 0
        return {
            "auc": auc(faces, scores),
            "accuracy": float(np.mean((scores > THRESHOLD) == faces)),
        }


TASK = FaceDetection
