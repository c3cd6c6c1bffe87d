"""Finding titles, paragraphs and other regions on a page: PicoDet-style layout detectors.

Pages are rendered from titles and paragraphs of random words, so boxes and classes are exact.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgebench.task import Metric, Task
from edgebench.tasks._boxes import f1, match, suppress
from edgebench.tasks._pages import Line, draw, planes, read_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Outputs

WIDTH, HEIGHT = 608, 800
MARGIN = 45
PAGES = 20
CALIBRATION_PAGES = 8
CALIBRATION_SEED = 10_000  # evaluation pages have the seeds 0 .. PAGES - 1

STRIDES = (8, 16, 32, 64)  # pixels per cell of the four output grids, finest first
CONFIDENCE = 0.4


@dataclass(frozen=True)
class Region:
    """A labelled part of a page; box as x0, y0, x1, y1 in pixels."""

    kind: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Page:
    """Holds what stands on a page, before it is drawn."""

    lines: tuple[Line, ...]
    regions: tuple[Region, ...]


class LayoutDetection(Task):
    """Option `classes`: names of the model's classes in output order."""

    option_names: ClassVar = ("classes",)
    metrics: ClassVar = {
        "region_f1": Metric("1", "higher", "F1 of regions at IoU 0.5, whatever their class"),
        "class_accuracy": Metric("1", "higher", "share of matched regions with the right class"),
    }

    @cached_property
    def words(self) -> tuple[str, ...]:
        return read_words(self.context.data["words"])

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.context.options["classes"])

    def __len__(self) -> int:
        return PAGES

    def raw(self, index: int) -> NDArray[np.uint8]:
        """An RGB image, (800, 608, 3)."""
        return render(compose(self.words, index))

    def preprocess(self, raw: NDArray[np.uint8]) -> Feeds:
        """Normalised planes, (1, 3, 800, 608) float32."""
        return {self.context.inputs[0].name: planes(raw)}

    def postprocess(self, outputs: Outputs, raw: Any) -> tuple[Region, ...]:
        """Regions on the page, per class the surest first."""
        boxes, scores = decode(outputs, len(self.classes))
        regions: list[Region] = []
        for number, kind in enumerate(self.classes):
            sure = np.flatnonzero(scores[:, number] > CONFIDENCE)
            for row in sure[suppress(boxes[sure], scores[sure, number])]:
                x0, y0, x1, y1 = boxes[row].tolist()
                regions.append(Region(kind, (x0, y0, x1, y1)))
        return tuple(regions)

    def score(self, predictions: Sequence[tuple[Region, ...]]) -> dict[str, float]:
        truths = [compose(self.words, index).regions for index in range(len(predictions))]
        return compare(truths, predictions)

    def calibration(self) -> Iterator[Feeds]:
        for number in range(CALIBRATION_PAGES):
            yield self.preprocess(render(compose(self.words, CALIBRATION_SEED + number)))


def compose(words: Sequence[str], seed: int) -> Page:
    """Fills a page from top to bottom with titles (one in four) and paragraphs."""
    rng = random.Random(seed)
    lines: list[Line] = []
    regions: list[Region] = []
    top = 40
    while top < HEIGHT - 150:
        if rng.random() < 0.25:
            title = _title(words, rng, top)
            lines.append(title)
            regions.append(Region("title", title.box))
            top = math.ceil(title.box[3]) + 16
        else:
            paragraph = _paragraph(words, rng, top)
            lines += paragraph
            regions.append(Region("text", _around(paragraph)))
            top = paragraph[-1].y + 38
    return Page(tuple(lines), tuple(regions))


def _title(words: Sequence[str], rng: random.Random, top: int) -> Line:
    return Line(MARGIN, top, 20, " ".join(rng.choice(words) for _ in range(4)).title())


def _paragraph(words: Sequence[str], rng: random.Random, top: int) -> list[Line]:
    lines = []
    for number in range(rng.randint(4, 9)):
        line = Line(MARGIN, top + 16 * number, 12, rng.choice(words))
        while line.width < WIDTH - 2 * MARGIN - 40:
            line = Line(line.x, line.y, line.size, f"{line.text} {rng.choice(words)}")
        lines.append(line)
    return lines


def _around(lines: Sequence[Line]) -> tuple[float, float, float, float]:
    boxes = [line.box for line in lines]
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def render(page: Page) -> NDArray[np.uint8]:
    """Draws a page as RGB bytes, (800, 608, 3)."""
    return np.asarray(draw(WIDTH, HEIGHT, 255, page.lines), dtype=np.uint8)


def decode(outputs: Outputs, classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Boxes (cells, 4) in pixels and class scores (cells, classes) of one page.

    Per grid there is one output of scores and one of distances, told apart by their last axis. The
    distance from a cell's centre to each side is the mean of a distribution over 0 .. 7 strides
    ("Generalized Focal Loss", Li et al., 2020).
    """
    grids = sorted((array[0] for array in outputs.values()), key=len, reverse=True)
    scores = [grid for grid in grids if grid.shape[-1] == classes]
    distances = [grid for grid in grids if grid.shape[-1] != classes]
    boxes = [
        _cell_boxes(distance, stride) for distance, stride in zip(distances, STRIDES, strict=True)
    ]
    return np.concatenate(boxes), np.concatenate(scores)


def _cell_boxes(logits: NDArray[Any], stride: int) -> NDArray[Any]:
    bins = logits.reshape(len(logits), 4, -1)
    weights = np.exp(bins - bins.max(axis=-1, keepdims=True))
    steps = np.arange(bins.shape[-1], dtype=np.float32)
    distance = stride * (weights @ steps) / weights.sum(axis=-1)
    columns = math.ceil(WIDTH / stride)
    cell = np.arange(len(logits))
    centre = (np.stack([cell % columns, cell // columns], axis=1) + 0.5) * stride
    return np.concatenate([centre - distance[:, :2], centre + distance[:, 2:]], axis=1)


def compare(
    truths: Sequence[Sequence[Region]], predictions: Sequence[Sequence[Region]]
) -> dict[str, float]:
    """F1 of the boxes over all pages, and the share of matches whose class is right."""
    matched = right = truth_count = found_count = 0
    for truth, predicted in zip(truths, predictions, strict=True):
        pairs = match(_boxes(truth), _boxes(predicted))
        matched += len(pairs)
        right += sum(truth[row].kind == predicted[column].kind for row, column in pairs)
        truth_count += len(truth)
        found_count += len(predicted)
    return {
        "region_f1": f1(matched, truth_count, found_count),
        "class_accuracy": right / matched if matched else 0.0,
    }


def _boxes(regions: Sequence[Region]) -> NDArray[np.float64]:
    return np.array([region.box for region in regions], dtype=np.float64).reshape(-1, 4)


TASK = LayoutDetection
