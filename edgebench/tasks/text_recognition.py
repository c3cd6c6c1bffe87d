"""Text recognition: reads single lines of text, as a detector would cut them out of a page.

Lines are drawn with the font that ships inside Pillow, so their text is known exactly, at three
grades: clean, mid and hard (turned, blurred, noisy). Clean lines nearly saturate; mid and hard are
what a model is judged by. The words are a seeded draw from the small vocabulary below.

Every line is drawn to fit 480 pixels of width at the model's height of 48, and narrower ones are
padded as PaddleOCR pads a batch: all items cost the same, so latencies compare.

Option `lines`: lines per grade (default 40).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgebench.errors import EdgebenchError
from edgebench.task import Metric, Task, TaskContext
from edgebench.tasks._pages import font

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from edgebench.task import Feeds, Outputs

_HEIGHT, _WIDTH = 48, 480
_STRIDE = 8  # pixels of width that a step of the output stands for
_GRADES = ("clean", "mid", "hard")
_CALIBRATION_LINES = 24
_CALIBRATION_SEED = 1_000_000  # far from the seeds of evaluation lines
_DRAW_SEEDS = 2_000_000  # from one draw to the next

_VOCABULARY = """
about above accident account across action after again against agency ahead airport allow
almost along already also although always among amount animal announced another answer any
appear area around arrive asked attack August away bank because become before began behind
believe better between beyond board body border both bring Britain brought building business
called came Canada capital carry cause central century certain chance change charge chief
children Christmas city claim clear close coach coast cold comes commission committee common
company complete concern condition control corner could council country court cover crew
cricket crisis current damage danger daily day death decide decision deep defence degree
deliver detail director doctor down drive during early earth east economy effect eight either
election emergency employ enough every evidence example expect face fact family far father
federal fight final find fire first five flight follow force foreign former forward found
four free Friday from front future general gold good government great ground group growth
half hand happen hard harbour have head health hear help high history hold home hope hospital
hour house however hundred important increase industry inside interest into island issue join
judge July just justice keep kept kill kind know labour land large last late law lead league
leave left less level life light line little local London long lost low made main major make
manager many March market match matter mean measure media meeting member message metre might
military million minister minute Monday money month more morning most mother mountain move
much must name nation near need never new next night north nothing notice number October off
office officer often once only open operation order other over own package part party pass
past peace people percent period person place plan play point police policy political power
present president pressure private problem process produce program project protect public
quarter question quick quite rain raise rate reach ready real reason record region release
remain report require rescue response rest result return right rise river road rock role room
rule run safety said same Saturday say school sea season second security seek senior serious
service seven several ship short should show side since site situation six small snow social
soldier some soon source south speak special spend spokesman staff stage stand start state
statement station still stop storm story street strike strong student such summer Sunday
support sure Sydney system take talk team tell ten term test than that their there these
thing think third those though thousand three through Thursday time today together told
tomorrow took total toward town trade traffic train travel treat trial troop trust try Tuesday
turn twenty under union united until upon use valley vehicle very victim village visit voice
vote wait walk want war warn watch water way weather week well west what when where whether
which while white whole will wind window winter within without woman wood word work world
worth would wrong year yesterday yet young zone
"""
_WORDS = tuple(_VOCABULARY.split())


@dataclass(frozen=True)
class Line:
    """A line of text and the picture of it, [height, width, 3] uint8 RGB."""

    text: str
    picture: NDArray[np.uint8]


class TextRecognition(Task):
    option_names: ClassVar = ("lines",)
    draws: ClassVar = "lines of other seeds"
    metrics: ClassVar = {
        "char_accuracy": Metric(
            "1", "higher", "1 - edit distance per character, over mid and hard lines"
        ),
        **{
            f"char_accuracy_{grade}": Metric(
                "1", "higher", f"1 - edit distance per character, over {grade} lines"
            )
            for grade in _GRADES
        },
        "exact_lines": Metric("1", "higher", "share of mid and hard lines read without an error"),
    }

    def __init__(self, context: TaskContext) -> None:
        super().__init__(context)
        self._lines_per_grade = int(context.options.get("lines", 40))
        self._input = context.inputs[0].name if context.inputs else "x"
        self._drawn: dict[int, Line] = {}

    def __len__(self) -> int:
        return self._lines_per_grade * len(_GRADES)

    def raw(self, index: int) -> NDArray[np.uint8]:
        return self._line(index).picture

    def _line(self, index: int) -> Line:
        """Grades take turns, so that the first items show all of them."""
        if index not in self._drawn:
            seed = index + _DRAW_SEEDS * self.context.draw
            self._drawn[index] = draw_line(seed, grade=index % len(_GRADES))
        return self._drawn[index]

    def preprocess(self, raw: NDArray[np.uint8]) -> Feeds:
        return {self._input: _pixels(raw)}

    def at_own_size(self, feeds: Feeds) -> Feeds:
        """The line's own width, up to whole steps of the network."""
        (pixels,) = feeds.values()
        drawn = np.flatnonzero(pixels.any(axis=(0, 1, 2)))
        width = -(-(int(drawn[-1]) + 1) // _STRIDE) * _STRIDE if drawn.size else _STRIDE
        return {self._input: np.ascontiguousarray(pixels[..., :width])}

    def postprocess(self, outputs: Outputs, raw: Any) -> str:
        """Greedy decoding of the CTC output [1, steps, characters]: repeats and blanks go."""
        (scores,) = next(iter(outputs.values()))
        best = scores.argmax(axis=-1)
        fresh = np.concatenate([[True], best[1:] != best[:-1]])
        return "".join(self._alphabet[int(code)] for code in best[fresh & (best != 0)])

    def score(self, predictions: Sequence[str]) -> dict[str, float]:
        wrong, total = np.zeros(len(_GRADES)), np.zeros(len(_GRADES))
        exact = []
        for index, read in enumerate(predictions):
            text, grade = self._line(index).text, index % len(_GRADES)
            wrong[grade] += edit_distance(read, text)
            total[grade] += len(text)
            if _GRADES[grade] != "clean":
                exact.append(read == text)
        accuracy = 1 - wrong / total
        return {
            "char_accuracy": float(1 - wrong[1:].sum() / total[1:].sum()),
            **{
                f"char_accuracy_{grade}": float(value)
                for grade, value in zip(_GRADES, accuracy, strict=True)
            },
            "exact_lines": float(np.mean(exact)),
        }

    def calibration(self) -> Iterator[Feeds]:
        for number in range(_CALIBRATION_LINES):
            line = draw_line(_CALIBRATION_SEED + number, grade=number % len(_GRADES))
            yield self.preprocess(line.picture)

    @cached_property
    def _alphabet(self) -> list[str]:
        """Character of each class: class 0 is the blank, the last one the space."""
        from edgebench.models.onnx_file import read_metadata

        if self.context.model is None:
            raise EdgebenchError("text_recognition reads its alphabet from an ONNX model")
        characters = read_metadata(self.context.model).get("character")
        if characters is None:
            raise EdgebenchError(
                f"{self.context.model} has no alphabet in its metadata",
                fix="use a recogniser of PaddleOCR that names its characters",
            )
        return ["", *characters.split("\n"), " "]


TASK = TextRecognition


def draw_line(seed: int, grade: int) -> Line:
    """A line of two to five words; the same on every machine for the same Pillow."""
    from PIL import Image, ImageDraw

    # RandomState, because numpy promises that its stream never changes.
    rng = np.random.RandomState(seed)
    size, text = _text(rng)
    _, _, right, bottom = font(size).getbbox(text)
    paper, ink = int(rng.randint(170, 256)), int(rng.randint(0, 91))
    image = Image.new("RGB", (int(right) + 16, int(bottom) + 12), (paper,) * 3)
    ImageDraw.Draw(image).text((8, 6), text, font=font(size), fill=(ink,) * 3)
    return Line(text, _degraded(image, grade, paper, rng))


def _text(rng: np.random.RandomState) -> tuple[int, str]:
    """A font size and words that fit the model's width at its height."""
    size = int(rng.randint(18, 37))
    words = [_word(rng) for _ in range(rng.randint(2, 6))]
    while True:
        text = " ".join(words)
        _, _, right, bottom = font(size).getbbox(text)
        if (right + 16) * _HEIGHT <= _WIDTH * (bottom + 12):
            return size, text
        words.pop()


def _word(rng: np.random.RandomState) -> str:
    """Mostly a plain word; some with a capital or punctuation, some numbers."""
    word, kind = _WORDS[rng.randint(len(_WORDS))], rng.random_sample()
    if kind < 0.08:
        return str(rng.randint(2, 2100))
    if kind < 0.18:
        return word.capitalize()
    return word + ("," if kind > 0.94 else "." if kind > 0.88 else "")


def _degraded(
    image: Image, grade: int, paper: int, rng: np.random.RandomState
) -> NDArray[np.uint8]:
    """Turned by up to 1.5 degrees a grade, blurred, with noise of 12 levels a grade."""
    from PIL import Image as images
    from PIL import ImageFilter

    if grade == 0:
        return np.asarray(image)
    turned = image.rotate(
        rng.uniform(-1.5, 1.5) * grade,
        resample=images.Resampling.BICUBIC,
        fillcolor=(paper,) * 3,
    )
    blurred = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.6 * grade)), np.float32)
    noisy = blurred + rng.normal(0, 12 * grade, blurred.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _pixels(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[1, 3, 48, 480] in BGR, -1 .. 1; what is left of the width is 0, as PaddleOCR pads."""
    from PIL import Image as images

    height, width = picture.shape[:2]
    scaled = min(max(round(_HEIGHT * width / height), 1), _WIDTH)
    resized = images.fromarray(picture).resize((scaled, _HEIGHT), images.Resampling.BILINEAR)
    values: Any = np.asarray(resized, np.float32)[:, :, ::-1] / 127.5 - 1.0
    pixels = np.zeros((1, 3, _HEIGHT, _WIDTH), np.float32)
    pixels[0, :, :, :scaled] = values.transpose(2, 0, 1)
    return pixels


def edit_distance(read: str, text: str) -> int:
    """Levenshtein distance: insertions, deletions and substitutions."""
    previous = list(range(len(text) + 1))
    for row, mine in enumerate(read, start=1):
        current = [row]
        for column, theirs in enumerate(text, start=1):
            current.append(
                min(
                    previous[column] + 1,
                    current[-1] + 1,
                    previous[column - 1] + (mine != theirs),
                )
            )
        previous = current
    return previous[-1]
