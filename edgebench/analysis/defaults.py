"""What questions about results take where nothing else is said. Help texts show it, so nothing heavy is here."""

from __future__ import annotations

from typing import Final

#: What is said to be sure is wrong in at most 1 % of cases; intervals are shown at 95 %.
SURE: Final = 0.99
#: Confidence of the intervals of a comparison.
COMPARED: Final = 0.95
#: Draws from which probabilities are estimated.
DRAWS: Final = 2000
MIN_DRAWS: Final = 100
MAX_DRAWS: Final = 100_000
