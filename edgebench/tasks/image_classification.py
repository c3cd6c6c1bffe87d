"""Image classification into the 1,000 ImageNet classes.

Data: a folder `images` of `imagenet_<number>_<label>.jpg`; images of other sets in the same folder
(`cifar*_*.png`) serve as calibration data. Twenty labelled photos are few, so each is seen through
ten crops (centre and corners, mirrored): 200 items whose mean moves in steps of half a point.
Items go through all photos by their centre crop first, so that the first items are all different.
Further draws of items are other crops of the same photos, of the same size and mirrored alike.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from edgebench.errors import EdgebenchError
from edgebench.task import Metric, Task, TaskContext

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from edgebench.task import Feeds, Outputs

_SIZE = 224
_MEAN, _SCALE = 127.0, 128.0
_CROP = 0.875  # side of the crop as a share of the image's shorter side


class View(NamedTuple):
    """Holds the place of a crop (-1 left or top, 0 middle, 1 right or bottom) and whether it is mirrored."""

    x: float = 0
    y: float = 0
    mirrored: bool = False


_CENTRE = View()
_VIEWS = tuple(
    View(x, y, mirrored)
    for x, y in ((0, 0), (-1, -1), (1, -1), (-1, 1), (1, 1))
    for mirrored in (False, True)
)


@dataclass(frozen=True)
class Photo:
    """A photo as an application holds it: the bytes of the file, and which part to look at."""

    jpeg: bytes
    view: View = _CENTRE


@dataclass(frozen=True)
class Answer:
    """The five likeliest classes, likeliest first, and log p of all classes."""

    top: tuple[int, ...]
    log_probability: NDArray[np.float64]


class ImageClassification(Task):
    option_names: ClassVar = ()
    test_draws: ClassVar = "other crops of the same photos"
    metrics: ClassVar = {
        "top1_10crop": Metric("1", "higher", "share of all crops whose likeliest class is right"),
        "top5_10crop": Metric("1", "higher", "share of all crops with the class among five"),
        "nll_10crop": Metric("nat", "lower", "mean of -log p(right class) over all crops"),
        "top1": Metric("1", "higher", "share of photos (centre crop) classified right"),
        "top5": Metric("1", "higher", "share of photos (centre crop) with the class among five"),
        "nll": Metric("nat", "lower", "mean of -log p(right class) over photos (centre crop)"),
    }

    def __init__(self, context: TaskContext) -> None:
        super().__init__(context)
        folder = _folder(context)
        self._files = sorted(folder.glob("imagenet_*_*.jpg"))
        self._calibration_files = sorted(folder.glob("cifar*_*.png"))
        if not self._files:
            raise EdgebenchError(f"{folder} holds no files imagenet_<number>_<label>.jpg")
        self._labels = [int(file.stem.rpartition("_")[2]) for file in self._files]
        self._jpegs: dict[int, bytes] = {}
        self._views = views_of(context.draw)
        self._input = context.inputs[0].name if context.inputs else "image"

    def __len__(self) -> int:
        return len(self._files) * len(_VIEWS)

    def raw(self, index: int) -> Photo:
        view, photo = divmod(index, len(self._files))
        if photo not in self._jpegs:
            self._jpegs[photo] = self._files[photo].read_bytes()
        return Photo(self._jpegs[photo], self._views[view])

    def cluster(self, index: int) -> int:
        """The photo: its crops are alike."""
        return index % len(self._files)

    def preprocess(self, raw: Photo) -> Feeds:
        from PIL import Image

        with Image.open(io.BytesIO(raw.jpeg)) as image:
            return {self._input: _pixels(image.convert("RGB"), raw.view)}

    def postprocess(self, outputs: Outputs, raw: Any) -> Answer:
        (logits,) = next(iter(outputs.values())).astype(np.float64)
        shifted = logits - logits.max()
        log_probability = shifted - np.log(np.exp(shifted).sum())
        top = np.argsort(-log_probability, kind="stable")[:5]
        return Answer(tuple(int(c) for c in top), log_probability)

    def score(self, predictions: Sequence[Answer]) -> dict[str, float]:
        photos = len(self._files)
        labels = [self._labels[index % photos] for index in range(len(predictions))]
        crops = _score(predictions, labels)
        centre = _score(predictions[:photos], labels[:photos])
        return {**{f"{name}_10crop": value for name, value in crops.items()}, **centre}

    def calibration(self) -> Iterator[Feeds]:
        """Photos of another set, small ones enlarged: the ranges they give are close enough."""
        from PIL import Image

        for file in self._calibration_files:
            with Image.open(file) as image:
                large = image.convert("RGB").resize((256, 256), Image.Resampling.BICUBIC)
            yield {self._input: _pixels(large, _CENTRE)}


TASK = ImageClassification


def views_of(draw: int) -> tuple[View, ...]:
    """The crops of a draw: those of the evaluation, or as many in other places."""
    if draw == 0:
        return _VIEWS
    places = np.random.default_rng(draw).uniform(-1, 1, (len(_VIEWS), 2)).tolist()
    return tuple(View(x, y, view.mirrored) for view, (x, y) in zip(_VIEWS, places, strict=True))


def _folder(context: TaskContext) -> Path:
    folder = context.data.get("images")
    if folder is None:
        raise EdgebenchError("image_classification needs the data asset 'images'")
    return folder


def _pixels(image: Image, view: View) -> NDArray[np.float32]:
    """The crop as [1, 3, 224, 224], values in about -1 .. 1."""
    from PIL import Image as images

    width, height = image.size
    side = int(min(width, height) * _CROP)
    left = (width - side) // 2 + int(view.x * (width - side) / 2)
    top = (height - side) // 2 + int(view.y * (height - side) / 2)
    crop = image.crop((left, top, left + side, top + side))
    resized = crop.resize((_SIZE, _SIZE), images.Resampling.BICUBIC)
    pixels: Any = (np.asarray(resized, np.float32) - _MEAN) / _SCALE
    if view.mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _score(predictions: Sequence[Answer], labels: Sequence[int]) -> dict[str, float]:
    pairs = list(zip(predictions, labels, strict=True))
    return {
        "top1": float(np.mean([answer.top[0] == label for answer, label in pairs])),
        "top5": float(np.mean([label in answer.top for answer, label in pairs])),
        "nll": float(np.mean([-answer.log_probability[label] for answer, label in pairs])),
    }
