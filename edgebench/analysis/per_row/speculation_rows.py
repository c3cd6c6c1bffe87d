"""Derives acceptance, tokens per step and the gain of speculation from the requests of text generation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from edgebench import record as rec
from edgebench import stats
from edgebench.analysis.per_row.unknown_fields import Unknown, explain_absent
from edgebench.analysis.table_types import Speculation
from edgebench.words import unknown_words

_PART = "generate.speculation"


def speculation_of(
    parts: Sequence[rec.Generate], energy: rec.Energy, unknown: Unknown
) -> Speculation | None:
    """Of the replicates' parts; None of plain decoding.

    Counts are those of the measured window; the gain is that of the pairs of prompts after it, which were answered
    in turns with speculation and without.
    """
    requests = [request for part in parts for request in part.requests]
    counts = [request.speculated for request in requests if request.speculated is not None]
    if not counts:
        unknown[_PART] = unknown_words.PLAIN_DECODING
        return None
    steps = sum(count.steps - 1 for count in counts)  # the first reads the prompt
    told = [each.drafted for each in counts if each.drafted is not None]
    drafted = sum(told) if len(told) == len(counts) else None
    accepted = sum(each.accepted for each in counts)
    gains = [gain for part in parts if part.plain and (gain := gain_of(part.plain)) is not None]
    interval = stats.log_interval(gains)
    made = Speculation(
        steps=steps,
        drafted=drafted,
        accepted=accepted,
        acceptance=accepted / drafted if drafted else None,
        tokens_per_step=(steps + accepted) / steps if steps else None,
        gain=math.exp(fmean(map(math.log, gains))) if gains else None,
        gain_low=None if interval is None else interval.low,
        gain_high=None if interval is None else interval.high,
        gain_of_replicates=gains,
        compared=sum(len(part.plain.plain_ns) for part in parts if part.plain),
        draft_bytes=max((part.draft_bytes or 0 for part in parts), default=0) or None,
        j_per_accepted_token=None
        if energy.j_per_inference is None or not accepted
        else energy.j_per_inference * len(requests) / accepted,
    )
    _explain(made, energy, unknown)
    return made


def gain_of(plain: rec.PlainDecoding) -> float | None:
    """Geometric mean over prompts of the time without speculation over that with it; None where answers have no
    second token."""
    pairs = [pair for pair in zip(plain.plain_ns, plain.speculated_ns, strict=True) if all(pair)]
    if not pairs:
        return None
    return math.exp(fmean(math.log(without / drafted) for without, drafted in pairs))


def _explain(made: Speculation, energy: rec.Energy, unknown: Unknown) -> None:
    reasons = {
        "drafted": unknown_words.DRAFTED_UNTOLD,
        "acceptance": unknown_words.DRAFTED_UNTOLD
        if made.drafted is None
        else unknown_words.NOTHING_DRAFTED,
        "tokens_per_step": unknown_words.ONE_TOKEN_STEP,
        "gain": unknown_words.NOT_COMPARED,
        "gain_low": unknown_words.few_replicates(len(made.gain_of_replicates)),
        "gain_high": unknown_words.few_replicates(len(made.gain_of_replicates)),
        "draft_bytes": unknown_words.NO_DRAFT_MEMORY,
        "j_per_accepted_token": (energy.reason or unknown_words.NO_ENERGY)
        if energy.j_per_inference is None
        else unknown_words.NOTHING_ACCEPTED,
    }
    explain_absent(made, _PART, reasons, unknown)
