"""Rendered text pages: what stands where is known exactly, so they label themselves.

Drawn with the font that ships inside Pillow, hence the same on every machine; words come from a
text file of the workload.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.errors import EdgebenchError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from PIL import Image, ImageFont

_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)


@dataclass(frozen=True)
class Line:
    """One line of text with its origin (left, ascender line), size and grey shade (0 black)."""

    x: int
    y: int
    size: int
    text: str
    shade: int = 0

    @property
    def width(self) -> float:
        return font(self.size).getlength(self.text)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Bounding box of the ink: x0, y0, x1, y1 in pixels."""
        x0, y0, x1, y1 = font(self.size).getbbox(self.text)
        return self.x + x0, self.y + y0, self.x + x1, self.y + y1


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font in `size` pixels. Raises EdgebenchError where Pillow cannot draw it."""
    from PIL import ImageFont

    loaded = ImageFont.load_default(size=size)
    if not isinstance(loaded, ImageFont.FreeTypeFont):
        raise EdgebenchError(
            "this Pillow was built without FreeType, which draws the pages",
            fix="pip install --force-reinstall --only-binary :all: pillow",
        )
    return loaded


def read_words(path: Path) -> tuple[str, ...]:
    """Words of a text file that the font can draw (ASCII), in order, repetitions kept."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return tuple(word for word in text.split() if word.isascii())


def draw(width: int, height: int, background: int, lines: Iterable[Line]) -> Image.Image:
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (width, height), (background,) * 3)
    pen = ImageDraw.Draw(page)
    for line in lines:
        pen.text((line.x, line.y), line.text, font=font(line.size), fill=(line.shade,) * 3)
    return page


def planes(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Bytes (height, width, 3) as ImageNet's networks take them: normalised planes, (1, 3, height, width)."""
    scaled = pixels.astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(((scaled - _MEAN) / _DEVIATION).transpose(2, 0, 1)[None])
