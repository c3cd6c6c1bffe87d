"""Derives TTFT, TPOT and tokens per second from the requests of text generation.

n tokens have n - 1 intervals. The first token belongs to the prefill, so the time per output token
(TPOT) of a request is (last - first) / (n - 1), and decode rates count the tokens after the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median, median_low
from typing import NamedTuple

from edgebench import record as rec
from edgebench import stats
from edgebench.analysis.per_row.speculation_rows import speculation_of
from edgebench.analysis.per_row.turn_rows import turns_of
from edgebench.analysis.per_row.unknown_fields import Unknown
from edgebench.analysis.table_types import Generate
from edgebench.words import unknown_words


def generate_of(
    good: Sequence[rec.Replicate], energy: rec.Energy, unknown: Unknown
) -> Generate | None:
    """Summarises the valid replicates; None if none of them generated text.

    `energy` is that of the cell, per answer: a token's share of it holds the prompt's reading too.
    """
    parts = [replicate.generate for replicate in good if replicate.generate is not None]
    parts = [part for part in parts if part.requests]
    if not parts:
        return None
    requests = [request for part in parts for request in part.requests]
    steps = sorted(ns for request in requests for ns in intervals(request))
    ttft = _spread("ttft", parts, lambda request: request.token_ns[0], unknown)
    tpot = _spread("tpot", parts, time_per_token, unknown)
    decode = [rate for request in requests if (rate := decode_rate(request)) is not None]
    if not decode:
        unknown["generate.decode_tokens_per_s"] = unknown_words.ONE_TOKEN
    answers = [count for request in requests for count in request.new_tokens]
    if energy.j_per_inference is None:
        unknown["generate.j_per_token"] = energy.reason or unknown_words.NO_ENERGY
    if parts[0].kv_cache_bytes is None:
        unknown["generate.kv_cache_bytes"] = unknown_words.UNTOLD_BY_RUNTIME
    return Generate(
        ttft_ns=ttft.middle,
        ttft_low_ns=ttft.low,
        ttft_high_ns=ttft.high,
        ttft_of_replicates_ns=ttft.each,
        tpot_ns=tpot.middle,
        tpot_low_ns=tpot.low,
        tpot_high_ns=tpot.high,
        tpot_of_replicates_ns=tpot.each,
        interval_p50_ns=_percentile(steps, 500, "p50", unknown),
        interval_p90_ns=_percentile(steps, 900, "p90", unknown),
        interval_p99_ns=_percentile(steps, 990, "p99", unknown),
        prefill_tokens_per_s=median(map(prefill_rate, requests)),
        decode_tokens_per_s=median(decode) if decode else None,
        prompt_tokens=median_low([request.prompt_tokens for request in requests]),
        new_tokens=median_low(answers),
        j_per_token=None
        if energy.j_per_inference is None
        else energy.j_per_inference * len(answers) / sum(answers),
        requests=len(requests),
        intervals=len(steps),
        ended=sum(stop == "end_of_text" for request in requests for stop in request.stop),
        width=parts[0].width,
        positions=parts[0].positions,
        kv_cache_bytes=parts[0].kv_cache_bytes,
        temperature=parts[0].temperature,
        fixed_length=parts[0].fixed_length,
        speculation=speculation_of(parts, energy, unknown),
        turns=turns_of(parts, unknown),
    )


def intervals(request: rec.Request) -> list[int]:
    """Times between neighbouring tokens: one fewer than tokens."""
    times = request.token_ns
    return [later - earlier for earlier, later in pairwise(times)]


def time_per_token(request: rec.Request) -> int | None:
    """TPOT of a request, all sequences advancing together; None for answers of one token."""
    count = len(request.token_ns) - 1
    return round((request.token_ns[-1] - request.token_ns[0]) / count) if count else None


def prefill_rate(request: rec.Request) -> float:
    """Prompt tokens of all sequences over the time to the first token."""
    return request.prompt_tokens * len(request.new_tokens) * 1e9 / max(request.token_ns[0], 1)


def decode_rate(request: rec.Request) -> float | None:
    """Tokens after the first, of all sequences up to their ends, over the time they took."""
    tokens = sum(count - 1 for count in request.new_tokens)
    spent_ns = request.token_ns[-1] - request.token_ns[0]
    return tokens * 1e9 / spent_ns if tokens and spent_ns else None


class _Spread(NamedTuple):
    """Median over all requests, the ends of its interval, and the median of each replicate."""

    middle: int | None
    low: int | None
    high: int | None
    each: list[int]


def _spread(
    name: str,
    parts: Sequence[rec.Generate],
    of: Callable[[rec.Request], int | None],
    unknown: Unknown,
) -> _Spread:
    values = [
        [ns for request in part.requests if (ns := of(request)) is not None] for part in parts
    ]
    each = [median_low(some) for some in values if some]
    middle = stats.known_median(ns for some in values for ns in some)
    spread = _Spread(middle, *stats.ends_around_ns(middle, stats.log_interval(each)), each)
    if spread.middle is None:
        unknown[f"generate.{name}_ns"] = unknown_words.ONE_TOKEN
    if spread.low is None:
        why = unknown_words.few_replicates(len(spread.each))
        unknown[f"generate.{name}_low_ns"] = unknown[f"generate.{name}_high_ns"] = why
    return spread


def _percentile(steps: Sequence[int], permille: int, name: str, unknown: Unknown) -> int | None:
    told = stats.known_percentile(steps, permille)
    if told is None:
        why = unknown_words.few_samples(stats.min_samples(permille), len(steps), "intervals")
        unknown[f"generate.interval_{name}_ns"] = why
    return told
