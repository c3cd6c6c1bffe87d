"""Pictures from a seed: smooth fields with a few edges, in [0, 1], as a camera's are and noise is not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHANNELS = (1, 3)
_MIN_SIZE = 8  # pixels along an axis: what is smaller is no image
_GRID = 6  # points of the field along an axis
_PATCHES = 4


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether a shape is that of images: N, C, H, W or N, H, W, C."""
    return len(shape) == 4 and (_channels_first(shape) or _channels_last(shape))


def _channels_first(shape: tuple[int, ...]) -> bool:
    return shape[1] in _CHANNELS and min(shape[2:]) >= _MIN_SIZE


def _channels_last(shape: tuple[int, ...]) -> bool:
    return shape[3] in _CHANNELS and min(shape[1:3]) >= _MIN_SIZE


def picture(shape: tuple[int, ...], rng: np.random.RandomState) -> NDArray[Any]:
    if _channels_first(shape):
        count, channels, height, width = shape
    else:
        count, height, width, channels = shape
    pictures = np.stack([_one(channels, height, width, rng) for _ in range(count)])
    return pictures if _channels_first(shape) else pictures.transpose(0, 2, 3, 1)


def _one(channels: int, height: int, width: int, rng: np.random.RandomState) -> NDArray[Any]:
    """A field of a few grid points with some darker and lighter patches; channels resemble each other."""
    grey, tint = rng.rand(1, _GRID, _GRID), rng.rand(channels, _GRID, _GRID)
    field = _stretched(0.7 * grey + 0.3 * tint, height, width)
    for _ in range(_PATCHES):
        top, left = rng.randint(height), rng.randint(width)
        bottom, right = top + 1 + rng.randint(height), left + 1 + rng.randint(width)
        field[:, top:bottom, left:right] += rng.uniform(-0.3, 0.3)
    return np.asarray(np.clip(field, 0, 1))


def _stretched(grid: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    stretched: NDArray[Any] = _weights(height) @ grid @ _weights(width).T
    return stretched


def _weights(size: int) -> NDArray[Any]:
    """Linear interpolation from the grid's points to so many pixels."""
    at = np.linspace(0, _GRID - 1, size)
    return np.stack([np.interp(at, np.arange(_GRID), row) for row in np.eye(_GRID)], axis=1)
