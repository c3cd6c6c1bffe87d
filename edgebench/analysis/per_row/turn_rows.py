"""Derives the times of each turn from the requests of conversations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median_low

from edgebench import record as rec
from edgebench import stats
from edgebench.analysis.table_types import Turn
from edgebench.words import unknown_words

Unknown = dict[str, str]


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
    interval = stats.log_interval(each)
    middle = median_low([request.token_ns[0] for request in requests])
    used = [request.kv_used_bytes for request in requests if request.kv_used_bytes is not None]
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
        ttft_low_ns=None if interval is None else min(round(interval.low), middle),
        ttft_high_ns=None if interval is None else max(round(interval.high), middle),
        tpot_ns=median_low(per_token) if per_token else None,
        kv_used_bytes=median_low(used) if used else None,
    )
    reasons = {
        "ttft_low_ns": unknown_words.few_replicates(len(each)),
        "ttft_high_ns": unknown_words.few_replicates(len(each)),
        "tpot_ns": unknown_words.ONE_TOKEN,
        "kv_used_bytes": unknown_words.UNTOLD_BY_RUNTIME,
    }
    for name, why in reasons.items():
        if getattr(made, name) is None:
            unknown[f"generate.turns.{name}"] = why
    return made
