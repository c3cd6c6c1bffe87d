"""Finding lines of text on a page: differentiable-binarisation detectors such as PP-OCR's.

Pages are rendered, so the boxes are exact. Half of them are hard: blurred and noisy.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgebench.task import Metric, Task
from edgebench.tasks._boxes import f1, match
from edgebench.tasks._pages import Line, draw, planes, read_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Outputs

WIDTH, HEIGHT = 640, 480
PAGES_PER_LEVEL = 12
CALIBRATION_PAGES = 8
CALIBRATION_SEED = 10_000  # evaluation pages have the seeds 0 .. PAGES_PER_LEVEL - 1

TEXT_PROBABILITY = 0.3
BOX_PROBABILITY = 0.5
UNCLIP_RATIO = 1.6  # the network paints a shrunken text area; boxes grow back by this ratio
MINIMUM_SIDE = 3


@dataclass(frozen=True)
class Page:
    """Holds what stands on a page, before it is drawn."""

    seed: int
    hard: bool
    background: int
    lines: tuple[Line, ...]

    @property
    def boxes(self) -> NDArray[np.float64]:
        return np.array([line.box for line in self.lines], dtype=np.float64).reshape(-1, 4)


@dataclass(frozen=True)
class Runs:
    """Horizontal runs of set pixels; runs of one connected component share a label."""

    row: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]  # exclusive
    label: NDArray[np.int64]  # 0 .. components - 1


class TextDetection(Task):
    """Items alternate between clean and hard renderings of the same pages."""

    option_names: ClassVar = ()
    metrics: ClassVar = {
        "box_f1": Metric("1", "higher", "F1 of line boxes at IoU 0.5 on blurred, noisy pages"),
        "box_f1_clean": Metric("1", "higher", "F1 of line boxes at IoU 0.5 on clean pages"),
    }

    @cached_property
    def words(self) -> tuple[str, ...]:
        return read_words(self.context.data["words"])

    def page(self, index: int) -> Page:
        return compose(self.words, seed=index // 2, hard=index % 2 == 1)

    def __len__(self) -> int:
        return 2 * PAGES_PER_LEVEL

    def raw(self, index: int) -> NDArray[np.uint8]:
        """An RGB image, (480, 640, 3)."""
        return render(self.page(index))

    def preprocess(self, raw: NDArray[np.uint8]) -> Feeds:
        """Normalised BGR planes, (1, 3, 480, 640) float32."""
        return {self.context.inputs[0].name: planes(raw[:, :, ::-1])}

    def postprocess(self, outputs: Outputs, raw: Any) -> NDArray[np.float64]:
        """Boxes of text lines, (n, 4)."""
        (probability,) = outputs.values()
        return text_boxes(probability[0, 0])

    def score(self, predictions: Sequence[NDArray[np.float64]]) -> dict[str, float]:
        return {
            "box_f1": self._level_f1(predictions, first=1),
            "box_f1_clean": self._level_f1(predictions, first=0),
        }

    def _level_f1(self, predictions: Sequence[NDArray[np.float64]], first: int) -> float:
        matched = truth = found = 0
        for index in range(first, len(predictions), 2):
            boxes = self.page(index).boxes
            matched += len(match(boxes, predictions[index]))
            truth += len(boxes)
            found += len(predictions[index])
        return f1(matched, truth, found)

    def calibration(self) -> Iterator[Feeds]:
        for number in range(CALIBRATION_PAGES):
            page = compose(self.words, seed=CALIBRATION_SEED + number, hard=number % 2 == 1)
            yield self.preprocess(render(page))


def compose(words: Sequence[str], seed: int, hard: bool) -> Page:
    """Chooses lines of random words, sizes and places from top to bottom."""
    rng = random.Random(seed)
    background = rng.randint(190, 255)
    lines: list[Line] = []
    top = 20
    while top < HEIGHT - 50:
        line = _compose_line(words, rng, top)
        lines.append(line)
        top = int(line.box[3]) + rng.randint(12, 24)
    return Page(seed, hard, background, tuple(lines))


def _compose_line(words: Sequence[str], rng: random.Random, top: int) -> Line:
    size, left = rng.randint(16, 30), rng.randint(15, 120)
    shade, wanted_width = rng.randint(0, 80), rng.randint(150, 420)
    line = Line(left, top, size, rng.choice(words), shade)
    while line.width < wanted_width:
        longer = Line(left, top, size, f"{line.text} {rng.choice(words)}", shade)
        if left + longer.width > WIDTH - 15:
            break
        line = longer
    return line


def render(page: Page) -> NDArray[np.uint8]:
    """Draws a page as RGB bytes, (480, 640, 3); a hard one is blurred and gets sensor noise."""
    from PIL import ImageFilter

    image = draw(WIDTH, HEIGHT, page.background, page.lines)
    if not page.hard:
        return np.asarray(image, dtype=np.uint8)
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(1.2)), dtype=np.float32)
    noise = np.random.default_rng(page.seed).normal(0, 24, blurred.shape)
    return np.clip(blurred + noise, 0, 255).astype(np.uint8)


def text_boxes(probability: NDArray[Any]) -> NDArray[np.float64]:
    """Boxes around connected text pixels of a probability map (height, width).

    A component whose mean probability is low or whose side is short is dropped; each box grows by
    area * ratio / perimeter, as in "Real-time Scene Text Detection with Differentiable
    Binarization" (Liao et al., 2020), for upright boxes.
    """
    width = probability.shape[1]
    runs = connected_runs(probability > TEXT_PROBABILITY)
    count = int(runs.label.max()) + 1 if runs.label.size else 0
    x0, y0 = np.full(count, np.inf), np.full(count, np.inf)
    x1, y1 = np.zeros(count), np.zeros(count)
    np.minimum.at(x0, runs.label, runs.start)
    np.minimum.at(y0, runs.label, runs.row)
    np.maximum.at(x1, runs.label, runs.stop)
    np.maximum.at(y1, runs.label, runs.row + 1)

    running = np.concatenate([[0.0], np.cumsum(probability, dtype=np.float64)])
    offset = runs.row * width
    sums = running[offset + runs.stop] - running[offset + runs.start]
    mean = np.bincount(runs.label, sums, count) / np.bincount(
        runs.label, runs.stop - runs.start, count
    )

    wide, high = x1 - x0, y1 - y0
    kept = (np.minimum(wide, high) >= MINIMUM_SIDE) & (mean >= BOX_PROBABILITY)
    grow = wide * high * UNCLIP_RATIO / (2 * (wide + high))
    boxes = np.stack([x0 - grow, y0 - grow, x1 + grow, y1 + grow], axis=1)
    return np.asarray(boxes[kept], dtype=np.float64)


def connected_runs(mask: NDArray[np.bool_]) -> Runs:
    """Runs of set pixels of a mask, labelled by 4-connected component.

    Works on runs, not pixels: runs of neighbouring rows that share a column are linked, then
    labels spread along the links until nothing changes.
    """
    row, start, stop = _runs(mask)
    first, second = _links(row, start, stop, stride=mask.shape[1] + 1)
    label = np.arange(row.size)
    while True:
        lower = label.copy()
        np.minimum.at(lower, first, label[second])
        np.minimum.at(lower, second, label[first])
        lower = lower[lower]  # a label's own label may have dropped already: take the short cut
        if np.array_equal(lower, label):
            break
        label = lower
    return Runs(row, start, stop, np.unique(label, return_inverse=True)[1].reshape(-1))


def _runs(
    mask: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    edges = np.diff(padded, axis=1)
    row, start = np.nonzero(edges == 1)
    return row, start, np.nonzero(edges == -1)[1]


def _links(
    row: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64], stride: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of run numbers that touch across a row boundary.

    Runs lie in reading order, so the runs below run i that overlap it are a range, found by
    bisection of start and stop positions.
    """
    below = (row + 1) * stride
    low = np.searchsorted(row * stride + stop, below + start, side="right")
    high = np.searchsorted(row * stride + start, below + stop, side="left")
    count = high - low
    first = np.repeat(np.arange(row.size), count)
    offset = np.arange(first.size) - np.repeat(np.cumsum(count) - count, count)
    return first, np.repeat(low, count) + offset


TASK = TextDetection
