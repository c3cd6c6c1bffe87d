"""Derives the times of each turn from the requests of conversations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median_low

from edgebench import record as rec
from edgebench import stats
from edgebench.analysis.per_row.unknown_fields import Unknown, explain_absent
from edgebench.analysis.table_types import Turn
from edgebench.words import unknown_words


def turns_of(parts: Sequence[rec.Generate], unknown: Unknown) -> list[Turn]:
    """Of the replicates' parts, in the order of turns; empty where requests stand on their own."""
    by_turn: dict[int, list[list[rec.Request]]] = defaultdict(list)
    for part in parts:
        of_part: dict[int, list[rec.Request]] = defaultdict(list)
        for request in part.requests:
            if request.turn is not None:
                of_part[request.turn].append(request)
        for turn, requests in of_part.items():
            by_turn[turn].append(requests)
    return [_turn(turn, by_turn[turn], unknown) for turn in sorted(by_turn)]


def _turn(turn: int, replicates: Sequence[Sequence[rec.Request]], unknown: Unknown) -> Turn:
    requests = [request for some in replicates for request in some]
    each = [median_low([request.token_ns[0] for request in some]) for some in replicates]
    middle = median_low([request.token_ns[0] for request in requests])
    low, high = stats.ends_around_ns(middle, stats.log_interval(each))
    per_token = [
        (request.token_ns[-1] - request.token_ns[0]) // (len(request.token_ns) - 1)
        for request in requests
        if len(request.token_ns) > 1
    ]
    made = Turn(
        turn=turn,
        requests=len(requests),
        prompt_tokens=median_low([request.prompt_tokens for request in requests]),
        kept_tokens=median_low([request.kept_tokens or 0 for request in requests]),
        ttft_ns=middle,
        ttft_low_ns=low,
        ttft_high_ns=high,
        tpot_ns=stats.known_median(per_token),
        kv_used_bytes=stats.known_median(request.kv_used_bytes for request in requests),
    )
    reasons = {
        "ttft_low_ns": unknown_words.few_replicates(len(each)),
        "ttft_high_ns": unknown_words.few_replicates(len(each)),
        "tpot_ns": unknown_words.ONE_TOKEN,
        "kv_used_bytes": unknown_words.UNTOLD_BY_RUNTIME,
    }
    explain_absent(made, "generate.turns", reasons, unknown)
    return made
