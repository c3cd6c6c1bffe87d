"""The bounds of the numbers that are read from files and pipes.

msgspec holds them where it decodes, so that code behind a reader need not doubt a number. JSON has no
infinity and no NaN: a bounded float is finite.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

#: The largest integer that numpy, DuckDB and Parquet hold.
MAX_INTEGER: Final = 2**63 - 1
#: No number is larger, so that products of a few of them stay finite.
MAX_NUMBER: Final = 1e18
MIN_RATE_PER_S: Final = 1e-9

Integer = Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
AtLeastOne = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
DurationNs = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Number = Annotated[float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Amount = Annotated[float, Meta(ge=0, le=MAX_NUMBER)]  # of what cannot be less than nothing
Rate = Annotated[float, Meta(ge=MIN_RATE_PER_S, le=MAX_NUMBER)]  # per second
Share = Annotated[float, Meta(ge=0, le=1)]
#: A setting of a variant, as files hold it.
Value = str | Integer | Number | bool
