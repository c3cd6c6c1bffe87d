"""Time stamps of a meter's log: ISO 8601, a date with slashes or points, or a time of day alone.

Whether 05/01/2026 is in May or in January is told by the other stamps of the file, else nobody knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from edgebench.errors import UsageError

_DATE = r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})"
_TIME = r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,:](\d{1,9}))?)?(?: ?([AaPp])\.?[Mm]\.?)?"
_ZONE = r"(?: ?(Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?))?"
_STAMP = re.compile(rf"(?:{_DATE}(?:T|,? +))?{_TIME}{_ZONE}")
_ONE_DATE = re.compile(_DATE)
_ONE_TIME = re.compile(_TIME + _ZONE)
_FRACTION = re.compile(r"[.,](\d{1,40})")


@dataclass(frozen=True)
class Moments:
    """Seconds of each stamp: Unix time, or since midnight where stamps have no date."""

    seconds: list[float]
    absolute: bool
    zoned: bool  # False: no zone is named, and UTC was taken


def is_date(text: str) -> bool:
    return _ONE_DATE.fullmatch(text) is not None


def is_time_of_day(text: str) -> bool:
    return _ONE_TIME.fullmatch(text) is not None


def moments(texts: Sequence[str], where: Callable[[int], str]) -> Moments:
    """Reads stamps. `where` names file and line of one, for errors. Raises UsageError."""
    stamps = [_STAMP.fullmatch(text) for text in texts]
    day_first = _is_day_first(stamps, texts, where)
    seconds = [
        _iso(text, where(n)) if match is None else _seconds(match, day_first, text, where(n))
        for n, (match, text) in enumerate(zip(stamps, texts, strict=True))
    ]
    first = stamps[0]
    return Moments(
        seconds,
        absolute=first is None or first[1] is not None,
        zoned=all(_is_zoned(match, text) for match, text in zip(stamps, texts, strict=True)),
    )


def _is_zoned(match: re.Match[str] | None, text: str) -> bool:
    return (
        match[10] is not None if match else bool(re.search(r"(?:[zZ]|[+-]\d\d(?::?\d\d)?)$", text))
    )


def _is_day_first(
    stamps: Sequence[re.Match[str] | None], texts: Sequence[str], where: Callable[[int], str]
) -> bool:
    """Whether dates that end with the year begin with the day."""
    short = [n for n, match in enumerate(stamps) if match and match[1] and len(match[1]) < 3]
    if not short:
        return True
    pairs = [(match[2], int(match[1]), int(match[3])) for n in short if (match := stamps[n])]
    if all(mark == "." for mark, _, _ in pairs):
        return True
    day, month = any(one > 12 for _, one, _ in pairs), any(two > 12 for _, _, two in pairs)
    if day != month:
        return day
    raise UsageError(
        f"{where(short[0])}: {texts[short[0]]!r} may be of the {pairs[0][1]}. day or the {pairs[0][1]}. month",
        "write the dates as 2026-05-01",
    )


def _seconds(match: re.Match[str], day_first: bool, text: str, where: str) -> float:
    one, _, two, three, hour, minute, second, fraction, half, zone = match.groups()
    try:
        clock_s = _of_day(int(hour), int(minute), int(second or 0), half)
        clock_s += float(f"0.{fraction or 0}")
        if one is None:
            return clock_s
        short = (three, two, one) if day_first else (three, one, two)
        year, month, day = map(int, (one, two, three) if len(one) > 2 else short)
        midnight = datetime(year, month, day, tzinfo=_zone(zone))
    except (ValueError, OverflowError):
        raise _no_time(text, where) from None
    return midnight.timestamp() + clock_s


def _of_day(hour: int, minute: int, second: int, half: str | None) -> float:
    """Seconds since midnight. Raises ValueError for a time that no clock shows."""
    if half is not None:
        if not 1 <= hour <= 12:
            raise ValueError("no hour of half a day")
        hour = hour % 12 + (12 if half in "pP" else 0)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("no time of day")
    return hour * 3600.0 + minute * 60 + second


def _zone(text: str | None) -> timezone:
    if text is None or text[0] not in "+-":
        return timezone.utc
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _iso(text: str, where: str) -> float:
    """Unix time of any other ISO 8601 moment; UTC where it names no zone."""
    # Python 3.10 takes no "Z", and fractions of 3 or 6 digits alone.
    plain = _FRACTION.sub(lambda match: f".{match[1][:6]:0<6}", re.sub(r"[zZ]$", "+00:00", text))
    try:
        moment = datetime.fromisoformat(plain)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise _no_time(text, where) from None


def _no_time(text: str, where: str) -> UsageError:
    return UsageError(
        f"{where}: {text[:60]!r} is not a time",
        "write seconds, or ISO 8601 such as 2026-05-01T10:00:00Z",
    )
