"""Finds the line of a user's own file (FILE.py:CLASS) in which an error arose."""

from __future__ import annotations

import traceback
from collections.abc import Iterable


def place_of(error: BaseException, specs: Iterable[str]) -> str:
    """FILE:LINE of the innermost call in the files that these specifications name; "" where there is none."""
    files = {spec.rpartition(":")[0] for spec in specs}
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename in files]
    return places[-1] if places else ""
