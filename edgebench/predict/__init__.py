"""Latency of cells that were never run on a device, from the few that were and from other devices."""

from typing import Final

#: Cells that are suggested to be measured on a device that nobody knows.
SUGGESTIONS: Final = 10
