"""Numbers as people and programs write them: 1234.5, 1,234.5, 1.234,5, 1 234,5.

Which mark is the decimal one is told by the file itself: "0,25" and "1.234,5" can only have a decimal
comma, "0.25" and "1,234.5" only a decimal point. "5,000" and "5.000" tell nothing, and are read by what the
others say; where they say nothing either, nobody knows whether it is 5 or 5000.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PARTS = re.compile(r"([+-]?)([0-9.,'\u2019\s]{1,60})((?:[eE][+-]?[0-9]{1,4})?)")
_GROUPED = re.compile(r"[1-9][0-9]{0,2}(?:([.,'\u2019\s])[0-9]{3})(?:\1[0-9]{3})*")
_MAX_EXPONENT = 300
_MINUS = "\u2212"  # the sign of typesetters
_WORDS = frozenset(("nan", "inf", "infinity"))


class MixedMarks(ValueError):
    """One number can only have a decimal point, another only a decimal comma."""

    def __init__(self, point: str, comma: str) -> None:
        super().__init__(f"{point!r} has a decimal point, {comma!r} a decimal comma")
        self.texts = (point, comma)


class TwoReadings(ValueError):
    """A number that is another one with the other decimal mark, and nothing tells which is meant."""

    def __init__(self, text: str) -> None:
        self.readings = (_reading(text, "."), _reading(text, ","))
        low, high = sorted(value for value in self.readings if value is not None)
        super().__init__(f"{text!r} may be {low:g} or {high:g}")


#: What a person calls the decimal mark.
MARKS = {"point": ".", "comma": ","}


def decimal_mark(texts: Iterable[str], between: str = "") -> str:
    """The decimal mark that the numbers prove: "." or ",", and "" where none of them proves one.

    `between`: what separates them. Who writes decimal commas separates by something else, so that between
    commas points alone are decimal ones. Raises MixedMarks.
    """
    numbers = list(texts)
    seen: dict[str, str] = {}
    for text in numbers:
        if mark := proven_mark(text):
            seen.setdefault(mark, text)
    if len(seen) > 1:
        raise MixedMarks(seen["."], seen[","])
    points_alone = between == "," and not any("," in text for text in numbers)
    return next(iter(seen), "." if points_alone else "")


def parse_number(text: str, mark: str = "") -> float | None:
    """The number by the decimal mark of its file ("" where none is proven); None where it is none.

    Raises TwoReadings where it could be another one.
    """
    text = text.strip()
    if mark == "." and "," not in text and "_" not in text:
        try:
            return float(text)
        except ValueError:
            pass
    if mark:
        return _reading(text, mark)
    if is_ambiguous(text):
        raise TwoReadings(text)
    point = _reading(text, ".")
    return _reading(text, ",") if point is None else point


def is_ambiguous(text: str) -> bool:
    """Whether both marks give a number, and not the same."""
    point, comma = _reading(text, "."), _reading(text, ",")
    both = point is not None and comma is not None
    return both and point != comma and not text.strip("+- ").isalpha()


def decimals(text: str, mark: str = "") -> int:
    """Digits behind the decimal mark, with the exponent: "1.25e-3" has 5. 0 for what is no number."""
    parts = _PARTS.fullmatch(text.strip())
    if parts is None:
        return 0
    behind = len(parts[2].partition(mark or ".")[2])
    if not mark and "." not in parts[2] and "," in parts[2]:
        behind = len(parts[2].rpartition(",")[2])
    exponent = int(parts[3][1:]) if parts[3] else 0
    return max(-_MAX_EXPONENT, min(_MAX_EXPONENT, behind - exponent))


def proven_mark(text: str) -> str:
    """The decimal mark that this number can only have; "" where both would do, or it is no number."""
    point, comma = _reading(text, "."), _reading(text, ",")
    if (point is None) == (comma is None):
        return ""
    return "." if comma is None else ","


def _reading(text: str, mark: str) -> float | None:
    """The number if `mark` is the decimal mark; None where it is none then."""
    text = text.strip().replace(_MINUS, "-")
    if text.lower().lstrip("+-") in _WORDS:
        return float(text)
    parts = _PARTS.fullmatch(text)
    if parts is None:
        return None
    sign, digits, exponent = parts.groups()
    whole, _, fraction = digits.partition(mark)
    if fraction and not fraction.isdigit():
        return None
    if grouped := _GROUPED.fullmatch(whole):
        whole = whole.replace(grouped[1], "")
    if (whole and not whole.isdigit()) or not (whole or fraction):
        return None
    return float(f"{sign}{whole or 0}.{fraction or 0}{exponent}")
