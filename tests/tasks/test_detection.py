"""Boxes, page rendering and the decoders of the two detectors, on outputs made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgebench.backend import TensorInfo
from edgebench.task import TaskContext
from edgebench.tasks import layout_detection, text_detection
from edgebench.tasks._boxes import f1, iou, match, suppress
from edgebench.tasks._pages import Line, draw
from edgebench.tasks.layout_detection import LayoutDetection, Region
from edgebench.tasks.text_detection import TextDetection, connected_runs, text_boxes

CLASSES = ["text", "title", "figure"]
BOX = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
BOXES = st.lists(BOX, max_size=8).map(lambda rows: np.array(rows, dtype=float).reshape(-1, 4))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words") / "words.txt"
    path.write_text("river mountain quickly Parliament one señor of agreement seven", "utf-8")
    return path


@pytest.fixture(scope="module")
def text_task(words: Path) -> TextDetection:
    inputs = [TensorInfo("x", "float32", (1, 3, 480, 640))]
    return TextDetection(TaskContext(data={"words": words}, inputs=inputs))


@pytest.fixture(scope="module")
def layout_task(words: Path) -> LayoutDetection:
    inputs = [TensorInfo("image", "float32", (1, 3, 800, 608))]
    options = {"classes": CLASSES}
    return LayoutDetection(TaskContext(data={"words": words}, options=options, inputs=inputs))


# --- boxes --------------------------------------------------------------------------------------


def test_iou_of_known_boxes() -> None:
    first = np.array([[0, 0, 10, 10]], dtype=float)
    second = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], dtype=float)
    assert iou(first, second)[0] == pytest.approx([1, 1 / 3, 0])


@given(BOXES, BOXES)
def test_iou_is_the_share_of_common_pixels(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> None:
    def pixels(box: NDArray[np.float64]) -> set[tuple[int, int]]:
        x0, y0, x1, y1 = box.astype(int)
        return {(x, y) for x in range(x0, x1) for y in range(y0, y1)}

    shares = iou(first, second)
    assert shares.shape == (len(first), len(second))
    for row, a in enumerate(map(pixels, first)):
        for column, b in enumerate(map(pixels, second)):
            assert shares[row, column] == pytest.approx(len(a & b) / len(a | b))


@given(BOXES, BOXES)
def test_match_uses_every_box_at_most_once(
    truth: NDArray[np.float64], found: NDArray[np.float64]
) -> None:
    pairs = match(truth, found)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(iou(truth, found)[pair] > 0.5 for pair in pairs)


def test_match_prefers_the_best_overlap() -> None:
    truth = np.array([[0, 0, 10, 10], [0, 0, 10, 11]], dtype=float)
    found = np.array([[0, 0, 10, 11]], dtype=float)
    assert match(truth, found) == [(1, 0)]


@given(BOXES)
def test_suppression_keeps_boxes_that_overlap_little(boxes: NDArray[np.float64]) -> None:
    scores = np.linspace(0, 1, len(boxes))
    kept = suppress(boxes, scores)
    overlap = iou(boxes, boxes)
    assert all(overlap[a, b] < 0.5 for a in kept for b in kept if a != b)
    for row in range(len(boxes)):  # whoever went has a surer neighbour that stayed
        assert row in kept or any(overlap[row, k] >= 0.5 and scores[k] >= scores[row] for k in kept)


def test_f1_is_the_harmonic_mean() -> None:
    assert f1(matched=3, truth=4, found=4) == 0.75
    assert f1(matched=0, truth=0, found=0) == 0.0


def test_the_box_of_a_line_holds_its_ink() -> None:
    line = Line(x=20, y=10, size=24, text="Agreed", shade=0)
    ink = np.asarray(draw(200, 60, 255, [line]))[:, :, 0] < 200
    rows, columns = np.nonzero(ink)
    x0, y0, x1, y1 = line.box
    assert x0 <= columns.min() <= x0 + 2
    assert x1 - 2 <= columns.max() + 1 <= x1
    assert y0 <= rows.min() <= y0 + 2
    assert y1 - 2 <= rows.max() + 1 <= y1


# --- text lines ---------------------------------------------------------------------------------


@given(arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_components_agree_with_scipy(mask: NDArray[np.bool_]) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    expected, count = ndimage.label(mask)
    runs = connected_runs(mask)
    painted = np.full(mask.shape, -1)
    for row, start, stop, label in zip(runs.row, runs.start, runs.stop, runs.label, strict=True):
        painted[row, start:stop] = label
    assert np.array_equal(painted >= 0, mask)
    pairs = {(a, b) for a, b in zip(painted[mask], expected[mask], strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == count


def test_a_spiral_is_one_component() -> None:
    rows = ("1111111", "1000001", "1011101", "1010101", "1010001", "1011111")
    spiral = np.array([[cell == "1" for cell in row] for row in rows])
    assert set(connected_runs(spiral).label.tolist()) == {0}
    spiral[1, 0] = spiral[5, 4] = False  # cut twice
    assert len(set(connected_runs(spiral).label.tolist())) == 3


def test_text_boxes_grow_by_area_over_perimeter() -> None:
    probability = np.zeros((100, 200), dtype=np.float32)
    probability[40:50, 20:120] = 0.9
    (box,) = text_boxes(probability)
    grow = 100 * 10 * 1.6 / (2 * (100 + 10))
    assert box == pytest.approx([20 - grow, 40 - grow, 120 + grow, 50 + grow])


def test_faint_and_thin_components_are_no_text() -> None:
    probability = np.zeros((60, 60), dtype=np.float32)
    probability[5:15, 5:50] = 0.4  # above the pixel threshold, below the box's
    probability[30:32, 5:50] = 0.9  # two pixels high
    assert text_boxes(probability).shape == (0, 4)
    assert text_boxes(np.zeros((60, 60), dtype=np.float32)).shape == (0, 4)


def ideal_map(page: text_detection.Page) -> NDArray[np.float32]:
    """What a perfect detector paints: every box shrunken by what the decoder adds."""
    probability = np.zeros((480, 640), dtype=np.float32)
    for x0, y0, x1, y1 in page.boxes:
        shrink = round((y1 - y0) * 0.3)
        inside = np.s_[int(y0) + shrink : int(y1) - shrink, int(x0) + shrink : int(x1) - shrink]
        probability[inside] = 0.95
    return probability


def test_a_perfect_text_detector_scores_one(text_task: TextDetection) -> None:
    predictions = [
        text_task.postprocess({"p": ideal_map(text_task.page(index))[None, None]}, None)
        for index in range(len(text_task))
    ]
    assert text_task.score(predictions) == {"box_f1": 1.0, "box_f1_clean": 1.0}


def test_the_two_levels_are_scored_apart(text_task: TextDetection) -> None:
    nothing = np.zeros((0, 4))
    predictions = [
        text_task.page(index).boxes if index % 2 else nothing for index in range(len(text_task))
    ]
    assert text_task.score(predictions) == {"box_f1": 1.0, "box_f1_clean": 0.0}


def test_text_pages_are_the_same_every_time_and_differ(
    text_task: TextDetection, words: Path
) -> None:
    again = TextDetection(TaskContext(data={"words": words}, inputs=text_task.context.inputs))
    pages = [text_task.raw(index) for index in range(4)]
    assert all(np.array_equal(page, again.raw(index)) for index, page in enumerate(pages))
    assert len({page.tobytes() for page in pages}) == 4


def check_feeds(feeds: dict[str, NDArray[Any]], info: TensorInfo) -> None:
    array = feeds[info.name]
    assert array.shape == info.shape
    assert array.dtype.name == info.dtype
    assert array.flags.c_contiguous


def test_text_inputs_fit_the_model(text_task: TextDetection) -> None:
    feeds = text_task.preprocess(text_task.raw(0))
    check_feeds(feeds, text_task.context.inputs[0])
    pixel = text_task.raw(0)[0, 0].astype(np.float64)  # red, green, blue
    expected = (pixel[2] / 255 - 0.485) / 0.229  # the first plane is blue
    assert feeds["x"][0, 0, 0, 0] == pytest.approx(expected, rel=1e-5)


def test_text_calibration_pages_are_no_evaluation_pages(text_task: TextDetection) -> None:
    evaluated = {
        text_task.preprocess(text_task.raw(i))["x"].tobytes() for i in range(len(text_task))
    }
    calibration = [feeds["x"].tobytes() for feeds in text_task.calibration()]
    assert len(set(calibration)) == len(calibration) == 8
    assert not evaluated & set(calibration)


# --- page layout --------------------------------------------------------------------------------


def layout_outputs(cells: dict[tuple[int, int, int], tuple[int, float, int]]) -> dict[str, Any]:
    """Outputs in which some cells see a region.

    `cells`: (stride, row, column) -> (class, score, steps to every side).
    """
    outputs: dict[str, Any] = {}
    for stride in layout_detection.STRIDES:
        rows, columns = -(-800 // stride), -(-608 // stride)
        scores = np.zeros((1, rows * columns, len(CLASSES)), dtype=np.float32)
        bins = np.zeros((1, rows * columns, 32), dtype=np.float32)
        for (level, row, column), (kind, score, steps) in cells.items():
            if level == stride:
                cell = row * columns + column
                scores[0, cell, kind] = score
                bins[0, cell].reshape(4, 8)[:, steps] = 50  # a distribution of one peak
        outputs[f"distance{stride}"], outputs[f"score{stride}"] = bins, scores
    return outputs


def test_layout_cells_decode_to_boxes(layout_task: LayoutDetection) -> None:
    outputs = layout_outputs({(32, 3, 5): (1, 0.9, 2), (8, 90, 10): (0, 0.8, 7)})
    text, title = layout_task.postprocess(outputs, None)
    assert (text.kind, title.kind) == ("text", "title")
    centre_x, centre_y = 5.5 * 32, 3.5 * 32
    assert title.box == pytest.approx((centre_x - 64, centre_y - 64, centre_x + 64, centre_y + 64))
    assert text.box == pytest.approx((84 - 56, 724 - 56, 84 + 56, 724 + 56))


def test_layout_neighbours_of_one_class_are_suppressed(layout_task: LayoutDetection) -> None:
    cells = {(32, 3, 5): (0, 0.7, 4), (32, 3, 6): (0, 0.9, 4)}
    (region,) = layout_task.postprocess(layout_outputs(cells), None)
    assert region.box[0] == pytest.approx(6.5 * 32 - 128)  # the surer of the two
    other_class = {**cells, (32, 3, 5): (2, 0.7, 4)}
    assert len(layout_task.postprocess(layout_outputs(other_class), None)) == 2


def test_regions_below_the_threshold_are_left_out(layout_task: LayoutDetection) -> None:
    assert layout_task.postprocess(layout_outputs({(32, 3, 5): (0, 0.3, 4)}), None) == ()


def test_layout_scores_boxes_and_classes_apart(layout_task: LayoutDetection) -> None:
    truths = [
        layout_detection.compose(layout_task.words, index).regions
        for index in range(len(layout_task))
    ]
    assert layout_task.score(truths) == {"region_f1": 1.0, "class_accuracy": 1.0}
    as_figures = [tuple(Region("figure", r.box) for r in truth) for truth in truths]
    assert layout_task.score(as_figures) == {"region_f1": 1.0, "class_accuracy": 0.0}
    nothing: list[tuple[Region, ...]] = [()] * len(truths)
    assert layout_task.score(nothing) == {"region_f1": 0.0, "class_accuracy": 0.0}
    doubled = [(*truth, *truth) for truth in truths]
    assert layout_task.score(doubled)["region_f1"] == pytest.approx(2 / 3)


def test_layout_pages_hold_both_kinds_and_repeat(layout_task: LayoutDetection) -> None:
    pages = [layout_detection.compose(layout_task.words, index) for index in range(20)]
    assert {r.kind for page in pages for r in page.regions} == {"text", "title"}
    assert pages == [layout_detection.compose(layout_task.words, index) for index in range(20)]
    check_feeds(layout_task.preprocess(layout_task.raw(0)), layout_task.context.inputs[0])
